//===- Nests.cpp - einsums over several multiplicities --------------------===//
#include "Nests.h"
#include <numeric>

using namespace mlir;
using namespace espmm::equivariant;

void NestStaging::run(llvm::function_ref<NestPlace(BlockOp)> getBlock, llvm::function_ref<NestPlace(const Contribution &)> getTarget) {
  this->getBlock = getBlock;
  this->getTarget = getTarget;
  for (const NestPlan::Step &step : plan.getSteps()) {
    if (step.separates) {
      target.separate();
      while (!temporaries.empty())
        target.release(temporaries.pop_back_val());
    }
    for (Value value : step.released) {
      target.release(buffers[value].base);
      buffers.erase(value);
    }
    for (Operation *op : step.getAll())
      if (plan.hasBuffer(op))
        buffers[op->getResult(0)] = makeBuffer(op->getResult(0));
    Operation *op = step.ops.front();
    findAlike(step);
    if (!step.loops.looped.empty())
      stageTogether(step);
    else if (!isa<PairsOp, PairSumOp>(op) && plan.getShape(op).matrix)
      stageMatrix(op, step.owner);
    else
      isa<PairsOp, PairSumOp>(op) ? stagePairs(op, step.owner) : stage(op, step.owner);
  }
  target.separate();
}

NestPlace espmm::equivariant::placeInRow(Value tensor, Value row, RankedTensorType block, int64_t offset) {
  ArrayRef<int64_t> shape = block.getShape();
  SmallVector<int64_t> strides(shape.size(), 1);
  auto irreps = dyn_cast_or_null<IrrepsAttr>(cast<RankedTensorType>(tensor.getType()).getEncoding());
  // The last dimension of irreps is the components'; those before it make up the multiplicity.
  size_t rank = irreps ? shape.size() - 1 : shape.size();
  bool mulIr = irreps && irreps.getLayout() == Layout::MulIr;
  int64_t stride = mulIr ? shape.back() : 1;
  for (size_t d = rank; d-- > 0; stride *= shape[d])
    strides[d] = stride;
  if (irreps)
    strides.back() = mulIr ? 1 : stride;
  return {row, offset, strides, /*accumulate=*/false, getStored(tensor)};
}

//===----------------------------------------------------------------------===//
// Memory that buffers share
//===----------------------------------------------------------------------===//

Value NestTarget::allocate(int64_t count) {
  int64_t offset = arena.allocate(count);
  // An address of its own, though it be that of the memory.
  Value base = LLVM::GEPOp::create(builder, loc, memory.getType(), element, memory, ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(offset)});
  offsets[base] = offset;
  return base;
}

void NestTarget::release(Value buffer) { arena.release(offsets.lookup(buffer)); }

int64_t NestTarget::finish() {
  cast<arith::ConstantOp>(memorySize.getDefiningOp()).setValueAttr(builder.getI64IntegerAttr(arena.getSize()));
  return arena.getSize();
}

//===----------------------------------------------------------------------===//
// An einsum, or a sum
//===----------------------------------------------------------------------===//

/// Says to all compilers behind us that a loop is not to be unrolled.
static void keepLoop(scf::ForOp loop) {
  MLIRContext *context = loop.getContext();
  auto unroll = LLVM::LoopUnrollAttr::get(context, /*disable=*/BoolAttr::get(context, true), {}, {}, {}, {}, {}, {});
  loop->setAttr("loop_annotation", LLVM::LoopAnnotationAttr::get(context, {}, {}, {}, unroll, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}));
}

scf::ForOp NestStaging::loop(int64_t end, int64_t step, ValueRange inits, Value first) {
  auto result = scf::ForOp::create(builder, loc, first ? first : ix.constant(0), ix.constant(end), ix.constant(step), inits);
  if (target.limits.keepsCodeShort)
    keepLoop(result);
  if (inits.empty())
    builder.setInsertionPoint(result.getBody()->getTerminator());
  else
    builder.setInsertionPointToEnd(result.getBody());
  return result;
}

void NestStaging::ownAlone(int64_t owner) {
  if (target.limits.parts == 1)
    return;
  Value isOwn = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, target.getPart(), ix.constant(owner));
  builder.setInsertionPointToStart(scf::IfOp::create(builder, loc, isOwn, /*withElseRegion=*/false).thenBlock());
}

scf::ForOp NestStaging::enter(char letter, ValueRange inits, bool isShared) {
  int64_t extent = letter == shape.laneLetter ? laneRange.end : shape.looped[letter], step = shape.getStep(letter, lanes);
  isShared &= target.limits.parts > 1;
  scf::ForOp result = loop(extent, isShared ? step * target.limits.parts : step, inits, isShared ? ix.mul(target.getPart(), step) : Value());
  outermost = outermost ? outermost : result.getOperation();
  position[letter] = result.getInductionVar();
  multiples[position[letter]] = step;
  if (letter == shape.laneLetter) {
    lane = target.getLane(position[letter], extent, 1);
    if (extent % lanes)
      mask = target.getMask(ix.sub(ix.constant(extent), position[letter]), 1);
  }
  return result;
}

bool NestStaging::enterLanesAtOnce() {
  int64_t count = laneRange.end - laneRange.begin;
  if (shape.groups == 1 && count != lanes && (count > lanes || target.limits.lanesAreThreads))
    return false;
  lane = target.getLane(ix.constant(laneRange.begin), count, shape.groups);
  if (count * shape.groups < lanes)
    mask = target.getMask(ix.constant(count), shape.groups);
  return true;
}

SmallVector<NestStaging::Range> NestStaging::getLaneRanges() {
  if (!shape.laneLetter)
    return {{}};
  int64_t extent = shape.looped[shape.laneLetter], rest = extent % lanes;
  if (target.limits.lanesAreThreads || !shape.kept.count(shape.laneLetter) || extent < lanes || rest == 0)
    return {{0, extent}};
  return {{0, extent - rest}, {extent - rest, extent}};
}

void NestStaging::findBlock() {
  block.clear();
  bool isInGroups = shape.groups > 1 && shape.blockLetter == shape.groupLetter;
  if (!shape.blockLetter || (shape.block == 1 && !isInGroups))
    return;
  Value &first = position[shape.blockLetter];
  if (isInGroups)
    first = ix.add(first, ix.mul(target.getGroup(shape.groups), shape.block));
  int64_t extent = shape.looped[shape.blockLetter];
  for (int64_t n = 0; n < shape.block; ++n) {
    Value at = ix.add(first, n);
    multiples[at] = std::gcd(shape.block, n);
    // Sums over lanes past the end are of the last one again, and not written.
    block.push_back(extent % shape.getStep(shape.blockLetter, lanes) ? ix.min(at, ix.constant(extent - 1)) : at);
  }
}

void NestStaging::enterBlock(int64_t n) {
  if (!block.empty())
    position[shape.blockLetter] = block[n];
}

void NestStaging::begin(const NestShape &shape) {
  this->shape = shape;
  position.clear();
  bases.clear();
  multiples.clear();
  pointers.clear();
  shifts.clear();
  block.clear();
  lane = mask = summedMask = elementMask = Value();
  outermost = nullptr;
  target.begin();
}

void NestStaging::stage(Operation *op, int64_t owner) {
  begin(plan.getShape(op));
  OpBuilder::InsertPoint after = builder.saveInsertionPoint();
  SmallVector<Value> read;
  plan.collectTurned(op, read);
  for (Value value : read)
    turn(value, shape.laneLetter);
  // What the same part has written, lane by lane for its rows, is read by other lanes.
  if (shape.sumsRows())
    target.separateLanes();
  if (!alike.empty())
    enterAlike(owner);
  else if (!shape.isShared() && !shape.sumsParts)
    ownAlone(owner);
  OpBuilder::InsertPoint inside = builder.saveInsertionPoint();
  for (auto [n, range] : llvm::enumerate(getLaneRanges())) {
    if (n > 0)
      begin(plan.getShape(op));
    builder.restoreInsertionPoint(inside);
    laneRange = range;
    stageRange(op, owner);
  }
  builder.restoreInsertionPoint(after);
}

void NestStaging::stageRange(Operation *op, int64_t owner) {
  Value result = op->getResult(0);
  // What several positions have in common is read outside of their loop.
  bool keepsLanes = shape.kept.count(shape.laneLetter), lanesFirst = keepsLanes && shape.block > 1, isFirst = true;
  if (lanesFirst && !enterLanesAtOnce())
    enter(shape.laneLetter, {}, /*isShared=*/false);
  for (auto [letter, extent] : shape.kept)
    if (letter != shape.laneLetter)
      enter(letter, {}, std::exchange(isFirst, false));
    else if (!lanesFirst && !enterLanesAtOnce())
      enter(letter, {}, /*isShared=*/false);
  findBlock();
  Value first = shape.blockLetter ? position[shape.blockLetter] : Value();

  // The sums go through the loops over what is summed.
  SmallVector<Value> values(shape.block * shape.sums);
  SmallVector<scf::ForOp> loops;
  auto sumOver = [&](char letter, bool isShared) {
    if (loops.empty())
      for (Value &value : values)
        value = ZeroOp::create(builder, loc, getSmallType(result, shape.laneLetter != 0));
    loops.push_back(enter(letter, values, isShared));
    values = SmallVector<Value>(loops.back().getRegionIterArgs());
  };
  for (char letter : shape.summed)
    sumOver(letter, shape.sumsParts && letter == shape.summed.front());
  if (shape.sumsLanes && !enterLanesAtOnce())
    sumOver(shape.laneLetter, /*isShared=*/false);

  Value summand = shape.unrolledLetter ? position[shape.unrolledLetter] : Value();
  if (summand && shape.groups > 1 && shape.unrolledLetter == shape.groupLetter)
    summand = ix.add(summand, ix.mul(target.getGroup(shape.groups), shape.unrolling));
  for (int64_t m = 0; m < shape.unrolling; ++m) {
    if (summand) {
      position[shape.unrolledLetter] = ix.add(summand, m);
      multiples[position[shape.unrolledLetter]] = std::gcd(shape.unrolling, m);
    }
    llvm::DenseMap<Value, Value> known;
    for (int64_t n = 0; n < shape.block; ++n) {
      enterBlock(n);
      Value computed = compute(op, known, block.empty() ? 0 : shape.blockLetter);
      Value &value = values[n + m % shape.sums * shape.block];
      value = loops.empty() ? computed : Value(AddOp::create(builder, loc, value, computed));
    }
  }
  for (scf::ForOp loop : llvm::reverse(loops)) {
    scf::YieldOp::create(builder, loc, values);
    builder.setInsertionPointAfter(loop);
    values = SmallVector<Value>(loop.getResults());
  }
  if (first)
    position[shape.blockLetter] = first;
  for (int64_t m = 1; m < shape.sums; ++m)
    for (int64_t n = 0; n < shape.block; ++n)
      values[n] = AddOp::create(builder, loc, values[n], values[n + m * shape.block]);
  values.resize(shape.block);
  if (shape.sumsParts)
    values[0] = sumParts(values[0], owner);
  write(result, values);
}

//===----------------------------------------------------------------------===//
// What is computed, and where it goes
//===----------------------------------------------------------------------===//

void NestStaging::write(Value result, ArrayRef<Value> values) {
  if (shape.sumsLanes && shape.blockLetter)
    return writeLaneSums(result, values, shape.blockLetter);
  if (shape.sumsLanes && plan.isLaneSumInPlace(result.getDefiningOp()))
    return storeLaneSums(values[0], buffers.find(result)->second.base);
  if (shape.sumsLanes) {
    Value sum = sumLanes(values[0]);
    return writeResult(result, [&](const NestPlace &place) { target.once([&] { write(sum, result, place); }); });
  }
  // Sums over rows go to memory of the device, where nobody waits for them.
  if (target.limits.lanesAreThreads && (shape.sumsRows() || (shape.groups > 1 && shape.groupLetter == shape.unrolledLetter))) {
    for (auto [n, value] : llvm::enumerate(values)) {
      enterBlock(n);
      writeGroupSums(result, value);
    }
    return;
  }
  writeResult(result, [&](const NestPlace &place) {
    if (place.accumulate && shape.sumsRows() && values.size() > 1)
      return addTogether(result, values, place);
    for (auto [n, value] : llvm::enumerate(values)) {
      enterBlock(n);
      auto writeOne = [&, value = value] { write(value, result, place); };
      shape.laneLetter ? writeOne() : target.once(writeOne);
    }
  });
}

void NestStaging::addTogether(Value result, ArrayRef<Value> values, NestPlace place) {
  SmallVector<Value> sums;
  for (auto [n, value] : llvm::enumerate(values)) {
    enterBlock(n);
    sums.push_back(AddOp::create(builder, loc, read(result, place), value));
  }
  target.separateLanes();
  place.accumulate = false;
  for (auto [n, sum] : llvm::enumerate(sums)) {
    enterBlock(n);
    write(sum, result, place);
  }
}

Value NestStaging::sumParts(Value value, int64_t owner) {
  auto type = cast<RankedTensorType>(value.getType());
  int64_t count = type.getNumElements();
  Value all = target.allocate(count * target.limits.parts * lanes);
  temporaries.push_back(all);
  // Element after element, each with its lanes; part after part.
  SmallVector<int64_t> strides(type.getRank(), lanes);
  for (int64_t d = type.getRank() - 2; d >= 0; --d)
    strides[d] = strides[d + 1] * type.getDimSize(d + 1);
  Value own = ix.address(all, ix.mul(target.getPart(), count * lanes), target.element);
  WriteOp::create(builder, loc, value, own, lane, Value(), 0, 1, strides, /*accumulate=*/false, /*nontemporal=*/false);
  target.separate();
  ownAlone(owner);
  // In pairs, so that they do not wait for each other.
  SmallVector<Value> sums;
  for (int64_t part = 0; part < target.limits.parts; ++part)
    sums.push_back(ReadOp::create(builder, loc, type, all, lane, Value(), part * count * lanes, 1, strides));
  while (sums.size() > 1) {
    for (size_t n = 0; n < sums.size() / 2; ++n)
      sums[n] = AddOp::create(builder, loc, sums[2 * n], sums[2 * n + 1]);
    sums.resize(sums.size() / 2);
  }
  pointers.clear();
  bases.clear();
  outermost = nullptr;
  return sums[0];
}

Value NestStaging::compute(Operation *op, llvm::DenseMap<Value, Value> &known, char moving) {
  SmallVector<Value> operands;
  for (Value operand : op->getOperands())
    operands.push_back(getOperand(operand, known, moving));
  auto type = getSmallType(op->getResult(0), shape.laneLetter != 0);
  if (isa<AddOp>(op))
    return AddOp::create(builder, loc, type, operands[0], operands[1]);
  return EinsumOp::create(builder, loc, type, builder.getStringAttr(shape.dropLooped(cast<EinsumOp>(op).getSubscripts())), operands);
}

Value NestStaging::getOperand(Value operand, llvm::DenseMap<Value, Value> &known, char moving) {
  // What does not move is had once.
  bool moves = moving && analysis.getLetters(operand).contains(moving);
  if (Value value = moves ? Value() : known.lookup(operand))
    return value;
  Operation *producer = operand.getDefiningOp();
  Value value;
  if (isConstantTensor(producer))
    // Ones have dimensions with loops; coefficients have none.
    value = plan.getLoops(operand).empty() ? Value(builder.clone(*producer)->getResult(0))
                                      : Value(OnesOp::create(builder, loc, getSmallType(operand, false)));
  else
    value = !isa<BlockOp>(producer) && plan.isInlined(producer) ? compute(producer, known, moving) : read(operand, getSource(operand));
  if (!moves)
    known[operand] = value;
  return value;
}

void NestStaging::writeResult(Value result, llvm::function_ref<void(const NestPlace &)> write) {
  auto getPlaces = [&](Value value) {
    SmallVector<NestPlace> places;
    if (auto it = buffers.find(value); it != buffers.end())
      places.push_back(it->second);
    for (const Contribution &c : analysis.getContributions())
      if (c.value == value && c.isOfNest) {
        auto [known, isNew] = targets.try_emplace(&c);
        places.push_back(isNew ? known->second = getTarget(c) : known->second);
      }
    return places;
  };
  SmallVector<NestPlace> places = getPlaces(result);
  SmallVector<SmallVector<NestPlace>> others(places.size());
  for (Operation *op : alike)
    for (auto [ofPlace, place] : llvm::zip_equal(others, getPlaces(op->getResult(0))))
      ofPlace.push_back(place);
  for (auto [place, ofPlace] : llvm::zip(places, others))
    write(shift(place, ofPlace));
}

void NestStaging::writeLaneSums(Value result, ArrayRef<Value> spread, char letter) {
  auto type = cast<RankedTensorType>(spread.front().getType());
  int64_t count = static_cast<int64_t>(spread.size()), extent = shape.looped[letter];
  Value valid;
  if (count < lanes / shape.groups || extent % (count * shape.groups))
    valid = target.getMask(ix.min(ix.constant(count), ix.sub(ix.constant(extent), position[letter])), shape.groups);
  SmallVector<Value> sums;
  for (int64_t n = 0; n < type.getNumElements(); ++n) {
    auto sum = LaneSumOp::create(builder, loc, target.getLaneType(), spread, n, type.getNumElements());
    if (shape.groups > 1)
      sum.setLanes(lanes / shape.groups);
    sums.push_back(sum);
  }
  storeElements(result, type, sums, letter, valid);
}

void NestStaging::writeGroupSums(Value result, Value spread) {
  auto type = cast<RankedTensorType>(spread.getType());
  SmallVector<Value> sums;
  for (int64_t n = 0; n < type.getNumElements(); ++n) {
    auto sum = LaneSumOp::create(builder, loc, target.getLaneType(), spread, n, type.getNumElements());
    sum.setLanes(lanes / shape.groups);
    sum.setAcross(true);
    sums.push_back(sum);
  }
  // All groups have them, one writes them.
  Value valid = mask;
  int64_t groups = std::exchange(shape.groups, 1);
  if (groups > 1)
    valid = target.getMask(ix.constant(shape.looped[shape.laneLetter]), 1);
  storeElements(result, type, sums, shape.laneLetter, valid);
  shape.groups = groups;
}

void NestStaging::storeElements(Value result, RankedTensorType type, ArrayRef<Value> elements, char letter, Value valid) {
  writeResult(result, [&](const NestPlace &place) {
    Value base = getBase(result, place);
    int64_t laneStride = getLaneStride(result, letter, place);
    if (letter == shape.laneLetter && position.count(letter))
      base = ix.address(base, ix.mul(position[letter], laneStride), target.getElement(place.stored));
    SmallVector<int64_t> strides = dropLooped(result, place.strides);
    for (auto [n, element] : llvm::enumerate(elements)) {
      int64_t rest = static_cast<int64_t>(n), offset = place.offset;
      for (int64_t d = type.getRank() - 1; d >= 0; --d) {
        offset += rest % type.getDimSize(d) * strides[d];
        rest /= type.getDimSize(d);
      }
      target.store(element, ix.address(base, ix.constant(offset), target.getElement(place.stored)), laneStride, valid, place.accumulate, shape.groups,
                   place.stored);
    }
  });
}

void NestStaging::storeLaneSums(Value spread, Value to) {
  int64_t count = cast<RankedTensorType>(spread.getType()).getNumElements();
  for (int64_t first = 0; first < count; first += lanes) {
    Value sum = LaneSumOp::create(builder, loc, target.getLaneType(), spread, first, 1);
    Value mask = count - first < lanes && target.limits.lanesAreThreads ? target.getMask(ix.constant(count - first), /*groups=*/1) : Value();
    target.store(sum, ix.address(to, ix.constant(first), target.element), /*stride=*/1, mask, /*accumulate=*/false, /*groups=*/1, TypeAttr());
  }
}

Value NestStaging::sumLanes(Value spread) {
  auto type = cast<RankedTensorType>(spread.getType());
  int64_t count = type.getNumElements();
  Value sums = target.allocate((count + lanes - 1) / lanes * lanes);
  temporaries.push_back(sums);
  storeLaneSums(spread, sums);
  target.separateLanes();
  SmallVector<int64_t> strides(type.getRank(), 1);
  for (int64_t d = type.getRank() - 2; d >= 0; --d)
    strides[d] = strides[d + 1] * type.getDimSize(d + 1);
  return ReadOp::create(builder, loc, RankedTensorType::get(type.getShape(), target.element), sums, Value(), Value(), 0, 1, strides);
}

//===----------------------------------------------------------------------===//
// Pairs of channels
//===----------------------------------------------------------------------===//

void NestStaging::stagePairs(Operation *op, int64_t owner) {
  Value result = op->getResult(0), source = op->getOperand(0);
  auto block = source.getDefiningOp<BlockOp>();
  NestPlace from = block ? getBlock(block) : buffers.find(source)->second;
  bool isSum = isa<PairSumOp>(op);
  writeResult(result, [&](const NestPlace &place) {
    bool isBuffer = buffers.count(result) && buffers[result].base == place.base;
    if (isSum && isBuffer) {
      target.fillWithZeros(place.base, plan.getBufferSize(result));
      target.separate();
    }
    OpBuilder::InsertionGuard guard(builder);
    ownAlone(owner);
    auto stageAll = [&] { stagePairs(op, isSum || place.accumulate, source, from, place); };
    plan.isByRow(result) ? stageAll() : target.once(stageAll);
  });
}

void NestStaging::stagePairs(Operation *op, bool adds, Value source, const NestPlace &from, const NestPlace &to) {
  bool gathers = isa<PairsOp>(op);
  Member member = gathers ? cast<PairsOp>(op).getMember() : cast<PairSumOp>(op).getMember();
  Value result = op->getResult(0);
  int64_t channels = cast<RankedTensorType>((gathers ? source : result).getType()).getDimSize(0);
  shape = NestShape();
  shape.looped = {{'u', 0}};
  shape.laneLetter = plan.isByRow(result) ? rowLetter : 0;
  bases.clear();
  multiples.clear();
  pointers.clear();
  OpBuilder::InsertPoint after = builder.saveInsertionPoint();
  scf::ForOp firsts = loop(channels, 1, {});
  outermost = firsts;
  lane = shape.laneLetter ? target.getLane(ix.constant(0), lanes, /*groups=*/1) : Value();
  mask = Value();
  Value first = firsts.getInductionVar(), next = ix.add(first, 1);
  // Before the pairs of channel a come those of the channels before it: a (2 m - a - 1) / 2.
  Value before = arith::DivUIOp::create(builder, loc, ix.mul(first, ix.sub(ix.constant(2 * channels - 1), first)), ix.constant(2));
  auto seconds = scf::ForOp::create(builder, loc, next, ix.constant(channels), ix.constant(1));
  builder.setInsertionPoint(seconds.getBody()->getTerminator());
  Value second = seconds.getInductionVar(), pair = ix.add(before, ix.sub(second, next));
  Value channel = member == Member::First ? first : second;
  position['u'] = gathers ? channel : pair;
  Value elements = read(source, from);
  position['u'] = gathers ? pair : channel;
  NestPlace place = to;
  place.accumulate = adds;
  write(elements, result, place);
  builder.restoreInsertionPoint(after);
}
