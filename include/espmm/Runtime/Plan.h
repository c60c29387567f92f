//===- Plan.h - the edges of a graph, grouped by one side ----------------===//
#ifndef ESPMM_RUNTIME_PLAN_H
#define ESPMM_RUNTIME_PLAN_H

#include "llvm/Support/Error.h"
#include <cstdint>

namespace espmm {

constexpr int planParts = 64;

/// One side of a graph, as index tensors give it.
struct PlanInput {
  const void *index = nullptr; // the side's node of each edge
  const void *other = nullptr; // the other side's
  int indexBits = 64;          // 32 or 64, of both
  int64_t numEdges = 0;
  int64_t numNodes = 0;
  int64_t numOther = 0;
};

/// The arrays of docs/Architecture.md, section 4; the caller's memory.
struct PlanOutput {
  int32_t *offsets = nullptr; // numNodes + 1
  int32_t *order = nullptr;   // numEdges; untouched if the edges are sorted
  int32_t *other = nullptr;   // numEdges
  int32_t *parts = nullptr;   // planParts + 1
  bool sorted = false;
  int64_t badEdge = -1; // the first edge with an index out of range, when buildPlan fails for that
};

/// Counting sort, stable. The parts are cut where edges before a node plus nodes before it pass the next 64th of the
/// whole: about equal numbers of edges, and of nodes where there are few edges, as a node without edges costs too.
llvm::Error buildPlan(const PlanInput &input, PlanOutput &output);

} // namespace espmm

#endif
