//===- Tile.cpp - the schedule of each kernel -----------------------------===//
#include "Tile.h"
#include "CPURowTiles.h"
#include "espmm/Dialect/Equivariant/Transforms/Chips.h"
#include "KernelCost.h"
#include "espmm/Dialect/Equivariant/Transforms/Statistics.h"
#include "llvm/Support/MathExtras.h"

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
      emitError(getOperation().getLoc(), "target is cpu or gpu, got '") << target << "'";
      return signalPassFailure();
    }
    if (vectorBits < 64 || !llvm::isPowerOf2_64(vectorBits)) {
      emitError(getOperation().getLoc(), "vector-bits is a power of two of at least 64, got ") << vectorBits.getValue();
      return signalPassFailure();
    }
    if (groupBy < 0 || groupBy > 2) {
      emitError(getOperation().getLoc(), "group-by is 1 for receivers or 2 for senders, got ") << groupBy.getValue();
      return signalPassFailure();
    }
    if (products < 0 || products > 3) {
      emitError(getOperation().getLoc(), "products is 1 for multiply-adds, 2 for matrix units or 3 for them with three terms, got ") << products.getValue();
      return signalPassFailure();
    }
    if (failed(recordTarget()))
      return signalPassFailure();
    SmallVector<KernelOp> kernels;
    getOperation().walk([&](KernelOp kernel) {
      if (!kernel->hasAttr("schedule"))
        kernels.push_back(kernel);
    });
    for (KernelOp kernel : kernels)
      if (target == "cpu")
        scheduleForCPU(kernel);
      else if (failed(tileForGPU(kernel, {deterministic, rows, warps, stages, registers, slabs, tileRegisters, instances, groupBy, products, getSharedBytesOfBlock(chip)})))
        return signalPassFailure();
    count();
  }

  /// What the module is compiled for. Schedules that a person wrote have to be for the same.
  LogicalResult recordTarget() {
    std::string name = target == "cpu" ? "cpu" : "cuda:" + chip;
    if (!EquivariantDialect::isTargetName(name))
      return emitError(getOperation().getLoc(), "chip is sm_NUMBER, got '") << chip << "'";
    auto known = getOperation()->getAttrOfType<StringAttr>(EquivariantDialect::targetAttrName);
    if (known && known.getValue() != name)
      return emitError(getOperation().getLoc(), "the module was tiled for ") << known << ", got target \"" << name << "\"";
    getOperation()->setAttr(EquivariantDialect::targetAttrName, StringAttr::get(&getContext(), name));
    WalkResult result = getOperation().walk([&](KernelOp kernel) {
      auto schedule = kernel->getAttrOfType<ScheduleAttr>("schedule");
      if (!schedule || stringifyTarget(schedule.getTarget()) == target)
        return WalkResult::advance();
      kernel.emitOpError("has a schedule for ") << stringifyTarget(schedule.getTarget()) << ", got target " << target;
      return WalkResult::interrupt();
    });
    return failure(result.wasInterrupted());
  }

  void count() {
    int64_t bytes = 0, gathered = 0, registers = 0;
    getOperation().walk([&](KernelOp kernel) {
      if (auto schedule = kernel->getAttrOfType<ScheduleAttr>("schedule")) {
        KernelCost cost = estimateCost(kernel, schedule);
        bytes += cost.bytesPerEdge;
        gathered += cost.gatheredBytesPerEdge;
        registers = std::max(registers, cost.registers);
      }
    });
    recordStatistics(getOperation(), "tile",
                     {{numBytes, "bytes_per_edge", bytes},
                      {numGatheredBytes, "gathered_bytes_per_edge", gathered},
                      {numRegisters, "registers_estimate", registers}});
  }

  void scheduleForCPU(KernelOp kernel) {
    Type element;
    for (Type type : kernel->getResultTypes())
      element = cast<RankedTensorType>(type).getElementType();
    int64_t lanes = vectorBits / element.getIntOrFloatBitWidth();
    kernel->setAttr("schedule",
                    ScheduleAttr::get(&getContext(), Target::CPU, chooseGroupSide(kernel), lanes, /*slab_begin=*/0,
                                      /*slab_end=*/0, /*slabs=*/1, /*instances=*/1, /*rows=*/rows ? int64_t(rows) : 16, chooseTileRows(kernel, lanes), /*warps=*/1, /*stages=*/2, /*registers=*/0, /*products=*/1, /*deterministic=*/true));
  }
};
} // namespace
