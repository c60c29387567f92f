//===- StageCPU.cpp - the loops around a kernel's body ---------------------===//
#include "CPUKernelStaging.h"
#include "CPUNests.h"
#include "CPURowTiles.h"
#include "Stage.h"

using namespace mlir;
using namespace espmm::equivariant;

LogicalResult CPUKernelStaging::run() {
  if (!analysis.getNests().empty()) {
    NestPlan plan(analysis, CPUNestTarget::getLimits(vector, tileRows));
    nestBytes = plan.measure(element, {}) * elementBytes;
    if (nestBytes > mostBytesOfTask) {
      InFlightDiagnostic error = kernel.emitOpError("needs ") << nestBytes << " bytes for what is between two operations of an edge, more than "
                                                              << mostBytesOfTask << ", which has no lowering yet";
      if (Value largest = plan.findLargest()) {
        error << "; the largest is a " << largest.getType();
        if (auto name = dyn_cast<NameLoc>(largest.getLoc()))
          error << " of " << name.getName().getValue();
      }
      return error;
    }
  }
  loops = planChannelLoops(analysis, support, lanes * elementBytes == 64 ? 32 : 16);
  if (side == Access::Edge)
    stageRows();
  else
    stageSegments();
  function.launch(numParts);
  for (auto &[r, partial] : partials)
    launchSumOfCopies(host, kernel, kernel.getResult(r), partial.scratch, numParts, host.getRows(otherSide()),
                      ComponentOrder{getIrreps(kernel.getResult(r)), lanes});
  for (auto &[r, share] : shares)
    launchSumOfShares(host, kernel, kernel.getResult(r), share.scratch, numParts, getShareStride(r), share.rows, lanes);
  return success();
}

//===----------------------------------------------------------------------===//
// The loops around the body
//===----------------------------------------------------------------------===//

void CPUKernelStaging::stageSegments() {
  Value offsets = getArgument(host.getPlan(side, "offsets"));
  Value order = getArgument(host.getPlan(side, "order"));
  Value other = getArgument(host.getPlan(side, "other"));
  Value parts = getArgument(host.getPlan(side, "parts"));
  bool sumsAtOther = llvm::any_of(kernel.getResultAccess(), [&](Attribute a) {
    return cast<AccessAttr>(a).getValue() == otherSide();
  });
  // Parts that each have a copy of a result are few, and never as many as the threads: results do not depend on those.
  host.index().loc = loc;
  if (sumsAtOther) {
    IndexBuilder &h = host.index();
    Value nodes = h.max(host.getRows(otherSide()), h.constant(1));
    numParts = h.min(h.constant(64), h.max(h.constant(8), h.ceildiv(host.getSize(HostProgram::E), h.mul(nodes, 8))));
  } else {
    numParts = host.index().constant(64);
  }
  if (hasShares())
    numParts = host.index().min(numParts, countSharingParts());
  Value n = getArgument(numParts);
  Value first = ix.loadIndex(parts, arith::DivUIOp::create(builder, loc, ix.mul(function.task, 64), n));
  Value last = ix.loadIndex(parts, arith::DivUIOp::create(builder, loc, ix.mul(ix.add(function.task, 1), 64), n));

  for (unsigned r = 0; r < kernel.getNumResults(); ++r)
    if (kernel.getResultAccess(r) == otherSide())
      startPartial(r);
  SmallVector<RowPlace> inputs(kernel.getInputs().size()), results(kernel.getNumResults());
  openShared(inputs, results);
  auto segments = function.loop(first, last, ix.constant(1));
  Value segment = segments.getInductionVar();
  for (unsigned i = 0; i < inputs.size(); ++i)
    if (kernel.getInputAccess(i) == side)
      inputs[i] = openInput(i, segment);
  for (unsigned r = 0; r < results.size(); ++r)
    if (kernel.getResultAccess(r) == side)
      results[r] = openAccumulator(r);

  OpBuilder::InsertPoint afterEdges = builder.saveInsertionPoint();
  {
    Value begin = ix.loadIndex(offsets, segment), end = ix.loadIndex(offsets, ix.add(segment, 1));
    loopOverRows(begin, end, results, [&](Value position) {
      Value edge = ix.loadIndexIfAny(order, position);
      Value last = ix.add(getArgument(host.getSize(HostProgram::E)), -1);
      nextEdge = ix.loadIndexIfAny(order, ix.min(ix.add(position, 1), last));
      Value node = ix.loadIndex(other, position);
      stageEdge(edge, node, inputs, results);
    });
  }
  builder.restoreInsertionPoint(afterEdges);
  for (unsigned r = 0; r < results.size(); ++r)
    if (kernel.getResultAccess(r) == side)
      closeAccumulator(r, results[r], segment);
}

void CPUKernelStaging::stageRows() {
  IndexBuilder &h = host.index();
  h.loc = loc;
  auto inTiles = [&](int64_t rows) { return (rows + tileRows - 1) / tileRows * tileRows; };
  Value count = host.getSize(HostProgram::E), ofTask = h.constant(inTiles(schedule.getRows()));
  numParts = h.ceildiv(count, ofTask);
  // Few, where each takes memory.
  if (hasShares() || nestBytes > mostNestBytes) {
    numParts = countSharingParts();
    ofTask = h.mul(h.ceildiv(count, h.mul(numParts, tileRows)), tileRows);
  }
  Value rowsOfTask = getArgument(ofTask);
  Value first = ix.mul(function.task, rowsOfTask);
  Value last = ix.min(ix.add(first, rowsOfTask), getArgument(count));
  if (tileRows > 1)
    return stageRowTiles(first, last);
  SmallVector<RowPlace> inputs(kernel.getInputs().size()), results(kernel.getNumResults());
  openShared(inputs, results);
  loopOverRows(first, last, results, [&](Value row) { stageEdge(row, Value(), inputs, results); });
}

//===----------------------------------------------------------------------===//
// Rows that all share
//===----------------------------------------------------------------------===//

void CPUKernelStaging::loopOverRows(Value begin, Value end, ArrayRef<RowPlace> results, llvm::function_ref<void(Value)> body) {
  if (shares.empty()) {
    body(function.loop(begin, end, ix.constant(tileRows)).getInductionVar());
    return;
  }
  Value first = function.loop(begin, end, ix.constant(getRowsOfShare())).getInductionVar();
  OpBuilder::InsertPoint afterRows = builder.saveInsertionPoint();
  body(function.loop(first, ix.min(ix.add(first, getRowsOfShare()), end), ix.constant(tileRows)).getInductionVar());
  builder.restoreInsertionPoint(afterRows);
  addShares(results, tileRows > 1 ? arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, first, begin).getResult() : Value());
}

bool CPUKernelStaging::hasShares() {
  return llvm::any_of(kernel.getResultAccess(), [&](Attribute a) { return isShared(cast<AccessAttr>(a).getValue()); });
}

Value CPUKernelStaging::countSharingParts() {
  IndexBuilder &h = host.index();
  h.loc = loc;
  return h.min(h.constant(64), h.max(h.ceildiv(host.getSize(HostProgram::E), h.constant(tileRows > 1 ? 2 * rowsOfTiles : 4 * rowsOfShare)), h.constant(1)));
}

void CPUKernelStaging::openShared(SmallVectorImpl<RowPlace> &inputs, SmallVectorImpl<RowPlace> &results, Value hasNoRows) {
  for (unsigned i = 0; i < inputs.size(); ++i)
    if (isShared(kernel.getInputAccess(i)))
      inputs[i] = openInput(i, ix.constant(0));
  IndexBuilder &h = host.index();
  int64_t shareBytes = 0;
  for (unsigned r = 0; r < results.size(); ++r) {
    if (!isShared(kernel.getResultAccess(r)))
      continue;
    int64_t stride = getShareStride(r);
    // Task after task sums some rows in the same place, if a stack has room for it.
    bool isOnStack = (shareBytes + stride * elementBytes) <= mostShareBytes;
    shareBytes += isOnStack ? stride * elementBytes : 0;
    int64_t rows = isOnStack ? 2 : 3;
    Value scratch = host.getScratch(h.mul(numParts, rows * stride * elementBytes), kernel.getResult(r), "by tasks");
    Value sum = getRowPointer(getArgument(scratch), ix.mul(function.task, rows), stride);
    shares[r] = {scratch, sum, rows};
    results[r] = {isOnStack ? function.allocate(stride) : ix.address(sum, ix.constant(2 * stride), element), std::nullopt};
    function.fillWithZeros(results[r].base, ix.constant(stride));
    // A task that has tiles begins its sum with them.
    OpBuilder::InsertionGuard guard(builder);
    if (hasNoRows)
      builder.setInsertionPointToStart(scf::IfOp::create(builder, loc, hasNoRows, /*withElseRegion=*/false).thenBlock());
    function.fillWithZeros(sum, ix.constant(2 * stride));
  }
  openBlocks(inputs, results, /*ofShared=*/true);
}

void CPUKernelStaging::addShares(ArrayRef<RowPlace> results, Value isFirst) {
  closeBlocks(results, /*ofShared=*/true);
  for (auto &[r, share] : shares) {
    OpBuilder::InsertPoint after = builder.saveInsertionPoint();
    int64_t stride = getShareStride(r);
    auto loop = function.loop(ix.constant(0), ix.constant(stride), ix.constant(lanes));
    Value at = loop.getInductionVar();
    Value sumAddress = ix.address(share.sum, at, element), lostAddress = ix.address(share.sum, ix.add(at, stride), element);
    auto load = [&](Value address) { return LLVM::LoadOp::create(builder, loc, vector, address, elementBytes); };
    Value ofRows = ix.address(results[r].base, at, element), rows = load(ofRows), before = load(sumAddress), lostBefore = load(lostAddress);
    Value zero = LLVM::ZeroOp::create(builder, loc, vector);
    if (isFirst) {
      before = LLVM::SelectOp::create(builder, loc, isFirst, zero, before);
      lostBefore = LLVM::SelectOp::create(builder, loc, isFirst, zero, lostBefore);
    }
    auto [sum, lost] = function.addCompensated(before, lostBefore, rows);
    LLVM::StoreOp::create(builder, loc, sum, sumAddress, elementBytes);
    LLVM::StoreOp::create(builder, loc, lost, lostAddress, elementBytes);
    LLVM::StoreOp::create(builder, loc, zero, ofRows, elementBytes);
    builder.restoreInsertionPoint(after);
    builder.setInsertionPointAfter(loop);
  }
}

LogicalResult espmm::equivariant::stageKernelForCPU(KernelOp kernel, ScheduleAttr schedule, HostProgram &host) {
  if (failed(KernelAnalysis(kernel, LoopedAxes::All).verify()))
    return failure();
  Type element;
  for (Type type : llvm::concat<const Type>(kernel.getInputs().getTypes(), kernel.getResultTypes()))
    element = getArithmeticType(cast<RankedTensorType>(type).getElementType());
  if (schedule.getTileRows() > 1 && chooseTileRows(kernel, schedule.getLanes()) != schedule.getTileRows())
    return kernel.emitOpError("has a schedule with ") << schedule.getTileRows() << " rows side by side, which is for rows of irreps that share weights of loops over several "
                                                     << "multiplicities, with room for a tile of them";
  return CPUKernelStaging(kernel, schedule, host, element).run();
}
