//===- RuntimePlanTest.cpp - plans against a naive one -------------------===//
#include "RuntimeTest.h"
#include "espmm/Runtime/Plan.h"
#include <algorithm>
#include <random>

using namespace espmm;

namespace {

struct Graph {
  std::vector<int64_t> index, other;
  int64_t numNodes = 0, numOther = 0;
};

struct Plan {
  std::vector<int32_t> offsets, order, other, parts;
  int sorted = -1;
  int64_t badEdge = -2;
  espmm_status status = ESPMM_OK;
};

constexpr int32_t untouched = -123456;

template <typename Index> Plan build(const Graph &graph) {
  std::vector<Index> index(graph.index.begin(), graph.index.end()), other(graph.other.begin(), graph.other.end());
  size_t edges = index.size();
  Plan plan;
  plan.offsets.assign(size_t(graph.numNodes) + 1, untouched);
  plan.order.assign(edges, untouched);
  plan.other.assign(edges, untouched);
  plan.parts.assign(planParts + 1, untouched);
  plan.status = espmm_plan_build(index.data(), other.data(), sizeof(Index) * 8, int64_t(edges), graph.numNodes,
                                 graph.numOther, plan.offsets.data(), plan.order.data(), plan.other.data(),
                                 plan.parts.data(), &plan.sorted, &plan.badEdge);
  return plan;
}

void checkPlan(const Graph &graph, const Plan &plan) {
  CHECK_EQUAL(int(plan.status), int(ESPMM_OK));
  CHECK_EQUAL(plan.badEdge, -1);
  std::vector<int32_t> order(graph.index.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = int32_t(i);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    return std::make_pair(graph.index[a], a) < std::make_pair(graph.index[b], b);
  });
  bool sorted = std::is_sorted(graph.index.begin(), graph.index.end());
  CHECK_EQUAL(plan.sorted, int(sorted));
  if (sorted)
    CHECK(std::count(plan.order.begin(), plan.order.end(), untouched) == int64_t(order.size()));
  else
    CHECK(plan.order == order);
  bool otherRight = true;
  for (size_t i = 0; i < order.size(); ++i)
    otherRight &= plan.other[i] == graph.other[order[i]];
  CHECK(otherRight);
  bool offsetsRight = true;
  for (int64_t node = 0; node <= graph.numNodes; ++node)
    offsetsRight &= plan.offsets[node] ==
                    std::count_if(graph.index.begin(), graph.index.end(), [&](int64_t n) { return n < node; });
  CHECK(offsetsRight);

  CHECK_EQUAL(plan.parts[0], 0);
  CHECK_EQUAL(plan.parts[planParts], graph.numNodes);
  CHECK(std::is_sorted(plan.parts.begin(), plan.parts.end()));
  // No part has more than its share by more than its largest node.
  int64_t largest = 0, total = int64_t(order.size()) + graph.numNodes;
  for (int64_t node = 0; node < graph.numNodes; ++node)
    largest = std::max<int64_t>(largest, plan.offsets[node + 1] - plan.offsets[node] + 1);
  for (int part = 0; part < planParts; ++part) {
    int64_t begin = plan.parts[part], end = plan.parts[part + 1];
    int64_t cost = plan.offsets[end] - plan.offsets[begin] + end - begin;
    CHECK(cost <= total / planParts + 1 + largest);
  }
}

Graph randomGraph(std::mt19937 &random, int64_t edges, int64_t nodes, int64_t others, bool sorted) {
  Graph graph;
  graph.numNodes = nodes;
  graph.numOther = others;
  // Skewed, so that some nodes have many edges and some none.
  std::geometric_distribution<int64_t> skewed(3.0 / double(nodes + 2));
  std::uniform_int_distribution<int64_t> uniform(0, others - 1);
  for (int64_t edge = 0; edge < edges; ++edge) {
    graph.index.push_back(skewed(random) % nodes);
    graph.other.push_back(uniform(random));
  }
  if (sorted)
    std::sort(graph.index.begin(), graph.index.end());
  return graph;
}

} // namespace

static void testBadEdges() {
  Graph graph{{0, 1, 7, 2, -1}, {0, 1, 2, 3, 4}, 7, 5};
  Plan plan = build<int64_t>(graph);
  CHECK_EQUAL(int(plan.status), int(ESPMM_OUT_OF_RANGE));
  CHECK_EQUAL(plan.badEdge, 2);
  CHECK_EQUAL(std::string(espmm_last_error()), "edge 2: index is 7, outside [0, 7)");
  graph.index[2] = 6;
  plan = build<int32_t>(graph);
  CHECK_EQUAL(plan.badEdge, 4);
  CHECK_EQUAL(std::string(espmm_last_error()), "edge 4: index is -1, outside [0, 7)");
  graph.other[1] = 5; // comes first, though it is the other side's
  plan = build<int32_t>(graph);
  CHECK_EQUAL(int(plan.status), int(ESPMM_OUT_OF_RANGE));
  CHECK_EQUAL(plan.badEdge, 1);
  CHECK_EQUAL(std::string(espmm_last_error()), "edge 1: other is 5, outside [0, 5)");
  graph.other[1] = int64_t(1) << 32; // would be 0 in 32 bits
  CHECK_EQUAL(build<int64_t>(graph).badEdge, 1);
  // No node at all is any index's range.
  CHECK_EQUAL(build<int64_t>({{0}, {0}, 0, 1}).badEdge, 0);
}

static void testLimits() {
  int32_t offsets[2], parts[planParts + 1];
  int sorted = 0;
  int64_t bad = 0;
  auto plan = [&](int bits, int64_t edges, int64_t nodes, int64_t others) {
    return espmm_plan_build(nullptr, nullptr, bits, edges, nodes, others, offsets, nullptr, nullptr, parts, &sorted,
                            &bad);
  };
  int64_t tooMany = int64_t(1) << 31;
  CHECK_EQUAL(int(plan(64, tooMany, 1, 1)), int(ESPMM_INVALID));
  CHECK_CONTAINS(espmm_last_error(), "from 0 to 2^31 - 1 edges, got 2147483648");
  CHECK_EQUAL(int(plan(64, 0, tooMany, 1)), int(ESPMM_INVALID));
  CHECK_CONTAINS(espmm_last_error(), "2^31 - 1 nodes, got 2147483648");
  CHECK_EQUAL(int(plan(64, 0, 1, -1)), int(ESPMM_INVALID));
  CHECK_CONTAINS(espmm_last_error(), "nodes on the other side, got -1");
  CHECK_EQUAL(int(plan(16, 0, 1, 1)), int(ESPMM_INVALID));
  CHECK_CONTAINS(espmm_last_error(), "32 or 64 bits, got 16");
  CHECK_EQUAL(int(plan(64, 3, 1, 1)), int(ESPMM_INVALID));
  CHECK_CONTAINS(espmm_last_error(), "null pointer");
  CHECK_EQUAL(int(plan(32, 0, 1, 0)), int(ESPMM_OK));
  CHECK_EQUAL(offsets[1], 0);
}

void testPlan() {
  std::mt19937 random(7);
  for (bool sorted : {false, true})
    for (int64_t nodes : {1, 2, 63, 64, 65, 300})
      for (int64_t edges : {0, 1, 2, 50, 2000}) {
        Graph graph = randomGraph(random, edges, nodes, 1 + nodes / 2, sorted);
        checkPlan(graph, build<int32_t>(graph));
        checkPlan(graph, build<int64_t>(graph));
      }
  Graph nothing;
  checkPlan(nothing, build<int64_t>(nothing));
  testBadEdges();
  testLimits();
}
