//===- TileUnits.h - what a kernel may be cut into ---------------*- C++ -*-===//
#ifndef ESPMM_LIB_EQUIVARIANT_TILEUNITS_H
#define ESPMM_LIB_EQUIVARIANT_TILEUNITS_H

#include "Tile.h"

namespace espmm::equivariant {

/// Paths that belong together: they share a block of a row that is read, or add to the same block of a result.
struct Unit {
  llvm::SmallVector<unsigned> groups;
  llvm::SmallVector<unsigned> contributions;
  /// 32-bit registers that are live over the whole loop: blocks of grouped rows, and sums.
  int64_t registers = 0;
};

/// The units of a kernel whose edges are grouped by `side`, and how they are put together to tiles.
class TileUnits {
public:
  TileUnits(const KernelAnalysis &analysis, Access side, const ScheduleWishes &wishes);

  /// Finds the units; the kernel has to be one that is verified.
  void collect();

  const Unit &operator[](unsigned unit) const { return units[unit]; }

  /// The units of each tile, greedily in program order: a tile is full when its live values would crowd out the loop's own.
  llvm::SmallVector<llvm::SmallVector<unsigned>> getTiles();

  /// Tiles such that several of them are alike, up to `most`: the units of those alike, in an order in which they correspond to each other. Classes of as many
  /// units that are alike are put together as units are by `getTiles`.
  llvm::SmallVector<llvm::SmallVector<llvm::SmallVector<unsigned>>> getTilesAlike(size_t most);

  /// The contributions of units, those at the same place of units alike being alike.
  llvm::SmallVector<unsigned> getContributions(llvm::ArrayRef<unsigned> units) const;

  static bool isDouble(KernelOp kernel) { return mlir::cast<mlir::RankedTensorType>(kernel.getResultTypes().front()).getElementType().isF64(); }

private:
  bool isGrouped(Access access) const { return side != Access::Edge && access == side; }

  /// Rows that a kernel adds to in memory, by atomics.
  bool isAdded(Access access) const { return access != Access::Edge && !isGrouped(access); }

  /// Rows and sums that are in registers over the whole loop; without grouping, over all of an edge: what features and their gradients
  /// have.
  bool isHeld(Access access, mlir::Type row, mlir::Value block) const;

  void countRegisters(Unit &unit);
  int64_t getWords(mlir::Value value) const;

  /// Registers for what is held. A second derivative holds both rows and sums, and has twice as many products besides.
  int64_t getBudget();
  bool hasRows();
  bool hasSums();

  KernelOp kernel;
  const KernelAnalysis &analysis;
  Access side;
  ScheduleWishes wishes;
  llvm::SmallVector<Unit> units;
  /// What each contribution is computed by, as a number.
  llvm::SmallVector<int64_t> kinds;
};

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_TILEUNITS_H
