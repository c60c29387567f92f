//===- KernelAnalysis.cpp - what a factored kernel computes with ----------===//
#include "KernelAnalysis.h"

using namespace mlir;
using namespace espmm::equivariant;

KernelAnalysis::KernelAnalysis(KernelOp kernel) : kernel(kernel) {
  Block &body = kernel.getBody().front();
  // Blocks take their letters from the einsums that read them.
  for (auto einsum : body.getOps<EinsumOp>()) {
    bool sums = false;
    for (auto [i, operand] : llvm::enumerate(einsum.getOperands_())) {
      bool has = einsum.getOperandLetters(i).contains('u');
      channels[operand] = has;
      sums |= has && !einsum.getResultLetters().contains('u');
      sums |= channelSums.lookup(operand);
      if (auto block = operand.getDefiningOp<BlockOp>(); block && has)
        channelRows.insert(block.getRow());
    }
    channels[einsum.getResult()] = einsum.getResultLetters().contains('u');
    channelSums[einsum.getResult()] = sums;
  }
  for (Operation &op : body)
    if (auto add = dyn_cast<AddOp>(op)) {
      channels[add.getResult()] = channels.lookup(add.getLhs()) || channels.lookup(add.getRhs());
      channelSums[add.getResult()] = channelSums.lookup(add.getLhs()) || channelSums.lookup(add.getRhs());
    } else if (auto einsum = dyn_cast<EinsumOp>(op)) {
      for (Value operand : einsum.getOperands_())
        channelSums[einsum.getResult()] |= channelSums.lookup(operand);
    }

  llvm::EquivalenceClasses<Operation *> classes;
  SmallVector<Operation *> channelOps;
  for (Operation &op : body) {
    if (!isChannelOp(&op))
      continue;
    channelOps.push_back(&op);
    classes.insert(&op);
    for (Value operand : op.getOperands())
      if (Operation *producer = operand.getDefiningOp(); producer && hasChannels(operand) && isChannelOp(producer))
        classes.unionSets(producer, &op);
  }
  llvm::MapVector<Operation *, SmallVector<Operation *>> byLeader;
  for (Operation *op : channelOps)
    byLeader[classes.getLeaderValue(op)].push_back(op);
  for (auto &[leader, ops] : byLeader)
    groups.push_back(ops);

  auto yield = cast<YieldOp>(body.getTerminator());
  for (auto [r, value] : llvm::enumerate(yield.getValues()))
    if (auto assemble = value.getDefiningOp<AssembleOp>())
      for (auto [offset, block] : llvm::zip(assemble.getOffsets(), assemble.getBlocks())) {
        contributions.push_back({static_cast<unsigned>(r), offset, block});
        if (hasChannels(block))
          channelRows.insert(value);
      }
}

bool KernelAnalysis::isChannelOp(Operation *op) const {
  if (!isa<EinsumOp, AddOp>(op))
    return false;
  return llvm::any_of(op->getOperands(), [&](Value v) { return hasChannels(v); });
}

int64_t KernelAnalysis::getChannels(Operation *op) const {
  for (Value operand : op->getOperands())
    if (hasChannels(operand))
      return cast<RankedTensorType>(operand.getType()).getDimSize(0);
  return 0;
}

EinsumOp KernelAnalysis::getScaling(Value value) {
  auto einsum = value.getDefiningOp<EinsumOp>();
  bool scales = einsum && einsum.getOperands_().size() == 2 && einsum.getOperands_()[1].getDefiningOp<CoefficientsOp>() &&
                einsum.getOperandLetters(0) == einsum.getResultLetters();
  return scales ? einsum : EinsumOp();
}

AssembleOp KernelAnalysis::getAssemble(unsigned result) {
  return cast<YieldOp>(kernel.getBody().front().getTerminator()).getValues()[result].getDefiningOp<AssembleOp>();
}

LogicalResult KernelAnalysis::verify() {
  for (unsigned r = 0; r < kernel.getNumResults(); ++r) {
    if (!getAssemble(r))
      return kernel.emitOpError("result ") << r << " is not assembled from blocks; run equivariant-factor first";
    if (kernel.getResultAccess(r) == Access::All)
      return kernel.emitOpError("result ") << r << " is a sum over all rows, which has no lowering yet";
  }
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
    if (kernel.getInputAccess(i) == Access::All)
      return kernel.emitOpError("operand ") << i << " is shared by all rows, which has no lowering yet";
  for (const Contribution &c : contributions) {
    if (hasChannels(c.value))
      continue;
    if (!isChannelSum(c.value))
      return kernel.emitOpError("result ") << c.result << " has a block without channels, which has no lowering yet";
    if (kernel.getResultAccess(c.result) != Access::Edge)
      return kernel.emitOpError("result ") << c.result << " is summed over channels and over edges, which has no lowering yet";
  }
  return success();
}

bool espmm::equivariant::isStridedWeights(Value row, RankedTensorType block) {
  return !cast<RankedTensorType>(row.getType()).getEncoding() && block.getNumElements() > block.getDimSize(0);
}

Access espmm::equivariant::chooseGroupSide(KernelOp kernel) {
  auto uses = [&](Access side) {
    auto is = [&](Attribute a) { return cast<AccessAttr>(a).getValue() == side; };
    return llvm::any_of(kernel.getInputAccess(), is) || llvm::any_of(kernel.getResultAccess(), is);
  };
  if (uses(Access::Receivers))
    return Access::Receivers;
  return uses(Access::Senders) ? Access::Senders : Access::Edge;
}
