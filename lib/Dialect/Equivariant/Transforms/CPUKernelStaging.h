//===- CPUKernelStaging.h - a kernel as loops over edges and vectors *- C++ -*-===//
//
//   before: rows of operands at the other side to component order
//   a task: some nodes (or rows)
//     per node: its row of each grouped operand to component order, zeroed accumulators for each grouped result
//       per edge: weights for several channels of y to component order; small matrices without channels, packed in memory
//         per path: loops over vectors of channels; then what it summed over the channels, still spread over lanes
//         sums over lanes
//     per node: accumulators back to memory order
//     or, of rows that share weights, tiles of them side by side (CPURowTiles.cpp)
//   after: sums of the tasks' copies of results at the other side, and of their shares of what all rows sum
//
//===----------------------------------------------------------------------===//
#ifndef ESPMM_LIB_EQUIVARIANT_CPUKERNELSTAGING_H
#define ESPMM_LIB_EQUIVARIANT_CPUKERNELSTAGING_H

#include "CPUFunction.h"
#include "ChannelLoops.h"
#include "Nests.h"
#include "mlir/IR/IRMapping.h"

namespace espmm::equivariant {

/// Where the rows of an operand or result are found inside of the loops.
struct RowPlace {
  mlir::Value base; // of the current row, in memory or component order
  std::optional<ComponentOrder> buffer; // set: base is in component order
  mlir::Value next = {}; // the row that will be read after this one, if there is one in memory order
  mlir::Value memory = {}; // set: the row in memory order, where base is in component order
  mlir::TypeAttr stored = {}; // the type in memory order, if it is not that of arithmetic
};

class CPUKernelStaging {
public:
  CPUKernelStaging(KernelOp kernel, ScheduleAttr schedule, HostProgram &host, mlir::Type element)
      : kernel(kernel), schedule(schedule), host(host), analysis(kernel, schedule.getTileRows() > 1 ? LoopedAxes::Nests : LoopedAxes::All), function(host, kernel, element, ""),
        builder(function.builder), ix(function.ix), loc(kernel.getLoc()), side(schedule.getGroupBy()),
        lanes(schedule.getLanes()), tileRows(schedule.getTileRows()), elementBytes(element.getIntOrFloatBitWidth() / 8), element(element),
        vector(mlir::VectorType::get({lanes}, element)) {}

  mlir::LogicalResult run();

private:
  /// What a thread's stack has room for; and what a task may take of scratch memory.
  static constexpr int64_t mostNestBytes = 1 << 20, mostShareBytes = 256 << 10, mostBytesOfTask = 64 << 20;

  mlir::Value getArgument(mlir::Value hostValue) { return function.getArgument(hostValue); }
  mlir::Value getRowPointer(mlir::Value base, mlir::Value row, int64_t width) { return function.getRowPointer(base, row, width); }
  /// A row of an operand or result, in memory order.
  mlir::Value getTensorRow(mlir::Value tensor, mlir::Value row) {
    return function.getRowPointer(getArgument(host.getBuffer(tensor)), row, getWidth(tensor), getStoredElement(tensor));
  }
  /// The elements' type of a row in memory order.
  mlir::Type getType(mlir::TypeAttr stored) { return stored ? stored.getValue() : element; }
  Access otherSide() const { return side == Access::Receivers ? Access::Senders : Access::Receivers; }

  //===-- The loops around the body --------------------------------------===//

  void stageSegments();
  void stageRows();

  //===-- Rows side by side ----------------------------------------------===//

  /// The task's tiles.
  void stageRowTiles(mlir::Value first, mlir::Value last);
  /// One of them, of which so many rows are there.
  void stageRowTile(mlir::Value first, mlir::Value count, llvm::ArrayRef<RowPlace> inputs, llvm::ArrayRef<RowPlace> results);
  /// Rows of a tensor, transposed: if the tile is not whole, with zeros or without what is past the last.
  void copyIntoTile(mlir::Value tensor, mlir::Value tile, mlir::Value first, mlir::Value count, mlir::Value isPart);
  void copyOutOfTile(mlir::Value tensor, mlir::Value tile, mlir::Value first, mlir::Value count, mlir::Value isPart);
  void copyRows(mlir::Value from, mlir::Value to, mlir::Value tensor, mlir::Value count);

  //===-- Rows that all share --------------------------------------------===//

  /// So many rows are summed before their sum is added to the task's, with what rounding took from that kept beside it.
  static constexpr int64_t rowsOfShare = 16;
  /// Tiles that have summed their rows in registers.
  static constexpr int64_t rowsOfTiles = 64;
  int64_t getRowsOfShare() const { return tileRows > 1 ? rowsOfTiles : rowsOfShare; }

  /// A loop over rows, tiles of them or edges; a few at a time if there are sums over all of them.
  void loopOverRows(mlir::Value begin, mlir::Value end, llvm::ArrayRef<RowPlace> results, llvm::function_ref<void(mlir::Value)> body);

  bool isShared(Access access) const { return access == Access::All; }

  bool hasShares();

  /// Few enough that their shares are little beside the rows, and never as many as the threads.
  mlir::Value countSharingParts();
  int64_t getShareStride(unsigned r) { return pad(getWidth(kernel.getResult(r))); }

  /// What a task reads of shared rows, once, and where it sums what all rows share: some rows, and all of its rows.
  /// With tiles, `hasNoRows` says that a task has none.
  void openShared(llvm::SmallVectorImpl<RowPlace> &inputs, llvm::SmallVectorImpl<RowPlace> &results, mlir::Value hasNoRows = {});
  /// `isFirst` says that the task had no sum before.
  void addShares(llvm::ArrayRef<RowPlace> results, mlir::Value isFirst);

  //===-- Rows -----------------------------------------------------------===//

  RowPlace openInput(unsigned i, mlir::Value row);
  RowPlace openAccumulator(unsigned r);
  void closeAccumulator(unsigned r, const RowPlace &place, mlir::Value row);

  /// A task's own copy of a result that is summed at the other side, zeroed by the task; the copies are added after.
  void startPartial(unsigned r);
  RowPlace openPartial(unsigned r, mlir::Value node);

  //===-- One edge -------------------------------------------------------===//

  void stageEdge(mlir::Value edge, mlir::Value node, llvm::SmallVectorImpl<RowPlace> &inputs, llvm::SmallVectorImpl<RowPlace> &results);

  //===-- Weights that are strided ---------------------------------------===//

  int64_t pad(int64_t channels) { return (channels + lanes - 1) / lanes * lanes; }

  mlir::Value allocateBlock(mlir::Value block);
  void relayoutBlock(mlir::Value from, mlir::Value to, bool scatter, mlir::Value block, mlir::TypeAttr stored);
  mlir::Value getBlockPointer(const RowPlace &place, int64_t offset) { return ix.address(place.base, ix.constant(offset), getType(place.stored)); }

  /// Brings those of the operands to component order, and gives those of the results a buffer: of rows that all share, or of the others.
  void openBlocks(llvm::ArrayRef<RowPlace> inputs, llvm::ArrayRef<RowPlace> results, bool ofShared);
  void zeroBlock(const std::pair<mlir::Value, mlir::Value> &block);
  void closeBlocks(llvm::ArrayRef<RowPlace> results, bool ofShared);

  //===-- Loops over several multiplicities ------------------------------===//

  void stageNests(llvm::ArrayRef<RowPlace> inputs, llvm::ArrayRef<RowPlace> results);

  /// Where a block of a row, or of a result's row, is: in a buffer of its own, or in the row as that lies.
  NestPlace getPlace(mlir::Value tensor, const RowPlace &row, mlir::Value buffer, mlir::Value block, int64_t offset);

  /// A result by edge is written in place, unless its channels are strided or it is a sum of several blocks.
  RowPlace openEdgeResult(unsigned r, mlir::Value edge);

  //===-- Sums over channels, and what has no channels -------------------===//

  /// Writes sums over the channels, that are still spread over lanes, to their places, (result, offset), in memory order.
  void writeSums(const llvm::MapVector<std::pair<unsigned, int64_t>, mlir::Value> &sums, llvm::ArrayRef<RowPlace> results);

  /// The strides in a row of a small block without channels.
  llvm::SmallVector<int64_t> getRowStrides(mlir::Value tensor, mlir::RankedTensorType block);

  /// A value of the edge without channels, computed on demand at the insertion point.
  mlir::Value getScalars(mlir::Value value, llvm::ArrayRef<RowPlace> inputs, mlir::IRMapping &scalars);
  mlir::Value readScalars(BlockOp block, llvm::ArrayRef<RowPlace> inputs);

  /// A copy of an op on small tensors, without the channel axis in its subscripts.
  mlir::Value cloneSmall(mlir::Operation *op, llvm::ArrayRef<mlir::Value> operands);

  /// True if no sum over channels that a value is computed from has loops to come.
  bool isKnown(mlir::Value value, const llvm::DenseMap<mlir::Operation *, int64_t> &open);

  //===-- One loop over channels -----------------------------------------===//

  /// What is computed without channels and read in loops over them lies packed in a buffer: a multiply-add there takes it as a
  /// broadcast from memory.
  void stageMatrices(llvm::ArrayRef<RowPlace> inputs);
  llvm::SmallVector<int64_t> getPacked(mlir::Value value);
  void stageLoop(const ChannelLoop &plan, llvm::ArrayRef<RowPlace> inputs, llvm::ArrayRef<RowPlace> results, mlir::IRMapping &scalars);

  /// Rows of the next edge come to the cache while this one is worked on: block after block, in an order no hardware foresees.
  void prefetch(const ChannelLoop &plan, llvm::ArrayRef<RowPlace> inputs, mlir::Value channel);
  mlir::Value readOperand(mlir::Value operand, llvm::ArrayRef<RowPlace> inputs, mlir::Value channel, mlir::Value mask);

  /// Strides of a block's small dimensions where channels are next to each other.
  llvm::SmallVector<int64_t> getChannelStrides(mlir::RankedTensorType block, int64_t componentStride);
  mlir::RankedTensorType getLaneType(mlir::RankedTensorType block);
  mlir::Value readBlock(BlockOp block, llvm::ArrayRef<RowPlace> inputs, mlir::Value channel, mlir::Value mask);
  void writeBlock(const Contribution &c, mlir::Value value, llvm::ArrayRef<RowPlace> results, mlir::Value channel, mlir::Value mask);

  KernelOp kernel;
  ScheduleAttr schedule;
  HostProgram &host;
  KernelAnalysis analysis;
  CPUFunction function;
  mlir::OpBuilder &builder;
  IndexBuilder &ix;
  mlir::Location loc;
  Access side;
  int64_t lanes, tileRows, elementBytes;
  mlir::Type element;
  mlir::VectorType vector;

  SupportOfValues support;
  int64_t nestBytes = 0; // of the buffers that nests share
  std::vector<ChannelLoop> loops;
  mlir::Value nextEdge; // set: the edge after the current one
  llvm::DenseSet<mlir::Value> prefetched; // blocks of the next edge that an earlier loop asks for
  using BlockKey = std::pair<unsigned, int64_t>; // an operand or result, and an offset in its rows
  llvm::DenseMap<BlockKey, mlir::Value> inputBlocks; // of the current edge: buffers in component order
  llvm::MapVector<BlockKey, std::pair<mlir::Value, mlir::Value>> resultBlocks; // buffers, and what they are for
  mlir::Value matrices; // of the current edge
  mlir::Value partOfTile; // rows of one tensor, where a tile has fewer than that
  llvm::MapVector<mlir::Value, int64_t> matrixOffsets; // value -> place in there

  mlir::Value numParts; // tasks, a value of the host function
  struct Partial {
    mlir::Value scratch; // of the host function: a copy for each task
    mlir::Value copy; // in the kernel: the task's own
  };
  llvm::MapVector<unsigned, Partial> partials; // by result
  struct Share {
    mlir::Value scratch; // of the host function: for each task its sum, what rounding took from it, and maybe the sum of some rows
    mlir::Value sum; // in the kernel: the task's own
    int64_t rows; // of a task
  };
  llvm::MapVector<unsigned, Share> shares; // by result
  llvm::MapVector<unsigned, mlir::Value> converted; // operand -> scratch with its rows in component order
};

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_CPUKERNELSTAGING_H
