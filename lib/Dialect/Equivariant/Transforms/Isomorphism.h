//===- Isomorphism.h - parts of a kernel that differ in offsets --*- C++ -*-===//
//
// The paths of irreps that differ in parity have the same coefficients and multiplicities: what they compute is the same, with other blocks of the same rows.
//
//===----------------------------------------------------------------------===//
#ifndef ESPMM_LIB_EQUIVARIANT_ISOMORPHISM_H
#define ESPMM_LIB_EQUIVARIANT_ISOMORPHISM_H

#include "KernelAnalysis.h"

namespace espmm::equivariant {

/// Numbers what values are computed by, wherever the blocks with channels lie that they are computed from.
class ComputationKinds {
public:
  explicit ComputationKinds(const KernelAnalysis &analysis) : analysis(analysis) {}

  /// The same for contributions to one result that are computed alike. Blocks without channels lie at one place for all.
  int64_t getKind(const Contribution &c);

private:
  using Key = llvm::SmallVector<const void *>;

  int64_t getKind(mlir::Value value);
  int64_t getNumber(Key key) { return numbers.try_emplace(std::move(key), numbers.size()).first->second; }

  const KernelAnalysis &analysis;
  llvm::DenseMap<mlir::Value, int64_t> kinds;
  std::map<Key, int64_t> numbers;
};

/// A one-to-one map from values, blocks and places of results to others that have the same part in what is computed.
class Isomorphism {
public:
  explicit Isomorphism(const KernelAnalysis &analysis) : analysis(&analysis) {}

  /// Lets a contribution correspond to another. False, and the map is of no use any more, if they can't.
  bool map(unsigned from, unsigned to);

  /// Where a block, or a place of a result, is on the other side; nothing if it is not mapped.
  std::optional<int64_t> getOffset(mlir::Value row, int64_t offset) const;

private:
  /// Both have to be mapped to each other, or neither to anything.
  template <typename Map, typename T>
  static bool pair(Map &forth, Map &back, const T &from, const T &to) {
    return forth.try_emplace(from, to).first->second == to && back.try_emplace(to, from).first->second == from;
  }

  bool mapValue(mlir::Value from, mlir::Value to);
  bool mapPlace(mlir::Value row, int64_t from, int64_t to);

  using Place = std::pair<const void *, int64_t>; // a row of the kernel, or one of its results, and an offset

  const KernelAnalysis *analysis;
  llvm::DenseMap<mlir::Value, mlir::Value> values, originals;
  std::map<Place, Place> places, originalPlaces;
};

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_ISOMORPHISM_H
