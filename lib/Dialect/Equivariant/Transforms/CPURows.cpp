//===- CPURows.cpp - where rows and blocks of them are ---------------------===//
#include "CPUKernelStaging.h"
#include "CPUNests.h"

using namespace mlir;
using namespace espmm::equivariant;

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

RowPlace CPUKernelStaging::openInput(unsigned i, Value row) {
  Value tensor = kernel.getInputs()[i];
  Value pointer = getTensorRow(tensor, row);
  IrrepsAttr irreps = getIrreps(tensor);
  ComponentOrder order{irreps, lanes};
  if (!irreps || !analysis.isChannelRow(kernel.getBody().getArgument(i)) || order.isDirect()) {
    RowPlace place{pointer, std::nullopt};
    place.stored = getStored(tensor);
    if (nextEdge && kernel.getInputAccess(i) == Access::Edge)
      place.next = getTensorRow(tensor, nextEdge);
    return place;
  }
  if (kernel.getInputAccess(i) == otherSide() && side != Access::Edge) {
    // Its rows are read once an edge, more often than there are rows: they are brought to component order before.
    Value &scratch = converted[i];
    if (!scratch)
      scratch = launchToComponents(host, kernel, tensor, host.getRows(otherSide()), order);
    return {getRowPointer(getArgument(scratch), row, order.getSize()), order, Value(), pointer, getStored(tensor)};
  }
  Value buffer = function.allocate(order.getSize());
  RelayoutOp::create(builder, loc, pointer, buffer, /*scatter=*/false, irreps, DenseI64ArrayAttr(), lanes, element, getStored(tensor));
  return {buffer, order, Value(), pointer, getStored(tensor)};
}

RowPlace CPUKernelStaging::openAccumulator(unsigned r) {
  IrrepsAttr irreps = getIrreps(kernel.getResult(r));
  ComponentOrder order{irreps, lanes};
  Value buffer = function.allocate(order.getSize());
  function.fillWithZeros(buffer, ix.constant(order.getSize()));
  return {buffer, order};
}

void CPUKernelStaging::closeAccumulator(unsigned r, const RowPlace &place, Value row) {
  Value tensor = kernel.getResult(r);
  RelayoutOp::create(builder, loc, place.base, getTensorRow(tensor, row), /*scatter=*/true, place.buffer->irreps, DenseI64ArrayAttr(), lanes,
                     element, getStored(tensor));
}

void CPUKernelStaging::startPartial(unsigned r) {
  ComponentOrder order{getIrreps(kernel.getResult(r)), lanes};
  IndexBuilder &h = host.index();
  Value rows = host.getRows(otherSide());
  Value scratch = host.getScratch(h.mul(h.mul(numParts, rows), order.getSize() * elementBytes), kernel.getResult(r), "by tasks");
  Value firstRow = ix.mul(function.task, getArgument(rows));
  Value copy = getRowPointer(getArgument(scratch), firstRow, order.getSize());
  function.fillWithZeros(copy, ix.mul(getArgument(rows), order.getSize()));
  partials[r] = {scratch, copy};
}

RowPlace CPUKernelStaging::openPartial(unsigned r, Value node) {
  ComponentOrder order{getIrreps(kernel.getResult(r)), lanes};
  return {getRowPointer(partials[r].copy, node, order.getSize()), order};
}

//===----------------------------------------------------------------------===//
// Weights that are strided
//===----------------------------------------------------------------------===//

Value CPUKernelStaging::allocateBlock(Value block) {
  auto [channels, components] = analysis.getLoopedShape(block);
  return function.allocate(pad(channels) * components);
}

void CPUKernelStaging::relayoutBlock(Value from, Value to, bool scatter, Value block, TypeAttr stored) {
  auto [channels, components] = analysis.getLoopedShape(block);
  RelayoutOp::create(builder, loc, from, to, scatter, IrrepsAttr(), builder.getDenseI64ArrayAttr({channels, components}), lanes, element, stored);
}

void CPUKernelStaging::openBlocks(ArrayRef<RowPlace> inputs, ArrayRef<RowPlace> results, bool ofShared) {
  for (auto block : kernel.getBody().getOps<BlockOp>()) {
    unsigned i = cast<BlockArgument>(block.getRow()).getArgNumber();
    // A row in each lane takes them as they lie.
    if (tileRows > 1 || isShared(kernel.getInputAccess(i)) != ofShared || !analysis.isStridedWeights(kernel.getInputs()[i], block.getResult()) ||
        inputBlocks.count({i, block.getOffset()}))
      continue;
    Value buffer = inputBlocks[{i, block.getOffset()}] = allocateBlock(block.getResult());
    relayoutBlock(getBlockPointer(inputs[i], block.getOffset()), buffer, /*scatter=*/false, block.getResult(), inputs[i].stored);
  }
  for (const Contribution &c : analysis.getContributions())
    if (isShared(kernel.getResultAccess(c.result)) == ofShared && analysis.isStridedWeights(kernel.getResult(c.result), c.value)) {
      resultBlocks[{c.result, c.offset}] = {allocateBlock(c.value), c.value};
      if (ofShared)
        zeroBlock(resultBlocks[{c.result, c.offset}]);
    }
}

void CPUKernelStaging::zeroBlock(const std::pair<Value, Value> &block) {
  auto [channels, components] = analysis.getLoopedShape(block.second);
  function.fillWithZeros(block.first, ix.constant(pad(channels) * components));
}

void CPUKernelStaging::closeBlocks(ArrayRef<RowPlace> results, bool ofShared) {
  for (auto &[key, block] : resultBlocks) {
    if (isShared(kernel.getResultAccess(key.first)) != ofShared)
      continue;
    relayoutBlock(block.first, getBlockPointer(results[key.first], key.second), /*scatter=*/true, block.second, results[key.first].stored);
    if (ofShared)
      zeroBlock(block);
  }
}

//===----------------------------------------------------------------------===//
// Loops over several multiplicities
//===----------------------------------------------------------------------===//

void CPUKernelStaging::stageNests(ArrayRef<RowPlace> inputs, ArrayRef<RowPlace> results) {
  llvm::SmallDenseSet<std::pair<unsigned, int64_t>> written;
  if (analysis.getNests().empty())
    return;
  CPUNestTarget target(function, vector, tileRows, [&](Value size) -> Value {
    if (nestBytes <= mostNestBytes)
      return function.allocate(size);
    Value scratch = host.getScratch(host.index().mul(numParts, nestBytes), kernel.getResult(0), "being computed, by tasks");
    return ix.address(getArgument(scratch), ix.mul(function.task, size), element);
  });
  NestStaging(analysis, target).run(
      [&](BlockOp block) {
        unsigned i = cast<BlockArgument>(block.getRow()).getArgNumber();
        return getPlace(kernel.getInputs()[i], inputs[i], inputBlocks.lookup({i, block.getOffset()}), block.getResult(), block.getOffset());
      },
      [&](const Contribution &c) {
        auto buffer = resultBlocks.find({c.result, c.offset});
        NestPlace place = getPlace(kernel.getResult(c.result), results[c.result], buffer == resultBlocks.end() ? Value() : buffer->second.first,
                                   c.value, c.offset);
        // Rows of irreps begin as zeros, weights with what is written first; so do rows of a tile that are covered.
        bool beginsAsZeros = tileRows > 1 ? !coversRow(analysis, c.result) : getIrreps(kernel.getResult(c.result)) != nullptr;
        bool isFirst = written.insert({c.result, c.offset}).second;
        place.accumulate = isShared(kernel.getResultAccess(c.result)) || beginsAsZeros || !isFirst;
        return place;
      });
  [[maybe_unused]] int64_t size = target.finish() * elementBytes;
  assert(size == nestBytes && "what was measured is what it takes");
}

NestPlace CPUKernelStaging::getPlace(Value tensor, const RowPlace &row, Value buffer, Value block, int64_t offset) {
  auto shape = cast<RankedTensorType>(block.getType()).getShape();
  SmallVector<int64_t> strides(shape.size());
  auto walk = [&](size_t begin, size_t end, int64_t stride) {
    for (size_t d = end; d-- > begin; stride *= shape[d])
      strides[d] = stride;
    return stride;
  };
  size_t rank = shape.size();
  if (buffer) {
    size_t first = analysis.getLoopedRank(block);
    int64_t channels = analysis.getLoopedShape(block).first;
    walk(0, first, 1);
    walk(first, rank, pad(channels));
    return {buffer, 0, strides};
  }
  if (!row.buffer) {
    NestPlace place = placeInRow(tensor, row.base, cast<RankedTensorType>(block.getType()), offset);
    if (tileRows > 1 && getIrreps(tensor)) {
      place.stored = TypeAttr();
      place.offset *= tileRows;
      for (int64_t &stride : place.strides)
        stride *= tileRows;
    }
    return place;
  }
  // The last dimension is the components'; those before it make up the multiplicity.
  int64_t dim = shape.back(), mul = ShapedType::getNumElements(shape.drop_back());
  walk(0, rank - 1, 1);
  strides.back() = row.buffer->pad(mul);
  return {row.base, row.buffer->getOffset(row.buffer->findBlock(offset, mul * dim)), strides};
}

RowPlace CPUKernelStaging::openEdgeResult(unsigned r, Value edge) {
  Value tensor = kernel.getResult(r);
  AssembleOp assemble = analysis.getAssemble(r);
  Value pointer = getTensorRow(tensor, edge);
  if (analysis.isChannelRow(assemble.getResult()) && getIrreps(tensor)) {
    RowPlace place = openAccumulator(r);
    place.memory = pointer;
    place.stored = getStored(tensor);
    return place;
  }
  // What no path reaches is zero.
  int64_t covered = 0;
  llvm::SmallDenseSet<int64_t> offsets;
  // A nest adds to blocks of irreps.
  bool adds = getIrreps(tensor) && llvm::any_of(analysis.getContributions(), [&](const Contribution &c) { return c.result == r && c.isOfNest; });
  for (auto [offset, block] : llvm::zip(assemble.getOffsets(), assemble.getBlocks()))
    if (!adds && offsets.insert(offset).second)
      covered += cast<RankedTensorType>(block.getType()).getNumElements();
  if (covered < getWidth(tensor))
    function.fillWithZeros(pointer, ix.constant(getWidth(tensor)), getStoredElement(tensor));
  return {pointer, std::nullopt, Value(), Value(), getStored(tensor)};
}

SmallVector<int64_t> CPUKernelStaging::getRowStrides(Value tensor, RankedTensorType block) {
  IrrepsAttr irreps = getIrreps(tensor);
  if (!irreps) {
    SmallVector<int64_t> strides(block.getRank(), 1);
    for (int64_t d = block.getRank() - 2; d >= 0; --d)
      strides[d] = strides[d + 1] * block.getDimSize(d + 1);
    return strides;
  }
  int64_t mul = block.getDimSize(0), dim = block.getDimSize(1);
  return irreps.getLayout() == Layout::MulIr ? SmallVector<int64_t>{dim, 1} : SmallVector<int64_t>{1, mul};
}
