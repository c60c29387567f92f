//===- TileUnits.cpp - what a kernel may be cut into ----------------------===//
#include "TileUnits.h"
#include "Isomorphism.h"

using namespace mlir;
using namespace espmm::equivariant;

TileUnits::TileUnits(const KernelAnalysis &analysis, Access side, const ScheduleWishes &wishes)
    : kernel(analysis.kernel), analysis(analysis), side(side), wishes(wishes) {}

/// Puts together what comes one after another, as long as its registers are in the budget: for each tile, the numbers of what it has.
static SmallVector<SmallVector<unsigned>> fillTiles(ArrayRef<int64_t> registers, int64_t budget) {
  SmallVector<SmallVector<unsigned>> tiles;
  int64_t filled = 0;
  for (auto [n, own] : llvm::enumerate(registers)) {
    if (tiles.empty() || filled + own > budget) {
      tiles.emplace_back();
      filled = 0;
    }
    tiles.back().push_back(n);
    filled += own;
  }
  return tiles;
}

SmallVector<SmallVector<unsigned>> TileUnits::getTiles() {
  return fillTiles(llvm::map_to_vector(units, [](const Unit &unit) { return unit.registers; }), getBudget());
}

SmallVector<SmallVector<SmallVector<unsigned>>> TileUnits::getTilesAlike(size_t most) {
  std::map<SmallVector<int64_t>, unsigned> classOfKinds;
  SmallVector<SmallVector<unsigned>> classes;
  for (unsigned u = 0; u < units.size(); ++u) {
    auto key = llvm::map_to_vector(getContributions(u), [&](unsigned n) { return kinds[n]; });
    auto [known, isNew] = classOfKinds.try_emplace(key, classes.size());
    if (isNew || classes[known->second].size() == most) {
      known->second = classes.size();
      classes.emplace_back();
    }
    classes[known->second].push_back(u);
  }
  llvm::MapVector<size_t, SmallVector<SmallVector<unsigned>>> bySize;
  for (auto &alike : classes)
    bySize[alike.size()].push_back(alike);
  SmallVector<SmallVector<SmallVector<unsigned>>> result;
  for (auto &[size, ofSize] : bySize)
    for (auto &tile : fillTiles(llvm::map_to_vector(ofSize, [&](auto &alike) { return units[alike.front()].registers; }), getBudget())) {
      auto &instances = result.emplace_back(size);
      for (unsigned c : tile)
        for (auto [instance, u] : llvm::zip(instances, ofSize[c]))
          instance.push_back(u);
    }
  return result;
}

SmallVector<unsigned> TileUnits::getContributions(ArrayRef<unsigned> ofTile) const {
  SmallVector<unsigned> result;
  for (unsigned u : ofTile) {
    SmallVector<unsigned> own(units[u].contributions);
    llvm::stable_sort(own, [&](unsigned a, unsigned b) { return kinds[a] < kinds[b]; });
    llvm::append_range(result, own);
  }
  return result;
}

int64_t TileUnits::getWords(Value value) const {
  auto type = cast<RankedTensorType>(value.getType());
  int64_t count = type.getNumElements();
  if (analysis.hasChannels(value))
    count /= std::max<int64_t>(type.getDimSize(0), 1);
  return count * type.getElementTypeBitWidth() / 32;
}

void TileUnits::collect() {
  auto groups = analysis.getGroups();
  // Those that have to stay together, and those that should.
  llvm::EquivalenceClasses<unsigned> inseparable, classes;
  auto join = [&](unsigned a, unsigned b, bool always) {
    classes.unionSets(a, b);
    if (always)
      inseparable.unionSets(a, b);
  };
  llvm::DenseMap<Operation *, unsigned> groupOf;
  llvm::DenseMap<Value, unsigned> firstReader;
  for (auto [g, ops] : llvm::enumerate(groups)) {
    classes.insert(g);
    inseparable.insert(g);
    for (Operation *op : ops) {
      groupOf[op] = g;
      for (Value operand : op->getOperands())
        if (operand.getDefiningOp<BlockOp>() && analysis.hasChannels(operand)) {
          auto [it, isNew] = firstReader.try_emplace(operand, g);
          if (!isNew)
            join(it->second, g, /*always=*/false);
        }
    }
  }
  // What is computed without channels from a sum over channels belongs to the group of that sum.
  std::function<std::optional<unsigned>(Value)> findGroup = [&](Value value) -> std::optional<unsigned> {
    Operation *op = value.getDefiningOp();
    if (!op)
      return std::nullopt;
    if (auto it = groupOf.find(op); it != groupOf.end())
      return it->second;
    std::optional<unsigned> found;
    for (Value operand : op->getOperands())
      if (auto g = findGroup(operand)) {
        if (found)
          join(*found, *g, /*always=*/true);
        found = g;
      }
    return found;
  };
  std::map<std::pair<unsigned, int64_t>, unsigned> firstWriter;
  SmallVector<unsigned> groupOfContribution;
  for (const Contribution &c : analysis.getContributions()) {
    unsigned g = *findGroup(c.value);
    groupOfContribution.push_back(g);
    if (!analysis.hasChannels(c.value))
      continue;
    // What is added to memory may come from several kernels; what is written may not.
    auto [it, isNew] = firstWriter.try_emplace({c.result, c.offset}, g);
    if (!isNew)
      join(it->second, g, /*always=*/!isAdded(kernel.getResultAccess(c.result)));
  }
  auto makeUnits = [&](const llvm::EquivalenceClasses<unsigned> &by, llvm::function_ref<bool(unsigned)> isMember) {
    llvm::MapVector<unsigned, Unit> byLeader;
    for (unsigned g = 0; g < groups.size(); ++g)
      if (isMember(g))
        byLeader[by.getLeaderValue(g)].groups.push_back(g);
    for (auto [n, g] : llvm::enumerate(groupOfContribution))
      if (isMember(g))
        byLeader[by.getLeaderValue(g)].contributions.push_back(n);
    for (auto &[leader, unit] : byLeader)
      countRegisters(unit);
    return byLeader;
  };
  for (auto &[leader, unit] : makeUnits(classes, [](unsigned) { return true; })) {
    if (unit.registers <= getBudget()) {
      units.push_back(std::move(unit));
      continue;
    }
    // Too much for one kernel: x is then read, and gx added to, by several.
    auto isMember = [&, leader = leader](unsigned g) { return classes.getLeaderValue(g) == leader; };
    for (auto &[part, piece] : makeUnits(inseparable, isMember))
      units.push_back(std::move(piece));
  }
  ComputationKinds ofKernel(analysis);
  for (const Contribution &c : analysis.getContributions())
    kinds.push_back(ofKernel.getKind(c));
}

bool TileUnits::isHeld(Access access, Type row, Value block) const {
  return side == Access::Edge ? cast<RankedTensorType>(row).getEncoding() && analysis.hasChannels(block) : isGrouped(access);
}

void TileUnits::countRegisters(Unit &unit) {
  llvm::DenseSet<Value> rows;
  for (unsigned g : unit.groups)
    for (Operation *op : analysis.getGroups()[g])
      for (Value operand : op->getOperands())
        if (auto block = operand.getDefiningOp<BlockOp>())
          if (isHeld(kernel.getInputAccess(cast<BlockArgument>(block.getRow()).getArgNumber()), block.getRow().getType(), operand) &&
              rows.insert(operand).second)
            unit.registers += getWords(operand);
  std::set<std::pair<unsigned, int64_t>> sums;
  for (unsigned n : unit.contributions) {
    const Contribution &c = analysis.getContributions()[n];
    if (isHeld(kernel.getResultAccess(c.result), kernel.getResult(c.result).getType(), c.value) && sums.insert({c.result, c.offset}).second)
      unit.registers += getWords(c.value);
  }
}

int64_t TileUnits::getBudget() {
  if (wishes.tileRegisters)
    return wishes.tileRegisters;
  // Doubles take two each; a kernel of fewer paths would read features, and add to their gradients, more often than it gains.
  if (side != Access::Edge && !(hasRows() && hasSums()))
    return isDouble(kernel) ? 105 : 75;
  // What is not held is twice as much for doubles too.
  return side != Access::Edge && isDouble(kernel) ? 110 : 150;
}

bool TileUnits::hasRows() {
  return llvm::any_of(llvm::seq<unsigned>(0, kernel.getInputs().size()),
                      [&](unsigned i) { return isGrouped(kernel.getInputAccess(i)); });
}

bool TileUnits::hasSums() {
  return llvm::any_of(llvm::seq<unsigned>(0, kernel.getNumResults()),
                      [&](unsigned r) { return isGrouped(kernel.getResultAccess(r)); });
}
