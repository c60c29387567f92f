//===- espmm-opt.cpp - runs espmm's passes over a file --------------------===//
#include "espmm/Dialect/Equivariant/Transforms/Statistics.h"
#include "espmm/InitAll.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/raw_ostream.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  espmm::registerAllDialects(registry);
  espmm::registerAllPasses();
  espmm::equivariant::StatisticsReport report;
  int status = mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "espmm modular optimizer driver\n", registry));
  // MLIR has printed the report's title by now, and forgotten its options.
  auto isStatistics = [](llvm::StringRef argument) { return argument.ltrim('-').starts_with("mlir-pass-statistics"); };
  if (std::any_of(argv + 1, argv + argc, isStatistics))
    llvm::errs() << report.getText();
  return status;
}
