//===- ClebschGordan.h - real Clebsch-Gordan coefficients -------*- C++ -*-===//
//
// The coupling tensors C[l1,l2,l3] of the real irreps of SO(3), in e3nn's basis (component index l + m, m = -l .. l),
// with e3nn's sign and Frobenius norm 1. Computed from Racah's sum in exact integer arithmetic; nothing is tabulated.
//
//===----------------------------------------------------------------------===//

#ifndef ESPMM_SUPPORT_CLEBSCHGORDAN_H
#define ESPMM_SUPPORT_CLEBSCHGORDAN_H

#include <array>
#include <vector>

namespace espmm {

/// The largest l for which every integer of Racah's sum fits into 64 bits.
inline constexpr int maxClebschGordanDegree = 20;

/// Whether C[l1,l2,l3] exists and can be computed here: 0 <= l <= maxClebschGordanDegree, |l1 - l2| <= l3 <= l1 + l2.
bool isClebschGordanTriple(int l1, int l2, int l3);

/// The real Clebsch-Gordan tensor, row-major [2 l1 + 1][2 l2 + 1][2 l3 + 1]; empty if not isClebschGordanTriple().
/// An entry that vanishes is exactly 0.0. The reference stays valid for the life of the process; any thread may call.
const std::vector<double> &clebschGordan(int l1, int l2, int l3);

/// The index triples (i, j, k) of the nonzero entries of clebschGordan(l1, l2, l3), in row-major order.
const std::vector<std::array<int, 3>> &clebschGordanNonzeros(int l1, int l2, int l3);

/// C[i,j,k] = unit[i,j,k] * scale[k] with scales such that as many entries of `unit` as possible are 1 or -1, exactly.
struct UnitClebschGordan {
  std::vector<double> unit;   // as clebschGordan()
  std::vector<double> scale;  // [2 l3 + 1], positive
};
const UnitClebschGordan &unitClebschGordan(int l1, int l2, int l3);

} // namespace espmm

#endif // ESPMM_SUPPORT_CLEBSCHGORDAN_H
