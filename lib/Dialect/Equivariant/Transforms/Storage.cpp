//===- Storage.cpp - scalars and vectors of them in memory ----------------===//
#include "espmm/Dialect/Equivariant/Transforms/Storage.h"
#include "mlir/IR/Matchers.h"

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

/// How many of the first elements a constant mask has, if it has no others.
static std::optional<int64_t> matchFirst(Value mask) {
  DenseElementsAttr lanes;
  if (!matchPattern(mask, m_Constant(&lanes)))
    return std::nullopt;
  auto there = llvm::to_vector(lanes.getValues<bool>());
  int64_t count = llvm::find(there, false) - there.begin();
  return llvm::is_contained(ArrayRef(there).drop_front(count), true) ? std::nullopt : std::optional(count);
}

void espmm::equivariant::storeMasked(OpBuilder &builder, Location loc, Value value, Value address, Value mask, unsigned alignment) {
  auto type = cast<VectorType>(value.getType());
  int64_t lanes = type.getNumElements();
  std::optional<int64_t> count = matchFirst(mask);
  if (!count || (!llvm::has_single_bit(static_cast<uint64_t>(*count)) && lanes * type.getElementTypeBitWidth() >= 512)) {
    LLVM::MaskedStoreOp::create(builder, loc, value, address, mask, alignment);
    return;
  }
  for (int64_t size = llvm::bit_floor(static_cast<uint64_t>(lanes)), first = 0; size > 0; size /= 2) {
    if (!(*count & size))
      continue;
    Value part = value;
    if (size < lanes)
      part = LLVM::ShuffleVectorOp::create(builder, loc, value, value, llvm::to_vector(llvm::seq<int32_t>(first, first + size)));
    Value to = LLVM::GEPOp::create(builder, loc, address.getType(), type.getElementType(), address, ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(first)});
    LLVM::StoreOp::create(builder, loc, part, to, alignment);
    first += size;
  }
}
