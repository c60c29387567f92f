//===- Factorization.cpp - cheapest shared contractions -------------------===//

#include "espmm/Support/Factorization.h"
#include "FactorSearch.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <set>
#include <unordered_map>

using namespace espmm;
using namespace espmm::factor;
using namespace espmm::factor::detail;

static std::string quote(char letter) { return std::string("'") + letter + "'"; }

/// `what` names whose indices they are.
static std::string checkIndices(const std::string &what, const std::string &indices, const Problem &problem) {
  std::set<char> seen;
  for (char letter : indices) {
    if (letter < 'a' || letter > 'z')
      return what + ": expected indices to be letters 'a' to 'z', got " + quote(letter);
    if (!seen.insert(letter).second)
      return what + ": expected distinct indices, got " + quote(letter) + " twice";
    if (letter != 'u' && !problem.extents.count(letter))
      return what + ": expected an extent for index " + quote(letter) + ", got none";
  }
  return "";
}

static std::string checkLeaf(int number, const Problem &problem) {
  const Leaf &leaf = problem.leaves[number];
  std::string what = "leaf " + std::to_string(number);
  if (std::string error = checkIndices(what, leaf.indices, problem); !error.empty())
    return error;
  if (leaf.sharedBy < 1)
    return what + ": expected to be shared by 1 path or more, got " + std::to_string(leaf.sharedBy);
  if (!leaf.support)
    return "";
  std::string small = leaf.indices;
  small.erase(std::remove(small.begin(), small.end(), 'u'), small.end());
  for (const std::vector<int> &tuple : *leaf.support) {
    if (tuple.size() != small.size())
      return what + ": expected support tuples of " + std::to_string(small.size()) + " indices, got one of " +
             std::to_string(tuple.size());
    for (size_t position = 0; position < small.size(); ++position)
      if (int extent = problem.extents.at(small[position]); tuple[position] < 0 || tuple[position] >= extent)
        return what + ": expected index " + quote(small[position]) + " of a support tuple in [0, " +
               std::to_string(extent) + "), got " + std::to_string(tuple[position]);
  }
  return "";
}

static std::string checkOutput(int number, const Problem &problem) {
  const Output &output = problem.outputs[number];
  std::string what = "output " + std::to_string(number);
  if (std::string error = checkIndices(what, output.indices, problem); !error.empty())
    return error;
  if (output.terms.empty())
    return what + ": expected one term or more, got none";
  for (size_t position = 0; position < output.terms.size(); ++position) {
    const Term &term = output.terms[position];
    std::string whatTerm = what + ", term " + std::to_string(position);
    if (term.empty())
      return whatTerm + ": expected one leaf or more, got none";
    std::set<int> seen;
    std::set<char> letters;
    for (int leaf : term) {
      if (leaf < 0 || leaf >= static_cast<int>(problem.leaves.size()))
        return whatTerm + ": expected leaves in [0, " + std::to_string(problem.leaves.size()) + "), got " +
               std::to_string(leaf);
      if (!seen.insert(leaf).second)
        return whatTerm + ": expected each leaf at most once, got leaf " + std::to_string(leaf) + " twice";
      letters.insert(problem.leaves[leaf].indices.begin(), problem.leaves[leaf].indices.end());
    }
    for (char letter : output.indices)
      if (!letters.count(letter))
        return whatTerm + ": expected a leaf with index " + quote(letter) + " of the output, got none";
  }
  return "";
}

std::string factor::checkProblem(const Problem &problem) {
  for (auto [letter, extent] : problem.extents) {
    if (letter < 'a' || letter > 'z')
      return "extents: expected letters 'a' to 'z', got " + quote(letter);
    if (extent < 1)
      return "extents: expected 1 or more for index " + quote(letter) + ", got " + std::to_string(extent);
  }
  if (problem.leaves.size() > 64)
    return "expected at most 64 leaves, got " + std::to_string(problem.leaves.size());
  for (double cost : {problem.cost.channelFree, problem.cost.channelSum})
    if (!(cost >= 0) || std::isinf(cost))
      return "expected costs that are finite and not negative, got " + std::to_string(cost);
  for (int leaf = 0; leaf < static_cast<int>(problem.leaves.size()); ++leaf)
    if (std::string error = checkLeaf(leaf, problem); !error.empty())
      return error;
  for (int output = 0; output < static_cast<int>(problem.outputs.size()); ++output)
    if (std::string error = checkOutput(output, problem); !error.empty())
      return error;

  double bits = 0;
  std::set<char> sparse;
  for (const Leaf &leaf : problem.leaves)
    if (leaf.support)
      sparse.insert(leaf.indices.begin(), leaf.indices.end());
  for (char letter : sparse)
    if (letter != 'u')
      bits += std::ceil(std::log2(problem.extents.at(letter)));
  if (bits > 64)
    return "expected index tuples over the indices of leaves with a support to fit into 64 bits, got " +
           std::to_string(static_cast<int>(bits));
  return "";
}

namespace {

/// Everything that a plan depends on, as a string.
class KeyWriter {
public:
  explicit KeyWriter(const Problem &problem) {
    write(problem.leaves.size());
    for (const Leaf &leaf : problem.leaves) {
      write(leaf.indices);
      write(leaf.sharedBy);
      write(leaf.support.has_value());
      if (!leaf.support)
        continue;
      write(leaf.support->size());
      for (const std::vector<int> &tuple : *leaf.support)
        for (int index : tuple)
          write(index);
    }
    write(problem.outputs.size());
    for (const Output &output : problem.outputs) {
      write(output.indices);
      write(output.terms.size());
      for (const Term &term : output.terms) {
        write(term.size());
        for (int leaf : term)
          write(leaf);
      }
    }
    for (auto [letter, extent] : problem.extents) {
      write(letter);
      write(extent);
    }
    write(problem.cost.channelFree);
    write(problem.cost.channelSum);
  }
  std::string key;

private:
  template <typename T> void write(const T &value) {
    key.append(reinterpret_cast<const char *>(&value), sizeof value);
  }
  void write(const std::string &text) {
    write(text.size());
    key += text;
  }
};

} // namespace

std::shared_ptr<const Plan> factor::factorize(const Problem &problem, std::string *error) {
  if (std::string message = checkProblem(problem); !message.empty()) {
    if (error)
      *error = std::move(message);
    return nullptr;
  }
  static std::mutex mutex;
  static auto &plans = *new std::unordered_map<std::string, std::shared_ptr<const Plan>>;
  std::string key = KeyWriter(problem).key;
  {
    std::lock_guard lock(mutex);
    if (auto it = plans.find(key); it != plans.end())
      return it->second;
  }
  Space space(problem);
  Plan plan = makePlan(space, findCheapest(space));
  plan.cost = analyze(problem, plan).cost;
  std::lock_guard lock(mutex);
  return plans.try_emplace(std::move(key), std::make_shared<const Plan>(std::move(plan))).first->second;
}
