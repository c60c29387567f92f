//===- RuntimeThreadPoolTest.cpp - every task once, whoever launches -----===//
#include "RuntimeTest.h"
#include "espmm/Runtime/ThreadPool.h"
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

using namespace espmm;

namespace {

/// Counts how often each task has run.
struct Counter {
  explicit Counter(int64_t tasks) : tasks(tasks), counts(new std::atomic<int>[tasks]) {
    for (int64_t i = 0; i < tasks; ++i)
      counts[i] = 0;
  }
  void launch(HostKernel kernel = count) {
    const uint64_t args[] = {reinterpret_cast<uintptr_t>(counts.get())};
    parallelFor(kernel, args, tasks, numThreads());
  }
  bool each(int times) const {
    for (int64_t i = 0; i < tasks; ++i)
      if (counts[i] != times)
        return false;
    return true;
  }
  static void count(const uint64_t *args, int64_t task) { reinterpret_cast<std::atomic<int> *>(args[0])[task]++; }
  /// Long enough for other threads to take part.
  static void countSlowly(const uint64_t *args, int64_t task) {
    auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(20);
    while (std::chrono::steady_clock::now() < end)
      ;
    count(args, task);
  }

  int64_t tasks;
  std::unique_ptr<std::atomic<int>[]> counts;
};

bool launchMany(int rounds, int64_t tasks) {
  Counter counter(tasks);
  for (int i = 0; i < rounds; ++i)
    counter.launch();
  return counter.each(rounds);
}

} // namespace

static void testCounts() {
  for (int threads : {1, 2, 3, 8, 16}) {
    setNumThreads(threads);
    CHECK_EQUAL(numThreads(), threads);
    for (int64_t tasks : {0, 1, 2, 5, 64, 1000})
      CHECK(launchMany(50, tasks));
  }
  // Launches after pauses find workers that sleep.
  Counter counter(64);
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    counter.launch(Counter::countSlowly);
  }
  CHECK(counter.each(20));
}

static void testSeveralThreadsTakePart() {
  setNumThreads(4);
  static std::atomic<int> here;
  here = 0;
  // Each task waits until four are running at once, which only four threads can do.
  parallelFor(
      [](const uint64_t *, int64_t) {
        ++here;
        auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (here < 4 && std::chrono::steady_clock::now() < end)
          std::this_thread::yield();
      },
      nullptr, 4, numThreads());
  CHECK_EQUAL(here.load(), 4);

  // And never more than asked for, though the pool has more workers by now.
  setNumThreads(2);
  static std::atomic<int> now, most;
  now = most = 0;
  parallelFor(
      [](const uint64_t *, int64_t) {
        int running = ++now;
        int seen = most;
        while (running > seen && !most.compare_exchange_weak(seen, running))
          ;
        std::this_thread::sleep_for(std::chrono::microseconds(200));
        --now;
      },
      nullptr, 100, numThreads());
  CHECK(most.load() <= 2);
}

static void testConcurrentLaunches() {
  setNumThreads(4);
  std::atomic<int> right{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 8; ++i)
    callers.emplace_back([&, i] { right += launchMany(300, 7 + i * 9); });
  for (std::thread &caller : callers)
    caller.join();
  CHECK_EQUAL(right.load(), 8);
}

static void testNested() {
  setNumThreads(4);
  Counter counter(64);
  const uint64_t args[] = {reinterpret_cast<uintptr_t>(&counter)};
  parallelFor([](const uint64_t *args, int64_t) { reinterpret_cast<Counter *>(args[0])->launch(); }, args, 16, numThreads());
  CHECK(counter.each(16));
}

static void testFork() {
  setNumThreads(4);
  CHECK(launchMany(10, 64));
  CHECK(test::inChild([] { return launchMany(100, 64) && test::inChild([] { return launchMany(100, 64); }); }));
  // Also while other threads are in the middle of launches.
  std::atomic<bool> stop{false};
  std::vector<std::thread> callers;
  for (int i = 0; i < 2; ++i)
    callers.emplace_back([&] {
      while (!stop)
        launchMany(10, 64);
    });
  for (int i = 0; i < 10; ++i)
    CHECK(test::inChild([] { return launchMany(20, 64); }));
  stop = true;
  for (std::thread &caller : callers)
    caller.join();
  CHECK(launchMany(10, 64)); // the parent's pool is as before
}

/// Not a check: the figure that the pool is made for.
static void printLatency() {
  setNumThreads(hardwareThreads());
  Counter counter(64);
  for (bool rested : {false, true}) {
    double total = 0;
    constexpr int rounds = 200;
    for (int i = 0; i < rounds; ++i) {
      if (rested)
        std::this_thread::sleep_for(std::chrono::microseconds(300));
      auto start = std::chrono::steady_clock::now();
      counter.launch(Counter::countSlowly);
      total += std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
    }
    std::printf("64 tasks of 20 us on %d threads, %s: %.0f us (ideal %.0f)\n", numThreads(),
                rested ? "after 300 us of rest" : "back to back", total / rounds, 64 * 20.0 / numThreads());
  }
}

void testThreadPool() {
  CHECK(numThreads() == hardwareThreads());
  setNumThreads(-3);
  CHECK_EQUAL(numThreads(), 1);
  testCounts();
  testSeveralThreadsTakePart();
  testConcurrentLaunches();
  testNested();
  testFork();
  printLatency();
}
