//===- RuntimeHostTest.cpp - compiled C kernels, linked and launched -----===//
#include "RuntimeTest.h"
#include "espmm/Runtime/Plan.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include <chrono>
#include <cmath>
#include <cstring>
#include <random>
#include <thread>

using namespace espmm;

// Sums rows by receiver through the plan, then doubles the sum; the shape of what the compiler emits.
static const char *const kernels = R"(
#include <stdint.h>
#include <string.h>
typedef const uint64_t *Args;
static const float factors[2] = {2.0f, 1.0f};

void sum_parts(Args args, int64_t task) {
  const float *x = (const float *)args[0];
  const int32_t *offsets = (const int32_t *)args[1], *order = (const int32_t *)args[2];
  const int32_t *parts = (const int32_t *)args[3];
  float *sums = (float *)args[4];
  int64_t width = args[5];
  for (int64_t n = parts[task]; n < parts[task + 1]; ++n)
    for (int64_t p = offsets[n]; p < offsets[n + 1]; ++p)
      for (int64_t i = 0; i < width; ++i)
        sums[n * width + i] += x[(int64_t)(order ? order[p] : p) * width + i];
}

void scale_rows(Args args, int64_t task) {
  int64_t width = args[2];
  float row[64];
  memcpy(row, (const float *)args[0] + task * width, width * 4);
  for (int64_t i = 0; i < width; ++i)
    row[i] *= factors[task < 0];
  memcpy((float *)args[1] + task * width, row, width * 4);
}
)";

static std::string compile(const std::string &clang, const std::string &source,
                           std::vector<llvm::StringRef> options = {}) {
  test::TemporaryFolder folder;
  std::string input = folder.path("kernels.c"), output = folder.path("kernels.o");
  {
    std::error_code error;
    llvm::raw_fd_ostream os(input, error);
    os << source;
  }
  std::vector<llvm::StringRef> command = {clang, "-O2", "-fPIC", "-c", input, "-o", output};
  command.insert(command.end(), options.begin(), options.end());
  CHECK_EQUAL(llvm::sys::ExecuteAndWait(clang, command), 0);
  auto file = llvm::MemoryBuffer::getFile(output);
  CHECK(bool(file));
  return file ? (*file)->getBuffer().str() : "";
}

void testHostCode(const std::string &clang) {
  std::string object = compile(clang, kernels);
  auto start = std::chrono::steady_clock::now();
  auto code = HostCode::link(object);
  auto time = std::chrono::steady_clock::now() - start;
  std::printf("linking host code: %.2f ms\n", std::chrono::duration<double, std::milli>(time).count());
  CHECK(bool(code));
  if (!code)
    return llvm::consumeError(code.takeError());
  CHECK(bool((*code)->lookup("sum_parts")));
  CHECK_CONTAINS(test::textOf((*code)->lookup("sum")), "the object defines no function sum");
  CHECK_CONTAINS(test::textOf((*code)->lookup("factors")), "no function factors"); // local

  // Two objects with the same names do not get in each other's way.
  auto plusOne = llvm::cantFail(HostCode::link(compile(clang, "int f(int a) { return a + 1; }")));
  auto plusTwo = llvm::cantFail(HostCode::link(compile(clang, "int f(int a) { return a + 2; }")));
  auto call = [](HostCode &code) { return reinterpret_cast<int (*)(int)>(llvm::cantFail(code.lookup("f")))(5); };
  CHECK_EQUAL(call(*plusOne), 6);
  CHECK_EQUAL(call(*plusTwo), 7);

  CHECK_CONTAINS(test::textOf(HostCode::link("not an object")), "linking host code: ");
  CHECK_CONTAINS(test::textOf(HostCode::link("")), "linking host code: ");
  CHECK_CONTAINS(test::textOf(HostCode::link(llvm::StringRef(object).take_front(100))), "linking host code: ");
  std::string missing = compile(clang, "void espmm_nowhere(void); void f(void) { espmm_nowhere(); }");
  CHECK_CONTAINS(test::textOf(HostCode::link(missing)), "needs symbols that this process lacks: espmm_nowhere");
#if defined(__x86_64__)
  std::string foreign = compile(clang, "int f(void) { return 1; }", {"--target=aarch64-linux-gnu"});
  CHECK_CONTAINS(test::textOf(HostCode::link(foreign)), "the object is for aarch64, this machine is x86_64");
#endif
}

static const char *const program = R"({"format": 1, "target": "cpu", "space": "graph",
 "arguments": [{"name": "x", "dtype": "f32", "rows": "edges", "width": 7, "used": true},
               {"name": "unused", "dtype": "f32", "rows": "all", "width": 3, "used": false}],
 "results": [{"dtype": "f32", "rows": "receivers", "width": 7, "align": 8}],
 "plan": ["receivers.offsets", "receivers.order", "receivers.parts"],
 "scratch": [{"bytes": 3}, {"bytes": ["*", "R", 28]}],
 "steps": [{"op": "fill", "buffer": ["scratch", 0], "bytes": 3},
           {"op": "fill", "buffer": ["scratch", 1], "bytes": ["*", "R", 28]},
           {"op": "launch", "kernel": "sum_parts", "grid": [64],
            "args": [["argument", 0], ["plan", 0], ["plan", 1], ["plan", 2], ["scratch", 1], ["const", 7]]},
           {"op": "launch", "kernel": "scale_rows", "grid": ["R", 1, 1],
            "args": [["scratch", 1], ["result", 0], ["expression", ["-", ["+", 7, "E"], "E"]]]}]})";

namespace {

/// A graph, its plan, and the buffers of the program above.
struct Problem {
  int64_t edges, nodes;
  std::vector<int64_t> index, other;
  std::vector<int32_t> offsets, order, otherOut, parts;
  int sorted = 0;
  std::vector<float> x, z;
  std::vector<char> scratch;

  Problem(int64_t edges, int64_t nodes, bool sort) : edges(edges), nodes(nodes) {
    std::mt19937 random(3);
    for (int64_t edge = 0; edge < edges; ++edge) {
      index.push_back(int64_t(random() % uint64_t(nodes)));
      for (int i = 0; i < 7; ++i)
        x.push_back(float(random()) / 1e9f - 2);
    }
    if (sort)
      std::sort(index.begin(), index.end());
    other.assign(size_t(edges), 0);
    offsets.resize(size_t(nodes) + 1);
    order.resize(size_t(edges));
    otherOut.resize(size_t(edges));
    parts.resize(planParts + 1);
    int64_t bad = 0;
    CHECK_EQUAL(int(espmm_plan_build(index.data(), other.data(), 64, edges, nodes, 1, offsets.data(), order.data(),
                                     otherOut.data(), parts.data(), &sorted, &bad)),
                int(ESPMM_OK));
    CHECK_EQUAL(bool(sorted), sort);
    z.assign(size_t(nodes) * 7, NAN); // what is not written shows
  }

  std::vector<void *> buffers() {
    return {x.data(), nullptr, offsets.data(), sorted ? nullptr : order.data(), parts.data(), z.data()};
  }

  espmm_status run(espmm_executable *exe, int64_t lessScratch = 0) {
    const int64_t sizes[3] = {edges, nodes, 1};
    int64_t bytes = -1;
    CHECK_EQUAL(int(espmm_executable_scratch(exe, sizes, &bytes)), int(ESPMM_OK));
    CHECK(bytes >= nodes * 28 + 3);
    // Guard bytes on both sides, and a beginning that is aligned to nothing.
    scratch.assign(size_t(bytes) + 2 * guard, char(0x5a));
    std::vector<void *> list = buffers();
    espmm_status status = espmm_launch(exe, -1, nullptr, sizes, list.data(), list.size(), scratch.data() + guard,
                                       bytes - lessScratch);
    for (size_t i = 0; i < guard; ++i)
      CHECK(scratch[i] == 0x5a && scratch[scratch.size() - 1 - i] == 0x5a);
    return status;
  }

  bool right() const {
    std::vector<double> sums(size_t(nodes) * 7);
    for (int64_t edge = 0; edge < edges; ++edge)
      for (int i = 0; i < 7; ++i)
        sums[size_t(index[edge] * 7 + i)] += 2.0 * x[size_t(edge * 7 + i)];
    for (size_t i = 0; i < sums.size(); ++i)
      if (!(std::fabs(sums[i] - z[i]) < 1e-3)) // a NaN is not right
        return false;
    return true;
  }

  static constexpr size_t guard = 37;
};

espmm_executable wrap(std::string manifest, Blobs blobs) {
  return {llvm::cantFail(Executable::create(std::move(manifest), std::move(blobs)))};
}

std::string edited(const std::string &from, const std::string &to) {
  std::string text = program;
  size_t at = text.find(from);
  CHECK(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

} // namespace

static void testResults(espmm_executable &exe) {
  for (bool sort : {false, true})
    for (auto [edges, nodes] : {std::pair<int64_t, int64_t>(5000, 900), {10, 200}, {0, 3}, {40000, 30000}}) {
      Problem problem(edges, nodes, sort || edges == 0);
      std::vector<float> first;
      for (int threads : {1, 2, 4}) {
        espmm_set_num_threads(threads);
        std::fill(problem.z.begin(), problem.z.end(), NAN);
        CHECK_EQUAL(int(problem.run(&exe)), int(ESPMM_OK));
        CHECK(problem.right());
        if (first.empty())
          first = problem.z;
        CHECK(std::memcmp(first.data(), problem.z.data(), first.size() * 4) == 0);
      }
    }
  // No node, no edge: nothing is launched, and null pointers are in order.
  const int64_t sizes[3] = {0, 0, 0};
  int32_t offsets[1] = {0}, parts[planParts + 1] = {};
  void *buffers[] = {nullptr, nullptr, offsets, nullptr, parts, nullptr};
  char scratch[1024];
  CHECK_EQUAL(int(espmm_launch(&exe, -1, nullptr, sizes, buffers, 6, scratch, sizeof scratch)), int(ESPMM_OK));
}

static void testLaunchErrors(espmm_executable &exe) {
  Problem problem(10, 4, true);
  const int64_t sizes[3] = {10, 4, 1};
  std::vector<char> scratch(4096);
  auto error = [&](std::vector<void *> buffers, int device = -1, std::vector<int64_t> own = {10, 4, 1}) {
    espmm_status status =
        espmm_launch(&exe, device, nullptr, own.data(), buffers.data(), buffers.size(), scratch.data(), 4096);
    CHECK_EQUAL(int(status), int(ESPMM_INVALID));
    return std::string(espmm_last_error());
  };
  std::vector<void *> good = problem.buffers();
  auto with = [&](size_t i, void *pointer) {
    std::vector<void *> buffers = good;
    buffers[i] = pointer;
    return buffers;
  };
  CHECK_CONTAINS(error({good.begin(), good.end() - 1}),
                 "the program has 6 buffers (2 arguments, 3 plan arrays, 1 results), got 5");
  CHECK_CONTAINS(error(with(0, nullptr)), "argument 0 (x) is null, expected 10 rows of 7");
  CHECK_CONTAINS(error(with(0, reinterpret_cast<char *>(good[0]) + 2)), "argument 0 (x) has to lie at a multiple of 4");
  CHECK_CONTAINS(error(with(5, reinterpret_cast<char *>(good[5]) + 4)), "result 0 has to lie at a multiple of 8");
  CHECK_CONTAINS(error(with(5, nullptr)), "result 0 is null, expected 4 rows of 7");
  CHECK_CONTAINS(error(with(2, nullptr)), "plan array 0 is null");
  CHECK_CONTAINS(error(good, -1, {10, -4, 1}), "sizes can't be negative, got E = 10, R = -4, S = 1");
  CHECK_CONTAINS(error(good, 0), "compiled for cpu can't run on cuda:0");
  CHECK_CONTAINS(error(good, -2), "a device is -1 (the host) or");
  CHECK_CONTAINS(error(good, 64), "got 64");
  CHECK_EQUAL(int(problem.run(&exe, 1)), int(ESPMM_INVALID));
  CHECK_CONTAINS(espmm_last_error(), "bytes of scratch, got ");
  CHECK_EQUAL(int(espmm_launch(&exe, -1, nullptr, sizes, good.data(), 6, nullptr, 4096)), int(ESPMM_INVALID));
  CHECK_CONTAINS(espmm_last_error(), "of scratch, got a null pointer");
  CHECK_EQUAL(int(espmm_launch(nullptr, -1, nullptr, sizes, good.data(), 6, nullptr, 0)), int(ESPMM_INVALID));
  CHECK_CONTAINS(espmm_last_error(), "espmm_launch: exe is a null pointer");
  // Sizes whose bytes overflow.
  int64_t bytes = 0;
  const int64_t huge[3] = {1, std::numeric_limits<int64_t>::max() / 8, 1};
  CHECK_EQUAL(int(espmm_executable_scratch(&exe, huge, &bytes)), int(ESPMM_INVALID));
  CHECK_CONTAINS(espmm_last_error(), "scratch 1: (R * 28) does not fit in 64 bits");

  // An error is the thread's own.
  std::thread([] { CHECK_EQUAL(std::string(espmm_last_error()), ""); }).join();
}

static void testProgramErrors(const std::string &object) {
  CHECK_CONTAINS(test::textOf(Executable::create(program, {{"ptx", "..."}})),
                 "a program for cpu needs the blob \"object\"");
  espmm_executable unknown = wrap(edited("\"scale_rows\"", "\"scale_row\""), {{"object", object}});
  CHECK_EQUAL(int(espmm_executable_load(&unknown, -1)), int(ESPMM_INVALID));
  CHECK_CONTAINS(espmm_last_error(), "kernel scale_row: the object defines no function scale_row");
  espmm_executable garbage = wrap(program, {{"object", "garbage"}});
  CHECK(espmm_executable_load(&garbage, -1) != ESPMM_OK);
  CHECK_CONTAINS(espmm_last_error(), "linking host code: ");

  Problem problem(10, 4, false);
  espmm_executable negative = wrap(edited("[\"R\", 1, 1]", "[[\"-\", \"R\", 5], 1, 1]"), {{"object", object}});
  CHECK_EQUAL(int(problem.run(&negative)), int(ESPMM_INVALID));
  CHECK_CONTAINS(espmm_last_error(), "kernel scale_rows: its grid can't have -1 blocks in dimension 0");
  espmm_executable overflow =
      wrap(edited("[\"+\", 7, \"E\"]", "[\"*\", \"E\", 9223372036854775807]"), {{"object", object}});
  CHECK_EQUAL(int(problem.run(&overflow)), int(ESPMM_INVALID));
  CHECK_CONTAINS(espmm_last_error(), "kernel scale_rows: argument 2: ");
}

static void testConcurrentUse(const std::string &object) {
  // The first launches meet in loading.
  espmm_executable exe = wrap(program, {{"object", object}});
  espmm_set_num_threads(2);
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      Problem problem(3000, 500, false);
      bool all = true;
      for (int round = 0; round < 20; ++round)
        all = all && problem.run(&exe) == ESPMM_OK && problem.right();
      right += all;
    });
  for (std::thread &thread : threads)
    thread.join();
  CHECK_EQUAL(right.load(), 4);
}

void testHostPrograms(const std::string &clang) {
  std::string object = compile(clang, kernels);
  espmm_executable exe = wrap(program, {{"object", object}, {"assembly", "text"}});
  CHECK_EQUAL(std::string(espmm_executable_manifest(&exe)), std::string(program));
  CHECK_EQUAL(*exe.executable->blob("assembly"), "text");
  CHECK(!exe.executable->blob("ptx"));
  CHECK_EQUAL(int(espmm_executable_load(&exe, -1)), int(ESPMM_OK));
  testResults(exe);
  testLaunchErrors(exe);
  testProgramErrors(object);
  testConcurrentUse(object);
  CHECK(test::inChild([&] {
    Problem problem(3000, 500, false);
    return problem.run(&exe) == ESPMM_OK && problem.right();
  }));
}
