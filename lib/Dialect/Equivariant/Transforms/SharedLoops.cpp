//===- SharedLoops.cpp - operations that read the same in the same loops --===//
#include "Nests.h"
#include "llvm/ADT/SetVector.h"
#include <set>

using namespace mlir;
using namespace espmm::equivariant;

//===----------------------------------------------------------------------===//
// Who shares loops
//===----------------------------------------------------------------------===//

bool NestPlan::mayShareLoops(Operation *op) const {
  const NestShape &shape = getShape(op);
  if (!limits.shared || !shape.laneLetter || shape.laneLetter == rowLetter || shape.looped.size() < 2 || shape.looped.count(rowLetter))
    return false;
  SmallVector<char> outer = shape.getOuter();
  size_t depth = shape.kept.size() - shape.kept.count(shape.laneLetter);
  if (shape.sumsLanes)
    return depth == outer.size();
  return llvm::all_of(llvm::seq<size_t>(0, depth), [&](size_t d) { return shape.kept.count(outer[d]); });
}

std::pair<int64_t, int64_t> NestPlan::countHeld(ArrayRef<Operation *> ops, ArrayRef<Value> leaves, const NestShape &shape) const {
  int64_t held = 0, atPosition = 0, passing = 0;
  for (Operation *op : ops) {
    const NestShape &own = getShape(op);
    int64_t elements = countElements(op->getResult(0), shape.looped);
    if (own.sumsLanes)
      atPosition += elements;
    else if (!own.kept.count(shape.blockLetter))
      held += elements * shape.vectors;
  }
  for (Value leaf : leaves) {
    StringRef letters = analysis.getLetters(leaf);
    int64_t elements = countElements(leaf, shape.looped), all = elements * (letters.contains(shape.laneLetter) ? shape.vectors : 1);
    if (!letters.contains(shape.blockLetter))
      held += all;
    else if (limits.lanesAreThreads)
      atPosition += all;
    else
      passing = std::max(passing, elements);
  }
  return {held + passing, atPosition};
}

std::optional<NestShape> NestPlan::makeSharedShape(ArrayRef<Operation *> ops) const {
  NestShape shape;
  shape.looped = shape.kept = getShape(ops.front()).looped;
  shape.laneLetter = getShape(ops.front()).laneLetter;
  shape.blockLetter = shape.groupLetter = shape.getOuter().back();
  int64_t ofLanes = shape.looped[shape.laneLetter], extent = shape.looped[shape.blockLetter];
  if (limits.lanesAreThreads)
    shape.groups = limits.lanes / std::min<int64_t>(llvm::PowerOf2Ceil(ofLanes), limits.lanes);
  while (extent % shape.groups)
    shape.groups /= 2;
  if (shape.groups == 1)
    shape.groupLetter = 0;
  SmallVector<Value> leaves;
  for (Operation *op : ops) {
    collectLeaves(op, leaves);
    shape.sumsLanes |= getShape(op).sumsLanes;
  }
  // Of the vectors, all if there are sums over them, else as many as fit.
  int64_t vectors = (ofLanes + limits.lanes - 1) / limits.lanes, held = 0, atPosition = 0;
  shape.vectors = vectors;
  for (;;) {
    std::tie(held, atPosition) = countHeld(ops, leaves, shape);
    if (held + atPosition <= limits.shared)
      break;
    if (shape.sumsLanes || limits.lanesAreThreads || shape.vectors == 1)
      return std::nullopt;
    do
      --shape.vectors;
    while (vectors % shape.vectors);
  }
  // Sums over lanes end up a lane each.
  for (int64_t n = 2; held + n * atPosition <= limits.shared && n <= std::min(extent, limits.lanes) / shape.groups; ++n)
    if (extent / shape.groups % n == 0)
      shape.block = n;
  return shape;
}

bool NestPlan::haveSharedLoops(ArrayRef<Operation *> ops) const {
  if (ops.size() > 1 || limits.lanesAreThreads)
    return ops.size() > 1;
  return !isa<PairsOp, PairSumOp>(ops.front()) && mayShareLoops(ops.front()) && makeSharedShape(ops);
}

bool NestPlan::dependsOn(ArrayRef<Operation *> ops, unsigned unit) const {
  llvm::SmallDenseSet<unsigned> seen;
  SmallVector<Operation *> work(ops);
  while (!work.empty()) {
    SmallVector<Value> read;
    collectRead(work.pop_back_val(), read);
    for (Value value : read) {
      unsigned other = unitOf.lookup(value.getDefiningOp());
      if (other == unit)
        return true;
      if (seen.insert(other).second)
        work.append(units[other]);
    }
  }
  return false;
}

void NestPlan::shareLoops() {
  llvm::DenseMap<Operation *, SmallVector<Value>> leavesOf;
  llvm::DenseMap<Operation *, SmallVector<std::pair<unsigned, int64_t>>> places;
  llvm::DenseMap<Value, llvm::SmallSetVector<unsigned, 4>> readers; // units, by what they read
  for (const Contribution &c : analysis.getContributions())
    places[c.value.getDefiningOp()].push_back({c.result, c.offset});
  auto mayJoin = [&](Operation *op, ArrayRef<Operation *> ops) {
    const NestShape &shape = getShape(op), &others = getShape(ops.front());
    if (!mayShareLoops(ops.front()) || shape.looped != others.looped || shape.laneLetter != others.laneLetter)
      return false;
    // Who adds to what another has given is in the same lane.
    return llvm::all_of(ops, [&](Operation *other) {
      return shape.kept == getShape(other).kept || llvm::none_of(places[op], [&](auto place) { return llvm::is_contained(places[other], place); });
    });
  };
  auto put = [&](Operation *op, unsigned unit) {
    unitOf[op] = unit;
    for (Value leaf : leavesOf[op])
      readers[leaf].insert(unit);
  };
  auto join = [&](Operation *op, unsigned unit) {
    SmallVector<Operation *> all(units[unit]);
    all.push_back(op);
    if (!makeSharedShape(all))
      return false;
    units[unit] = all;
    put(op, unit);
    return true;
  };
  // Those that have a leaf in common that is as large as the loops.
  for (Operation *op : analysis.getNests()) {
    if (isInlined(op))
      continue;
    collectLeaves(op, leavesOf[op]);
    std::set<unsigned> candidates;
    if (!isa<PairsOp, PairSumOp>(op) && mayShareLoops(op))
      for (Value leaf : leavesOf[op])
        if (getLoops(leaf) == getShape(op).looped)
          candidates.insert(readers[leaf].begin(), readers[leaf].end());
    if (llvm::any_of(candidates, [&](unsigned unit) { return mayJoin(op, units[unit]) && !dependsOn(op, unit) && join(op, unit); }))
      continue;
    units.push_back({op});
    put(op, units.size() - 1);
  }
  // And those that read nothing else than they do.
  for (unsigned own = 0; own < units.size(); ++own) {
    Operation *op = units[own].front();
    if (units[own].size() != 1 || isa<PairsOp, PairSumOp>(op) || !mayShareLoops(op) || leavesOf[op].empty())
      continue;
    for (unsigned unit : SmallVector<unsigned>(readers[leavesOf[op].front()].getArrayRef())) {
      bool readsAll = llvm::all_of(leavesOf[op], [&](Value leaf) { return readers[leaf].contains(unit); });
      if (readsAll && units[unit].size() > 1 && mayJoin(op, units[unit]) && !dependsOn(op, unit) && !dependsOn(units[unit], own) && join(op, unit)) {
        units[own].clear();
        break;
      }
    }
  }
  llvm::erase_if(units, [](const auto &ops) { return ops.empty(); });
  // In program order, by who comes last.
  llvm::stable_sort(units, [](const auto &a, const auto &b) {
    auto last = [](const auto &ops) { return *llvm::max_element(ops, [](Operation *x, Operation *y) { return x->isBeforeInBlock(y); }); };
    return last(a)->isBeforeInBlock(last(b));
  });
  for (const auto &ops : units) {
    if (!haveSharedLoops(ops))
      continue;
    NestShape shared = *makeSharedShape(ops);
    for (Operation *op : ops) {
      NestShape &own = shapes[op];
      own.groups = shared.groups;
      own.groupLetter = shared.groupLetter;
      own.unrolling = 1;
      bool keepsAll = own.kept.count(shared.blockLetter);
      own.block = keepsAll ? shared.block : 1;
      own.blockLetter = keepsAll ? shared.blockLetter : own.blockLetter;
      own.unrolledLetter = keepsAll ? 0 : shared.blockLetter;
    }
  }
}

//===----------------------------------------------------------------------===//
// Their code
//===----------------------------------------------------------------------===//

void NestStaging::stageTogether(const NestPlan::Step &step) {
  begin(step.loops);
  OpBuilder::InsertPoint after = builder.saveInsertionPoint();
  Shared shared{step.ops, {}, {}, {}};
  for (Operation *op : step.ops)
    plan.collectLeaves(op, shared.leaves);
  int64_t extent = shape.looped[shape.laneLetter], atOnce = lanes / shape.groups, ofVectors = shape.vectors * atOnce;
  Value first = ix.constant(0);
  if (ofVectors < extent) {
    scf::ForOp outer = loop(extent, ofVectors, {});
    outermost = outer;
    first = outer.getInductionVar();
    multiples[first] = ofVectors;
  }
  for (int64_t n = 0; n < shape.vectors; ++n) {
    Value at = ix.add(first, n * atOnce);
    bool isPart = n == shape.vectors - 1 && extent % atOnce != 0;
    shared.lanes.push_back({target.getLane(at, extent, shape.groups), isPart ? target.getMask(ix.sub(ix.constant(extent), at), shape.groups) : Value()});
  }
  stageLoops(shared, SmallVector<llvm::DenseMap<Value, Value>>(shared.lanes.size()), 0);
  builder.restoreInsertionPoint(after);
}

void NestStaging::stageLoops(Shared &shared, SmallVector<llvm::DenseMap<Value, Value>> known, size_t level) {
  SmallVector<char> outer = shape.getOuter();
  if (level == outer.size())
    return stageBody(shared, std::move(known));
  // What has none of the letters to come is read before their loops.
  for (Value leaf : shared.leaves)
    if (llvm::none_of(ArrayRef(outer).drop_front(level), [&](char letter) { return analysis.getLetters(leaf).contains(letter); }))
      for (auto [n, ofLanes] : llvm::enumerate(shared.lanes)) {
        std::tie(lane, mask) = ofLanes;
        known[n].insert({leaf, n && !isInLanes(leaf) ? known[0].lookup(leaf) : getOperand(leaf, known[n], 0)});
      }
  SmallVector<Operation *> ending;
  for (Operation *op : shared.ops)
    if (const NestShape &own = plan.getShape(op); !own.sumsLanes && own.kept.size() == level + 1) {
      ending.push_back(op);
      for (size_t n = 0; n < shared.lanes.size(); ++n)
        shared.sums[op].push_back(ZeroOp::create(builder, loc, getSmallType(op->getResult(0), /*inLanes=*/true)));
    }
  SmallVector<Value> inits;
  for (auto &[op, sums] : shared.sums)
    inits.append(sums);
  scf::ForOp loop = enter(outer[level], inits, /*isShared=*/false);
  auto takeSums = [&](ValueRange values) {
    for (auto &[op, sums] : shared.sums) {
      sums = SmallVector<Value>(values.take_front(sums.size()));
      values = values.drop_front(sums.size());
    }
  };
  takeSums(loop.getRegionIterArgs());
  if (outer[level] == shape.blockLetter)
    findBlock();
  stageLoops(shared, std::move(known), level + 1);
  if (!inits.empty()) {
    SmallVector<Value> values;
    for (auto &[op, sums] : shared.sums)
      values.append(sums);
    scf::YieldOp::create(builder, loc, values);
    takeSums(loop.getResults());
  }
  builder.setInsertionPointAfter(loop);
  for (Operation *op : ending) {
    SmallVector<Value> sums = shared.sums[op];
    shared.sums.erase(op);
    Value result = op->getResult(0);
    if (shape.groups > 1) {
      std::tie(lane, mask) = shared.lanes.front();
      writeGroupSums(result, sums.front());
      continue;
    }
    writeResult(result, [&](const NestPlace &place) {
      for (auto [ofLanes, sum] : llvm::zip(shared.lanes, sums)) {
        std::tie(lane, mask) = ofLanes;
        write(sum, result, place);
      }
    });
  }
}

void NestStaging::stageBody(Shared &shared, SmallVector<llvm::DenseMap<Value, Value>> known) {
  Value first = position[shape.blockLetter];
  llvm::MapVector<Operation *, SmallVector<Value>> overLanes, elementwise;
  for (int64_t n = 0; n < shape.block; ++n) {
    enterBlock(n);
    llvm::DenseMap<Value, Value> ofPosition;
    for (auto [l, ofLanes] : llvm::enumerate(shared.lanes)) {
      std::tie(lane, mask) = ofLanes;
      llvm::DenseMap<Value, Value> here = known[l];
      here.insert(ofPosition.begin(), ofPosition.end());
      for (Operation *op : shared.ops) {
        const NestShape &own = plan.getShape(op);
        Value computed = compute(op, here, 0);
        if (own.sumsLanes) {
          SmallVector<Value> &sums = overLanes[op];
          if (l)
            sums.back() = AddOp::create(builder, loc, sums.back(), computed);
          else
            sums.push_back(computed);
        } else if (auto it = shared.sums.find(op); it != shared.sums.end()) {
          it->second[l] = AddOp::create(builder, loc, it->second[l], computed);
        } else {
          elementwise[op].push_back(computed);
        }
      }
      // What others need there as well.
      for (auto [value, made] : here) {
        if (!analysis.getLetters(value).contains(shape.blockLetter))
          known[l].insert({value, made});
        if (!isInLanes(value))
          ofPosition.insert({value, made});
      }
    }
  }
  for (auto &each : elementwise) {
    Value result = each.first->getResult(0);
    writeResult(result, [&](const NestPlace &place) {
      for (auto [i, value] : llvm::enumerate(each.second)) {
        enterBlock(i / shared.lanes.size());
        std::tie(lane, mask) = shared.lanes[i % shared.lanes.size()];
        write(value, result, place);
      }
    });
  }
  position[shape.blockLetter] = first;
  for (auto &[op, sums] : overLanes)
    writeLaneSums(op->getResult(0), sums, shape.blockLetter);
}
