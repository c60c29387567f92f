//===- SharedRows.cpp - rows in a warp's shared memory --------------------===//
#include "SharedRows.h"

using namespace mlir;
using namespace espmm::equivariant;

int64_t espmm::equivariant::getCopyWidth(const RowLayout &layout, int64_t rowWidth, int64_t elementBytes) {
  ArrayRef<int64_t> runs = layout.runs;
  for (int64_t width = 16 / elementBytes; width > 1; width /= 2) {
    bool fits = rowWidth % width == 0;
    for (size_t r = 0; r < runs.size(); r += 5) {
      int64_t tail = runs[r + 3] ? runs[r + 4] % warpSize * runs[r + 3] : 0;
      fits &= runs[r] % width == 0 && runs[r + 1] % width == 0 && runs[r + 2] % width == 0 && tail % width == 0;
    }
    fits &= llvm::all_of(layout.also, [&](int64_t offset) { return offset % width == 0; });
    if (fits)
      return width;
  }
  return 1;
}

void RowLayout::addBlock(RankedTensorType block, int64_t offset, ArrayRef<int64_t> further, int64_t laneChannels) {
  if (positions.count(offset))
    return;
  positions[offset] = size;
  channels |= laneChannels > 0;
  if (!laneChannels) {
    addRun(offset, 0, block.getNumElements(), 0, 0);
    llvm::append_range(also, further);
    return;
  }
  int64_t mul = block.getDimSize(0), dim = block.getNumElements() / mul;
  if (irreps && irreps.getLayout() == Layout::IrMul) {
    for (int64_t i = 0; i < dim; ++i) {
      addRun(offset + i * mul, warpSize, laneChannels * warpSize, 1, mul);
      for (int64_t other : further)
        also.push_back(other + i * mul);
    }
  } else {
    addRun(offset, warpSize * dim, laneChannels * warpSize * dim, dim, mul);
    llvm::append_range(also, further);
  }
}

std::pair<SmallVector<RowLayout>, SmallVector<RowLayout>> espmm::equivariant::planSharedRows(KernelAnalysis &analysis, ScheduleAttr schedule) {
  KernelOp kernel = analysis.kernel;
  Access side = schedule.getGroupBy();
  auto getLaneChannels = [&](Value block) {
    return analysis.hasChannels(block) ? schedule.getLaneChannels(cast<RankedTensorType>(block.getType()).getDimSize(0)) : 0;
  };
  auto isGrouped = [&](Access access) { return side != Access::Edge && access == side; };
  // Where a block is in instances after the first.
  size_t instances = schedule.getInstances();
  auto getFurther = [&](int64_t offset, ArrayRef<int64_t> further) {
    return further.empty() ? SmallVector<int64_t>(instances - 1, offset) : SmallVector<int64_t>(further);
  };
  SmallVector<RowLayout> inputs(kernel.getInputs().size()), results(kernel.getNumResults());
  for (auto [layout, tensor] : llvm::zip(inputs, kernel.getInputs()))
    layout.irreps = getIrreps(tensor);
  for (auto [layout, tensor] : llvm::zip(results, kernel.getResults()))
    layout.irreps = getIrreps(tensor);

  SmallVector<BlockOp> blocks(kernel.getBody().getOps<BlockOp>());
  llvm::stable_sort(blocks, [](BlockOp a, BlockOp b) { return a.getOffset() < b.getOffset(); });
  for (BlockOp block : blocks) {
    unsigned i = cast<BlockArgument>(block.getRow()).getArgNumber();
    if (!isGrouped(kernel.getInputAccess(i)))
      inputs[i].addBlock(block.getType(), block.getOffset(), getFurther(block.getOffset(), block.getFurther()), getLaneChannels(block.getResult()));
  }
  SmallVector<Contribution> contributions(analysis.getContributions());
  llvm::stable_sort(contributions, [](const Contribution &a, const Contribution &b) { return a.offset < b.offset; });
  for (const Contribution &c : contributions)
    if (analysis.hasChannels(c.value))
      results[c.result].addBlock(cast<RankedTensorType>(c.value.getType()), c.offset, getFurther(c.offset, c.further), getLaneChannels(c.value));

  auto finish = [&](RowLayout &layout, Value tensor, Type moved) {
    int64_t width = getWidth(tensor);
    if (!layout.channels && layout.size > 0) {
      // A row without channels is small: all of it, so that it can be copied in wide pieces.
      for (auto &[offset, position] : layout.positions)
        position = offset;
      layout.runs.clear();
      layout.also.clear();
      layout.size = 0;
      layout.addRun(0, 0, width, 0, 0);
    }
    auto isSame = [&](size_t n) { return layout.also[n] == layout.runs[n / (instances - 1) * 5]; };
    if (llvm::all_of(llvm::seq<size_t>(0, layout.also.size()), isSame))
      layout.also.clear();
    layout.width = getCopyWidth(layout, width, moved.getIntOrFloatBitWidth() / 8);
  };
  for (auto [layout, tensor] : llvm::zip(inputs, kernel.getInputs()))
    finish(layout, tensor, cast<RankedTensorType>(tensor.getType()).getElementType());
  // Results lie there in the type that they are computed in.
  for (auto [layout, tensor] : llvm::zip(results, kernel.getResults()))
    finish(layout, tensor, getArithmeticType(cast<RankedTensorType>(tensor.getType()).getElementType()));
  return {std::move(inputs), std::move(results)};
}
