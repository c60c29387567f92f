//===- SupportClebschGordanTest.cpp ---------------------------------------===//
//
// Properties that pin the coefficients down but for signs; test/python/test_clebsch_gordan.py compares with e3nn.
//
//===----------------------------------------------------------------------===//
#include "SupportTest.h"
#include "espmm/Support/ClebschGordan.h"

#include <cmath>
#include <cstdlib>
#include <thread>

using namespace espmm;

static std::string spell(int l1, int l2, int l3) {
  return "(" + std::to_string(l1) + "," + std::to_string(l2) + "," + std::to_string(l3) + ")";
}

static double entry(int l1, int l2, int l3, int i, int j, int k) {
  return clebschGordan(l1, l2, l3)[(i * (2 * l2 + 1) + j) * (2 * l3 + 1) + k];
}

static void testTriples() {
  CHECK(isClebschGordanTriple(0, 0, 0) && isClebschGordanTriple(2, 3, 5) && isClebschGordanTriple(20, 20, 20));
  const int wrong[][3] = {{1, 1, 3}, {0, 1, 0}, {-1, 1, 1}, {1, 1, -1}, {21, 21, 0}, {2, 5, 2}};
  for (auto &l : wrong) {
    CHECK_CASE(!isClebschGordanTriple(l[0], l[1], l[2]), spell(l[0], l[1], l[2]));
    CHECK_CASE(clebschGordan(l[0], l[1], l[2]).empty(), spell(l[0], l[1], l[2]));
    CHECK_CASE(clebschGordanNonzeros(l[0], l[1], l[2]).empty(), spell(l[0], l[1], l[2]));
  }
}

/// e3nn's order of an l = 1 vector is y, z, x, so (1,1,1) is the cross product of a cyclic order.
static void testKnownValues() {
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) {
      CHECK(std::abs(entry(1, 1, 0, i, j, 0) - (i == j ? 1 / std::sqrt(3.0) : 0)) < 1e-15);
      for (int k = 0; k < 3; ++k) {
        double sign = (i - j) * (j - k) * (k - i) / 2.0;
        CHECK(std::abs(entry(1, 1, 1, i, j, k) - sign / std::sqrt(6.0)) < 1e-15);
      }
    }
  for (int l = 0; l <= maxClebschGordanDegree; ++l)
    for (int i = 0; i <= 2 * l; ++i)
      for (int j = 0; j <= 2 * l; ++j)
        CHECK(std::abs(entry(0, l, l, 0, i, j) - (i == j ? 1 / std::sqrt(2.0 * l + 1) : 0)) < 1e-15);
}

/// All couplings of l1 and l2 together are an orthogonal change of basis.
static void testCompleteness(int l1, int l2) {
  int d1 = 2 * l1 + 1, d2 = 2 * l2 + 1;
  double worst = 0;
  for (int first = 0; first < d1 * d2; ++first)
    for (int second = first; second < d1 * d2; ++second) {
      double sum = 0;
      for (int l3 = std::abs(l1 - l2); l3 <= l1 + l2; ++l3)
        for (int k = 0; k <= 2 * l3; ++k)
          sum += (2 * l3 + 1) * entry(l1, l2, l3, first / d2, first % d2, k) *
                 entry(l1, l2, l3, second / d2, second % d2, k);
      worst = std::max(worst, std::abs(sum - (first == second)));
    }
  CHECK_CASE(worst < 1e-13, spell(l1, l2, -1) + " off by " + std::to_string(worst));
}

/// Zeros are exact, the listed nonzeros are all, and exchanging the inputs gives the sign (-1)^(l1+l2+l3).
static void testPattern(int l1, int l2, int l3) {
  std::vector<std::array<int, 3>> nonzeros;
  int parity = (l1 + l2 + l3) & 1;
  bool ruled = true, mirrored = true;
  double norm = 0;
  for (int i = 0; i <= 2 * l1; ++i)
    for (int j = 0; j <= 2 * l2; ++j)
      for (int k = 0; k <= 2 * l3; ++k) {
        double value = entry(l1, l2, l3, i, j, k);
        norm += value * value;
        mirrored &= entry(l2, l1, l3, j, i, k) == (parity ? -value : value);
        if (value == 0)
          continue;
        nonzeros.push_back({i, j, k});
        int a = std::abs(i - l1), b = std::abs(j - l2), c = std::abs(k - l3);
        ruled &= c == a + b || c == std::abs(a - b);
        ruled &= ((i < l1) + (j < l2) + (k < l3)) % 2 == parity;
      }
  CHECK_CASE(ruled && mirrored, spell(l1, l2, l3));
  CHECK_CASE(nonzeros == clebschGordanNonzeros(l1, l2, l3), spell(l1, l2, l3));
  CHECK_CASE(std::abs(norm - 1) < 1e-13, spell(l1, l2, l3));
}

/// The two factors give the tensor; each component of z has a one, and the entries of three small triples are all ones.
static void testUnits(int l1, int l2, int l3) {
  const std::vector<double> &all = clebschGordan(l1, l2, l3);
  const UnitClebschGordan &factored = unitClebschGordan(l1, l2, l3);
  size_t components = 2 * l3 + 1;
  CHECK_CASE(factored.unit.size() == all.size() && factored.scale.size() == components, spell(l1, l2, l3));
  std::vector<bool> hasOne(components);
  bool allOnes = true;
  for (size_t n = 0; n < all.size(); ++n) {
    double unit = factored.unit[n];
    CHECK_CASE(std::abs(unit * factored.scale[n % components] - all[n]) < 1e-14, spell(l1, l2, l3));
    CHECK_CASE((unit == 0) == (all[n] == 0), spell(l1, l2, l3));
    hasOne[n % components] = hasOne[n % components] || std::abs(unit) == 1;
    allOnes = allOnes && (unit == 0 || std::abs(unit) == 1);
  }
  for (size_t k = 0; k < components; ++k)
    CHECK_CASE(hasOne[k] && factored.scale[k] > 0, spell(l1, l2, l3));
  if (l1 <= 1 && l2 <= 1 && l3 <= 1)
    CHECK_CASE(allOnes, spell(l1, l2, l3));
}

static void testThreads() {
  std::array<const double *, 8> seen{};
  std::array<std::thread, 8> threads;
  for (size_t number = 0; number < threads.size(); ++number)
    threads[number] = std::thread([&, number] {
      for (int l = 12; l <= 19; ++l)
        clebschGordan(l, 7, 12);
      seen[number] = clebschGordan(19, 18, 17).data();
    });
  for (std::thread &thread : threads)
    thread.join();
  for (const double *data : seen)
    CHECK(data == clebschGordan(19, 18, 17).data());
}

void test::testClebschGordan() {
  testThreads(); // first, while nothing is remembered
  testTriples();
  testKnownValues();
  for (auto [l1, l2] : {std::pair(0, 0), {1, 2}, {3, 3}, {2, 5}, {7, 4}, {10, 10}})
    testCompleteness(l1, l2);
  for (int l1 = 0; l1 <= 11; ++l1)
    for (int l2 = 0; l2 <= 11; ++l2)
      for (int l3 = std::abs(l1 - l2); l3 <= std::min(l1 + l2, 11); ++l3) {
        testPattern(l1, l2, l3);
        testUnits(l1, l2, l3);
      }
  testPattern(20, 20, 20);
  testPattern(20, 13, 16);
}
