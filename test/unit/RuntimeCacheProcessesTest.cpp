//===- RuntimeCacheProcessesTest.cpp - entries that many processes want ---===//
#include "RuntimeCacheTest.h"
#include <algorithm>
#include <chrono>
#include <csignal>
#include <random>
#include <thread>

using namespace espmm;
using namespace test;

static pid_t startChild(const std::function<bool()> &body) {
  std::fflush(nullptr);
  pid_t child = fork();
  if (child == 0) {
    alarm(60);
    failures = 0;
    bool ok = body();
    std::fflush(nullptr);
    _exit(ok && failures == 0 ? 0 : 1);
  }
  return child;
}

static bool endsWell(pid_t child) {
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void testConcurrentWriters() {
  TemporaryFolder folder;
  DiskCache cache(folder.path());
  std::string key = cacheKey({"raced"});
  // Each writer's entries have their own length and letter, so that a mixture shows.
  auto content = [](int writer) { return Blobs{{"a", std::string(20000 + 1000 * writer, char('a' + writer))}}; };
  auto valid = [&](const Blobs &blobs) {
    for (int writer = 0; writer < 4; ++writer)
      if (blobs == content(writer))
        return true;
    return false;
  };
  std::fflush(nullptr);
  std::vector<pid_t> children;
  for (int writer = 0; writer < 4; ++writer) {
    pid_t child = fork();
    if (child == 0) {
      for (int i = 0; i < 100; ++i)
        if (!cache.put(key, content(writer)))
          _exit(1);
      _exit(0);
    }
    children.push_back(child);
  }
  Warnings warnings;
  int seen = 0;
  for (size_t left = children.size(); left > 0;) {
    if (std::optional<Blobs> blobs = cache.get(key)) {
      ++seen;
      CHECK(valid(*blobs));
    }
    int status = 0;
    if (waitpid(-1, &status, WNOHANG) > 0) {
      CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
      --left;
    }
  }
  CHECK(seen > 0);
  CHECK(valid(cache.get(key).value_or(Blobs())));
  CHECK(Warnings::texts.empty());
  CHECK_EQUAL(filesIn(cache.folder()).size(), 1u); // no temporary is left behind
}

/// Eight processes of two threads each, which all begin at once, each with another entry: each entry is made once.
static void testMakersAtOnce() {
  TemporaryFolder folder;
  DiskCache cache(folder.path("cache"));
  constexpr int entries = 5;
  struct State {
    std::atomic<int> started{0}, made[entries]{}, skipped{0};
  };
  State &state = shared<State>();
  auto content = [](int i) { return Blobs{{"a", std::string(50000 + i, char('a' + i))}}; };
  auto work = [&](int process) {
    ++state.started;
    while (state.started < 16)
      std::this_thread::yield();
    for (int n = 0; n < entries; ++n) {
      int i = (process + n) % entries;
      auto make = [&]() -> DiskCache::Made {
        ++state.made[i];
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        return content(i);
      };
      auto blobs = cache.makeOnceUnlessBusy(cacheKey({"once", std::to_string(i)}), make);
      if (blobs && !*blobs) {
        ++state.skipped;
        auto waited = cache.makeOnce(cacheKey({"once", std::to_string(i)}), make);
        CHECK(waited && *waited == content(i));
      } else {
        CHECK(blobs && **blobs == content(i));
      }
    }
  };
  std::vector<pid_t> children;
  for (int process = 0; process < 8; ++process)
    children.push_back(startChild([&] {
      Warnings warnings;
      DiskCache::Counts before = DiskCache::counts();
      std::thread other(work, process + 1);
      work(process);
      other.join();
      CHECK(Warnings::texts.empty());
      DiskCache::Counts after = DiskCache::counts();
      CHECK_EQUAL(after.found + after.made - before.found - before.made, 2 * entries);
      return true;
    }));
  for (pid_t child : children)
    CHECK(endsWell(child));
  for (std::atomic<int> &made : state.made)
    CHECK_EQUAL(made.load(), 1);
  CHECK(state.skipped > 0);
}

/// A maker that fails lets the next one try; the failure is told to whoever asked.
static void testMakersThatFail() {
  TemporaryFolder folder;
  DiskCache cache(folder.path());
  std::string key = cacheKey({"fails"});
  for (int i = 0; i < 2; ++i)
    CHECK_CONTAINS(textOf(cache.makeOnce(key, []() -> DiskCache::Made { return makeError(ESPMM_INVALID, "no such thing"); })),
                   "no such thing");
  CHECK(*cache.makeOnce(key, []() -> DiskCache::Made { return sample; }) == sample);
  CHECK(cache.get(key) == sample);
}

/// Of two processes that want an entry one is killed at a random moment, 200 times: the other soon has it, and no reader ever finds
/// half of it.
static void testKilledMakers() {
  using Clock = std::chrono::steady_clock;
  TemporaryFolder folder;
  DiskCache cache(folder.path());
  // Large, so that many are killed while they write.
  auto content = [](int round) { return Blobs{{"a", std::string(2000000, char('a' + round % 26))}}; };
  auto key = [](int round) { return cacheKey({"killed", std::to_string(round)}); };
  struct State {
    std::atomic<bool> begun{false};
    double seconds = 0;
  };
  State &state = shared<State>();
  auto work = [&](int round) {
    Clock::time_point start = Clock::now();
    state.begun = true;
    auto blobs = cache.makeOnce(key(round), [&]() -> DiskCache::Made {
      std::this_thread::sleep_for(std::chrono::microseconds(300));
      return content(round);
    });
    state.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    return blobs && *blobs == content(round);
  };
  std::mt19937 random(7);
  constexpr int rounds = 200;
  int midway = 0, leftovers = 0;
  double undisturbed = 0, longest = 0;
  Warnings warnings;
  for (int round = -5; round < 0; ++round) {
    CHECK(endsWell(startChild([&] { return work(round + 1000); })));
    undisturbed += state.seconds / 5;
  }
  for (int round = 0; round < rounds; ++round) {
    pid_t victim = startChild([&] { return work(round); });
    while (!state.begun.exchange(false))
      std::this_thread::yield();
    pid_t other = startChild([&] { return work(round); });
    std::this_thread::sleep_for(std::chrono::duration<double>(undisturbed * std::uniform_real_distribution<>()(random)));
    kill(victim, SIGKILL);
    Clock::time_point killed = Clock::now();
    cache.get(key(round)); // there or not, but never half
    int status = 0;
    CHECK(waitpid(victim, &status, 0) == victim);
    midway += WIFSIGNALED(status);
    CHECK(endsWell(other));
    longest = std::max(longest, std::chrono::duration<double>(Clock::now() - killed).count());
    CHECK(cache.get(key(round)) == content(round));
    CHECK(unlink(cache.path(key(round)).c_str()) == 0);
  }
  CHECK(Warnings::texts.empty());
  CHECK(midway > rounds / 8);
  CHECK(longest < 30); // a lock that is left would be waited for
  for (const std::string &file : filesIn(folder.path()))
    if (llvm::StringRef(file).contains("/.tmp-")) {
      ++leftovers;
      setUsed(file, 3700);
    }
  std::printf("%d of %d makers killed midway, %d while they wrote; the other had it after %.1f ms at the latest\n", midway, rounds,
              leftovers, longest * 1e3);
  CHECK(leftovers > 0);
  CHECK_EQUAL(*cache.clear(), leftovers + 5); // and those of before
  CHECK_EQUAL(filesIn(folder.path()).size(), 1u); // the locks' file
}

void testCacheProcesses() {
  testConcurrentWriters();
  testMakersAtOnce();
  testMakersThatFail();
  testKilledMakers();
}
