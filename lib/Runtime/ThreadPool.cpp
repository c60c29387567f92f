//===- ThreadPool.cpp - host kernels over several threads ----------------===//
//
// A launch is typically 64 tasks of some 20 us each. LLVM's own thread pool queues one heap-allocated closure a task
// under a lock and wakes a thread for it, which costs as much as a task; here a launch is one published record, tasks
// are claimed by an atomic counter, and workers that have just been busy spin a moment before they sleep.
//
#include "espmm/Runtime/ThreadPool.h"
#include "llvm/Support/Compiler.h"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <pthread.h>
#include <sched.h>
#include <thread>

namespace espmm {

namespace {

/// How long a thread looks for work, or for the end of a launch, before it sleeps. Waking it would cost some 40 us, as long as a
/// small launch takes; between two launches the host is often busy with other things for longer than that.
constexpr std::chrono::microseconds patientTime(200);
/// How much of that it keeps its processor to itself; then whoever wants it has it, such as the threads of another pool.
constexpr std::chrono::microseconds greedyTime(20);

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Spins until ready() or, at the longest, for `time`. True if ready.
template <typename Ready> bool spinUntil(Ready ready, std::chrono::microseconds time) {
  auto start = std::chrono::steady_clock::now();
  for (;;) {
    for (int i = 0; i < 32; ++i) {
      if (ready())
        return true;
      pause();
    }
    auto spent = std::chrono::steady_clock::now() - start;
    if (spent >= time)
      return ready();
    if (spent >= greedyTime)
      sched_yield();
  }
}

/// One launch at a time is shared with the workers; a launch that finds the pool taken runs its tasks itself, and
/// takes the pool as soon as it can.
class Pool {
public:
  void run(HostKernel kernel, const uint64_t *args, int64_t tasks, int threads);

private:
  // The published launch. `state` says which one it is (a number that rises), whether it may still be joined, and how
  // many workers are in it: a worker joins by one compare-and-swap, so it can neither join a launch that has ended nor
  // mistake the next one for it.
  static constexpr uint64_t open = uint64_t(1) << 31;
  static constexpr uint64_t joinedMask = open - 1;
  static uint64_t number(uint64_t state) { return state >> 32; }

  void claimTasks();
  void publish(HostKernel kernel, const uint64_t *args, int64_t first, int64_t tasks, int threads);
  void finish();
  bool isWork(uint64_t state, uint64_t served) const { return (state & open) && number(state) != served; }
  void work();
  void startWorkers(int count);
  static void *workerMain(void *pool);

  alignas(128) std::atomic<uint64_t> state{0};
  alignas(128) std::atomic<int64_t> next{0};
  alignas(128) std::atomic<bool> taken{false};
  HostKernel kernel = nullptr;
  const uint64_t *args = nullptr;
  int64_t tasks = 0;
  std::atomic<uint64_t> mostWorkers{0};
  std::atomic<std::chrono::microseconds> patience{patientTime};
  const int processors = hardwareThreads();

  // Sleeping, which a busy pool never does.
  std::mutex mutex;
  std::condition_variable workReady;
  std::condition_variable workersLeft;
  std::atomic<int> sleepers{0};
  std::atomic<bool> callerSleeps{false};

  int workers = 0; // changed by whoever has taken the pool
};

void Pool::claimTasks() {
  for (;;) {
    int64_t task = next.fetch_add(1, std::memory_order_relaxed);
    if (task >= tasks)
      return;
    kernel(args, task);
  }
}

void Pool::run(HostKernel kernel, const uint64_t *args, int64_t tasks, int threads) {
  for (int64_t task = 0; task < tasks; ++task) {
    bool worthSharing = threads > 1 && tasks - task > 1;
    if (worthSharing && !taken.load(std::memory_order_relaxed) && !taken.exchange(true, std::memory_order_acquire)) {
      publish(kernel, args, task, tasks, threads);
      claimTasks();
      finish();
      taken.store(false, std::memory_order_release);
      return;
    }
    kernel(args, task);
  }
}

void Pool::publish(HostKernel kernel, const uint64_t *args, int64_t first, int64_t tasks, int threads) {
  int wanted = int(std::min<int64_t>(threads, tasks - first)) - 1;
  startWorkers(wanted);
  this->kernel = kernel;
  this->args = args;
  this->tasks = tasks;
  next.store(first, std::memory_order_relaxed);
  mostWorkers.store(wanted, std::memory_order_relaxed);
  // Spinning with more threads than processors takes time from the threads that have work.
  patience.store(threads <= processors ? patientTime : std::chrono::microseconds(0), std::memory_order_relaxed);
  // Sequentially consistent with a worker's `sleepers` and its look at `state`: one of the two sees the other.
  uint64_t launch = (number(state.load(std::memory_order_relaxed)) + 1) & 0xffffffff;
  state.store(launch << 32 | open, std::memory_order_seq_cst);
  if (sleepers.load(std::memory_order_seq_cst) == 0)
    return;
  // Passing through the lock waits for workers between their last look and their sleep; none is held up by it after.
  mutex.lock();
  int asleep = sleepers.load(std::memory_order_relaxed);
  mutex.unlock();
  if (wanted >= asleep)
    return workReady.notify_all();
  for (int i = 0; i < wanted; ++i)
    workReady.notify_one();
}

void Pool::finish() {
  state.fetch_and(~open, std::memory_order_acq_rel);
  auto alone = [this] { return (state.load(std::memory_order_seq_cst) & joinedMask) == 0; };
  if (spinUntil(alone, patience.load(std::memory_order_relaxed)))
    return;
  std::unique_lock<std::mutex> lock(mutex);
  callerSleeps.store(true, std::memory_order_seq_cst);
  workersLeft.wait(lock, alone);
  callerSleeps.store(false, std::memory_order_relaxed);
}

void Pool::work() {
  uint64_t served = 0;
  for (;;) {
    uint64_t seen = 0;
    auto ready = [&] {
      seen = state.load(std::memory_order_seq_cst);
      return isWork(seen, served);
    };
    if (!spinUntil(ready, patience.load(std::memory_order_relaxed))) {
      std::unique_lock<std::mutex> lock(mutex);
      sleepers.fetch_add(1, std::memory_order_seq_cst);
      workReady.wait(lock, ready);
      sleepers.fetch_sub(1, std::memory_order_relaxed);
    }
    served = number(seen);
    bool joined = false;
    while (!joined && (seen & open) && number(seen) == served &&
           (seen & joinedMask) < mostWorkers.load(std::memory_order_relaxed))
      joined = state.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire);
    if (!joined)
      continue;
    claimTasks();
    uint64_t before = state.fetch_sub(1, std::memory_order_seq_cst);
    if ((before & joinedMask) == 1 && callerSleeps.load(std::memory_order_seq_cst)) {
      std::lock_guard<std::mutex> lock(mutex);
      workersLeft.notify_one();
    }
  }
}

void *Pool::workerMain(void *pool) {
  static_cast<Pool *>(pool)->work();
  return nullptr;
}

/// Fewer start if the system gives no more; the launch is right with any number.
void Pool::startWorkers(int count) {
  if (workers >= count)
    return;
  // Signals are for the program's own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (; workers < count; ++workers) {
    pthread_t thread;
    if (pthread_create(&thread, nullptr, workerMain, this) != 0)
      break;
    pthread_detach(thread);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

std::atomic<Pool *> currentPool{nullptr};
std::atomic<int> threadCount{0};

/// The parent's workers do not exist in a forked child, and its locks may be held by threads that do not either: the
/// child starts anew, and the old pool's few hundred bytes stay behind.
void forgetPool() { currentPool.store(nullptr); }

/// Never destroyed: workers may be asleep in it when the process ends.
Pool &pool() {
  Pool *existing = currentPool.load(std::memory_order_acquire);
  if (LLVM_LIKELY(existing))
    return *existing;
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(nullptr, nullptr, forgetPool); });
  Pool *fresh = new Pool;
  if (currentPool.compare_exchange_strong(existing, fresh))
    return *fresh;
  delete fresh;
  return *existing;
}

} // namespace

int hardwareThreads() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

int numThreads() {
  int count = threadCount.load(std::memory_order_relaxed);
  if (LLVM_UNLIKELY(count == 0)) {
    int none = 0;
    threadCount.compare_exchange_strong(none, hardwareThreads());
    count = threadCount.load(std::memory_order_relaxed);
  }
  return count;
}

static std::atomic<bool> threadsChosen{false};

static void storeNumThreads(int threads) { threadCount.store(std::clamp(threads, 1, 1024), std::memory_order_relaxed); }

void setNumThreads(int threads) {
  threadsChosen.store(true, std::memory_order_relaxed);
  storeNumThreads(threads);
}

void followNumThreads(int threads) {
  if (!threadsChosen.load(std::memory_order_relaxed) && threadCount.load(std::memory_order_relaxed) != threads)
    storeNumThreads(threads);
}

void parallelFor(HostKernel kernel, const uint64_t *args, int64_t tasks, int threads) {
  pool().run(kernel, args, tasks, threads);
}

} // namespace espmm
