//===- Nests.h - einsums over several multiplicities ------------*- C++ -*-===//
//
//   for each operation of a nest, by itself:
//     loops over the multiplicities of the result; the last one of the operands' is spread over lanes, if the result has it
//       loops over those that are summed
//         the operation, on components
//       if the last one of the operands' is summed: for some of the result's last at a time, so that their sums over lanes are taken together and end up
//       a lane each
//     to the buffer that later operations read, and to the rows of results
//   or, of products of matrices, as NestMatrices.cpp says
//   or for some that read the same weights, together:
//     what has none of the loops' letters is read; loops over all letters but the one in lanes, all of whose positions are had at once; sums over the last
//     letters go through them
//       the operations, each value read once; sums over lanes of some positions at once
//
// Weights of a row or an edge, [u, v, w], are so read once, as they lie in memory; all else stays in the cache. Lanes are a vector's on the CPU, a warp's
// on the GPU.
//
//===----------------------------------------------------------------------===//
#ifndef ESPMM_LIB_EQUIVARIANT_NESTS_H
#define ESPMM_LIB_EQUIVARIANT_NESTS_H

#include "HostProgram.h"
#include "NestPlan.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace espmm::equivariant {

/// Where the elements of a small tensor with loops are: at `base + offset`, and a stride for each dimension.
struct NestPlace {
  mlir::Value base;
  int64_t offset = 0;
  llvm::SmallVector<int64_t> strides;
  bool accumulate = false;
  mlir::TypeAttr stored = {}; // of the elements there, if it is not the type of arithmetic
  int64_t rowStride = 1; // from row to row, where several are worked on side by side
  mlir::Value shift = {}; // of the base, in elements: where it depends on which of several operations alike is done
};

/// Where a block of a row is, as that lies in memory.
NestPlace placeInRow(mlir::Value tensor, mlir::Value row, mlir::RankedTensorType block, int64_t offset);

/// What a nest asks of the function that it is written into.
class NestTarget {
public:
  NestTarget(mlir::OpBuilder &builder, IndexBuilder &ix, mlir::Location loc, mlir::Type element, const NestLimits &limits)
      : builder(builder), ix(ix), loc(loc), element(element), limits(limits), lanes(limits.lanes), arena(element) {}
  virtual ~NestTarget() = default;

  /// The type of what the lanes hold of an element.
  virtual mlir::Type getLaneType() = 0;
  /// So many elements of the memory that buffers share.
  mlir::Value allocate(int64_t count);
  /// A buffer will not be read again: another may lie there.
  void release(mlir::Value buffer);
  /// Says how much memory that is, in elements, once all buffers are known.
  int64_t finish();
  virtual void fillWithZeros(mlir::Value buffer, int64_t count) = 0;
  /// What was written before, by all who work on the nests, is read after.
  virtual void separate() = 0;
  /// What of a matrix is at source + r * stride + c goes to target + c * stride + r, so many rows and columns.
  virtual void transpose(mlir::Value source, int64_t sourceStride, mlir::Value target, int64_t targetStride, int64_t rows, int64_t columns) { llvm_unreachable("lanes that are threads read with any stride"); }
  /// The same among lanes.
  virtual void separateLanes() { separate(); }
  /// Which one of the parts this is.
  virtual mlir::Value getPart() { return mlir::Value(); }
  /// Which one of so many groups the lane is in.
  virtual mlir::Value getGroup(int64_t groups) { return mlir::Value(); }
  /// What `read` and `write` take for lanes from a position on, of so many, in a group.
  virtual mlir::Value getLane(mlir::Value position, int64_t extent, int64_t groups) = 0;
  /// Whether lanes past the end may read: what the last one does.
  virtual bool readsPastEnd() = 0;
  /// The lanes whose number in their group is less than that.
  virtual mlir::Value getMask(mlir::Value count, int64_t groups) = 0;
  /// How many elements the address of rows or a buffer is known to be a multiple of.
  virtual int64_t getAlignment(mlir::Value base) { return 1; }
  /// The same pointer, whatever has to be hidden from what would compute the addresses of all operations beforehand.
  virtual mlir::Value hide(mlir::Value pointer) { return pointer; }
  /// The same for a number of 32 bits, of which such addresses are made.
  virtual mlir::Value hideNumber(mlir::Value number) { return number; }
  /// The loops of another operation begin.
  virtual void begin() {}
  /// Does something in one lane.
  virtual void once(llvm::function_ref<void()> emit) = 0;
  /// Lane n of each group goes to address + n * stride.
  virtual void store(mlir::Value value, mlir::Value address, int64_t stride, mlir::Value mask, bool accumulate, int64_t groups, mlir::TypeAttr stored) = 0;
  /// True if sums at an address are added to by atomic operations, which nobody waits for.
  virtual bool addsInMemory(mlir::Value address) { return false; }
  /// The type of elements in memory.
  mlir::Type getElement(mlir::TypeAttr stored) const { return stored ? stored.getValue() : element; }

  mlir::OpBuilder &builder;
  IndexBuilder &ix;
  mlir::Location loc;
  mlir::Type element;
  const NestLimits limits;
  int64_t lanes;

  /// Where in the memory that buffers share a pointer points; nothing if it is to other memory.
  std::optional<int64_t> findOffset(mlir::Value base) const {
    auto it = offsets.find(base);
    return it == offsets.end() ? std::nullopt : std::optional(it->second);
  }

protected:
  bool isBuffer(mlir::Value base) const { return offsets.contains(base); }
  /// What buffers share, and its size, a constant that `finish` sets; made by the target.
  mlir::Value memory, memorySize;
  /// Till then, a number that nothing folds away.
  static constexpr int64_t unknownSize = 1 << 20;

private:
  NestArena arena;
  llvm::DenseMap<mlir::Value, int64_t> offsets;
};

class NestStaging {
public:
  NestStaging(const KernelAnalysis &analysis, NestTarget &target)
      : analysis(analysis), plan(analysis, target.limits), target(target), builder(target.builder), ix(target.ix), loc(target.loc), narrow(builder, loc, 32), lanes(target.lanes) {}

  /// Emits what an edge needs of all nests; `getTarget` is asked once for each contribution, in the order in which they are written. The last dimension of a block that has a loop has stride 1 in its place, or lanes take it with its stride.
  void run(llvm::function_ref<NestPlace(BlockOp)> getBlock, llvm::function_ref<NestPlace(const Contribution &)> getTarget);

private:
  void stage(mlir::Operation *op, int64_t owner);
  /// The loops of an operation by itself, of the letter in lanes those over `laneRange`.
  void stageRange(mlir::Operation *op, int64_t owner);
  struct Range {
    int64_t begin = 0, end = 0;
  };
  /// All positions of the letter in lanes; or those of whole vectors and those of the last, whose mask is known then.
  llvm::SmallVector<Range> getLaneRanges();
  /// What is emitted from now on is of an operation, or of several, with this shape.
  void begin(const NestShape &shape);

  /// Operations that share loops, and what they have between these.
  struct Shared {
    llvm::ArrayRef<mlir::Operation *> ops;
    llvm::SmallVector<mlir::Value> leaves;
    llvm::SmallVector<std::pair<mlir::Value, mlir::Value>> lanes; // all of them, a vector or warp at a time, and their masks
    llvm::MapVector<mlir::Operation *, llvm::SmallVector<mlir::Value>> sums; // over outer letters
  };
  void stageTogether(const NestPlan::Step &step);
  /// The loops from the letter of this number on; `known` of each of `shared.lanes`.
  void stageLoops(Shared &shared, llvm::SmallVector<llvm::DenseMap<mlir::Value, mlir::Value>> known, size_t level);
  void stageBody(Shared &shared, llvm::SmallVector<llvm::DenseMap<mlir::Value, mlir::Value>> known);
  /// A position of a letter, and where it is not past the end; null if it never is.
  struct Position {
    mlir::Value at, isWithin;
  };
  /// Of a number that may be past an extent: what is read there instead.
  Position makePosition(mlir::Value at, int64_t extent, bool mayBePast);
  /// Which one a part is from the first on.
  mlir::Value getTurn(int64_t first);
  /// On matrix units, whose first tiles are that part's.
  void stageMatrix(mlir::Operation *op, int64_t first);
  void stagePairs(mlir::Operation *op, int64_t owner);
  /// For each pair of channels, what the first or second of them has, or adds to it.
  void stagePairs(mlir::Operation *op, bool adds, mlir::Value source, const NestPlace &from, const NestPlace &to);
  /// The operation's value at the positions of the loops.
  mlir::Value compute(mlir::Operation *op, llvm::DenseMap<mlir::Value, mlir::Value> &known, char moving);
  mlir::Value getOperand(mlir::Value operand, llvm::DenseMap<mlir::Value, mlir::Value> &known, char moving);
  /// To the buffer of a result, if an operation reads it, and to the rows that get it.
  void writeResult(mlir::Value result, llvm::function_ref<void(const NestPlace &)> write);
  /// Sums over lanes of as many values, each at a position of the result's last letter: in lanes then.
  void writeLaneSums(mlir::Value result, llvm::ArrayRef<mlir::Value> spread, char letter);
  /// Sums over groups of lanes of a value, whose last letter is in the lanes of each.
  void writeGroupSums(mlir::Value result, mlir::Value spread);
  /// Scalars in lanes, one for each element of a small tensor, to where a letter's positions lie.
  void storeElements(mlir::Value result, mlir::RankedTensorType type, llvm::ArrayRef<mlir::Value> elements, char letter, mlir::Value valid);
  /// Sums over lanes of one value's elements, one after the other.
  void storeLaneSums(mlir::Value spread, mlir::Value to);
  /// Sums over lanes of one value, which then is the same in all.
  mlir::Value sumLanes(mlir::Value spread);

  NestPlace makeBuffer(mlir::Value value);
  /// Copies what an operation reads with a letter in lanes so that this letter's positions are next to each other, and not the rows.
  void turn(mlir::Value value, char letter);
  mlir::Value read(mlir::Value value, const NestPlace &place);
  void write(mlir::Value elements, mlir::Value value, const NestPlace &place);
  mlir::Value getBase(mlir::Value value, const NestPlace &place);
  /// Where an operation reads a block of a row, or a buffer.
  NestPlace getSource(mlir::Value value);
  /// The operations that are done by the code of a step's one, and what they read in place of what that reads.
  void findAlike(const NestPlan::Step &step);
  /// Begins a loop over operations alike.
  void enterAlike(int64_t owner);
  /// A place of which there are others for operations alike.
  NestPlace shift(NestPlace place, llvm::ArrayRef<NestPlace> others);
  llvm::SmallVector<std::pair<mlir::Value, int64_t>> getSteps(mlir::Value value, const NestPlace &place);
  int64_t getAlignment(mlir::Value value, const NestPlace &place);
  llvm::SmallVector<int64_t> dropLooped(mlir::Value value, llvm::ArrayRef<int64_t> ofDimensions);
  mlir::RankedTensorType getSmallType(mlir::Value value, bool inLanes);
  bool isInLanes(mlir::Value value) {
    return shape.laneLetter == rowLetter ? plan.isByRow(value) : shape.laneLetter && analysis.getLetters(value).contains(shape.laneLetter);
  }
  int64_t getLaneStride(mlir::Value value, char letter, const NestPlace &place);
  mlir::scf::ForOp loop(int64_t end, int64_t step, mlir::ValueRange inits, mlir::Value first = mlir::Value());
  /// What follows, up to where that is restored, is done by one part only.
  void ownAlone(int64_t owner);
  /// Enters the loop over a letter, in the order of its steps, a part's share of it if that is shared.
  mlir::scf::ForOp enter(char letter, mlir::ValueRange inits, bool isShared);
  /// Lanes that have all positions of their range at once need no loop.
  bool enterLanesAtOnce();
  /// The positions that are computed at once, from where the loop is.
  void findBlock();
  void enterBlock(int64_t n);
  /// The sum of what parts have, in the one that owns the operation.
  mlir::Value sumParts(mlir::Value value, int64_t owner);
  void write(mlir::Value result, llvm::ArrayRef<mlir::Value> values);
  /// Adds several vectors to what is in memory: all are read before one is written, as short ones next to each other share a line, whose reader would wait for its
  /// writer.
  void addTogether(mlir::Value result, llvm::ArrayRef<mlir::Value> values, NestPlace place);

  const KernelAnalysis &analysis;
  NestPlan plan;
  NestTarget &target;
  mlir::OpBuilder &builder;
  IndexBuilder &ix;
  mlir::Location loc;
  IndexBuilder narrow; // of numbers of 32 bits
  int64_t lanes;
  llvm::function_ref<NestPlace(BlockOp)> getBlock;
  llvm::function_ref<NestPlace(const Contribution &)> getTarget;

  llvm::DenseMap<mlir::Value, NestPlace> buffers;
  llvm::DenseMap<const Contribution *, NestPlace> targets; // that were asked for: a result's first begins it, whatever writes it in parts
  std::map<std::pair<void *, char>, NestPlace> turned; // by value and letter
  llvm::SmallVector<mlir::Value> temporaries;
  // Of the operation in work: where its loops are.
  NestShape shape;
  std::map<char, mlir::Value> position;
  Range laneRange;
  mlir::Value lane, mask;
  mlir::Value summedMask, elementMask; // of matrices: where a summand is one, and where a number of the result is
  llvm::SmallVector<mlir::Value> block; // the positions that are computed at once, if there are several
  llvm::DenseMap<mlir::Value, int64_t> multiples; // of positions: what they are multiples of, if it is more than 1
  mlir::Operation *outermost = nullptr;
  struct Base {
    mlir::Block *block;
    mlir::Value from, shift;
    llvm::SmallVector<std::pair<mlir::Value, int64_t>> steps;
    mlir::Value address;
  };
  llvm::SmallVector<Base> bases; // that were computed
  llvm::DenseMap<std::pair<mlir::Value, mlir::Block *>, mlir::Value> pointers; // to the same, hidden
  // Of operations that share code: those besides the one in work, what they read in place of what that reads, and which of them it is.
  llvm::SmallVector<mlir::Operation *> alike;
  llvm::DenseMap<mlir::Value, llvm::SmallVector<mlir::Value>> alikeValues;
  mlir::Value instance;
  std::map<llvm::SmallVector<int64_t>, mlir::Value> shifts;
};

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_NESTS_H
