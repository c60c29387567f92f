//===- SupportProblems.cpp - factorisation problems to test with ----------===//
#include "SupportProblems.h"
#include "espmm/Support/ClebschGordan.h"

#include <algorithm>

using namespace espmm;
using namespace espmm::factor;

Problem test::derivePath(int l1, int l2, int l3, int order, CostModel cost) {
  Problem problem;
  problem.cost = cost;
  problem.extents = {{'i', 2 * l1 + 1}, {'j', 2 * l2 + 1}, {'k', 2 * l3 + 1}};
  std::vector<std::vector<int>> support;
  for (const std::array<int, 3> &triple : clebschGordanNonzeros(l1, l2, l3))
    support.push_back({triple.begin(), triple.end()});
  auto addLeaf = [&](const std::string &indices, const std::string &name) {
    problem.leaves.push_back({indices, std::nullopt, 1, name});
    return static_cast<int>(problem.leaves.size()) - 1;
  };
  enum { C, x, y, w, g };
  problem.leaves.push_back({"ijk", support, 1, "C"});
  addLeaf("iu", "x");
  addLeaf("j", "y");
  addLeaf("u", "w");
  if (order == 0) {
    problem.outputs.push_back({{{C, x, y, w}}, "ku"});
    return problem;
  }
  addLeaf("ku", "g");
  // The scalar whose gradients the outputs are, and with respect to what.
  std::vector<Term> scalar = {{C, x, y, w, g}};
  std::vector<int> variables = {x, y, w};
  for (int level = 2; level <= order; ++level) {
    std::vector<Term> next;
    std::vector<int> read;
    for (int variable : variables) {
      static const char *second[] = {"X", "Y", "V"};
      std::string name = problem.leaves[variable].name + std::to_string(level);
      int cotangent = addLeaf(problem.leaves[variable].indices, level == 2 ? second[variable - x] : name);
      for (Term term : scalar)
        if (auto it = std::find(term.begin(), term.end(), variable); it != term.end()) {
          *it = cotangent;
          next.push_back(term);
        }
    }
    for (const Term &term : scalar)
      read.insert(read.end(), term.begin(), term.end());
    std::sort(read.begin(), read.end());
    read.erase(std::unique(read.begin(), read.end()), read.end());
    read.erase(read.begin()); // C is not a variable
    scalar = std::move(next);
    variables = std::move(read);
  }
  for (int variable : variables) {
    Output output;
    output.indices = problem.leaves[variable].indices;
    for (Term term : scalar)
      if (auto it = std::find(term.begin(), term.end(), variable); it != term.end()) {
        term.erase(it);
        output.terms.push_back(term);
      }
    problem.outputs.push_back(output);
  }
  return problem;
}

Problem test::makeRandomProblem(std::mt19937 &random) {
  auto draw = [&](int least, int most) { return least + static_cast<int>(random() % (most - least + 1)); };
  Problem problem;
  for (char letter : {'i', 'j', 'k', 'v', 'w'})
    problem.extents[letter] = draw(1, 3);
  problem.cost.channelFree = draw(0, 1) ? 1.0 : 1.0 / 16;
  problem.cost.channelSum = draw(0, 4);
  for (int leaf = draw(2, 7); leaf > 0; --leaf) {
    std::string letters = "ijkuvw", small;
    std::shuffle(letters.begin(), letters.end(), random);
    letters.resize(draw(0, 3));
    std::copy_if(letters.begin(), letters.end(), std::back_inserter(small), [](char letter) { return letter != 'u'; });
    Leaf made = {letters, std::nullopt, draw(1, 3), ""};
    if (draw(0, 1)) {
      std::vector<std::vector<int>> tuples = {{}};
      for (char letter : small) {
        std::vector<std::vector<int>> longer;
        for (std::vector<int> tuple : tuples)
          for (int index = 0; index < problem.extents[letter]; ++index) {
            longer.push_back(tuple);
            longer.back().push_back(index);
          }
        tuples = std::move(longer);
      }
      tuples.erase(std::remove_if(tuples.begin(), tuples.end(), [&](auto &) { return draw(0, 2) == 0; }), tuples.end());
      made.support = std::move(tuples);
    }
    problem.leaves.push_back(std::move(made));
  }
  for (int output = draw(1, 4); output > 0; --output) {
    Output made;
    std::string common = "ijkuvw";
    for (int term = draw(1, 4); term > 0; --term) {
      Term leaves(problem.leaves.size());
      for (size_t leaf = 0; leaf < leaves.size(); ++leaf)
        leaves[leaf] = static_cast<int>(leaf);
      std::shuffle(leaves.begin(), leaves.end(), random);
      leaves.resize(draw(1, std::min<int>(4, static_cast<int>(leaves.size()))));
      std::string letters;
      for (int leaf : leaves)
        letters += problem.leaves[leaf].indices;
      common.erase(std::remove_if(common.begin(), common.end(),
                                  [&](char letter) { return letters.find(letter) == std::string::npos; }),
                   common.end());
      made.terms.push_back(std::move(leaves));
    }
    std::copy_if(common.begin(), common.end(), std::back_inserter(made.indices), [&](char) { return draw(0, 2) > 0; });
    std::shuffle(made.indices.begin(), made.indices.end(), random);
    problem.outputs.push_back(std::move(made));
  }
  return problem;
}

int test::extentOf(const Problem &problem, char letter) {
  return letter == 'u' ? channels : problem.extents.at(letter);
}

test::Dense test::einsum(const Problem &problem, const std::vector<const Dense *> &operands,
                         const std::string &indices) {
  std::string letters = indices;
  for (const Dense *operand : operands)
    for (char letter : operand->indices)
      if (letters.find(letter) == std::string::npos)
        letters += letter;
  // Row-major strides of each tensor along `letters`; 0 where it lacks the letter.
  std::vector<int> extents;
  for (char letter : letters)
    extents.push_back(extentOf(problem, letter));
  auto strides = [&](const std::string &of) {
    std::vector<size_t> result(letters.size());
    size_t stride = 1;
    for (size_t position = of.size(); position-- > 0;) {
      result[letters.find(of[position])] = stride;
      stride *= extentOf(problem, of[position]);
    }
    return std::pair(result, stride);
  };
  std::vector<std::vector<size_t>> operandStrides;
  for (const Dense *operand : operands)
    operandStrides.push_back(strides(operand->indices).first);
  auto [resultStrides, size] = strides(indices);
  Dense result = {indices, std::vector<double>(size)};
  std::vector<int> at(letters.size());
  auto offset = [&](const std::vector<size_t> &along) {
    size_t sum = 0;
    for (size_t position = 0; position < at.size(); ++position)
      sum += at[position] * along[position];
    return sum;
  };
  while (true) {
    double product = 1;
    for (size_t operand = 0; operand < operands.size(); ++operand)
      product *= operands[operand]->values[offset(operandStrides[operand])];
    result.values[offset(resultStrides)] += product;
    size_t position = 0;
    while (position < at.size() && ++at[position] == extents[position])
      at[position++] = 0;
    if (position == at.size())
      return result;
  }
}

std::vector<test::Dense> test::makeLeafValues(const Problem &problem, std::mt19937 &random) {
  std::vector<Dense> values;
  for (const Leaf &leaf : problem.leaves) {
    Dense dense = einsum(problem, {}, leaf.indices);
    for (size_t position = 0; position < dense.values.size(); ++position) {
      std::vector<int> tuple;
      size_t rest = position;
      for (auto letter = leaf.indices.rbegin(); letter != leaf.indices.rend(); ++letter) {
        if (*letter != 'u')
          tuple.insert(tuple.begin(), static_cast<int>(rest % extentOf(problem, *letter)));
        rest /= extentOf(problem, *letter);
      }
      bool isIn = !leaf.support || std::count(leaf.support->begin(), leaf.support->end(), tuple) > 0;
      dense.values[position] = isIn ? 0.5 + static_cast<double>(random() % 1000) / 1000 : 0;
    }
    values.push_back(std::move(dense));
  }
  return values;
}

std::vector<test::Dense> test::evaluatePlan(const Problem &problem, const Plan &plan,
                                            const std::vector<Dense> &leaves) {
  std::vector<Dense> values;
  for (const Node &node : plan.nodes) {
    if (node.kind == Node::Kind::Leaf) {
      values.push_back(leaves[node.leaf]);
    } else if (node.kind == Node::Kind::Product) {
      values.push_back(einsum(problem, {&values[node.operands[0]], &values[node.operands[1]]}, node.indices));
    } else {
      Dense sum;
      for (int operand : node.operands) {
        Dense part = einsum(problem, {&values[operand]}, node.indices);
        if (sum.values.empty())
          sum = std::move(part);
        else
          for (size_t position = 0; position < part.values.size(); ++position)
            sum.values[position] += part.values[position];
      }
      values.push_back(std::move(sum));
    }
  }
  return values;
}

std::vector<test::Dense> test::evaluateOutputs(const Problem &problem, const std::vector<Dense> &leaves) {
  std::vector<Dense> values;
  for (const Output &output : problem.outputs) {
    Dense sum;
    for (const Term &term : output.terms) {
      std::vector<const Dense *> operands;
      for (int leaf : term)
        operands.push_back(&leaves[leaf]);
      Dense part = einsum(problem, operands, output.indices);
      if (sum.values.empty())
        sum = std::move(part);
      else
        for (size_t position = 0; position < part.values.size(); ++position)
          sum.values[position] += part.values[position];
    }
    values.push_back(std::move(sum));
  }
  return values;
}
