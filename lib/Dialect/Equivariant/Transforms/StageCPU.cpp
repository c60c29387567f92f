//===- StageCPU.cpp - kernels as loops over edges and vectors of channels -===//
//
//   before: rows of operands at the other side to component order
//   a task: some nodes (or rows)
//     per node: its row of each grouped operand to component order, zeroed accumulators for each grouped result
//       per edge: weights for several channels of y to component order; small matrices without channels, packed in memory
//         per path: loops over vectors of channels; then what it summed over the channels, still spread over lanes
//         sums over lanes
//     per node: accumulators back to memory order
//   after: sums of the tasks' copies of results at the other side, and of their shares of what all rows sum
//
//===----------------------------------------------------------------------===//
#include "CPUFunction.h"
#include "CPUNests.h"
#include "ChannelLoops.h"
#include "Stage.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace espmm::equivariant;

namespace {

/// Where the rows of an operand or result are found inside of the loops.
struct RowPlace {
  Value base;                            // of the current row, in memory or component order
  std::optional<ComponentOrder> buffer;  // set: base is in component order
  Value next = {};                       // the row that will be read after this one, if there is one in memory order
  Value memory = {};                     // set: the row in memory order, where base is in component order
};

class CPUKernelStaging {
public:
  CPUKernelStaging(KernelOp kernel, ScheduleAttr schedule, HostProgram &host, Type element)
      : kernel(kernel), schedule(schedule), host(host), analysis(kernel, LoopedAxes::All), function(host, kernel, element, ""),
        builder(function.builder), ix(function.ix), loc(kernel.getLoc()), side(schedule.getGroupBy()),
        lanes(schedule.getLanes()), elementBytes(element.getIntOrFloatBitWidth() / 8), element(element),
        vector(VectorType::get({lanes}, element)) {}

  LogicalResult run() {
    loops = planChannelLoops(analysis, support, lanes * elementBytes == 64 ? 32 : 16);
    if (side == Access::Edge)
      stageRows();
    else
      stageSegments();
    if (nestBytes > mostNestBytes)
      return kernel.emitOpError("needs ") << nestBytes << " bytes for what is between two operations of an edge, more than " << mostNestBytes
                                          << ", which has no lowering yet";
    function.launch(numParts);
    for (auto &[r, partial] : partials)
      launchSumOfCopies(host, kernel, kernel.getResult(r), partial.scratch, numParts, host.getRows(otherSide()),
                        ComponentOrder{getIrreps(kernel.getResult(r)), lanes});
    for (auto &[r, share] : shares)
      launchSumOfShares(host, kernel, kernel.getResult(r), share.scratch, numParts, getShareStride(r), lanes);
    return success();
  }

private:
  /// What a thread's stack has room for.
  static constexpr int64_t mostNestBytes = 2 << 20;

  int64_t getWidth(Value tensor) { return cast<RankedTensorType>(tensor.getType()).getShape().back(); }
  IrrepsAttr getIrreps(Value tensor) {
    return dyn_cast_or_null<IrrepsAttr>(cast<RankedTensorType>(tensor.getType()).getEncoding());
  }
  Value getArgument(Value hostValue) { return function.getArgument(hostValue); }
  Value getRowPointer(Value base, Value row, int64_t width) { return function.getRowPointer(base, row, width); }
  Access otherSide() const { return side == Access::Receivers ? Access::Senders : Access::Receivers; }

  //===-- The loops around the body --------------------------------------===//

  void stageSegments() {
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
        Value edge = getEdge(order, position);
        Value last = ix.add(getArgument(host.getSize(HostProgram::E)), -1);
        nextEdge = getEdge(order, ix.min(ix.add(position, 1), last));
        Value node = ix.loadIndex(other, position);
        stageEdge(edge, node, inputs, results);
      });
    }
    builder.restoreInsertionPoint(afterEdges);
    for (unsigned r = 0; r < results.size(); ++r)
      if (kernel.getResultAccess(r) == side)
        closeAccumulator(r, results[r], segment);
  }

  void stageRows() {
    IndexBuilder &h = host.index();
    h.loc = loc;
    Value count = host.getSize(HostProgram::E), ofTask = h.constant(schedule.getRows());
    numParts = h.ceildiv(count, ofTask);
    if (hasShares()) {
      numParts = countSharingParts();
      ofTask = h.ceildiv(count, numParts);
    }
    Value rowsOfTask = getArgument(ofTask);
    Value first = ix.mul(function.task, rowsOfTask);
    Value last = ix.min(ix.add(first, rowsOfTask), getArgument(count));
    SmallVector<RowPlace> inputs(kernel.getInputs().size()), results(kernel.getNumResults());
    openShared(inputs, results);
    loopOverRows(first, last, results, [&](Value row) { stageEdge(row, Value(), inputs, results); });
  }

  //===-- Rows that all share --------------------------------------------===//

  /// So many rows are summed before their sum is added to the task's, with what rounding took from that kept beside it.
  static constexpr int64_t rowsOfShare = 16;

  /// A loop over rows or edges; a few at a time if there are sums over all of them.
  void loopOverRows(Value begin, Value end, ArrayRef<RowPlace> results, llvm::function_ref<void(Value)> body) {
    if (shares.empty()) {
      body(function.loop(begin, end, ix.constant(1)).getInductionVar());
      return;
    }
    Value first = function.loop(begin, end, ix.constant(rowsOfShare)).getInductionVar();
    OpBuilder::InsertPoint afterRows = builder.saveInsertionPoint();
    body(function.loop(first, ix.min(ix.add(first, rowsOfShare), end), ix.constant(1)).getInductionVar());
    builder.restoreInsertionPoint(afterRows);
    addShares(results);
  }

  bool isShared(Access access) const { return access == Access::All; }

  bool hasShares() {
    return llvm::any_of(kernel.getResultAccess(), [&](Attribute a) { return isShared(cast<AccessAttr>(a).getValue()); });
  }

  /// Few enough that their shares are little beside the rows, and never as many as the threads.
  Value countSharingParts() {
    IndexBuilder &h = host.index();
    h.loc = loc;
    return h.min(h.constant(64), h.max(h.ceildiv(host.getSize(HostProgram::E), h.constant(4 * rowsOfShare)), h.constant(1)));
  }

  int64_t getShareStride(unsigned r) { return pad(getWidth(kernel.getResult(r))); }

  /// What a task reads of shared rows, once, and where it sums what all rows share: some rows, and all of its rows.
  void openShared(SmallVectorImpl<RowPlace> &inputs, SmallVectorImpl<RowPlace> &results) {
    for (unsigned i = 0; i < inputs.size(); ++i)
      if (isShared(kernel.getInputAccess(i)))
        inputs[i] = openInput(i, ix.constant(0));
    IndexBuilder &h = host.index();
    for (unsigned r = 0; r < results.size(); ++r) {
      if (!isShared(kernel.getResultAccess(r)))
        continue;
      int64_t stride = getShareStride(r);
      Value scratch = host.getScratch(h.mul(numParts, 3 * stride * elementBytes));
      Value sum = getRowPointer(getArgument(scratch), ix.mul(function.task, 3), stride);
      function.fillWithZeros(sum, ix.constant(3 * stride));
      shares[r] = {scratch, sum};
      results[r] = {ix.address(sum, ix.constant(2 * stride), element), std::nullopt};
    }
    openBlocks(inputs, results, /*ofShared=*/true);
  }

  void addShares(ArrayRef<RowPlace> results) {
    closeBlocks(results, /*ofShared=*/true);
    for (auto &[r, share] : shares) {
      OpBuilder::InsertPoint after = builder.saveInsertionPoint();
      int64_t stride = getShareStride(r);
      auto loop = function.loop(ix.constant(0), ix.constant(stride), ix.constant(lanes));
      Value at = loop.getInductionVar();
      Value sumAddress = ix.address(share.sum, at, element), lostAddress = ix.address(share.sum, ix.add(at, stride), element);
      auto load = [&](Value address) { return LLVM::LoadOp::create(builder, loc, vector, address, elementBytes); };
      Value rows = load(ix.address(results[r].base, at, element));
      auto [sum, lost] = function.addCompensated(load(sumAddress), load(lostAddress), rows);
      LLVM::StoreOp::create(builder, loc, sum, sumAddress, elementBytes);
      LLVM::StoreOp::create(builder, loc, lost, lostAddress, elementBytes);
      builder.restoreInsertionPoint(after);
      builder.setInsertionPointAfter(loop);
      function.fillWithZeros(results[r].base, ix.constant(getShareStride(r)));
    }
  }

  /// The edge at a position: itself, if the edges are sorted (no order is given).
  Value getEdge(Value order, Value position) {
    Value null = LLVM::ZeroOp::create(builder, loc, order.getType());
    Value sorted = LLVM::ICmpOp::create(builder, loc, LLVM::ICmpPredicate::eq, order, null);
    auto choice = scf::IfOp::create(builder, loc, builder.getI64Type(), sorted, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(choice.thenBlock());
    scf::YieldOp::create(builder, loc, position);
    builder.setInsertionPointToStart(choice.elseBlock());
    scf::YieldOp::create(builder, loc, ix.loadIndex(order, position));
    return choice.getResult(0);
  }

  //===-- Rows -----------------------------------------------------------===//

  RowPlace openInput(unsigned i, Value row) {
    Value tensor = kernel.getInputs()[i];
    Value pointer = getRowPointer(getArgument(host.getBuffer(tensor)), row, getWidth(tensor));
    IrrepsAttr irreps = getIrreps(tensor);
    ComponentOrder order{irreps, lanes};
    if (!irreps || !analysis.isChannelRow(kernel.getBody().getArgument(i)) || order.isDirect()) {
      RowPlace place{pointer, std::nullopt};
      if (nextEdge && kernel.getInputAccess(i) == Access::Edge)
        place.next = getRowPointer(getArgument(host.getBuffer(tensor)), nextEdge, getWidth(tensor));
      return place;
    }
    if (kernel.getInputAccess(i) == otherSide() && side != Access::Edge) {
      // Its rows are read once an edge, more often than there are rows: they are brought to component order before.
      Value &scratch = converted[i];
      if (!scratch)
        scratch = launchToComponents(host, kernel, tensor, host.getRows(otherSide()), order);
      return {getRowPointer(getArgument(scratch), row, order.getSize()), order, Value(), pointer};
    }
    Value buffer = function.allocate(order.getSize());
    RelayoutOp::create(builder, loc, pointer, buffer, /*scatter=*/false, irreps, DenseI64ArrayAttr(), lanes, element);
    return {buffer, order, Value(), pointer};
  }

  RowPlace openAccumulator(unsigned r) {
    IrrepsAttr irreps = getIrreps(kernel.getResult(r));
    ComponentOrder order{irreps, lanes};
    Value buffer = function.allocate(order.getSize());
    function.fillWithZeros(buffer, ix.constant(order.getSize()));
    return {buffer, order};
  }

  void closeAccumulator(unsigned r, const RowPlace &place, Value row) {
    Value tensor = kernel.getResult(r);
    Value pointer = getRowPointer(getArgument(host.getBuffer(tensor)), row, getWidth(tensor));
    RelayoutOp::create(builder, loc, place.base, pointer, /*scatter=*/true, place.buffer->irreps, DenseI64ArrayAttr(), lanes,
                       element);
  }

  /// A task's own copy of a result that is summed at the other side, zeroed by the task; the copies are added after.
  void startPartial(unsigned r) {
    ComponentOrder order{getIrreps(kernel.getResult(r)), lanes};
    IndexBuilder &h = host.index();
    Value rows = host.getRows(otherSide());
    Value scratch = host.getScratch(h.mul(h.mul(numParts, rows), order.getSize() * elementBytes));
    Value firstRow = ix.mul(function.task, getArgument(rows));
    Value copy = getRowPointer(getArgument(scratch), firstRow, order.getSize());
    function.fillWithZeros(copy, ix.mul(getArgument(rows), order.getSize()));
    partials[r] = {scratch, copy};
  }

  RowPlace openPartial(unsigned r, Value node) {
    ComponentOrder order{getIrreps(kernel.getResult(r)), lanes};
    return {getRowPointer(partials[r].copy, node, order.getSize()), order};
  }

  //===-- One edge -------------------------------------------------------===//

  void stageEdge(Value edge, Value node, SmallVectorImpl<RowPlace> &inputs, SmallVectorImpl<RowPlace> &results) {
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

  //===-- Weights that are strided ---------------------------------------===//

  int64_t pad(int64_t channels) { return (channels + lanes - 1) / lanes * lanes; }

  Value allocateBlock(Value block) {
    auto [channels, components] = analysis.getLoopedShape(block);
    return function.allocate(pad(channels) * components);
  }

  void relayoutBlock(Value from, Value to, bool scatter, Value block) {
    auto [channels, components] = analysis.getLoopedShape(block);
    RelayoutOp::create(builder, loc, from, to, scatter, IrrepsAttr(), builder.getDenseI64ArrayAttr({channels, components}), lanes, element);
  }

  Value getBlockPointer(const RowPlace &place, int64_t offset) { return ix.address(place.base, ix.constant(offset), element); }

  /// Brings those of the operands to component order, and gives those of the results a buffer: of rows that all share, or of the others.
  void openBlocks(ArrayRef<RowPlace> inputs, ArrayRef<RowPlace> results, bool ofShared) {
    for (auto block : kernel.getBody().getOps<BlockOp>()) {
      unsigned i = cast<BlockArgument>(block.getRow()).getArgNumber();
      if (isShared(kernel.getInputAccess(i)) != ofShared || !analysis.isStridedWeights(kernel.getInputs()[i], block.getResult()) ||
          inputBlocks.count({i, block.getOffset()}))
        continue;
      Value buffer = inputBlocks[{i, block.getOffset()}] = allocateBlock(block.getResult());
      relayoutBlock(getBlockPointer(inputs[i], block.getOffset()), buffer, /*scatter=*/false, block.getResult());
    }
    for (const Contribution &c : analysis.getContributions())
      if (isShared(kernel.getResultAccess(c.result)) == ofShared && analysis.isStridedWeights(kernel.getResult(c.result), c.value)) {
        resultBlocks[{c.result, c.offset}] = {allocateBlock(c.value), c.value};
        if (ofShared)
          zeroBlock(resultBlocks[{c.result, c.offset}]);
      }
  }

  void zeroBlock(const std::pair<Value, Value> &block) {
    auto [channels, components] = analysis.getLoopedShape(block.second);
    function.fillWithZeros(block.first, ix.constant(pad(channels) * components));
  }

  void closeBlocks(ArrayRef<RowPlace> results, bool ofShared) {
    for (auto &[key, block] : resultBlocks) {
      if (isShared(kernel.getResultAccess(key.first)) != ofShared)
        continue;
      relayoutBlock(block.first, getBlockPointer(results[key.first], key.second), /*scatter=*/true, block.second);
      if (ofShared)
        zeroBlock(block);
    }
  }

  //===-- Loops over several multiplicities ------------------------------===//

  void stageNests(ArrayRef<RowPlace> inputs, ArrayRef<RowPlace> results) {
    llvm::SmallDenseSet<std::pair<unsigned, int64_t>> written;
    if (analysis.getNests().empty())
      return;
    CPUNestTarget target(function, vector);
    NestStaging(analysis, target).run(
        [&](BlockOp block) {
          unsigned i = cast<BlockArgument>(block.getRow()).getArgNumber();
          return getPlace(kernel.getInputs()[i], inputs[i], inputBlocks.lookup({i, block.getOffset()}), block.getResult(), block.getOffset());
        },
        [&](const Contribution &c) {
          auto buffer = resultBlocks.find({c.result, c.offset});
          NestPlace place = getPlace(kernel.getResult(c.result), results[c.result], buffer == resultBlocks.end() ? Value() : buffer->second.first,
                                     c.value, c.offset);
          // Rows of irreps begin as zeros, weights with what is written first.
          place.accumulate = getIrreps(kernel.getResult(c.result)) || isShared(kernel.getResultAccess(c.result)) ||
                             !written.insert({c.result, c.offset}).second;
          return place;
        });
    nestBytes = target.finish() * elementBytes;
  }

  /// Where a block of a row, or of a result's row, is: in a buffer of its own, or in the row as that lies.
  NestPlace getPlace(Value tensor, const RowPlace &row, Value buffer, Value block, int64_t offset) {
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
    if (!row.buffer)
      return placeInRow(tensor, row.base, cast<RankedTensorType>(block.getType()), offset);
    // The last dimension is the components'; those before it make up the multiplicity.
    int64_t dim = shape.back(), mul = ShapedType::getNumElements(shape.drop_back());
    walk(0, rank - 1, 1);
    strides.back() = row.buffer->pad(mul);
    return {row.base, row.buffer->getOffset(row.buffer->findBlock(offset, mul * dim)), strides};
  }

  /// A result by edge is written in place, unless its channels are strided or it is a sum of several blocks.
  RowPlace openEdgeResult(unsigned r, Value edge) {
    Value tensor = kernel.getResult(r);
    AssembleOp assemble = analysis.getAssemble(r);
    Value pointer = getRowPointer(getArgument(host.getBuffer(tensor)), edge, getWidth(tensor));
    if (analysis.isChannelRow(assemble.getResult()) && getIrreps(tensor)) {
      RowPlace place = openAccumulator(r);
      place.memory = pointer;
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
      function.fillWithZeros(pointer, ix.constant(getWidth(tensor)));
    return {pointer, std::nullopt};
  }

  /// Writes sums over the channels, that are still spread over lanes, to their places, (result, offset), in memory order.
  void writeSums(const llvm::MapVector<std::pair<unsigned, int64_t>, Value> &sums, ArrayRef<RowPlace> results) {
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
        Value address = ix.address(row, ix.constant(offset + first), element);
        LLVM::StoreOp::create(builder, loc, sum, address, elementBytes);
      }
    }
  }

  /// The strides in a row of a small block without channels.
  SmallVector<int64_t> getRowStrides(Value tensor, RankedTensorType block) {
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

  /// A value of the edge without channels, computed on demand at the insertion point.
  Value getScalars(Value value, ArrayRef<RowPlace> inputs, IRMapping &scalars) {
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

  Value readScalars(BlockOp block, ArrayRef<RowPlace> inputs) {
    unsigned i = cast<BlockArgument>(block.getRow()).getArgNumber();
    Value row = inputs[i].memory ? inputs[i].memory : inputs[i].base;
    return ReadOp::create(builder, loc, block.getType(), row, Value(), Value(), block.getOffset(), 1,
                          getRowStrides(kernel.getInputs()[i], block.getType()));
  }

  /// A copy of an op on small tensors, without the channel axis in its subscripts.
  Value cloneSmall(Operation *op, ArrayRef<Value> operands) {
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

  /// True if no sum over channels that a value is computed from has loops to come.
  bool isKnown(Value value, const llvm::DenseMap<Operation *, int64_t> &open) {
    Operation *op = value.getDefiningOp();
    if (!op || isa<BlockOp>(op) || isConstantTensor(op))
      return true;
    if (auto it = open.find(op); it != open.end())
      return it->second == 0;
    return llvm::all_of(op->getOperands(), [&](Value operand) { return isKnown(operand, open); });
  }

  //===-- One loop over channels -----------------------------------------===//

  /// What is computed without channels and read in loops over them lies packed in a buffer: a multiply-add there takes it as a
  /// broadcast from memory.
  void stageMatrices(ArrayRef<RowPlace> inputs) {
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
                      SmallVector<int64_t>(cast<RankedTensorType>(value.getType()).getRank(), 0), false, false,
                      builder.getDenseI64ArrayAttr(getPacked(value)), builder.getI64IntegerAttr(lanes));
  }

  SmallVector<int64_t> getPacked(Value value) {
    SmallVector<int64_t> packed;
    for (unsigned n : support.get(value).set_bits())
      packed.push_back(n);
    return packed;
  }

  void stageLoop(const ChannelLoop &plan, ArrayRef<RowPlace> inputs, ArrayRef<RowPlace> results, IRMapping &scalars) {
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

  /// Rows of the next edge come to the cache while this one is worked on: block after block, in an order no hardware foresees.
  void prefetch(const ChannelLoop &plan, ArrayRef<RowPlace> inputs, Value channel) {
    llvm::SetVector<Value> blocks;
    for (Operation *op : plan.ops)
      for (Value operand : op->getOperands())
        if (operand.getDefiningOp<BlockOp>() && analysis.hasChannels(operand))
          blocks.insert(operand);
    for (Value operand : blocks) {
      auto block = operand.getDefiningOp<BlockOp>();
      Value next = inputs[cast<BlockArgument>(block.getRow()).getArgNumber()].next;
      if (!next || !prefetched.insert(operand).second)
        continue;
      int64_t channels = block.getType().getDimSize(0), components = block.getType().getNumElements() / channels;
      for (int64_t component = 0; component < components; ++component) {
        Value place = ix.add(channel, block.getOffset() + component * channels);
        LLVM::Prefetch::create(builder, loc, ix.address(next, place, element), /*rw=*/0, /*hint=*/2, /*cache=*/1);
      }
    }
  }

  Value readOperand(Value operand, ArrayRef<RowPlace> inputs, Value channel, Value mask) {
    if (auto block = operand.getDefiningOp<BlockOp>())
      return analysis.hasChannels(operand) ? readBlock(block, inputs, channel, mask) : readScalars(block, inputs);
    if (isConstantTensor(operand.getDefiningOp()))
      return builder.clone(*operand.getDefiningOp())->getResult(0);
    auto type = cast<RankedTensorType>(operand.getType());
    return ReadOp::create(builder, loc, type, matrices, Value(), Value(), matrixOffsets.lookup(operand), 1,
                          SmallVector<int64_t>(type.getRank(), 0), builder.getDenseI64ArrayAttr(getPacked(operand)));
  }

  /// Strides of a block's small dimensions where channels are next to each other.
  SmallVector<int64_t> getChannelStrides(RankedTensorType block, int64_t componentStride) {
    SmallVector<int64_t> strides(block.getRank() - 1, componentStride);
    for (int64_t d = block.getRank() - 2; d > 0; --d)
      strides[d - 1] = strides[d] * block.getDimSize(d + 1);
    return strides;
  }

  RankedTensorType getLaneType(RankedTensorType block) {
    return RankedTensorType::get(block.getShape().drop_front(), vector);
  }

  Value readBlock(BlockOp block, ArrayRef<RowPlace> inputs, Value channel, Value mask) {
    unsigned i = cast<BlockArgument>(block.getRow()).getArgNumber();
    const RowPlace &place = inputs[i];
    RankedTensorType type = block.getType();
    int64_t offset = block.getOffset(), stride = type.getDimSize(0);
    if (Value buffer = inputBlocks.lookup({i, offset}))
      return ReadOp::create(builder, loc, getLaneType(type), buffer, channel, Value(), 0, 1, getChannelStrides(type, pad(stride)));
    if (place.buffer) {
      offset = place.buffer->getOffset(place.buffer->findBlock(offset, type.getNumElements()));
      stride = place.buffer->pad(stride);
      mask = Value();
    }
    return ReadOp::create(builder, loc, getLaneType(type), place.base, channel, mask, offset, 1,
                          getChannelStrides(type, stride));
  }

  void writeBlock(const Contribution &c, Value value, ArrayRef<RowPlace> results, Value channel, Value mask) {
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
    int64_t width = getWidth(kernel.getResult(c.result));
    bool adds = place.buffer || isShared(kernel.getResultAccess(c.result));
    bool nontemporal = !adds && !mask && width % lanes == 0 && offset % lanes == 0 && stride % lanes == 0;
    if (nontemporal)
      host.requireAlignment(host.getBuffer(kernel.getResult(c.result)), lanes * elementBytes);
    WriteOp::create(builder, loc, value, place.base, channel, mask, offset, 1, getChannelStrides(type, stride),
                    /*accumulate=*/adds, nontemporal);
  }

  KernelOp kernel;
  ScheduleAttr schedule;
  HostProgram &host;
  KernelAnalysis analysis;
  CPUFunction function;
  OpBuilder &builder;
  IndexBuilder &ix;
  Location loc;
  Access side;
  int64_t lanes, elementBytes;
  Type element;
  VectorType vector;

  SupportOfValues support;
  int64_t nestBytes = 0;
  std::vector<ChannelLoop> loops;
  Value nextEdge;                                // set: the edge after the current one
  llvm::DenseSet<Value> prefetched;              // blocks of the next edge that an earlier loop asks for
  using BlockKey = std::pair<unsigned, int64_t>;                           // an operand or result, and an offset in its rows
  llvm::DenseMap<BlockKey, Value> inputBlocks;                             // of the current edge: buffers in component order
  llvm::MapVector<BlockKey, std::pair<Value, Value>> resultBlocks;      // buffers, and what they are for
  Value matrices;                                // of the current edge
  llvm::MapVector<Value, int64_t> matrixOffsets; // value -> place in there

  Value numParts;                             // tasks, a value of the host function
  struct Partial {
    Value scratch; // of the host function: a copy for each task
    Value copy;    // in the kernel: the task's own
  };
  llvm::MapVector<unsigned, Partial> partials; // by result
  struct Share {
    Value scratch; // of the host function: for each task its sum, what rounding took from it, and the sum of some rows
    Value sum;     // in the kernel: the task's own
  };
  llvm::MapVector<unsigned, Share> shares; // by result
  llvm::MapVector<unsigned, Value> converted; // operand -> scratch with its rows in component order
};

} // namespace

LogicalResult espmm::equivariant::stageKernelForCPU(KernelOp kernel, ScheduleAttr schedule, HostProgram &host) {
  if (failed(KernelAnalysis(kernel, LoopedAxes::All).verify()))
    return failure();
  Type element;
  for (Type type : llvm::concat<const Type>(kernel.getInputs().getTypes(), kernel.getResultTypes()))
    element = cast<RankedTensorType>(type).getElementType();
  return CPUKernelStaging(kernel, schedule, host, element).run();
}
