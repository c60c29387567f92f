//===- KernelCost.h - what a kernel will cost -------------------*- C++ -*-===//
#ifndef ESPMM_LIB_EQUIVARIANT_KERNELCOST_H
#define ESPMM_LIB_EQUIVARIANT_KERNELCOST_H

#include "espmm/Dialect/Equivariant/IR/Equivariant.h"

namespace espmm::equivariant {

/// Counted from a factored kernel's nonzero patterns and its schedule; nothing is staged or emitted for it.
struct KernelCost {
  /// Of rows by edge: blocks read, and rows written. What has to cross memory however good the kernel is.
  int64_t bytesPerEdge = 0;
  /// Of rows at a side that the kernel does not group by: blocks read or added to, once an edge. Caches serve many of them.
  int64_t gatheredBytesPerEdge = 0;
  /// Of rows at the side that it groups by, once a node.
  int64_t bytesPerNode = 0;
  /// Of scalars, all channels together; a multiply-add is one of each.
  int64_t multiplicationsPerEdge = 0, additionsPerEdge = 0;
  /// The largest number of values alive at once in a loop over channels (CPU: vectors, and scalars that it is given), or for an
  /// edge (GPU: 32-bit registers of a lane, what it holds for a whole segment included). Addresses and indices come on top.
  int64_t registers = 0;

  /// Of both together, one after the other.
  KernelCost &operator+=(const KernelCost &other);
};

KernelCost estimateCost(KernelOp kernel, ScheduleAttr schedule);

/// As `equivariant.cost` has it.
mlir::DictionaryAttr toAttribute(const KernelCost &cost, mlir::MLIRContext *context);

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_KERNELCOST_H
