//===- Nests.cpp - einsums over several multiplicities --------------------===//
#include "Nests.h"
#include <numeric>

using namespace mlir;
using namespace espmm::equivariant;

void NestStaging::run(llvm::function_ref<NestPlace(BlockOp)> getBlock, llvm::function_ref<NestPlace(const Contribution &)> getTarget) {
  this->getBlock = getBlock;
  this->getTarget = getTarget;
  for (const NestPlan::Step &step : plan.getSteps()) {
    Operation *op = step.op;
    if (step.separates) {
      target.separate();
      while (!temporaries.empty())
        target.release(temporaries.pop_back_val());
    }
    for (Value value : step.released) {
      target.release(buffers[value].base);
      buffers.erase(value);
    }
    if (plan.hasBuffer(op))
      buffers[op->getResult(0)] = makeBuffer(op->getResult(0));
    isa<PairsOp, PairSumOp>(op) ? stagePairs(op) : stage(op);
  }
  target.separate();
}

//===----------------------------------------------------------------------===//
// NestPlan
//===----------------------------------------------------------------------===//

NestPlan::NestPlan(const KernelAnalysis &analysis, int64_t rows) : analysis(analysis), rows(rows) {
  KernelOp kernel = analysis.kernel;
  if (rows)
    for (Operation &op : kernel.getBody().front().without_terminator()) {
      bool is = llvm::any_of(op.getOperands(), [&](Value operand) {
        auto argument = dyn_cast<BlockArgument>(operand);
        return argument ? kernel.getInputAccess(argument.getArgNumber()) != Access::All : byRow.contains(operand);
      });
      if (is)
        byRow.insert(op.getResult(0));
    }
  // What results that all rows share get is summed over rows where it is computed.
  llvm::SmallDenseSet<Value> ofAll, ofRows;
  for (const Contribution &c : analysis.getContributions())
    (kernel.getResultAccess(c.result) == Access::All ? ofAll : ofRows).insert(c.value);
  for (Value value : ofAll) {
    bool isReadByRow = ofRows.contains(value) || llvm::any_of(value.getUsers(), [&](Operation *user) { return analysis.isNest(user); });
    sumsOverRows &= byRow.contains(value) && !isReadByRow;
    byRow.erase(value);
  }

  // A place is a buffer, or a block of a result.
  using Place = std::tuple<void *, unsigned, int64_t>;
  llvm::SmallVector<Place> written;
  llvm::SmallVector<Value> unread;
  for (Operation *op : analysis.getNests()) {
    if (isInlined(op))
      continue;
    Value result = op->getResult(0);
    SmallVector<Value> read;
    collectRead(op, read);
    SmallVector<Place> writes, touched;
    if (hasBuffer(op))
      writes.push_back({result.getAsOpaquePointer(), 0, 0});
    for (const Contribution &c : analysis.getContributions())
      if (c.value == result && c.isOfNest)
        writes.push_back({nullptr, c.result, c.offset});
    touched = writes;
    for (Value value : read)
      touched.push_back({value.getAsOpaquePointer(), 0, 0});
    Step step{op, llvm::any_of(touched, [&](const Place &place) { return llvm::is_contained(written, place); }), {}};
    if (step.separates) {
      written.clear();
      step.released = std::exchange(unread, {});
    }
    steps.push_back(step);
    written.append(writes);
    for (Value value : read)
      if (!llvm::is_contained(unread, value) && llvm::none_of(value.getUsers(), [&](Operation *user) { return isStagedAfter(user, op); }))
        unread.push_back(value);
  }
}

std::map<char, int64_t> NestPlan::getLoops(Value value) const {
  std::map<char, int64_t> result = analysis.getLooped(value);
  for (auto it = result.begin(); it != result.end();)
    it = it->second == 1 ? result.erase(it) : std::next(it);
  if (isByRow(value))
    result[rowLetter] = rows;
  return result;
}

bool NestPlan::isInlined(Operation *op) const {
  Value result = op->getResult(0);
  if (!isa<EinsumOp, AddOp>(op) || !result.hasOneUse())
    return false;
  Operation *user = *result.getUsers().begin();
  if (!isa<EinsumOp, AddOp>(user) || !analysis.isNest(user))
    return false;
  // Neither does it sum over a loop, nor has its user one that it has not, and so would compute it more than once.
  std::map<char, int64_t> kept = getLoops(result);
  auto isKept = [&](Value value) { return llvm::all_of(getLoops(value), [&](const auto &entry) { return kept.count(entry.first); }); };
  return llvm::all_of(op->getOperands(), isKept) && llvm::all_of(user->getOperands(), isKept);
}

bool NestPlan::hasBuffer(Operation *op) const {
  return !isInlined(op) && llvm::any_of(op->getResult(0).getUsers(), [&](Operation *user) { return analysis.isNest(user); });
}

void NestPlan::collectRead(Operation *op, SmallVectorImpl<Value> &read) const {
  for (Value operand : op->getOperands()) {
    Operation *producer = operand.getDefiningOp();
    if (!analysis.isNest(producer))
      continue;
    if (isInlined(producer))
      collectRead(producer, read);
    else if (!llvm::is_contained(read, operand))
      read.push_back(operand);
  }
}

int64_t NestPlan::getBufferSize(Value value) const {
  return cast<RankedTensorType>(value.getType()).getNumElements() * (isByRow(value) ? rows : 1);
}

bool NestPlan::isStagedAfter(Operation *op, Operation *staged) const {
  if (!analysis.isNest(op))
    return false;
  while (isInlined(op))
    op = *op->getResult(0).getUsers().begin();
  return staged->isBeforeInBlock(op);
}

int64_t NestPlan::countLaneSums(Operation *op) const {
  if (isa<PairsOp, PairSumOp>(op) || !getLoops(op->getResult(0)).empty() ||
      llvm::all_of(op->getOperands(), [&](Value operand) { return getLoops(operand).empty(); }))
    return 0;
  return cast<RankedTensorType>(op->getResult(0).getType()).getNumElements();
}

int64_t NestPlan::measure(Type element, int64_t lanes, ArrayRef<int64_t> rows) const {
  NestArena arena(element);
  for (int64_t count : rows)
    arena.allocate(count);
  llvm::DenseMap<Value, int64_t> offsets;
  SmallVector<int64_t> temporaries;
  for (const Step &step : steps) {
    if (step.separates)
      while (!temporaries.empty())
        arena.release(temporaries.pop_back_val());
    for (Value value : step.released)
      arena.release(offsets.lookup(value));
    if (hasBuffer(step.op))
      offsets[step.op->getResult(0)] = arena.allocate(getBufferSize(step.op->getResult(0)));
    if (int64_t count = countLaneSums(step.op))
      temporaries.push_back(arena.allocate((count + lanes - 1) / lanes * lanes));
  }
  return arena.getSize();
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
  return {row, offset, strides};
}

//===----------------------------------------------------------------------===//
// Memory that buffers share
//===----------------------------------------------------------------------===//

int64_t NestArena::allocate(int64_t count) {
  count = std::max<int64_t>((count + line - 1) / line, 1) * line;
  int64_t offset = 0;
  for (auto [begin, end] : used) {
    if (begin - offset >= count)
      break;
    offset = end;
  }
  used.insert(llvm::lower_bound(used, std::pair(offset, offset + count)), {offset, offset + count});
  size = std::max(size, offset + count);
  return offset;
}

void NestArena::release(int64_t offset) {
  llvm::erase_if(used, [&](auto part) { return part.first == offset; });
}

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

/// The largest divisor of an extent up to a limit; all of it, if it is not much more and has none to speak of.
static int64_t chooseUnrolling(int64_t extent, int64_t limit) {
  int64_t best = 1;
  for (int64_t n = 2; n <= std::min(extent, limit); ++n)
    if (extent % n == 0)
      best = n;
  return best < 4 && extent <= 2 * limit && limit > 1 ? extent : best;
}

void NestStaging::ownAlone() {
  if (target.getParts() == 1)
    return;
  Value owner = ix.constant(numOwners++ % target.getParts());
  Value isOwn = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, target.getPart(), owner);
  builder.setInsertionPointToStart(scf::IfOp::create(builder, loc, isOwn, /*withElseRegion=*/false).thenBlock());
}

scf::ForOp NestStaging::loop(int64_t end, int64_t step, ValueRange inits, Value first) {
  auto result = scf::ForOp::create(builder, loc, first ? first : ix.constant(0), ix.constant(end), ix.constant(step), inits);
  if (inits.empty())
    builder.setInsertionPoint(result.getBody()->getTerminator());
  else
    builder.setInsertionPointToEnd(result.getBody());
  return result;
}

void NestStaging::stage(Operation *op) {
  Value result = op->getResult(0);
  std::map<char, int64_t> kept = plan.getLoops(result);
  looped = kept;
  laneLetter = 0;
  for (Value operand : op->getOperands())
    for (auto [letter, extent] : plan.getLoops(operand)) {
      looped[letter] = extent;
      laneLetter = std::max(laneLetter, letter);
    }
  sumsLanes = laneLetter && !kept.count(laneLetter);
  // Several positions of one of the result's letters are computed at once: what does not have it is read once for all of them, and sums over lanes are
  // taken together.
  char blockLetter = 0;
  for (auto [letter, extent] : kept)
    if (letter != laneLetter)
      blockLetter = letter;
  SmallVector<char> summed;
  for (auto [letter, extent] : looped)
    if (!kept.count(letter) && letter != laneLetter)
      summed.push_back(letter);
  char unrolledLetter = summed.empty() || sumsLanes ? 0 : summed.back();
  // Lanes for which there are no elements take those of other positions.
  char groupLetter = !sumsLanes && unrolledLetter ? unrolledLetter : blockLetter;
  groups = groupLetter && laneLetter ? target.getGroups(looped[laneLetter]) : 1;
  while (groups > 1 && (sumsLanes ? looped[groupLetter] <= groups / 2 : looped[groupLetter] % groups != 0))
    groups /= 2;
  int64_t block = 1, elements = std::max<int64_t>(getSmallType(result, false).getNumElements(), 1);
  auto ofGroup = [&](char letter) { return letter && letter == groupLetter ? looped[letter] / groups : looped[letter]; };
  if (blockLetter && sumsLanes) {
    int64_t most = std::min<int64_t>(lanes, llvm::PowerOf2Ceil(kept[blockLetter])) / groups;
    block = std::clamp<int64_t>(llvm::bit_floor(static_cast<uint64_t>(std::max<int64_t>(target.getSums() / elements, 1))), 1, most);
    auto covers = [&](int64_t n) { return (kept[blockLetter] + n - 1) / n * n; };
    while (block * groups > 8 && block > 1 && covers(block / 2 * groups) < covers(block * groups))
      block /= 2;
  } else if (blockLetter) {
    int64_t most = std::max<int64_t>(target.getBlock() / elements, 1), parts = target.getParts();
    block = chooseUnrolling(ofGroup(blockLetter), kept.size() == 1 + kept.count(laneLetter) ? std::min(most, (kept[blockLetter] + parts - 1) / parts) : most);
  }

  position.clear();
  bases.clear();
  multiples.clear();
  lane = mask = Value();
  OpBuilder::InsertPoint after = builder.saveInsertionPoint();
  outermost = nullptr;
  pointers.clear();
  auto enterLanes = [&](scf::ForOp loop) {
    lane = target.getLane(loop.getInductionVar(), looped[laneLetter], 1);
    if (looped[laneLetter] % lanes)
      mask = target.getMask(ix.sub(ix.constant(looped[laneLetter]), loop.getInductionVar()), 1);
  };
  // No loop is needed if all are in lanes at once.
  auto enterLanesAtOnce = [&](int64_t extent) {
    if (extent * groups > lanes || (groups == 1 && extent != lanes))
      return false;
    lane = target.getLane(ix.constant(0), extent, groups);
    if (extent * groups < lanes)
      mask = target.getMask(ix.constant(extent), groups);
    return true;
  };
  bool isShared = false;
  auto keep = [&](char letter, int64_t extent) {
    if (letter == laneLetter && enterLanesAtOnce(extent))
      return;
    int64_t step = letter == laneLetter ? lanes : (letter == blockLetter ? block : 1) * (letter == groupLetter ? groups : 1);
    bool shares = letter != laneLetter && !isShared && target.getParts() > 1;
    isShared |= shares;
    scf::ForOp ofLetter = loop(extent, shares ? step * target.getParts() : step, {}, shares ? ix.mul(target.getPart(), step) : Value());
    outermost = outermost ? outermost : ofLetter.getOperation();
    position[letter] = ofLetter.getInductionVar();
    multiples[position[letter]] = step;
    if (letter == laneLetter)
      enterLanes(ofLetter);
  };
  if (!blockLetter)
    ownAlone();
  // What several positions have in common is then read outside of their loop.
  bool lanesFirst = block > 1 && kept.count(laneLetter);
  if (lanesFirst)
    keep(laneLetter, kept[laneLetter]);
  for (auto [letter, extent] : kept)
    if (letter != laneLetter || !lanesFirst)
      keep(letter, extent);

  Value first = blockLetter ? position[blockLetter] : Value();
  bool isGrouped = first && blockLetter == groupLetter && groups > 1;
  if (isGrouped)
    first = ix.add(first, ix.mul(target.getGroup(groups), block));
  SmallVector<Value> positions;
  for (int64_t n = 0; (block > 1 || isGrouped) && n < block; ++n) {
    positions.push_back(ix.add(first, n));
    multiples[positions.back()] = std::gcd(block, n);
    // Sums over lanes past the end are of the last one again, and not written.
    if (looped[blockLetter] % (isGrouped ? block * groups : block))
      positions.back() = ix.min(positions.back(), ix.constant(looped[blockLetter] - 1));
  }
  auto enterBlock = [&](int64_t n) {
    if (!positions.empty())
      position[blockLetter] = positions[n];
  };

  // The sums go through the loops over what is summed.
  int64_t unrolling = unrolledLetter ? chooseUnrolling(ofGroup(unrolledLetter), std::max<int64_t>(target.getSummands() / block, 1)) : 1;
  if (sumsLanes)
    summed.push_back(laneLetter);
  SmallVector<Value> values(block);
  SmallVector<scf::ForOp> loops;
  for (char letter : summed) {
    if (loops.empty())
      for (Value &value : values)
        value = ZeroOp::create(builder, loc, getSmallType(result, laneLetter != 0));
    if (letter == laneLetter && enterLanesAtOnce(looped[letter]))
      break;
    int64_t step = letter == laneLetter ? lanes : (letter == unrolledLetter ? unrolling : 1) * (letter == groupLetter ? groups : 1);
    loops.push_back(loop(looped[letter], step, values));
    outermost = outermost ? outermost : loops.back().getOperation();
    position[letter] = loops.back().getInductionVar();
    if (letter == laneLetter)
      enterLanes(loops.back());
    values = SmallVector<Value>(loops.back().getRegionIterArgs());
  }

  Value firstSummand = unrolledLetter ? position[unrolledLetter] : Value();
  if (firstSummand && unrolledLetter == groupLetter && groups > 1)
    firstSummand = ix.add(firstSummand, ix.mul(target.getGroup(groups), unrolling));
  for (int64_t m = 0; m < unrolling; ++m) {
    if (unrolledLetter)
      position[unrolledLetter] = ix.add(firstSummand, m), multiples[position[unrolledLetter]] = std::gcd(unrolling, m);
    llvm::DenseMap<Value, Value> known;
    for (auto [n, value] : llvm::enumerate(values)) {
      enterBlock(n);
      Value summand = compute(op, known, block > 1 ? blockLetter : 0);
      value = loops.empty() ? summand : Value(AddOp::create(builder, loc, value, summand));
    }
  }
  for (scf::ForOp loop : llvm::reverse(loops)) {
    scf::YieldOp::create(builder, loc, values);
    builder.setInsertionPointAfter(loop);
    values = SmallVector<Value>(loop.getResults());
  }
  if (first)
    position[blockLetter] = first;

  if (sumsLanes && blockLetter) {
    writeLaneSums(result, values, blockLetter);
  } else if (groups > 1 && groupLetter == unrolledLetter) {
    for (auto [n, value] : llvm::enumerate(values)) {
      enterBlock(n);
      writeGroupSums(result, value);
    }
  } else if (sumsLanes) {
    Value sum = sumLanes(values[0]);
    writeResult(result, [&](const NestPlace &place) { target.once([&] { write(sum, result, place); }); });
  } else {
    writeResult(result, [&](const NestPlace &place) {
      for (auto [n, value] : llvm::enumerate(values)) {
        enterBlock(n);
        auto writeOne = [&, value = value] { write(value, result, place); };
        laneLetter ? writeOne() : target.once(writeOne);
      }
    });
  }
  builder.restoreInsertionPoint(after);
}

Value NestStaging::compute(Operation *op, llvm::DenseMap<Value, Value> &known, char moving) {
  SmallVector<Value> operands;
  for (Value operand : op->getOperands())
    operands.push_back(getOperand(operand, known, moving));
  auto type = getSmallType(op->getResult(0), laneLetter != 0);
  if (isa<AddOp>(op))
    return AddOp::create(builder, loc, type, operands[0], operands[1]);
  std::string subscripts;
  for (char c : cast<EinsumOp>(op).getSubscripts())
    if (!looped.count(c))
      subscripts += c;
  return EinsumOp::create(builder, loc, type, builder.getStringAttr(subscripts), operands);
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
  else if (auto block = dyn_cast<BlockOp>(producer))
    value = read(operand, getBlock(block));
  else
    value = plan.isInlined(producer) ? compute(producer, known, moving) : read(operand, buffers.find(operand)->second);
  if (!moves)
    known[operand] = value;
  return value;
}

void NestStaging::writeResult(Value result, llvm::function_ref<void(const NestPlace &)> write) {
  if (auto it = buffers.find(result); it != buffers.end())
    write(NestPlace(it->second));
  for (const Contribution &c : analysis.getContributions())
    if (c.value == result && c.isOfNest)
      write(getTarget(c));
}

void NestStaging::writeLaneSums(Value result, ArrayRef<Value> spread, char letter) {
  auto type = cast<RankedTensorType>(spread.front().getType());
  int64_t count = static_cast<int64_t>(spread.size()), extent = looped[letter];
  Value valid;
  if (count < lanes / groups || extent % (count * groups))
    valid = target.getMask(ix.min(ix.constant(count), ix.sub(ix.constant(extent), position[letter])), groups);
  SmallVector<Value> sums;
  for (int64_t n = 0; n < type.getNumElements(); ++n) {
    auto sum = LaneSumOp::create(builder, loc, target.getLaneType(), spread, n, type.getNumElements());
    if (groups > 1)
      sum.setLanes(lanes / groups);
    sums.push_back(sum);
  }
  storeElements(result, type, sums, letter, valid);
}

void NestStaging::writeGroupSums(Value result, Value spread) {
  auto type = cast<RankedTensorType>(spread.getType());
  SmallVector<Value> sums;
  for (int64_t n = 0; n < type.getNumElements(); ++n) {
    auto sum = LaneSumOp::create(builder, loc, target.getLaneType(), spread, n, type.getNumElements());
    sum.setLanes(lanes / groups);
    sum.setAcross(true);
    sums.push_back(sum);
  }
  // All groups have them, one writes them.
  int64_t all = std::exchange(groups, 1);
  storeElements(result, type, sums, laneLetter, target.getMask(ix.constant(looped[laneLetter]), 1));
  groups = all;
}

void NestStaging::storeElements(Value result, RankedTensorType type, ArrayRef<Value> elements, char letter, Value valid) {
  writeResult(result, [&](const NestPlace &place) {
    Value base = getBase(result, place);
    SmallVector<int64_t> strides = dropLooped(result, place.strides);
    for (auto [n, element] : llvm::enumerate(elements)) {
      int64_t rest = static_cast<int64_t>(n), offset = place.offset;
      for (int64_t d = type.getRank() - 1; d >= 0; --d) {
        offset += rest % type.getDimSize(d) * strides[d];
        rest /= type.getDimSize(d);
      }
      target.store(element, ix.address(base, ix.constant(offset), target.element), getLaneStride(result, letter, place), valid, place.accumulate, groups);
    }
  });
}

Value NestStaging::sumLanes(Value spread) {
  auto type = cast<RankedTensorType>(spread.getType());
  int64_t count = type.getNumElements();
  Value sums = target.allocate((count + lanes - 1) / lanes * lanes);
  temporaries.push_back(sums);
  for (int64_t first = 0; first < count; first += lanes) {
    Value sum = LaneSumOp::create(builder, loc, target.getLaneType(), spread, first, 1);
    target.store(sum, ix.address(sums, ix.constant(first), target.element), /*stride=*/1, Value(), /*accumulate=*/false, /*groups=*/1);
  }
  target.separateLanes();
  SmallVector<int64_t> strides(type.getRank(), 1);
  for (int64_t d = type.getRank() - 2; d >= 0; --d)
    strides[d] = strides[d + 1] * type.getDimSize(d + 1);
  return ReadOp::create(builder, loc, RankedTensorType::get(type.getShape(), target.element), sums, Value(), Value(), 0, 1, strides);
}

//===----------------------------------------------------------------------===//
// Pairs of channels
//===----------------------------------------------------------------------===//

void NestStaging::stagePairs(Operation *op) {
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
    ownAlone();
    auto stageAll = [&] { stagePairs(op, isSum || place.accumulate, source, from, place); };
    plan.isByRow(result) ? stageAll() : target.once(stageAll);
  });
}

void NestStaging::stagePairs(Operation *op, bool adds, Value source, const NestPlace &from, const NestPlace &to) {
  bool gathers = isa<PairsOp>(op);
  Member member = gathers ? cast<PairsOp>(op).getMember() : cast<PairSumOp>(op).getMember();
  Value result = op->getResult(0);
  int64_t channels = cast<RankedTensorType>((gathers ? source : result).getType()).getDimSize(0);
  looped = {{'u', 0}};
  laneLetter = plan.isByRow(result) ? rowLetter : 0;
  bases.clear();
  multiples.clear();
  pointers.clear();
  OpBuilder::InsertPoint after = builder.saveInsertionPoint();
  scf::ForOp firsts = loop(channels, 1, {});
  outermost = firsts;
  lane = laneLetter ? target.getLane(ix.constant(0), lanes, /*groups=*/1) : Value();
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

//===----------------------------------------------------------------------===//
// Places
//===----------------------------------------------------------------------===//

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
  int64_t size = plan.isByRow(value) ? plan.getRows() : 1;
  for (bool isLooped : {true, false})
    for (int64_t d = static_cast<int64_t>(shape.size()) - 1; d >= 0; --d)
      if (static_cast<bool>(ofValue.count(letters[d])) == isLooped) {
        place.strides[d] = size;
        size *= shape[d];
      }
  place.base = target.allocate(size);
  return place;
}

SmallVector<int64_t> NestStaging::dropLooped(Value value, ArrayRef<int64_t> ofDimensions) {
  SmallVector<int64_t> result;
  for (auto [letter, n] : llvm::zip(analysis.getLetters(value), ofDimensions))
    if (!looped.count(letter))
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
    if (looped.count(letter) && letter != laneLetter)
      steps.push_back({position[letter], stride});
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
  if (steps.empty())
    return pointer;
  // One value for one address: sparsify knows by it what is added to the same place.
  for (const Base &known : bases)
    if (known.block == builder.getInsertionBlock() && known.from == place.base && known.steps == steps)
      return known.address;
  Value at;
  for (auto [step, stride] : steps) {
    Value offset = ix.mul(step, stride);
    at = at ? ix.add(at, offset) : offset;
  }
  bases.push_back({builder.getInsertionBlock(), place.base, steps, ix.address(pointer, at, target.element)});
  return bases.back().address;
}

Value NestStaging::read(Value value, const NestPlace &place) {
  bool inLanes = isInLanes(value), isMasked = inLanes && (sumsLanes || !target.readsPastEnd());
  auto result = ReadOp::create(builder, loc, getSmallType(value, inLanes), getBase(value, place), inLanes ? lane : Value(),
                               isMasked ? mask : Value(), place.offset, inLanes ? getLaneStride(value, laneLetter, place) : 1,
                               dropLooped(value, place.strides));
  if (!inLanes)
    result.setAligned(getAlignment(value, place));
  return result;
}

void NestStaging::write(Value elements, Value value, const NestPlace &place) {
  bool inLanes = isInLanes(value);
  WriteOp::create(builder, loc, elements, getBase(value, place), inLanes ? lane : Value(), inLanes ? mask : Value(), place.offset,
                  inLanes ? getLaneStride(value, laneLetter, place) : 1, dropLooped(value, place.strides),
                  place.accumulate, /*nontemporal=*/false);
}
