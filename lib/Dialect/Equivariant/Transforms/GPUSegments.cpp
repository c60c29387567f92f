//===- GPUSegments.cpp - what a warp does once for a segment --------------===//
#include "GPUKernelStaging.h"

using namespace mlir;
using namespace espmm::equivariant;

/// Rows of nodes up to this many bytes stay in the cache beside what streams through it, where edges next to each other add to them.
static constexpr int64_t bytesInCache = 64 << 20;

GPUKernelStaging::GPUKernelStaging(KernelOp kernel, GPUFunction &function, Value sharing, Value parts)
    : kernel(kernel), schedule(getSchedule(kernel)), host(function.host), analysis(kernel), function(function),
      builder(function.builder), ix(function.ix), loc(kernel.getLoc()), side(schedule.getGroupBy()),
      element(getArithmeticType(getStoredElement(kernel.getResult(0)))),
      elementBytes(element.getIntOrFloatBitWidth() / 8), sharing(sharing) {
  host.index().loc = loc;
  planRows();
  IndexBuilder &h = host.index();
  blocks = side == Access::Edge ? h.ceildiv(host.getSize(HostProgram::E), h.constant(schedule.getRows() * schedule.getWarps()))
                                : host.getRows(side);
  // Sums over a node's edges are of whole segments.
  if (!parts || llvm::any_of(llvm::seq<unsigned>(0, results.size()), [&](unsigned r) { return isSum(r); }))
    return;
  this->parts = parts;
  blocks = h.mul(blocks, parts);
}

void GPUKernelStaging::stage(Value block) {
  Value work = takeSlab(block);
  channel = ix.add(ix.mul(slab, warpSize), function.lane);
  warpMemory = function.getWarpMemory(sharedSize, element);
  side == Access::Edge ? stageRows(ix.add(ix.mul(work, schedule.getWarps()), function.warp)) : stageSegment(work);
}

//===----------------------------------------------------------------------===//
// Rows in shared memory
//===----------------------------------------------------------------------===//

void GPUKernelStaging::planRows() {
  auto [inputLayouts, resultLayouts] = planSharedRows(analysis, schedule);
  inputs = std::move(inputLayouts);
  results = std::move(resultLayouts);
  int64_t line = 16 / elementBytes;
  auto align = [&](int64_t size) { return (size + line - 1) / line * line; };
  for (auto [layout, tensor] : llvm::zip(inputs, kernel.getInputs())) {
    // Counted in elements that are computed with, whatever they are stored in.
    int64_t bytes = layout.size * getElementBytes(tensor);
    inputPositions.push_back(slotSize);
    slotSize += align((bytes + elementBytes - 1) / elementBytes);
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

Value GPUKernelStaging::takeSlab(Value block) {
  auto setUnit = [&](Value number) {
    unit = number;
    Value slabUnit = unit;
    if (int64_t slabUnits = schedule.getSlabUnits(); schedule.getInstances() > 1) {
      instance = ix.floordiv(unit, slabUnits);
      slabUnit = slabUnits == 1 ? ix.constant(0) : ix.sub(unit, ix.mul(instance, slabUnits));
    }
    slab = ix.add(ix.mul(slabUnit, schedule.getSlabs()), schedule.getSlabBegin());
  };
  int64_t numUnits = schedule.getNumUnits();
  if (numUnits == 1) {
    setUnit(ix.constant(0));
    return block;
  }
  Value n = ix.constant(numUnits);
  int64_t rowBytes = 0;
  for (unsigned r = 0; r < results.size(); ++r)
    if (kernel.getResultAccess(r) == otherSide())
      rowBytes += getWidth(kernel.getResult(r)) * elementBytes;
  if (side == Access::Edge || rowBytes == 0) {
    setUnit(arith::RemUIOp::create(builder, loc, block, n));
    return arith::DivUIOp::create(builder, loc, block, n);
  }
  IndexBuilder &h = host.index();
  Value isLarge = h.isMore(h.mul(host.getRows(otherSide()), rowBytes), h.constant(bytesInCache));
  Value divisor = getArgument(h.add(h.mul(isLarge, h.add(blocks, -numUnits)), numUnits));
  Value quotient = arith::DivUIOp::create(builder, loc, block, divisor);
  Value rest = ix.sub(block, ix.mul(quotient, divisor));
  Value outer = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ne, getArgument(isLarge), ix.constant(0));
  setUnit(arith::SelectOp::create(builder, loc, outer, quotient, rest));
  return arith::SelectOp::create(builder, loc, outer, rest, quotient);
}

//===----------------------------------------------------------------------===//
// A segment, or a range of rows
//===----------------------------------------------------------------------===//

void GPUKernelStaging::stageSegment(Value unit) {
  Value segment = unit, part;
  if (parts) {
    segment = arith::DivUIOp::create(builder, loc, unit, getArgument(parts));
    part = ix.sub(unit, ix.mul(segment, getArgument(parts)));
  }
  Value offsets = getArgument(host.getPlan(side, "offsets"));
  Value begin = ix.loadIndex(offsets, segment), end = ix.loadIndex(offsets, ix.add(segment, 1));
  if (parts) {
    Value share = ix.ceildiv(ix.sub(end, begin), getArgument(parts));
    begin = ix.min(ix.add(begin, ix.mul(part, share)), end);
    end = ix.min(ix.add(begin, share), end);
    function.guard(ix.less(begin, end));
  }
  stageSegmentEdges(segment, begin, end);
}

Value GPUKernelStaging::loadNode(Value segment) { return ix.loadIndexIfAny(getArgument(host.getPlan(side, "nodes")), segment); }

void GPUKernelStaging::stageSegmentEdges(Value segment, Value begin, Value end) {
  order = getArgument(host.getPlan(side, "order"));
  other = getArgument(host.getPlan(side, "other"));
  Value node;
  for (unsigned i = 0; i < inputs.size(); ++i)
    if (isGrouped(kernel.getInputAccess(i))) {
      node = node ? node : loadNode(segment);
      Value tensor = kernel.getInputs()[i];
      groupedRows[i] = getInputRow(tensor, node);
    }
  readGroupedBlocks();
  scaleGroupedBlocks();
  // Warps that share them take turns, so that what they read lies close together.
  SmallVector<Value> sums = sharing ? stageEdges(ix.add(begin, function.warp), end, getArgument(sharing))
                                    : stageEdges(begin, end, ix.constant(1));
  if (!sums.empty())
    writeSums(sums, segment);
}

void GPUKernelStaging::writeSums(ArrayRef<Value> sums, Value segment) {
  function.syncWarp();
  for (auto [accumulator, sum] : llvm::zip(accumulators, sums))
    writeShared(scaleSum(accumulator, sum), accumulator);
  if (sharing) {
    Value isShared = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ne, getArgument(sharing), ix.constant(1));
    auto choice = scf::IfOp::create(builder, loc, isShared, /*withElseRegion=*/true);
    builder.setInsertionPointToStart(choice.thenBlock());
    function.syncBlock();
    copyOutSums(segment, function.sharedBase, function.thread, schedule.getWarps());
    builder.setInsertionPointToStart(choice.elseBlock());
  }
  function.syncWarp();
  copyOutSums(segment, warpMemory, function.lane, 1);
}

Value GPUKernelStaging::getSummand(const Contribution &c) {
  auto isSamePlace = [&](const Contribution &other) { return other.result == c.result && other.offset == c.offset; };
  EinsumOp scaling = KernelAnalysis::getScaling(c.value);
  bool isAlone = llvm::count_if(analysis.getContributions(), isSamePlace) == 1;
  return scaling && isAlone ? scaling.getOperands_()[0] : c.value;
}

Value GPUKernelStaging::scaleSum(const Contribution &c, Value sum) {
  if (getSummand(c) == c.value)
    return sum;
  EinsumOp scaling = KernelAnalysis::getScaling(c.value);
  Value scales = builder.clone(*scaling.getOperands_()[1].getDefiningOp())->getResult(0);
  return cloneSmall(scaling, {sum, scales});
}

void GPUKernelStaging::copyOutSums(Value segment, Value memory, Value thread, int64_t copies) {
  for (auto [r, layout] : llvm::enumerate(results)) {
    if (!isSum(r) || layout.size == 0)
      continue;
    Value tensor = kernel.getResult(r);
    host.requireAlignment(host.getDestination(tensor), layout.width * getElementBytes(tensor));
    CopyOutOp::create(builder, loc, getShared(memory, resultPositions[r]), getDestination(tensor, segment), slab, thread,
                      getInstance(layout), layout.runs, getAlso(layout), layout.width, /*atomic=*/false, /*once=*/true, warpSize * copies, copies, copies > 1 ? sharedSize : 0, element, getStored(tensor));
  }
}

void GPUKernelStaging::stageRows(Value unit) {
  Value begin = ix.mul(unit, schedule.getRows());
  Value end = ix.min(ix.add(begin, schedule.getRows()), getArgument(host.getSize(HostProgram::E)));
  stageEdges(begin, end, ix.constant(1));
}

std::pair<int64_t, SmallVector<int64_t>> GPUKernelStaging::getGlobalStrides(RankedTensorType block, IrrepsAttr irreps) {
  int64_t mul = block.getDimSize(0), dim = block.getNumElements() / mul;
  bool mulIr = !irreps || irreps.getLayout() == Layout::MulIr;
  return {mulIr ? dim : 1, SmallVector<int64_t>(block.getRank() - 1, mulIr ? 1 : mul)};
}

Value GPUKernelStaging::getMask(int64_t mul, int64_t n) {
  bool isWhole = schedule.getSlabUnits() == 1 && (schedule.getSlabBegin() + n + 1) * warpSize <= mul;
  if (mul % warpSize == 0 || isWhole)
    return {};
  Value &mask = masks[{mul, n}];
  if (!mask) {
    OpBuilder::InsertionGuard insertion(builder);
    builder.setInsertionPointAfterValue(channel);
    mask = ix.less(channel, ix.constant(mul - n * warpSize));
  }
  return mask;
}

Value GPUKernelStaging::getShift(BlockOp block) {
  SmallVector<int64_t> shifts{0};
  for (int64_t offset : block.getFurther())
    shifts.push_back(offset - block.getOffset());
  if (llvm::all_equal(shifts))
    return {};
  // The same from each instance to the next, as always of two.
  if (llvm::all_of(llvm::enumerate(shifts), [&](auto pair) { return pair.value() == static_cast<int64_t>(pair.index()) * shifts[1]; }))
    return ix.mul(instance, shifts[1]);
  Value shift = ix.constant(shifts.front());
  for (auto [n, other] : llvm::drop_begin(llvm::enumerate(shifts))) {
    Value is = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, instance, ix.constant(n));
    shift = arith::SelectOp::create(builder, loc, is, ix.constant(other), shift);
  }
  return shift;
}

void GPUKernelStaging::readGroupedBlocks() {
  for (BlockOp block : kernel.getBody().getOps<BlockOp>()) {
    unsigned i = cast<BlockArgument>(block.getRow()).getArgNumber();
    if (!isGrouped(kernel.getInputAccess(i)))
      continue;
    RankedTensorType type = block.getType();
    TypeAttr stored = getStored(kernel.getInputs()[i]);
    Value row = groupedRows[i];
    if (Value shift = getShift(block))
      row = ix.address(row, shift, getStoredElement(kernel.getInputs()[i]));
    if (!analysis.hasChannels(block.getResult())) {
      values.map(block.getResult(), ReadOp::create(builder, loc, type, row, Value(), Value(), block.getOffset(), 1,
                                                   getSmallStrides(type, inputs[i].irreps), stored));
      continue;
    }
    int64_t mul = type.getDimSize(0);
    auto [laneStride, strides] = getGlobalStrides(type, inputs[i].irreps);
    auto ofChannel = RankedTensorType::get(type.getShape().drop_front(), element);
    SmallVector<Value> channels;
    for (int64_t n = 0; n < schedule.getLaneChannels(mul); ++n) {
      Value mask = getMask(mul, n);
      Value at = mask ? ix.min(channel, ix.constant(mul - n * warpSize - 1)) : channel;
      channels.push_back(ReadOp::create(builder, loc, ofChannel, row, at, mask, block.getOffset() + n * warpSize * laneStride,
                                        laneStride, strides, stored));
    }
    values.map(block.getResult(), channels.size() == 1 ? channels.front() : StackOp::create(builder, loc, getLaneType(type), channels).getResult());
  }
}

void GPUKernelStaging::scaleGroupedBlocks() {
  for (EinsumOp einsum : kernel.getBody().getOps<EinsumOp>()) {
    auto scaling = KernelAnalysis::getScaling(einsum.getResult());
    if (!scaling || !values.contains(scaling.getOperands_()[0]) || !scaling.getOperands_()[0].hasOneUse())
      continue;
    SmallVector<Value> operands{values.lookup(scaling.getOperands_()[0])};
    operands.push_back(builder.clone(*scaling.getOperands_()[1].getDefiningOp())->getResult(0));
    values.map(scaling.getResult(), cloneSmall(scaling, operands));
  }
}

SmallVector<int64_t> GPUKernelStaging::getSmallStrides(RankedTensorType block, IrrepsAttr irreps) {
  SmallVector<int64_t> strides(block.getRank(), 1);
  if (irreps && irreps.getLayout() == Layout::IrMul) {
    strides[1] = block.getDimSize(0);
    return strides;
  }
  for (int64_t d = block.getRank() - 2; d >= 0; --d)
    strides[d] = strides[d + 1] * block.getDimSize(d + 1);
  return strides;
}
