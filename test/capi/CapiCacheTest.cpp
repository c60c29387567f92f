// Many processes with one disk cache, over the C interface: eight that start at once on an empty folder compile everything once between
// them; of two that compile the same program one is killed at a random moment, 200 times, and the other always has the right code soon.
#include "espmm-c/espmm.h"
#include "espmm/Runtime/DiskCache.h"
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <new>
#include <random>
#include <string>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

using Clock = std::chrono::steady_clock;

static int failures = 0;

static bool check(bool condition, const std::string &what) {
  if (!condition) {
    std::fprintf(stderr, "failed: %s (last error: %s)\n", what.c_str(), espmm_last_error());
    ++failures;
  }
  return condition;
}

/// What forked children tell.
struct State {
  std::atomic<int> started{0}, made{0}, found{0};
  std::atomic<double> seconds{0};
};
static State &state = *new (mmap(nullptr, sizeof(State), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) State;

/// The dot product of 8x1o and 1o with a coefficient of its own: another program for each number.
static double coefficient(int number) { return (500 + number) / 1000.0; }

static std::string program(int number) {
  return "#p = #equivariant.product<x = \"8x1o\", y = \"1x1o\", z = \"8x0e\", paths = [uvu(0, 0, 0) * " +
         std::to_string(coefficient(number)) +
         "]>\n"
         "#x = #equivariant.irreps<\"8x1o\", mul_ir>\n"
         "#y = #equivariant.irreps<\"1x1o\", mul_ir>\n"
         "#z = #equivariant.irreps<\"8x0e\", mul_ir>\n"
         "func.func @tp(%g: !equivariant.rows, %x: tensor<?x24xf64, #x>, %y: tensor<?x3xf64, #y>, %w: tensor<?x8xf64>)\n"
         "    -> tensor<?x8xf64, #z> {\n"
         "  %z = equivariant.contract z of #p (x = %x, y = %y, w = %w)\n"
         "       : (tensor<?x24xf64, #x>, tensor<?x3xf64, #y>, tensor<?x8xf64>) -> tensor<?x8xf64, #z>\n"
         "  return %z : tensor<?x8xf64, #z>\n"
         "}\n";
}

static const char *const host = "equivariant-to-cpu", *const gpu = "equivariant-to-gpu{chip=sm_90 deterministic=false}";

/// Compiles a program for the host and compares what it computes with the definition.
static void runOnHost(int number) {
  constexpr int rows = 5;
  alignas(64) static double x[rows * 24], y[rows * 3], w[rows * 8], z[rows * 8];
  for (int i = 0; i < rows * 24; ++i) {
    x[i] = std::sin(1.0 + i);
    y[i % (rows * 3)] = std::cos(2.0 + i);
    w[i % (rows * 8)] = std::sin(3.0 + 2 * i);
  }
  espmm_executable *exe = nullptr;
  if (!check(espmm_compile(program(number).c_str(), host, &exe) == ESPMM_OK, "compiling for the host"))
    return;
  const int64_t sizes[3] = {rows, 0, 0};
  void *buffers[] = {x, y, w, z};
  std::memset(z, 0xff, sizeof z);
  int64_t bytes = 0;
  check(espmm_executable_scratch(exe, sizes, &bytes) == ESPMM_OK, "the size of the scratch");
  std::vector<char> scratch(size_t(bytes) + 64);
  void *aligned = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) % 64;
  check(espmm_launch(exe, -1, nullptr, sizes, buffers, 4, aligned, bytes) == ESPMM_OK, "a launch");
  double error = 0;
  for (int row = 0; row < rows; ++row)
    for (int u = 0; u < 8; ++u) {
      double dot = 0;
      for (int i = 0; i < 3; ++i)
        dot += x[row * 24 + u * 3 + i] * y[row * 3 + i];
      error += std::abs(z[row * 8 + u] - coefficient(number) / std::sqrt(3.0) * w[row * 8 + u] * dot);
    }
  check(error < 1e-14, "the product");
  espmm_executable_release(exe);
}

static void compileForGpu(int number, bool assembles) {
  espmm_executable *exe = nullptr;
  char *code = nullptr;
  if (!check(espmm_compile(program(number).c_str(), gpu, &exe) == ESPMM_OK, "compiling for a GPU"))
    return;
  if (check(espmm_executable_code(exe, assembles ? "sass_info" : "ptx", &code) == ESPMM_OK, "its code"))
    check(std::strstr(code, "tp_0"), "the kernel's name in its code");
  espmm_free(code);
  espmm_executable_release(exe);
}

static std::string info() {
  char *text = nullptr;
  check(espmm_info(&text) == ESPMM_OK, "espmm_info");
  std::string result = text ? text : "";
  espmm_free(text);
  return result;
}

/// A number in the part on this process of what espmm_info says.
static int count(const std::string &text, const char *name) {
  size_t at = text.find("\"this_process\":{");
  at = at == std::string::npos ? at : text.find(std::string("\"") + name + "\":", at);
  check(at != std::string::npos, "the counts of this process");
  return at == std::string::npos ? 0 : std::atoi(text.c_str() + at + std::strlen(name) + 3);
}

static pid_t startChild(const std::function<void()> &body) {
  std::fflush(nullptr);
  pid_t child = fork();
  if (child == 0) {
    alarm(60); // a child that hangs is a failure
    failures = 0;
    espmm_set_num_threads(1);
    body();
    std::fflush(nullptr);
    _exit(failures ? 1 : 0);
  }
  return child;
}

static void checkEnd(pid_t child) {
  int status = 0;
  check(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0, "a process ended badly");
}

static int entriesIn(const std::string &folder) {
  int entries = 0;
  for (const auto &file : std::filesystem::directory_iterator(folder))
    entries += file.path().extension() == ".espmm";
  return entries;
}

static void testEightAtOnce(const std::string &folder) {
  constexpr int programs = 3, processes = 8;
  bool assembles = info().find("\"ptxas\":{\"path\"") != std::string::npos;
  std::vector<pid_t> children;
  for (int process = 0; process < processes; ++process)
    children.push_back(startChild([&] {
      ++state.started;
      while (state.started < processes)
        std::this_thread::yield();
      for (int i = 0; i < programs; ++i) {
        runOnHost((process + i) % programs);
        compileForGpu((process + i) % programs, assembles);
      }
      std::string text = info();
      state.made += count(text, "made");
      state.found += count(text, "found");
    }));
  for (pid_t child : children)
    checkEnd(child);
  int entries = programs * (assembles ? 3 : 2);
  std::printf("%d processes at once, %d programs and kernels: %d compiles in all, %d found\n", processes, entries, state.made.load(),
              state.found.load());
  check(entriesIn(folder) == entries, "every program and kernel has an entry");
  check(state.made >= entries && state.made <= 2 * entries, "each is compiled once, at most twice");
  check(state.made + state.found == processes * entries, "who does not compile finds");
}

static void testKilled(const std::string &folder) {
  constexpr int kills = 200, first = 100; // numbers that nobody has compiled before
  int before = entriesIn(folder), midway = 0;
  double undisturbed = 0, longest = 0;
  auto work = [&](int number) {
    Clock::time_point start = Clock::now();
    ++state.started;
    runOnHost(number);
    state.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  };
  for (int i = 0; i < 3; ++i) {
    checkEnd(startChild([&] { work(first + kills + i); }));
    undisturbed += state.seconds / 3;
  }
  std::mt19937 random(7);
  for (int number = first; number < first + kills; ++number) {
    state.started = 0;
    pid_t victim = startChild([&] { work(number); });
    while (state.started == 0)
      std::this_thread::yield();
    pid_t other = startChild([&] { work(number); });
    std::this_thread::sleep_for(std::chrono::duration<double>(undisturbed * std::uniform_real_distribution<>(0, 1.2)(random)));
    kill(victim, SIGKILL);
    Clock::time_point killed = Clock::now();
    int status = 0;
    check(waitpid(victim, &status, 0) == victim, "waiting for the process that is killed");
    midway += WIFSIGNALED(status);
    checkEnd(other);
    longest = std::max(longest, std::chrono::duration<double>(Clock::now() - killed).count());
  }
  std::printf("%d of %d killed midway (a compile takes %.0f ms); the other process was done %.0f ms later at the latest\n", midway,
              kills, undisturbed * 1e3, longest * 1e3);
  check(midway > kills / 8, "enough were killed midway");
  check(longest < 30, "nobody waited for the dead");
  // What they left is whole: one process finds all of it, and it computes what it should.
  checkEnd(startChild([&] {
    for (int number = first; number < first + kills; ++number)
      runOnHost(number);
    std::string text = info();
    check(count(text, "made") == 0 && count(text, "found") == kills, "everything is found");
  }));
  check(entriesIn(folder) == before + 3 + kills, "every program has an entry");
}

static std::string textOf(const std::string &path) {
  std::ifstream stream(path);
  return std::string((std::istreambuf_iterator<char>(stream)), {});
}

/// An entry whose checksum is right and that yet holds no program is compiled anew, with a warning.
static void testNoProgram(const std::string &folder) {
  check(entriesIn(folder) == 0, "an empty cache");
  checkEnd(startChild([&] { runOnHost(900); }));
  for (const auto &file : std::filesystem::directory_iterator(folder))
    if (file.path().extension() == ".espmm")
      check(espmm::DiskCache(folder).put(file.path().stem().string(), {{"manifest", "{}"}}), "replacing the entry");
  std::string log = folder + "/warnings";
  for (int made : {1, 0})
    checkEnd(startChild([&] {
      check(freopen(log.c_str(), "a", stderr) != nullptr, "keeping the warning");
      runOnHost(900);
      check(count(info(), "made") == made, "how often it is compiled");
    }));
  std::string text = textOf(log);
  check(text.find("espmm: warning: the cache entry " + folder) == 0 && text.find(" holds no program (") != std::string::npos &&
            text.find('\n') == text.size() - 1,
        "one warning, got '" + text + "'");
}

int main() {
  std::string folder = (std::filesystem::temp_directory_path() / "espmm-capi-XXXXXX").string();
  if (!mkdtemp(folder.data()))
    return 2;
  setenv("ESPMM_CACHE_DIR", (folder + "/cache").c_str(), 1);
  unsetenv("ESPMM_CACHE");
  // Warnings, such as of a damaged entry, are failures.
  int terminal = dup(2);
  std::string log = folder + "/stderr";
  check(freopen(log.c_str(), "a", stderr) != nullptr, "keeping what is written to stderr");
  testEightAtOnce(folder + "/cache");
  testKilled(folder + "/cache");
  int removed = 0;
  check(espmm_cache_clear(&removed) == ESPMM_OK && entriesIn(folder + "/cache") == 0 && removed >= 200, "clearing the cache");
  testNoProgram(folder + "/cache");
  std::fflush(nullptr);
  dup2(terminal, 2);
  std::string text = textOf(log);
  if (!text.empty()) {
    std::fputs(text.c_str(), stderr);
    ++failures;
  }
  std::filesystem::remove_all(folder);
  if (failures == 0)
    std::puts("all checks of the cache passed");
  return failures != 0;
}
