//===- NestAlike.cpp - operations that share code -------------------------===//
//
//   for each of some operations that differ in where they read and write alone, parts taking turns
//     what is added to all addresses: a number for each place, of this operation
//     the first one's loops
//
// Irreps that differ in parity give such operations, and paths between irreps of the same degrees and multiplicities. A tile's code goes by once for its rows, so that it is worth as much
// as what it does: half of it comes from memory in half the time.
//
//===----------------------------------------------------------------------===//
#include "Nests.h"

using namespace mlir;
using namespace espmm::equivariant;

bool NestPlan::areAlike(Operation *op, Operation *other, llvm::MapVector<Value, Value> &leaves) const {
  auto isSame = [&](Value a, Value b) { return a.getType() == b.getType() && analysis.getLetters(a) == analysis.getLetters(b) && isByRow(a) == isByRow(b); };
  if (op->getName() != other->getName() || op->getAttrDictionary() != other->getAttrDictionary() || op->getNumOperands() != other->getNumOperands() ||
      !isSame(op->getResult(0), other->getResult(0)))
    return false;
  return llvm::all_of(llvm::zip(op->getOperands(), other->getOperands()), [&](auto operands) {
    auto [a, b] = operands;
    Operation *ofA = a.getDefiningOp(), *ofB = b.getDefiningOp();
    if (!isSame(a, b) || ofA->getName() != ofB->getName())
      return false;
    if (isConstantTensor(ofA))
      return ofA->getAttrDictionary() == ofB->getAttrDictionary();
    if (auto block = dyn_cast<BlockOp>(ofA); block && block.getRow() != cast<BlockOp>(ofB).getRow())
      return false;
    bool isInNest = analysis.isNest(ofA), isHere = isInNest && isInlined(ofA);
    if (isInNest != analysis.isNest(ofB) || isHere != (isInNest && isInlined(ofB)))
      return false;
    return isHere ? areAlike(ofA, ofB, leaves) : leaves.insert({a, b}).first->second == b;
  });
}

void NestStaging::findAlike(const NestPlan::Step &step) {
  alike = step.alike;
  alikeValues.clear();
  for (Operation *other : alike) {
    llvm::MapVector<Value, Value> leaves;
    bool areAlike = plan.areAlike(step.ops.front(), other, leaves);
    assert(areAlike && "those of a step are");
    (void)areAlike;
    for (auto [value, otherValue] : leaves)
      alikeValues[value].push_back(otherValue);
  }
}

Value NestStaging::getTurn(int64_t first) {
  int64_t parts = target.limits.parts;
  if (parts == 1)
    return ix.constant(0);
  Value turn = ix.add(target.getPart(), parts - first);
  return ix.sub(turn, ix.mul(ix.floordiv(turn, parts), parts));
}

void NestStaging::enterAlike(int64_t owner) {
  bool isShared = shape.isShared();
  scf::ForOp ofAlike = loop(1 + static_cast<int64_t>(alike.size()), isShared ? 1 : target.limits.parts, {}, isShared ? Value() : getTurn(owner));
  outermost = ofAlike;
  instance = arith::TruncIOp::create(builder, loc, builder.getI32Type(), ofAlike.getInductionVar());
}

NestPlace NestStaging::getSource(Value value) {
  auto find = [&](Value each) {
    auto block = each.getDefiningOp<BlockOp>();
    return block ? getBlock(block) : buffers.find(each)->second;
  };
  SmallVector<NestPlace> others;
  if (auto it = alikeValues.find(value); it != alikeValues.end())
    for (Value other : it->second)
      others.push_back(find(other));
  return shift(find(value), others);
}

NestPlace NestStaging::shift(NestPlace place, ArrayRef<NestPlace> others) {
  SmallVector<int64_t> distances{0};
  for (const NestPlace &other : others) {
    assert(other.strides == place.strides && other.accumulate == place.accumulate && "they differ in where they are alone");
    std::optional<int64_t> from = target.findOffset(place.base), to = target.findOffset(other.base);
    assert((from && to) || place.base == other.base);
    distances.push_back(other.offset - place.offset + (from && to ? *to - *from : 0));
  }
  if (llvm::all_of(distances, [](int64_t distance) { return distance == 0; }))
    return place;
  Value &known = shifts[distances];
  if (!known) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointAfterValue(instance);
    int64_t step = distances[1];
    bool isEven = llvm::all_of(llvm::enumerate(distances), [&](auto each) { return each.value() == static_cast<int64_t>(each.index()) * step; });
    known = isEven ? narrow.mul(instance, step) : narrow.constant(distances.back());
    for (size_t n = distances.size() - 1; !isEven && n-- > 0;)
      known = arith::SelectOp::create(builder, loc, narrow.less(instance, narrow.constant(n + 1)), narrow.constant(distances[n]), known);
    known = arith::ExtSIOp::create(builder, loc, builder.getI64Type(), known);
  }
  place.shift = known;
  return place;
}
