//===- Irreps.h - irreducible representations with multiplicities -*- C++ -*-===//
#ifndef ESPMM_DIALECT_EQUIVARIANT_IR_IRREPS_H
#define ESPMM_DIALECT_EQUIVARIANT_IR_IRREPS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/Hashing.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/raw_ostream.h"
#include <optional>
#include <string>

namespace espmm::equivariant {

/// The largest l that the compiler takes: e3nn's own bound.
constexpr int maxL = 11;

/// `mul` copies of the irrep of degree l and parity p (1 even, -1 odd): "128x1o" in e3nn's notation.
struct MulIrrep {
  int64_t mul;
  int l;
  int parity;

  int64_t irDim() const { return 2 * l + 1; }
  int64_t dim() const { return mul * irDim(); }
  bool operator==(const MulIrrep &o) const { return mul == o.mul && l == o.l && parity == o.parity; }
};

inline llvm::hash_code hash_value(const MulIrrep &ir) { return llvm::hash_combine(ir.mul, ir.l, ir.parity); }

/// Reads "128x0e+64x1o"; on failure gives nothing and says why in `error`.
std::optional<llvm::SmallVector<MulIrrep>> parseIrreps(llvm::StringRef text, std::string &error);
std::string printIrreps(llvm::ArrayRef<MulIrrep> irreps);
int64_t irrepsDim(llvm::ArrayRef<MulIrrep> irreps);

} // namespace espmm::equivariant

#endif // ESPMM_DIALECT_EQUIVARIANT_IR_IRREPS_H
