//===- Stage.cpp - tiled kernels to loops, lanes and buffers --------------===//
#include "Stage.h"
#include "HostProgram.h"
#include "KernelCost.h"

namespace espmm::equivariant {
#define GEN_PASS_DEF_EQUIVARIANTSTAGE
#include "espmm/Dialect/Equivariant/Transforms/Passes.h.inc"
} // namespace espmm::equivariant

using namespace mlir;
using namespace espmm::equivariant;

namespace {
struct Stage : espmm::equivariant::impl::EquivariantStageBase<Stage> {
  void runOnOperation() override {
    for (auto function : llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>())) {
      if (failed(HostProgram::verify(function)))
        return signalPassFailure();
      HostProgram host(function);
      auto isGPU = [](KernelOp kernel) {
        auto schedule = kernel->getAttrOfType<ScheduleAttr>("schedule");
        return schedule && schedule.getTarget() == Target::GPU;
      };
      if (llvm::any_of(function.getOps<KernelOp>(), isGPU))
        host.zeroDestinations();
      for (auto kernel : function.getOps<KernelOp>()) {
        auto schedule = kernel->getAttrOfType<ScheduleAttr>("schedule");
        if (!schedule) {
          kernel.emitOpError("has no schedule; run equivariant-tile first");
          return signalPassFailure();
        }
        host.setCost(toAttribute(estimateCost(kernel, schedule), &getContext()));
        LogicalResult staged = schedule.getTarget() == Target::CPU ? stageKernelForCPU(kernel, schedule, host)
                                                                   : stageKernelForGPU(kernel, schedule, host);
        if (failed(staged))
          return signalPassFailure();
      }
      stageSumsOfCopies(host, function);
      host.finish();
    }
  }
};
} // namespace
