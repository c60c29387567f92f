//===- StageGPU.cpp - kernels as warps over segments and slabs ------------===//
//
//   a warp: some edges of one node (or a range of rows), one slab of channels, a channel a lane
//     once: its rows of grouped operands to registers, zeroed accumulators for grouped results
//     per edge: wait for its rows in shared memory; start the copies of the rows of an edge to come
//               the einsums, on registers
//               results by edge: through shared memory, so that they leave in whole lines
//     once: accumulators through shared memory, those of the warps that share a node added, to memory
//
//===----------------------------------------------------------------------===//
#include "GPUFunction.h"
#include "KernelAnalysis.h"
#include "SharedRows.h"
#include "Stage.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace espmm::equivariant;

namespace {

/// From so many edges a warp on, on average, the warps of a block share a node's edges.
constexpr int64_t edgesOfSharedWarp = 8;
/// Nodes times slabs up to which a graph is small: about what a GPU can have under way at once.
constexpr int64_t warpsOfSmallGraph = 1024;
/// Rows of nodes up to this many bytes stay in the cache beside what streams through it, where edges next to each other add to them.
constexpr int64_t bytesInCache = 64 << 20;

class GPUKernelStaging {
public:
  /// `sharingBits` is of the host function: log2 of the warps that share a node; null if that is known to be one.
  GPUKernelStaging(KernelOp kernel, GPUFunction &function, Value sharingBits)
      : kernel(kernel), schedule(getSchedule(kernel)), host(function.host), analysis(kernel), function(function),
        builder(function.builder), ix(function.ix), loc(kernel.getLoc()), side(schedule.getGroupBy()),
        element(cast<RankedTensorType>(kernel.getResultTypes().front()).getElementType()),
        elementBytes(element.getIntOrFloatBitWidth() / 8), numSlabs(schedule.getSlabEnd() - schedule.getSlabBegin()),
        sharingBits(sharingBits) {
    host.index().loc = loc;
    planRows();
    IndexBuilder &h = host.index();
    blocks = side == Access::Edge ? h.ceildiv(host.getSize(HostProgram::E), h.constant(schedule.getRows() * schedule.getWarps()))
                                  : host.getRows(side);
  }

  /// How many blocks there are, of the host function.
  Value getBlocks() { return host.index().mul(blocks, numSlabs); }
  /// Shared memory that a block takes.
  int64_t getSharedBytes() const { return sharedSize * elementBytes * schedule.getWarps(); }

  /// What one of these blocks does.
  void stage(Value block) {
    Value unit = takeSlab(block);
    channel = ix.add(ix.mul(slab, warpSize), function.lane);
    warpMemory = function.getWarpMemory(sharedSize, element);
    side == Access::Edge ? stageRows(ix.add(ix.mul(unit, schedule.getWarps()), function.warp)) : stageSegment(unit);
  }

  static ScheduleAttr getSchedule(KernelOp kernel) { return kernel->getAttrOfType<ScheduleAttr>("schedule"); }

private:
  //===-- Rows in shared memory ------------------------------------------===//

  bool isGrouped(Access access) const { return side != Access::Edge && access == side; }
  bool isSum(unsigned result) { return isGrouped(kernel.getResultAccess(result)); }
  int64_t getWidth(Value tensor) { return cast<RankedTensorType>(tensor.getType()).getShape().back(); }

  /// Which rows pass through shared memory, and how.
  void planRows() {
    auto [inputLayouts, resultLayouts] = planSharedRows(analysis, side);
    inputs = std::move(inputLayouts);
    results = std::move(resultLayouts);
    int64_t line = 16 / elementBytes;
    auto align = [&](int64_t size) { return (size + line - 1) / line * line; };
    for (RowLayout &layout : inputs) {
      inputPositions.push_back(slotSize);
      slotSize += align(layout.size);
    }
    int64_t end = slotSize * schedule.getStages(), sums = 0;
    for (auto [r, layout] : llvm::enumerate(results)) {
      // Sums over a node's edges are written when the ring is not in use any more.
      int64_t &next = isSum(r) ? sums : end;
      resultPositions.push_back(next);
      next += align(layout.size);
    }
    sharedSize = std::max(end, sums);
  }

  /// Which slab a block has, and which block of those that have this slab it is. All slabs of a node before the next node, so that
  /// rows by edge come from memory whole; or slab after slab, if rows are added to that only a slab at a time fit into the cache.
  Value takeSlab(Value block) {
    slab = ix.constant(schedule.getSlabBegin());
    if (numSlabs == 1)
      return block;
    Value n = ix.constant(numSlabs);
    int64_t rowBytes = 0;
    for (unsigned r = 0; r < results.size(); ++r)
      if (kernel.getResultAccess(r) == otherSide())
        rowBytes += getWidth(kernel.getResult(r)) * elementBytes;
    if (side == Access::Edge || rowBytes == 0) {
      slab = ix.add(arith::RemUIOp::create(builder, loc, block, n), slab);
      return arith::DivUIOp::create(builder, loc, block, n);
    }
    IndexBuilder &h = host.index();
    Value isLarge = h.isMore(h.mul(host.getRows(otherSide()), rowBytes), h.constant(bytesInCache));
    Value divisor = getArgument(h.add(h.mul(isLarge, h.add(blocks, -numSlabs)), numSlabs));
    Value quotient = arith::DivUIOp::create(builder, loc, block, divisor);
    Value rest = ix.sub(block, ix.mul(quotient, divisor));
    Value outer = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ne, getArgument(isLarge), ix.constant(0));
    slab = ix.add(arith::SelectOp::create(builder, loc, outer, quotient, rest), slab);
    return arith::SelectOp::create(builder, loc, outer, rest, quotient);
  }

  Access otherSide() const { return side == Access::Receivers ? Access::Senders : Access::Receivers; }

  Value getArgument(Value hostValue, bool readOnly = true) { return function.getArgument(hostValue, readOnly); }
  Value getRowPointer(Value base, Value row, int64_t width) { return function.getRowPointer(base, row, width, element); }
  Value getDestination(Value tensor, Value row) {
    return getRowPointer(getArgument(host.getDestination(tensor), false), row, getWidth(tensor));
  }
  Value getShared(Value slot, int64_t position) { return ix.address(slot, ix.constant(position), element); }

  //===-- A segment, or a range of rows ----------------------------------===//

  /// A node's edges, or this warp's part of them.
  void stageSegment(Value segment) {
    Value offsets = getArgument(host.getPlan(side, "offsets"));
    Value begin = ix.loadIndex(offsets, segment), end = ix.loadIndex(offsets, ix.add(segment, 1));
    Value bits;
    if (sharingBits) {
      bits = getArgument(sharingBits);
      Value sharing = arith::ShLIOp::create(builder, loc, ix.constant(1), bits);
      Value count = ix.add(ix.sub(end, begin), ix.add(sharing, -1));
      Value share = arith::ShRUIOp::create(builder, loc, count, bits);
      begin = ix.min(ix.add(begin, ix.mul(function.warp, share)), end);
      end = ix.min(ix.add(begin, share), end);
    }
    stageSegmentEdges(segment, begin, end, bits);
  }

  /// The node whose edges a segment has: one with very many edges has several segments.
  Value loadNode(Value segment) {
    Value nodes = getArgument(host.getPlan(side, "nodes"));
    Value isPlain = LLVM::ICmpOp::create(builder, loc, LLVM::ICmpPredicate::eq, nodes, LLVM::ZeroOp::create(builder, loc, nodes.getType()));
    auto choice = scf::IfOp::create(builder, loc, builder.getI64Type(), isPlain, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard insertion(builder);
    builder.setInsertionPointToStart(choice.thenBlock());
    scf::YieldOp::create(builder, loc, segment);
    builder.setInsertionPointToStart(choice.elseBlock());
    scf::YieldOp::create(builder, loc, ix.loadIndex(nodes, segment));
    return choice.getResult(0);
  }

  void stageSegmentEdges(Value segment, Value begin, Value end, Value sharingBits) {
    order = getArgument(host.getPlan(side, "order"));
    other = getArgument(host.getPlan(side, "other"));
    Value node;
    for (unsigned i = 0; i < inputs.size(); ++i)
      if (isGrouped(kernel.getInputAccess(i))) {
        node = node ? node : loadNode(segment);
        Value tensor = kernel.getInputs()[i];
        groupedRows[i] = getRowPointer(getArgument(host.getBuffer(tensor)), node, getWidth(tensor));
      }
    readGroupedBlocks();
    scaleGroupedBlocks();
    SmallVector<Value> sums = stageEdges(begin, end);
    if (!sums.empty())
      writeSums(sums, segment, sharingBits);
  }

  /// Sums over the warp's edges: to shared memory, where the ring was, and from there to the node's row. If warps share the
  /// node, all of them add up what each has.
  void writeSums(ArrayRef<Value> sums, Value segment, Value sharingBits) {
    function.syncWarp();
    for (auto [accumulator, sum] : llvm::zip(accumulators, sums))
      writeShared(scaleSum(accumulator, sum), accumulator);
    if (sharingBits) {
      Value isShared = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ne, sharingBits, ix.constant(0));
      auto choice = scf::IfOp::create(builder, loc, isShared, /*withElseRegion=*/true);
      builder.setInsertionPointToStart(choice.thenBlock());
      function.syncBlock();
      copyOutSums(segment, function.sharedBase, function.thread, schedule.getWarps());
      builder.setInsertionPointToStart(choice.elseBlock());
    }
    function.syncWarp();
    copyOutSums(segment, warpMemory, function.lane, 1);
  }

  /// What is added up over the edges for a place of a row: a contribution, or what it is once it is scaled.
  Value getSummand(const Contribution &c) {
    auto isSamePlace = [&](const Contribution &other) { return other.result == c.result && other.offset == c.offset; };
    EinsumOp scaling = KernelAnalysis::getScaling(c.value);
    bool isAlone = llvm::count_if(analysis.getContributions(), isSamePlace) == 1;
    return scaling && isAlone ? scaling.getOperands_()[0] : c.value;
  }

  Value scaleSum(const Contribution &c, Value sum) {
    if (getSummand(c) == c.value)
      return sum;
    EinsumOp scaling = KernelAnalysis::getScaling(c.value);
    Value scales = builder.clone(*scaling.getOperands_()[1].getDefiningOp())->getResult(0);
    return cloneSmall(scaling, {sum, scales});
  }

  void copyOutSums(Value segment, Value memory, Value thread, int64_t copies) {
    for (auto [r, layout] : llvm::enumerate(results)) {
      if (!isSum(r) || layout.size == 0)
        continue;
      Value tensor = kernel.getResult(r);
      host.requireAlignment(host.getDestination(tensor), layout.width * elementBytes);
      CopyOutOp::create(builder, loc, getShared(memory, resultPositions[r]), getDestination(tensor, segment), slab, thread, layout.runs,
                        layout.width, /*atomic=*/false, /*once=*/true, warpSize * copies, copies, copies > 1 ? sharedSize : 0, element);
    }
  }

  void stageRows(Value unit) {
    Value begin = ix.mul(unit, schedule.getRows());
    Value end = ix.min(ix.add(begin, schedule.getRows()), getArgument(host.getSize(HostProgram::E)));
    stageEdges(begin, end);
  }

  /// Memory strides of a block of irreps or weights: of its channels, and of its other dimensions.
  std::pair<int64_t, SmallVector<int64_t>> getGlobalStrides(RankedTensorType block, IrrepsAttr irreps) {
    int64_t mul = block.getDimSize(0), dim = block.getNumElements() / mul;
    bool mulIr = !irreps || irreps.getLayout() == Layout::MulIr;
    return {mulIr ? dim : 1, SmallVector<int64_t>(block.getRank() - 1, mulIr ? 1 : mul)};
  }

  /// True in lanes that have a channel of a block; null if every lane has one.
  Value getMask(int64_t mul) {
    if (mul % warpSize == 0)
      return {};
    Value &mask = masks[mul];
    if (!mask) {
      OpBuilder::InsertionGuard insertion(builder);
      builder.setInsertionPointAfterValue(channel);
      mask = ix.less(channel, ix.constant(mul));
    }
    return mask;
  }

  RankedTensorType getLaneType(RankedTensorType block) {
    return RankedTensorType::get(block.getShape().drop_front(), element);
  }

  // Grouped rows are read once, straight to registers: lanes without a channel read the last one's and take zero.
  void readGroupedBlocks() {
    for (BlockOp block : kernel.getBody().getOps<BlockOp>()) {
      unsigned i = cast<BlockArgument>(block.getRow()).getArgNumber();
      if (!isGrouped(kernel.getInputAccess(i)))
        continue;
      RankedTensorType type = block.getType();
      if (!analysis.hasChannels(block.getResult())) {
        values.map(block.getResult(), ReadOp::create(builder, loc, type, groupedRows[i], Value(), Value(), block.getOffset(), 1,
                                                     getSmallStrides(type, inputs[i].irreps)));
        continue;
      }
      int64_t mul = type.getDimSize(0);
      auto [laneStride, strides] = getGlobalStrides(type, inputs[i].irreps);
      Value mask = getMask(mul);
      Value at = mask ? ix.min(channel, ix.constant(mul - 1)) : channel;
      values.map(block.getResult(), ReadOp::create(builder, loc, getLaneType(type), groupedRows[i], at, mask, block.getOffset(),
                                                   laneStride, strides));
    }
  }

  /// A node's blocks are scaled once, if nobody reads them unscaled: then that takes no more registers.
  void scaleGroupedBlocks() {
    for (EinsumOp einsum : kernel.getBody().getOps<EinsumOp>()) {
      auto scaling = KernelAnalysis::getScaling(einsum.getResult());
      if (!scaling || !values.contains(scaling.getOperands_()[0]) || !scaling.getOperands_()[0].hasOneUse())
        continue;
      SmallVector<Value> operands{values.lookup(scaling.getOperands_()[0])};
      operands.push_back(builder.clone(*scaling.getOperands_()[1].getDefiningOp())->getResult(0));
      values.map(scaling.getResult(), cloneSmall(scaling, operands));
    }
  }

  SmallVector<int64_t> getSmallStrides(RankedTensorType block, IrrepsAttr irreps) {
    SmallVector<int64_t> strides(block.getRank(), 1);
    if (irreps && irreps.getLayout() == Layout::IrMul) {
      strides[1] = block.getDimSize(0);
      return strides;
    }
    for (int64_t d = block.getRank() - 2; d >= 0; --d)
      strides[d] = strides[d + 1] * block.getDimSize(d + 1);
    return strides;
  }

  //===-- The loop over edges --------------------------------------------===//

  /// An edge and the node at its other end; as int32 where they come from the plan, which has no larger ones.
  struct Ids {
    Value edge, node;
  };

  Value widen(Value id) {
    return id.getType().isInteger(64) ? id : arith::ExtSIOp::create(builder, loc, builder.getI64Type(), id).getResult();
  }

  Value loadNarrow(Value base, Value index) {
    Type i32 = builder.getI32Type();
    return LLVM::LoadOp::create(builder, loc, i32, ix.address(base, index, i32), 4);
  }

  /// Those at a position, which is an edge's.
  Ids loadIds(Value position) {
    if (side == Access::Edge)
      return {position, position};
    // Without a branch, so that the loads can start long before they are needed.
    Value null = LLVM::ZeroOp::create(builder, loc, order.getType());
    Value sorted = LLVM::ICmpOp::create(builder, loc, LLVM::ICmpPredicate::eq, order, null);
    Value base = arith::SelectOp::create(builder, loc, sorted, other, order);
    Value narrow = arith::TruncIOp::create(builder, loc, builder.getI32Type(), position);
    Value edge = arith::SelectOp::create(builder, loc, sorted, narrow, loadNarrow(base, position));
    return {edge, loadNarrow(other, position)};
  }

  /// Those at a position; zeros past the end.
  Ids loadIdsIfAny(Value position, Value end) {
    if (side == Access::Edge)
      return {position, position};
    OpBuilder::InsertionGuard insertion(builder);
    Type i32 = builder.getI32Type();
    auto inside = function.guard(ix.less(position, end), {i32, i32});
    Ids ids = loadIds(position);
    scf::YieldOp::create(builder, loc, ValueRange{ids.edge, ids.node});
    builder.setInsertionPointToStart(inside.elseBlock());
    Value zero = arith::ConstantIntOp::create(builder, loc, 0, 32);
    scf::YieldOp::create(builder, loc, ValueRange{zero, zero});
    return {inside.getResult(0), inside.getResult(1)};
  }

  Value getRow(Access access, const Ids &ids) { return widen(access == Access::Edge ? ids.edge : ids.node); }

  /// Starts the copies of an edge's rows, if there is such an edge.
  void issue(Value position, Value end, const Ids &ids, Value slot) {
    {
      OpBuilder::InsertionGuard insertion(builder);
      function.guard(ix.less(position, end));
      for (auto [i, layout] : llvm::enumerate(inputs)) {
        if (layout.size == 0)
          continue;
        Value tensor = kernel.getInputs()[i];
        Access access = kernel.getInputAccess(i);
        Value row = getRowPointer(getArgument(host.getBuffer(tensor)), getRow(access, ids), getWidth(tensor));
        host.requireAlignment(host.getBuffer(tensor), layout.width * elementBytes);
        AsyncCopyOp::create(builder, loc, row, getShared(slot, inputPositions[i]), slab, function.lane, layout.runs, layout.width,
                            isReadOnce(access, layout), element);
      }
    }
    NVVM::CpAsyncCommitGroupOp::create(builder, loc);
  }

  /// Rows by edge of which each slab has a part of its own; nodes' rows will be read for other edges.
  static bool isReadOnce(Access access, const RowLayout &layout) { return access == Access::Edge && layout.channels; }

  Value getSlot(Value number) { return ix.address(warpMemory, ix.mul(number, slotSize), element); }

  // The ring: while the edge in slot s is worked on, the next ones' rows are on their way to the slots after it, and the copies
  // to the slot before it, whose edge is done, are started.
  SmallVector<Value> stageEdges(Value begin, Value end) {
    int64_t ahead = schedule.getStages() - 1;
    SmallVector<Ids> window;
    for (int64_t n = 0; n < ahead; ++n) {
      window.push_back(loadIdsIfAny(ix.add(begin, n), end));
      issue(ix.add(begin, n), end, window.back(), getSlot(ix.constant(n)));
    }
    window.push_back(loadIdsIfAny(ix.add(begin, ahead), end));

    // Carried: the slot in use, the ids of this edge and the next ones, and what is summed over the edges.
    bool carriesIds = side != Access::Edge;
    SmallVector<Value> inits{ix.constant(0)};
    if (carriesIds)
      for (Ids ids : window)
        inits.append({ids.edge, ids.node});
    unsigned firstSum = inits.size();
    for (const Contribution &c : analysis.getContributions())
      if (isSum(c.result) && findAccumulator(c) == accumulators.size()) {
        accumulators.push_back(c);
        inits.push_back(ZeroOp::create(builder, loc, getLaneType(cast<RankedTensorType>(c.value.getType()))));
      }
    auto loop = scf::ForOp::create(builder, loc, begin, end, ix.constant(1), inits);
    // Values of the loop's body are not known outside of it.
    IRMapping outside = values;
    auto outsideMasks = masks;
    builder.setInsertionPointToEnd(loop.getBody());
    Value position = loop.getInductionVar(), slot = loop.getRegionIterArg(0);
    for (auto [n, ids] : llvm::enumerate(window)) {
      Value there = ix.add(position, n);
      ids = carriesIds ? Ids{loop.getRegionIterArg(1 + 2 * n), loop.getRegionIterArg(2 + 2 * n)} : Ids{there, there};
    }

    NVVM::CpAsyncWaitGroupOp::create(builder, loc, ahead - 1);
    function.syncWarp();
    Value first = ix.constant(0), last = ix.constant(ahead), other = ix.sub(last, slot), next = other;
    if (ahead > 1) {
      auto isAt = [&](Value end) { return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, slot, end); };
      other = arith::SelectOp::create(builder, loc, isAt(first), last, ix.add(slot, -1));
      next = arith::SelectOp::create(builder, loc, isAt(last), first, ix.add(slot, 1));
    }
    issue(ix.add(position, ahead), end, window.back(), getSlot(other));
    SmallVector<Value> yielded{next};
    if (carriesIds) {
      Ids coming = loadIds(ix.min(ix.add(position, ahead + 1), ix.add(end, -1)));
      for (Ids ids : llvm::drop_begin(window))
        yielded.append({ids.edge, ids.node});
      yielded.append({coming.edge, coming.node});
    }
    SmallVector<Value> sums(loop.getRegionIterArgs().drop_front(firstSum));
    stageBody(getSlot(slot), window.front(), sums);
    yielded.append(sums);
    scf::YieldOp::create(builder, loc, yielded);
    builder.setInsertionPointAfter(loop);
    values = outside;
    masks = outsideMasks;
    return SmallVector<Value>(loop.getResults().drop_front(firstSum));
  }

  unsigned findAccumulator(const Contribution &c) {
    for (auto [n, a] : llvm::enumerate(accumulators))
      if (a.result == c.result && a.offset == c.offset)
        return n;
    return accumulators.size();
  }

  //===-- One edge -------------------------------------------------------===//

  void stageBody(Value slot, const Ids &ids, SmallVectorImpl<Value> &sums) {
    // What is scaled after the loop: a use in the loop would keep its sum apart from the one over the edges.
    llvm::SmallDenseSet<Operation *> later;
    for (const Contribution &c : accumulators)
      if (getSummand(c) != c.value && c.value.hasOneUse())
        later.insert(c.value.getDefiningOp());
    for (Operation &op : kernel.getBody().front().without_terminator()) {
      if (isa<AssembleOp>(op) || values.contains(op.getResult(0)) || later.contains(&op) ||
          (isa<CoefficientsOp>(op) && llvm::all_of(op.getUsers(), [&](Operation *user) { return later.contains(user); })))
        continue;
      if (auto block = dyn_cast<BlockOp>(op)) {
        values.map(block.getResult(), readShared(block, slot));
        continue;
      }
      SmallVector<Value> converted;
      for (Value operand : op.getOperands())
        converted.push_back(values.lookup(operand));
      values.map(op.getResult(0), cloneSmall(&op, converted));
    }

    // Contributions to one place are added; each sum is then written, accumulated, or kept for the sum over lanes.
    llvm::MapVector<std::pair<unsigned, int64_t>, std::pair<Contribution, Value>> totals;
    for (const Contribution &c : analysis.getContributions()) {
      Value value = values.lookup(isSum(c.result) ? getSummand(c) : c.value);
      auto [it, isNew] = totals.insert({{c.result, c.offset}, {c, value}});
      if (!isNew)
        it->second.second = AddOp::create(builder, loc, it->second.second, value);
    }
    for (auto &[key, total] : totals) {
      auto &[c, value] = total;
      if (isGrouped(kernel.getResultAccess(c.result))) {
        Value &sum = sums[findAccumulator(c)];
        sum = AddOp::create(builder, loc, sum, value);
      } else if (analysis.hasChannels(c.value)) {
        writeShared(value, c);
      }
    }
    writeSmallRows(totals, ids);
    auto leaves = [&](unsigned r) { return !isSum(r) && results[r].size > 0; };
    if (llvm::none_of(llvm::seq<unsigned>(0, results.size()), leaves))
      return;
    function.syncWarp();
    for (auto [r, layout] : llvm::enumerate(results)) {
      if (!leaves(r))
        continue;
      Value tensor = kernel.getResult(r);
      Access access = kernel.getResultAccess(r);
      host.requireAlignment(host.getDestination(tensor), layout.width * elementBytes);
      CopyOutOp::create(builder, loc, getShared(warpMemory, resultPositions[r]), getDestination(tensor, getRow(access, ids)), slab,
                        function.lane, layout.runs, layout.width, /*atomic=*/access != Access::Edge,
                        /*once=*/access == Access::Edge, warpSize, /*copies=*/1, /*stride=*/0, element);
    }
  }

  Value readShared(BlockOp block, Value slot) {
    unsigned i = cast<BlockArgument>(block.getRow()).getArgNumber();
    const RowLayout &layout = inputs[i];
    RankedTensorType type = block.getType();
    int64_t position = inputPositions[i] + layout.positions.lookup(block.getOffset());
    if (!analysis.hasChannels(block.getResult()))
      return ReadOp::create(builder, loc, type, slot, Value(), Value(), position, 1, getSmallStrides(type, layout.irreps));
    auto [laneStride, strides] = getSharedStrides(type, layout);
    return ReadOp::create(builder, loc, getLaneType(type), slot, function.lane, Value(), position, laneStride, strides);
  }

  std::pair<int64_t, SmallVector<int64_t>> getSharedStrides(RankedTensorType block, const RowLayout &layout) {
    int64_t dim = block.getNumElements() / block.getDimSize(0);
    bool irMul = layout.irreps && layout.irreps.getLayout() == Layout::IrMul;
    return {irMul ? 1 : dim, SmallVector<int64_t>(block.getRank() - 1, irMul ? warpSize : 1)};
  }

  void writeShared(Value value, const Contribution &c) {
    const RowLayout &layout = results[c.result];
    auto block = cast<RankedTensorType>(c.value.getType());
    auto [laneStride, strides] = getSharedStrides(block, layout);
    WriteOp::create(builder, loc, value, warpMemory, function.lane, Value(), resultPositions[c.result] + layout.positions.lookup(c.offset),
                    laneStride, strides, /*accumulate=*/false, /*nontemporal=*/false);
  }

  /// Rows that are sums over channels: every lane's share is summed over the warp, and added to the other slabs'.
  template <typename Totals>
  void writeSmallRows(Totals &totals, const Ids &ids) {
    for (unsigned r = 0; r < results.size(); ++r) {
      SmallVector<std::pair<int64_t, Value>> parts;
      for (auto &[key, total] : totals)
        if (key.first == r && !analysis.hasChannels(total.first.value))
          parts.emplace_back(key.second, total.second);
      llvm::sort(parts, [](const auto &a, const auto &b) { return a.first < b.first; });
      if (parts.empty())
        continue;
      Value row = getSmallRow(r, ids);
      // Runs of at most a warp's lanes, without gaps.
      for (size_t begin = 0; begin < parts.size();) {
        SmallVector<Value> run;
        int64_t count = 0;
        size_t n = begin;
        for (; n < parts.size(); ++n) {
          int64_t size = cast<RankedTensorType>(parts[n].second.getType()).getNumElements();
          if (parts[n].first != parts[begin].first + count || count + size > warpSize)
            break;
          run.push_back(parts[n].second);
          count += size;
        }
        Value sum = LaneSumOp::create(builder, loc, element, run);
        OpBuilder::InsertionGuard insertion(builder);
        function.guard(ix.less(function.lane, ix.constant(count)));
        Value address = ix.address(row, ix.add(function.lane, parts[begin].first), element);
        if (schedule.getDeterministic())
          LLVM::StoreOp::create(builder, loc, sum, address, elementBytes);
        else
          LLVM::AtomicRMWOp::create(builder, loc, LLVM::AtomicBinOp::fadd, address, sum, LLVM::AtomicOrdering::monotonic);
        begin = n;
      }
    }
  }

  /// A result's row for an edge: the result itself, to add to, or this slab's copy of it, to write.
  Value getSmallRow(unsigned r, const Ids &ids) {
    Value tensor = kernel.getResult(r), row = getRow(kernel.getResultAccess(r), ids);
    if (!schedule.getDeterministic())
      return getDestination(tensor, row);
    auto [it, isNew] = copies.try_emplace(r);
    if (isNew)
      it->second = host.reserveCopies(tensor, numSlabs);
    auto [scratch, first] = it->second;
    Value rows = getArgument(host.getRows(kernel.getResultAccess(r)));
    Value copy = ix.add(slab, first - schedule.getSlabBegin());
    return getRowPointer(getArgument(scratch, false), ix.add(ix.mul(copy, rows), row), getWidth(tensor));
  }

  /// A copy of an op on small tensors, without the channel axis in its subscripts.
  Value cloneSmall(Operation *op, ArrayRef<Value> operands) {
    if (isa<CoefficientsOp>(op))
      return builder.clone(*op)->getResult(0);
    auto type = cast<RankedTensorType>(op->getResult(0).getType());
    SmallVector<int64_t> shape(type.getShape());
    if (analysis.hasChannels(op->getResult(0)))
      shape.erase(shape.begin());
    auto small = RankedTensorType::get(shape, element);
    if (isa<AddOp>(op))
      return AddOp::create(builder, loc, small, operands[0], operands[1]);
    std::string subscripts = cast<EinsumOp>(op).getSubscripts().str();
    llvm::erase(subscripts, 'u');
    return EinsumOp::create(builder, loc, small, builder.getStringAttr(subscripts), operands);
  }

  KernelOp kernel;
  ScheduleAttr schedule;
  HostProgram &host;
  KernelAnalysis analysis;
  GPUFunction &function;
  OpBuilder &builder;
  IndexBuilder &ix;
  Location loc;
  Access side;
  Type element;
  int64_t elementBytes, numSlabs;

  Value sharingBits, blocks; // of the host function
  Value slab, channel, warpMemory, order, other;
  llvm::DenseMap<int64_t, Value> masks;
  SmallVector<RowLayout> inputs, results;
  SmallVector<int64_t> inputPositions, resultPositions;  // in a slot; in the warp's memory
  int64_t slotSize = 0, sharedSize = 0;                  // of the warp
  llvm::DenseMap<unsigned, std::pair<Value, int64_t>> copies;
  llvm::DenseMap<unsigned, Value> groupedRows;
  SmallVector<Contribution> accumulators;
  IRMapping values;
};

} // namespace

/// Whether the warps of a block share a node in a launch, 1 or 0, of the host function; if not, a block has one warp. Null if blocks have
/// nothing to share.
static Value chooseSharing(ArrayRef<KernelOp> kernels, HostProgram &host) {
  ScheduleAttr schedule = GPUKernelStaging::getSchedule(kernels.front());
  if (schedule.getGroupBy() == Access::Edge || schedule.getWarps() == 1)
    return {};
  int64_t slabs = 0;
  for (KernelOp kernel : kernels)
    slabs += GPUKernelStaging::getSchedule(kernel).getSlabEnd() - GPUKernelStaging::getSchedule(kernel).getSlabBegin();
  IndexBuilder &h = host.index();
  h.loc = KernelOp(kernels.front()).getLoc();
  Value edges = host.getSize(HostProgram::E), nodes = host.getRows(schedule.getGroupBy());
  // A node's edges are shared if there are enough of them for each warp; or if there are so few nodes that most of the
  // multiprocessors would have nothing to do.
  Value isLong = h.isMore(edges, h.mul(nodes, edgesOfSharedWarp * schedule.getWarps()));
  Value isSmall = h.sub(h.constant(1), h.isMore(h.mul(nodes, slabs), h.constant(warpsOfSmallGraph)));
  return h.max(isLong, isSmall);
}

LogicalResult espmm::equivariant::stageKernelsForGPU(ArrayRef<KernelOp> kernels, HostProgram &host) {
  for (KernelOp kernel : kernels)
    if (failed(KernelAnalysis(kernel).verify()))
      return failure();
  int64_t warps = GPUKernelStaging::getSchedule(kernels.front()).getWarps();
  GPUFunction function(host, kernels.front(), warps);
  IndexBuilder &h = host.index();
  Value sharing = chooseSharing(kernels, host);
  Value sharingBits = sharing ? h.mul(sharing, llvm::Log2_64(warps)) : Value();
  // One kernel's blocks after another's, so that a multiprocessor mostly runs one body at a time.
  Value block = function.block, total;
  int64_t sharedBytes = 0, registers = 0;
  for (KernelOp kernel : kernels) {
    GPUKernelStaging staging(kernel, function, sharingBits);
    Value blocks = staging.getBlocks();
    total = total ? h.add(total, blocks) : blocks;
    sharedBytes = std::max(sharedBytes, staging.getSharedBytes());
    registers = std::max(registers, GPUKernelStaging::getSchedule(kernel).getRegisters());
    if (kernel == kernels.back()) {
      staging.stage(block);
      break;
    }
    Value own = function.getArgument(blocks);
    auto choice = scf::IfOp::create(function.builder, kernel.getLoc(), function.ix.less(block, own), /*withElseRegion=*/true);
    function.builder.setInsertionPointToStart(choice.thenBlock());
    staging.stage(block);
    function.builder.setInsertionPointToStart(choice.elseBlock());
    block = function.ix.sub(block, own);
  }
  Value rows = sharing ? h.add(h.mul(sharing, warps - 1), 1) : Value();
  function.launch(total, rows, sharedBytes, registers);
  return success();
}
