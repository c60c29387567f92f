//===- CPURowTiles.h - rows side by side, for weights that they share -*- C++ -*-===//
#ifndef ESPMM_LIB_EQUIVARIANT_CPUROWTILES_H
#define ESPMM_LIB_EQUIVARIANT_CPUROWTILES_H

#include "KernelAnalysis.h"

namespace espmm::equivariant {

/// How many rows a kernel works on side by side, one in each of so many lanes; 1, a row after the other with channels in lanes, if it is not one for that: no loops
/// over several multiplicities, no rows that all share, edges of nodes, rows of weights, or more of a tile than a cache has room for.
int64_t chooseTileRows(KernelOp kernel, int64_t lanes);

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_CPUROWTILES_H
