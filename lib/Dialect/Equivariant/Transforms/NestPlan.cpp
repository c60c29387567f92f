//===- NestPlan.cpp - how einsums over several multiplicities run ---------===//
#include "NestPlan.h"

using namespace mlir;
using namespace espmm::equivariant;

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

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

NestPlan::NestPlan(const KernelAnalysis &analysis, const NestLimits &limits) : limits(limits), analysis(analysis) {
  if (limits.rows)
    findRows();
  for (Operation *op : analysis.getNests())
    if (!isInlined(op))
      shapes[op] = makeShape(op);
  order();
}

void NestPlan::findRows() {
  KernelOp kernel = analysis.kernel;
  for (Operation &op : kernel.getBody().front().without_terminator())
    if (llvm::any_of(op.getOperands(), [&](Value operand) {
          auto argument = dyn_cast<BlockArgument>(operand);
          return argument ? kernel.getInputAccess(argument.getArgNumber()) != Access::All : byRow.contains(operand);
        }))
      byRow.insert(op.getResult(0));
  // What results that all rows share get is summed over rows where it is computed.
  llvm::SmallDenseSet<Value> ofAll, ofRows;
  for (const Contribution &c : analysis.getContributions())
    (kernel.getResultAccess(c.result) == Access::All ? ofAll : ofRows).insert(c.value);
  for (Value value : ofAll) {
    bool isReadByRow = ofRows.contains(value) || llvm::any_of(value.getUsers(), [&](Operation *user) { return analysis.isNest(user); });
    sumsOverRows &= byRow.contains(value) && !isReadByRow;
    byRow.erase(value);
  }
}

std::map<char, int64_t> NestPlan::getLoops(Value value) const {
  std::map<char, int64_t> result = analysis.getLooped(value);
  for (auto it = result.begin(); it != result.end();)
    it = it->second == 1 ? result.erase(it) : std::next(it);
  if (isByRow(value))
    result[rowLetter] = limits.rows;
  return result;
}

bool NestPlan::isInlined(Operation *op) const {
  Value result = op->getResult(0);
  auto isPlain = [&](Operation *other) { return isa<EinsumOp, AddOp>(other) && analysis.isNest(other); };
  if (!isPlain(op) || result.use_empty() || !llvm::all_of(result.getUsers(), isPlain))
    return false;
  // A few numbers that are the same in all lanes are had again rather than handed over.
  auto hasNoLoops = [&](Value value) { return getLoops(value).empty(); };
  bool isSmall = cast<RankedTensorType>(result.getType()).getNumElements() <= limits.recomputed;
  if (isSmall && hasNoLoops(result) && llvm::all_of(op->getOperands(), hasNoLoops))
    return true;
  if (!result.hasOneUse())
    return false;
  Operation *user = *result.getUsers().begin();
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

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

/// The largest divisor of an extent up to a limit; all of it, if it is not much more and has none to speak of.
static int64_t chooseUnrolling(int64_t extent, int64_t limit) {
  int64_t best = 1;
  for (int64_t n = 2; n <= std::min(extent, limit); ++n)
    if (extent % n == 0)
      best = n;
  return best < 4 && extent <= 2 * limit && limit > 1 ? extent : best;
}

NestShape NestPlan::makeShape(Operation *op) const {
  NestShape shape;
  Value result = op->getResult(0);
  if (isa<PairsOp, PairSumOp>(op))
    return shape;
  shape.kept = shape.looped = getLoops(result);
  for (Value operand : op->getOperands())
    for (auto [letter, extent] : getLoops(operand)) {
      shape.looped[letter] = extent;
      shape.laneLetter = std::max(shape.laneLetter, letter);
    }
  // A sum over rows is better not taken over lanes, if channels can be in them.
  if (shape.laneLetter == rowLetter && !shape.kept.empty() && !isByRow(result))
    shape.laneLetter = shape.kept.rbegin()->first;
  shape.sumsLanes = shape.laneLetter && !shape.kept.count(shape.laneLetter);
  for (auto [letter, extent] : shape.kept)
    if (letter != shape.laneLetter)
      shape.blockLetter = letter;
  for (auto [letter, extent] : shape.looped)
    if (!shape.kept.count(letter) && letter != shape.laneLetter)
      shape.summed.push_back(letter);
  shape.unrolledLetter = shape.summed.empty() || shape.sumsLanes ? 0 : shape.summed.back();

  shape.groupLetter = shape.unrolledLetter ? shape.unrolledLetter : shape.blockLetter;
  if (limits.lanesAreThreads && shape.groupLetter && shape.laneLetter)
    shape.groups = limits.lanes / std::min<int64_t>(llvm::PowerOf2Ceil(shape.looped[shape.laneLetter]), limits.lanes);
  int64_t ofGroupLetter = shape.looped[shape.groupLetter];
  while (shape.groups > 1 && (shape.sumsLanes ? ofGroupLetter <= shape.groups / 2 : ofGroupLetter % shape.groups != 0))
    shape.groups /= 2;
  if (shape.groups == 1)
    shape.groupLetter = 0;
  auto ofGroup = [&](char letter) { return shape.looped[letter] / (letter == shape.groupLetter ? shape.groups : 1); };

  // Of components there are as many results again.
  int64_t elements = 1, extent = shape.looped[shape.blockLetter];
  for (auto [letter, n] : llvm::zip(analysis.getLetters(result), cast<RankedTensorType>(result.getType()).getShape()))
    elements *= shape.looped.count(letter) ? 1 : n;
  elements = std::max<int64_t>(elements, 1);
  if (shape.blockLetter && shape.sumsLanes) {
    int64_t most = std::min<int64_t>(limits.lanes, llvm::PowerOf2Ceil(extent)) / shape.groups;
    shape.block = std::clamp<int64_t>(llvm::bit_floor(static_cast<uint64_t>(std::max<int64_t>(limits.sums / elements, 1))), 1, std::max<int64_t>(most, 1));
    auto covers = [&](int64_t n) { return (extent + n - 1) / n * n; };
    while (shape.block * shape.groups > 8 && shape.block > 1 && covers(shape.block / 2 * shape.groups) < covers(shape.block * shape.groups))
      shape.block /= 2;
  } else if (shape.blockLetter) {
    int64_t most = std::max<int64_t>(limits.block / elements, 1);
    bool isOnlyLoop = shape.kept.size() == 1 + shape.kept.count(shape.laneLetter);
    shape.block = chooseUnrolling(ofGroup(shape.blockLetter), isOnlyLoop ? std::min(most, (extent + limits.parts - 1) / limits.parts) : most);
  }
  // What all parts wait for is better not done by one.
  shape.sumsParts = limits.parts > 1 && !shape.blockLetter && shape.laneLetter == rowLetter && !shape.sumsLanes && !shape.summed.empty() && !hasBuffer(op) &&
                    shape.looped[shape.summed.front()] >= 2 * limits.parts;
  if (shape.unrolledLetter) {
    int64_t summands = ofGroup(shape.unrolledLetter), most = std::max<int64_t>(limits.summands / shape.block, 1);
    shape.unrolling = chooseUnrolling(summands, shape.sumsParts ? std::min(most, summands / limits.parts) : most);
    shape.sums = shape.sumsRows() ? shape.unrolling : 1;
  }
  return shape;
}

bool NestShape::operator==(const NestShape &other) const {
  return kept == other.kept && laneLetter == other.laneLetter && sumsLanes == other.sumsLanes && block == other.block && groups == other.groups &&
         (groupLetter == blockLetter) == (other.groupLetter == other.blockLetter) && sumsParts == other.sumsParts;
}

int64_t NestShape::getStep(char letter, int64_t lanes) const {
  if (letter == laneLetter)
    return lanes;
  return (letter == blockLetter ? block : letter == unrolledLetter ? unrolling : 1) * (letter == groupLetter ? groups : 1);
}

//===----------------------------------------------------------------------===//
// Order
//===----------------------------------------------------------------------===//

namespace {
/// A buffer, or a block of a result.
using Place = std::tuple<void *, unsigned, int64_t>;

struct Written {
  Place place;
  Operation *by;
  int64_t owner; // -1: by all parts, or to be read by lanes that have not written it
};
} // namespace

void NestPlan::order() {
  SmallVector<Operation *> waiting;
  llvm::DenseMap<Operation *, SmallVector<Value>> reads;
  llvm::DenseMap<Operation *, SmallVector<Place>> writes;
  llvm::DenseMap<Value, int64_t> readers;
  for (Operation *op : analysis.getNests()) {
    if (isInlined(op))
      continue;
    waiting.push_back(op);
    collectRead(op, reads[op]);
    for (Value value : reads[op])
      ++readers[value];
    if (hasBuffer(op))
      writes[op].push_back({op->getResult(0).getAsOpaquePointer(), 0, 0});
    for (const Contribution &c : analysis.getContributions())
      if (c.value == op->getResult(0) && c.isOfNest)
        writes[op].push_back({nullptr, c.result, c.offset});
  }

  llvm::DenseSet<Value> known;
  SmallVector<Written> written;
  SmallVector<Value> unread;
  int64_t nextOwner = 0;
  auto isAlone = [&](Operation *op) { return limits.parts > 1 && !getShape(op).isShared(); };
  auto isReady = [&](Operation *op) { return llvm::all_of(reads[op], [&](Value value) { return known.contains(value); }); };
  // They do not take all memory for what is read much later.
  int64_t inUse = 0;
  auto hasRoom = [&](Operation *op) { return !hasBuffer(op) || inUse + getBufferSize(op->getResult(0)) <= limits.early; };
  auto isShort = [&](Operation *op) {
    return hasRoom(op) && limits.lanesAreThreads && !isa<PairsOp, PairSumOp>(op) && (limits.parts > 1 ? isAlone(op) : getShape(op).kept.empty());
  };
  /// Who does it, if nobody has to be waited for; -1 if somebody has to.
  auto findOwner = [&](Operation *op) -> int64_t {
    int64_t owner = -1;
    for (const Written &other : written) {
      bool isRead = llvm::any_of(reads[op], [&](Value value) { return std::get<0>(other.place) == value.getAsOpaquePointer(); });
      if (!isRead && !llvm::is_contained(writes[op], other.place))
        continue;
      if (getShape(op).sumsParts) {
        // All parts read; they wait for each other before one writes.
        if (isRead)
          return -1;
      } else if (isAlone(op)) {
        if (other.owner < 0 || (owner >= 0 && owner != other.owner))
          return -1;
        owner = other.owner;
      } else if (isRead || other.owner >= 0 || !limits.lanesAreThreads || isa<PairsOp, PairSumOp>(op) || isa<PairsOp, PairSumOp>(other.by) ||
                 !(getShape(op) == getShape(other.by))) {
        return -1;
      }
    }
    return owner >= 0 ? owner : isAlone(op) ? nextOwner % limits.parts : 0;
  };

  while (!waiting.empty()) {
    auto chosen = waiting.end();
    for (bool separates : {false, true}) {
      bool isFirst = true;
      for (auto it = waiting.begin(); it != waiting.end() && chosen == waiting.end(); ++it) {
        bool mayGo = isShort(*it) || std::exchange(isFirst, false);
        if (mayGo && isReady(*it) && (separates || findOwner(*it) >= 0))
          chosen = it;
      }
      if (chosen != waiting.end()) {
        Operation *op = *chosen;
        // Buffers that were read make room once all have read them.
        Step step{op, separates || (!hasRoom(op) && !unread.empty()), {}};
        if (step.separates) {
          written.clear();
          step.released = std::exchange(unread, {});
          for (Value value : step.released)
            inUse -= getBufferSize(value);
        }
        step.owner = findOwner(op);
        nextOwner += isAlone(op);
        int64_t owner = isAlone(op) && isByRow(op->getResult(0)) ? step.owner : -1;
        for (const Place &place : writes[op])
          written.push_back({place, op, owner});
        for (Value value : reads[op])
          if (--readers[value] == 0)
            unread.push_back(value);
        if (hasBuffer(op))
          inUse += getBufferSize(op->getResult(0));
        known.insert(op->getResult(0));
        steps.push_back(step);
        waiting.erase(chosen);
        break;
      }
    }
  }
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

int64_t NestPlan::getBufferSize(Value value) const {
  return cast<RankedTensorType>(value.getType()).getNumElements() * (isByRow(value) ? limits.rows : 1);
}

bool NestPlan::isLaneSumInPlace(Operation *op) const {
  const NestShape &shape = getShape(op);
  bool isElsewhere = llvm::any_of(analysis.getContributions(), [&](const Contribution &c) { return c.value == op->getResult(0) && c.isOfNest; });
  return limits.lanesAreThreads && shape.sumsLanes && !shape.blockLetter && hasBuffer(op) && !isElsewhere;
}

int64_t NestPlan::countTemporaries(Operation *op) const {
  const NestShape &shape = getShape(op);
  int64_t count = cast<RankedTensorType>(op->getResult(0).getType()).getNumElements();
  if (shape.sumsParts)
    return count * limits.parts * limits.lanes;
  return shape.sumsLanes && !shape.blockLetter && !isLaneSumInPlace(op) ? (count + limits.lanes - 1) / limits.lanes * limits.lanes : 0;
}

int64_t NestPlan::countLive() const {
  int64_t most = 0;
  for (const auto &[op, shape] : shapes) {
    auto count = [&](Value value) {
      int64_t elements = 1;
      for (auto [letter, extent] : llvm::zip(analysis.getLetters(value), cast<RankedTensorType>(value.getType()).getShape()))
        elements *= shape.looped.count(letter) ? 1 : extent;
      return elements * (shape.blockLetter && analysis.getLetters(value).contains(shape.blockLetter) ? shape.block : 1);
    };
    llvm::SmallDenseSet<Value> leaves;
    std::function<void(Operation *)> collect = [&](Operation *each) {
      for (Value operand : each->getOperands()) {
        Operation *producer = operand.getDefiningOp();
        if (analysis.isNest(producer) && isInlined(producer))
          collect(producer);
        else if (!isConstantTensor(producer))
          leaves.insert(operand);
      }
    };
    collect(op);
    int64_t live = count(op->getResult(0)) * shape.sums;
    for (Value leaf : leaves)
      live += count(leaf);
    most = std::max(most, live);
  }
  return most;
}

int64_t NestPlan::measure(Type element, ArrayRef<int64_t> rows) const {
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
    if (int64_t count = countTemporaries(step.op))
      temporaries.push_back(arena.allocate(count));
  }
  return arena.getSize();
}
