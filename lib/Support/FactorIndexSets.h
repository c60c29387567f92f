//===- FactorIndexSets.h - sets of index tuples -----------------*- C++ -*-===//
//
// Where tensors may be nonzero, and which of their elements are read: sets of index tuples, each tuple packed into a
// word with one bit field per letter, each set stored once. A few dozen sets occur in a problem, so the results of the
// operations on them are remembered by number, and the search evaluates a plan with a few table look-ups.
//
//===----------------------------------------------------------------------===//

#ifndef ESPMM_LIB_SUPPORT_FACTORINDEXSETS_H
#define ESPMM_LIB_SUPPORT_FACTORINDEXSETS_H

#include "espmm/Support/Factorization.h"

#include <array>
#include <unordered_map>

namespace espmm::factor::detail {

/// A set of letters, one bit each.
using Letters = uint32_t;

constexpr Letters letterBit(char letter) { return Letters(1) << (letter - 'a'); }
inline constexpr Letters channel = letterBit('u');

Letters lettersOf(const std::string &indices);
/// In alphabetical order.
std::string spell(Letters letters);

/// Names a set of tuples over some of the sparse letters.
using SetId = int;

class IndexSets {
public:
  explicit IndexSets(const Problem &problem);

  /// The letters that occur in a leaf with a support. Sets are over these; all others are dense.
  Letters sparseLetters() const { return sparse; }
  /// The number of index tuples over the dense letters among these; the channel axis counts as 1.
  int64_t denseSize(Letters letters) const;
  /// The number of index tuples over the sparse letters among these, zero or not.
  double cubeSize(Letters letters) const;

  SetId leafSupport(int leaf) const { return leafSupports[leaf]; }
  /// Every tuple over the sparse letters among these.
  SetId cube(Letters letters);
  /// The join of two sets, projected on the sparse letters among `letters`.
  SetId join(SetId left, SetId right, Letters letters);
  SetId unite(SetId left, SetId right);
  /// The tuples whose projection on the letters of `filter` is in it.
  SetId restrict(SetId set, SetId filter);

  struct Contraction {
    /// Pairs of elements that agree on their shared letters and whose product belongs to a live element of the result.
    int64_t pairs = 0;
    /// The elements that occur in such a pair.
    SetId left = 0, right = 0;
  };
  Contraction contract(SetId left, SetId right, SetId live);

  int64_t size(SetId set) const { return static_cast<int64_t>(sets[set].codes.size()); }
  Letters letters(SetId set) const { return sets[set].letters; }
  /// The set's tuples over `indices` (all of its letters, in this order), sorted.
  std::vector<std::vector<int>> tuples(SetId set, const std::string &indices) const;

private:
  struct Set {
    Letters letters;
    std::vector<uint64_t> codes; // sorted, each once
  };
  struct Key {
    SetId a, b, c;
    bool operator==(const Key &other) const { return a == other.a && b == other.b && c == other.c; }
  };
  struct KeyHash {
    size_t operator()(const Key &key) const {
      uint64_t word = (uint64_t(uint32_t(key.a)) << 40) ^ (uint64_t(uint32_t(key.b)) << 20) ^ uint32_t(key.c);
      word *= 0x9E3779B97F4A7C15u;
      return static_cast<size_t>(word ^ (word >> 29));
    }
  };
  template <typename T> using Memo = std::unordered_map<Key, T, KeyHash>;

  uint64_t mask(Letters letters) const;
  /// Stores a set, its codes in any order.
  SetId intern(Letters letters, std::vector<uint64_t> codes);
  /// Calls visit(position in left, position in right) for each pair that agrees on the shared letters.
  template <typename Visit> void forEachPair(const Set &left, const Set &right, Visit visit) const;

  Letters sparse = 0;
  std::array<int, 26> extents{};
  std::array<int, 26> shifts{};
  std::array<uint64_t, 26> fields{};
  std::vector<Set> sets;
  std::unordered_multimap<uint64_t, SetId> byContents;
  std::vector<SetId> leafSupports;
  std::unordered_map<Letters, SetId> cubes;
  Memo<SetId> joins, unions, restrictions;
  Memo<Contraction> contractions;
};

} // namespace espmm::factor::detail

#endif // ESPMM_LIB_SUPPORT_FACTORINDEXSETS_H
