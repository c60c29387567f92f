//===- CPURowTiles.cpp - rows side by side, for weights that they share ------===//
//
//   a task: some rows, a tile of as many as there are lanes at a time
//     per tile: rows of inputs transposed, element after element, zeros past the last; the nests; rows of results transposed back
//     per some tiles: what they sum over rows is added to the task's sum, with compensation
//   after: the sum of what tasks summed
//
// A weight is so read once for all rows of a tile, as one number that all lanes multiply by. The gradient of weights is a sum over the tile's rows, in registers: there
// channels are in lanes, and what has them is transposed once more, for all sums that read it.
//
//===----------------------------------------------------------------------===//
#include "CPURowTiles.h"
#include "CPUKernelStaging.h"
#include "CPUNests.h"

using namespace mlir;
using namespace espmm::equivariant;

/// A tile with all that is between its operations: half of the second-level cache of most processors.
static constexpr int64_t mostTileBytes = 512 << 10;

int64_t espmm::equivariant::chooseTileRows(KernelOp kernel, int64_t lanes) {
  if (lanes == 1 || chooseGroupSide(kernel) != Access::Edge || KernelAnalysis(kernel, LoopedAxes::All).getNests().empty() ||
      !hasRowsAt(kernel, Access::All))
    return 1;
  SmallVector<int64_t> sizes;
  for (Value tensor : getEdgeTensors(kernel)) {
    if (!getIrreps(tensor))
      return 1;
    sizes.push_back(getWidth(tensor) * lanes);
  }
  Type element = getArithmeticType(getStoredElement(kernel.getResult(0)));
  KernelAnalysis analysis(kernel, LoopedAxes::Nests);
  NestPlan plan(analysis, CPUNestTarget::getLimits(VectorType::get({lanes}, element), lanes));
  return plan.canSumOverRows() && plan.measure(element, sizes) * (element.getIntOrFloatBitWidth() / 8) <= mostTileBytes ? lanes : 1;
}

//===----------------------------------------------------------------------===//
// A tile
//===----------------------------------------------------------------------===//

void CPUKernelStaging::stageRowTiles(Value first, Value last) {
  SmallVector<RowPlace> inputs(kernel.getInputs().size()), results(kernel.getNumResults());
  openShared(inputs, results, arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::sle, last, first));
  int64_t partBytes = 0;
  llvm::DenseMap<Value, Value> tiles;
  for (Value tensor : getEdgeTensors(kernel)) {
    tiles[tensor] = function.allocate(getWidth(tensor) * tileRows);
    partBytes = std::max<int64_t>(partBytes, getWidth(tensor) * tileRows * (getStoredElement(tensor).getIntOrFloatBitWidth() / 8));
  }
  partOfTile = function.allocate((partBytes + elementBytes - 1) / elementBytes);
  for (auto [i, tensor] : llvm::enumerate(kernel.getInputs()))
    if (kernel.getInputAccess(i) == Access::Edge)
      inputs[i] = {tiles.lookup(tensor), std::nullopt};
  for (auto [r, tensor] : llvm::enumerate(kernel.getResults()))
    if (kernel.getResultAccess(r) == Access::Edge)
      results[r] = {tiles.lookup(tensor), std::nullopt};
  loopOverRows(first, last, results, [&](Value row) { stageRowTile(row, ix.min(ix.sub(last, row), ix.constant(tileRows)), inputs, results); });
}

void CPUKernelStaging::stageRowTile(Value first, Value count, ArrayRef<RowPlace> inputs, ArrayRef<RowPlace> results) {
  Value isPart = ix.less(count, ix.constant(tileRows));
  for (auto [i, tensor] : llvm::enumerate(kernel.getInputs()))
    if (kernel.getInputAccess(i) == Access::Edge)
      copyIntoTile(tensor, inputs[i].base, first, count, isPart);
  for (auto [r, tensor] : llvm::enumerate(kernel.getResults()))
    if (kernel.getResultAccess(r) == Access::Edge && !coversRow(analysis, r))
      function.fillWithZeros(results[r].base, ix.constant(getWidth(tensor) * tileRows));
  stageNests(inputs, results);
  for (auto [r, tensor] : llvm::enumerate(kernel.getResults()))
    if (kernel.getResultAccess(r) == Access::Edge)
      copyOutOfTile(tensor, results[r].base, first, count, isPart);
}

void CPUKernelStaging::copyIntoTile(Value tensor, Value tile, Value first, Value count, Value isPart) {
  int64_t width = getWidth(tensor);
  Type stored = getStoredElement(tensor);
  Value rows = getTensorRow(tensor, first);
  OpBuilder::InsertPoint after = builder.saveInsertionPoint();
  builder.setInsertionPointToStart(scf::IfOp::create(builder, loc, isPart, /*withElseRegion=*/false).thenBlock());
  function.fillWithZeros(partOfTile, ix.constant(width * tileRows), stored);
  copyRows(rows, partOfTile, tensor, count);
  builder.restoreInsertionPoint(after);
  TransposeOp::create(builder, loc, LLVM::SelectOp::create(builder, loc, isPart, partOfTile, rows), tile, width, tileRows, ArrayRef<int64_t>{tileRows, width}, lanes, stored,
                      element);
}

void CPUKernelStaging::copyOutOfTile(Value tensor, Value tile, Value first, Value count, Value isPart) {
  int64_t width = getWidth(tensor);
  Value rows = getTensorRow(tensor, first);
  TransposeOp::create(builder, loc, tile, LLVM::SelectOp::create(builder, loc, isPart, partOfTile, rows), tileRows, width, ArrayRef<int64_t>{width, tileRows}, lanes, element,
                      getStoredElement(tensor));
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(scf::IfOp::create(builder, loc, isPart, /*withElseRegion=*/false).thenBlock());
  copyRows(partOfTile, rows, tensor, count);
}

void CPUKernelStaging::copyRows(Value from, Value to, Value tensor, Value count) {
  Value bytes = ix.mul(count, getWidth(tensor) * getStoredElement(tensor).getIntOrFloatBitWidth() / 8);
  LLVM::MemcpyOp::create(builder, loc, to, from, bytes, /*isVolatile=*/false);
}
