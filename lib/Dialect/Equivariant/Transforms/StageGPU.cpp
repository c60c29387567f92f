//===- StageGPU.cpp - kernels as warps over segments and slabs ------------===//
//
//   a warp: one node (or a range of rows), one slab of channels, a channel a lane
//     once: its rows of grouped operands to registers, zeroed accumulators for grouped results
//     per edge: wait for its rows in shared memory; start the copies of the next edge's rows
//               the einsums, on registers
//               results by edge: through shared memory, so that they leave in whole lines
//     once: accumulators to memory
//
//===----------------------------------------------------------------------===//
#include "HostProgram.h"
#include "KernelAnalysis.h"
#include "SharedRows.h"
#include "Stage.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace espmm::equivariant;

namespace {

/// One slot is read while the other is filled.
constexpr int64_t ringStages = 2;

class GPUKernelStaging {
public:
  GPUKernelStaging(KernelOp kernel, ScheduleAttr schedule, HostProgram &host)
      : kernel(kernel), schedule(schedule), host(host), analysis(kernel), builder(kernel.getContext()),
        ix(builder, kernel.getLoc()), loc(kernel.getLoc()), side(schedule.getGroupBy()),
        global(LLVM::LLVMPointerType::get(kernel.getContext(), 1)),
        shared(LLVM::LLVMPointerType::get(kernel.getContext(), 3)) {}

  LogicalResult run() {
    if (failed(analysis.verify()))
      return failure();
    for (Type type : llvm::concat<const Type>(kernel.getInputs().getTypes(), kernel.getResultTypes()))
      element = cast<RankedTensorType>(type).getElementType();
    elementBytes = element.getIntOrFloatBitWidth() / 8;
    planRows();
    openFunction();
    numSlabs = schedule.getSlabEnd() - schedule.getSlabBegin();
    Value unit = blockIndex;
    slab = ix.constant(schedule.getSlabBegin());
    if (numSlabs > 1) {
      Value n = ix.constant(numSlabs);
      slab = ix.add(arith::RemUIOp::create(builder, loc, blockIndex, n), slab);
      unit = arith::DivUIOp::create(builder, loc, blockIndex, n);
    }
    channel = ix.add(ix.mul(slab, warpSize), lane);
    side == Access::Edge ? stageRows(unit) : stageSegment(unit);
    LLVM::ReturnOp::create(builder, loc, ValueRange());
    closeFunction();
    return success();
  }

private:
  //===-- Rows in shared memory ------------------------------------------===//

  bool isGrouped(Access access) const { return side != Access::Edge && access == side; }
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
    int64_t end = slotSize * ringStages;
    for (RowLayout &layout : results) {
      resultPositions.push_back(end);
      end += align(layout.size);
    }
    sharedSize = end;
  }

  //===-- The function ---------------------------------------------------===//

  void openFunction() {
    name = host.getKernelName("");
    builder.setInsertionPoint(kernel->getParentOfType<func::FuncOp>());
    auto module = kernel->getParentOfType<ModuleOp>();
    if (!module.lookupSymbol("espmm_shared")) {
      auto array = LLVM::LLVMArrayType::get(builder.getI8Type(), 0);
      LLVM::GlobalOp::create(builder, loc, array, /*isConstant=*/false, LLVM::Linkage::External, "espmm_shared", Attribute(),
                             /*alignment=*/16, /*addrSpace=*/3);
    }
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(kernel.getContext()), {});
    function = LLVM::LLVMFuncOp::create(builder, loc, name, type);
    entry = builder.createBlock(&function.getBody());
    builder.setInsertionPointToStart(entry);
    Type i32 = builder.getI32Type(), i64 = builder.getI64Type();
    lane = arith::ExtUIOp::create(builder, loc, i64, NVVM::ThreadIdXOp::create(builder, loc, i32));
    blockIndex = arith::ExtUIOp::create(builder, loc, i64, NVVM::BlockIdXOp::create(builder, loc, i32));
    sharedBase = LLVM::AddressOfOp::create(builder, loc, shared, "espmm_shared");
  }

  /// A kernel parameter, given a host value.
  Value getArgument(Value hostValue, bool readOnly = true) {
    Value &value = arguments[hostValue];
    if (!value) {
      operands.push_back(hostValue);
      value = entry->addArgument(isa<LLVM::LLVMPointerType>(hostValue.getType()) ? Type(global) : hostValue.getType(), loc);
      readOnlyArguments.push_back(readOnly);
    }
    return value;
  }

  void closeFunction() {
    SmallVector<Type> types(entry->getArgumentTypes());
    function.setFunctionType(LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(kernel.getContext()), types));
    function->setAttr("nvvm.kernel", builder.getUnitAttr());
    function->setAttr("nvvm.maxntid", builder.getDenseI32ArrayAttr({warpSize, 1, 1}));
    if (schedule.getMinBlocks())
      function->setAttr("nvvm.minctasm", builder.getI32IntegerAttr(schedule.getMinBlocks()));
    for (auto [i, type] : llvm::enumerate(types))
      if (isa<LLVM::LLVMPointerType>(type)) {
        function.setArgAttr(i, "llvm.noalias", builder.getUnitAttr());
        if (readOnlyArguments[i])
          function.setArgAttr(i, "llvm.readonly", builder.getUnitAttr());
      }
    IndexBuilder &h = host.index();
    Value units = side == Access::Edge ? h.ceildiv(host.getSize(HostProgram::E), h.constant(schedule.getRows()))
                                       : host.getRows(side);
    host.launch(name, h.mul(units, numSlabs), operands, std::array<int64_t, 3>{warpSize, 1, 1}, sharedSize * elementBytes);
  }

  Value getRowPointer(Value base, Value row, int64_t width) { return ix.address(base, ix.mul(row, width), element); }
  Value getShared(Value slot, int64_t position) { return ix.address(slot, ix.constant(position), element); }

  scf::IfOp guard(Value condition, TypeRange types = {}) {
    auto op = scf::IfOp::create(builder, loc, types, condition, /*withElseRegion=*/!types.empty());
    builder.setInsertionPointToStart(op.thenBlock());
    return op;
  }

  //===-- A segment, or a range of rows ----------------------------------===//

  void stageSegment(Value segment) {
    Value offsets = getArgument(host.getPlan(side, "offsets"));
    order = getArgument(host.getPlan(side, "order"));
    other = getArgument(host.getPlan(side, "other"));
    Value begin = ix.loadIndex(offsets, segment), end = ix.loadIndex(offsets, ix.add(segment, 1));
    for (unsigned i = 0; i < inputs.size(); ++i)
      if (isGrouped(kernel.getInputAccess(i))) {
        Value tensor = kernel.getInputs()[i];
        groupedRows[i] = getRowPointer(getArgument(host.getBuffer(tensor)), segment, getWidth(tensor));
      }
    readGroupedBlocks();
    SmallVector<Value> sums = stageEdges(begin, end);
    for (auto [accumulator, sum] : llvm::zip(accumulators, sums)) {
      Value tensor = kernel.getResult(accumulator.result);
      Value row = getRowPointer(getArgument(host.getDestination(tensor), false), segment, getWidth(tensor));
      writeGlobal(sum, accumulator, row);
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

  void writeGlobal(Value value, const Contribution &c, Value row) {
    auto block = cast<RankedTensorType>(c.value.getType());
    auto [laneStride, strides] = getGlobalStrides(block, results[c.result].irreps);
    WriteOp::create(builder, loc, value, row, channel, getMask(block.getDimSize(0)), c.offset, laneStride, strides,
                    /*accumulate=*/false, /*nontemporal=*/false);
  }

  //===-- The loop over edges --------------------------------------------===//

  struct Ids {
    Value edge, node;
  };

  /// The edge at a position and the node at its other end; zeros past the end.
  Ids loadIds(Value position, Value end) {
    if (side == Access::Edge)
      return {position, position};
    OpBuilder::InsertionGuard insertion(builder);
    Type i64 = builder.getI64Type();
    auto inside = guard(ix.less(position, end), {i64, i64});
    Value node = ix.loadIndex(other, position);
    Value null = LLVM::ZeroOp::create(builder, loc, order.getType());
    Value sorted = LLVM::ICmpOp::create(builder, loc, LLVM::ICmpPredicate::eq, order, null);
    auto choice = scf::IfOp::create(builder, loc, i64, sorted, /*withElseRegion=*/true);
    {
      OpBuilder::InsertionGuard inner(builder);
      builder.setInsertionPointToStart(choice.thenBlock());
      scf::YieldOp::create(builder, loc, position);
      builder.setInsertionPointToStart(choice.elseBlock());
      scf::YieldOp::create(builder, loc, ix.loadIndex(order, position));
    }
    scf::YieldOp::create(builder, loc, ValueRange{choice.getResult(0), node});
    builder.setInsertionPointToStart(inside.elseBlock());
    scf::YieldOp::create(builder, loc, ValueRange{ix.constant(0), ix.constant(0)});
    return {inside.getResult(0), inside.getResult(1)};
  }

  Value getRow(Access access, const Ids &ids) { return access == Access::Edge ? ids.edge : ids.node; }

  /// Starts the copies of an edge's rows, if there is such an edge.
  void issue(Value position, Value end, const Ids &ids, Value slot) {
    {
      OpBuilder::InsertionGuard insertion(builder);
      guard(ix.less(position, end));
      for (auto [i, layout] : llvm::enumerate(inputs)) {
        if (layout.size == 0)
          continue;
        Value tensor = kernel.getInputs()[i];
        Value row = getRowPointer(getArgument(host.getBuffer(tensor)), getRow(kernel.getInputAccess(i), ids), getWidth(tensor));
        host.requireAlignment(host.getBuffer(tensor), layout.width * elementBytes);
        AsyncCopyOp::create(builder, loc, row, getShared(slot, inputPositions[i]), slab, lane, layout.runs, layout.width, element);
      }
    }
    NVVM::CpAsyncCommitGroupOp::create(builder, loc);
  }

  Value getSlot(Value parity) { return ix.address(sharedBase, ix.mul(parity, slotSize), element); }

  SmallVector<Value> stageEdges(Value begin, Value end) {
    Ids first = loadIds(begin, end);
    issue(begin, end, first, getSlot(ix.constant(0)));
    Value second = ix.add(begin, 1);
    Ids next = loadIds(second, end);

    // Carried: the slot in use, the ids of this edge and the next, and what is summed over the edges.
    SmallVector<Value> inits{ix.constant(0), first.edge, first.node, next.edge, next.node};
    for (const Contribution &c : analysis.getContributions())
      if (isGrouped(kernel.getResultAccess(c.result))) {
        unsigned known = findAccumulator(c);
        if (known == accumulators.size()) {
          accumulators.push_back(c);
          inits.push_back(ZeroOp::create(builder, loc, getLaneType(cast<RankedTensorType>(c.value.getType()))));
        }
      }
    auto loop = scf::ForOp::create(builder, loc, begin, end, ix.constant(1), inits);
    // Values of the loop's body are not known outside of it.
    IRMapping outside = values;
    auto outsideMasks = masks;
    builder.setInsertionPointToEnd(loop.getBody());
    Value position = loop.getInductionVar(), parity = loop.getRegionIterArg(0);
    Ids current{loop.getRegionIterArg(1), loop.getRegionIterArg(2)};
    Ids following{loop.getRegionIterArg(3), loop.getRegionIterArg(4)};
    if (side == Access::Edge) {
      current = {position, position};
      following = {ix.add(position, 1), ix.add(position, 1)};
    }

    NVVM::CpAsyncWaitGroupOp::create(builder, loc, 0);
    syncWarp();
    Value otherParity = ix.sub(ix.constant(1), parity);
    issue(ix.add(position, 1), end, following, getSlot(otherParity));
    Ids afterNext = loadIds(ix.add(position, 2), end);
    SmallVector<Value> yielded{otherParity, following.edge, following.node, afterNext.edge, afterNext.node};
    SmallVector<Value> sums(loop.getRegionIterArgs().drop_front(5));
    stageBody(getSlot(parity), current, sums);
    yielded.append(sums);
    scf::YieldOp::create(builder, loc, yielded);
    builder.setInsertionPointAfter(loop);
    values = outside;
    masks = outsideMasks;
    return SmallVector<Value>(loop.getResults().drop_front(5));
  }

  unsigned findAccumulator(const Contribution &c) {
    for (auto [n, a] : llvm::enumerate(accumulators))
      if (a.result == c.result && a.offset == c.offset)
        return n;
    return accumulators.size();
  }

  void syncWarp() {
    Value all = LLVM::ConstantOp::create(builder, loc, builder.getI32Type(), builder.getI32IntegerAttr(-1));
    NVVM::SyncWarpOp::create(builder, loc, all);
  }

  //===-- One edge -------------------------------------------------------===//

  void stageBody(Value slot, const Ids &ids, SmallVectorImpl<Value> &sums) {
    for (Operation &op : kernel.getBody().front().without_terminator()) {
      if (isa<AssembleOp>(op) || values.contains(op.getResult(0)))
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
      Value value = values.lookup(c.value);
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
    bool any = llvm::any_of(results, [](const RowLayout &layout) { return layout.size > 0; });
    if (!any)
      return;
    syncWarp();
    for (auto [r, layout] : llvm::enumerate(results)) {
      if (layout.size == 0)
        continue;
      Value tensor = kernel.getResult(r);
      Access access = kernel.getResultAccess(r);
      Value row = getRowPointer(getArgument(host.getDestination(tensor), false), getRow(access, ids), getWidth(tensor));
      host.requireAlignment(host.getDestination(tensor), layout.width * elementBytes);
      CopyOutOp::create(builder, loc, getShared(sharedBase, resultPositions[r]), row, slab, lane, layout.runs, layout.width,
                        /*atomic=*/access != Access::Edge, element);
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
    return ReadOp::create(builder, loc, getLaneType(type), slot, lane, Value(), position, laneStride, strides);
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
    WriteOp::create(builder, loc, value, sharedBase, lane, Value(), resultPositions[c.result] + layout.positions.lookup(c.offset),
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
        guard(ix.less(lane, ix.constant(count)));
        Value address = ix.address(row, ix.add(lane, parts[begin].first), element);
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
      return getRowPointer(getArgument(host.getDestination(tensor), false), row, getWidth(tensor));
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
  OpBuilder builder;
  IndexBuilder ix;
  Location loc;
  Access side;
  LLVM::LLVMPointerType global, shared;
  Type element;
  int64_t elementBytes = 0, numSlabs = 1;

  std::string name;
  LLVM::LLVMFuncOp function;
  Block *entry = nullptr;
  Value lane, blockIndex, sharedBase, slab, channel, order, other;
  SmallVector<Value> operands;
  SmallVector<bool> readOnlyArguments;
  llvm::DenseMap<Value, Value> arguments;
  llvm::DenseMap<int64_t, Value> masks;

  SmallVector<RowLayout> inputs, results;
  SmallVector<int64_t> inputPositions, resultPositions;  // in a slot; in the warp's memory
  int64_t slotSize = 0, sharedSize = 0;
  llvm::DenseMap<unsigned, std::pair<Value, int64_t>> copies;
  llvm::DenseMap<unsigned, Value> groupedRows;
  SmallVector<Contribution> accumulators;
  IRMapping values;
};

} // namespace

LogicalResult espmm::equivariant::stageKernelForGPU(KernelOp kernel, ScheduleAttr schedule, HostProgram &host) {
  return GPUKernelStaging(kernel, schedule, host).run();
}
