//===- SupportTest.h - what the tests of lib/Support share ----------------===//
#ifndef ESPMM_TEST_UNIT_SUPPORTTEST_H
#define ESPMM_TEST_UNIT_SUPPORTTEST_H

#include <atomic>
#include <cstdio>
#include <string>

namespace test {

inline std::atomic<int> failures{0};
inline std::atomic<int> checks{0};

inline bool check(bool ok, const char *file, int line, const std::string &what) {
  ++checks;
  if (!ok && ++failures <= 50)
    std::fprintf(stderr, "%s:%d: failed: %s\n", file, line, what.c_str());
  return ok;
}

void testClebschGordan();
void testFactorization();
void testFactorPlans();

} // namespace test

/// `what` is any text that tells one case of a loop from another.
#define CHECK_CASE(condition, what)                                                                                    \
  test::check((condition), __FILE__, __LINE__, std::string(#condition) + ": " + (what))
#define CHECK(condition) test::check((condition), __FILE__, __LINE__, #condition)

#endif // ESPMM_TEST_UNIT_SUPPORTTEST_H
