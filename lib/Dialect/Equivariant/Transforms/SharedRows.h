//===- SharedRows.h - rows in a warp's shared memory -------------*- C++ -*-===//
#ifndef ESPMM_LIB_EQUIVARIANT_SHAREDROWS_H
#define ESPMM_LIB_EQUIVARIANT_SHAREDROWS_H

#include "KernelAnalysis.h"

namespace espmm::equivariant {

constexpr int64_t warpSize = 32;

/// The parts of a row that a kernel works on, as contiguous runs, and where they lie in a warp's shared memory.
struct RowLayout {
  llvm::SmallVector<int64_t> runs, also;              // as in async_copy; `also` is empty if all instances have the same
  llvm::MapVector<int64_t, int64_t> positions;        // block offset in the row -> position in shared memory
  int64_t size = 0;                                   // elements in shared memory
  int64_t width = 1;                                  // elements copied at a time
  IrrepsAttr irreps;                                  // null: weights
  bool channels = false;

  void addRun(int64_t offset, int64_t slabStride, int64_t count, int64_t dim, int64_t mul) {
    runs.append({offset, slabStride, count, dim, mul});
    size += count;
  }
  /// A block of which a lane has that many channels; 0: it has none. `further`: its offsets in instances after the first.
  void addBlock(mlir::RankedTensorType block, int64_t offset, llvm::ArrayRef<int64_t> further, int64_t laneChannels);
};

/// The number of elements of a row that can be moved at once, at most 16 bytes: what all offsets, strides and counts are multiples of.
int64_t getCopyWidth(const RowLayout &layout, int64_t rowWidth, int64_t elementBytes);

/// The layouts of a kernel's operands that are not grouped (the others' stay empty), and of its results.
std::pair<llvm::SmallVector<RowLayout>, llvm::SmallVector<RowLayout>> planSharedRows(KernelAnalysis &analysis, ScheduleAttr schedule);

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_SHAREDROWS_H
