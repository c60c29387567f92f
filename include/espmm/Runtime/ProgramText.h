//===- ProgramText.h - a program as one string ---------------------------===//
#ifndef ESPMM_RUNTIME_PROGRAMTEXT_H
#define ESPMM_RUNTIME_PROGRAMTEXT_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace espmm {

/// Numbers of a GPU's schedule that are given rather than chosen, by name as the pipeline spells it, in the order in which it lists them.
using Schedule = std::vector<std::pair<std::string, int64_t>>;

/// What a program's canonical string holds (docs/Architecture.md, section 6).
struct ProgramText {
  /// One vector-Jacobian product: argument numbers, the index space not counted, and result numbers.
  struct Derivative {
    std::vector<int64_t> wrt, cotangents;
  };

  std::string module; // level 0
  std::vector<std::string> arguments; // names: the module's, then "gz" for the cotangent of a result z, and so on
  /// Of each result, the sets of arguments (sorted) whose product each of its terms is; python/espmm/program.py says why that is all there is to know.
  std::vector<std::vector<std::vector<int64_t>>> terms;
  std::vector<Derivative> steps;
  bool deterministic = false;
  Schedule schedule;

  static llvm::Expected<ProgramText> parse(llvm::StringRef program);

  /// The pass pipeline that compiles the module for "cpu" or "cuda:sm_90", as espmm's Python writes it: both find the same cache entry.
  std::string pipeline(llvm::StringRef target, const Schedule &schedule) const;
};

/// What a backward pass asks for, without the arguments on which none of these results depends, and the results that depend on none of
/// these arguments; nothing if nothing is left.
std::optional<ProgramText::Derivative> pruned(const ProgramText &program, llvm::ArrayRef<int64_t> wrt, llvm::ArrayRef<int64_t> cotangents);

/// The canonical string of a program's derivative.
llvm::Expected<std::string> derivative(llvm::StringRef program, const ProgramText::Derivative &step);

/// The schedule that espmm.tune kept in a folder for this program and target; none if there is none. What can't be read is ignored with a
/// warning. ESPMM_TUNED=0 has it ignored.
std::optional<Schedule> tunedSchedule(llvm::StringRef program, llvm::StringRef target, llvm::StringRef folder);

/// The name of its file: what the program's string without a schedule, the target and the version hash to.
std::string tunedScheduleKey(llvm::StringRef program, llvm::StringRef target);

} // namespace espmm

#endif
