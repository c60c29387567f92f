//===- FactorSpace.h - every way to compute the outputs ---------*- C++ -*-===//
//
// The space that the search walks: an and-or graph. A value is a sum of terms projected on some letters; an alternative
// is one way to get it from smaller values. Values are named by what they are, not by how they are computed, so equal
// sub-expressions of all outputs are one value.
//
//===----------------------------------------------------------------------===//

#ifndef ESPMM_LIB_SUPPORT_FACTORSPACE_H
#define ESPMM_LIB_SUPPORT_FACTORSPACE_H

#include "FactorIndexSets.h"

namespace espmm::factor::detail {

/// A set of leaves.
using LeafSet = uint64_t;

struct Alternative {
  enum class Kind {
    Product,
    /// Elementwise.
    Sum,
    /// Over letters of the one operand that the value has not.
    Reduce
  };
  Kind kind;
  int left;
  int right; // -1: none
  /// As Value::dense, for the letters of both operands.
  double dense = 1;
  /// With the elements that some user of the value may read; a plan in which others read fewer costs less.
  double cost = 0;
};

struct Value {
  std::vector<LeafSet> terms; // sorted
  Letters letters;
  /// Elements over the letters that are not in any support; the channel axis counts as one.
  double dense = 1;
  /// Where it may be nonzero.
  SetId support;
  /// The elements that at least one user in the space reads.
  SetId live = -1;
  /// 1/n for a value made of what n paths share.
  double share = 1;
  /// For a value that is given: its position. It has no alternatives.
  int leaf = -1;
  /// Terms that are given tensors: adding two of them is an addition that rides on no multiplication.
  int givenTerms = 0;
  std::vector<Alternative> alternatives;
};

class Space {
public:
  explicit Space(const Problem &problem);

  /// Operands have smaller numbers than their users.
  std::vector<Value> values;
  /// The value of each output.
  std::vector<int> outputs;

  struct Evaluation {
    /// Under the problem's cost model, and a trifle for the elements made and for operands that differ from channel to
    /// channel, which decides between plans of equal cost.
    double cost;
    /// The operands' elements that are read.
    SetId left, right;
  };
  /// One alternative of a value of which these elements are read.
  Evaluation evaluate(const Value &value, const Alternative &alternative, SetId live);
  const std::string &leafIndices(int leaf) const { return problem.leaves[leaf].indices; }
  SetId unite(SetId left, SetId right) { return left < 0 ? right : right < 0 ? left : sets.unite(left, right); }

private:
  int getValue(std::vector<LeafSet> terms, Letters letters);
  void addSingleTermAlternatives(LeafSet term, Letters letters, std::vector<Alternative> &alternatives);
  void addFactoredAlternatives(const std::vector<LeafSet> &terms, Letters letters,
                               std::vector<Alternative> &alternatives);
  void addSplitAlternatives(const std::vector<LeafSet> &terms, Letters letters,
                            std::vector<Alternative> &alternatives);
  SetId supportOf(const std::vector<LeafSet> &terms, Letters letters);
  SetId termSupport(LeafSet term, Letters letters);
  Letters lettersOfLeaves(LeafSet leaves) const;
  bool isAffordable(Letters letters) const;
  bool isCrowded() const { return values.size() > crowd; }
  void computeCosts();

  static constexpr double trifle = 1e-6;
  /// Beyond this many values only the most promising alternatives are added.
  static constexpr size_t crowd = 20000;

  const Problem &problem;
  IndexSets sets;
  std::vector<Letters> leafLetters;
  LeafSet sparseLeaves = 0;
  std::unordered_map<std::string, int> numbers;
  std::unordered_map<std::string, SetId> supports;
};

} // namespace espmm::factor::detail

#endif // ESPMM_LIB_SUPPORT_FACTORSPACE_H
