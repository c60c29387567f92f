//===- KernelAnalysis.h - what a factored kernel computes with ---*- C++ -*-===//
#ifndef ESPMM_LIB_EQUIVARIANT_KERNELANALYSIS_H
#define ESPMM_LIB_EQUIVARIANT_KERNELANALYSIS_H

#include "espmm/Dialect/Equivariant/Transforms/Passes.h"
#include "llvm/ADT/EquivalenceClasses.h"
#include "llvm/ADT/MapVector.h"
#include <map>

namespace espmm::equivariant {

/// One block that a result row gets.
struct Contribution {
  unsigned result;
  int64_t offset;
  mlir::Value value;
  llvm::ArrayRef<int64_t> further; // offsets in instances after the first; empty if they are the same
  bool isOfNest = false;
};

/// Which multiplicities a target runs loops over; what it runs none over is unrolled, as components are.
enum class LoopedAxes {
  Channels, // letter u
  All,      // u, v and w, short ones apart
  Nests     // the same, in nests alone
};

/// Reads the body of a factored kernel: which values carry the channel axis, and which belong together.
class KernelAnalysis {
public:
  explicit KernelAnalysis(KernelOp kernel, LoopedAxes axes = LoopedAxes::Channels);
  mlir::LogicalResult verify();

  /// True if the value has the channel axis (letter u).
  bool hasChannels(mlir::Value value) const { return channels.lookup(value); }
  /// True if the value is a sum over channels, or computed from one.
  bool isChannelSum(mlir::Value value) const { return channelSums.lookup(value); }
  /// True if an operation has the channel axis in an operand: it belongs into a loop over channels.
  bool isChannelOp(mlir::Operation *op) const;
  int64_t getChannels(mlir::Operation *op) const;

  /// Letters of a value's dimensions, as the einsums around it name them.
  llvm::StringRef getLetters(mlir::Value value) const;
  /// The letters that have loops, in alphabetical order, and their extents.
  std::map<char, int64_t> getLooped(mlir::Value value) const;
  /// How many of a value's dimensions there are up to the last one that has a loop.
  unsigned getLoopedRank(mlir::Value value) const;
  /// A block's elements as [those dimensions, the others].
  std::pair<int64_t, int64_t> getLoopedShape(mlir::Value block) const;
  /// True for a block of a row of weights if the last dimension that has a loop is strided in memory.
  bool isStridedWeights(mlir::Value row, mlir::Value block) const;

  /// Operations that have loops of their own over several multiplicities, in program order, with all that they exchange values with.
  llvm::ArrayRef<mlir::Operation *> getNests() const { return nests; }
  bool isNest(mlir::Operation *op) const { return nestSet.contains(op); }

  /// Operations with channels, in groups that share values with channels (other than blocks of rows), in program order.
  llvm::ArrayRef<llvm::SmallVector<mlir::Operation *>> getGroups() const { return groups; }
  llvm::ArrayRef<Contribution> getContributions() const { return contributions; }
  /// If a value is another one with channels, elementwise times constants that have none: that einsum.
  static EinsumOp getScaling(mlir::Value value);
  AssembleOp getAssemble(unsigned result);
  /// True if a row (a block argument or an assembled one) has a block with a loop over its multiplicity.
  bool isChannelRow(mlir::Value row) const { return channelRows.contains(row); }

  KernelOp kernel;

private:
  void findLetters();
  void findNests();
  bool isLooped(char letter, int64_t extent) const;

  LoopedAxes axes;
  bool loopsOverShort = false;
  llvm::DenseMap<mlir::Value, std::string> letters;
  llvm::DenseMap<mlir::Value, bool> channels, channelSums;
  llvm::SmallVector<mlir::Operation *> nests;
  llvm::DenseSet<mlir::Operation *> nestSet;
  llvm::SmallVector<llvm::SmallVector<mlir::Operation *>> groups;
  llvm::SmallVector<Contribution> contributions;
  llvm::DenseSet<mlir::Value> channelRows;
};

/// The elements of a row of a tensor, and its irreps, if it has some.
inline int64_t getWidth(mlir::Value tensor) { return mlir::cast<mlir::RankedTensorType>(tensor.getType()).getShape().back(); }
inline IrrepsAttr getIrreps(mlir::Value tensor) {
  return mlir::dyn_cast_or_null<IrrepsAttr>(mlir::cast<mlir::RankedTensorType>(tensor.getType()).getEncoding());
}

/// The type that its elements have in memory; as an attribute null if they are computed with in it.
inline mlir::Type getStoredElement(mlir::Value tensor) { return mlir::cast<mlir::RankedTensorType>(tensor.getType()).getElementType(); }
inline mlir::TypeAttr getStored(mlir::Value tensor) {
  return isNarrow(getStoredElement(tensor)) ? mlir::TypeAttr::get(getStoredElement(tensor)) : mlir::TypeAttr();
}

/// True if there is more to a kernel than slabs of channels on a GPU can do.
bool needsNests(KernelOp kernel);

/// True if some row of a kernel is of that side.
bool hasRowsAt(KernelOp kernel, Access side);

/// The side whose nodes' edges a kernel works on together: what its schedule says; without one receivers if it has them, else senders, else none.
Access chooseGroupSide(KernelOp kernel);

/// Tensors with a row for each edge (or row of a batch): inputs, then results.
llvm::SmallVector<mlir::Value> getEdgeTensors(KernelOp kernel);

/// True if what nests give covers a result's rows: its blocks need no zeros then, if the first one that is given is written and not added.
bool coversRow(const KernelAnalysis &analysis, unsigned result);

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_KERNELANALYSIS_H
