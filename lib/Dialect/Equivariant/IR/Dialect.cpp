//===- Dialect.cpp - the equivariant dialect ------------------------------===//
#include "espmm/Dialect/Equivariant/IR/Equivariant.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace espmm::equivariant;

#include "espmm/Dialect/Equivariant/IR/Dialect.cpp.inc"
#include "espmm/Dialect/Equivariant/IR/Enums.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "espmm/Dialect/Equivariant/IR/Types.cpp.inc"

void EquivariantDialect::initialize() {
  registerAttributes();
  addTypes<
#define GET_TYPEDEF_LIST
#include "espmm/Dialect/Equivariant/IR/Types.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "espmm/Dialect/Equivariant/IR/Ops.cpp.inc"
      >();
}
