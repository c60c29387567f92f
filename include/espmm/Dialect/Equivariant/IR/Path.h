//===- Path.h - one path of a tensor product, and its index maps -*- C++ -*-===//
#ifndef ESPMM_DIALECT_EQUIVARIANT_IR_PATH_H
#define ESPMM_DIALECT_EQUIVARIANT_IR_PATH_H

#include "espmm/Dialect/Equivariant/IR/Irreps.h"

namespace espmm::equivariant {

/// A path: block i1 of x and block i2 of y into block i3 of z.
struct Path {
  Mode mode;
  int64_t i1, i2, i3;
  bool weighted;
  double coefficient;

  /// The block of x, y or z that the path couples.
  int64_t getBlock(Slot slot) const {
    assert(slot != Slot::W && "weights come in paths, not in blocks");
    return slot == Slot::X ? i1 : slot == Slot::Y ? i2 : i3;
  }

  bool operator==(const Path &o) const {
    return mode == o.mode && i1 == o.i1 && i2 == o.i2 && i3 == o.i3 && weighted == o.weighted &&
           coefficient == o.coefficient;
  }
};

inline llvm::hash_code hash_value(const Path &p) {
  return llvm::hash_combine(static_cast<int>(p.mode), p.i1, p.i2, p.i3, p.weighted,
                            llvm::bit_cast<uint64_t>(p.coefficient));
}

/// The multiplicity indices of each slot under a mode. This is all that a mode is.
struct IndexMap {
  llvm::StringRef x, y, w, z;
  /// u < v: only the upper triangle of (u, v) exists, flattened row by row.
  bool triangular;

  llvm::StringRef operator[](Slot slot) const {
    switch (slot) {
    case Slot::X: return x;
    case Slot::Y: return y;
    case Slot::W: return w;
    case Slot::Z: return z;
    }
    llvm_unreachable("unknown slot");
  }
};
IndexMap getIndexMap(Mode mode);

} // namespace espmm::equivariant

#endif // ESPMM_DIALECT_EQUIVARIANT_IR_PATH_H
