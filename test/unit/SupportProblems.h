//===- SupportProblems.h - factorisation problems to test with ------------===//
#ifndef ESPMM_TEST_UNIT_SUPPORTPROBLEMS_H
#define ESPMM_TEST_UNIT_SUPPORTPROBLEMS_H

#include "espmm/Support/Factorization.h"

#include <random>

namespace test {

/// One path's outputs of the given order, derived as the compiler derives them: order 0 is the product z (leaves C, x,
/// y, w), order 1 the gradients of x, y, w for a cotangent g of z, order n + 1 those of everything that order n reads,
/// for cotangents of what it gives (X, Y, V at order 2).
espmm::factor::Problem derivePath(int l1, int l2, int l3, int order, espmm::factor::CostModel cost);

/// Anything that is well formed: a few leaves, dense and sparse, over i, j, k, u, v, w.
espmm::factor::Problem makeRandomProblem(std::mt19937 &random);

/// A tensor over letters of small extent ('u' included), row-major; zeros are structural.
struct Dense {
  std::string indices;
  std::vector<double> values;
};

inline constexpr int channels = 3;
int extentOf(const espmm::factor::Problem &problem, char letter);
/// The sum of the products of tensors over the letters that are not in `indices`.
Dense einsum(const espmm::factor::Problem &problem, const std::vector<const Dense *> &operands,
             const std::string &indices);
/// A random value for each leaf, zero outside its support.
std::vector<Dense> makeLeafValues(const espmm::factor::Problem &problem, std::mt19937 &random);
/// The value of each node.
std::vector<Dense> evaluatePlan(const espmm::factor::Problem &problem, const espmm::factor::Plan &plan,
                                const std::vector<Dense> &leaves);
/// Each output by its definition.
std::vector<Dense> evaluateOutputs(const espmm::factor::Problem &problem, const std::vector<Dense> &leaves);

} // namespace test

#endif // ESPMM_TEST_UNIT_SUPPORTPROBLEMS_H
