#include "espmm/Runtime/Plan.h"
#include "espmm/Runtime/Error.h"
#include <algorithm>
#include <limits>
#include <utility>

namespace espmm {

/// The first edge whose index is outside [0, limit), or -1.
template <typename Index> static int64_t firstOutside(const Index *index, int64_t numEdges, int64_t limit) {
  for (int64_t edge = 0; edge < numEdges; ++edge)
    if (index[edge] < 0 || index[edge] >= limit)
      return edge;
  return -1;
}

template <typename Index> static llvm::Error checkRanges(const PlanInput &input, PlanOutput &output) {
  const Index *index = static_cast<const Index *>(input.index);
  const Index *other = static_cast<const Index *>(input.other);
  int64_t badIndex = firstOutside(index, input.numEdges, input.numNodes);
  int64_t badOther = firstOutside(other, badIndex < 0 ? input.numEdges : badIndex, input.numOther);
  if (badIndex < 0 && badOther < 0)
    return llvm::Error::success();
  bool isOther = badOther >= 0;
  output.badEdge = isOther ? badOther : badIndex;
  return makeError(ESPMM_OUT_OF_RANGE, "edge " + llvm::Twine(output.badEdge) + ": " + (isOther ? "other" : "index") +
                                           " is " + llvm::Twine(int64_t((isOther ? other : index)[output.badEdge])) +
                                           ", outside [0, " +
                                           llvm::Twine(isOther ? input.numOther : input.numNodes) + ")");
}

template <typename Index> static void group(const PlanInput &input, PlanOutput &output) {
  const Index *index = static_cast<const Index *>(input.index);
  const Index *other = static_cast<const Index *>(input.other);
  int32_t *offsets = output.offsets;

  // Counted one place up, so that after the sum offsets[n] is where node n begins.
  std::fill(offsets, offsets + input.numNodes + 1, 0);
  output.sorted = true;
  Index last = 0;
  for (int64_t edge = 0; edge < input.numEdges; ++edge) {
    ++offsets[index[edge] + 1];
    output.sorted &= index[edge] >= last;
    last = index[edge];
  }
  for (int64_t node = 0; node < input.numNodes; ++node)
    offsets[node + 1] += offsets[node];

  if (output.sorted) {
    for (int64_t edge = 0; edge < input.numEdges; ++edge)
      output.other[edge] = int32_t(other[edge]);
    return;
  }
  // Placing an edge moves its node's offset on to the next free position, which leaves every offset at the next
  // node's beginning; shifting them back by one place spares a second array.
  for (int64_t edge = 0; edge < input.numEdges; ++edge) {
    int32_t position = offsets[index[edge]]++;
    output.order[position] = int32_t(edge);
    output.other[position] = int32_t(other[edge]);
  }
  for (int64_t node = input.numNodes; node > 0; --node)
    offsets[node] = offsets[node - 1];
  offsets[0] = 0;
}

static void cutParts(const PlanInput &input, PlanOutput &output) {
  int64_t total = input.numEdges + input.numNodes;
  int64_t node = 0;
  for (int part = 0; part < planParts; ++part) {
    while (node < input.numNodes && (output.offsets[node] + node) * planParts < part * total)
      ++node;
    output.parts[part] = int32_t(node);
  }
  output.parts[planParts] = int32_t(input.numNodes);
}

static llvm::Error checkArguments(const PlanInput &input, const PlanOutput &output) {
  if (input.indexBits != 32 && input.indexBits != 64)
    return makeError(ESPMM_INVALID, "a plan takes indices of 32 or 64 bits, got " + llvm::Twine(input.indexBits));
  constexpr int64_t limit = std::numeric_limits<int32_t>::max();
  const std::pair<const char *, int64_t> counts[] = {
      {"edges", input.numEdges}, {"nodes", input.numNodes}, {"nodes on the other side", input.numOther}};
  for (auto [name, count] : counts)
    if (count < 0 || count > limit)
      return makeError(ESPMM_INVALID, llvm::Twine("a plan takes from 0 to 2^31 - 1 ") + name + ", got " +
                                          llvm::Twine(count));
  if (!output.offsets || !output.parts)
    return makeError(ESPMM_INVALID, "a plan needs memory for offsets and parts, got a null pointer");
  if (input.numEdges && (!input.index || !input.other || !output.order || !output.other))
    return makeError(ESPMM_INVALID, "a plan of " + llvm::Twine(input.numEdges) +
                                        " edges needs index, other, order and other_out, got a null pointer");
  return llvm::Error::success();
}

llvm::Error buildPlan(const PlanInput &input, PlanOutput &output) {
  output.sorted = false;
  output.badEdge = -1;
  if (llvm::Error error = checkArguments(input, output))
    return error;
  bool wide = input.indexBits == 64;
  if (llvm::Error error = wide ? checkRanges<int64_t>(input, output) : checkRanges<int32_t>(input, output))
    return error;
  if (wide)
    group<int64_t>(input, output);
  else
    group<int32_t>(input, output);
  cutParts(input, output);
  return llvm::Error::success();
}

} // namespace espmm
