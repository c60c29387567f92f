//===- Tile.cpp - the schedule of each kernel -----------------------------===//
#include "Tile.h"

namespace espmm::equivariant {
#define GEN_PASS_DEF_EQUIVARIANTTILE
#include "espmm/Dialect/Equivariant/Transforms/Passes.h.inc"
} // namespace espmm::equivariant

using namespace mlir;
using namespace espmm::equivariant;

namespace {
struct Tile : espmm::equivariant::impl::EquivariantTileBase<Tile> {
  using EquivariantTileBase::EquivariantTileBase;

  void runOnOperation() override {
    if (target != "cpu" && target != "gpu") {
      getOperation().emitOpError("target is cpu or gpu, got '") << target << "'";
      return signalPassFailure();
    }
    SmallVector<KernelOp> kernels;
    getOperation().walk([&](KernelOp kernel) {
      if (!kernel->hasAttr("schedule"))
        kernels.push_back(kernel);
    });
    for (KernelOp kernel : kernels)
      if (target == "cpu")
        scheduleForCPU(kernel);
      else if (failed(tileForGPU(kernel, deterministic)))
        return signalPassFailure();
  }

  void scheduleForCPU(KernelOp kernel) {
    Type element;
    for (Type type : kernel->getResultTypes())
      element = cast<RankedTensorType>(type).getElementType();
    int64_t lanes = vectorBits / element.getIntOrFloatBitWidth();
    kernel->setAttr("schedule",
                    ScheduleAttr::get(&getContext(), Target::CPU, chooseGroupSide(kernel), lanes, /*slab_begin=*/0,
                                      /*slab_end=*/0, /*rows=*/16, /*min_blocks=*/0, /*deterministic=*/true));
  }
};
} // namespace
