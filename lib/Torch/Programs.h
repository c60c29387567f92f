//===- Programs.h - programs by their strings, loaded on devices ---------===//
#ifndef ESPMM_LIB_TORCH_PROGRAMS_H
#define ESPMM_LIB_TORCH_PROGRAMS_H

#include "espmm-c/espmm.h"
#include <string>
#include <string_view>
#include <vector>

namespace espmm::torch_ops {

/// The arrays of a plan as espmm::run takes them: receivers' offsets, order, other and parts, then the senders'.
constexpr size_t planArrays = 8;
const char *planArrayName(size_t i);

/// What a launch needs to know of a program on a device.
struct Program {
  struct Spec {
    std::string name;
    int32_t dtype; // torch's number
    espmm_rows rows;
    int64_t width, align;
    bool used;
  };

  espmm_executable *executable = nullptr;
  bool graph = false;
  std::vector<Spec> arguments, results;
  /// Which of the plan's arrays each one is that it reads; -1 for one that is always null there.
  std::vector<int> plan;
};

/// The program compiled for a device (-1: the host) and loaded there: now, or by an earlier call. Any thread may call it, and a forked child: what has been
/// found is looked up without a lock, and of several threads that want a new one libespmm has one compile it.
/// \p text ends in a null character.
const Program &programOf(std::string_view text, int device);

/// Of an executable that is loaded; for the process's life.
const Program *programOf(espmm_executable *executable);

} // namespace espmm::torch_ops

#endif
