//===- Factorization.h - cheapest shared contractions ----------*- C++ -*-===//
//
// The search behind `equivariant-factor`. Its input is a handful of outputs, each a sum of products of small tensors
// (coefficients, feature vectors, weights, cotangents); its result is a plan of binary contractions and sums that
// computes them all, with equal sub-expressions computed once and common factors taken out (the distributive law). It
// knows nothing of derivatives or modes.
//
// Indices are lower-case letters. 'u' is the channel axis: it is dense, its extent is unknown and never enumerated, and
// costs count one channel. Every other letter is a small component index with an extent. An index that a term has and
// its output has not is summed.
//
//===----------------------------------------------------------------------===//

#ifndef ESPMM_SUPPORT_FACTORIZATION_H
#define ESPMM_SUPPORT_FACTORIZATION_H

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace espmm::factor {

/// A given tensor.
struct Leaf {
  std::string indices;
  /// The index tuples, over `indices` without 'u' and in their order, at which the tensor may be nonzero. Absent:
  /// dense.
  std::optional<std::vector<std::vector<int>>> support;
  /// Of the paths that are solved side by side, how many have this very tensor as an operand. What is computed only
  /// from tensors that n paths share costs each of them 1/n.
  int sharedBy = 1;
  /// For printPlan() alone.
  std::string name;
};

/// A product of leaves, by position; each leaf at most once.
using Term = std::vector<int>;

/// A sum of products, projected on `indices`. Every term has every one of these.
struct Output {
  std::vector<Term> terms;
  std::string indices;
};

/// What arithmetic costs, in multiplications of a value that has the channel axis. Additions that can ride on a
/// multiplication (fma) are free.
struct CostModel {
  /// One multiplication of two values without 'u': 1 where each lane has one channel, 1/lanes where it serves many.
  double channelFree = 1.0;
  /// Reducing one value over 'u'.
  double channelSum = 0.0;
};

struct Problem {
  std::vector<Leaf> leaves;
  std::vector<Output> outputs;
  /// The extent of each letter but 'u'.
  std::map<char, int> extents;
  CostModel cost;
};

struct Node {
  enum class Kind {
    /// A given tensor: `leaf` is its position.
    Leaf,
    /// Two operands multiplied, and summed over the indices that `indices` has not (a binary einsum).
    Product,
    /// One or more operands with one and the same set of indices, added, then summed over what `indices` has not.
    Sum
  };
  Kind kind = Kind::Leaf;
  int leaf = -1;
  std::vector<int> operands;
  /// A leaf's are as given, other nodes' are in alphabetical order.
  std::string indices;
};

struct Plan {
  /// Operands come before their users; no node is without use.
  std::vector<Node> nodes;
  /// The node of each output. Its indices are the output's as a set.
  std::vector<int> outputs;
  double cost = 0;
};

/// What a plan computes element by element. An element counts if it may be nonzero and is read.
struct Analysis {
  /// Per node the letters among its indices, in its order, that occur in a leaf with a support; the others are dense.
  std::vector<std::string> sparseIndices;
  /// Per node the counting elements, tuples over its sparseIndices, sorted.
  std::vector<std::vector<std::vector<int>>> elements;
  /// Multiplications with and without 'u', additions that ride on none, and values reduced over 'u'; each a plain
  /// count, not divided among paths.
  int64_t multiplications = 0;
  int64_t channelFreeMultiplications = 0;
  int64_t additions = 0;
  int64_t channelSums = 0;
  /// The cost under the problem's cost model.
  double cost = 0;
};

/// Empty if the problem is well formed, else what was expected and what was got.
std::string checkProblem(const Problem &problem);

/// The cheapest plan that the search finds; null, with `error` set, if the problem is not well formed. Deterministic.
/// Plans are remembered by the problem's contents; any thread may call.
std::shared_ptr<const Plan> factorize(const Problem &problem, std::string *error = nullptr);

/// The elements and operations of a plan for a well-formed problem. This, not the search, defines Plan::cost.
Analysis analyze(const Problem &problem, const Plan &plan);

/// One line a node, such as `t0_iju = C_ijk * g_uk`, then the outputs: `-> t2_iu t9_j`. A leaf without a name is `#`
/// and its position.
std::string printPlan(const Problem &problem, const Plan &plan);

} // namespace espmm::factor

#endif // ESPMM_SUPPORT_FACTORIZATION_H
