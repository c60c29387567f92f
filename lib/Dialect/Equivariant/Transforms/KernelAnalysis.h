//===- KernelAnalysis.h - what a factored kernel computes with ---*- C++ -*-===//
#ifndef ESPMM_LIB_EQUIVARIANT_KERNELANALYSIS_H
#define ESPMM_LIB_EQUIVARIANT_KERNELANALYSIS_H

#include "espmm/Dialect/Equivariant/Transforms/Passes.h"
#include "llvm/ADT/EquivalenceClasses.h"
#include "llvm/ADT/MapVector.h"

namespace espmm::equivariant {

/// One block that a result row gets.
struct Contribution {
  unsigned result;
  int64_t offset;
  mlir::Value value;
};

/// Reads the body of a factored kernel: which values carry the channel axis, and which belong together.
class KernelAnalysis {
public:
  explicit KernelAnalysis(KernelOp kernel);
  mlir::LogicalResult verify();

  /// True if the value has the channel axis (letter u).
  bool hasChannels(mlir::Value value) const { return channels.lookup(value); }
  /// True if the value is a sum over channels, or computed from one.
  bool isChannelSum(mlir::Value value) const { return channelSums.lookup(value); }
  /// True if an operation has the channel axis in an operand: it belongs into a loop over channels.
  bool isChannelOp(mlir::Operation *op) const;
  int64_t getChannels(mlir::Operation *op) const;

  /// Operations with channels, in groups that share values with channels (other than blocks of rows), in program order.
  llvm::ArrayRef<llvm::SmallVector<mlir::Operation *>> getGroups() const { return groups; }
  llvm::ArrayRef<Contribution> getContributions() const { return contributions; }
  /// If a value is another one with channels, elementwise times constants that have none: that einsum.
  static EinsumOp getScaling(mlir::Value value);
  AssembleOp getAssemble(unsigned result);
  /// True if a row (a block argument or an assembled one) is used block by block with channels.
  bool isChannelRow(mlir::Value row) const { return channelRows.contains(row); }

  KernelOp kernel;

private:
  llvm::DenseMap<mlir::Value, bool> channels, channelSums;
  llvm::SmallVector<llvm::SmallVector<mlir::Operation *>> groups;
  llvm::SmallVector<Contribution> contributions;
  llvm::DenseSet<mlir::Value> channelRows;
};

/// True for a block, with channels, of a row of weights that has several weights a channel, next to each other: one for each channel of y.
bool isStridedWeights(mlir::Value row, mlir::RankedTensorType block);

/// The side whose nodes' edges a kernel works on together: receivers if it has them, else senders, else none.
Access chooseGroupSide(KernelOp kernel);

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_KERNELANALYSIS_H
