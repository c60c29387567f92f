//===- GPURowTiles.cpp - rows side by side, for weights that they share ------===//
//
//   a block: 32 rows at a time, one in each lane; its warps share out the loops over channels
//     once: zeros for what is summed over all rows
//     per tile: rows to shared memory, element after element, zeros past the last; the nests; rows of results to memory
//   after: the sum of what blocks summed over all of their tiles
//
// A weight is so read once for 32 rows, by a whole warp at once, and what is summed over rows is summed over lanes. Rows of which there are none have zeros in
// place of their inputs, so that their products add nothing.
//
//===----------------------------------------------------------------------===//
#include "GPURowTiles.h"
#include "GPUNestTarget.h"
#include "Stage.h"

using namespace mlir;
using namespace espmm::equivariant;

namespace {

constexpr int64_t tileRows = warpSize;
constexpr int64_t pitch = GPURowTileTarget::pitch;

Type getElement(KernelOp kernel) { return getArithmeticType(getStoredElement(kernel.getResult(0))); }

class GPURowTileKernel {
public:
  GPURowTileKernel(KernelOp kernel, HostProgram &host)
      : kernel(kernel), schedule(kernel->getAttrOfType<ScheduleAttr>("schedule")), host(host), analysis(kernel, LoopedAxes::Nests),
        element(getElement(kernel)), warps(schedule.getWarps()), function(host, kernel, warps), builder(function.builder), ix(function.ix),
        loc(kernel.getLoc()) {}

  void run() {
    IndexBuilder &h = host.index();
    h.loc = loc;
    Value rows = host.getSize(HostProgram::E), tiles = h.ceildiv(rows, h.constant(tileRows)), blocks = tiles;
    for (unsigned r = 0; r < kernel.getNumResults(); ++r)
      if (kernel.getResultAccess(r) == Access::All)
        shares[r] = {};
    // Those that sum for all rows are so many, whatever the device, and of few tiles each: sums of sums over lanes are as exact as sums in pairs.
    if (!shares.empty())
      blocks = h.max(h.max(h.min(tiles, h.constant(leastBlocks)), h.ceildiv(tiles, h.constant(mostTiles))), h.constant(1));
    OpBuilder::InsertPoint end = builder.saveInsertionPoint();
    target.emplace(function, element, getRowTileNumbers(schedule));
    for (Value tensor : getEdgeTensors(kernel))
      places[tensor] = target->allocate(getWidth(tensor) * pitch);
    for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
      if (kernel.getInputAccess(i) == Access::All) {
        host.requireAlignment(host.getBuffer(kernel.getInputs()[i]), alignment);
        target->align(getInput(i));
      }
    for (auto &[r, share] : shares) {
      int64_t width = getWidth(kernel.getResult(r));
      share.scratch = host.getScratch(h.mul(blocks, width * target->getBytes()), kernel.getResult(r), "by blocks");
      share.row = function.getRowPointer(getArgument(share.scratch, /*readOnly=*/false), function.block, width, element);
      target->fillWithZeros(share.row, width);
    }
    auto loop = scf::ForOp::create(builder, loc, function.block, getArgument(tiles), getArgument(blocks));
    builder.setInsertionPoint(loop.getBody()->getTerminator());
    stageTile(ix.mul(loop.getInductionVar(), tileRows), getArgument(rows));
    builder.restoreInsertionPoint(end);
    int64_t bytes = target->finish() * target->getBytes();
    function.launch(blocks, Value(), bytes, schedule.getRegisters());
    for (auto &[r, share] : shares)
      launchSumOfShares(host, kernel, r, share.scratch, blocks);
  }

private:
  static constexpr int64_t leastBlocks = 264, mostTiles = 16;
  /// Of weights, in bytes: what one instruction reads.
  static constexpr int64_t alignment = 16;

  struct Share {
    Value scratch; // of the host function: a row for each block
    Value row;     // where the block adds
  };

  Value getArgument(Value hostValue, bool readOnly = true) { return function.getArgument(hostValue, readOnly); }

  void stageTile(Value first, Value rows) {
    Value count = ix.min(ix.sub(rows, first), ix.constant(tileRows));
    for (auto [i, tensor] : llvm::enumerate(kernel.getInputs()))
      if (kernel.getInputAccess(i) == Access::Edge)
        copyIn(tensor, first, count);
    for (auto [r, tensor] : llvm::enumerate(kernel.getResults()))
      if (kernel.getResultAccess(r) == Access::Edge && !coversRow(analysis, r))
        target->fillWithZeros(places[tensor], getWidth(tensor) * pitch);
    function.syncBlock();
    llvm::SmallDenseSet<std::pair<unsigned, int64_t>> written;
    NestStaging(analysis, *target)
        .run([&](BlockOp block) {
               unsigned i = cast<BlockArgument>(block.getRow()).getArgNumber();
               return getPlace(kernel.getInputs()[i], getInput(i), block.getType(), block.getOffset());
             },
             [&](const Contribution &c) {
               Value tensor = kernel.getResult(c.result);
               Value row = shares.count(c.result) ? shares[c.result].row : places[tensor];
               NestPlace place = getPlace(tensor, row, cast<RankedTensorType>(c.value.getType()), c.offset);
               bool isFirst = written.insert({c.result, c.offset}).second && !shares.count(c.result);
               place.accumulate = !isFirst || !coversRow(analysis, c.result);
               return place;
             });
    for (auto [r, tensor] : llvm::enumerate(kernel.getResults()))
      if (kernel.getResultAccess(r) == Access::Edge)
        copyOut(tensor, first, count);
    function.syncBlock();
  }

  Value getInput(unsigned i) {
    Value tensor = kernel.getInputs()[i];
    return kernel.getInputAccess(i) == Access::All ? getArgument(host.getBuffer(tensor)) : places[tensor];
  }

  NestPlace getPlace(Value tensor, Value row, RankedTensorType block, int64_t offset) {
    NestPlace place = placeInRow(tensor, row, block, offset);
    if (places.count(tensor)) {
      place.stored = TypeAttr();
      place.offset *= pitch;
      for (int64_t &stride : place.strides)
        stride *= pitch;
    }
    return place;
  }

  //===-- Rows ------------------------------------------------------------===//

  /// How many loads a thread has under way. Where registers leave room for one block only, nobody works while it waits.
  int64_t getCopiesAtOnce() { return schedule.getRegisters() > 128 ? 16 : 8; }

  /// An element of a tile's rows in memory, from the first of them, and in the tile. Where its row is none of the tensor's, the place in memory is that of another.
  struct Element {
    Value inMemory, inTile, isThere;
  };

  /// A thread's elements, some at a time. Of rows that are as long as a warp each warp has some, its lanes side by side in one, so that places are sums of what is
  /// known before and a constant. Shorter ones are taken as they lie in memory, one after the other.
  void forElements(Value tensor, Value count, llvm::function_ref<void(ArrayRef<Element>)> body) {
    int64_t width = getWidth(tensor), threads = warps * warpSize, copiesAtOnce = getCopiesAtOnce();
    bool isByRow = width >= warpSize;
    int64_t columns = (width + warpSize - 1) / warpSize, size = width * tileRows;
    int64_t steps = isByRow ? columns * ((tileRows + warps - 1) / warps) : (size + threads - 1) / threads;
    Value row, isThere, rowInMemory, lastElement = ix.sub(ix.mul(count, width), ix.constant(1)), lastRow = ix.sub(count, ix.constant(1));
    for (int64_t begin = 0; begin < steps; begin += copiesAtOnce) {
      SmallVector<Element> elements;
      for (int64_t n = begin; n < std::min(begin + copiesAtOnce, steps); ++n) {
        if (!isByRow) {
          Value at = ix.add(function.thread, n * threads);
          if ((n + 1) * threads > size)
            at = ix.min(at, ix.constant(size - 1));
          Value quotient = ix.floordiv(at, width), column = ix.sub(at, ix.mul(quotient, width));
          elements.push_back({ix.min(at, lastElement), ix.add(ix.mul(column, pitch), quotient), ix.less(quotient, count)});
          continue;
        }
        if (n % columns == 0) {
          row = ix.add(function.warp, n / columns * warps);
          if ((n / columns + 1) * warps > tileRows)
            row = ix.min(row, ix.constant(tileRows - 1));
          isThere = ix.less(row, count);
          rowInMemory = ix.mul(ix.min(row, lastRow), width);
        }
        Value column = ix.add(function.lane, n % columns * warpSize);
        if ((n % columns + 1) * warpSize > width)
          column = ix.min(column, ix.constant(width - 1));
        elements.push_back({ix.add(rowInMemory, column), ix.add(ix.mul(column, pitch), row), isThere});
      }
      body(elements);
    }
  }

  Value getRow(Value buffer, Value tensor, Value first) { return ix.address(buffer, ix.mul(first, getWidth(tensor)), getStoredElement(tensor)); }

  void copyIn(Value tensor, Value first, Value count) {
    Value from = getRow(getArgument(host.getBuffer(tensor)), tensor, first);
    Value zero = LLVM::ConstantOp::create(builder, loc, element, FloatAttr::get(element, 0.0));
    Type stored = getStoredElement(tensor);
    forElements(tensor, count, [&](ArrayRef<Element> elements) {
      SmallVector<Value> values;
      for (const Element &e : elements) {
        Value address = ix.address(from, e.inMemory, stored);
        Value loaded = LLVM::LoadOp::create(builder, loc, getMemoryType(element, stored), address, stored.getIntOrFloatBitWidth() / 8);
        values.push_back(LLVM::SelectOp::create(builder, loc, e.isThere, extendStored(builder, loc, loaded, element, stored), zero));
      }
      for (auto [value, e] : llvm::zip(values, elements))
        LLVM::StoreOp::create(builder, loc, value, ix.address(places[tensor], e.inTile, element), target->getBytes());
    });
  }

  void copyOut(Value tensor, Value first, Value count) {
    Value to = getRow(getArgument(host.getDestination(tensor), /*readOnly=*/false), tensor, first);
    Type stored = getStoredElement(tensor);
    forElements(tensor, count, [&](ArrayRef<Element> elements) {
      SmallVector<Value> values;
      for (const Element &e : elements)
        values.push_back(LLVM::LoadOp::create(builder, loc, element, ix.address(places[tensor], e.inTile, element), target->getBytes()));
      // Those of one row are there or not together.
      for (size_t begin = 0, end; begin < elements.size(); begin = end) {
        OpBuilder::InsertionGuard insertion(builder);
        function.guard(elements[begin].isThere);
        for (end = begin; end < elements.size() && elements[end].isThere == elements[begin].isThere; ++end) {
          Value value = roundToStored(builder, loc, values[end], stored);
          LLVM::StoreOp::create(builder, loc, value, ix.address(to, elements[end].inMemory, stored), stored.getIntOrFloatBitWidth() / 8);
        }
      }
    });
  }

  KernelOp kernel;
  ScheduleAttr schedule;
  HostProgram &host;
  KernelAnalysis analysis;
  Type element;
  int64_t warps;
  GPUFunction function;
  OpBuilder &builder;
  IndexBuilder &ix;
  Location loc;
  std::optional<GPURowTileTarget> target;
  llvm::DenseMap<Value, Value> places;     // rows in shared memory
  llvm::MapVector<unsigned, Share> shares; // results that all rows share
};

} // namespace

std::optional<RowTile> espmm::equivariant::measureRowTile(KernelOp kernel, const RowTileNumbers &numbers) {
  if (chooseGroupSide(kernel) != Access::Edge || !hasRowsAt(kernel, Access::All))
    return std::nullopt;
  SmallVector<int64_t> sizes;
  for (Value tensor : getEdgeTensors(kernel)) {
    if (!getIrreps(tensor))
      return std::nullopt;
    sizes.push_back(getWidth(tensor) * pitch);
  }
  Type element = getElement(kernel);
  KernelAnalysis analysis(kernel, LoopedAxes::Nests);
  NestPlan plan(analysis, GPURowTileTarget::getLimits(element, numbers));
  if (!plan.canSumOverRows())
    return std::nullopt;
  return RowTile{plan.measure(element, sizes) * (element.getIntOrFloatBitWidth() / 8), plan.getSpan(), plan.hasMatrices()};
}

bool espmm::equivariant::isRowTileOnGPU(KernelOp kernel, ScheduleAttr schedule) {
  return schedule.getRows() == warpSize && measureRowTile(kernel, getRowTileNumbers(schedule));
}

RowTileNumbers espmm::equivariant::getRowTileNumbers(ScheduleAttr schedule) {
  return {schedule.getWarps(), schedule.getStages(), static_cast<Products>(schedule.getProducts())};
}

void espmm::equivariant::stageRowTilesForGPU(KernelOp kernel, HostProgram &host) { GPURowTileKernel(kernel, host).run(); }
