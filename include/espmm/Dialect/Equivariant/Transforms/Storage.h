//===- Storage.h - scalars and vectors of them in memory --------*- C++ -*-===//
//
// What is computed with in f32 may lie in memory as bf16 or f16. It is moved as 16 bits, which every target has loads and stores for.
//
//===----------------------------------------------------------------------===//
#ifndef ESPMM_DIALECT_EQUIVARIANT_TRANSFORMS_STORAGE_H
#define ESPMM_DIALECT_EQUIVARIANT_TRANSFORMS_STORAGE_H

#include "espmm/Dialect/Equivariant/IR/Equivariant.h"

namespace espmm::equivariant {

/// The type, or that of a vector's elements.
mlir::Type getScalarType(mlir::Type type);

/// What is loaded and stored for a value of a type whose scalars are stored in `stored`: the type itself, or as many 16 bits.
mlir::Type getMemoryType(mlir::Type type, mlir::Type stored);

/// The value of a type for what was loaded.
mlir::Value extendStored(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value loaded, mlir::Type type, mlir::Type stored);

/// What is stored for a value: rounded to the nearest, of two to the even one.
mlir::Value roundToStored(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value, mlir::Type stored);

/// Stores the elements of a vector that a mask has. Where a constant one says how many of the first they are, as shorter vectors: masked stores of AVX take tens of
/// cycles on some processors. One of AVX-512 is no slower than one of another vector, but than two.
void storeMasked(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value, mlir::Value address, mlir::Value mask, unsigned alignment);

} // namespace espmm::equivariant

#endif // ESPMM_DIALECT_EQUIVARIANT_TRANSFORMS_STORAGE_H
