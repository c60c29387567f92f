//===- Isomorphism.cpp - parts of a kernel that differ in offsets ---------===//
#include "Isomorphism.h"

using namespace mlir;
using namespace espmm::equivariant;

//===----------------------------------------------------------------------===//
// ComputationKinds
//===----------------------------------------------------------------------===//

static const void *toKey(int64_t number) { return reinterpret_cast<const void *>(number); }

int64_t ComputationKinds::getKind(const Contribution &c) {
  return getNumber({toKey(c.result), toKey(getKind(c.value)), toKey(analysis.hasChannels(c.value) ? -1 : c.offset)});
}

int64_t ComputationKinds::getKind(Value value) {
  if (auto known = kinds.find(value); known != kinds.end())
    return known->second;
  Operation *op = value.getDefiningOp();
  Key key{value.getType().getAsOpaquePointer()};
  if (auto block = dyn_cast_or_null<BlockOp>(op)) {
    key.append({block.getRow().getAsOpaquePointer(), toKey(analysis.hasChannels(value) ? -1 : block.getOffset())});
  } else if (op) {
    key.append({op->getName().getAsOpaquePointer(), op->getAttrDictionary().getAsOpaquePointer()});
    for (Value operand : op->getOperands())
      key.push_back(toKey(getKind(operand)));
  } else {
    key.push_back(value.getAsOpaquePointer());
  }
  return kinds[value] = getNumber(std::move(key));
}

//===----------------------------------------------------------------------===//
// Isomorphism
//===----------------------------------------------------------------------===//

bool Isomorphism::map(unsigned from, unsigned to) {
  const Contribution &a = analysis->getContributions()[from], &b = analysis->getContributions()[to];
  bool mayMove = analysis->hasChannels(a.value);
  return a.result == b.result && (mayMove || a.offset == b.offset) && mapValue(a.value, b.value) &&
         mapPlace(KernelOp(analysis->kernel).getResult(a.result), a.offset, b.offset);
}

bool Isomorphism::mapValue(Value from, Value to) {
  if (auto known = values.find(from); known != values.end())
    return known->second == to;
  Operation *a = from.getDefiningOp(), *b = to.getDefiningOp();
  if (!a || !b)
    return from == to;
  if (from.getType() != to.getType() || a->getName() != b->getName() || a->getNumOperands() != b->getNumOperands() || !pair(values, originals, from, to))
    return false;
  if (auto block = dyn_cast<BlockOp>(a)) {
    auto other = cast<BlockOp>(b);
    bool mayMove = analysis->hasChannels(from);
    return block.getRow() == other.getRow() && analysis->hasChannels(to) == mayMove && (mayMove || block.getOffset() == other.getOffset()) &&
           mapPlace(block.getRow(), block.getOffset(), other.getOffset());
  }
  return a->getAttrDictionary() == b->getAttrDictionary() &&
         llvm::all_of(llvm::zip(a->getOperands(), b->getOperands()), [&](auto operands) { return mapValue(std::get<0>(operands), std::get<1>(operands)); });
}

bool Isomorphism::mapPlace(Value row, int64_t from, int64_t to) {
  const void *key = row.getAsOpaquePointer();
  return pair(places, originalPlaces, Place(key, from), Place(key, to));
}

std::optional<int64_t> Isomorphism::getOffset(Value row, int64_t offset) const {
  auto found = places.find({row.getAsOpaquePointer(), offset});
  return found == places.end() ? std::nullopt : std::optional(found->second.second);
}
