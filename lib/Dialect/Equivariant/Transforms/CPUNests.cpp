//===- CPUNests.cpp - einsums over several multiplicities -----------------===//
#include "CPUNests.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace espmm::equivariant;

void NestStaging::run(llvm::function_ref<NestPlace(BlockOp)> getBlock, llvm::function_ref<NestPlace(const Contribution &)> getTarget) {
  for (Operation *op : analysis.getNests()) {
    stage(op, getBlock, getTarget);
    // What one operation writes the next one reads.
    LLVM::FenceOp::create(builder, loc, LLVM::AtomicOrdering::acq_rel, "singlethread");
  }
}

void NestStaging::stage(Operation *op, llvm::function_ref<NestPlace(BlockOp)> getBlock,
                        llvm::function_ref<NestPlace(const Contribution &)> getTarget) {
  Value result = op->getResult(0);
  bool isRead = llvm::any_of(result.getUsers(), [&](Operation *user) { return analysis.isNest(user); });
  if (isa<PairsOp, PairSumOp>(op)) {
    auto block = op->getOperand(0).getDefiningOp<BlockOp>();
    NestPlace from = block ? getBlock(block) : buffers.find(op->getOperand(0))->second;
    if (isRead) {
      NestPlace &buffer = buffers[result] = makeBuffer(result);
      if (isa<PairSumOp>(op))
        function.fillWithZeros(buffer.base, ix.constant(cast<RankedTensorType>(result.getType()).getNumElements()));
      stagePairs(op, isa<PairSumOp>(op), op->getOperand(0), from, buffer);
    }
    for (const Contribution &c : analysis.getContributions())
      if (c.value == result && c.isOfNest)
        stagePairs(op, /*adds=*/true, op->getOperand(0), from, getTarget(c));
    return;
  }
  std::map<char, int64_t> kept = getLoops(result);
  looped = kept;
  vectorLetter = 0;
  for (Value operand : op->getOperands())
    for (auto [letter, extent] : getLoops(operand)) {
      looped[letter] = extent;
      vectorLetter = std::max(vectorLetter, letter);
    }
  position.clear();
  mask = Value();
  OpBuilder::InsertPoint after = builder.saveInsertionPoint();
  auto enter = [&](char letter, ValueRange inits) {
    bool isVector = letter == vectorLetter;
    scf::ForOp loop = function.loop(ix.constant(0), ix.constant(looped[letter]), ix.constant(isVector ? lanes : 1), inits);
    position[letter] = loop.getInductionVar();
    if (isVector && looped[letter] % lanes)
      mask = function.getTailMask(loop.getInductionVar(), looped[letter], lanes);
    return loop;
  };
  auto inOrder = [&](bool isKept) {
    SmallVector<char> letters;
    for (auto [letter, extent] : looped)
      if (kept.count(letter) == isKept && letter != vectorLetter)
        letters.push_back(letter);
    if (vectorLetter && kept.count(vectorLetter) == isKept)
      letters.push_back(vectorLetter);
    return letters;
  };
  scf::ForOp outermost;
  for (char letter : inOrder(true)) {
    scf::ForOp loop = enter(letter, {});
    outermost = outermost ? outermost : loop;
  }

  // The sum goes through the loops over what is summed.
  auto small = RankedTensorType::get(dropLooped(result, cast<RankedTensorType>(result.getType()).getShape()),
                                     vectorLetter ? Type(vector) : vector.getElementType());
  SmallVector<scf::ForOp> loops;
  Value sum;
  for (char letter : inOrder(false)) {
    if (!sum)
      sum = ZeroOp::create(builder, loc, small);
    loops.push_back(enter(letter, sum));
    sum = loops.back().getRegionIterArg(0);
  }

  SmallVector<Value> operands;
  for (Value operand : op->getOperands()) {
    Operation *producer = operand.getDefiningOp();
    if (isConstantTensor(producer)) {
      Value constant = builder.clone(*producer)->getResult(0);
      // Ones have dimensions with loops; coefficients have none.
      if (!getLoops(operand).empty())
        constant = OnesOp::create(builder, loc, RankedTensorType::get(dropLooped(operand, cast<RankedTensorType>(operand.getType()).getShape()),
                                                                      vector.getElementType()));
      operands.push_back(constant);
      continue;
    }
    auto block = dyn_cast<BlockOp>(producer);
    operands.push_back(read(operand, block ? getBlock(block) : buffers.find(operand)->second));
  }
  Value value;
  if (isa<AddOp>(op)) {
    value = AddOp::create(builder, loc, small, operands[0], operands[1]);
  } else {
    std::string subscripts;
    for (char c : cast<EinsumOp>(op).getSubscripts())
      if (!looped.count(c))
        subscripts += c;
    value = EinsumOp::create(builder, loc, small, builder.getStringAttr(subscripts), operands);
  }
  if (!loops.empty()) {
    value = AddOp::create(builder, loc, small, sum, value);
    for (scf::ForOp loop : llvm::reverse(loops)) {
      scf::YieldOp::create(builder, loc, value);
      builder.setInsertionPointAfter(loop);
      value = loop.getResult(0);
    }
  }
  if (vectorLetter && !kept.count(vectorLetter)) {
    value = sumLanes(value);
    mask = Value();
  }

  if (isRead)
    write(value, result, buffers[result] = makeBuffer(result));
  for (const Contribution &c : analysis.getContributions())
    if (c.value == result && c.isOfNest)
      write(value, result, getTarget(c));
  if (outermost) {
    builder.restoreInsertionPoint(after);
    builder.setInsertionPointAfter(outermost);
  }
}

std::map<char, int64_t> NestStaging::getLoops(Value value) const {
  std::map<char, int64_t> result = analysis.getLooped(value);
  for (auto it = result.begin(); it != result.end();)
    it = it->second == 1 ? result.erase(it) : std::next(it);
  return result;
}

void NestStaging::stagePairs(Operation *op, bool adds, Value source, const NestPlace &from, const NestPlace &to) {
  bool gathers = isa<PairsOp>(op);
  Member member = gathers ? cast<PairsOp>(op).getMember() : cast<PairSumOp>(op).getMember();
  Value result = op->getResult(0);
  int64_t channels = cast<RankedTensorType>((gathers ? source : result).getType()).getDimSize(0);
  looped = {{'u', 0}};
  vectorLetter = 0;
  mask = Value();
  OpBuilder::InsertPoint after = builder.saveInsertionPoint();
  scf::ForOp firsts = function.loop(ix.constant(0), ix.constant(channels), ix.constant(1));
  Value first = firsts.getInductionVar(), next = ix.add(first, 1);
  // Before the pairs of channel a come those of the channels before it: a (2 m - a - 1) / 2.
  Value before = arith::DivUIOp::create(builder, loc, ix.mul(first, ix.sub(ix.constant(2 * channels - 1), first)), ix.constant(2));
  scf::ForOp seconds = function.loop(next, ix.constant(channels), ix.constant(1));
  Value second = seconds.getInductionVar(), pair = ix.add(before, ix.sub(second, next));
  Value channel = member == Member::First ? first : second;
  position['u'] = gathers ? channel : pair;
  Value elements = read(source, from);
  position['u'] = gathers ? pair : channel;
  NestPlace target = to;
  target.accumulate = adds;
  write(elements, result, target);
  builder.restoreInsertionPoint(after);
  builder.setInsertionPointAfter(firsts);
}

NestPlace NestStaging::makeBuffer(Value value) {
  // Component after component, each with the multiplicities that have loops.
  auto shape = cast<RankedTensorType>(value.getType()).getShape();
  StringRef letters = analysis.getLetters(value);
  auto ofValue = analysis.getLooped(value);
  NestPlace place;
  place.strides.assign(shape.size(), 0);
  int64_t size = 1;
  for (bool isLooped : {true, false})
    for (int64_t d = static_cast<int64_t>(shape.size()) - 1; d >= 0; --d)
      if (static_cast<bool>(ofValue.count(letters[d])) == isLooped) {
        place.strides[d] = size;
        size *= shape[d];
      }
  place.base = function.allocate(size);
  return place;
}

SmallVector<int64_t> NestStaging::dropLooped(Value value, ArrayRef<int64_t> ofDimensions) {
  SmallVector<int64_t> result;
  for (auto [letter, n] : llvm::zip(analysis.getLetters(value), ofDimensions))
    if (!looped.count(letter))
      result.push_back(n);
  return result;
}

Value NestStaging::getBase(Value value, const NestPlace &place) {
  Value at;
  for (auto [letter, stride] : llvm::zip(analysis.getLetters(value), place.strides)) {
    if (!looped.count(letter) || letter == vectorLetter)
      continue;
    Value step = ix.mul(position[letter], stride);
    at = at ? ix.add(at, step) : step;
  }
  return at ? ix.address(place.base, at, vector.getElementType()) : place.base;
}

Value NestStaging::read(Value value, const NestPlace &place) {
  bool inVectors = isVector(value);
  auto shape = dropLooped(value, cast<RankedTensorType>(value.getType()).getShape());
  auto type = RankedTensorType::get(shape, inVectors ? Type(vector) : vector.getElementType());
  return ReadOp::create(builder, loc, type, getBase(value, place), inVectors ? position[vectorLetter] : Value(),
                        inVectors ? mask : Value(), place.offset, 1, dropLooped(value, place.strides));
}

void NestStaging::write(Value elements, Value value, const NestPlace &place) {
  bool inVectors = isVector(value);
  WriteOp::create(builder, loc, elements, getBase(value, place), inVectors ? position[vectorLetter] : Value(),
                  inVectors ? mask : Value(), place.offset, 1, dropLooped(value, place.strides), place.accumulate,
                  /*nontemporal=*/false);
}

Value NestStaging::sumLanes(Value spread) {
  auto type = cast<RankedTensorType>(spread.getType());
  int64_t count = type.getNumElements();
  Value sums = function.allocate((count + lanes - 1) / lanes * lanes);
  for (int64_t first = 0; first < count; first += lanes) {
    Value sum = LaneSumOp::create(builder, loc, vector, spread, first);
    LLVM::StoreOp::create(builder, loc, sum, ix.address(sums, ix.constant(first), vector.getElementType()),
                          vector.getElementTypeBitWidth() / 8);
  }
  SmallVector<int64_t> strides(type.getRank(), 1);
  for (int64_t d = type.getRank() - 2; d >= 0; --d)
    strides[d] = strides[d + 1] * type.getDimSize(d + 1);
  return ReadOp::create(builder, loc, RankedTensorType::get(type.getShape(), vector.getElementType()), sums, Value(), Value(), 0, 1, strides);
}
