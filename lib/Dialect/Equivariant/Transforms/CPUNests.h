//===- CPUNests.h - einsums over several multiplicities ---------*- C++ -*-===//
//
//   for each operation of a nest, by itself:
//     loops over the multiplicities of the result, the last of them in vectors if it is one of the operands' last
//       loops over those that are summed
//         the operation, on components
//       sum over lanes, if what is summed is in vectors
//     to the buffer that later operations read, and to the rows of results
//
// Weights of a row or an edge, [u, v, w], are so read once, as they lie in memory; all else stays in the cache.
//
//===----------------------------------------------------------------------===//
#ifndef ESPMM_LIB_EQUIVARIANT_CPUNESTS_H
#define ESPMM_LIB_EQUIVARIANT_CPUNESTS_H

#include "CPUFunction.h"
#include "KernelAnalysis.h"

namespace espmm::equivariant {

/// Where the elements of a small tensor with loops are: at `base + offset`, and a stride for each dimension.
struct NestPlace {
  mlir::Value base;
  int64_t offset = 0;
  llvm::SmallVector<int64_t> strides;
  bool accumulate = false;
};

class NestStaging {
public:
  NestStaging(const KernelAnalysis &analysis, CPUFunction &function, mlir::VectorType vector)
      : analysis(analysis), function(function), builder(function.builder), ix(function.ix), loc(function.loc), vector(vector),
        lanes(vector.getNumElements()) {}

  /// Emits what an edge needs of all nests. The last dimension of a block that has a loop has stride 1 in its place.
  void run(llvm::function_ref<NestPlace(BlockOp)> getBlock, llvm::function_ref<NestPlace(const Contribution &)> getTarget);

private:
  void stage(mlir::Operation *op, llvm::function_ref<NestPlace(BlockOp)> getBlock,
             llvm::function_ref<NestPlace(const Contribution &)> getTarget);
  /// The multiplicities of a value over which it takes a loop to go.
  std::map<char, int64_t> getLoops(mlir::Value value) const;
  /// For each pair of channels, what the first or second of them has, or adds to it.
  void stagePairs(mlir::Operation *op, bool adds, mlir::Value source, const NestPlace &from, const NestPlace &to);
  NestPlace makeBuffer(mlir::Value value);
  mlir::Value read(mlir::Value value, const NestPlace &place);
  void write(mlir::Value elements, mlir::Value value, const NestPlace &place);
  /// Sums over lanes, as a small tensor of scalars.
  mlir::Value sumLanes(mlir::Value spread);
  mlir::Value getBase(mlir::Value value, const NestPlace &place);
  llvm::SmallVector<int64_t> dropLooped(mlir::Value value, llvm::ArrayRef<int64_t> ofDimensions);
  bool isVector(mlir::Value value) { return vectorLetter && analysis.getLetters(value).contains(vectorLetter); }

  const KernelAnalysis &analysis;
  CPUFunction &function;
  mlir::OpBuilder &builder;
  IndexBuilder &ix;
  mlir::Location loc;
  mlir::VectorType vector;
  int64_t lanes;

  llvm::DenseMap<mlir::Value, NestPlace> buffers;
  // Of the operation in work.
  std::map<char, mlir::Value> position; // by letter
  std::map<char, int64_t> looped;
  char vectorLetter = 0;
  mlir::Value mask;
};

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_CPUNESTS_H
