//===- CPUEdges.cpp - what is done for an edge -----------------------------===//
#include "CPUKernelStaging.h"
#include "Stage.h"
#include "espmm/Dialect/Equivariant/Transforms/Storage.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace espmm::equivariant;

//===----------------------------------------------------------------------===//
// One edge
//===----------------------------------------------------------------------===//

void CPUKernelStaging::stageEdge(Value edge, Value node, SmallVectorImpl<RowPlace> &inputs, SmallVectorImpl<RowPlace> &results) {
  for (unsigned i = 0; i < inputs.size(); ++i)
    if ((kernel.getInputAccess(i) != side || side == Access::Edge) && !isShared(kernel.getInputAccess(i)))
      inputs[i] = openInput(i, kernel.getInputAccess(i) == Access::Edge ? edge : node);
  for (unsigned r = 0; r < results.size(); ++r) {
    Access access = kernel.getResultAccess(r);
    if (access == Access::Edge)
      results[r] = openEdgeResult(r, edge);
    else if (access != side && !isShared(access))
      results[r] = openPartial(r, node);
  }

  openBlocks(inputs, results, /*ofShared=*/false);
  stageMatrices(inputs);
  // Sums over the channels, by op, still spread over lanes; what result rows get of them is added up as soon as it is known.
  IRMapping scalars;
  llvm::DenseMap<Operation *, int64_t> open;
  for (const ChannelLoop &loop : loops)
    for (const ChannelLoop::Sum &sum : loop.sums)
      ++open[sum.op];
  llvm::SmallDenseSet<unsigned> done;
  llvm::MapVector<std::pair<unsigned, int64_t>, Value> sums;
  for (const ChannelLoop &loop : loops) {
    stageLoop(loop, inputs, results, scalars);
    for (const ChannelLoop::Sum &sum : loop.sums)
      --open[sum.op];
    for (auto [n, c] : llvm::enumerate(analysis.getContributions())) {
      if (analysis.hasChannels(c.value) || c.isOfNest || done.contains(n) || !isKnown(c.value, open))
        continue;
      done.insert(n);
      Value value = getScalars(c.value, inputs, scalars);
      Value &sum = sums[{c.result, c.offset}];
      sum = sum ? AddOp::create(builder, loc, sum, value).getResult() : value;
    }
  }
  stageNests(inputs, results);
  closeBlocks(results, /*ofShared=*/false);
  for (unsigned r = 0; r < results.size(); ++r)
    if (kernel.getResultAccess(r) == Access::Edge && results[r].buffer)
      closeAccumulator(r, results[r], edge);
  writeSums(sums, results);
}

//===----------------------------------------------------------------------===//
// Sums over channels, and what has no channels
//===----------------------------------------------------------------------===//

void CPUKernelStaging::writeSums(const llvm::MapVector<std::pair<unsigned, int64_t>, Value> &sums, ArrayRef<RowPlace> results) {
  auto parts = llvm::to_vector(sums);
  llvm::sort(parts, llvm::less_first());
  for (size_t begin = 0, end; begin < parts.size(); begin = end) {
    // Blocks that follow each other in memory are summed together.
    auto [result, offset] = parts[begin].first;
    SmallVector<Value> run;
    int64_t count = 0;
    for (end = begin; end < parts.size() && parts[end].first == std::pair(result, offset + count); ++end) {
      run.push_back(toMemoryOrder(builder, loc, parts[end].second, getIrreps(kernel.getResult(result))));
      count += cast<RankedTensorType>(run.back().getType()).getNumElements();
    }
    for (int64_t first = 0; first < count; first += lanes) {
      Value sum = LaneSumOp::create(builder, loc, vector, run, first);
      if (count - first < lanes) {
        auto range = llvm::to_vector(llvm::seq<int32_t>(0, count - first));
        sum = LLVM::ShuffleVectorOp::create(builder, loc, sum, sum, range);
      }
      Value row = results[result].memory ? results[result].memory : results[result].base;
      Type stored = getType(results[result].stored);
      Value address = ix.address(row, ix.constant(offset + first), stored);
      LLVM::StoreOp::create(builder, loc, roundToStored(builder, loc, sum, stored), address, stored.getIntOrFloatBitWidth() / 8);
    }
  }
}

Value CPUKernelStaging::getScalars(Value value, ArrayRef<RowPlace> inputs, IRMapping &scalars) {
  if (Value known = scalars.lookupOrNull(value))
    return known;
  Operation *op = value.getDefiningOp();
  Value result;
  if (auto block = dyn_cast<BlockOp>(op)) {
    result = readScalars(block, inputs);
  } else {
    SmallVector<Value> converted;
    for (Value operand : op->getOperands())
      converted.push_back(getScalars(operand, inputs, scalars));
    result = cloneSmall(op, converted);
  }
  scalars.map(value, result);
  return result;
}

Value CPUKernelStaging::readScalars(BlockOp block, ArrayRef<RowPlace> inputs) {
  unsigned i = cast<BlockArgument>(block.getRow()).getArgNumber();
  Value row = inputs[i].memory ? inputs[i].memory : inputs[i].base;
  return ReadOp::create(builder, loc, block.getType(), row, Value(), Value(), block.getOffset(), 1,
                        getRowStrides(kernel.getInputs()[i], block.getType()), inputs[i].stored);
}

Value CPUKernelStaging::cloneSmall(Operation *op, ArrayRef<Value> operands) {
  if (isConstantTensor(op))
    return builder.clone(*op)->getResult(0);
  bool isVector = llvm::any_of(operands, [](Value v) {
    return isa<VectorType>(cast<RankedTensorType>(v.getType()).getElementType());
  });
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  SmallVector<int64_t> shape(type.getShape());
  if (analysis.hasChannels(op->getResult(0)))
    shape.erase(shape.begin());
  auto small = RankedTensorType::get(shape, isVector ? Type(vector) : element);
  if (isa<AddOp>(op))
    return AddOp::create(builder, loc, small, operands[0], operands[1]);
  std::string subscripts = cast<EinsumOp>(op).getSubscripts().str();
  llvm::erase(subscripts, 'u');
  return EinsumOp::create(builder, loc, small, builder.getStringAttr(subscripts), operands);
}

bool CPUKernelStaging::isKnown(Value value, const llvm::DenseMap<Operation *, int64_t> &open) {
  Operation *op = value.getDefiningOp();
  if (!op || isa<BlockOp>(op) || isConstantTensor(op))
    return true;
  if (auto it = open.find(op); it != open.end())
    return it->second == 0;
  return llvm::all_of(op->getOperands(), [&](Value operand) { return isKnown(operand, open); });
}

//===----------------------------------------------------------------------===//
// One loop over channels
//===----------------------------------------------------------------------===//

void CPUKernelStaging::stageMatrices(ArrayRef<RowPlace> inputs) {
  int64_t size = 0;
  for (const ChannelLoop &loop : loops)
    for (Operation *op : loop.ops)
      for (Value operand : op->getOperands())
        if (!analysis.hasChannels(operand) && !analysis.isChannelSum(operand) && isa<EinsumOp, AddOp>(operand.getDefiningOp()) &&
            matrixOffsets.insert({operand, size}).second)
          size += (support.count(operand) + lanes - 1) / lanes * lanes;
  if (size == 0)
    return;
  matrices = function.allocate(size);
  IRMapping scalars;
  for (auto [value, offset] : matrixOffsets)
    WriteOp::create(builder, loc, getScalars(value, inputs, scalars), matrices, Value(), Value(), offset, 1,
                    SmallVector<int64_t>(cast<RankedTensorType>(value.getType()).getRank(), 0), false, false, false,
                    builder.getDenseI64ArrayAttr(getPacked(value)), builder.getI64IntegerAttr(lanes), TypeAttr());
}

SmallVector<int64_t> CPUKernelStaging::getPacked(Value value) {
  SmallVector<int64_t> packed;
  for (unsigned n : support.get(value).set_bits())
    packed.push_back(n);
  return packed;
}

void CPUKernelStaging::stageLoop(const ChannelLoop &plan, ArrayRef<RowPlace> inputs, ArrayRef<RowPlace> results, IRMapping &scalars) {
  int64_t channels = analysis.getChannels(plan.ops.front());
  SmallVector<Value> inits;
  for (const ChannelLoop::Sum &sum : plan.sums) {
    auto shape = cast<RankedTensorType>(sum.op->getResult(0).getType()).getShape();
    inits.push_back(ZeroOp::create(builder, loc, RankedTensorType::get(shape, vector)));
  }

  OpBuilder::InsertPoint after = builder.saveInsertionPoint();
  auto vectors = function.loop(ix.constant(0), ix.constant(channels), ix.constant(lanes), inits);
  Value channel = vectors.getInductionVar();
  Value mask = channels % lanes ? function.getTailMask(channel, channels, lanes) : Value();
  prefetch(plan, inputs, channel);
  IRMapping values;
  for (Operation *op : plan.ops) {
    SmallVector<Value> operands;
    for (Value operand : op->getOperands()) {
      if (!values.contains(operand))
        values.map(operand, readOperand(operand, inputs, channel, mask));
      operands.push_back(values.lookup(operand));
    }
    Value result = cloneSmall(op, operands);
    values.map(op->getResult(0), result);
    for (const Contribution &c : analysis.getContributions())
      if (c.value == op->getResult(0) && llvm::is_contained(plan.stored, c.value))
        writeBlock(c, result, results, channel, mask);
  }
  SmallVector<Value> next;
  for (auto [n, sum] : llvm::enumerate(plan.sums)) {
    Value term = values.lookup(sum.op->getResult(0));
    if (sum.box)
      term = RestrictOp::create(builder, loc, term, sum.box->offsets, sum.box->sizes);
    next.push_back(AddOp::create(builder, loc, vectors.getRegionIterArg(n), term));
  }
  if (!next.empty())
    scf::YieldOp::create(builder, loc, next);
  builder.restoreInsertionPoint(after);
  builder.setInsertionPointAfter(vectors);
  for (auto [sum, result] : llvm::zip(plan.sums, vectors.getResults())) {
    Value known = scalars.lookupOrNull(sum.op->getResult(0));
    scalars.map(sum.op->getResult(0), known ? AddOp::create(builder, loc, known, result).getResult() : Value(result));
  }
}

void CPUKernelStaging::prefetch(const ChannelLoop &plan, ArrayRef<RowPlace> inputs, Value channel) {
  llvm::SetVector<Value> blocks;
  for (Operation *op : plan.ops)
    for (Value operand : op->getOperands())
      if (operand.getDefiningOp<BlockOp>() && analysis.hasChannels(operand))
        blocks.insert(operand);
  for (Value operand : blocks) {
    auto block = operand.getDefiningOp<BlockOp>();
    const RowPlace &row = inputs[cast<BlockArgument>(block.getRow()).getArgNumber()];
    Value next = row.next;
    if (!next || !prefetched.insert(operand).second)
      continue;
    int64_t channels = block.getType().getDimSize(0), components = block.getType().getNumElements() / channels;
    for (int64_t component = 0; component < components; ++component) {
      Value place = ix.add(channel, block.getOffset() + component * channels);
      LLVM::Prefetch::create(builder, loc, ix.address(next, place, getType(row.stored)), /*rw=*/0, /*hint=*/2, /*cache=*/1);
    }
  }
}

Value CPUKernelStaging::readOperand(Value operand, ArrayRef<RowPlace> inputs, Value channel, Value mask) {
  if (auto block = operand.getDefiningOp<BlockOp>())
    return analysis.hasChannels(operand) ? readBlock(block, inputs, channel, mask) : readScalars(block, inputs);
  if (isConstantTensor(operand.getDefiningOp()))
    return builder.clone(*operand.getDefiningOp())->getResult(0);
  auto type = cast<RankedTensorType>(operand.getType());
  return ReadOp::create(builder, loc, type, matrices, Value(), Value(), matrixOffsets.lookup(operand), 1,
                        SmallVector<int64_t>(type.getRank(), 0), builder.getDenseI64ArrayAttr(getPacked(operand)), /*aligned=*/1, TypeAttr());
}

SmallVector<int64_t> CPUKernelStaging::getChannelStrides(RankedTensorType block, int64_t componentStride) {
  SmallVector<int64_t> strides(block.getRank() - 1, componentStride);
  for (int64_t d = block.getRank() - 2; d > 0; --d)
    strides[d - 1] = strides[d] * block.getDimSize(d + 1);
  return strides;
}

RankedTensorType CPUKernelStaging::getLaneType(RankedTensorType block) {
  return RankedTensorType::get(block.getShape().drop_front(), vector);
}

Value CPUKernelStaging::readBlock(BlockOp block, ArrayRef<RowPlace> inputs, Value channel, Value mask) {
  unsigned i = cast<BlockArgument>(block.getRow()).getArgNumber();
  const RowPlace &place = inputs[i];
  RankedTensorType type = block.getType();
  int64_t offset = block.getOffset(), stride = type.getDimSize(0);
  if (Value buffer = inputBlocks.lookup({i, offset}))
    return ReadOp::create(builder, loc, getLaneType(type), buffer, channel, Value(), 0, 1, getChannelStrides(type, pad(stride)));
  TypeAttr stored = place.stored;
  if (place.buffer) {
    offset = place.buffer->getOffset(place.buffer->findBlock(offset, type.getNumElements()));
    stride = place.buffer->pad(stride);
    mask = Value();
    stored = TypeAttr();
  }
  return ReadOp::create(builder, loc, getLaneType(type), place.base, channel, mask, offset, 1, getChannelStrides(type, stride), stored);
}

void CPUKernelStaging::writeBlock(const Contribution &c, Value value, ArrayRef<RowPlace> results, Value channel, Value mask) {
  const RowPlace &place = results[c.result];
  auto type = cast<RankedTensorType>(c.value.getType());
  int64_t offset = c.offset, stride = type.getDimSize(0);
  if (auto block = resultBlocks.find({c.result, offset}); block != resultBlocks.end()) {
    WriteOp::create(builder, loc, value, block->second.first, channel, Value(), 0, 1, getChannelStrides(type, pad(stride)),
                    /*accumulate=*/isShared(kernel.getResultAccess(c.result)), /*nontemporal=*/false);
    return;
  }
  if (place.buffer) {
    offset = place.buffer->getOffset(place.buffer->findBlock(offset, type.getNumElements()));
    stride = place.buffer->pad(stride);
    mask = Value();
  }
  TypeAttr stored = place.buffer ? TypeAttr() : place.stored;
  int64_t width = getWidth(kernel.getResult(c.result));
  bool adds = place.buffer || isShared(kernel.getResultAccess(c.result));
  bool nontemporal = !adds && !mask && width % lanes == 0 && offset % lanes == 0 && stride % lanes == 0;
  if (nontemporal)
    host.requireAlignment(host.getBuffer(kernel.getResult(c.result)), lanes * getType(stored).getIntOrFloatBitWidth() / 8);
  WriteOp::create(builder, loc, value, place.base, channel, mask, offset, 1, getChannelStrides(type, stride),
                  /*accumulate=*/adds, nontemporal, stored);
}
