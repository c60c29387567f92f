//===- Statistics.h - what passes count -------------------------*- C++ -*-===//
//
// MLIR's own statistics are compiled out of release builds of LLVM. What passes count is therefore kept in the module too, in
// its attribute `equivariant.statistics`: the manifest has it from there, and espmm-opt's -mlir-pass-statistics.
//
//===----------------------------------------------------------------------===//
#ifndef ESPMM_DIALECT_EQUIVARIANT_TRANSFORMS_STATISTICS_H
#define ESPMM_DIALECT_EQUIVARIANT_TRANSFORMS_STATISTICS_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace espmm::equivariant {

struct Count {
  mlir::Pass::Statistic &statistic;
  llvm::StringRef name;
  int64_t value;
};

/// Sets the statistics of the pass equivariant-NAME, and its entry in the module's `equivariant.statistics`.
void recordStatistics(mlir::ModuleOp module, llvm::StringRef name, llvm::ArrayRef<Count> counts);

/// Collects what this thread's passes record while it lives, as MLIR's own report would list it (where LLVM has that: nothing).
class StatisticsReport {
public:
  StatisticsReport();
  ~StatisticsReport();
  llvm::StringRef getText() const { return text; }

private:
  friend void recordStatistics(mlir::ModuleOp, llvm::StringRef, llvm::ArrayRef<Count>);
  std::string text;
};

} // namespace espmm::equivariant

#endif // ESPMM_DIALECT_EQUIVARIANT_TRANSFORMS_STATISTICS_H
