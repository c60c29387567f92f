//===- GPUKernelStaging.h - a kernel as warps over segments and slabs -----===//
//
//   a warp: some edges of one node (or a range of rows), one slab of channels, a channel a lane; or several slabs at once
//     once: its rows of grouped operands to registers, zeroed accumulators for grouped results
//     per edge: wait for its rows in shared memory; start the copies of the rows of an edge to come
//               the einsums, on registers
//               results by edge: through shared memory, so that they leave in whole lines
//     once: accumulators through shared memory, those of the warps that share a node added, to memory
//
//===----------------------------------------------------------------------===//
#ifndef ESPMM_LIB_EQUIVARIANT_GPUKERNELSTAGING_H
#define ESPMM_LIB_EQUIVARIANT_GPUKERNELSTAGING_H

#include "GPUFunction.h"
#include "KernelAnalysis.h"
#include "SharedRows.h"
#include "mlir/IR/IRMapping.h"

namespace espmm::equivariant {

class GPUKernelStaging {
public:
  /// Of the host function: `sharing`, how many warps share a node; `parts`, how many blocks may share a segment. Null: one.
  GPUKernelStaging(KernelOp kernel, GPUFunction &function, mlir::Value sharing, mlir::Value parts);

  /// How many blocks there are, of the host function.
  mlir::Value getBlocks() { return host.index().mul(blocks, schedule.getNumUnits()); }
  /// Shared memory that a block takes.
  int64_t getSharedBytes() const { return sharedSize * elementBytes * schedule.getWarps(); }

  /// What one of these blocks does.
  void stage(mlir::Value block);

  static ScheduleAttr getSchedule(KernelOp kernel) { return kernel->getAttrOfType<ScheduleAttr>("schedule"); }

private:
  /// An edge and the node at its other end; as int32 where they come from the plan, which has no larger ones.
  struct Ids {
    mlir::Value edge, node;
  };

  /// What an edge adds to, by result and offset: one of the contributions, and the sum of all.
  using Totals = llvm::MapVector<std::pair<unsigned, int64_t>, std::pair<Contribution, mlir::Value>>;

  //===-- Rows in shared memory ------------------------------------------===//

  bool isGrouped(Access access) const { return side != Access::Edge && access == side; }
  bool isSum(unsigned result) { return isGrouped(kernel.getResultAccess(result)); }

  /// Which rows pass through shared memory, and how.
  void planRows();

  /// Which instance and which slab of it a block has (of several the first), and which block of those that have these it is. All slabs of a node before the next
  /// node, so that rows by edge come from memory whole; or slab after slab, if rows are added to that only a slab at a time fit into the cache.
  mlir::Value takeSlab(mlir::Value block);

  Access otherSide() const { return side == Access::Receivers ? Access::Senders : Access::Receivers; }

  mlir::Value getArgument(mlir::Value hostValue, bool readOnly = true) { return function.getArgument(hostValue, readOnly); }
  mlir::Value getRowPointer(mlir::Value base, mlir::Value row, int64_t width) { return function.getRowPointer(base, row, width, element); }
  mlir::Value getInputRow(mlir::Value tensor, mlir::Value row) {
    return function.getRowPointer(getArgument(host.getBuffer(tensor)), row, getWidth(tensor), getStoredElement(tensor));
  }
  mlir::Value getDestination(mlir::Value tensor, mlir::Value row) {
    return function.getRowPointer(getArgument(host.getDestination(tensor), false), row, getWidth(tensor), getStoredElement(tensor));
  }
  static int64_t getElementBytes(mlir::Value tensor) { return getStoredElement(tensor).getIntOrFloatBitWidth() / 8; }
  mlir::Value getShared(mlir::Value slot, int64_t position) { return ix.address(slot, ix.constant(position), element); }

  //===-- A segment, or a range of rows ----------------------------------===//

  /// A segment's edges, or a part of them.
  void stageSegment(mlir::Value unit);

  /// The node whose edges a segment has: one with very many edges has several segments.
  mlir::Value loadNode(mlir::Value segment);

  void stageSegmentEdges(mlir::Value segment, mlir::Value begin, mlir::Value end);

  /// Sums over the warp's edges: to shared memory, where the ring was, and from there to the node's row. If warps share the
  /// node, all of them add up what each has.
  void writeSums(llvm::ArrayRef<mlir::Value> sums, mlir::Value segment);

  /// What is added up over the edges for a place of a row: a contribution, or what it is once it is scaled.
  mlir::Value getSummand(const Contribution &c);

  mlir::Value scaleSum(const Contribution &c, mlir::Value sum);

  void copyOutSums(mlir::Value segment, mlir::Value memory, mlir::Value thread, int64_t copies);

  void stageRows(mlir::Value unit);

  /// Memory strides of a block of irreps or weights: of its channels, and of its other dimensions.
  std::pair<int64_t, llvm::SmallVector<int64_t>> getGlobalStrides(mlir::RankedTensorType block, IrrepsAttr irreps);

  /// True in lanes that have the n-th of their channels of a block; null if every lane has it.
  mlir::Value getMask(int64_t mul, int64_t n);

  mlir::RankedTensorType getLaneType(mlir::RankedTensorType block) {
    return mlir::RankedTensorType::get(schedule.getLaneShape(block.getShape()), element);
  }

  /// How far a block of a row is from where it is in the first instance, in elements; null if it is there in all.
  mlir::Value getShift(BlockOp block);

  /// The instance that an asynchronous copy or a copy out takes if its runs are not the same in all.
  mlir::Value getInstance(const RowLayout &layout) { return layout.also.empty() ? mlir::Value() : instance; }
  mlir::DenseI64ArrayAttr getAlso(const RowLayout &layout) {
    return layout.also.empty() ? mlir::DenseI64ArrayAttr() : builder.getDenseI64ArrayAttr(layout.also);
  }

  // Grouped rows are read once, straight to registers: lanes without a channel read the last one's and take zero.
  void readGroupedBlocks();

  /// A node's blocks are scaled once, if nobody reads them unscaled: then that takes no more registers.
  void scaleGroupedBlocks();

  llvm::SmallVector<int64_t> getSmallStrides(mlir::RankedTensorType block, IrrepsAttr irreps);

  //===-- The loop over edges --------------------------------------------===//

  mlir::Value widen(mlir::Value id) {
    return id.getType().isInteger(64) ? id : mlir::arith::ExtSIOp::create(builder, loc, builder.getI64Type(), id).getResult();
  }

  mlir::Value loadNarrow(mlir::Value base, mlir::Value index);

  /// Those at a position, which is an edge's.
  Ids loadIds(mlir::Value position);

  /// Those at a position; zeros past the end.
  Ids loadIdsIfAny(mlir::Value position, mlir::Value end);

  mlir::Value getRow(Access access, const Ids &ids) { return widen(access == Access::Edge ? ids.edge : ids.node); }

  /// Starts the copies of an edge's rows, if there is such an edge.
  void issue(mlir::Value position, mlir::Value end, const Ids &ids, mlir::Value slot);

  /// Rows by edge of which each slab has a part of its own; nodes' rows will be read for other edges.
  static bool isReadOnce(Access access, const RowLayout &layout) { return access == Access::Edge && layout.channels; }

  mlir::Value getSlot(mlir::Value number) { return ix.address(warpMemory, ix.mul(number, slotSize), element); }

  // The ring: while the edge in slot s is worked on, the next ones' rows are on their way to the slots after it, and the copies
  // to the slot before it, whose edge is done, are started.
  llvm::SmallVector<mlir::Value> stageEdges(mlir::Value begin, mlir::Value end, mlir::Value step);

  unsigned findAccumulator(const Contribution &c);

  //===-- One edge -------------------------------------------------------===//

  void stageBody(mlir::Value slot, const Ids &ids, llvm::SmallVectorImpl<mlir::Value> &sums);

  mlir::Value readShared(BlockOp block, mlir::Value slot);

  /// Strides in shared memory: from lane to lane, and of what a lane has.
  std::pair<int64_t, llvm::SmallVector<int64_t>> getSharedStrides(mlir::RankedTensorType block, const RowLayout &layout);

  void writeShared(mlir::Value value, const Contribution &c);

  /// Rows that are sums over channels: every lane's share is summed over the warp, and added to the other slabs'.
  void writeSmallRows(Totals &totals, const Ids &ids);

  /// A result's row for an edge: the result itself, to add to, or this slab's copy of it, to write.
  mlir::Value getSmallRow(unsigned r, const Ids &ids);

  /// A copy of an op on small tensors: the channel axis stays in its subscripts only if a lane has several channels.
  mlir::Value cloneSmall(mlir::Operation *op, llvm::ArrayRef<mlir::Value> operands);

  KernelOp kernel;
  ScheduleAttr schedule;
  HostProgram &host;
  KernelAnalysis analysis;
  GPUFunction &function;
  mlir::OpBuilder &builder;
  IndexBuilder &ix;
  mlir::Location loc;
  Access side;
  mlir::Type element;
  int64_t elementBytes;

  mlir::Value sharing, parts, blocks; // of the host function; parts: of a segment, null if it is one
  mlir::Value unit, instance, slab, channel, warpMemory, order, other; // unit: of all instances; instance: null if there is one
  llvm::DenseMap<std::pair<int64_t, int64_t>, mlir::Value> masks;  // by multiplicity and number of the channel
  llvm::SmallVector<RowLayout> inputs, results;
  llvm::SmallVector<int64_t> inputPositions, resultPositions;  // in a slot; in the warp's memory
  int64_t slotSize = 0, sharedSize = 0;                  // of the warp
  llvm::DenseMap<unsigned, std::pair<mlir::Value, int64_t>> copies;
  llvm::DenseMap<unsigned, mlir::Value> groupedRows;
  llvm::SmallVector<Contribution> accumulators;
  mlir::IRMapping values;
};

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_GPUKERNELSTAGING_H
