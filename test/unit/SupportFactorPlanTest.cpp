//===- SupportFactorPlanTest.cpp - plans compute what they should ---------===//
//
// Plans are run on numbers and compared with the outputs' definition, and what analyze() says of them with a recount
// over all index tuples.
//
//===----------------------------------------------------------------------===//
#include "SupportProblems.h"
#include "SupportTest.h"

#include <algorithm>
#include <cmath>

using namespace espmm::factor;
using namespace test;

/// Over `indices`, all of which `dense` has; any of the others may differ.
static std::vector<std::vector<int>> nonzeroTuples(const Problem &problem, const Dense &dense,
                                                   const std::string &indices) {
  Dense projected = einsum(problem, {&dense}, indices);
  std::vector<std::vector<int>> tuples;
  for (size_t position = 0; position < projected.values.size(); ++position) {
    if (projected.values[position] == 0)
      continue;
    std::vector<int> tuple(indices.size());
    size_t rest = position;
    for (size_t digit = indices.size(); digit-- > 0;) {
      tuple[digit] = static_cast<int>(rest % extentOf(problem, indices[digit]));
      rest /= extentOf(problem, indices[digit]);
    }
    tuples.push_back(std::move(tuple));
  }
  return tuples;
}

static double sumOf(const Dense &dense) {
  double sum = 0;
  for (double value : dense.values)
    sum += value;
  return sum;
}

static void checkShape(const Problem &problem, const Plan &plan) {
  std::vector<int> uses(plan.nodes.size());
  for (size_t number = 0; number < plan.nodes.size(); ++number) {
    const Node &node = plan.nodes[number];
    CHECK((node.kind == Node::Kind::Leaf) == (node.leaf >= 0));
    CHECK(node.kind == Node::Kind::Leaf ? node.operands.empty()
                                        : node.kind == Node::Kind::Product ? node.operands.size() == 2
                                                                           : !node.operands.empty());
    std::string first;
    for (int operand : node.operands) {
      CHECK(operand >= 0 && operand < static_cast<int>(number));
      ++uses[operand];
      std::string indices = plan.nodes[operand].indices;
      std::sort(indices.begin(), indices.end());
      if (node.kind == Node::Kind::Sum && operand != node.operands[0])
        CHECK_CASE(indices == first, printPlan(problem, plan));
      first = indices;
    }
    if (node.kind != Node::Kind::Leaf)
      CHECK(std::is_sorted(node.indices.begin(), node.indices.end()));
  }
  for (int output : plan.outputs)
    ++uses[output];
  CHECK(std::count(uses.begin(), uses.end(), 0) == 0);
}

/// Tensors of ones where a node may be nonzero and is read, from the definition: consumers first.
static std::vector<Dense> markRead(const Problem &problem, const Plan &plan, const std::vector<Dense> &ones) {
  std::vector<Dense> read;
  for (const Dense &node : ones)
    read.push_back({node.indices, std::vector<double>(node.values.size())});
  auto mark = [&](int number, const Dense &more) {
    for (size_t position = 0; position < more.values.size(); ++position)
      if (more.values[position] != 0 && ones[number].values[position] != 0)
        read[number].values[position] = 1;
  };
  for (int output : plan.outputs)
    mark(output, ones[output]);
  for (size_t number = plan.nodes.size(); number-- > 0;) {
    const std::vector<int> &operands = plan.nodes[number].operands;
    for (size_t position = 0; position < operands.size(); ++position) {
      std::vector<const Dense *> around = {&read[number]};
      if (plan.nodes[number].kind == Node::Kind::Product)
        around.push_back(&ones[operands[1 - position]]);
      around.push_back(&ones[operands[position]]); // so that every letter is there
      mark(operands[position], einsum(problem, around, ones[operands[position]].indices));
    }
  }
  return read;
}

static void checkAnalysis(const Problem &problem, const Plan &plan) {
  // Structural nonzeros: every sum is of positive numbers.
  std::vector<Dense> leaves;
  std::mt19937 random(1);
  leaves = makeLeafValues(problem, random);
  std::vector<Dense> ones = evaluatePlan(problem, plan, leaves);
  for (Dense &node : ones)
    for (double &value : node.values)
      value = value != 0;
  std::vector<Dense> read = markRead(problem, plan, ones);

  Analysis analysis = analyze(problem, plan);
  CHECK(analysis.cost == plan.cost);
  int64_t multiplications = 0, channelFree = 0, channelSums = 0;
  for (size_t number = 0; number < plan.nodes.size(); ++number) {
    const Node &node = plan.nodes[number];
    const std::string &sparse = analysis.sparseIndices[number];
    CHECK_CASE(analysis.elements[number] == nonzeroTuples(problem, read[number], sparse), printPlan(problem, plan));
    std::string letters;
    for (int operand : node.operands)
      letters += plan.nodes[operand].indices;
    bool hasChannel = letters.find('u') != std::string::npos;
    if (hasChannel && node.indices.find('u') == std::string::npos)
      channelSums += std::llround(sumOf(read[number]));
    if (node.kind != Node::Kind::Product)
      continue;
    Dense pairs = einsum(problem, {&ones[node.operands[0]], &ones[node.operands[1]], &read[number]}, "");
    (hasChannel ? multiplications : channelFree) += std::llround(sumOf(pairs)) / (hasChannel ? channels : 1);
  }
  CHECK_CASE(analysis.multiplications == multiplications, printPlan(problem, plan));
  CHECK_CASE(analysis.channelFreeMultiplications == channelFree, printPlan(problem, plan));
  CHECK_CASE(analysis.channelSums == channelSums, printPlan(problem, plan));
  double cost = static_cast<double>(multiplications + analysis.additions) +
                problem.cost.channelFree * static_cast<double>(channelFree) +
                problem.cost.channelSum * static_cast<double>(channelSums);
  bool shared = std::any_of(problem.leaves.begin(), problem.leaves.end(), [](auto &leaf) { return leaf.sharedBy > 1; });
  if (problem.cost.channelFree == 1 && !shared)
    CHECK_CASE(std::abs(cost - plan.cost) < 1e-9 * (1 + cost), printPlan(problem, plan));
}

static void checkPlan(const Problem &problem, std::mt19937 &random) {
  std::string error;
  auto plan = factorize(problem, &error);
  if (!CHECK_CASE(plan != nullptr, error))
    return;
  checkShape(problem, *plan);
  checkAnalysis(problem, *plan);
  std::vector<Dense> leaves = makeLeafValues(problem, random);
  std::vector<Dense> nodes = evaluatePlan(problem, *plan, leaves), expected = evaluateOutputs(problem, leaves);
  for (size_t output = 0; output < expected.size(); ++output) {
    Dense got = einsum(problem, {&nodes[plan->outputs[output]]}, expected[output].indices);
    CHECK(got.indices.size() == plan->nodes[plan->outputs[output]].indices.size());
    double worst = 0;
    for (size_t position = 0; position < got.values.size(); ++position)
      worst = std::max(worst, std::abs(got.values[position] - expected[output].values[position]) /
                                  (1 + std::abs(expected[output].values[position])));
    CHECK_CASE(worst < 1e-12, printPlan(problem, *plan));
  }
}

void test::testFactorPlans() {
  std::mt19937 random(7);
  const CostModel models[] = {{1, 0}, {1, 4}, {1.0 / 16, 0.1}, {1.0 / 128, 0}};
  const int triples[][3] = {{0, 0, 0}, {1, 1, 1}, {2, 1, 2}, {0, 2, 2}, {1, 2, 3}, {2, 2, 0}};
  for (auto &l : triples)
    for (const CostModel &model : models)
      for (int order = 0; order <= 3; ++order)
        checkPlan(derivePath(l[0], l[1], l[2], order, model), random);
  checkPlan(derivePath(3, 3, 3, 3, models[2]), random);
  checkPlan(derivePath(1, 1, 2, 4, models[1]), random);
  for (int round = 0; round < 400; ++round)
    checkPlan(makeRandomProblem(random), random);
}
