//===- ClebschGordan.cpp - real Clebsch-Gordan coefficients ---------------===//
//
// A real component m couples the complex components +|m| and -|m|. Of the complex triples with m1 + m2 = m3 that a real
// entry is made of there are either none or one and its mirror image (-m1, -m2, -m3), which contributes the same or the
// opposite amount. So a real entry is a phase and a power of sqrt(2) times one complex coefficient, and whether it
// vanishes is decided in integers, never by a tolerance:
//   - |m3| must be |m1| + |m2| or ||m1| - |m2||,
//   - the number of negative m (sines) must be even if l1 + l2 + l3 is, and odd otherwise,
//   - Racah's integer sum must not be 0.
//
//===----------------------------------------------------------------------===//

#include "espmm/Support/ClebschGordan.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <shared_mutex>

using namespace espmm;

namespace {

using Triple = std::array<int, 3>;

struct Tensor {
  std::vector<double> values;
  std::vector<Triple> nonzeros;
  espmm::UnitClebschGordan factored;
};

int64_t binomial(int n, int k) {
  // Row 3 * maxClebschGordanDegree + 1 is the last that is needed.
  constexpr int rows = 3 * maxClebschGordanDegree + 2;
  static const auto pascal = [] {
    std::array<std::array<int64_t, rows>, rows> rowsOfPascal{};
    for (int row = 0; row < rows; ++row)
      for (int column = 0; column <= row; ++column)
        rowsOfPascal[row][column] =
            column == 0 || column == row ? 1 : rowsOfPascal[row - 1][column - 1] + rowsOfPascal[row - 1][column];
    return rowsOfPascal;
  }();
  return k < 0 || k > n ? 0 : pascal[n][k];
}

/// Racah's sum for <l1 m1 l2 m2 | l3 m1+m2>, as an integer; at most 2^(l1+l2+l3) in absolute value.
int64_t racahSum(Triple l, int m1, int m2) {
  int a = l[0] + l[1] - l[2], b = l[0] - l[1] + l[2], c = -l[0] + l[1] + l[2];
  int64_t sum = 0;
  for (int k = 0; k <= a; ++k) {
    int64_t term = binomial(a, k) * binomial(b, l[0] - m1 - k) * binomial(c, l[1] + m2 - k);
    sum += k % 2 ? -term : term;
  }
  return sum;
}

/// <l1 m1 l2 m2 | l3 m1+m2> / sqrt(2 l3 + 1): the complex coefficient, of a tensor of Frobenius norm 1.
long double complexCoefficient(Triple l, int m1, int m2) {
  int64_t sum = racahSum(l, m1, m2);
  if (sum == 0)
    return 0;
  int a = l[0] + l[1] - l[2], m3 = m1 + m2;
  long double numerator = static_cast<long double>(binomial(2 * l[0], a)) * binomial(2 * l[1], a);
  long double denominator = static_cast<long double>(binomial(2 * l[0], l[0] - m1)) *
                            binomial(2 * l[1], l[1] - m2) * binomial(2 * l[2], l[2] - m3) *
                            binomial(l[0] + l[1] + l[2] + 1, a) * (2 * l[2] + 1);
  return std::sqrt(numerator / denominator) * sum;
}

/// The entry of real components m.
double realCoefficient(Triple l, Triple m) {
  int parity = (l[0] + l[1] + l[2]) & 1;
  int negatives = (m[0] < 0) + (m[1] < 0) + (m[2] < 0);
  if ((negatives & 1) != parity)
    return 0;
  // The complex triple (c1, c2, c3): c1 = |m1| and c2 = |m2| or -|m2|, whichever makes |c1 + c2| = |m3|.
  Triple c = {std::abs(m[0]), std::abs(m[1]), 0};
  if (c[0] + c[1] != std::abs(m[2]))
    c[1] = -c[1];
  c[2] = c[0] + c[1];
  if (std::abs(c[2]) != std::abs(m[2]))
    return 0;

  // In the real basis' expansion the complex component c of the real component m has the coefficient
  // (-i)^l * q, q = 1 for m = 0, else 1/sqrt(2) times: (-1)^c for c > 0 and 1 for c < 0, and i resp. -i if m < 0.
  // The third factor enters conjugated. `turns` counts the powers of i.
  int turns = 0, halves = 0;
  for (int slot = 0; slot < 3; ++slot) {
    int slotTurns = -l[slot];
    if (c[slot] > 0)
      slotTurns += 2 * c[slot] + (m[slot] < 0 ? 1 : 0);
    else if (c[slot] < 0)
      slotTurns += m[slot] < 0 ? -1 : 0;
    halves += m[slot] != 0;
    turns += slot == 2 ? -slotTurns : slotTurns;
  }
  long double value = complexCoefficient(l, c[0], c[1]);
  // 2^(-halves/2), twice if the mirror image is a triple of its own.
  value *= halves == 0 ? 1.0L : halves == 2 ? 1.0L : std::sqrt(0.5L);
  // The parity rule leaves a real phase: `turns` is even.
  return static_cast<double>((turns & 3) == 0 ? value : -value);
}

Tensor computeTensor(Triple l) {
  Tensor tensor;
  tensor.values.reserve((2 * l[0] + 1) * (2 * l[1] + 1) * (2 * l[2] + 1));
  for (int i = 0; i <= 2 * l[0]; ++i)
    for (int j = 0; j <= 2 * l[1]; ++j)
      for (int k = 0; k <= 2 * l[2]; ++k) {
        double value = realCoefficient(l, {i - l[0], j - l[1], k - l[2]});
        tensor.values.push_back(value);
        if (value != 0)
          tensor.nonzeros.push_back({i, j, k});
      }
  return tensor;
}

espmm::UnitClebschGordan factorOut(const Tensor &tensor, int numComponents) {
  // Entries that differ by rounding are equal.
  constexpr double tolerance = 1e-13;
  espmm::UnitClebschGordan result{tensor.values, std::vector<double>(numComponents, 1.0)};
  for (int k = 0; k < numComponents; ++k) {
    std::vector<double> magnitudes;
    for (size_t n = k; n < tensor.values.size(); n += numComponents)
      if (tensor.values[n] != 0)
        magnitudes.push_back(std::abs(tensor.values[n]));
    std::sort(magnitudes.begin(), magnitudes.end());
    // The one that occurs most often, of several the largest.
    size_t most = 0, run = 0;
    for (size_t n = 0; n < magnitudes.size(); ++n) {
      run = n > 0 && magnitudes[n] - magnitudes[n - 1] < tolerance ? run + 1 : 1;
      if (run >= most) {
        most = run;
        result.scale[k] = magnitudes[n];
      }
    }
    for (size_t n = k; n < tensor.values.size(); n += numComponents) {
      double &entry = result.unit[n];
      entry /= result.scale[k];
      if (std::abs(std::abs(entry) - 1.0) < tolerance)
        entry = std::copysign(1.0, entry);
    }
  }
  return result;
}

const Tensor &lookupTensor(int l1, int l2, int l3) {
  static const Tensor none;
  if (!isClebschGordanTriple(l1, l2, l3))
    return none;
  // Never destroyed, so that references stay valid while other static objects are torn down.
  static auto &mutex = *new std::shared_mutex;
  static auto &tensors = *new std::map<Triple, Tensor>;
  Triple l = {l1, l2, l3};
  {
    std::shared_lock lock(mutex);
    if (auto it = tensors.find(l); it != tensors.end())
      return it->second;
  }
  Tensor tensor = computeTensor(l);
  tensor.factored = factorOut(tensor, 2 * l3 + 1);
  std::unique_lock lock(mutex);
  return tensors.try_emplace(l, std::move(tensor)).first->second;
}

} // namespace

bool espmm::isClebschGordanTriple(int l1, int l2, int l3) {
  for (int l : {l1, l2, l3})
    if (l < 0 || l > maxClebschGordanDegree)
      return false;
  return std::abs(l1 - l2) <= l3 && l3 <= l1 + l2;
}

const std::vector<double> &espmm::clebschGordan(int l1, int l2, int l3) { return lookupTensor(l1, l2, l3).values; }

const espmm::UnitClebschGordan &espmm::unitClebschGordan(int l1, int l2, int l3) { return lookupTensor(l1, l2, l3).factored; }

const std::vector<std::array<int, 3>> &espmm::clebschGordanNonzeros(int l1, int l2, int l3) {
  return lookupTensor(l1, l2, l3).nonzeros;
}
