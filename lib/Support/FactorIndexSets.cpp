//===- FactorIndexSets.cpp - sets of index tuples -------------------------===//

#include "FactorIndexSets.h"

#include <algorithm>

using namespace espmm;
using namespace espmm::factor;
using namespace espmm::factor::detail;

Letters detail::lettersOf(const std::string &indices) {
  Letters letters = 0;
  for (char letter : indices)
    letters |= letterBit(letter);
  return letters;
}

std::string detail::spell(Letters letters) {
  std::string text;
  for (char letter = 'a'; letter <= 'z'; ++letter)
    if (letters & letterBit(letter))
      text += letter;
  return text;
}

IndexSets::IndexSets(const Problem &problem) {
  for (auto [letter, extent] : problem.extents)
    extents[letter - 'a'] = extent;
  extents['u' - 'a'] = 1;
  for (const Leaf &leaf : problem.leaves)
    if (leaf.support)
      sparse |= lettersOf(leaf.indices) & ~channel;

  int shift = 0;
  for (int letter = 0; letter < 26; ++letter) {
    if (!(sparse >> letter & 1))
      continue;
    int bits = 0;
    while ((1 << bits) < extents[letter])
      ++bits;
    shifts[letter] = shift;
    fields[letter] = ((uint64_t(1) << bits) - 1) << shift;
    shift += bits;
  }

  for (const Leaf &leaf : problem.leaves) {
    Letters letters = lettersOf(leaf.indices) & sparse;
    if (!leaf.support) {
      leafSupports.push_back(cube(letters));
      continue;
    }
    std::vector<uint64_t> codes;
    for (const std::vector<int> &tuple : *leaf.support) {
      uint64_t code = 0;
      size_t position = 0;
      for (char letter : leaf.indices)
        if (letter != 'u')
          code |= uint64_t(tuple[position++]) << shifts[letter - 'a'];
      codes.push_back(code);
    }
    leafSupports.push_back(intern(letters, std::move(codes)));
  }
}

int64_t IndexSets::denseSize(Letters letters) const {
  int64_t size = 1;
  for (int letter = 0; letter < 26; ++letter)
    if ((letters & ~sparse) >> letter & 1)
      size *= extents[letter];
  return size;
}

double IndexSets::cubeSize(Letters letters) const {
  double size = 1;
  for (int letter = 0; letter < 26; ++letter)
    if ((letters & sparse) >> letter & 1)
      size *= extents[letter];
  return size;
}

uint64_t IndexSets::mask(Letters letters) const {
  uint64_t bits = 0;
  for (int letter = 0; letter < 26; ++letter)
    if (letters >> letter & 1)
      bits |= fields[letter];
  return bits;
}

SetId IndexSets::intern(Letters letters, std::vector<uint64_t> codes) {
  if (!std::is_sorted(codes.begin(), codes.end()))
    std::sort(codes.begin(), codes.end());
  codes.erase(std::unique(codes.begin(), codes.end()), codes.end());
  uint64_t hash = letters;
  for (uint64_t code : codes)
    hash = (hash ^ code) * 0x9E3779B97F4A7C15u;
  auto [begin, end] = byContents.equal_range(hash);
  for (auto it = begin; it != end; ++it)
    if (sets[it->second].letters == letters && sets[it->second].codes == codes)
      return it->second;
  auto id = static_cast<SetId>(sets.size());
  sets.push_back({letters, std::move(codes)});
  byContents.emplace(hash, id);
  return id;
}

SetId IndexSets::cube(Letters letters) {
  letters &= sparse;
  if (auto it = cubes.find(letters); it != cubes.end())
    return it->second;
  std::vector<uint64_t> codes = {0};
  for (int letter = 0; letter < 26; ++letter) {
    if (!(letters >> letter & 1))
      continue;
    std::vector<uint64_t> longer;
    longer.reserve(codes.size() * extents[letter]);
    for (int index = 0; index < extents[letter]; ++index)
      for (uint64_t code : codes)
        longer.push_back(code | uint64_t(index) << shifts[letter]);
    codes = std::move(longer);
  }
  return cubes[letters] = intern(letters, std::move(codes));
}

template <typename Visit> void IndexSets::forEachPair(const Set &left, const Set &right, Visit visit) const {
  uint64_t shared = mask(left.letters & right.letters);
  std::vector<std::pair<uint64_t, uint32_t>> keyed(right.codes.size());
  for (uint32_t position = 0; position < keyed.size(); ++position)
    keyed[position] = {right.codes[position] & shared, position};
  std::sort(keyed.begin(), keyed.end());
  for (uint32_t position = 0; position < left.codes.size(); ++position) {
    uint64_t key = left.codes[position] & shared;
    for (auto it = std::lower_bound(keyed.begin(), keyed.end(), std::pair(key, uint32_t(0)));
         it != keyed.end() && it->first == key; ++it)
      visit(position, it->second);
  }
}

SetId IndexSets::join(SetId left, SetId right, Letters letters) {
  letters &= sets[left].letters | sets[right].letters;
  Key key = {left, right, static_cast<int>(letters)};
  if (auto it = joins.find(key); it != joins.end())
    return it->second;
  const Set &a = sets[left], &b = sets[right];
  uint64_t kept = mask(letters);
  std::vector<uint64_t> codes;
  forEachPair(a, b, [&](uint32_t i, uint32_t j) { codes.push_back((a.codes[i] | b.codes[j]) & kept); });
  return joins[key] = intern(letters, std::move(codes));
}

SetId IndexSets::unite(SetId left, SetId right) {
  if (left == right)
    return left;
  Key key = {std::min(left, right), std::max(left, right), 0};
  if (auto it = unions.find(key); it != unions.end())
    return it->second;
  std::vector<uint64_t> codes;
  std::set_union(sets[left].codes.begin(), sets[left].codes.end(), sets[right].codes.begin(), sets[right].codes.end(),
                 std::back_inserter(codes));
  return unions[key] = intern(sets[left].letters, std::move(codes));
}

SetId IndexSets::restrict(SetId set, SetId filter) {
  if (set == filter)
    return set;
  Key key = {set, filter, 0};
  if (auto it = restrictions.find(key); it != restrictions.end())
    return it->second;
  const std::vector<uint64_t> &allowed = sets[filter].codes;
  uint64_t kept = mask(sets[filter].letters);
  std::vector<uint64_t> codes;
  for (uint64_t code : sets[set].codes)
    if (std::binary_search(allowed.begin(), allowed.end(), code & kept))
      codes.push_back(code);
  return restrictions[key] = intern(sets[set].letters, std::move(codes));
}

IndexSets::Contraction IndexSets::contract(SetId left, SetId right, SetId live) {
  Key key = {left, right, live};
  if (auto it = contractions.find(key); it != contractions.end())
    return it->second;
  const Set &a = sets[left], &b = sets[right], &out = sets[live];
  uint64_t kept = mask(out.letters);
  bool everything = out.codes.size() == cubeSize(out.letters);
  std::vector<char> leftRead(a.codes.size()), rightRead(b.codes.size());
  Contraction result;
  forEachPair(a, b, [&](uint32_t i, uint32_t j) {
    if (!everything && !std::binary_search(out.codes.begin(), out.codes.end(), (a.codes[i] | b.codes[j]) & kept))
      return;
    ++result.pairs;
    leftRead[i] = rightRead[j] = 1;
  });
  auto readOf = [&](SetId id, const std::vector<char> &read) {
    std::vector<uint64_t> codes;
    for (size_t position = 0; position < read.size(); ++position)
      if (read[position])
        codes.push_back(sets[id].codes[position]);
    return codes.size() == read.size() ? id : intern(sets[id].letters, std::move(codes));
  };
  result.left = readOf(left, leftRead);
  result.right = readOf(right, rightRead);
  return contractions[key] = result;
}

std::vector<std::vector<int>> IndexSets::tuples(SetId set, const std::string &indices) const {
  std::vector<std::vector<int>> result;
  for (uint64_t code : sets[set].codes) {
    std::vector<int> tuple;
    for (char letter : indices)
      tuple.push_back(static_cast<int>((code & fields[letter - 'a']) >> shifts[letter - 'a']));
    result.push_back(std::move(tuple));
  }
  std::sort(result.begin(), result.end());
  return result;
}
