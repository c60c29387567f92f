//===- NestPlan.h - how einsums over several multiplicities run -*- C++ -*-===//
//
// What `NestStaging` will write, decided beforehand: which operations are computed where their user is, in which order the others go and where
// they wait for each other, what memory their buffers take, and the shape of each one's loops.
//
//===----------------------------------------------------------------------===//
#ifndef ESPMM_LIB_EQUIVARIANT_NESTPLAN_H
#define ESPMM_LIB_EQUIVARIANT_NESTPLAN_H

#include "KernelAnalysis.h"
#include <optional>
#include <vector>

namespace espmm::equivariant {

/// Memory that buffers share, in elements: who is given up makes room.
class NestArena {
public:
  explicit NestArena(mlir::Type element) : line(64 / (element.getIntOrFloatBitWidth() / 8)) {}
  /// Where so many elements are from now on.
  int64_t allocate(int64_t count);
  void release(int64_t offset);
  /// What was in use at once, at most.
  int64_t getSize() const { return size; }

private:
  int64_t line, size = 0;
  llvm::SmallVector<std::pair<int64_t, int64_t>> used; // in order, by begin and end
};

/// The letter of rows that are worked on side by side, in lanes: it comes after all others.
constexpr char rowLetter = '~';

/// What a warp multiplies at once on matrix units, as `matrix_product` does; without them there are no rows.
struct MatrixUnits {
  int64_t rows = 0, columns = 0, summed = 0;
  int64_t terms = 1;
  /// How many instructions it takes to have a number of a factor.
  int64_t ofNumber = 1;
};

/// What a target can do at once.
struct NestLimits {
  int64_t lanes;
  /// How many summands are taken at a time, of all results that are had at once, how many results at positions of one letter, and how many sums over lanes.
  int64_t summands = 1, block = 1, sums = 1;
  /// Who works on a row, or on all rows at once: loops are shared out among so many.
  int64_t parts = 1;
  /// With rows, all that depends on a row that not all share is had for so many of them at once.
  int64_t rows = 0;
  /// What buffers may take for values that are computed before they have to be, in elements.
  int64_t early = 0;
  /// Of values that are the same in all lanes, how large those are that each of their users computes.
  int64_t recomputed = 0;
  /// True if lanes are threads, that may be in groups, and find what they have written themselves.
  bool lanesAreThreads = false;
  /// Operations that read the same weights share loops if what they hold at once is at most so many numbers a lane.
  int64_t shared = 0;
  /// Of sums over rows with channels in lanes, how many rows are taken at a time, each in a sum of its own.
  int64_t rowSummands = 1;
  /// True if code is better short: loops are not unrolled further, and operations alike share theirs.
  bool keepsCodeShort = false;
  /// Elements from a number of one row to the next number of it in a buffer, if it is not the number of rows.
  int64_t rowPitch = 0;
  MatrixUnits units = {};
};

/// An operation that is a sum of products of matrices: the letters of the rows and columns of its result, and the one that is summed. Either there is a product for
/// rows that are worked on side by side, or the sum is over them.
struct NestMatrix {
  char row = 0, column = 0, summed = 0;
  /// How many tiles of the result, in its rows and its columns, a part has at once.
  int64_t rowTiles = 1, columnTiles = 1;
  /// Factors, with rows and with columns, and what is done with their components.
  struct Product {
    mlir::Value left, right;
    std::string subscripts;
  };
  llvm::SmallVector<Product> products = {};
};

/// The loops of an operation.
struct NestShape {
  std::map<char, int64_t> kept, looped; // letters of the result, and all; with their extents
  llvm::SmallVector<char> summed;       // without the one in lanes
  char laneLetter = 0;
  bool sumsLanes = false;
  /// Several positions of one of the result's letters are computed at once: what does not have it is read once for all of them, and sums over lanes are
  /// taken together. Of one letter that is summed, several positions are added at once.
  char blockLetter = 0, unrolledLetter = 0;
  int64_t block = 1, unrolling = 1;
  /// Sums are kept apart by so many of the positions that are added at once: those over rows, to be as exact as sums in pairs.
  int64_t sums = 1;
  /// Lanes for which there are no elements take those of other positions of another letter.
  char groupLetter = 0;
  int64_t groups = 1;
  /// Of operations that share loops: how many vectors, or warps, of lanes each of them has at once.
  int64_t vectors = 1;
  /// A part has a share of the sum only: it goes through memory to the one that adds them up.
  bool sumsParts = false;
  /// Matrix units do it: then no letter is in lanes.
  std::optional<NestMatrix> matrix = {};

  bool operator==(const NestShape &other) const;
  /// Whether it sums over rows, with channels in lanes.
  bool sumsRows() const { return laneLetter && laneLetter != rowLetter && looped.count(rowLetter); }
  /// Whether parts have a share of the loops.
  bool isShared() const { return blockLetter != 0 || matrix; }
  int64_t getStep(char letter, int64_t lanes) const;
  /// Subscripts, or some letters of them, without those that have loops.
  std::string dropLooped(llvm::StringRef subscripts) const;
  /// The letters that are not in lanes, in the order of their loops.
  llvm::SmallVector<char> getOuter() const;
};

class NestPlan {
public:
  NestPlan(const KernelAnalysis &analysis, const NestLimits &limits);

  struct Step {
    /// One, or several that share loops.
    llvm::SmallVector<mlir::Operation *> ops;
    /// What earlier steps wrote is read, or added to, by another: it has to be there. Then memory of buffers that nobody reads any more is free as well.
    bool separates;
    llvm::SmallVector<mlir::Value> released;
    /// The part that does it, or, of matrices, the one that has their first tiles, if they do not share it otherwise.
    int64_t owner = 0;
    /// The loops of operations that share some, or of one that is alone in such: over all letters but the one in lanes, all or many of whose positions are had at once.
    NestShape loops = {};
    /// Operations that do what the one does, with what lies elsewhere: its code does them too. What nobody shares, each part does for one of them, from the owner on.
    llvm::SmallVector<mlir::Operation *> alike = {};
    llvm::SmallVector<mlir::Operation *> getAll() const {
      llvm::SmallVector<mlir::Operation *> all(ops);
      llvm::append_range(all, alike);
      return all;
    }
  };
  llvm::ArrayRef<Step> getSteps() const { return steps; }
  const NestShape &getShape(mlir::Operation *op) const { return shapes.find(op)->second; }
  bool isByRow(mlir::Value value) const { return byRow.contains(value); }
  /// False if a value is needed both for each row and summed over them, which takes a kernel that has one row at a time.
  bool canSumOverRows() const { return sumsOverRows; }

  /// The multiplicities of a value over which it takes a loop to go.
  std::map<char, int64_t> getLoops(mlir::Value value) const;
  /// True if an operation is computed where its users are: there is one, and it has all loops of that and no sum over one; or it has no loops at all.
  bool isInlined(mlir::Operation *op) const;
  /// True if an operation's value has a buffer.
  bool hasBuffer(mlir::Operation *op) const;
  /// From a number of a row in a buffer to the next one.
  int64_t getRowPitch() const { return limits.rowPitch ? limits.rowPitch : limits.rows; }
  /// Elements of a value's buffer.
  int64_t getBufferSize(mlir::Value value) const;
  /// True if sums over lanes go where later operations read them, and nowhere else.
  bool isLaneSumInPlace(mlir::Operation *op) const;
  /// What an operation reads, with those inlined in it: blocks of rows, and buffers.
  void collectLeaves(mlir::Operation *op, llvm::SmallVectorImpl<mlir::Value> &leaves) const;
  /// True if an operation does what another does. `leaves` are what they read, in pairs.
  bool areAlike(mlir::Operation *op, mlir::Operation *other, llvm::MapVector<mlir::Value, mlir::Value> &leaves) const;
  /// What a sum over rows reads with channels in lanes: where lanes are a vector's, these have to be next to each other, and not the rows.
  void collectTurned(mlir::Operation *op, llvm::SmallVectorImpl<mlir::Value> &read) const;
  /// How far a row then is from the next one, for so many channels.
  int64_t getPaddedExtent(int64_t extent) const { return (extent + limits.lanes - 1) / limits.lanes * limits.lanes; }
  /// How many of a value's elements there are at a position of some loops.
  int64_t countElements(mlir::Value value, const std::map<char, int64_t> &looped) const;
  /// Elements of memory that an operation takes while it is computed.
  int64_t countTemporaries(mlir::Operation *op) const;
  /// Numbers that an operation works with at once, at most: of what it reads and what it computes.
  int64_t countLive() const;
  /// How many pieces there are of an operation on matrices: so many tiles of the result each.
  int64_t countPieces(const NestShape &shape) const;
  /// About how many instructions go by from the first operation to the last one: of the part that has most to do, each time that they wait for each other.
  int64_t getSpan() const { return span; }
  /// True if matrix units do some of it.
  bool hasMatrices() const {
    return llvm::any_of(shapes, [](const auto &entry) { return entry.second.matrix.has_value(); });
  }
  /// The value whose buffer is the largest; none without buffers.
  mlir::Value findLargest() const;
  /// What all buffers take, beside rows of so many elements.
  int64_t measure(mlir::Type element, llvm::ArrayRef<int64_t> rows) const;

  const NestLimits limits;

private:
  void findRows();
  NestShape makeShape(mlir::Operation *op) const;
  /// The matrices that an operation multiplies, if the units are worth it.
  std::optional<NestMatrix> makeMatrix(mlir::Operation *op, const NestShape &shape) const;
  /// The products that an operation sums; false if it is something else.
  bool collectProducts(mlir::Operation *op, const NestShape &shape, llvm::SmallVectorImpl<EinsumOp> &products) const;
  /// How many tiles of the result a part has at once, of so many elements each.
  void chooseTiles(NestMatrix &matrix, const NestShape &shape, int64_t elements) const;
  /// How many components there are of a step's factors, of all products.
  int64_t countComponents(const NestMatrix &matrix, const NestShape &shape, int64_t elements) const;
  int64_t countStep(int64_t rowTiles, int64_t columnTiles) const;
  std::array<int64_t, 2> countTiles(const NestMatrix &matrix, const NestShape &shape) const;
  int64_t countPieceWork(mlir::Operation *op, const NestShape &shape) const;
  /// About how many instructions an operation takes, with those inlined in it.
  int64_t countWork(mlir::Operation *op, const NestShape &shape) const;
  int64_t countWork(mlir::Operation *op) const { return countWork(op, getShape(op)); }
  /// Puts operations together that share loops: what all of them read, weights above all, is then read once.
  void shareLoops();
  /// True if loops over all letters, those of sums last, serve an operation: it sums over lanes, or over the last letters besides.
  bool mayShareLoops(mlir::Operation *op) const;
  /// What these hold all the time, and what for a position of the innermost loop besides, in numbers a lane. A warp has loads of all positions under way; a vector
  /// that is read is used up before the next one is.
  std::pair<int64_t, int64_t> countHeld(llvm::ArrayRef<mlir::Operation *> ops, llvm::ArrayRef<mlir::Value> leaves, const NestShape &shape) const;
  /// The loops that these would share; nothing if they would hold too much.
  std::optional<NestShape> makeSharedShape(llvm::ArrayRef<mlir::Operation *> ops) const;
  /// True if operations run in loops like that: several, or one in vectors, which then reads one after the other what lies so in memory.
  bool haveSharedLoops(llvm::ArrayRef<mlir::Operation *> ops) const;
  /// True if an operation cannot begin before one of a unit has ended.
  bool dependsOn(llvm::ArrayRef<mlir::Operation *> ops, unsigned unit) const;
  /// The order of operations, and what waits for what.
  class Order;
  void order();
  /// The values in buffers that an operation reads, with those inlined in it.
  void collectRead(mlir::Operation *op, llvm::SmallVectorImpl<mlir::Value> &read) const;

  const KernelAnalysis &analysis;
  bool sumsOverRows = true;
  int64_t span = 0;
  llvm::DenseSet<mlir::Value> byRow;
  llvm::DenseMap<mlir::Operation *, NestShape> shapes;
  llvm::SmallVector<llvm::SmallVector<mlir::Operation *>> units; // of operations that share loops
  llvm::DenseMap<mlir::Operation *, unsigned> unitOf;
  std::vector<Step> steps;
};

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_NESTPLAN_H
