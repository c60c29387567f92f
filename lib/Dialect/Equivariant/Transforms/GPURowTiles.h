//===- GPURowTiles.h - rows side by side, for weights that they share -*- C++ -*-===//
#ifndef ESPMM_LIB_EQUIVARIANT_GPUROWTILES_H
#define ESPMM_LIB_EQUIVARIANT_GPUROWTILES_H

#include "HostProgram.h"

namespace espmm::equivariant {

/// What forms products of matrices, as a schedule's number says; 0 is up to us.
enum class Products : int64_t { MultiplyAdds = 1, OneTerm = 2, ThreeTerms = 3 };

/// What a schedule says of a tile of rows.
struct RowTileNumbers {
  int64_t warps, stages;
  Products products;
};

struct RowTile {
  int64_t bytes; // of a block's shared memory
  int64_t span;  // about how many instructions go by
  bool usesMatrixUnits;
};

/// What a block takes for 32 rows at once; nothing if a kernel is not one for that: no rows that all share, edges of nodes, or rows of weights.
std::optional<RowTile> measureRowTile(KernelOp kernel, const RowTileNumbers &numbers);

RowTileNumbers getRowTileNumbers(ScheduleAttr schedule);

/// True if a kernel with this schedule works on 32 rows at once.
bool isRowTileOnGPU(KernelOp kernel, ScheduleAttr schedule);

/// Stages a kernel that does.
void stageRowTilesForGPU(KernelOp kernel, HostProgram &host);

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_GPUROWTILES_H
