//===- Tile.h - tiling of one kernel, by target -----------------*- C++ -*-===//
#ifndef ESPMM_LIB_EQUIVARIANT_TILE_H
#define ESPMM_LIB_EQUIVARIANT_TILE_H

#include "KernelAnalysis.h"
#include <functional>
#include <map>
#include <set>

namespace espmm::equivariant {

/// What a person wants of schedules; 0 is up to us.
struct ScheduleWishes {
  bool deterministic = false;
  int64_t rows = 0, warps = 0, stages = 0, registers = 0, slabs = 0, tileRegisters = 0, instances = 0, groupBy = 0, products = 0;
  /// What a block may have of the chip's shared memory.
  int64_t sharedBytes = 0;
};

/// Gives a kernel that needs loops over several multiplicities its schedule; it is not cut.
mlir::LogicalResult scheduleNestsForGPU(KernelOp kernel, const ScheduleWishes &wishes);

/// Cuts a kernel into kernels that a warp's registers can hold, each with its schedule.
mlir::LogicalResult tileForGPU(KernelOp kernel, const ScheduleWishes &wishes);

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_TILE_H
