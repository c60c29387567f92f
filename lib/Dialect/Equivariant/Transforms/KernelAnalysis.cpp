//===- KernelAnalysis.cpp - what a factored kernel computes with ----------===//
#include "KernelAnalysis.h"

using namespace mlir;
using namespace espmm::equivariant;

/// Multiplicities up to this, apart from the channels', are unrolled: what each of them reads stays in registers then.
static constexpr int64_t longestUnrolled = 4;

KernelAnalysis::KernelAnalysis(KernelOp kernel, LoopedAxes axes) : kernel(kernel), axes(axes) {
  Block &body = kernel.getBody().front();
  findLetters();
  auto yield = cast<YieldOp>(body.getTerminator());
  // Irreps of u times v channels have those of each u next to each other: they are strided from u to u.
  auto hasPairs = [&](Value row, Value block) {
    return isa_and_nonnull<IrrepsAttr>(cast<RankedTensorType>(row.getType()).getEncoding()) && getLetters(block).starts_with("uv");
  };
  for (auto block : body.getOps<BlockOp>())
    loopsOverShort |= hasPairs(block.getRow(), block.getResult());
  for (Value row : yield.getValues())
    if (auto assemble = row.getDefiningOp<AssembleOp>())
      for (Value block : assemble.getBlocks())
        loopsOverShort |= hasPairs(row, block);
  for (auto block : body.getOps<BlockOp>())
    if (!getLooped(block.getResult()).empty())
      channelRows.insert(block.getRow());
  for (auto [r, value] : llvm::enumerate(yield.getValues()))
    if (auto assemble = value.getDefiningOp<AssembleOp>())
      for (auto [n, block] : llvm::enumerate(assemble.getBlocks())) {
        contributions.push_back({static_cast<unsigned>(r), assemble.getOffsets()[n], block, assemble.getFurther(n)});
        if (!getLooped(block).empty())
          channelRows.insert(value);
      }
  findNests();

  llvm::EquivalenceClasses<Operation *> classes;
  SmallVector<Operation *> channelOps;
  for (Operation &op : body) {
    if (!isChannelOp(&op) || isNest(&op))
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
}

void KernelAnalysis::findLetters() {
  // Blocks take their letters from the einsums that read them.
  for (auto einsum : kernel.getBody().getOps<EinsumOp>()) {
    bool sums = false;
    for (auto [i, operand] : llvm::enumerate(einsum.getOperands_())) {
      letters[operand] = einsum.getOperandLetters(i);
      bool has = einsum.getOperandLetters(i).contains('u');
      channels[operand] = has;
      sums |= has && !einsum.getResultLetters().contains('u');
      sums |= channelSums.lookup(operand);
    }
    letters[einsum.getResult()] = einsum.getResultLetters();
    channels[einsum.getResult()] = einsum.getResultLetters().contains('u');
    channelSums[einsum.getResult()] = sums;
  }
  for (Operation &op : kernel.getBody().front())
    if (isa<PairsOp, PairSumOp>(op)) {
      // Pairs of channels take the channels' place.
      Value source = op.getOperand(0), result = op.getResult(0);
      std::string known = getLetters(isa<PairsOp>(op) ? result : source).str();
      for (Value value : {source, result}) {
        letters[value] = known;
        channels[value] = StringRef(known).contains('u');
        channelSums[value] = channelSums.lookup(source);
      }
    } else if (auto add = dyn_cast<AddOp>(op)) {
      channels[add.getResult()] = channels.lookup(add.getLhs()) || channels.lookup(add.getRhs());
      channelSums[add.getResult()] = channelSums.lookup(add.getLhs()) || channelSums.lookup(add.getRhs());
      for (Value operand : add->getOperands())
        if (auto it = letters.find(operand); it != letters.end()) {
          std::string ofOperand = it->second;
          letters[add.getResult()] = ofOperand;
        }
      for (Value operand : add->getOperands())
        letters.try_emplace(operand, getLetters(add.getResult()).str());
    } else if (auto einsum = dyn_cast<EinsumOp>(op)) {
      for (Value operand : einsum.getOperands_())
        channelSums[einsum.getResult()] |= channelSums.lookup(operand);
    }
}

StringRef KernelAnalysis::getLetters(Value value) const {
  auto it = letters.find(value);
  return it == letters.end() ? StringRef() : StringRef(it->second);
}

bool KernelAnalysis::isLooped(char letter, int64_t extent) const {
  if (letter == 'u')
    return true;
  return axes != LoopedAxes::Channels && (letter == 'v' || letter == 'w') && extent > (loopsOverShort ? 1 : longestUnrolled);
}

std::map<char, int64_t> KernelAnalysis::getLooped(Value value) const {
  std::map<char, int64_t> result;
  for (auto [letter, extent] : llvm::zip(getLetters(value), cast<RankedTensorType>(value.getType()).getShape()))
    if (isLooped(letter, extent))
      result[letter] = extent;
  return result;
}

unsigned KernelAnalysis::getLoopedRank(Value value) const {
  unsigned rank = 0;
  for (auto [d, letter] : llvm::enumerate(getLetters(value)))
    if (isLooped(letter, cast<RankedTensorType>(value.getType()).getDimSize(d)))
      rank = d + 1;
  return rank;
}

std::pair<int64_t, int64_t> KernelAnalysis::getLoopedShape(Value block) const {
  auto shape = cast<RankedTensorType>(block.getType()).getShape();
  unsigned rank = getLoopedRank(block);
  return {ShapedType::getNumElements(shape.take_front(rank)), ShapedType::getNumElements(shape.drop_front(rank))};
}

bool KernelAnalysis::isStridedWeights(Value row, Value block) const {
  return !cast<RankedTensorType>(row.getType()).getEncoding() && !getLooped(block).empty() && getLoopedShape(block).second > 1;
}

void KernelAnalysis::findNests() {
  if (axes == LoopedAxes::Channels)
    return;
  Block &body = kernel.getBody().front();
  auto isComputed = [](Operation *op) { return isa_and_nonnull<EinsumOp, AddOp, PairsOp, PairSumOp>(op); };
  auto getAllLooped = [&](Operation *op) {
    std::map<char, int64_t> all = getLooped(op->getResult(0));
    for (Value operand : op->getOperands())
      all.merge(getLooped(operand));
    return all;
  };
  // What needs no loop may be computed anywhere, again and again.
  auto isShareable = [&](Operation *op) { return getAllLooped(op).empty() && !isChannelSum(op->getResult(0)); };
  llvm::EquivalenceClasses<Operation *> classes;
  llvm::SmallPtrSet<Operation *, 8> nested;
  SmallVector<Operation *> ops;
  for (Operation &op : body) {
    if (!isComputed(&op) || isShareable(&op))
      continue;
    ops.push_back(&op);
    classes.insert(&op);
    for (Value operand : op.getOperands())
      if (Operation *producer = operand.getDefiningOp(); isComputed(producer) && !isShareable(producer))
        classes.unionSets(producer, &op);
    auto looped = getAllLooped(&op);
    bool readsOnes = llvm::any_of(op.getOperands(), [&](Value v) { return v.getDefiningOp<OnesOp>() && !getLooped(v).empty(); });
    if (axes == LoopedAxes::Nests || readsOnes || isa<PairsOp, PairSumOp>(op) || (!looped.empty() && looped.rbegin()->first != 'u'))
      nested.insert(&op);
  }
  auto isNested = [&](Operation *op) {
    return llvm::any_of(nested, [&](Operation *other) { return classes.isEquivalent(op, other); });
  };
  // Sums over channels and over edges have their place in memory, as what a nest gives has. So has whatever is added to those places.
  llvm::MapVector<std::pair<unsigned, int64_t>, SmallVector<Operation *>> places;
  llvm::DenseSet<std::pair<unsigned, int64_t>> mixed;
  for (const Contribution &c : contributions) {
    Operation *op = c.value.getDefiningOp();
    if (!isComputed(op) || isShareable(op))
      continue;
    auto &others = places[{c.result, c.offset}];
    if ((!hasChannels(c.value) && kernel.getResultAccess(c.result) != Access::Edge) ||
        llvm::any_of(others, [&](Operation *other) { return hasChannels(other->getResult(0)) != hasChannels(c.value); }))
      mixed.insert({c.result, c.offset});
    others.push_back(op);
  }
  for (auto &[place, givers] : places)
    if (mixed.contains(place))
      nested.insert(givers.begin(), givers.end());
  for (bool changed = true; changed;) {
    changed = false;
    for (auto &[place, givers] : places)
      if (llvm::any_of(givers, isNested) && !llvm::all_of(givers, isNested)) {
        nested.insert(givers.begin(), givers.end());
        changed = true;
      }
  }
  for (Operation *op : ops)
    if (isNested(op))
      nestSet.insert(op);
  for (Operation &op : llvm::reverse(body))
    if (nestSet.contains(&op))
      for (Value operand : op.getOperands())
        if (Operation *producer = operand.getDefiningOp(); isComputed(producer))
          nestSet.insert(producer);
  for (Operation &op : body)
    if (nestSet.contains(&op))
      nests.push_back(&op);
  for (Contribution &c : contributions)
    c.isOfNest = nestSet.contains(c.value.getDefiningOp()) && !isShareable(c.value.getDefiningOp());
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
    if (kernel.getResultAccess(r) == Access::All &&
        (axes == LoopedAxes::Channels || cast<RankedTensorType>(kernel.getResult(r).getType()).getEncoding()))
      return kernel.emitOpError("result ") << r << " is a sum over all rows, which has no lowering yet";
  }
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
    if (kernel.getInputAccess(i) == Access::All && axes == LoopedAxes::Channels)
      return kernel.emitOpError("operand ") << i << " is shared by all rows, which has no lowering yet";
  for (const Contribution &c : contributions) {
    if (hasChannels(c.value) || c.isOfNest)
      continue;
    if (!isChannelSum(c.value))
      return kernel.emitOpError("result ") << c.result << " has a block without channels, which has no lowering yet";
    if (kernel.getResultAccess(c.result) != Access::Edge)
      return kernel.emitOpError("result ") << c.result << " is summed over channels and over edges, which has no lowering yet";
  }
  return success();
}

bool espmm::equivariant::needsNests(KernelOp kernel) {
  if (!KernelAnalysis(kernel, LoopedAxes::All).getNests().empty())
    return true;
  KernelAnalysis analysis(kernel);
  for (auto block : kernel.getBody().getOps<BlockOp>()) {
    bool inChannels = analysis.hasChannels(block.getResult());
    if (inChannels ? analysis.isStridedWeights(block.getRow(), block.getResult()) : analysis.isChannelRow(block.getRow()))
      return true;
  }
  for (const Contribution &c : analysis.getContributions()) {
    bool inChannels = analysis.hasChannels(c.value);
    if (inChannels ? analysis.isStridedWeights(kernel.getResult(c.result), c.value)
                   : analysis.isChannelRow(analysis.getAssemble(c.result).getResult()))
      return true;
  }
  return hasRowsAt(kernel, Access::All);
}

bool espmm::equivariant::coversRow(const KernelAnalysis &analysis, unsigned result) {
  KernelOp kernel = analysis.kernel;
  std::map<int64_t, int64_t> sizes;
  llvm::SmallDenseSet<std::pair<int64_t, Value>> given;
  for (const Contribution &c : analysis.getContributions()) {
    if (c.result != result)
      continue;
    // Sums of pairs are added one by one, and what is given twice is written at once.
    if (!c.isOfNest || isa<PairSumOp>(c.value.getDefiningOp()) || !given.insert({c.offset, c.value}).second)
      return false;
    sizes[c.offset] = cast<RankedTensorType>(c.value.getType()).getNumElements();
  }
  int64_t covered = 0;
  for (auto [offset, size] : sizes)
    covered += size;
  return covered == cast<RankedTensorType>(kernel.getResult(result).getType()).getShape().back();
}

SmallVector<Value> espmm::equivariant::getEdgeTensors(KernelOp kernel) {
  SmallVector<Value> tensors;
  for (auto [i, tensor] : llvm::enumerate(kernel.getInputs()))
    if (kernel.getInputAccess(i) == Access::Edge)
      tensors.push_back(tensor);
  for (auto [r, tensor] : llvm::enumerate(kernel.getResults()))
    if (kernel.getResultAccess(r) == Access::Edge)
      tensors.push_back(tensor);
  return tensors;
}

bool espmm::equivariant::hasRowsAt(KernelOp kernel, Access side) {
  auto is = [&](Attribute a) { return cast<AccessAttr>(a).getValue() == side; };
  return llvm::any_of(kernel.getInputAccess(), is) || llvm::any_of(kernel.getResultAccess(), is);
}

Access espmm::equivariant::chooseGroupSide(KernelOp kernel) {
  if (auto schedule = kernel->getAttrOfType<ScheduleAttr>("schedule"))
    return schedule.getGroupBy();
  if (hasRowsAt(kernel, Access::Receivers))
    return Access::Receivers;
  return hasRowsAt(kernel, Access::Senders) ? Access::Senders : Access::Edge;
}
