//===- Narrow.cpp - kernels that read and write bf16 and f16 --------------===//
#include "KernelAnalysis.h"
#include "SharedRows.h"
#include "espmm/Dialect/Equivariant/Transforms/Statistics.h"
#include <set>

namespace espmm::equivariant {
#define GEN_PASS_DEF_EQUIVARIANTNARROW
#include "espmm/Dialect/Equivariant/Transforms/Passes.h.inc"
} // namespace espmm::equivariant

using namespace mlir;
using namespace espmm::equivariant;

namespace {

bool isForGPU(KernelOp kernel) { return kernel->getAttrOfType<ScheduleAttr>("schedule").getTarget() == Target::GPU; }

/// True if an operand's rows can be extended where the kernel reads them.
bool readsNarrow(KernelOp kernel, unsigned i) {
  if (!isForGPU(kernel) || needsNests(kernel))
    return true;
  // What passes through shared memory is copied by at least 4 bytes at a time.
  KernelAnalysis analysis(kernel);
  RowLayout layout = planSharedRows(analysis, kernel->getAttrOfType<ScheduleAttr>("schedule")).first[i];
  return layout.size == 0 || getCopyWidth(layout, getWidth(kernel.getInputs()[i]), 2) >= 2;
}

/// True if nests, which write a row where it lies, write each place of it once.
bool isWrittenOnce(const KernelAnalysis &analysis, unsigned r) {
  llvm::SmallDenseSet<int64_t> offsets;
  return llvm::all_of(analysis.getContributions(), [&](const Contribution &c) {
    return c.result != r || !c.isOfNest || (offsets.insert(c.offset).second && !isa<PairSumOp>(c.value.getDefiningOp()));
  });
}

/// True if a result's rows are written once, from sums that the kernel holds.
bool writesNarrow(OpResult result) {
  auto kernel = result.getDefiningOp<KernelOp>();
  unsigned r = result.getResultNumber();
  Access access = kernel ? kernel.getResultAccess(r) : Access::All;
  if (access == Access::All)
    return false;
  if (!isForGPU(kernel)) {
    // Rows that are summed, and those of channels with irreps, have a buffer in which they are; to other rows of irreps nests add.
    KernelAnalysis analysis(kernel, LoopedAxes::All);
    if (access != Access::Edge || (getIrreps(result) && analysis.isChannelRow(analysis.getAssemble(r).getResult())))
      return true;
    auto isAdded = [&](const Contribution &c) { return c.result == r && c.isOfNest; };
    return getIrreps(result) ? llvm::none_of(analysis.getContributions(), isAdded) : isWrittenOnce(analysis, r);
  }
  if (access != Access::Edge && access != chooseGroupSide(kernel))
    return false;
  if (needsNests(kernel))
    return getIrreps(result) || isWrittenOnce(KernelAnalysis(kernel, LoopedAxes::Nests), r);
  // Sums over channels are added to by every slab.
  KernelAnalysis analysis(kernel);
  return llvm::all_of(analysis.getContributions(), [&](const Contribution &c) { return c.result != r || analysis.hasChannels(c.value); });
}

/// The kernels' results that a value is the sum of, parts of one row each.
bool collectParts(Value value, SmallVectorImpl<OpResult> &parts) {
  if (auto add = value.getDefiningOp<AddOp>())
    return value.hasOneUse() && collectParts(add.getLhs(), parts) && collectParts(add.getRhs(), parts);
  if (!value.hasOneUse() || !isa<OpResult>(value) || !writesNarrow(cast<OpResult>(value)))
    return false;
  parts.push_back(cast<OpResult>(value));
  return true;
}

/// No place of a row gets something from two kernels: they give different blocks, or different slabs of them.
bool areDisjoint(ArrayRef<OpResult> parts) {
  std::map<int64_t, SmallVector<std::pair<int64_t, int64_t>>> slabs;
  for (OpResult part : parts) {
    auto kernel = part.getDefiningOp<KernelOp>();
    auto schedule = kernel->getAttrOfType<ScheduleAttr>("schedule");
    std::set<int64_t> offsets;
    KernelAnalysis analysis(kernel);
    for (const Contribution &c : analysis.getContributions())
      if (c.result == part.getResultNumber()) {
        offsets.insert(c.offset);
        offsets.insert(c.further.begin(), c.further.end());
      }
    for (int64_t offset : offsets) {
      auto &known = slabs[offset];
      if (llvm::any_of(known, [&](auto range) { return schedule.getSlabBegin() < range.second && range.first < schedule.getSlabEnd(); }) ||
          (!known.empty() && schedule.getTarget() == Target::CPU))
        return false;
      known.push_back({schedule.getSlabBegin(), schedule.getSlabEnd()});
    }
  }
  return true;
}

void setElementType(Value value, Type element) {
  auto type = cast<RankedTensorType>(value.getType());
  value.setType(RankedTensorType::get(type.getShape(), element, type.getEncoding()));
  if (auto add = value.getDefiningOp<AddOp>())
    for (Value operand : add->getOperands())
      setElementType(operand, element);
}

struct Narrow : espmm::equivariant::impl::EquivariantNarrowBase<Narrow> {
  void runOnOperation() override {
    int64_t left = 0;
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      auto converts = llvm::to_vector(function.getOps<ConvertOp>());
      for (auto kernel : function.getOps<KernelOp>())
        if (!converts.empty() && !kernel->hasAttr("schedule")) {
          kernel.emitOpError("has no schedule; run equivariant-tile first");
          return signalPassFailure();
        }
      for (ConvertOp convert : converts)
        left += isa<BlockArgument>(convert.getSource()) ? !narrowOperand(convert) : !narrowResult(convert);
    }
    if (left)
      recordStatistics(getOperation(), "narrow", {{numConverts, "converts", left}});
  }

  // kernel(convert(x)) -> kernel(x)
  bool narrowOperand(ConvertOp convert) {
    for (OpOperand &use : llvm::make_early_inc_range(convert->getUses()))
      if (auto kernel = dyn_cast<KernelOp>(use.getOwner()); kernel && readsNarrow(kernel, use.getOperandNumber() - 1))
        use.set(convert.getSource());
    if (!convert->use_empty())
      return false;
    convert.erase();
    return true;
  }

  // convert(kernel) -> kernel
  bool narrowResult(ConvertOp convert) {
    SmallVector<OpResult> parts;
    if (!collectParts(convert.getSource(), parts) || !areDisjoint(parts))
      return false;
    setElementType(convert.getSource(), convert.getType().getElementType());
    convert.getResult().replaceAllUsesWith(convert.getSource());
    convert.erase();
    return true;
  }
};

} // namespace
