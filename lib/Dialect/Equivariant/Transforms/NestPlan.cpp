//===- NestPlan.cpp - how einsums over several multiplicities run ---------===//
#include "NestPlan.h"
#include <set>

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
  shareLoops();
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

void NestPlan::collectLeaves(Operation *op, SmallVectorImpl<Value> &leaves) const {
  for (Value operand : op->getOperands()) {
    Operation *producer = operand.getDefiningOp();
    if (analysis.isNest(producer) && isInlined(producer))
      collectLeaves(producer, leaves);
    else if (!isConstantTensor(producer) && !llvm::is_contained(leaves, operand))
      leaves.push_back(operand);
  }
}

void NestPlan::collectRead(Operation *op, SmallVectorImpl<Value> &read) const {
  SmallVector<Value> leaves;
  collectLeaves(op, leaves);
  for (Value leaf : leaves)
    if (analysis.isNest(leaf.getDefiningOp()))
      read.push_back(leaf);
}

void NestPlan::collectTurned(Operation *op, SmallVectorImpl<Value> &read) const {
  const NestShape &shape = getShape(op);
  if (limits.lanesAreThreads || !shape.sumsRows())
    return;
  SmallVector<Value> leaves;
  collectLeaves(op, leaves);
  llvm::copy_if(leaves, std::back_inserter(read), [&](Value leaf) { return isByRow(leaf) && analysis.getLetters(leaf).contains(shape.laneLetter); });
}

int64_t NestPlan::countElements(Value value, const std::map<char, int64_t> &looped) const {
  int64_t elements = 1;
  for (auto [letter, extent] : llvm::zip(analysis.getLetters(value), cast<RankedTensorType>(value.getType()).getShape()))
    elements *= looped.count(letter) ? 1 : extent;
  return elements;
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

  if (auto matrix = makeMatrix(op, shape)) {
    NestShape ofMatrix;
    ofMatrix.kept = shape.kept;
    ofMatrix.looped = shape.looped;
    ofMatrix.matrix = std::move(matrix);
    // Of multiply-adds a fourth of what is counted is read once for several.
    if (4 * countWork(op, ofMatrix) < 3 * countWork(op, shape))
      return ofMatrix;
  }

  auto getExtent = [&](char letter) { return letter ? shape.looped.at(letter) : 0; };
  shape.groupLetter = shape.unrolledLetter ? shape.unrolledLetter : shape.blockLetter;
  if (limits.lanesAreThreads && shape.groupLetter && shape.laneLetter)
    shape.groups = limits.lanes / std::min<int64_t>(llvm::PowerOf2Ceil(getExtent(shape.laneLetter)), limits.lanes);
  int64_t ofGroupLetter = getExtent(shape.groupLetter);
  while (shape.groups > 1 && (shape.sumsLanes ? ofGroupLetter <= shape.groups / 2 : ofGroupLetter % shape.groups != 0))
    shape.groups /= 2;
  if (shape.groups == 1)
    shape.groupLetter = 0;
  auto ofGroup = [&](char letter) { return getExtent(letter) / (letter == shape.groupLetter ? shape.groups : 1); };

  // Of components there are as many results again.
  int64_t elements = std::max<int64_t>(countElements(result, shape.looped), 1), extent = getExtent(shape.blockLetter);
  if (shape.blockLetter && shape.sumsLanes) {
    int64_t most = std::min<int64_t>(limits.lanes, llvm::PowerOf2Ceil(extent)) / shape.groups;
    shape.block = std::clamp<int64_t>(llvm::bit_floor(static_cast<uint64_t>(std::max<int64_t>(limits.sums / elements, 1))), 1, std::max<int64_t>(most, 1));
    auto covers = [&](int64_t n) { return (extent + n - 1) / n * n; };
    while (shape.block * shape.groups > 8 && shape.block > 1 && covers(shape.block / 2 * shape.groups) < covers(shape.block * shape.groups))
      shape.block /= 2;
  } else if (shape.blockLetter) {
    int64_t most = std::max<int64_t>(limits.block / elements, 1);
    // Vectors that are no sums have little to read in common.
    if (!limits.lanesAreThreads && shape.summed.empty())
      most = 1;
    bool isOnlyLoop = shape.kept.size() == 1 + shape.kept.count(shape.laneLetter);
    // Parts have the same share of the only loop there is, if that is not much more.
    int64_t share = (extent + limits.parts - 1) / limits.parts;
    if (isOnlyLoop)
      most = limits.parts > 1 && share * elements <= 2 * limits.block ? share : std::min(most, share);
    shape.block = chooseUnrolling(ofGroup(shape.blockLetter), most);
  }
  // What all parts wait for is better not done by one.
  shape.sumsParts = limits.parts > 1 && !shape.blockLetter && shape.laneLetter == rowLetter && !shape.sumsLanes && !shape.summed.empty() && !hasBuffer(op) &&
                    getExtent(shape.summed.front()) >= 2 * limits.parts;
  if (shape.unrolledLetter) {
    // A vector's multiply-add waits for the one before in its sum: it takes some sums at once, of several results or parts of one's. Those over rows are in parts
    // in any case.
    int64_t atOnce = shape.block * elements;
    int64_t summands = ofGroup(shape.unrolledLetter), most = shape.sumsRows() ? limits.rowSummands : std::max<int64_t>(limits.summands / atOnce, 1);
    shape.unrolling = chooseUnrolling(summands, shape.sumsParts ? std::min(most, summands / limits.parts) : most);
    shape.sums = shape.sumsRows() || !limits.lanesAreThreads ? shape.unrolling : 1;
  }
  return shape;
}

bool NestShape::operator==(const NestShape &other) const {
  return kept == other.kept && laneLetter == other.laneLetter && sumsLanes == other.sumsLanes && block == other.block && groups == other.groups &&
         (groupLetter == blockLetter) == (other.groupLetter == other.blockLetter) && sumsParts == other.sumsParts && !matrix == !other.matrix &&
         (!matrix || (matrix->row == other.matrix->row && matrix->column == other.matrix->column && matrix->rowTiles == other.matrix->rowTiles &&
                      matrix->columnTiles == other.matrix->columnTiles));
}

int64_t NestShape::getStep(char letter, int64_t lanes) const {
  if (letter == laneLetter)
    return lanes;
  return (letter == blockLetter ? block : letter == unrolledLetter ? unrolling : 1) * (letter == groupLetter ? groups : 1);
}

std::string NestShape::dropLooped(StringRef subscripts) const {
  std::string kept;
  llvm::copy_if(subscripts, std::back_inserter(kept), [&](char c) { return !looped.count(c); });
  return kept;
}

SmallVector<char> NestShape::getOuter() const {
  SmallVector<char> outer;
  for (auto [letter, extent] : looped)
    if (letter != laneLetter)
      outer.push_back(letter);
  return outer;
}

//===----------------------------------------------------------------------===//
// Work
//===----------------------------------------------------------------------===//

int64_t NestPlan::countWork(Operation *op, const NestShape &shape) const {
  if (shape.matrix)
    return countPieces(shape) * countPieceWork(op, shape);
  int64_t positions = 1, atPosition = 0;
  for (auto [letter, extent] : shape.looped)
    positions *= letter == shape.laneLetter ? (extent + limits.lanes - 1) / limits.lanes : extent;
  std::function<void(Operation *)> visit = [&](Operation *each) {
    std::map<char, int64_t> all;
    for (Value value : llvm::concat<Value>(SmallVector<Value>(each->getOperands()), SmallVector<Value>(each->getResults())))
      for (auto [letter, extent] : llvm::zip(analysis.getLetters(value), cast<RankedTensorType>(value.getType()).getShape()))
        if (!shape.looped.count(letter))
          all[letter] = extent;
    int64_t products = 1;
    for (auto [letter, extent] : all)
      products *= extent;
    atPosition += products;
    for (Value operand : each->getOperands())
      if (Operation *producer = operand.getDefiningOp(); analysis.isNest(producer) && isInlined(producer))
        visit(producer);
  };
  visit(op);
  SmallVector<Value> leaves;
  collectLeaves(op, leaves);
  for (Value leaf : leaves)
    atPosition += countElements(leaf, shape.looped);
  return positions * atPosition;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

int64_t NestPlan::getBufferSize(Value value) const {
  return cast<RankedTensorType>(value.getType()).getNumElements() * (isByRow(value) ? getRowPitch() : 1);
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
  for (const auto &entry : shapes) {
    Operation *op = entry.first;
    const NestShape &shape = entry.second;
    auto count = [&](Value value) {
      return countElements(value, shape.looped) * (shape.blockLetter && analysis.getLetters(value).contains(shape.blockLetter) ? shape.block : 1);
    };
    SmallVector<Value> leaves;
    collectLeaves(op, leaves);
    int64_t live = count(op->getResult(0)) * shape.sums;
    for (Value leaf : leaves)
      live += count(leaf);
    most = std::max(most, live);
  }
  return most;
}

Value NestPlan::findLargest() const {
  Value largest;
  for (const Step &step : steps)
    for (Operation *op : step.getAll())
      if (hasBuffer(op) && (!largest || getBufferSize(op->getResult(0)) > getBufferSize(largest)))
        largest = op->getResult(0);
  return largest;
}

int64_t NestPlan::measure(Type element, ArrayRef<int64_t> rows) const {
  NestArena arena(element);
  for (int64_t count : rows)
    arena.allocate(count);
  llvm::DenseMap<Value, int64_t> offsets;
  SmallVector<int64_t> temporaries;
  std::set<std::pair<void *, char>> turned;
  for (const Step &step : steps) {
    if (step.separates)
      while (!temporaries.empty())
        arena.release(temporaries.pop_back_val());
    for (Value value : step.released)
      arena.release(offsets.lookup(value));
    for (Operation *op : step.getAll()) {
      if (hasBuffer(op))
        offsets[op->getResult(0)] = arena.allocate(getBufferSize(op->getResult(0)));
      if (int64_t count = countTemporaries(op))
        temporaries.push_back(arena.allocate(count));
      SmallVector<Value> read;
      collectTurned(op, read);
      for (Value value : read) {
        char letter = getShape(op).laneLetter;
        int64_t extent = cast<RankedTensorType>(value.getType()).getDimSize(analysis.getLetters(value).find(letter));
        if (turned.insert({value.getAsOpaquePointer(), letter}).second)
          arena.allocate(getBufferSize(value) / extent * getPaddedExtent(extent));
      }
    }
  }
  return arena.getSize();
}
