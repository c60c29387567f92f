//===- KernelCost.cpp - what a kernel will cost ---------------------------===//
#include "KernelCost.h"
#include "KernelAnalysis.h"
#include "espmm/Dialect/Equivariant/Transforms/ScalarGraph.h"
#include "mlir/IR/IRMapping.h"
#include <set>

using namespace mlir;
using namespace espmm::equivariant;

namespace {

/// Walks through a kernel as staging would, with a graph that only counts.
class CostEstimate {
public:
  CostEstimate(KernelOp kernel, ScheduleAttr schedule)
      : kernel(kernel), schedule(schedule), analysis(kernel, schedule.getTarget() == Target::CPU ? LoopedAxes::All : needsNests(kernel) ? LoopedAxes::Nests : LoopedAxes::Channels), builder(kernel.getContext()),
        graph(builder, /*emits=*/false) {
    builder.setInsertionPointToEnd(&scratch);
  }

  KernelCost run() {
    countBytes();
    for (auto &group : analysis.getGroups())
      countGroup(group);
    // What is computed from sums over the channels, once an edge.
    for (const Contribution &c : analysis.getContributions())
      if (!analysis.hasChannels(c.value) && !c.isOfNest)
        addRoots(getScalars(c.value));
    for (Operation *op : analysis.getNests())
      countNest(op);
    countRun(1, /*isLoop=*/false);
    cost.registers = mostLive * getWords() + heldRegisters;
    for (int64_t *count : {&cost.bytesPerEdge, &cost.gatheredBytesPerEdge, &cost.bytesPerNode, &cost.multiplicationsPerEdge, &cost.additionsPerEdge})
      *count *= schedule.getInstances();
    return cost;
  }

private:
  //===-- Memory ----------------------------------------------------------===//

  static RankedTensorType getType(Value value) { return cast<RankedTensorType>(value.getType()); }
  bool isGrouped(Access access) const {
    return access == schedule.getGroupBy() && access != Access::Edge;
  }

  /// How many of a block's channels the kernel covers.
  int64_t getActiveChannels(int64_t channels) const {
    if (schedule.getTarget() == Target::CPU)
      return channels;
    int64_t begin = schedule.getSlabBegin() * schedule.getLanes(), end = schedule.getSlabEnd() * schedule.getLanes();
    return std::max<int64_t>(std::min(channels, end) - begin, 0);
  }

  int64_t getElements(Value block) const {
    int64_t count = getType(block).getNumElements();
    if (!analysis.hasChannels(block) || count == 0)
      return count;
    int64_t channels = getType(block).getDimSize(0);
    return count / channels * getActiveChannels(channels);
  }

  /// What a lane has of a value.
  RankedTensorType getLaneType(Value value) {
    auto type = getType(value);
    if (!analysis.hasChannels(value))
      return type;
    return RankedTensorType::get(schedule.getLaneShape(type.getShape()), type.getElementType());
  }

  /// Elements of a block that one lane holds, in 32-bit registers.
  int64_t getHeld(Value block) {
    return getType(block).getNumElements() ? getLaneType(block).getNumElements() * getWords() : 0;
  }

  int64_t getWords() {
    return schedule.getTarget() == Target::GPU ? (getElementBytes() + 3) / 4 : 1;
  }

  int64_t getElementBytes() {
    for (Type type : llvm::concat<const Type>(kernel.getInputs().getTypes(), kernel->getResultTypes()))
      return getArithmeticType(cast<RankedTensorType>(type).getElementType()).getIntOrFloatBitWidth() / 8;
    return 4;
  }

  void countRow(Access access, Value tensor, int64_t elements) {
    // What all rows share is read once.
    if (access == Access::All)
      return;
    int64_t bytes = elements * getType(tensor).getElementTypeBitWidth() / 8;
    (access == Access::Edge ? cost.bytesPerEdge : isGrouped(access) ? cost.bytesPerNode : cost.gatheredBytesPerEdge) += bytes;
  }

  void countBytes() {
    bool holds = schedule.getTarget() == Target::GPU;
    for (auto block : kernel.getBody().getOps<BlockOp>())
      if (auto row = dyn_cast<BlockArgument>(block.getRow())) {
        Access access = kernel.getInputAccess(row.getArgNumber());
        countRow(access, kernel.getInputs()[row.getArgNumber()], getElements(block.getResult()));
        if (holds && isGrouped(access))
          heldRegisters += getHeld(block.getResult());
      }
    std::set<std::pair<unsigned, int64_t>> seen;
    for (const Contribution &c : analysis.getContributions()) {
      if (!seen.insert({c.result, c.offset}).second)
        continue;
      Access access = kernel.getResultAccess(c.result);
      countRow(access, kernel.getResult(c.result), getElements(c.value));
      if (holds && isGrouped(access))
        heldRegisters += getHeld(c.value);
    }
  }

  //===-- Arithmetic ------------------------------------------------------===//

  int64_t getLaneChannels(Operation *op) {
    return analysis.isChannelOp(op) ? schedule.getLaneChannels(analysis.getChannels(op)) : 1;
  }

  /// The op on what a lane has.
  Value makeSmall(Operation *op, ArrayRef<Value> operands) {
    if (isConstantTensor(op))
      return builder.clone(*op)->getResult(0);
    RankedTensorType small = getLaneType(op->getResult(0));
    if (isa<AddOp>(op))
      return AddOp::create(builder, op->getLoc(), small, operands[0], operands[1]);
    std::string subscripts = cast<EinsumOp>(op).getSubscripts().str();
    if (getLaneChannels(op) == 1)
      llvm::erase(subscripts, 'u');
    return EinsumOp::create(builder, op->getLoc(), small, builder.getStringAttr(subscripts), operands);
  }

  /// A block that is read where it is first wanted.
  Value makeRead(Value block) {
    RankedTensorType small = getLaneType(block);
    return ReadOp::create(builder, block.getLoc(), small, getPointer(), Value(), Value(), 0, 1, SmallVector<int64_t>(small.getRank(), 1));
  }

  Value getPointer() {
    if (!pointer)
      pointer = LLVM::PoisonOp::create(builder, kernel.getLoc(), LLVM::LLVMPointerType::get(kernel.getContext()));
    return pointer;
  }

  /// A value of the edge without channels.
  Value getScalars(Value value) {
    if (Value known = scalars.lookupOrNull(value))
      return known;
    Operation *op = value.getDefiningOp();
    SmallVector<Value> operands;
    if (!isa<BlockOp>(op))
      for (Value operand : op->getOperands())
        operands.push_back(getScalars(operand));
    Value result = isa<BlockOp>(op) ? makeRead(value) : makeSmall(op, operands);
    scalars.map(value, result);
    return result;
  }

  void addRoots(Value tensor) {
    for (ScalarNode *node : graph.get(tensor))
      if (node)
        graph.addRoot(node);
  }

  /// Counts what the roots need, for each `channels` of an edge's `of`.
  void countRun(int64_t of, bool isLoop, int64_t channels = 1) {
    graph.statistics = {};
    graph.emitRoots();
    cost.multiplicationsPerEdge += graph.statistics.multiplications * of / channels;
    cost.additionsPerEdge += (graph.statistics.additions + std::exchange(heldSums, 0)) * of / channels;
    // All that a lane of a GPU does for an edge is one run.
    if (isLoop || schedule.getTarget() == Target::GPU)
      mostLive = std::max(mostLive, graph.statistics.maxLive);
  }

  /// An operation of a nest has no elements that are known to be zero.
  void countNest(Operation *op) {
    if (isa<PairsOp>(op))
      return;
    if (auto sum = dyn_cast<PairSumOp>(op)) {
      cost.additionsPerEdge += getType(sum.getSource()).getNumElements();
      return;
    }
    int64_t elements = getType(op->getResult(0)).getNumElements(), terms = elements;
    auto einsum = dyn_cast<EinsumOp>(op);
    llvm::SmallDenseSet<char> seen;
    for (unsigned o = 0; einsum && o < einsum.getOperands_().size(); ++o)
      for (auto [letter, extent] : llvm::zip(einsum.getOperandLetters(o), getType(einsum.getOperands_()[o]).getShape()))
        if (!einsum.getResultLetters().contains(letter) && seen.insert(letter).second)
          terms *= extent;
    if (einsum && einsum.getOperands_().size() == 2)
      cost.multiplicationsPerEdge += terms;
    cost.additionsPerEdge += einsum ? terms - elements : elements;
  }

  void countGroup(ArrayRef<Operation *> group) {
    // Before the loop over channels: what has none.
    for (Operation *op : group)
      for (Value operand : op->getOperands())
        if (!analysis.hasChannels(operand) && !analysis.isChannelSum(operand))
          addRoots(getScalars(operand));
    countRun(1, /*isLoop=*/false);

    IRMapping values = scalars;
    for (Operation *op : group) {
      SmallVector<Value> operands;
      for (Value operand : op->getOperands()) {
        if (operand.getDefiningOp<BlockOp>() && !values.contains(operand))
          values.map(operand, makeRead(operand));
        operands.push_back(values.lookup(operand));
      }
      values.map(op->getResult(0), makeSmall(op, operands));
    }
    for (Operation *op : group) {
      Value result = op->getResult(0);
      if (!analysis.hasChannels(result)) {
        addSumOverChannels(result, values.lookup(result));
        continue;
      }
      for (const Contribution &c : analysis.getContributions())
        if (c.value == result)
          addWrite(c, values.lookup(result));
    }
    int64_t channels = getActiveChannels(analysis.getChannels(group.front()));
    countRun(channels, /*isLoop=*/true, getLaneChannels(group.front()));
  }

  /// A sum over channels goes on from one channel to the next.
  void addSumOverChannels(Value value, Value result) {
    auto type = getType(result);
    Value before = ZeroOp::create(builder, value.getLoc(), type), after = ZeroOp::create(builder, value.getLoc(), type);
    // Which elements there are, by a graph of its own, so that this one can still join the sums.
    ScalarGraph probe(builder, /*emits=*/false);
    SmallVector<Value> carried;
    for (ScalarNode *node : probe.get(result))
      carried.push_back(node ? before : Value());
    graph.bind(before, carried);
    graph.bind(after, carried);
    scalars.map(value, after);
    addRoots(AddOp::create(builder, value.getLoc(), type, before, result));
  }

  /// A block of a result: written, or added to what is in memory or in registers.
  void addWrite(const Contribution &c, Value result) {
    Access access = kernel.getResultAccess(c.result);
    bool isHeld = schedule.getTarget() == Target::GPU && isGrouped(access);
    bool adds = access != Access::Edge || llvm::count_if(analysis.getContributions(), [&](const Contribution &other) {
                                            return other.result == c.result && other.offset == c.offset;
                                          }) > 1;
    // Sums that only a write reads are not formed before it.
    WriteOp::create(builder, result.getLoc(), result, getPointer(), Value(), Value(), 0, 1,
                    SmallVector<int64_t>(getType(result).getRank(), 1), adds, false);
    for (ScalarNode *node : graph.makeRoots(result)) {
      if (!node)
        continue;
      if (adds && isHeld) {
        ++heldSums;
      } else if (adds) {
        ScalarTerm old;
        old.a = graph.makeLoad(ReadOp(), node->type, 0);
        node->terms.insert(node->terms.begin(), old);
      }
      node->onComplete = [](Value) {};
      graph.addRoot(node);
    }
  }

  KernelOp kernel;
  ScheduleAttr schedule;
  KernelAnalysis analysis;
  /// Holds the small ops, which nobody sees.
  Block scratch;
  OpBuilder builder;
  ScalarGraph graph;
  IRMapping scalars;
  Value pointer;
  KernelCost cost;
  int64_t mostLive = 0, heldRegisters = 0, heldSums = 0;
};

} // namespace

KernelCost espmm::equivariant::estimateCost(KernelOp kernel, ScheduleAttr schedule) {
  return CostEstimate(kernel, schedule).run();
}

KernelCost &KernelCost::operator+=(const KernelCost &other) {
  bytesPerEdge += other.bytesPerEdge;
  gatheredBytesPerEdge += other.gatheredBytesPerEdge;
  bytesPerNode += other.bytesPerNode;
  multiplicationsPerEdge += other.multiplicationsPerEdge;
  additionsPerEdge += other.additionsPerEdge;
  registers = std::max(registers, other.registers);
  return *this;
}

DictionaryAttr espmm::equivariant::toAttribute(const KernelCost &cost, MLIRContext *context) {
  Builder builder(context);
  NamedAttrList list;
  for (auto [name, value] : std::initializer_list<std::pair<StringRef, int64_t>>{
           {"bytes_per_edge", cost.bytesPerEdge},
           {"gathered_bytes_per_edge", cost.gatheredBytesPerEdge},
           {"bytes_per_node", cost.bytesPerNode},
           {"multiplications_per_edge", cost.multiplicationsPerEdge},
           {"additions_per_edge", cost.additionsPerEdge},
           {"registers_estimate", cost.registers}})
    list.set(name, builder.getI64IntegerAttr(value));
  return list.getDictionary(context);
}
