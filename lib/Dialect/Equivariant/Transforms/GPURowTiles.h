//===- GPURowTiles.h - rows side by side, for weights that they share -*- C++ -*-===//
#ifndef ESPMM_LIB_EQUIVARIANT_GPUROWTILES_H
#define ESPMM_LIB_EQUIVARIANT_GPUROWTILES_H

#include "HostProgram.h"

namespace espmm::equivariant {

/// Bytes of shared memory that a block of so many warps takes for 32 rows at once; 0 if a kernel is not one for that: no rows that all share, edges of nodes, or rows of weights.
int64_t measureRowTile(KernelOp kernel, int64_t warps);

/// Stages a kernel that works on 32 rows at once.
void stageRowTilesForGPU(KernelOp kernel, HostProgram &host);

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_GPUROWTILES_H
