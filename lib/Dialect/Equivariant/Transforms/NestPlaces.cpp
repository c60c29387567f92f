//===- NestPlaces.cpp - where nests read and write ------------------------===//
//
// Blocks of rows, buffers between operations, and transposed copies of both: their addresses at a position of the loops, with what is known of alignment.
//
//===----------------------------------------------------------------------===//
#include "Nests.h"
#include <numeric>

using namespace mlir;
using namespace espmm::equivariant;

/// The stride from lane to lane; rows lie next to each other.
int64_t NestStaging::getLaneStride(Value value, char letter, const NestPlace &place) {
  return letter && letter != rowLetter ? place.strides[analysis.getLetters(value).find(letter)] : 1;
}

NestPlace NestStaging::makeBuffer(Value value) {
  // Component after component, each with the multiplicities that have loops.
  auto shape = cast<RankedTensorType>(value.getType()).getShape();
  StringRef letters = analysis.getLetters(value);
  auto ofValue = analysis.getLooped(value);
  NestPlace place;
  place.strides.assign(shape.size(), 0);
  int64_t size = plan.isByRow(value) ? plan.getRowPitch() : 1;
  for (bool isLooped : {true, false})
    for (int64_t d = static_cast<int64_t>(shape.size()) - 1; d >= 0; --d)
      if (static_cast<bool>(ofValue.count(letters[d])) == isLooped) {
        place.strides[d] = size;
        size *= shape[d];
      }
  place.base = target.allocate(size);
  return place;
}

void NestStaging::turn(Value value, char letter) {
  auto [it, isNew] = turned.try_emplace({value.getAsOpaquePointer(), letter});
  if (!isNew)
    return;
  auto block = value.getDefiningOp<BlockOp>();
  NestPlace from = block ? getBlock(block) : buffers.find(value)->second;
  auto shape = cast<RankedTensorType>(value.getType()).getShape();
  StringRef letters = analysis.getLetters(value);
  int64_t extent = shape[letters.find(letter)], rows = plan.limits.rows;
  NestPlace &to = it->second;
  to.rowStride = plan.getPaddedExtent(extent);
  to.strides.assign(shape.size(), 1);
  int64_t size = to.rowStride * rows;
  for (int64_t d = static_cast<int64_t>(shape.size()) - 1; d >= 0; --d)
    if (letters[d] != letter) {
      to.strides[d] = size;
      size *= shape[d];
    }
  to.base = target.allocate(size);
  // A matrix for each element of all other letters.
  OpBuilder::InsertionGuard guard(builder);
  Value source = ix.constant(from.offset), destination = ix.constant(0);
  for (size_t d = 0; d < shape.size(); ++d)
    if (letters[d] != letter && shape[d] > 1) {
      Value at = loop(shape[d], 1, {}).getInductionVar();
      source = ix.add(source, ix.mul(at, from.strides[d]));
      destination = ix.add(destination, ix.mul(at, to.strides[d]));
    }
  target.transpose(ix.address(from.base, source, target.element), from.strides[letters.find(letter)], ix.address(to.base, destination, target.element), to.rowStride, extent, rows);
}

SmallVector<int64_t> NestStaging::dropLooped(Value value, ArrayRef<int64_t> ofDimensions) {
  SmallVector<int64_t> result;
  for (auto [letter, n] : llvm::zip(analysis.getLetters(value), ofDimensions))
    if (!shape.looped.count(letter))
      result.push_back(n);
  return result;
}

RankedTensorType NestStaging::getSmallType(Value value, bool inLanes) {
  auto shape = dropLooped(value, cast<RankedTensorType>(value.getType()).getShape());
  return RankedTensorType::get(shape, inLanes ? target.getLaneType() : target.element);
}

SmallVector<std::pair<Value, int64_t>> NestStaging::getSteps(Value value, const NestPlace &place) {
  SmallVector<std::pair<Value, int64_t>> steps;
  for (auto [letter, stride] : llvm::zip(analysis.getLetters(value), place.strides))
    if (shape.looped.count(letter) && letter != shape.laneLetter)
      steps.push_back({position[letter], stride});
  if (plan.isByRow(value) && shape.laneLetter != rowLetter && shape.looped.count(rowLetter))
    steps.push_back({position[rowLetter], place.rowStride});
  return steps;
}

int64_t NestStaging::getAlignment(Value value, const NestPlace &place) {
  int64_t alignment = target.getAlignment(place.base);
  for (auto [step, stride] : getSteps(value, place))
    alignment = std::gcd(alignment, std::max<int64_t>(multiples.lookup(step), 1) * stride);
  return alignment;
}

Value NestStaging::getBase(Value value, const NestPlace &place) {
  SmallVector<std::pair<Value, int64_t>> steps = getSteps(value, place);
  Value &pointer = pointers[{place.base, outermost ? nullptr : builder.getInsertionBlock()}];
  if (!pointer) {
    OpBuilder::InsertionGuard guard(builder);
    if (outermost)
      builder.setInsertionPoint(outermost);
    pointer = target.hide(place.base);
  }
  if (steps.empty() && !place.shift)
    return pointer;
  // One value for one address: sparsify knows by it what is added to the same place.
  for (const Base &known : bases)
    if (known.block == builder.getInsertionBlock() && known.from == place.base && known.shift == place.shift && known.steps == steps)
      return known.address;
  Value at = place.shift;
  for (auto [step, stride] : steps) {
    Value offset = ix.mul(step, stride);
    at = at ? ix.add(at, offset) : offset;
  }
  bases.push_back({builder.getInsertionBlock(), place.base, place.shift, steps, ix.address(pointer, at, target.getElement(place.stored))});
  return bases.back().address;
}

Value NestStaging::read(Value value, const NestPlace &asItLies) {
  bool inLanes = isInLanes(value);
  auto it = turned.find({value.getAsOpaquePointer(), shape.sumsRows() && inLanes ? shape.laneLetter : 0});
  const NestPlace &place = it == turned.end() ? asItLies : it->second;
  bool isMasked = inLanes && (shape.sumsLanes || !target.readsPastEnd());
  bool isSummand = summedMask && (shape.matrix->summed == rowLetter ? plan.isByRow(value) : analysis.getLetters(value).contains(shape.matrix->summed));
  auto result = ReadOp::create(builder, loc, getSmallType(value, inLanes), getBase(value, place), inLanes ? lane : Value(),
                               isMasked ? mask : isSummand ? summedMask : Value(), place.offset, inLanes ? getLaneStride(value, shape.laneLetter, place) : 1,
                               dropLooped(value, place.strides), place.stored);
  if (!inLanes)
    result.setAligned(getAlignment(value, place));
  return result;
}

void NestStaging::write(Value elements, Value value, const NestPlace &place) {
  bool inLanes = isInLanes(value);
  auto result = WriteOp::create(builder, loc, elements, getBase(value, place), inLanes ? lane : Value(), inLanes ? mask : elementMask, place.offset,
                                inLanes ? getLaneStride(value, shape.laneLetter, place) : 1, dropLooped(value, place.strides),
                                place.accumulate, /*nontemporal=*/false, place.stored);
  result.setAtomic(shape.matrix && place.accumulate && target.addsInMemory(place.base));
}
