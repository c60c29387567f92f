//===- GPUNests.cpp - kernels with loops over several multiplicities ------===//
//
//   a warp: some rows, or the edges of one node; of many, if it sums what all rows share
//     once: zeros for what is summed over the node's edges
//     per edge: zeros for its own results; the nests; its results to memory
//     once: what was summed to memory
//     of what all rows share: every 16 edges what was summed is added to memory, with compensation
//   after: the sum of what warps summed over all of their rows
//
// Rows of irreps that are results, and buffers, lie in the warp's shared memory; so do gradients of shared weights, if there is room. Rows that are read are read
// where they are, but by operations that share loops: those are copied first.
//
//===----------------------------------------------------------------------===//
#include "GPUNestTarget.h"
#include "GPURowTiles.h"
#include "Stage.h"

using namespace mlir;
using namespace espmm::equivariant;

namespace {

class GPUNestKernel {
public:
  GPUNestKernel(KernelOp kernel, HostProgram &host)
      : kernel(kernel), schedule(kernel->getAttrOfType<ScheduleAttr>("schedule")), host(host), analysis(kernel, LoopedAxes::Nests),
        side(schedule.getGroupBy()), element(getElement(kernel)), warpsOfBlock(chooseWarps()), function(host, kernel, warpsOfBlock),
        builder(function.builder), ix(function.ix), loc(kernel.getLoc()) {}

  void run() {
    IndexBuilder &h = host.index();
    h.loc = loc;
    for (unsigned r = 0; r < kernel.getNumResults(); ++r)
      if (kernel.getResultAccess(r) == Access::All)
        shares[r] = {};
    bool ofRows = side == Access::Edge;
    Value count = ofRows ? h.ceildiv(host.getSize(HostProgram::E), h.constant(schedule.getRows())) : host.getRows(side);
    Value warp = ix.add(ix.mul(function.block, warpsOfBlock), function.warp), unit = warp;
    // Those that sum for all rows are so many, whatever the device: each takes the next ones of its own.
    Value warps = count;
    if (!shares.empty()) {
      Value some = h.min(h.ceildiv(host.getSize(HostProgram::E), h.constant(edgesOfShare)), h.constant(mostSharingWarps));
      warps = h.max(h.min(count, h.max(some, h.constant(sharingWarps))), h.constant(1));
    }
    OpBuilder::InsertPoint end = builder.saveInsertionPoint();
    function.guard(ix.less(warp, getArgument(warps)));
    // Rows, and buffers, in shared memory if it has room for those of one warp.
    bool fits = memoryBytes <= mostSharedBytes;
    if (fits) {
      target.emplace(function, element, [&](Value size) { return function.getWarpMemory(size, element); });
    } else {
      Value scratch = host.getScratch(h.mul(warps, memoryBytes), kernel.getResult(0), "being computed, by warps");
      target.emplace(function, element, [&](Value size) { return ix.address(getArgument(scratch, /*readOnly=*/false), ix.mul(warp, size), element); });
    }
    openShares(warps, warp);
    scf::ForOp units;
    Pending pending;
    if (!shares.empty()) {
      pending = {ix.constant(0), arith::ConstantIntOp::create(builder, loc, 0, 1)};
      units = scf::ForOp::create(builder, loc, warp, getArgument(count), getArgument(warps), ValueRange{pending.edges, pending.hasSums});
      builder.setInsertionPointToEnd(units.getBody());
      unit = units.getInductionVar();
      pending = {units.getRegionIterArg(0), units.getRegionIterArg(1)};
    }
    for (unsigned r = 0; r < kernel.getNumResults(); ++r)
      if (getIrreps(kernel.getResult(r)))
        rows[r] = target->allocate(getWidth(kernel.getResult(r)));
    for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
      if (isCopied(i))
        copies[i] = target->allocate(getWidth(kernel.getInputs()[i]));
    pending = ofRows ? stageRows(unit, warp, pending) : stageSegment(unit, warp, pending);
    if (units) {
      scf::YieldOp::create(builder, loc, ValueRange{pending.edges, pending.hasSums});
      builder.setInsertionPointAfter(units);
      addShares(warp, units.getResult(1));
    }
    builder.restoreInsertionPoint(end);
    int64_t size = target->finish() * target->getBytes();
    assert(size == memoryBytes && "what was measured is what it takes");
    function.launch(h.ceildiv(warps, h.constant(warpsOfBlock)), Value(), fits ? size * warpsOfBlock : 16 * warpsOfBlock, schedule.getRegisters());
    for (auto &[r, share] : shares)
      launchSumOfShares(host, kernel, r, share.sums, warps);
  }

private:
  /// What a block may have of every chip since sm_80: 99 KiB on some, of which a little is reserved.
  static constexpr int64_t mostSharedBytes = 96 << 10;

  /// As many warps as have room in a block's shared memory.
  int64_t chooseWarps() {
    SmallVector<int64_t> first;
    for (unsigned r = 0; r < kernel.getNumResults(); ++r)
      if (isInSharedMemory(r))
        first.push_back(getWidth(kernel.getResult(r)));
    for (unsigned r = 0; r < kernel.getNumResults(); ++r)
      if (getIrreps(kernel.getResult(r)))
        first.push_back(getWidth(kernel.getResult(r)));
    NestPlan plan(analysis, GPUNestTarget::getLimits());
    auto measure = [&] { return plan.measure(element, first) * (element.getIntOrFloatBitWidth() / 8); };
    memoryBytes = measure();
    copiesRows = llvm::any_of(plan.getSteps(), [](const NestPlan::Step &step) { return step.ops.size() > 1; });
    for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
      if (isCopied(i))
        first.push_back(getWidth(kernel.getInputs()[i]));
    // Not if a multiprocessor would hold fewer blocks for it.
    copiesRows &= measure() * schedule.getWarps() <= mostSharedBytes / 2;
    if (copiesRows)
      memoryBytes = measure();
    int64_t warps = schedule.getWarps();
    while (warps > 1 && warps * memoryBytes > mostSharedBytes)
      warps /= 2;
    return warps;
  }

  /// Rows by edge, or of the node at its other end, that are copied to shared memory first. Between loops that share weights there are many operations which read
  /// them, and the weights that pass push them out of the first cache.
  bool isCopied(unsigned i) {
    Access access = kernel.getInputAccess(i);
    return copiesRows && getIrreps(kernel.getInputs()[i]) && access != Access::All && (access == Access::Edge || access != side);
  }

  /// Gradients of shared weights that each warp adds to in its part of shared memory.
  bool isInSharedMemory(unsigned r) {
    int64_t bytes = getWidth(kernel.getResult(r)) * (element.getIntOrFloatBitWidth() / 8);
    return kernel.getResultAccess(r) == Access::All && bytes <= mostBytesOfShare;
  }

  static Type getElement(KernelOp kernel) {
    return getArithmeticType(getStoredElement(kernel.getResult(0)));
  }
  Value getArgument(Value hostValue, bool readOnly = true) { return function.getArgument(hostValue, readOnly); }
  bool isSum(unsigned r) { return side != Access::Edge && kernel.getResultAccess(r) == side; }

  //===-- Rows that all share --------------------------------------------===//

  /// Many, and more for more edges.
  static constexpr int64_t sharingWarps = 1024, mostSharingWarps = 4096, edgesOfShare = 64;
  /// How many edges are summed as they come, before their sum is added with compensation: errors are then no larger than those of a sum in pairs.
  static constexpr int64_t edgesOfSum = 16;
  /// What a gradient of shared weights may take of a warp's shared memory.
  static constexpr int64_t mostBytesOfShare = 32 << 10;

  struct Share {
    Value sums, lost; // of the host function: for each warp a row of what it has summed, and one of what was lost to rounding (W. Kahan 1965)
    Value row;        // where the warp adds edges
  };

  /// How many edges a warp has summed that are in none of its rows of sums, and whether it has such rows yet.
  struct Pending {
    Value edges, hasSums;
  };

  void openShares(Value warps, Value warp) {
    IndexBuilder &h = host.index();
    for (auto &[r, share] : shares) {
      int64_t width = getWidth(kernel.getResult(r));
      Value result = kernel.getResult(r), bytes = h.mul(warps, width * target->getBytes());
      auto getScratch = [&](StringRef use) { return host.getScratch(bytes, result, use); };
      share.sums = getScratch("by warps");
      share.lost = getScratch("by warps, what rounding lost");
      share.row = isInSharedMemory(r) ? target->allocate(width) : getShareRow(r, getScratch("by warps, of some edges"), warp);
      target->fillWithZeros(share.row, width);
    }
  }

  Value getShareRow(unsigned r, Value scratch, Value warp) {
    return function.getRowPointer(getArgument(scratch, /*readOnly=*/false), warp, getWidth(kernel.getResult(r)), element);
  }

  /// Adds what the warp has summed to its sums, and begins anew.
  void addShares(Value warp, Value hasSums) {
    function.syncWarp();
    auto load = [&](Value address) { return LLVM::LoadOp::create(builder, loc, element, address, target->getBytes()).getResult(); };
    auto store = [&](Value value, Value address) { LLVM::StoreOp::create(builder, loc, value, address, target->getBytes()); };
    Value zero = LLVM::ConstantOp::create(builder, loc, element, FloatAttr::get(element, 0.0));
    for (auto &[r, share] : shares) {
      Value sums = getShareRow(r, share.sums, warp), lost = getShareRow(r, share.lost, warp), row = share.row;
      target->forEach(getWidth(kernel.getResult(r)), [&](Value at) {
        Value sumAddress = ix.address(sums, at, element), lostAddress = ix.address(lost, at, element), address = ix.address(row, at, element);
        Value value = load(address);
        auto choice = scf::IfOp::create(builder, loc, TypeRange{element, element}, hasSums, /*withElseRegion=*/true);
        {
          OpBuilder::InsertionGuard insertion(builder);
          builder.setInsertionPointToStart(choice.thenBlock());
          auto [sum, rest] = function.addCompensated(load(sumAddress), load(lostAddress), value);
          scf::YieldOp::create(builder, loc, ValueRange{sum, rest});
          builder.setInsertionPointToStart(choice.elseBlock());
          scf::YieldOp::create(builder, loc, ValueRange{value, zero});
        }
        store(choice.getResult(0), sumAddress);
        store(choice.getResult(1), lostAddress);
        store(zero, address);
      });
    }
    function.syncWarp();
  }

  /// A loop over edges, which adds shares now and then.
  Pending stageEdges(Value begin, Value end, Value warp, Pending pending, llvm::function_ref<void(Value)> stage) {
    SmallVector<Value> inits;
    if (!shares.empty())
      inits = {pending.edges, pending.hasSums};
    auto loop = scf::ForOp::create(builder, loc, begin, end, ix.constant(1), inits);
    builder.setInsertionPointToStart(loop.getBody());
    stage(loop.getInductionVar());
    if (!shares.empty()) {
      builder.setInsertionPointToEnd(loop.getBody());
      Value edges = ix.add(loop.getRegionIterArg(0), 1), hasSums = loop.getRegionIterArg(1);
      Value isFull = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, edges, ix.constant(edgesOfSum));
      {
        OpBuilder::InsertionGuard insertion(builder);
        function.guard(isFull);
        addShares(warp, hasSums);
      }
      Value left = arith::SelectOp::create(builder, loc, isFull, ix.constant(0), edges);
      scf::YieldOp::create(builder, loc, ValueRange{left, arith::OrIOp::create(builder, loc, hasSums, isFull)});
    }
    builder.setInsertionPointAfter(loop);
    return shares.empty() ? pending : Pending{loop.getResult(0), loop.getResult(1)};
  }

  Value getRow(Access access, Value edge, Value node, Value own) {
    return access == Access::Edge ? edge : access == Access::All ? ix.constant(0) : access == side ? own : node;
  }

  Pending stageRows(Value unit, Value warp, Pending pending) {
    Value begin = ix.mul(unit, schedule.getRows());
    Value end = ix.min(ix.add(begin, schedule.getRows()), getArgument(host.getSize(HostProgram::E)));
    return stageEdges(begin, end, warp, pending, [&](Value row) { stageEdge(row, Value(), Value()); });
  }

  Pending stageSegment(Value segment, Value warp, Pending pending) {
    Value offsets = getArgument(host.getPlan(side, "offsets")), order = getArgument(host.getPlan(side, "order"));
    Value other = getArgument(host.getPlan(side, "other")), nodes = getArgument(host.getPlan(side, "nodes"));
    Value own = ix.loadIndexIfAny(nodes, segment);
    for (auto [r, row] : rows)
      if (isSum(r))
        target->fillWithZeros(row, getWidth(kernel.getResult(r)));
    Value begin = ix.loadIndex(offsets, segment), end = ix.loadIndex(offsets, ix.add(segment, 1));
    pending = stageEdges(begin, end, warp, pending, [&](Value position) {
      stageEdge(ix.loadIndexIfAny(order, position), ix.loadIndex(other, position), own);
    });
    function.syncWarp();
    for (auto [r, row] : rows)
      if (isSum(r))
        copyOut(r, segment);
    return pending;
  }

  void stageEdge(Value edge, Value node, Value own) {
    auto beginsAnew = [&](unsigned r) { return rows.count(r) && !isSum(r) && coversRow(analysis, r); };
    for (auto [r, row] : rows)
      if (!isSum(r) && !beginsAnew(r))
        target->fillWithZeros(row, getWidth(kernel.getResult(r)));
    SmallVector<Value> inputs;
    for (unsigned i = 0; i < kernel.getInputs().size(); ++i) {
      Value tensor = kernel.getInputs()[i];
      inputs.push_back(function.getRowPointer(getArgument(host.getBuffer(tensor)), getRow(kernel.getInputAccess(i), edge, node, own), getWidth(tensor), getStoredElement(tensor)));
    }
    copyIn(inputs);
    function.syncWarp();
    SmallVector<Value> weights(kernel.getNumResults());
    for (unsigned r = 0; r < kernel.getNumResults(); ++r)
      if (!rows.count(r))
        weights[r] = shares.count(r) ? shares[r].row : getDestination(r, edge);
    llvm::SmallDenseSet<std::pair<unsigned, int64_t>> written;
    NestStaging(analysis, *target).run(
        [&](BlockOp block) {
          unsigned i = cast<BlockArgument>(block.getRow()).getArgNumber();
          NestPlace place = placeInRow(kernel.getInputs()[i], inputs[i], block.getType(), block.getOffset());
          if (copies.count(i))
            place.stored = TypeAttr();
          return place;
        },
        [&](const Contribution &c) {
          Value tensor = kernel.getResult(c.result);
          bool isRow = rows.count(c.result);
          NestPlace place = placeInRow(tensor, isRow ? rows[c.result] : weights[c.result], cast<RankedTensorType>(c.value.getType()), c.offset);
          bool isFirst = written.insert({c.result, c.offset}).second;
          // In shared memory in the type that is computed with.
          if (isRow)
            place.stored = TypeAttr();
          place.accumulate = !isFirst || shares.count(c.result) || (isRow && !beginsAnew(c.result));
          return place;
        });
    for (auto [r, row] : rows)
      if (!isSum(r))
        copyOut(r, kernel.getResultAccess(r) == Access::Edge ? edge : node);
    function.syncWarp();
  }

  Value getDestination(unsigned r, Value row) {
    Value tensor = kernel.getResult(r);
    return function.getRowPointer(getArgument(host.getDestination(tensor), /*readOnly=*/false), row, getWidth(tensor), getStoredElement(tensor));
  }

  /// Copies rows to shared memory, with many loads under way at a time, and puts their places there in place of them.
  void copyIn(MutableArrayRef<Value> inputs) {
    constexpr size_t copiesAtOnce = 16;
    struct Copied {
      Value loaded, to;
      Type stored;
    };
    SmallVector<Copied> all;
    auto store = [&] {
      for (const Copied &c : all)
        LLVM::StoreOp::create(builder, loc, extendStored(builder, loc, c.loaded, element, c.stored), c.to, target->getBytes());
      all.clear();
    };
    for (auto [i, copy] : copies) {
      int64_t width = getWidth(kernel.getInputs()[i]);
      Type stored = getStoredElement(kernel.getInputs()[i]);
      for (int64_t first = 0; first < width; first += warpSize) {
        Value at = ix.add(function.lane, first);
        if (width - first < warpSize)
          at = ix.min(at, ix.constant(width - 1));
        Value loaded = LLVM::LoadOp::create(builder, loc, getMemoryType(element, stored), ix.address(inputs[i], at, stored), stored.getIntOrFloatBitWidth() / 8);
        all.push_back({loaded, ix.address(copy, at, element), stored});
        if (all.size() == copiesAtOnce)
          store();
      }
      inputs[i] = copy;
    }
    store();
  }

  void copyOut(unsigned r, Value row) {
    Value to = getDestination(r, row);
    bool adds = kernel.getResultAccess(r) != Access::Edge && !isSum(r);
    Type stored = getStoredElement(kernel.getResult(r));
    target->forEach(getWidth(kernel.getResult(r)), [&](Value at) {
      Value value = LLVM::LoadOp::create(builder, loc, element, ix.address(rows[r], at, element), target->getBytes());
      Value address = ix.address(to, at, stored);
      if (adds)
        LLVM::AtomicRMWOp::create(builder, loc, LLVM::AtomicBinOp::fadd, address, value, LLVM::AtomicOrdering::monotonic);
      else
        LLVM::StoreOp::create(builder, loc, roundToStored(builder, loc, value, stored), address, stored.getIntOrFloatBitWidth() / 8);
    });
  }

  KernelOp kernel;
  ScheduleAttr schedule;
  HostProgram &host;
  KernelAnalysis analysis;
  Access side;
  Type element;
  bool copiesRows = false;
  int64_t memoryBytes = 0; // of a warp: rows and buffers
  int64_t warpsOfBlock;
  GPUFunction function;
  OpBuilder &builder;
  IndexBuilder &ix;
  Location loc;
  std::optional<GPUNestTarget> target;
  llvm::MapVector<unsigned, Value> rows;   // results of irreps, in shared memory
  llvm::MapVector<unsigned, Value> copies; // of rows that are read
  llvm::MapVector<unsigned, Share> shares; // results that all rows share
};

} // namespace

LogicalResult espmm::equivariant::stageNestsForGPU(KernelOp kernel, HostProgram &host) {
  if (failed(KernelAnalysis(kernel, LoopedAxes::Nests).verify()))
    return failure();
  if (isRowTileOnGPU(kernel, kernel->getAttrOfType<ScheduleAttr>("schedule")))
    stageRowTilesForGPU(kernel, host);
  else
    GPUNestKernel(kernel, host).run();
  return success();
}
