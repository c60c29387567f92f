//===- TileGPU.cpp - kernels cut to what a warp's registers hold ----------===//
#include "Isomorphism.h"
#include "SharedRows.h"
#include "SlabSchedule.h"
#include "TileUnits.h"
#include "espmm/Dialect/Equivariant/Transforms/Utils.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace espmm::equivariant;

namespace {

class GPUTiling {
public:
  GPUTiling(KernelOp kernel, Access side, const ScheduleWishes &wishes)
      : kernel(kernel), analysis(kernel), side(side), wishes(wishes), units(analysis, side, wishes) {}

  LogicalResult run() {
    if (failed(analysis.verify()))
      return failure();
    units.collect();
    LogicalResult made = success();
    auto tiles = formTiles();
    for (const Tile &tile : tiles)
      made = succeeded(made) ? emitTile(tile) : made;
    if (tiles.empty())
      made = emitKernel({{}, {0, 1, 1}, {}});
    if (failed(made))
      return failure();
    combine();
    return success();
  }

private:
  /// Units that are one kernel, and those that they correspond to in instances of it after the first.
  struct Tile {
    SmallVector<unsigned> units;
    SmallVector<Isomorphism> further;
  };

  SmallVector<Tile> formTiles() {
    SmallVector<Tile> tiles;
    auto ofUnits = units.getTiles();
    // Instances of what fits one tile would do several times what an edge costs besides its channels.
    int64_t mostInstances = wishes.instances ? wishes.instances : 2;
    if (mostInstances == 1 || ofUnits.size() <= 1) {
      for (auto &tile : ofUnits)
        tiles.push_back({tile, {}});
      return tiles;
    }
    for (auto &alike : units.getTilesAlike(mostInstances)) {
      auto first = units.getContributions(alike.front());
      SmallVector<Tile> apart;
      Tile &shared = tiles.emplace_back(Tile{alike.front(), {}});
      for (auto &instance : llvm::drop_begin(alike)) {
        Isomorphism isomorphism(analysis);
        auto corresponds = [&](auto pair) { return isomorphism.map(std::get<0>(pair), std::get<1>(pair)); };
        if (llvm::all_of(llvm::zip_equal(first, units.getContributions(instance)), corresponds))
          shared.further.push_back(std::move(isomorphism));
        else
          apart.push_back({instance, {}});
      }
      llvm::append_range(tiles, apart);
    }
    return tiles;
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

  /// A tile's kernel: contributions that have channels in a range of slabs, how many of these a warp works on at once, and what they are in further instances.
  struct Piece {
    SmallVector<unsigned> active;
    SlabRange range;
    ArrayRef<Isomorphism> further;
  };

  /// One kernel for each range of slabs in which the same paths have channels; or one for all, if a warp may work on all slabs at once.
  SmallVector<Piece> cutTile(const Tile &tile, int64_t mostSlabs) {
    SmallVector<unsigned> contributions;
    std::set<int64_t> ends;
    int64_t instances = tile.further.size() + 1;
    for (unsigned u : tile.units) {
      for (unsigned n : units[u].contributions) {
        contributions.push_back(n);
        ends.insert(getSlabs(n));
      }
    }
    llvm::sort(contributions);
    if (!ends.empty() && *ends.rbegin() <= mostSlabs)
      return {{contributions, {0, *ends.rbegin(), *ends.rbegin(), instances}, tile.further}};
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
      pieces.push_back({active, {begin, end, slabs, instances}, tile.further});
      begin = end;
    }
    return pieces;
  }

  LogicalResult emitTile(const Tile &tile) {
    for (const Piece &piece : cutTile(tile, wishes.slabs ? wishes.slabs : chooseSlabs(tile)))
      if (failed(emitKernel(piece)))
        return failure();
    return success();
  }

  /// Two slabs at once, and more where a warp copies little for an edge, as long as registers hold what a lane has of them. Doubles are long enough.
  int64_t chooseSlabs(const Tile &tile) {
    constexpr int64_t bytesOfEdge = 2560, mostSlabs = 8;
    // Rows come without a pause: there it is better to have more warps at some point.
    int64_t chosen = 1, mostRegisters = side == Access::Edge ? 208 : 255;
    for (int64_t slabs = 2; slabs <= mostSlabs && !TileUnits::isDouble(kernel); ++slabs) {
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

  /// Where a block of a row, or a place of a result, is in instances after the first; of those that the piece doesn't have, nothing.
  SmallVector<int64_t> getFurther(const Piece &piece, Value row, int64_t offset) {
    SmallVector<int64_t> result;
    for (const Isomorphism &isomorphism : piece.further)
      if (auto other = isomorphism.getOffset(row, offset))
        result.push_back(*other);
    return result;
  }

  /// Those offsets as an attribute, null if they are the first instance's.
  DenseI64ArrayAttr getAlso(ArrayRef<int64_t> offsets, ArrayRef<int64_t> further) {
    auto isSame = [&](size_t n) { return further[n] == offsets[n * offsets.size() / further.size()]; };
    bool isNone = llvm::all_of(llvm::seq<size_t>(0, further.size()), isSame);
    return isNone ? DenseI64ArrayAttr() : DenseI64ArrayAttr::get(kernel.getContext(), further);
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
      SmallVector<int64_t> offsets, further;
      SmallVector<Value> blocks;
      for (unsigned n : piece.active) {
        const Contribution &c = analysis.getContributions()[n];
        if (c.result == r) {
          offsets.push_back(c.offset);
          blocks.push_back(mapping.lookup(c.value));
          llvm::append_range(further, getFurther(piece, kernel.getResult(r), c.offset));
        }
      }
      rows.push_back(AssembleOp::create(builder, kernel.getLoc(), analysis.getAssemble(r).getType(), offsets, getAlso(offsets, further), blocks));
    }
    yield.getValuesMutable().assign(rows);
    for (BlockOp block : kernel.getBody().getOps<BlockOp>())
      if (auto also = getAlso(block.getOffset(), getFurther(piece, block.getRow(), block.getOffset())))
        mapping.lookup(block.getResult()).getDefiningOp<BlockOp>().setAlsoAttr(also);
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
  TileUnits units;
  std::map<unsigned, SmallVector<Value>> parts;
};

} // namespace

// A result that is summed at the side which the edges are not grouped by: its rows are kept by edge, and summed by a kernel of
// their own that groups by that side.
static void splitSums(KernelOp kernel, Access side) {
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

/// Elements an edge of rows of that side: of inputs, or of results.
static int64_t countRowElements(ValueRange tensors, ArrayAttr access, Access side) {
  int64_t elements = 0;
  for (auto [tensor, of] : llvm::zip(tensors, access))
    if (cast<AccessAttr>(of).getValue() == side)
      elements += getWidth(tensor);
  return elements;
}

/// Receivers, if a kernel has rows of them. But where sums of senders alone would be kept by edge, to be summed in the same order on every run, edges are grouped by
/// senders if that costs less: what is read of receivers for each edge comes from a cache mostly, rows by edge are written to memory and read back.
static Access chooseSide(KernelOp kernel, const ScheduleWishes &wishes) {
  Access side = chooseGroupSide(kernel), wished = wishes.groupBy == 1 ? Access::Receivers : Access::Senders;
  if (needsNests(kernel) || side != Access::Receivers)
    return side;
  if (wishes.groupBy)
    return hasRowsAt(kernel, wished) ? wished : side;
  auto ofInputs = [&](Access of) { return countRowElements(kernel.getInputs(), kernel.getInputAccess(), of); };
  auto ofResults = [&](Access of) { return countRowElements(kernel.getResults(), kernel.getResultAccess(), of); };
  bool isCheaper = ofInputs(Access::Receivers) - ofInputs(Access::Senders) < 2 * ofResults(Access::Senders);
  return wishes.deterministic && !ofResults(Access::Receivers) && isCheaper ? Access::Senders : side;
}

static LogicalResult cutAndSchedule(KernelOp kernel, Access side, const ScheduleWishes &wishes) {
  return needsNests(kernel) ? scheduleNestsForGPU(kernel, wishes) : GPUTiling(kernel, side, wishes).run();
}

LogicalResult espmm::equivariant::tileForGPU(KernelOp kernel, const ScheduleWishes &wishes) {
  Access side = chooseSide(kernel, wishes);
  if (wishes.deterministic) {
    splitSums(kernel, side);
    for (Operation *user : llvm::to_vector(kernel->getUsers()))
      if (auto sum = dyn_cast<KernelOp>(user); sum && !sum->hasAttr("schedule"))
        if (failed(cutAndSchedule(sum, chooseGroupSide(sum), wishes)))
          return failure();
  }
  return cutAndSchedule(kernel, side, wishes);
}
