//===- Equivariant.h - the equivariant dialect ------------------*- C++ -*-===//
#ifndef ESPMM_DIALECT_EQUIVARIANT_IR_EQUIVARIANT_H
#define ESPMM_DIALECT_EQUIVARIANT_IR_EQUIVARIANT_H

#include "espmm/Dialect/Equivariant/IR/Irreps.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/IR/TensorEncoding.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "espmm/Dialect/Equivariant/IR/Dialect.h.inc"
#include "espmm/Dialect/Equivariant/IR/Enums.h.inc"

#include "espmm/Dialect/Equivariant/IR/Path.h"

#define GET_ATTRDEF_CLASSES
#include "espmm/Dialect/Equivariant/IR/Attrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "espmm/Dialect/Equivariant/IR/Types.h.inc"
#define GET_OP_CLASSES
#include "espmm/Dialect/Equivariant/IR/Ops.h.inc"

namespace espmm::equivariant {

/// True for small tensors that are known: coefficients and ones.
bool isConstantTensor(mlir::Operation *op);
/// The elements of one, row-major.
llvm::SmallVector<double> getConstantElements(mlir::Operation *op);

/// True for bf16 and f16: types of what lies in memory, not of arithmetic.
inline bool isNarrow(mlir::Type element) { return element.isBF16() || element.isF16(); }
/// What is computed with for elements stored in a type: f32 for narrow ones, else the same.
inline mlir::Type getArithmeticType(mlir::Type stored) {
  return isNarrow(stored) ? mlir::Float32Type::get(stored.getContext()) : stored;
}

} // namespace espmm::equivariant

#endif // ESPMM_DIALECT_EQUIVARIANT_IR_EQUIVARIANT_H
