//===- SupportFactorizationTest.cpp - what the search finds ---------------===//
#include "FactorSearch.h"
#include "SupportProblems.h"
#include "SupportTest.h"

#include <functional>
#include <thread>

using namespace espmm::factor;
using test::derivePath;

static const CostModel oneChannelALane = {1, 4}, manyChannels = {1.0 / 16, 0.1};

static bool has(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

/// The node that multiplies or adds these, named as printPlan() names them; "" if there is none.
static std::string find(const Problem &problem, const Plan &plan, const std::string &a, char op, const std::string &b) {
  std::string text = printPlan(problem, plan);
  for (const std::string &line : {a + " " + op + " " + b, b + " " + op + " " + a})
    if (size_t end = text.find(" = " + line + "\n"); end != std::string::npos) {
      size_t begin = text.rfind('\n', end);
      begin = begin == std::string::npos ? 0 : begin + 1;
      return text.substr(begin, end - begin);
    }
  return "";
}

/// The prototype's table, y's gradient kept per channel: never more than it found or than the formulas by hand take,
/// elements that nobody reads left out. A mixed integer program over the same space found nothing cheaper at order 2.
static void testCosts() {
  struct Case {
    int l1, l2, l3;
    double lanes;
    double costs[3];
  };
  const Case cases[] = {
      {1, 1, 1, 1, {15, 27, 63}},         {2, 1, 2, 1, {33, 53, 123}},
      {2, 3, 3, 1, {77, 118, 272}},       {3, 3, 3, 1, {91, 147, 343}},
      {1, 1, 1, 128, {9.05, 27, 54.1}},   {2, 1, 2, 128, {21.13, 53, 118.26}},
      {2, 3, 3, 128, {36.33, 118, 231.65}}, {3, 3, 3, 128, {49.33, 147, 294.66}},
  };
  for (const Case &c : cases)
    for (int order = 0; order <= 2; ++order) {
      Problem problem = derivePath(c.l1, c.l2, c.l3, order, {1 / c.lanes, 0});
      for (Output &output : problem.outputs)
        if (output.indices == "j")
          output.indices = "ju";
      std::string error;
      auto plan = factorize(problem, &error);
      if (CHECK_CASE(plan != nullptr, error))
        CHECK_CASE(plan->cost <= c.costs[order] + 1e-9, std::to_string(plan->cost) + "\n" + printPlan(problem, *plan));
    }
  // Order 3, with the sums over channels.
  CHECK(factorize(derivePath(1, 1, 1, 3, oneChannelALane))->cost <= 162);
  CHECK(factorize(derivePath(3, 3, 3, 3, oneChannelALane))->cost <= 798);
  CHECK(factorize(derivePath(3, 3, 3, 3, manyChannels))->cost <= 638.93);
}

/// P = C g, A = P y, B = P Y, a = w X + V x, and y's gradient P a with the channels summed at the end. With l1 = l2 the
/// same with c = w Y + V y in place of a takes as many multiplications, but more of them have two operands per channel.
static void testOneChannelALane(bool isSummed) {
  for (int l = 1; l <= 3; ++l) {
    Problem problem = derivePath(l, l, l, 2, isSummed ? oneChannelALane : CostModel{1, 0});
    if (!isSummed)
      problem.outputs[1].indices = "ju";
    auto plan = factorize(problem);
    std::string text = printPlan(problem, *plan);
    std::string p = find(problem, *plan, "C_ijk", '*', "g_ku");
    std::string wX = find(problem, *plan, "w_u", '*', "X_iu"), xV = find(problem, *plan, "x_iu", '*', "V_u");
    CHECK_CASE(has(p, "_iju") && has(wX, "_iu") && has(xV, "_iu"), text);
    std::string a = find(problem, *plan, wX, '+', xV);
    CHECK_CASE(has(a, "_iu"), text);
    CHECK_CASE(has(find(problem, *plan, p, '*', "y_j"), "_iu"), text);
    CHECK_CASE(has(find(problem, *plan, p, '*', "Y_j"), "_iu"), text);
    CHECK_CASE(has(find(problem, *plan, p, '*', a), isSummed ? "_j" : "_ju"), text);
  }
}

/// M = C y once for all channels; y's gradient C N with N = sum of x w g over the channels.
static void testManyChannels() {
  Problem forward = derivePath(2, 2, 2, 0, manyChannels);
  std::string text = printPlan(forward, *factorize(forward));
  CHECK_CASE(has(text, "_ik = C_ijk * y_j\n") || has(text, "_ik = y_j * C_ijk\n"), text);

  Problem backward = derivePath(2, 2, 2, 1, manyChannels);
  auto plan = factorize(backward);
  text = printPlan(backward, *plan);
  std::string b = find(backward, *plan, "w_u", '*', "x_iu");
  std::string n = find(backward, *plan, b, '*', "g_ku");
  CHECK_CASE(has(n, "_ik"), text);
  CHECK_CASE(has(find(backward, *plan, n, '*', "C_ijk"), "_j"), text);
}

/// What many paths share is worth computing first.
static void testSharing() {
  Problem problem = derivePath(3, 3, 1, 0, oneChannelALane);
  std::string alone = printPlan(problem, *factorize(problem));
  CHECK_CASE(!has(alone, "_iju = x_iu * y_j\n") && !has(alone, "_iju = y_j * x_iu\n"), alone);
  problem.leaves[1].sharedBy = problem.leaves[2].sharedBy = 10;
  std::string shared = printPlan(problem, *factorize(problem));
  CHECK_CASE(has(shared, "_iju = x_iu * y_j\n") || has(shared, "_iju = y_j * x_iu\n"), shared);
}

/// Outputs that are leaves, sums of leaves, the same value twice; a term twice; an index that only one leaf has.
static void testDegenerate() {
  Problem problem;
  problem.extents = {{'i', 3}, {'j', 2}};
  problem.leaves = {{"iu", std::nullopt, 1, "a"}, {"ui", std::nullopt, 1, "b"}, {"j", std::nullopt, 1, "c"}};
  problem.outputs = {{{{0}}, "ui"}, {{{0}, {1}}, "iu"}, {{{1}, {0}}, "ui"}, {{{0, 2}, {0, 2}}, "u"}, {{{1}}, "i"}};
  auto plan = factorize(problem);
  std::string text = printPlan(problem, *plan);
  CHECK_CASE(plan->nodes[plan->outputs[0]].kind == Node::Kind::Leaf, text);
  CHECK_CASE(plan->outputs[1] == plan->outputs[2], text);
  bool doubles = false;
  for (const Node &node : plan->nodes)
    doubles |= node.kind == Node::Kind::Sum && node.operands.size() == 2 && node.operands[0] == node.operands[1];
  CHECK_CASE(doubles, text);

  problem.outputs.clear();
  CHECK(factorize(problem)->nodes.empty());
}

static void testErrors() {
  Problem good = derivePath(1, 1, 1, 1, oneChannelALane);
  CHECK(checkProblem(good).empty());
  struct Case {
    const char *message;
    std::function<void(Problem &)> spoil;
  };
  const Case cases[] = {
      {"leaf 1: expected indices to be letters 'a' to 'z', got 'I'", [](Problem &p) { p.leaves[1].indices = "Iu"; }},
      {"leaf 1: expected distinct indices, got 'i' twice", [](Problem &p) { p.leaves[1].indices = "ii"; }},
      {"leaf 1: expected an extent for index 'q', got none", [](Problem &p) { p.leaves[1].indices = "q"; }},
      {"leaf 2: expected to be shared by 1 path or more, got 0", [](Problem &p) { p.leaves[2].sharedBy = 0; }},
      {"leaf 0: expected support tuples of 3 indices, got one of 2",
       [](Problem &p) { p.leaves[0].support = {{0, 1}}; }},
      {"leaf 0: expected index 'j' of a support tuple in [0, 3), got 3",
       [](Problem &p) { p.leaves[0].support = {{0, 3, 0}}; }},
      {"output 1: expected one term or more, got none", [](Problem &p) { p.outputs[1].terms.clear(); }},
      {"output 1, term 0: expected one leaf or more, got none", [](Problem &p) { p.outputs[1].terms[0].clear(); }},
      {"output 1, term 0: expected leaves in [0, 5), got 5", [](Problem &p) { p.outputs[1].terms[0][0] = 5; }},
      {"output 1, term 0: expected each leaf at most once, got leaf 0 twice",
       [](Problem &p) { p.outputs[1].terms[0] = {0, 1, 0}; }},
      {"output 0, term 0: expected a leaf with index 'u' of the output, got none",
       [](Problem &p) { p.outputs[0].terms[0] = {0, 2}; }},
      {"extents: expected 1 or more for index 'i', got 0", [](Problem &p) { p.extents['i'] = 0; }},
      {"expected at most 64 leaves, got 65", [](Problem &p) { p.leaves.resize(65); }},
      {"expected costs that are finite and not negative, got -1", [](Problem &p) { p.cost.channelSum = -1; }},
      {"fit into 64 bits, got 90",
       [](Problem &p) {
         p.extents['i'] = p.extents['j'] = p.extents['k'] = 1 << 30;
       }},
  };
  for (const Case &c : cases) {
    Problem bad = good;
    c.spoil(bad);
    std::string error;
    CHECK_CASE(factorize(bad, &error) == nullptr, c.message);
    CHECK_CASE(has(error, c.message), error);
    CHECK_CASE(factorize(bad) == nullptr, c.message);
  }
}

/// The same plan every time, whatever lies on the heap; one plan for all threads.
static void testDeterminism() {
  Problem problem = derivePath(2, 3, 3, 3, manyChannels);
  std::string first;
  std::vector<std::unique_ptr<char[]>> litter;
  for (int round = 0; round < 3; ++round) {
    detail::Space space(problem);
    std::string text = printPlan(problem, detail::makePlan(space, detail::findCheapest(space)));
    CHECK(round == 0 || text == first);
    first = text;
    for (int piece = 0; piece < 100; ++piece)
      litter.push_back(std::make_unique<char[]>(16 << (piece % 8)));
  }
  CHECK(printPlan(problem, *factorize(problem)) == first);

  std::vector<std::shared_ptr<const Plan>> plans(4);
  std::vector<std::thread> threads;
  for (auto &plan : plans)
    threads.emplace_back([&] {
      for (int l3 = 0; l3 <= 4; ++l3)
        plan = factorize(derivePath(2, 2, l3, 2, oneChannelALane));
    });
  for (std::thread &thread : threads)
    thread.join();
  for (auto &plan : plans)
    CHECK(plan == plans[0]);
  // Every part of a problem counts.
  Problem other = derivePath(2, 2, 4, 2, oneChannelALane);
  other.cost.channelSum = 5;
  CHECK(factorize(other)->cost == plans[0]->cost + 5);
}

void test::testFactorization() {
  testDeterminism();
  testCosts();
  testOneChannelALane(true);
  testOneChannelALane(false);
  testManyChannels();
  testSharing();
  testDegenerate();
  testErrors();
}
