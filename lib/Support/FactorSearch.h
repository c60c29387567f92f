//===- FactorSearch.h - the cheapest way through the space ------*- C++ -*-===//

#ifndef ESPMM_LIB_SUPPORT_FACTORSEARCH_H
#define ESPMM_LIB_SUPPORT_FACTORSEARCH_H

#include "FactorSpace.h"

namespace espmm::factor::detail {

/// Per value the alternative it is computed by; -1: not computed, or given.
using Choice = std::vector<int>;

/// A choice that computes every output, as cheap as the search finds. Deterministic: the work is bounded by counts,
/// never by time, and the random numbers come from a fixed seed.
Choice findCheapest(Space &space);

/// The choice as a plan; its cost is left 0.
Plan makePlan(const Space &space, const Choice &choice);

} // namespace espmm::factor::detail

#endif // ESPMM_LIB_SUPPORT_FACTORSEARCH_H
