//===- espmm-opt.cpp - runs espmm's passes over a file --------------------===//
#include "espmm/InitAll.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  espmm::registerAllDialects(registry);
  espmm::registerAllPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "espmm modular optimizer driver\n", registry));
}
