//===- Utils.h - small helpers of the passes --------------------*- C++ -*-===//
#ifndef ESPMM_DIALECT_EQUIVARIANT_TRANSFORMS_UTILS_H
#define ESPMM_DIALECT_EQUIVARIANT_TRANSFORMS_UTILS_H

#include "mlir/IR/Block.h"
#include "mlir/IR/Operation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace espmm::equivariant {

/// Erases, last to first, the operations of a block whose results nobody reads and that have no effects.
inline void eraseDeadOps(mlir::Block &block) {
  llvm::SmallVector<mlir::Operation *> ops;
  for (mlir::Operation &op : block.without_terminator())
    ops.push_back(&op);
  for (mlir::Operation *op : llvm::reverse(ops))
    if (mlir::isOpTriviallyDead(op))
      op->erase();
}

} // namespace espmm::equivariant

#endif // ESPMM_DIALECT_EQUIVARIANT_TRANSFORMS_UTILS_H
