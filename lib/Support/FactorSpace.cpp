//===- FactorSpace.cpp - every way to compute the outputs -----------------===//

#include "FactorSpace.h"

#include <algorithm>
#include <set>

using namespace espmm;
using namespace espmm::factor;
using namespace espmm::factor::detail;

static int countLeaves(LeafSet leaves) {
  int count = 0;
  for (; leaves; leaves &= leaves - 1)
    ++count;
  return count;
}

static LeafSet lowestLeaf(LeafSet leaves) { return leaves & (~leaves + 1); }

static int leafNumber(LeafSet leaf) {
  int number = 0;
  while (!(leaf >> number & 1))
    ++number;
  return number;
}

static std::string makeKey(const std::vector<LeafSet> &terms, Letters letters) {
  std::string key(reinterpret_cast<const char *>(&letters), sizeof letters);
  key.append(reinterpret_cast<const char *>(terms.data()), terms.size() * sizeof(LeafSet));
  return key;
}

Space::Space(const Problem &problem) : problem(problem), sets(problem) {
  for (size_t leaf = 0; leaf < problem.leaves.size(); ++leaf) {
    leafLetters.push_back(lettersOf(problem.leaves[leaf].indices));
    if (problem.leaves[leaf].support)
      sparseLeaves |= LeafSet(1) << leaf;
  }
  for (const Output &output : problem.outputs) {
    std::vector<LeafSet> terms;
    for (const Term &term : output.terms) {
      LeafSet leaves = 0;
      for (int leaf : term)
        leaves |= LeafSet(1) << leaf;
      terms.push_back(leaves);
    }
    outputs.push_back(getValue(std::move(terms), lettersOf(output.indices)));
  }
  computeCosts();
}

Letters Space::lettersOfLeaves(LeafSet leaves) const {
  Letters letters = 0;
  for (; leaves; leaves &= leaves - 1)
    letters |= leafLetters[leafNumber(lowestLeaf(leaves))];
  return letters;
}

/// A sum over letters that nothing else needs may be taken as soon as they have met, so a projected join of supports
/// is the support of the product, however it is computed.
SetId Space::termSupport(LeafSet term, Letters letters) {
  letters &= sets.sparseLetters();
  std::string key = makeKey({term & sparseLeaves}, letters);
  if (auto it = supports.find(key); it != supports.end())
    return it->second;
  SetId support = sets.cube(0);
  Letters met = 0;
  for (LeafSet leaves = term & sparseLeaves; leaves; leaves &= leaves - 1) {
    int leaf = leafNumber(lowestLeaf(leaves));
    met |= leafLetters[leaf];
    // Only what the result or a leaf yet to come has is worth keeping.
    Letters kept = met & (letters | lettersOfLeaves(leaves & (leaves - 1)));
    support = sets.join(support, sets.leafSupport(leaf), kept);
  }
  support = sets.join(support, sets.cube(letters & ~met), letters);
  return supports[key] = support;
}

SetId Space::supportOf(const std::vector<LeafSet> &terms, Letters letters) {
  SetId support = termSupport(terms.front(), letters);
  for (LeafSet term : terms)
    support = sets.unite(support, termSupport(term, letters));
  return support;
}

int Space::getValue(std::vector<LeafSet> terms, Letters letters) {
  std::sort(terms.begin(), terms.end());
  std::string key = makeKey(terms, letters);
  if (auto it = numbers.find(key); it != numbers.end())
    return it->second;

  Value value;
  value.letters = letters;
  value.dense = static_cast<double>(sets.denseSize(letters));
  value.support = supportOf(terms, letters);
  int sharedBy = INT32_MAX;
  for (LeafSet term : terms) {
    for (LeafSet leaves = term; leaves; leaves &= leaves - 1)
      sharedBy = std::min(sharedBy, problem.leaves[leafNumber(lowestLeaf(leaves))].sharedBy);
    value.givenTerms += countLeaves(term) == 1 && lettersOfLeaves(term) == letters;
  }
  value.share = 1.0 / sharedBy;

  std::vector<Alternative> &alternatives = value.alternatives;
  if (terms.size() > 1) {
    addFactoredAlternatives(terms, letters, alternatives);
    addSplitAlternatives(terms, letters, alternatives);
  } else if (countLeaves(terms[0]) > 1) {
    addSingleTermAlternatives(terms[0], letters, alternatives);
  } else if (lettersOfLeaves(terms[0]) == letters) {
    value.leaf = leafNumber(terms[0]);
  } else {
    alternatives.push_back({Alternative::Kind::Reduce, getValue(terms, lettersOfLeaves(terms[0])), -1});
  }

  // Summed over the channels as late as can be: worth it where the summands, or the value with its channels, are needed
  // anyway.
  bool isGiven = terms.size() == 1 && countLeaves(terms[0]) == 1;
  bool inEveryTerm =
      std::all_of(terms.begin(), terms.end(), [&](LeafSet term) { return lettersOfLeaves(term) & channel; });
  if (!(letters & channel) && inEveryTerm && !isGiven)
    alternatives.push_back({Alternative::Kind::Reduce, getValue(terms, letters | channel), -1});

  value.terms = std::move(terms);
  auto number = static_cast<int>(values.size());
  values.push_back(std::move(value));
  numbers.emplace(std::move(key), number);
  return number;
}

/// An intermediate of more elements than any sensible plan has is not even enumerated.
bool Space::isAffordable(Letters letters) const { return sets.cubeSize(letters) <= (1 << 18); }

// a b c -> (a) (b c), (a b) (c), (a c) (b)
void Space::addSingleTermAlternatives(LeafSet term, Letters letters, std::vector<Alternative> &alternatives) {
  LeafSet first = lowestLeaf(term), others = term & ~first;
  auto split = [&](LeafSet left) {
    LeafSet right = term & ~left;
    Letters leftLetters = lettersOfLeaves(left), rightLetters = lettersOfLeaves(right);
    leftLetters &= rightLetters | letters;
    rightLetters &= lettersOfLeaves(left) | letters;
    int leftValue = getValue({left}, leftLetters), rightValue = getValue({right}, rightLetters);
    alternatives.push_back({Alternative::Kind::Product, leftValue, rightValue});
  };
  auto isSmall = [&](LeafSet left) {
    LeafSet right = term & ~left;
    Letters leftLetters = lettersOfLeaves(left), rightLetters = lettersOfLeaves(right);
    return isAffordable(leftLetters & (rightLetters | letters)) && isAffordable(rightLetters & (leftLetters | letters));
  };
  if (isCrowded() || countLeaves(term) > 10) {
    for (LeafSet leaves = term; leaves; leaves &= leaves - 1)
      if (isSmall(lowestLeaf(leaves)))
        split(lowestLeaf(leaves));
  } else {
    // Every subset that has the first leaf and is not the whole.
    for (LeafSet more = (others - 1) & others;; more = (more - 1) & others) {
      if (isSmall(first | more))
        split(first | more);
      if (more == 0)
        break;
    }
  }
  if (alternatives.empty())
    split(first);
}

// a b c + a d e -> a (b c + d e)
void Space::addFactoredAlternatives(const std::vector<LeafSet> &terms, Letters letters,
                                    std::vector<Alternative> &alternatives) {
  LeafSet common = ~LeafSet(0);
  for (LeafSet term : terms)
    common &= term;
  for (LeafSet factor = common; factor; factor = (factor - 1) & common) {
    Letters factorLetters = lettersOfLeaves(factor), restLetters = 0;
    std::vector<LeafSet> rests;
    bool sameLetters = true;
    for (LeafSet term : terms) {
      LeafSet rest = term & ~factor;
      Letters needed = lettersOfLeaves(rest) & (factorLetters | letters);
      sameLetters &= rest != 0 && (rests.empty() || needed == restLetters);
      restLetters = needed;
      rests.push_back(rest);
    }
    factorLetters &= restLetters | letters;
    if (!sameLetters || !isAffordable(factorLetters) || !isAffordable(restLetters))
      continue;
    int left = getValue({factor}, factorLetters), right = getValue(std::move(rests), restLetters);
    alternatives.push_back({Alternative::Kind::Product, left, right});
    if (isCrowded())
      break;
  }
}

// a b + c d + a e -> (a b + a e) + (c d), (a b) + (c d + a e): the first term with those that share a factor, or alone
void Space::addSplitAlternatives(const std::vector<LeafSet> &terms, Letters letters,
                                 std::vector<Alternative> &alternatives) {
  LeafSet first = terms.front();
  std::set<std::vector<bool>> groups;
  std::vector<bool> alone(terms.size());
  alone[0] = true;
  groups.insert(alone);
  if (!isCrowded() && countLeaves(first) <= 10)
    for (LeafSet factor = (first - 1) & first; factor; factor = (factor - 1) & first) {
      std::vector<bool> group(terms.size());
      for (size_t position = 0; position < terms.size(); ++position)
        group[position] = (terms[position] & factor) == factor && terms[position] != factor;
      groups.insert(std::move(group));
    }
  for (const std::vector<bool> &group : groups) {
    std::vector<LeafSet> grouped, others;
    for (size_t position = 0; position < terms.size(); ++position)
      (group[position] ? grouped : others).push_back(terms[position]);
    if (others.empty())
      continue;
    int left = getValue(std::move(grouped), letters), right = getValue(std::move(others), letters);
    alternatives.push_back({Alternative::Kind::Sum, left, right});
  }
}

Space::Evaluation Space::evaluate(const Value &value, const Alternative &alternative, SetId live) {
  const Value &left = values[alternative.left];
  Letters operandLetters = left.letters | (alternative.right < 0 ? 0 : values[alternative.right].letters);
  double dense = alternative.dense, elements = static_cast<double>(sets.size(live)) * value.dense;
  double operation = operandLetters & channel ? 1.0 : problem.cost.channelFree;
  double cost = trifle * elements;
  if (operandLetters & ~value.letters & channel)
    cost += problem.cost.channelSum * elements;
  switch (alternative.kind) {
  case Alternative::Kind::Product: {
    const Value &right = values[alternative.right];
    IndexSets::Contraction contraction = sets.contract(left.support, right.support, live);
    if (left.letters & right.letters & channel)
      operation += trifle;
    cost += static_cast<double>(contraction.pairs) * dense * operation;
    return {cost * value.share, contraction.left, contraction.right};
  }
  case Alternative::Kind::Sum: {
    const Value &right = values[alternative.right];
    if (left.givenTerms && right.givenTerms)
      cost += static_cast<double>(sets.size(live)) * dense * operation;
    return {cost * value.share, sets.restrict(left.support, live), sets.restrict(right.support, live)};
  }
  case Alternative::Kind::Reduce: {
    SetId read = sets.restrict(left.support, live);
    // Within a channel only a given tensor is reduced: other values are projected where they are made.
    if (left.letters & ~value.letters & ~channel)
      cost += static_cast<double>(sets.size(read)) * dense * operation;
    return {cost * value.share, read, -1};
  }
  }
  return {cost, -1, -1};
}

/// From the outputs down: what may be read of each value, and with it the cost of its alternatives.
void Space::computeCosts() {
  auto read = [&](int number, SetId live) {
    Value &value = values[number];
    value.live = unite(value.live, live);
  };
  for (int output : outputs)
    read(output, values[output].support);
  for (auto number = static_cast<int>(values.size()) - 1; number >= 0; --number)
    for (Alternative &alternative : values[number].alternatives) {
      Letters letters = values[alternative.left].letters;
      if (alternative.right >= 0)
        letters |= values[alternative.right].letters;
      alternative.dense = static_cast<double>(sets.denseSize(letters));
      Evaluation evaluation = evaluate(values[number], alternative, values[number].live);
      alternative.cost = evaluation.cost;
      read(alternative.left, evaluation.left);
      if (alternative.right >= 0)
        read(alternative.right, evaluation.right);
    }
}
