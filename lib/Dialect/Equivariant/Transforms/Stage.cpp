//===- Stage.cpp - tiled kernels to loops, lanes and buffers --------------===//
#include "Stage.h"
#include "HostProgram.h"
#include "KernelAnalysis.h"
#include "KernelChoices.h"
#include "KernelCost.h"
#include <set>

namespace espmm::equivariant {
#define GEN_PASS_DEF_EQUIVARIANTSTAGE
#include "espmm/Dialect/Equivariant/Transforms/Passes.h.inc"
} // namespace espmm::equivariant

using namespace mlir;
using namespace espmm::equivariant;

Value espmm::equivariant::toMemoryOrder(OpBuilder &builder, Location loc, Value block, IrrepsAttr irreps) {
  auto type = cast<RankedTensorType>(block.getType());
  if (!irreps || irreps.getLayout() == Layout::MulIr || type.getDimSize(0) == 1)
    return block;
  auto transposed = RankedTensorType::get({type.getDimSize(1), type.getDimSize(0)}, type.getElementType());
  return EinsumOp::create(builder, loc, transposed, builder.getStringAttr("vj->jv"), ValueRange{block});
}

namespace {
ScheduleAttr getSchedule(KernelOp kernel) { return kernel->getAttrOfType<ScheduleAttr>("schedule"); }

/// True if a value is computed from a kernel's results; between kernels there are only sums.
bool dependsOn(Value value, KernelOp kernel) {
  if (auto add = value.getDefiningOp<AddOp>())
    return dependsOn(add.getLhs(), kernel) || dependsOn(add.getRhs(), kernel);
  return value.getDefiningOp() == kernel;
}

/// Kernels in their order, those that follow each other and can be one launch together: on the GPU, blocks of the same shape for edges
/// grouped by the same side, none of which waits for another.
SmallVector<SmallVector<KernelOp>> groupKernels(func::FuncOp function) {
  SmallVector<SmallVector<KernelOp>> groups;
  for (auto kernel : function.getOps<KernelOp>()) {
    ScheduleAttr schedule = getSchedule(kernel);
    auto joins = [&](KernelOp other) {
      ScheduleAttr known = getSchedule(other);
      return schedule.getTarget() == Target::GPU && known.getTarget() == Target::GPU && known.getGroupBy() == schedule.getGroupBy() &&
             known.getWarps() == schedule.getWarps() && !needsNests(kernel) && !needsNests(other) && other.getSpace() == kernel.getSpace() &&
             llvm::none_of(kernel.getInputs(), [&](Value input) { return dependsOn(input, other); });
    };
    if (groups.empty() || !llvm::all_of(groups.back(), joins))
      groups.emplace_back();
    groups.back().push_back(kernel);
  }
  return groups;
}

/// What staging can do of several instances: slabs of channels, whose blocks with channels lie elsewhere, and in rows that are written at places of their own.
LogicalResult verifyInstances(KernelOp kernel) {
  ScheduleAttr schedule = getSchedule(kernel);
  if (schedule.getInstances() == 1)
    return success();
  if (needsNests(kernel))
    return kernel.emitOpError("has several instances of loops over several multiplicities, which have no lowering yet");
  KernelAnalysis analysis(kernel);
  auto isFixed = [&](Value block, ArrayRef<int64_t> further) { return !further.empty() && !analysis.hasChannels(block); };
  auto isFixedBlock = [&](BlockOp block) { return isFixed(block.getResult(), block.getFurther()); };
  auto isFixedPlace = [&](const Contribution &c) { return isFixed(c.value, c.further); };
  if (llvm::any_of(kernel.getBody().getOps<BlockOp>(), isFixedBlock) || llvm::any_of(analysis.getContributions(), isFixedPlace))
    return kernel.emitOpError("has a block without channels that is elsewhere in another instance, which has no lowering yet");
  std::set<std::pair<unsigned, int64_t>> written, places;
  for (const Contribution &c : analysis.getContributions()) {
    Access access = kernel.getResultAccess(c.result);
    if (!analysis.hasChannels(c.value) || (access != Access::Edge && access != schedule.getGroupBy()) || !places.insert({c.result, c.offset}).second)
      continue;
    SmallVector<int64_t> offsets(c.further.empty() ? SmallVector<int64_t>(schedule.getInstances() - 1, c.offset) : SmallVector<int64_t>(c.further));
    offsets.push_back(c.offset);
    for (int64_t offset : offsets)
      if (!written.insert({c.result, offset}).second)
        return kernel.emitOpError("result ") << c.result << " is written at " << offset << " by several instances, which has no lowering yet";
  }
  return success();
}

/// Those of arguments come before all kernels, those of results after.
void stageConverts(HostProgram &host, func::FuncOp function, bool ofArguments) {
  for (auto convert : function.getOps<ConvertOp>()) {
    if (isa<BlockArgument>(convert.getSource()) != ofArguments)
      continue;
    ScheduleAttr schedule = getSchedule(*function.getOps<KernelOp>().begin());
    if (schedule.getTarget() == Target::GPU)
      stageConvertForGPU(host, convert);
    else
      stageConvertForCPU(host, convert, schedule.getLanes());
  }
}

/// What a launch of these kernels costs, and what was chosen for them.
void describe(ArrayRef<KernelOp> kernels, HostProgram &host) {
  Builder builder(kernels.front()->getContext());
  KernelCost cost;
  llvm::SetVector<Attribute> choices;
  for (KernelOp kernel : kernels) {
    cost += estimateCost(kernel, getSchedule(kernel));
    for (StringRef sentence : describeChoices(kernel, getSchedule(kernel)))
      choices.insert(builder.getStringAttr(sentence));
  }
  host.setAttributes(builder.getDictionaryAttr({builder.getNamedAttr(EquivariantDialect::choicesAttrName, builder.getArrayAttr(choices.getArrayRef())),
                                                builder.getNamedAttr(EquivariantDialect::costAttrName, toAttribute(cost, builder.getContext()))}));
}

struct Stage : espmm::equivariant::impl::EquivariantStageBase<Stage> {
  void runOnOperation() override {
    for (auto function : llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>())) {
      if (failed(HostProgram::verify(function)))
        return signalPassFailure();
      HostProgram host(function);
      for (auto kernel : function.getOps<KernelOp>()) {
        if (!getSchedule(kernel)) {
          kernel.emitOpError("has no schedule; run equivariant-tile first");
          return signalPassFailure();
        }
        if (failed(verifyInstances(kernel)))
          return signalPassFailure();
      }
      auto isGPU = [](KernelOp kernel) { return getSchedule(kernel).getTarget() == Target::GPU; };
      if (llvm::any_of(function.getOps<KernelOp>(), isGPU))
        host.zeroDestinations();
      stageConverts(host, function, /*ofArguments=*/true);
      for (auto &kernels : groupKernels(function)) {
        describe(kernels, host);
        KernelOp first = kernels.front();
        if (failed(!isGPU(first)       ? stageKernelForCPU(first, getSchedule(first), host)
                   : needsNests(first) ? stageNestsForGPU(first, host)
                                       : stageKernelsForGPU(kernels, host)))
          return signalPassFailure();
      }
      stageSumsOfCopies(host, function);
      stageConverts(host, function, /*ofArguments=*/false);
      host.finish();
    }
  }
};
} // namespace
