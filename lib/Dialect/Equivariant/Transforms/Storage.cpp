//===- Storage.cpp - scalars and vectors of them in memory ----------------===//
#include "espmm/Dialect/Equivariant/Transforms/Storage.h"

using namespace mlir;
using namespace espmm::equivariant;

/// The type with other scalars.
static Type withScalar(Type type, Type scalar) {
  auto vector = dyn_cast<VectorType>(type);
  return vector ? Type(VectorType::get(vector.getShape(), scalar)) : scalar;
}

Type espmm::equivariant::getScalarType(Type type) {
  auto vector = dyn_cast<VectorType>(type);
  return vector ? vector.getElementType() : type;
}

Type espmm::equivariant::getMemoryType(Type type, Type stored) {
  return isNarrow(stored) ? withScalar(type, IntegerType::get(type.getContext(), 16)) : type;
}

Value espmm::equivariant::extendStored(OpBuilder &builder, Location loc, Value loaded, Type type, Type stored) {
  if (!isNarrow(stored))
    return loaded;
  if (stored.isF16())
    return LLVM::FPExtOp::create(builder, loc, type, LLVM::BitcastOp::create(builder, loc, withScalar(type, stored), loaded));
  // The upper half of an f32's bits.
  Type word = withScalar(type, builder.getI32Type());
  TypedAttr half = builder.getI32IntegerAttr(16);
  if (auto vector = dyn_cast<VectorType>(word))
    half = DenseElementsAttr::get(vector, cast<Attribute>(half));
  Value low = LLVM::ZExtOp::create(builder, loc, word, loaded);
  Value bits = LLVM::ShlOp::create(builder, loc, low, LLVM::ConstantOp::create(builder, loc, word, half));
  return LLVM::BitcastOp::create(builder, loc, type, bits);
}

Value espmm::equivariant::roundToStored(OpBuilder &builder, Location loc, Value value, Type stored) {
  if (!isNarrow(stored))
    return value;
  Value rounded = LLVM::FPTruncOp::create(builder, loc, withScalar(value.getType(), stored), value);
  return LLVM::BitcastOp::create(builder, loc, getMemoryType(value.getType(), stored), rounded);
}
