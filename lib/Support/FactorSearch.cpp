//===- FactorSearch.cpp - the cheapest way through the space --------------===//
//
// Finding the cheapest choice is hard because values are shared. Given what is computed already, though, the cheapest
// way to one more value is nearly a sum over its operands and is found bottom up. So: start with the outputs one after
// another, values that several outputs could use being marked down by a random amount; then take away one output, or
// what one value is computed from, and put it back the cheapest way given the rest, until that gains nothing; start
// again. Last, the best choice is improved by forcing each alternative of each of its values in turn. (Many starts were
// found to be worth more than changing the best choice at random.)
//
//===----------------------------------------------------------------------===//

#include "FactorSearch.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace espmm;
using namespace espmm::factor;
using namespace espmm::factor::detail;

namespace {

/// SplitMix64: small, and the same everywhere.
class Random {
public:
  uint64_t next() {
    uint64_t word = (state += 0x9E3779B97F4A7C15u);
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9u;
    word = (word ^ (word >> 27)) * 0x94D049BB133111EBu;
    return word ^ (word >> 31);
  }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

private:
  uint64_t state = 20240613;
};

class Search {
public:
  explicit Search(Space &space);
  Choice run();

private:
  using Kind = Alternative::Kind;

  /// The values that `number` may be computed from, and itself, in order.
  const std::vector<int> &reach(int number);
  /// The cheapest alternative of every value in `order`, given the values in use. Factors: null, or one per value.
  void price(const std::vector<int> &order, const double *factors);
  /// One more user of a value, computed if it was not by its cheapest alternative.
  void use(int number);
  void release(int number);
  void setAlternative(int number, int alternative);
  void clearAlternative(int number);
  void drawPrices(double exponent, double spread);
  void startOver();
  bool improveOutputs();
  bool improveValues();
  void descend();
  bool force(double &cost);
  double exactCost();

  /// A point to come back to.
  struct Mark {
    size_t length;
    double cost;
  };
  Mark mark() const { return {journal.size(), cost}; }
  void rollBack(Mark mark);
  void setUsers(int number, int count);
  void setChoice(int number, int position);

  /// By more than what rounding may have made of them.
  static bool isLess(double a, double b) { return a + std::max(1e-9, 1e-12 * a) < b; }
  /// Costs that are further apart than this are so exactly, too.
  static constexpr double nearly = 1.02;
  static constexpr int maxRounds = 80;
  static constexpr int64_t maxWork = 2000000;

  Space &space;
  std::vector<std::vector<int>> reaches;
  /// The alternatives of all values, packed for pricing. One past the last value is a place that costs nothing.
  struct Option {
    double cost;
    int left, right;
  };
  std::vector<Option> options;
  std::vector<int> firstOption;
  std::vector<double> best;
  std::vector<int> bestAlternative;
  std::vector<SetId> read;
  /// Per value how many outputs it may serve.
  std::vector<int> reachedBy;
  std::vector<double> prices;

  // The state: what is computed how, by how many chosen alternatives and outputs it is used, and its cost.
  Choice choice;
  std::vector<int> users;
  double cost = 0;
  struct Change {
    int number, users, choice; // as they were before
  };
  std::vector<Change> journal;

  Random random;
  /// Alternatives priced so far.
  int64_t work = 0;
};

Search::Search(Space &space) : space(space) {
  size_t count = space.values.size();
  reaches.resize(count);
  best.resize(count + 1);
  for (const Value &value : space.values) {
    firstOption.push_back(static_cast<int>(options.size()));
    for (const Alternative &alternative : value.alternatives) {
      bool isSecond = alternative.right >= 0 && alternative.right != alternative.left;
      options.push_back({alternative.cost, alternative.left, isSecond ? alternative.right : static_cast<int>(count)});
    }
  }
  firstOption.push_back(static_cast<int>(options.size()));
  bestAlternative.resize(count, -1);
  read.resize(count);
  prices.resize(count);
  reachedBy.resize(count);
  for (int output : space.outputs)
    for (int number : reach(output))
      ++reachedBy[number];
}

const std::vector<int> &Search::reach(int number) {
  std::vector<int> &order = reaches[number];
  if (!order.empty())
    return order;
  std::vector<char> seen(number + 1);
  seen[number] = 1;
  for (int value = number; value >= 0; --value) {
    if (!seen[value])
      continue;
    order.push_back(value);
    for (const Alternative &alternative : space.values[value].alternatives) {
      seen[alternative.left] = 1;
      if (alternative.right >= 0)
        seen[alternative.right] = 1;
    }
  }
  std::reverse(order.begin(), order.end());
  return order;
}

void Search::price(const std::vector<int> &order, const double *factors) {
  for (int number : order) {
    if (users[number] > 0 || firstOption[number] == firstOption[number + 1]) {
      best[number] = 0;
      continue;
    }
    double factor = factors ? factors[number] : 1.0, least = std::numeric_limits<double>::infinity();
    int leastPosition = -1;
    for (int position = firstOption[number]; position < firstOption[number + 1]; ++position) {
      const Option &option = options[position];
      double total = option.cost * factor + best[option.left] + best[option.right];
      if (total < least) {
        least = total;
        leastPosition = position;
      }
    }
    work += firstOption[number + 1] - firstOption[number];
    best[number] = least;
    bestAlternative[number] = leastPosition - firstOption[number];
  }
}

void Search::setUsers(int number, int count) {
  journal.push_back({number, users[number], choice[number]});
  users[number] = count;
}

void Search::setChoice(int number, int position) {
  journal.push_back({number, users[number], choice[number]});
  choice[number] = position;
}

void Search::rollBack(Mark mark) {
  for (; journal.size() > mark.length; journal.pop_back()) {
    users[journal.back().number] = journal.back().users;
    choice[journal.back().number] = journal.back().choice;
  }
  cost = mark.cost;
}

void Search::setAlternative(int number, int position) {
  const Alternative &alternative = space.values[number].alternatives[position];
  setChoice(number, position);
  cost += alternative.cost;
  use(alternative.left);
  if (alternative.right >= 0)
    use(alternative.right);
}

void Search::clearAlternative(int number) {
  const Alternative &alternative = space.values[number].alternatives[choice[number]];
  setChoice(number, -1);
  cost -= alternative.cost;
  release(alternative.left);
  if (alternative.right >= 0)
    release(alternative.right);
}

void Search::use(int number) {
  setUsers(number, users[number] + 1);
  if (users[number] == 1 && space.values[number].leaf < 0)
    setAlternative(number, bestAlternative[number]);
}

void Search::release(int number) {
  setUsers(number, users[number] - 1);
  if (users[number] == 0 && space.values[number].leaf < 0)
    clearAlternative(number);
}

/// Prices that mark values down by the number of outputs that they may serve, to a random degree.
void Search::drawPrices(double exponent, double spread) {
  std::vector<double> markdown(space.outputs.size() + 1);
  for (size_t count = 1; count < markdown.size(); ++count)
    markdown[count] = std::pow(static_cast<double>(count), -exponent);
  for (size_t number = 0; number < prices.size(); ++number)
    prices[number] = markdown[reachedBy[number]] * (1 - spread * random.uniform());
}

/// Computes the outputs at the drawn prices, in random order.
void Search::startOver() {
  choice.assign(space.values.size(), -1);
  users.assign(space.values.size(), 0);
  cost = 0;
  std::vector<int> outputs = space.outputs;
  for (size_t left = outputs.size(); left > 0; --left) {
    std::swap(outputs[left - 1], outputs[random.next() % left]);
    price(reach(outputs[left - 1]), prices.data());
    use(outputs[left - 1]);
  }
  journal.clear();
}

bool Search::improveOutputs() {
  bool improved = false;
  for (int output : space.outputs) {
    Mark before = mark();
    release(output);
    price(reach(output), nullptr);
    use(output);
    if (isLess(cost, before.cost))
      improved = true;
    else
      rollBack(before);
  }
  return improved;
}

bool Search::improveValues() {
  bool improved = false;
  for (int number = static_cast<int>(space.values.size()) - 1; number >= 0; --number) {
    if (choice[number] < 0)
      continue;
    Mark before = mark();
    int count = users[number];
    clearAlternative(number);
    setUsers(number, 0); // so that it is priced
    price(reach(number), nullptr);
    setUsers(number, count);
    setAlternative(number, bestAlternative[number]);
    if (isLess(cost, before.cost))
      improved = true;
    else
      rollBack(before);
  }
  return improved;
}

void Search::descend() {
  while (improveOutputs() || improveValues())
    continue;
}

/// The cost with the elements that the chosen users read, which may be fewer than all users in the space would.
double Search::exactCost() {
  double exact = 0;
  std::fill(read.begin(), read.end(), -1);
  for (int output : space.outputs)
    read[output] = space.values[output].support;
  for (int number = static_cast<int>(space.values.size()) - 1; number >= 0; --number) {
    if (choice[number] < 0)
      continue;
    const Alternative &alternative = space.values[number].alternatives[choice[number]];
    Space::Evaluation evaluation = space.evaluate(space.values[number], alternative, read[number]);
    exact += evaluation.cost;
    read[alternative.left] = space.unite(read[alternative.left], evaluation.left);
    if (alternative.right >= 0)
      read[alternative.right] = space.unite(read[alternative.right], evaluation.right);
  }
  return exact;
}

/// Looks for a value that is better computed by another alternative than it is, everything else being then put right.
bool Search::force(double &exact) {
  for (int number = static_cast<int>(space.values.size()) - 1; number >= 0; --number) {
    if (choice[number] < 0)
      continue;
    std::vector<int> operands = reach(number);
    operands.pop_back();
    auto count = static_cast<int>(space.values[number].alternatives.size());
    for (int alternative = 0; alternative < count && work < maxWork; ++alternative) {
      if (alternative == choice[number])
        continue;
      Mark before = mark();
      clearAlternative(number);
      price(operands, nullptr);
      setAlternative(number, alternative);
      improveOutputs();
      if (cost < before.cost * nearly)
        if (double forced = exactCost(); isLess(forced, exact)) {
          exact = forced;
          return true;
        }
      rollBack(before);
    }
  }
  return false;
}

Choice Search::run() {
  double least = std::numeric_limits<double>::infinity();
  Choice leastChoice;
  std::vector<int> leastUsers;
  double leastCost = 0;
  for (int round = 0; round < maxRounds && work < maxWork; ++round) {
    // Round 0 takes the costs as they are, round 1 divides by the number of outputs, then anything between and about.
    drawPrices(round < 2 ? round : random.uniform(), round < 2 ? 0 : 0.95);
    startOver();
    descend();
    double exact = exactCost();
    if (!isLess(exact, least))
      continue;
    least = exact;
    leastChoice = choice;
    leastUsers = users;
    leastCost = cost;
  }
  choice = std::move(leastChoice);
  users = std::move(leastUsers);
  cost = leastCost;
  while (force(least))
    continue;
  return choice;
}

} // namespace

Choice detail::findCheapest(Space &space) { return Search(space).run(); }
