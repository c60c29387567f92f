//===- TileGPU.cpp - kernels cut to what a warp's registers hold ----------===//
#include "GPUNestTarget.h"
#include "GPURowTiles.h"
#include "KernelCost.h"
#include "NestPlan.h"
#include "SharedRows.h"
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
      return scheduleNests();
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
      made = emitKernel({{}, 0, 1, 1});
    if (failed(made))
      return failure();
    combine();
    return success();
  }

private:
  /// Loops have many loads under way in registers. Where there are none, what an operation reads and computes at once has to fit, and other warps run while one waits.
  int64_t chooseRegisters() {
    KernelAnalysis nests(kernel, LoopedAxes::Nests);
    NestPlan plan(nests, GPUNestTarget::getLimits());
    bool hasLoops = llvm::any_of(plan.getSteps(), [&](const NestPlan::Step &step) {
      const NestShape &shape = plan.getShape(step.ops.front());
      return shape.blockLetter || !shape.summed.empty();
    });
    int64_t words = cast<RankedTensorType>(kernel.getResultTypes().front()).getElementTypeBitWidth() / 32;
    int64_t live = plan.countLive();
    int64_t registers = hasLoops || (live > 128 && live <= 192) ? 128 : live <= 128 ? 64 : 255;
    return std::min<int64_t>(registers * words, 255);
  }

  /// What several operations give to one block of a result is added up first, if they have no sums over loops that would have to end before.
  void addUp() {
    KernelAnalysis nests(kernel, LoopedAxes::Nests);
    NestPlan plan(nests, NestLimits{warpSize});
    auto mayBeAdded = [&](Value value) {
      Operation *op = value.getDefiningOp();
      auto kept = plan.getLoops(value);
      return isa_and_nonnull<EinsumOp, AddOp>(op) && value.hasOneUse() && nests.isNest(op) && llvm::all_of(op->getOperands(), [&](Value operand) {
               return llvm::all_of(plan.getLoops(operand), [&](const auto &entry) { return kept.count(entry.first); });
             });
    };
    for (unsigned r = 0; r < kernel.getNumResults(); ++r) {
      AssembleOp assemble = nests.getAssemble(r);
      SmallVector<int64_t> offsets;
      SmallVector<Value> blocks;
      OpBuilder builder(assemble);
      // By offset and letters, where what can be added to is.
      std::map<std::pair<int64_t, std::string>, size_t> sums;
      for (auto [offset, value] : llvm::zip(assemble.getOffsets(), assemble.getBlocks())) {
        if (mayBeAdded(value)) {
          auto [sum, isNew] = sums.try_emplace({offset, nests.getLetters(value).str()}, blocks.size());
          if (!isNew) {
            blocks[sum->second] = AddOp::create(builder, kernel.getLoc(), blocks[sum->second], value);
            continue;
          }
        }
        offsets.push_back(offset);
        blocks.push_back(value);
      }
      if (blocks.size() == assemble.getBlocks().size())
        continue;
      assemble.getResult().replaceAllUsesWith(AssembleOp::create(builder, kernel.getLoc(), assemble.getType(), offsets, blocks));
      assemble.erase();
    }
  }

  /// A warp for a node, or for some rows; or a block for 32 rows at once that share weights, if they have room in its shared memory. Nothing of it is cut.
  LogicalResult scheduleNests() {
    if (failed(KernelAnalysis(kernel, LoopedAxes::Nests).verify()))
      return failure();
    auto emitError = [&] { return kernel.emitOpError("has no schedule as wished: "); };
    auto choose = [](int64_t wish, int64_t own) { return wish ? wish : own; };
    constexpr int64_t warpsOfTile = 8, warpsOfRows = 4, mostStages = 8;
    int64_t ofTile = choose(wishes.warps, warpsOfTile), stages = choose(wishes.stages, 2);
    std::optional<RowTile> tile = measureRowTile(kernel, ofTile, stages);
    bool isTile = tile && tile->bytes <= wishes.sharedBytes && (!wishes.rows || wishes.rows == warpSize);
    // A tile's block has all registers of a multiprocessor if its shared memory leaves no room for another one.
    bool isAlone = isTile && tile->bytes > wishes.sharedBytes / 2;
    // More memory to compute ahead in, if less is waited for then, and as many blocks have room.
    for (int64_t more = stages + 1; isTile && !wishes.stages && more <= mostStages; ++more)
      if (auto other = measureRowTile(kernel, ofTile, more); other->bytes <= wishes.sharedBytes / (isAlone ? 1 : 2) && other->span < tile->span * 95 / 100) {
        tile = other;
        stages = more;
      }
    // A tile would hold too much for what is added up.
    if (!isTile)
      addUp();
    int64_t registers = isTile ? isAlone ? 255 : 128 : chooseRegisters();
    auto schedule = ScheduleAttr::getChecked(emitError, kernel.getContext(), Target::GPU, side, warpSize, /*slab_begin=*/int64_t(0), /*slab_end=*/int64_t(1), /*slabs=*/int64_t(1),
                                             choose(wishes.rows, isTile ? warpSize : 1), choose(wishes.warps, isTile ? warpsOfTile : warpsOfRows), stages,
                                             choose(wishes.registers, registers), wishes.deterministic);
    if (schedule)
      kernel->setAttr("schedule", schedule);
    return success(schedule != nullptr);
  }

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
    int64_t slabBegin, slabEnd, slabs;
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
      return {{contributions, 0, *ends.rbegin(), *ends.rbegin()}};
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
      pieces.push_back({active, begin, end, slabs});
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
        ScheduleAttr schedule = makeSchedule(clone, piece, 0);
        suffices &= schedule && countCopiedBytes(clone, schedule) >= bytesOfEdge;
        fits &= schedule && (piece.slabs == 1 || countRegisters(clone, schedule) <= mostRegisters);
        clone.erase();
      }
      if (!fits)
        break;
      chosen = slabs;
      // More than a tile has changes nothing.
      if (suffices || (pieces.size() == 1 && slabs >= pieces.front().slabEnd))
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
    ScheduleAttr schedule = makeSchedule(clone, piece, wishes.registers);
    if (schedule && !wishes.registers)
      schedule = makeSchedule(clone, piece, chooseRegisters(clone, schedule));
    if (!schedule)
      return failure();
    clone->setAttr("schedule", schedule);
    return success();
  }

  ScheduleAttr makeSchedule(KernelOp clone, const Piece &piece, int64_t registers) {
    auto choose = [](int64_t wish, int64_t own) { return wish ? wish : own; };
    auto emitError = [&] { return kernel.emitOpError("has no schedule as wished: "); };
    auto withStages = [&](int64_t stages) {
      return ScheduleAttr::getChecked(emitError, kernel.getContext(), Target::GPU, side, warpSize, piece.slabBegin, piece.slabEnd,
                                      piece.slabs, choose(wishes.rows, 2), choose(wishes.warps, side == Access::Edge ? 1 : 4), stages,
                                      registers, wishes.deterministic);
    };
    int64_t own = hasRows() ? 2 : 3;
    ScheduleAttr schedule = withStages(choose(wishes.stages, own));
    return schedule && !wishes.stages ? withStages(chooseStages(own, countCopiedBytes(clone, schedule))) : schedule;
  }

  /// Slots of the ring of edges that are under way. Warps whose edges are short need more of them to keep memory busy.
  int64_t chooseStages(int64_t own, int64_t bytes) {
    constexpr int64_t bytesUnderWay = 6144, mostStages = 4;
    return side == Access::Edge || !bytes ? own : std::max(own, std::min(mostStages, bytesUnderWay / bytes));
  }

  /// Bytes that a warp copies for each edge, as they are stored before a convert that the kernel may take in.
  int64_t countCopiedBytes(KernelOp clone, ScheduleAttr schedule) {
    KernelAnalysis edge(clone);
    int64_t bits = 0;
    for (BlockOp block : clone.getBody().getOps<BlockOp>()) {
      unsigned i = cast<BlockArgument>(block.getRow()).getArgNumber();
      if (!edge.hasChannels(block.getResult()) || isGrouped(clone.getInputAccess(i)))
        continue;
      Value tensor = clone.getInputs()[i];
      if (auto convert = tensor.getDefiningOp<ConvertOp>())
        tensor = convert.getSource();
      int64_t mul = block.getType().getDimSize(0), elements = block.getType().getNumElements() / mul * schedule.getLaneChannels(mul);
      bits += elements * warpSize * getStoredElement(tensor).getIntOrFloatBitWidth();
    }
    return bits / 8;
  }

  /// 128, 168 or 255: a multiprocessor then holds 16, 12 or 8 warps.
  int64_t chooseRegisters(KernelOp clone, ScheduleAttr schedule) {
    int64_t wanted = countRegisters(clone, schedule);
    return wanted <= 128 ? 128 : wanted <= 168 ? 168 : 255;
  }

  int64_t countRegisters(KernelOp clone, ScheduleAttr schedule) {
    // Beside the values that are alive at once ptxas takes a few for addresses and indices (most of those it keeps in uniform registers), and for what it
    // loads early of each channel.
    int64_t wanted = estimateCost(clone, schedule).registers + 12 * schedule.getSlabs() * (isDouble() ? 2 : 1);
    // Without rows in registers everything comes from shared memory, and ptxas loads much of it early: besides the sums of an edge and
    // its features there are about 45 products and addresses.
    if (side == Access::Edge)
      wanted = std::max(wanted + 23, countEdgeRegisters(clone, schedule) + (isDouble() ? 90 : 45));
    return wanted;
  }

  /// Registers for an edge's own rows, and for the results of one: weights pass by one at a time and do not count.
  int64_t countEdgeRegisters(KernelOp clone, ScheduleAttr schedule) {
    KernelAnalysis edge(clone);
    auto getWords = [&](Value value, bool channels) {
      auto type = cast<RankedTensorType>(value.getType());
      int64_t mul = type.getDimSize(0), words = type.getNumElements() * type.getElementTypeBitWidth() / 32;
      return channels ? words / mul * schedule.getLaneChannels(mul) : words;
    };
    int64_t words = 0;
    for (BlockOp block : clone.getBody().getOps<BlockOp>())
      if (edge.hasChannels(block.getResult()) && block.getRow().getType().getEncoding() &&
          !isGrouped(clone.getInputAccess(cast<BlockArgument>(block.getRow()).getArgNumber())))
        words += getWords(block.getResult(), true);
    std::set<std::pair<unsigned, int64_t>> counted;
    for (const Contribution &c : edge.getContributions())
      if (!isGrouped(clone.getResultAccess(c.result)) && clone.getResult(c.result).getType() &&
          cast<RankedTensorType>(clone.getResult(c.result).getType()).getEncoding() && counted.insert({c.result, c.offset}).second)
        words += getWords(c.value, edge.hasChannels(c.value));
    return words;
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
