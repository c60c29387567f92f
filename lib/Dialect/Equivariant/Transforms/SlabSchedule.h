//===- SlabSchedule.h - the numbers of a schedule of slabs -------*- C++ -*-===//
#ifndef ESPMM_LIB_EQUIVARIANT_SLABSCHEDULE_H
#define ESPMM_LIB_EQUIVARIANT_SLABSCHEDULE_H

#include "Tile.h"

namespace espmm::equivariant {

/// The slabs of a kernel, how many of them a warp works on at once, and how many instances the kernel has.
struct SlabRange {
  int64_t begin, end, slabs, instances = 1;
};

/// Chooses what nobody wished: how many edges are under way, and registers.
class SlabSchedule {
public:
  /// The kernel may be a part of one whose edges are grouped by `side`.
  SlabSchedule(KernelOp kernel, Access side, const SlabRange &range, const ScheduleWishes &wishes);

  /// Null if there is none as wished; an error is emitted then.
  ScheduleAttr get();
  explicit operator bool() const { return schedule != nullptr; }

  /// Bytes that a warp copies for each edge, as they are stored before a convert that the kernel may take in.
  int64_t countCopiedBytes();

  /// Registers that a thread will want.
  int64_t countRegisters();

private:
  bool isGrouped(Access access) const { return side != Access::Edge && access == side; }
  bool isDouble() { return mlir::cast<mlir::RankedTensorType>(kernel.getResultTypes().front()).getElementType().isF64(); }

  ScheduleAttr make(int64_t stages, int64_t registers);

  /// Slots of the ring of edges that are under way. Warps whose edges are short need more of them to keep memory busy.
  int64_t chooseStages(int64_t own);

  /// 128, 168 or 255: a multiprocessor then holds 16, 12 or 8 warps.
  int64_t chooseRegisters();

  /// Registers for an edge's own rows, and for the results of one: weights pass by one at a time and do not count.
  int64_t countEdgeRegisters();

  /// How many pieces of an edge's rows a lane moves, and has an address of, beside what 16 bytes at a time would take: rows that do not lie at multiples of
  /// 16 bytes go by the number.
  int64_t countNarrowPieces();

  KernelOp kernel;
  Access side;
  SlabRange range;
  ScheduleWishes wishes;
  ScheduleAttr schedule;
};

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_SLABSCHEDULE_H
