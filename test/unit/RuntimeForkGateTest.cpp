//===- RuntimeForkGateTest.cpp - forks wait for compiles, not for themselves
#include "RuntimeTest.h"
#include "espmm/Runtime/ForkGate.h"
#include <chrono>
#include <thread>

using namespace espmm;

void testForkGate() {
  // A fork waits until another thread has let go, and the child finds the gate open.
  std::atomic<bool> inside{false}, left{false};
  std::thread holder([&] {
    ForkGate gate, again;
    inside = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    left = true;
  });
  while (!inside)
    std::this_thread::yield();
  CHECK(!left);
  CHECK(test::inChild([&] {
    CHECK(left);
    ForkGate gate;
    return test::inChild([] { return true; });
  }));
  holder.join();

  // One who holds it forks at once, while others hold it too; in the child it is held by the one who forked, and let go later.
  inside = left = false;
  std::thread other([&] {
    ForkGate gate;
    inside = true;
    while (!left)
      std::this_thread::yield();
  });
  while (!inside)
    std::this_thread::yield();
  {
    ForkGate gate;
    CHECK(test::inChild([] { return test::inChild([] { return true; }); }));
  }
  left = true;
  other.join();
  // And it is free again.
  CHECK(test::inChild([] {
    std::thread([] { ForkGate gate; }).join();
    return true;
  }));
}
