//===- GPUEdges.cpp - what a warp does for each edge ----------------------===//
#include "GPUKernelStaging.h"
#include "Stage.h"

using namespace mlir;
using namespace espmm::equivariant;

//===----------------------------------------------------------------------===//
// The loop over edges
//===----------------------------------------------------------------------===//

Value GPUKernelStaging::loadNarrow(Value base, Value index) {
  Type i32 = builder.getI32Type();
  return LLVM::LoadOp::create(builder, loc, i32, ix.address(base, index, i32), 4);
}

GPUKernelStaging::Ids GPUKernelStaging::loadIds(Value position) {
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

GPUKernelStaging::Ids GPUKernelStaging::loadIdsIfAny(Value position, Value end) {
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

void GPUKernelStaging::issue(Value position, Value end, const Ids &ids, Value slot) {
  {
    OpBuilder::InsertionGuard insertion(builder);
    function.guard(ix.less(position, end));
    for (auto [i, layout] : llvm::enumerate(inputs)) {
      if (layout.size == 0)
        continue;
      Value tensor = kernel.getInputs()[i];
      Access access = kernel.getInputAccess(i);
      Value row = getInputRow(tensor, getRow(access, ids));
      host.requireAlignment(host.getBuffer(tensor), layout.width * getElementBytes(tensor));
      AsyncCopyOp::create(builder, loc, row, getShared(slot, inputPositions[i]), slab, function.lane, getInstance(layout),
                          layout.runs, getAlso(layout), layout.width, isReadOnce(access, layout), getStoredElement(tensor));
    }
  }
  NVVM::CpAsyncCommitGroupOp::create(builder, loc);
}

SmallVector<Value> GPUKernelStaging::stageEdges(Value begin, Value end, Value step) {
  int64_t ahead = schedule.getStages() - 1;
  SmallVector<Ids> window;
  auto after = [&](Value position, int64_t n) { return ix.add(position, ix.mul(step, n)); };
  for (int64_t n = 0; n < ahead; ++n) {
    window.push_back(loadIdsIfAny(after(begin, n), end));
    issue(after(begin, n), end, window.back(), getSlot(ix.constant(n)));
  }
  window.push_back(loadIdsIfAny(after(begin, ahead), end));

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
  auto loop = scf::ForOp::create(builder, loc, begin, end, step, inits);
  // Values of the loop's body are not known outside of it.
  IRMapping outside = values;
  auto outsideMasks = masks;
  builder.setInsertionPointToEnd(loop.getBody());
  Value position = loop.getInductionVar(), slot = loop.getRegionIterArg(0);
  for (auto [n, ids] : llvm::enumerate(window)) {
    Value there = after(position, n);
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
  issue(after(position, ahead), end, window.back(), getSlot(other));
  SmallVector<Value> yielded{next};
  if (carriesIds) {
    Ids coming = loadIds(ix.min(after(position, ahead + 1), ix.add(end, -1)));
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

unsigned GPUKernelStaging::findAccumulator(const Contribution &c) {
  for (auto [n, a] : llvm::enumerate(accumulators))
    if (a.result == c.result && a.offset == c.offset)
      return n;
  return accumulators.size();
}

//===----------------------------------------------------------------------===//
// One edge
//===----------------------------------------------------------------------===//

void GPUKernelStaging::stageBody(Value slot, const Ids &ids, SmallVectorImpl<Value> &sums) {
  // What is scaled after the loop: a use in the loop would keep its sum apart from the one over the edges.
  llvm::SmallDenseSet<Operation *> later;
  for (const Contribution &c : accumulators)
    if (getSummand(c) != c.value && c.value.hasOneUse())
      later.insert(c.value.getDefiningOp());
  for (Operation &op : kernel.getBody().front().without_terminator()) {
    if (isa<AssembleOp>(op) || values.contains(op.getResult(0)) || later.contains(&op) ||
        (isConstantTensor(&op) && llvm::all_of(op.getUsers(), [&](Operation *user) { return later.contains(user); })))
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
  Totals totals;
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
    host.requireAlignment(host.getDestination(tensor), layout.width * getElementBytes(tensor));
    CopyOutOp::create(builder, loc, getShared(warpMemory, resultPositions[r]), getDestination(tensor, getRow(access, ids)), slab,
                      function.lane, getInstance(layout), layout.runs, getAlso(layout), layout.width, /*atomic=*/access != Access::Edge,
                      /*once=*/access == Access::Edge, warpSize, /*copies=*/1, /*stride=*/0, element, getStored(tensor));
  }
}

Value GPUKernelStaging::readShared(BlockOp block, Value slot) {
  unsigned i = cast<BlockArgument>(block.getRow()).getArgNumber();
  const RowLayout &layout = inputs[i];
  RankedTensorType type = block.getType();
  Value tensor = kernel.getInputs()[i];
  int64_t position = inputPositions[i] * elementBytes / getElementBytes(tensor) + layout.positions.lookup(block.getOffset());
  if (!analysis.hasChannels(block.getResult()))
    return ReadOp::create(builder, loc, type, slot, Value(), Value(), position, 1, getSmallStrides(type, layout.irreps), getStored(tensor));
  auto [laneStride, strides] = getSharedStrides(type, layout);
  return ReadOp::create(builder, loc, getLaneType(type), slot, function.lane, Value(), position, laneStride, strides, getStored(tensor));
}

std::pair<int64_t, SmallVector<int64_t>> GPUKernelStaging::getSharedStrides(RankedTensorType block, const RowLayout &layout) {
  int64_t mul = block.getDimSize(0), dim = block.getNumElements() / mul, channels = schedule.getLaneChannels(mul);
  bool irMul = layout.irreps && layout.irreps.getLayout() == Layout::IrMul;
  SmallVector<int64_t> strides(block.getRank() - 1, irMul ? channels * warpSize : 1);
  int64_t laneStride = irMul ? 1 : dim;
  if (channels > 1)
    strides.insert(strides.begin(), warpSize * laneStride);
  return {laneStride, strides};
}

void GPUKernelStaging::writeShared(Value value, const Contribution &c) {
  const RowLayout &layout = results[c.result];
  auto block = cast<RankedTensorType>(c.value.getType());
  auto [laneStride, strides] = getSharedStrides(block, layout);
  WriteOp::create(builder, loc, value, warpMemory, function.lane, Value(), resultPositions[c.result] + layout.positions.lookup(c.offset),
                  laneStride, strides, /*accumulate=*/false, /*nontemporal=*/false);
}

void GPUKernelStaging::writeSmallRows(Totals &totals, const Ids &ids) {
  for (unsigned r = 0; r < results.size(); ++r) {
    SmallVector<std::pair<int64_t, Value>> parts;
    for (auto &[key, total] : totals)
      if (key.first == r && !analysis.hasChannels(total.first.value))
        parts.emplace_back(key.second, total.second);
    llvm::sort(parts, [](const auto &a, const auto &b) { return a.first < b.first; });
    if (parts.empty())
      continue;
    Value row = getSmallRow(r, ids);
    // Blocks that follow each other in memory are summed together, as many elements at a time as there are lanes.
    for (size_t begin = 0, end; begin < parts.size(); begin = end) {
      SmallVector<Value> run;
      int64_t count = 0;
      for (end = begin; end < parts.size() && parts[end].first == parts[begin].first + count; ++end) {
        run.push_back(toMemoryOrder(builder, loc, parts[end].second, results[r].irreps));
        count += cast<RankedTensorType>(run.back().getType()).getNumElements();
      }
      for (int64_t first = 0; first < count; first += warpSize) {
        Value sum = LaneSumOp::create(builder, loc, element, run, first);
        OpBuilder::InsertionGuard insertion(builder);
        function.guard(ix.less(function.lane, ix.constant(std::min(count - first, warpSize))));
        Value address = ix.address(row, ix.add(function.lane, parts[begin].first + first), element);
        if (schedule.getDeterministic())
          LLVM::StoreOp::create(builder, loc, sum, address, elementBytes);
        else
          LLVM::AtomicRMWOp::create(builder, loc, LLVM::AtomicBinOp::fadd, address, sum, LLVM::AtomicOrdering::monotonic);
      }
    }
  }
}

Value GPUKernelStaging::getSmallRow(unsigned r, const Ids &ids) {
  Value tensor = kernel.getResult(r), row = getRow(kernel.getResultAccess(r), ids);
  if (!schedule.getDeterministic())
    return getDestination(tensor, row);
  auto [it, isNew] = copies.try_emplace(r);
  if (isNew)
    it->second = host.reserveCopies(tensor, schedule.getNumUnits());
  auto [scratch, first] = it->second;
  Value rows = getArgument(host.getRows(kernel.getResultAccess(r)));
  Value copy = ix.add(unit, first);
  return getRowPointer(getArgument(scratch, false), ix.add(ix.mul(copy, rows), row), getWidth(tensor));
}

Value GPUKernelStaging::cloneSmall(Operation *op, ArrayRef<Value> operands) {
  if (isConstantTensor(op))
    return builder.clone(*op)->getResult(0);
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  RankedTensorType small = analysis.hasChannels(op->getResult(0)) ? getLaneType(type) : RankedTensorType::get(type.getShape(), element);
  if (isa<AddOp>(op))
    return AddOp::create(builder, loc, small, operands[0], operands[1]);
  std::string subscripts = cast<EinsumOp>(op).getSubscripts().str();
  if (!analysis.isChannelOp(op) || schedule.getLaneChannels(analysis.getChannels(op)) == 1)
    llvm::erase(subscripts, 'u');
  return EinsumOp::create(builder, loc, small, builder.getStringAttr(subscripts), operands);
}
