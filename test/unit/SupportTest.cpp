//===- SupportTest.cpp - the tests of lib/Support -------------------------===//
#include "SupportTest.h"

int main() {
  test::testClebschGordan();
  test::testFactorization();
  test::testFactorPlans();
  std::printf("SupportTest: %d checks, %d failures\n", test::checks.load(), test::failures.load());
  return test::failures == 0 ? 0 : 1;
}
