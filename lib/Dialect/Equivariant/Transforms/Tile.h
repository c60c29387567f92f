//===- Tile.h - tiling of one kernel, by target -----------------*- C++ -*-===//
#ifndef ESPMM_LIB_EQUIVARIANT_TILE_H
#define ESPMM_LIB_EQUIVARIANT_TILE_H

#include "KernelAnalysis.h"
#include <functional>
#include <map>
#include <set>

namespace espmm::equivariant {

/// Cuts a kernel into kernels that a warp's registers can hold, each with its schedule.
mlir::LogicalResult tileForGPU(KernelOp kernel, bool deterministic);

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_TILE_H
