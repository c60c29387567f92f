//===- ChannelLoops.h - which einsums share a loop over channels -*- C++ -*-===//
#ifndef ESPMM_LIB_EQUIVARIANT_CHANNELLOOPS_H
#define ESPMM_LIB_EQUIVARIANT_CHANNELLOOPS_H

#include "KernelAnalysis.h"
#include "llvm/ADT/BitVector.h"

namespace espmm::equivariant {

/// Which elements of a factored kernel's values may be nonzero, the channel axis left out: row-major over the other dimensions.
class SupportOfValues {
public:
  const llvm::BitVector &get(mlir::Value value);
  unsigned count(mlir::Value value) { return get(value).count(); }

private:
  llvm::BitVector compute(mlir::Value value);
  llvm::BitVector computeEinsum(EinsumOp op);
  llvm::DenseMap<mlir::Value, std::unique_ptr<llvm::BitVector>> supports;
};

/// A part of a value, the channel axis left out.
struct Box {
  llvm::SmallVector<int64_t> offsets, sizes;
};

/// One pass over the channels of one path.
struct ChannelLoop {
  struct Sum {
    mlir::Operation *op;
    std::optional<Box> box; // absent: all of it
  };
  /// In program order; what it needs of them is computed in it, again if another loop did so before.
  llvm::SmallVector<mlir::Operation *> ops;
  /// Values that result rows get, and sums over channels that stay in registers from one vector of channels to the next.
  llvm::SmallVector<mlir::Value> stored;
  llvm::SmallVector<Sum> sums;
};

/// Cuts a kernel into loops such that what is live in one fits into the registers, as far as that goes: blocks that several
/// einsums of one path read are loaded once, but sums over channels with more elements than registers are taken in boxes. They go by where
/// the edge's weights lie that they read or give a gradient.
std::vector<ChannelLoop> planChannelLoops(const KernelAnalysis &analysis, SupportOfValues &support, int64_t registers);

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_CHANNELLOOPS_H
