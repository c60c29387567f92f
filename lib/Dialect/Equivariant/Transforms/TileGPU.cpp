//===- TileGPU.cpp - kernels cut to what a warp's registers hold ----------===//
#include "SharedRows.h"
#include "SlabSchedule.h"
#include "Tile.h"
#include "espmm/Dialect/Equivariant/Transforms/Utils.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace espmm::equivariant;

namespace {

/// Paths that belong together: they share a block of a row that is read, or add to the same block of a result.
struct Unit {
  SmallVector<unsigned> groups;
  SmallVector<unsigned> contributions;
  /// 32-bit registers that are live over the whole loop: blocks of grouped rows, and sums.
  int64_t registers = 0;
};

class GPUTiling {
public:
  GPUTiling(KernelOp kernel, const ScheduleWishes &wishes)
      : kernel(kernel), analysis(kernel), side(chooseGroupSide(kernel)), wishes(wishes) {}

  LogicalResult run() {
    if (needsNests(kernel))
      return scheduleNestsForGPU(kernel, wishes);
    if (failed(analysis.verify()))
      return failure();
    collectUnits();
    // Greedily, in program order: a tile is full when its live values would crowd out the loop's own.
    SmallVector<SmallVector<unsigned>> tiles;
    int64_t registers = 0, budget = getBudget();
    for (auto [u, unit] : llvm::enumerate(units)) {
      if (tiles.empty() || registers + unit.registers > budget) {
        tiles.emplace_back();
        registers = 0;
      }
      tiles.back().push_back(u);
      registers += unit.registers;
    }
    LogicalResult made = success();
    for (auto &tile : tiles)
      made = succeeded(made) ? emitTile(tile) : made;
    if (tiles.empty())
      made = emitKernel({{}, {0, 1, 1}});
    if (failed(made))
      return failure();
    combine();
    return success();
  }

private:
  bool isGrouped(Access access) const { return side != Access::Edge && access == side; }

  int64_t getWords(Value value) {
    auto type = cast<RankedTensorType>(value.getType());
    int64_t count = type.getNumElements();
    if (analysis.hasChannels(value))
      count /= std::max<int64_t>(type.getDimSize(0), 1);
    return count * type.getElementTypeBitWidth() / 32;
  }

  void collectUnits() {
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
    auto collect = [&](const llvm::EquivalenceClasses<unsigned> &by, llvm::function_ref<bool(unsigned)> isMember) {
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
    for (auto &[leader, unit] : collect(classes, [](unsigned) { return true; })) {
      if (unit.registers <= getBudget()) {
        units.push_back(std::move(unit));
        continue;
      }
      // Too much for one kernel: x is then read, and gx added to, by several.
      auto isMember = [&, leader = leader](unsigned g) { return classes.getLeaderValue(g) == leader; };
      for (auto &[part, piece] : collect(inseparable, isMember))
        units.push_back(std::move(piece));
    }
  }

  /// Rows that a kernel adds to in memory, by atomics.
  bool isAdded(Access access) const { return access != Access::Edge && !isGrouped(access); }

  /// Rows and sums that are in registers over the whole loop; without grouping, over all of an edge: what features and their gradients
  /// have.
  bool isHeld(Access access, Type row, Value block) const {
    return side == Access::Edge ? cast<RankedTensorType>(row).getEncoding() && analysis.hasChannels(block) : isGrouped(access);
  }

  void countRegisters(Unit &unit) {
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

  /// Registers for what is held. A second derivative holds both rows and sums, and has twice as many products besides.
  int64_t getBudget() {
    if (wishes.tileRegisters)
      return wishes.tileRegisters;
    // Doubles take two each; a kernel of fewer paths would read features, and add to their gradients, more often than it gains.
    if (side != Access::Edge && !(hasRows() && hasSums()))
      return isDouble() ? 105 : 75;
    // What is not held is twice as much for doubles too.
    return side != Access::Edge && isDouble() ? 110 : 150;
  }

  bool isDouble() { return cast<RankedTensorType>(kernel.getResultTypes().front()).getElementType().isF64(); }

  bool hasRows() {
    return llvm::any_of(llvm::seq<unsigned>(0, kernel.getInputs().size()),
                        [&](unsigned i) { return isGrouped(kernel.getInputAccess(i)); });
  }
  bool hasSums() {
    return llvm::any_of(llvm::seq<unsigned>(0, kernel.getNumResults()),
                        [&](unsigned r) { return isGrouped(kernel.getResultAccess(r)); });
  }

  int64_t getSlabs(unsigned contribution) {
    const Contribution &c = analysis.getContributions()[contribution];
    // A sum over channels has as many as the group it comes from.
    for (auto &group : analysis.getGroups())
      for (Operation *op : group)
        if (op == c.value.getDefiningOp())
          return (analysis.getChannels(op) + warpSize - 1) / warpSize;
    int64_t slabs = 0;
    std::function<void(Value)> visit = [&](Value value) {
      if (Operation *op = value.getDefiningOp()) {
        if (analysis.isChannelOp(op))
          slabs = std::max(slabs, (analysis.getChannels(op) + warpSize - 1) / warpSize);
        else
          llvm::for_each(op->getOperands(), visit);
      }
    };
    visit(c.value);
    return slabs;
  }

  /// A tile's kernel: contributions that have channels in a range of slabs, and how many of these a warp works on at once.
  struct Piece {
    SmallVector<unsigned> active;
    SlabRange range;
  };

  /// One kernel for each range of slabs in which the same paths have channels; or one for all, if a warp may work on all slabs at once.
  SmallVector<Piece> cutTile(ArrayRef<unsigned> tile, int64_t mostSlabs) {
    SmallVector<unsigned> contributions;
    std::set<int64_t> ends;
    for (unsigned u : tile) {
      for (unsigned n : units[u].contributions) {
        contributions.push_back(n);
        ends.insert(getSlabs(n));
      }
    }
    llvm::sort(contributions);
    if (!ends.empty() && *ends.rbegin() <= mostSlabs)
      return {{contributions, {0, *ends.rbegin(), *ends.rbegin()}}};
    SmallVector<Piece> pieces;
    int64_t begin = 0;
    for (int64_t end : ends) {
      SmallVector<unsigned> active;
      for (unsigned n : contributions)
        if (getSlabs(n) > begin)
          active.push_back(n);
      int64_t slabs = std::min(mostSlabs, end - begin);
      while ((end - begin) % slabs != 0)
        --slabs;
      pieces.push_back({active, {begin, end, slabs}});
      begin = end;
    }
    return pieces;
  }

  LogicalResult emitTile(ArrayRef<unsigned> tile) {
    for (const Piece &piece : cutTile(tile, wishes.slabs ? wishes.slabs : chooseSlabs(tile)))
      if (failed(emitKernel(piece)))
        return failure();
    return success();
  }

  /// Two slabs at once, and more where a warp copies little for an edge, as long as registers hold what a lane has of them. Doubles are long enough.
  int64_t chooseSlabs(ArrayRef<unsigned> tile) {
    constexpr int64_t bytesOfEdge = 2560, mostSlabs = 8;
    // Rows come without a pause: there it is better to have more warps at some point.
    int64_t chosen = 1, mostRegisters = side == Access::Edge ? 208 : 255;
    for (int64_t slabs = 2; slabs <= mostSlabs && !isDouble(); ++slabs) {
      auto pieces = cutTile(tile, slabs);
      bool fits = true, suffices = true;
      for (const Piece &piece : pieces) {
        KernelOp clone = cloneKernel(piece, getGiven(piece));
        SlabSchedule schedule(clone, side, piece.range, wishes);
        suffices &= schedule && schedule.countCopiedBytes() >= bytesOfEdge;
        fits &= schedule && (piece.range.slabs == 1 || schedule.countRegisters() <= mostRegisters);
        clone.erase();
      }
      if (!fits)
        break;
      chosen = slabs;
      // More than a tile has changes nothing.
      if (suffices || (pieces.size() == 1 && slabs >= pieces.front().range.end))
        break;
    }
    return chosen;
  }

  /// Results that a kernel gives; those that no path gives go to the first kernel.
  SmallVector<unsigned> getGiven(const Piece &piece) {
    SmallVector<unsigned> given;
    for (unsigned r = 0; r < kernel.getNumResults(); ++r) {
      auto gives = [&](unsigned n) { return analysis.getContributions()[n].result == r; };
      bool nobody = llvm::none_of(analysis.getContributions(), [&](const Contribution &c) { return c.result == r; });
      if (llvm::any_of(piece.active, gives) || (nobody && !parts.count(r)))
        given.push_back(r);
    }
    return given;
  }

  KernelOp cloneKernel(const Piece &piece, ArrayRef<unsigned> given) {
    OpBuilder builder(kernel);
    SmallVector<Type> types;
    SmallVector<Attribute> access;
    for (unsigned r : given) {
      types.push_back(kernel.getResult(r).getType());
      access.push_back(kernel.getResultAccessAttr()[r]);
    }
    auto clone = KernelOp::create(builder, kernel.getLoc(), types, kernel.getSpace(), kernel.getInputs(),
                                  kernel.getInputAccessAttr(), builder.getArrayAttr(access));
    IRMapping mapping;
    kernel.getBody().cloneInto(&clone.getBody(), mapping);
    auto yield = cast<YieldOp>(clone.getBody().front().getTerminator());
    builder.setInsertionPoint(yield);
    SmallVector<Value> rows;
    for (unsigned r : given) {
      SmallVector<int64_t> offsets;
      SmallVector<Value> blocks;
      for (unsigned n : piece.active) {
        const Contribution &c = analysis.getContributions()[n];
        if (c.result == r) {
          offsets.push_back(c.offset);
          blocks.push_back(mapping.lookup(c.value));
        }
      }
      rows.push_back(AssembleOp::create(builder, kernel.getLoc(), analysis.getAssemble(r).getType(), offsets, blocks));
    }
    yield.getValuesMutable().assign(rows);
    eraseDeadOps(clone.getBody().front());
    return clone;
  }

  LogicalResult emitKernel(const Piece &piece) {
    SmallVector<unsigned> given = getGiven(piece);
    KernelOp clone = cloneKernel(piece, given);
    for (auto [r, result] : llvm::zip(given, clone.getResults()))
      parts[r].push_back(result);
    ScheduleAttr schedule = SlabSchedule(clone, side, piece.range, wishes).get();
    if (!schedule)
      return failure();
    clone->setAttr("schedule", schedule);
    return success();
  }

  void combine() {
    OpBuilder builder(kernel);
    for (unsigned r = 0; r < kernel.getNumResults(); ++r) {
      Value sum;
      for (Value part : parts[r])
        sum = sum ? AddOp::create(builder, kernel.getLoc(), sum, part).getResult() : part;
      kernel.getResult(r).replaceAllUsesWith(sum);
    }
    kernel.erase();
  }

  KernelOp kernel;
  KernelAnalysis analysis;
  Access side;
  ScheduleWishes wishes;
  SmallVector<Unit> units;
  std::map<unsigned, SmallVector<Value>> parts;
};

} // namespace

// A result that is summed at the side which the edges are not grouped by: its rows are kept by edge, and summed by a kernel of
// their own that groups by that side.
static void splitSums(KernelOp kernel) {
  Access side = chooseGroupSide(kernel);
  SmallVector<Attribute> access(kernel.getResultAccess().getValue());
  OpBuilder builder(kernel->getContext());
  builder.setInsertionPointAfter(kernel);
  for (OpResult result : kernel.getResults()) {
    Access wanted = kernel.getResultAccess(result.getResultNumber());
    auto type = cast<RankedTensorType>(result.getType());
    auto irreps = dyn_cast_or_null<IrrepsAttr>(type.getEncoding());
    if (wanted == Access::Edge || wanted == Access::All || wanted == side || !irreps)
      continue;
    Location loc = kernel.getLoc();
    auto edge = AccessAttr::get(kernel.getContext(), Access::Edge);
    auto sum = KernelOp::create(builder, loc, TypeRange(type), kernel.getSpace(), ValueRange{result}, builder.getArrayAttr({edge}),
                                builder.getArrayAttr({access[result.getResultNumber()]}));
    access[result.getResultNumber()] = edge;
    auto rowType = RankedTensorType::get({type.getShape().back()}, type.getElementType(), irreps);
    OpBuilder::InsertionGuard guard(builder);
    Block *body = builder.createBlock(&sum.getBody(), {}, {rowType}, {loc});
    SmallVector<int64_t> offsets;
    SmallVector<Value> blocks;
    for (auto [b, ir] : llvm::enumerate(irreps.getBlocks())) {
      if (ir.mul == 0)
        continue;
      auto blockType = RankedTensorType::get({ir.mul, ir.irDim()}, type.getElementType());
      Value block = BlockOp::create(builder, loc, blockType, body->getArgument(0), irreps.getOffset(b));
      blocks.push_back(EinsumOp::create(builder, loc, blockType, builder.getStringAttr("ui->ui"), ValueRange{block}));
      offsets.push_back(irreps.getOffset(b));
    }
    YieldOp::create(builder, loc, ValueRange{AssembleOp::create(builder, loc, rowType, offsets, blocks)});
    result.replaceAllUsesExcept(sum.getResult(0), sum);
  }
  kernel.setResultAccessAttr(builder.getArrayAttr(access));
}

LogicalResult espmm::equivariant::tileForGPU(KernelOp kernel, const ScheduleWishes &wishes) {
  if (wishes.deterministic) {
    splitSums(kernel);
    for (Operation *user : llvm::to_vector(kernel->getUsers()))
      if (auto sum = dyn_cast<KernelOp>(user); sum && !sum->hasAttr("schedule"))
        if (failed(GPUTiling(sum, wishes).run()))
          return failure();
  }
  return GPUTiling(kernel, wishes).run();
}
