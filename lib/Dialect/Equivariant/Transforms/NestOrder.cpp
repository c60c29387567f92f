//===- NestOrder.cpp - in which order operations go, and who waits --------===//
//
// Operations are taken as soon as they can be: what needs no waiting first, one part's alone so that parts have some each, and what makes room or takes little of it before what takes more. One that
// cannot be done by the code of another, those alike are put to it. Where all that is left reads what others have written, all parts wait.
//
//===----------------------------------------------------------------------===//
#include "NestPlan.h"
#include <set>

using namespace mlir;
using namespace espmm::equivariant;

/// What waiting for all parts costs, as instructions.
static constexpr int64_t workOfWaiting = 128;

class NestPlan::Order {
public:
  explicit Order(NestPlan &plan) : plan(plan), limits(plan.limits), work(limits.parts) {
    for (const auto &ops : plan.units)
      waiting.push_back(makeUnit(ops));
  }

  void run() {
    while (!waiting.empty()) {
      auto [chosen, separates] = choose();
      Unit unit = std::move(*chosen);
      waiting.erase(chosen);
      takeStep(unit, separates);
    }
    wait();
  }

private:
  /// A buffer, or a block of a result.
  using Place = std::tuple<void *, unsigned, int64_t>;

  struct Written {
    Place place;
    Operation *by;
    int64_t owner; // -1: by all parts, or to be read by lanes that have not written it
    int64_t first; // of matrices: the part that has their first tiles
  };

  /// Operations that share loops, or one.
  struct Unit {
    ArrayRef<Operation *> ops;
    SmallVector<Value> reads;
    Operation *front() const { return ops.front(); }
  };
  using Units = SmallVector<Unit>;

  Unit makeUnit(ArrayRef<Operation *> ops) {
    Unit unit{ops, {}};
    for (Operation *op : ops) {
      plan.collectRead(op, unit.reads);
      if (plan.hasBuffer(op))
        writes[op].push_back({op->getResult(0).getAsOpaquePointer(), 0, 0});
      for (const Contribution &c : plan.analysis.getContributions())
        if (c.value == op->getResult(0) && c.isOfNest)
          writes[op].push_back({nullptr, c.result, c.offset});
    }
    llvm::SmallDenseSet<Value> seen;
    llvm::erase_if(unit.reads, [&](Value value) { return !seen.insert(value).second; });
    for (Value value : unit.reads)
      ++readers[value];
    return unit;
  }

  //===-- What an operation needs ----------------------------------------===//

  const NestShape &getShape(Operation *op) const { return plan.getShape(op); }
  static bool isOrdinary(Operation *op) { return !isa<PairsOp, PairSumOp>(op); }
  bool isAlone(const Unit &unit) const { return limits.parts > 1 && !getShape(unit.front()).isShared(); }
  bool isReady(const Unit &unit) const {
    return llvm::all_of(unit.reads, [&](Value value) { return known.contains(value); });
  }
  int64_t getNewBuffers(const Unit &unit) const {
    int64_t size = 0;
    for (Operation *op : unit.ops)
      size += plan.hasBuffer(op) ? plan.getBufferSize(op->getResult(0)) : 0;
    return size;
  }
  /// They do not take all memory for what is read much later.
  bool hasRoom(const Unit &unit, int64_t besides = 0) const {
    int64_t size = getNewBuffers(unit);
    return !size || inUse + besides + size <= limits.early;
  }
  bool isShort(const Unit &unit) const {
    Operation *op = unit.front();
    if (unit.ops.size() > 1 || !hasRoom(unit) || !limits.lanesAreThreads || !isOrdinary(op))
      return false;
    return limits.units.rows || (limits.parts > 1 ? isAlone(unit) : getShape(op).kept.empty());
  }

  static bool isRead(const Written &other, const Unit &unit) {
    return llvm::any_of(unit.reads, [&](Value value) { return std::get<0>(other.place) == value.getAsOpaquePointer(); });
  }
  bool isTouched(const Unit &unit) {
    return llvm::any_of(written, [&](const Written &other) { return llvm::is_contained(writes[unit.front()], other.place) || isRead(other, unit); });
  }

  /// Of matrices, who has the first tiles: for what adds to one place always the same, else the one with whom the longest share becomes no longer than it has to.
  int64_t findFirstPart(Operation *op) {
    for (const Place &place : writes[op])
      if (auto it = firstParts.find(place); it != firstParts.end())
        return it->second;
    const NestShape &shape = getShape(op);
    int64_t pieces = plan.countPieces(shape), best = 0, least = std::numeric_limits<int64_t>::max();
    for (int64_t first = 0; first < limits.parts; ++first) {
      SmallVector<int64_t> shares(work);
      for (int64_t n = 0; n < pieces; ++n)
        shares[(first + n) % limits.parts] += plan.countPieceWork(op, shape);
      if (int64_t longest = *llvm::max_element(shares); longest < least) {
        least = longest;
        best = first;
      }
    }
    return best;
  }

  /// Who does it, if nobody has to be waited for; -1 if somebody has to.
  int64_t findOwner(const Unit &unit) {
    int64_t owner = -1;
    for (const Written &other : written) {
      auto writer = llvm::find_if(unit.ops, [&](Operation *op) { return llvm::is_contained(writes[op], other.place); });
      if (!isRead(other, unit) && writer == unit.ops.end())
        continue;
      if (getShape(unit.front()).sumsParts) {
        // All parts read; they wait for each other before one writes.
        if (isRead(other, unit))
          return -1;
      } else if (isAlone(unit)) {
        if (other.owner < 0 || (owner >= 0 && owner != other.owner))
          return -1;
        owner = other.owner;
      } else if (isRead(other, unit) || other.owner >= 0 || !limits.lanesAreThreads || !isOrdinary(*writer) || !isOrdinary(other.by) ||
                 !(getShape(*writer) == getShape(other.by)) || (getShape(*writer).matrix && findFirstPart(*writer) != other.first)) {
        return -1;
      }
    }
    if (getShape(unit.front()).matrix)
      return findFirstPart(unit.front());
    return owner >= 0 ? owner : isAlone(unit) ? llvm::min_element(work) - work.begin() : 0;
  }

  //===-- The next ones --------------------------------------------------===//

  /// The unit that goes next, and whether all wait before it.
  std::pair<Units::iterator, bool> choose() {
    for (bool separates : {false, true}) {
      bool isFirst = true;
      for (auto it = waiting.begin(); it != waiting.end(); ++it) {
        // The first one may wait for what is put off, to share another's loops.
        if (!isReady(*it))
          continue;
        bool mayGo = isShort(*it) || (!limits.units.rows && std::exchange(isFirst, false));
        if (mayGo && (separates || findOwner(*it) >= 0))
          return {it, separates};
      }
    }
    // If all wait for others or for room, the one that takes least.
    auto chosen = waiting.end();
    for (auto it = waiting.begin(); it != waiting.end(); ++it)
      if (isReady(*it) && (chosen == waiting.end() || getNewBuffers(*it) < getNewBuffers(*chosen)))
        chosen = it;
    return {chosen, true};
  }

  /// Whether an operation can be done by the code of a step's, as the next one of those alike.
  bool mayJoin(const Step &step, const Unit &unit, int64_t newBuffers) {
    constexpr size_t mostAlike = 8;
    Operation *op = step.ops.front(), *other = unit.front();
    const NestShape &shape = getShape(op);
    llvm::MapVector<Value, Value> leaves;
    if (!limits.keepsCodeShort || step.ops.size() > 1 || step.alike.size() + 1 == mostAlike || unit.ops.size() > 1 || !isOrdinary(op) || shape.sumsLanes || shape.sumsParts ||
        !isReady(unit) || !hasRoom(unit, newBuffers) || !plan.areAlike(op, other, leaves) || writes[op].size() != writes[other].size())
      return false;
    for (auto [place, otherPlace] : llvm::zip(writes[op], writes[other])) {
      bool isResult = !std::get<0>(place);
      if (isResult != !std::get<0>(otherPlace) || std::get<1>(place) != std::get<1>(otherPlace) || (isResult && given.count(place) != given.count(otherPlace)))
        return false;
      for (Operation *member : step.getAll())
        if (llvm::is_contained(writes[member], otherPlace))
          return false;
    }
    if (!isTouched(unit))
      return true;
    int64_t owner = findOwner(unit);
    return owner >= 0 && ((shape.isShared() && !shape.matrix) || owner == getFirst(step, step.alike.size() + 1));
  }

  /// Of operations alike, the part that begins the one of that number.
  int64_t getFirst(const Step &step, int64_t number) const {
    const NestShape &shape = getShape(step.ops.front());
    return (step.owner + number * (shape.matrix ? plan.countPieces(shape) : 1)) % limits.parts;
  }

  void wait() {
    plan.span += *llvm::max_element(work) + workOfWaiting;
    work.assign(limits.parts, 0);
  }

  void takeStep(const Unit &unit, bool separates) {
    // Buffers that were read make room once all have read them.
    Step step{SmallVector<Operation *>(unit.ops), separates || (!hasRoom(unit) && !unread.empty()), {}};
    if (step.separates) {
      wait();
      written.clear();
      step.released = std::exchange(unread, {});
      for (Value value : step.released)
        inUse -= plan.getBufferSize(value);
    }
    step.owner = findOwner(unit);
    int64_t newBuffers = getNewBuffers(unit);
    SmallVector<Value> reads(unit.reads);
    for (auto it = waiting.begin(); it != waiting.end();) {
      if (!mayJoin(step, *it, newBuffers)) {
        ++it;
        continue;
      }
      newBuffers += getNewBuffers(*it);
      llvm::append_range(reads, it->reads);
      step.alike.push_back(it->front());
      it = waiting.erase(it);
    }
    if (plan.haveSharedLoops(unit.ops))
      step.loops = *plan.makeSharedShape(unit.ops);
    for (auto [number, op] : llvm::enumerate(step.getAll()))
      note(op, step.alike.empty() ? step.owner : getFirst(step, static_cast<int64_t>(number)), isAlone(unit));
    for (Value value : reads)
      if (--readers[value] == 0)
        unread.push_back(value);
    inUse += newBuffers;
    plan.steps.push_back(std::move(step));
  }

  /// What an operation has written, and whose work it was, given the part that begins it.
  void note(Operation *op, int64_t first, bool isAlone) {
    const NestShape &shape = getShape(op);
    if (shape.matrix)
      for (int64_t n = 0, pieces = plan.countPieces(shape); n < pieces; ++n)
        work[(first + n) % limits.parts] += plan.countPieceWork(op, shape);
    for (int64_t part = 0; !shape.matrix && part < limits.parts; ++part)
      work[part] += isAlone && !shape.sumsParts ? (part == first ? plan.countWork(op) : 0) : plan.countWork(op) / limits.parts;
    for (const Place &place : writes[op]) {
      written.push_back({place, op, isAlone && plan.isByRow(op->getResult(0)) ? first : -1, first});
      if (shape.matrix)
        firstParts.try_emplace(place, first);
      given.insert(place);
    }
    known.insert(op->getResult(0));
  }

  NestPlan &plan;
  const NestLimits &limits;
  Units waiting;
  llvm::DenseMap<Operation *, SmallVector<Place>> writes;
  llvm::DenseMap<Value, int64_t> readers; // of buffers, by operations that wait
  llvm::DenseSet<Value> known;
  // Since all have waited: what was written, and what each part has to do.
  SmallVector<Written> written;
  SmallVector<int64_t> work;
  SmallVector<Value> unread; // buffers that nobody will read again
  int64_t inUse = 0;         // elements of buffers
  std::map<Place, int64_t> firstParts;
  std::set<Place> given; // of results: the first one that gives to a place writes there, others add
};

void NestPlan::order() { Order(*this).run(); }
