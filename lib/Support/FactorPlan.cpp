//===- FactorPlan.cpp - plans: from a choice, and what they cost ----------===//

#include "FactorSearch.h"

#include <algorithm>

using namespace espmm;
using namespace espmm::factor;
using namespace espmm::factor::detail;

namespace {

/// Turns chosen values into nodes. A sum whose one user is a sum, and a value whose one user is a reduction, become
/// part of their user.
class PlanMaker {
public:
  PlanMaker(const Space &space, const Choice &choice) : space(space), choice(choice), users(space.values.size()) {
    for (int output : space.outputs)
      count(output);
  }

  Plan make() {
    Plan plan;
    nodes.assign(space.values.size(), -1);
    for (int output : space.outputs)
      plan.outputs.push_back(emit(plan, output));
    return plan;
  }

private:
  using Kind = Alternative::Kind;

  void count(int number) {
    if (users[number]++ > 0 || space.values[number].leaf >= 0)
      return;
    const Alternative &alternative = chosen(number);
    count(alternative.left);
    if (alternative.right >= 0)
      count(alternative.right);
  }

  const Alternative &chosen(int number) const { return space.values[number].alternatives[choice[number]]; }

  bool isInlined(int operand, Kind kind) const {
    return users[operand] == 1 && space.values[operand].leaf < 0 && chosen(operand).kind == kind;
  }

  void emitSummand(Plan &plan, int operand, std::vector<int> &operands) {
    if (!isInlined(operand, Kind::Sum)) {
      operands.push_back(emit(plan, operand));
      return;
    }
    emitSummand(plan, chosen(operand).left, operands);
    emitSummand(plan, chosen(operand).right, operands);
  }

  int emit(Plan &plan, int number) {
    if (nodes[number] >= 0)
      return nodes[number];
    const Value &value = space.values[number];
    Node node;
    node.indices = spell(value.letters);
    if (value.leaf >= 0) {
      node.leaf = value.leaf;
      node.indices = space.leafIndices(value.leaf);
    } else {
      const Alternative &alternative = chosen(number);
      node.kind = alternative.kind == Kind::Product ? Node::Kind::Product : Node::Kind::Sum;
      if (alternative.kind == Kind::Product) {
        node.operands = {emit(plan, alternative.left), emit(plan, alternative.right)};
      } else if (alternative.kind == Kind::Sum) {
        emitSummand(plan, alternative.left, node.operands);
        emitSummand(plan, alternative.right, node.operands);
      } else if (isInlined(alternative.left, Kind::Product)) {
        const Alternative &product = chosen(alternative.left);
        node.kind = Node::Kind::Product;
        node.operands = {emit(plan, product.left), emit(plan, product.right)};
      } else {
        emitSummand(plan, alternative.left, node.operands);
      }
    }
    plan.nodes.push_back(std::move(node));
    return nodes[number] = static_cast<int>(plan.nodes.size()) - 1;
  }

  const Space &space;
  const Choice &choice;
  std::vector<int> users;
  std::vector<int> nodes;
};

} // namespace

Plan detail::makePlan(const Space &space, const Choice &choice) { return PlanMaker(space, choice).make(); }

Analysis factor::analyze(const Problem &problem, const Plan &plan) {
  IndexSets sets(problem);
  size_t count = plan.nodes.size();
  std::vector<SetId> support(count), live(count, -1);
  std::vector<Letters> letters(count);
  std::vector<int> sharedBy(count, INT32_MAX);
  for (size_t number = 0; number < count; ++number) {
    const Node &node = plan.nodes[number];
    letters[number] = lettersOf(node.indices);
    if (node.kind == Node::Kind::Leaf) {
      support[number] = sets.leafSupport(node.leaf);
      sharedBy[number] = problem.leaves[node.leaf].sharedBy;
      continue;
    }
    for (int operand : node.operands)
      sharedBy[number] = std::min(sharedBy[number], sharedBy[operand]);
    if (node.kind == Node::Kind::Product) {
      support[number] = sets.join(support[node.operands[0]], support[node.operands[1]], letters[number]);
      continue;
    }
    support[number] = sets.cube(0);
    for (size_t position = 0; position < node.operands.size(); ++position) {
      SetId projected = sets.join(support[node.operands[position]], sets.cube(0), letters[number]);
      support[number] = position == 0 ? projected : sets.unite(support[number], projected);
    }
  }

  Analysis analysis;
  auto read = [&](int number, SetId elements) {
    live[number] = live[number] < 0 ? elements : sets.unite(live[number], elements);
  };
  for (int output : plan.outputs)
    read(output, support[output]);
  for (size_t number = count; number-- > 0;) {
    const Node &node = plan.nodes[number];
    if (node.kind == Node::Kind::Leaf)
      continue;
    Letters operandLetters = 0;
    for (int operand : node.operands)
      operandLetters |= letters[operand];
    bool hasChannel = operandLetters & channel;
    int64_t multiplications = 0, additions = 0, channelSums = 0;
    int64_t dense = sets.denseSize(operandLetters);
    if (node.kind == Node::Kind::Product) {
      auto contraction = sets.contract(support[node.operands[0]], support[node.operands[1]], live[number]);
      multiplications = contraction.pairs * dense;
      read(node.operands[0], contraction.left);
      read(node.operands[1], contraction.right);
    } else {
      // Of the given tensors one starts the chain of multiply-adds, unless a sum within the channel has one already.
      bool reducesWithin = operandLetters & ~letters[number] & ~channel;
      int given = 0;
      SetId all = -1;
      for (int operand : node.operands) {
        SetId elements = sets.restrict(support[operand], live[number]);
        read(operand, elements);
        all = all < 0 ? elements : sets.unite(all, elements);
        given += plan.nodes[operand].kind == Node::Kind::Leaf;
      }
      additions = std::max(0, reducesWithin ? given : given - 1) * sets.size(all) * dense;
    }
    if (operandLetters & ~letters[number] & channel)
      channelSums = sets.size(live[number]) * sets.denseSize(letters[number]);

    (hasChannel ? analysis.multiplications : analysis.channelFreeMultiplications) += multiplications;
    analysis.additions += additions;
    analysis.channelSums += channelSums;
    double operations = static_cast<double>(multiplications + additions);
    if (!hasChannel)
      operations *= problem.cost.channelFree;
    analysis.cost += (operations + problem.cost.channelSum * static_cast<double>(channelSums)) / sharedBy[number];
  }

  for (size_t number = 0; number < count; ++number) {
    std::string indices;
    for (char letter : plan.nodes[number].indices)
      if (sets.sparseLetters() & letterBit(letter))
        indices += letter;
    analysis.elements.push_back(sets.tuples(live[number], indices));
    analysis.sparseIndices.push_back(std::move(indices));
  }
  return analysis;
}

std::string factor::printPlan(const Problem &problem, const Plan &plan) {
  std::string text;
  std::vector<std::string> names;
  int temporaries = 0;
  auto append = [](std::string &line, const char *separator, const std::string &name) {
    line += (line.empty() ? "" : separator) + name;
  };
  for (const Node &node : plan.nodes) {
    std::string name = node.kind != Node::Kind::Leaf ? "t" + std::to_string(temporaries++)
                       : problem.leaves[node.leaf].name.empty() ? "#" + std::to_string(node.leaf)
                                                                : problem.leaves[node.leaf].name;
    names.push_back(name + "_" + node.indices);
    if (node.kind == Node::Kind::Leaf)
      continue;
    std::string operands;
    for (int operand : node.operands)
      append(operands, node.kind == Node::Kind::Product ? " * " : " + ", names[operand]);
    text += names.back() + " = " + operands + "\n";
  }
  std::string outputs;
  for (int output : plan.outputs)
    append(outputs, " ", names[output]);
  return text + "-> " + outputs + "\n";
}
