//===- RuntimeCudaTest.cpp - programs on a GPU, or on the fake driver ----===//
//
//     RuntimeCudaTest                    on this machine's driver; without one, tests what is said then
//     RuntimeCudaTest LIBCUDA            on another libcuda.so.1: the fake one, see RuntimeFakeCuda.cpp
//
#include "RuntimeTest.h"
#include "RuntimeTestPtx.h"
#include "espmm/Runtime/Assembler.h"
#include "espmm/Runtime/Info.h"
#include <cmath>
#include <cstdlib>
#include <dlfcn.h>
#include <thread>

using namespace espmm;

// result 0 = 3 x + 5 (2 x), by way of two scratch buffers; result 1 = the first 100 of x backwards, through more
// shared memory than a kernel may have unasked.
static const char *const program = R"({"format": 1, "target": "cuda:sm_80", "space": "rows",
 "arguments": [{"name": "x", "dtype": "f32", "rows": "edges", "width": 1, "used": true}],
 "results": [{"dtype": "f32", "rows": "edges", "width": 1}, {"dtype": "f32", "rows": "all", "width": 100}],
 "plan": [],
 "scratch": [{"bytes": 7}, {"bytes": ["*", "E", 4]}],
 "steps": [{"op": "fill", "buffer": ["result", 0], "bytes": ["*", "E", 4]},
           {"op": "fill", "buffer": ["scratch", 0], "bytes": 7},
           {"op": "fill", "buffer": ["scratch", 1], "bytes": ["*", "E", 4]},
           {"op": "launch", "kernel": "scale_add", "grid": [["ceildiv", "E", 128], 1, 1], "block": [128, 1, 1],
            "shared": 0, "args": [["argument", 0], ["result", 0], ["size", "E"], ["const", 3]]},
           {"op": "launch", "kernel": "scale_add", "grid": [["ceildiv", "E", 128], 1, 1], "block": [128, 1, 1],
            "shared": 0, "args": [["argument", 0], ["scratch", 1], ["size", "E"], ["const", 2]]},
           {"op": "launch", "kernel": "scale_add", "grid": [["ceildiv", "E", 128], 1, 1], "block": [128, 1, 1],
            "shared": 0, "args": [["scratch", 1], ["result", 0], ["size", "E"], ["const", 5]]},
           {"op": "launch", "kernel": "reverse_block", "grid": [["min", "E", 1], 1, 1], "block": [128, 1, 1],
            "shared": 102400, "args": [["argument", 0], ["result", 1], ["expression", ["*", 50, 2]]]}]})";

static std::string edited(const std::string &from, const std::string &to, std::string text = program) {
  size_t at = text.find(from);
  CHECK(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

static espmm_executable wrap(std::string manifest, std::string ptx = testPtx) {
  return {llvm::cantFail(Executable::create(std::move(manifest), {{"ptx", std::move(ptx)}}))};
}

static std::string loadError(espmm_executable exe, espmm_status status, int device = 0) {
  CHECK_EQUAL(int(espmm_executable_load(&exe, device)), int(status));
  return espmm_last_error();
}

/// What every entry says where there is no driver or device.
static void testWithoutDevice(const char *reason) {
  espmm_executable exe = wrap(program);
  for (int i = 0; i < 2; ++i) { // the second time too
    std::string text = loadError(exe, ESPMM_NO_DEVICE);
    CHECK_CONTAINS(text, "launching on cuda needs ");
    CHECK_CONTAINS(text, reason);
  }
  const int64_t sizes[3] = {0, 0, 0};
  void *buffers[3] = {nullptr, nullptr, &exe};
  char scratch[1024];
  CHECK_EQUAL(int(espmm_launch(&exe, 0, nullptr, sizes, buffers, 3, scratch, sizeof scratch)), int(ESPMM_NO_DEVICE));
  CHECK_CONTAINS(espmm_last_error(), reason);
  llvm::json::Object info = collectInfo();
  CHECK_CONTAINS(info.getObject("cuda")->getString("error").value_or("").str(), reason);
}

namespace {

/// Memory on the device, filled with NaN.
class DeviceArray {
public:
  DeviceArray(const cuda::Device &device, std::vector<float> values) : device(device), size(values.size()) {
    cuda::CurrentContext current(device);
    check(device.driver.memAlloc(&pointer, std::max<size_t>(1, size) * 4));
    if (size)
      check(device.driver.memcpyHtoD(pointer, values.data(), size * 4));
  }
  ~DeviceArray() {
    cuda::CurrentContext current(device);
    check(device.driver.memFree(pointer));
  }
  void *data(size_t offset = 0) const { return reinterpret_cast<void *>(uintptr_t(pointer + offset)); }
  std::vector<float> read() const {
    cuda::CurrentContext current(device);
    std::vector<float> values(size);
    if (size)
      check(device.driver.memcpyDtoH(values.data(), pointer, size * 4));
    return values;
  }

private:
  void check(cuda::Result result) const { CHECK_EQUAL(test::textOf(device.driver.check(result, "memory")), ""); }
  const cuda::Device &device;
  size_t size;
  cuda::DevicePointer pointer = 0;
};

std::vector<float> ramp(int64_t count) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i)
    values.push_back(float(i % 1000) + 1);
  return values;
}

bool run(espmm_executable &exe, const cuda::Device &device, int64_t rows, cuda::Stream stream,
         espmm_status expected = ESPMM_OK) {
  std::vector<float> x = ramp(std::max<int64_t>(rows, 100));
  DeviceArray input(device, x), result(device, std::vector<float>(size_t(rows), NAN)),
      reversed(device, std::vector<float>(100, NAN));
  const int64_t sizes[3] = {rows, 0, 0};
  int64_t bytes = -1;
  CHECK_EQUAL(int(espmm_executable_scratch(&exe, sizes, &bytes)), int(ESPMM_OK));
  DeviceArray scratch(device, std::vector<float>(size_t(bytes) / 4 + 2, NAN));
  void *buffers[] = {input.data(), result.data(), reversed.data()};
  // A scratch that begins off every boundary.
  espmm_status status =
      espmm_launch(&exe, device.ordinal, stream, sizes, buffers, 3, scratch.data(4), bytes);
  CHECK_EQUAL(int(status), int(expected));
  if (status != expected)
    std::fprintf(stderr, "%s\n", espmm_last_error());
  {
    cuda::CurrentContext current(device);
    CHECK_EQUAL(test::textOf(device.driver.check(device.driver.streamSynchronize(stream), "the launch")), "");
  }
  std::vector<float> z = result.read(), back = reversed.read();
  bool right = true;
  for (size_t i = 0; i < z.size(); ++i)
    right &= z[i] == 13 * x[i];
  for (size_t i = 0; i < back.size(); ++i)
    right &= rows ? back[i] == x[99 - i] : std::isnan(back[i]); // no rows: its grid is empty
  return right;
}

} // namespace

static void testPrograms(const cuda::Device &device) {
  espmm_executable exe = wrap(program);
  cuda::Stream stream = nullptr;
  {
    cuda::CurrentContext current(device);
    CHECK_EQUAL(device.driver.streamCreate(&stream, cuda::stream_flags::nonBlocking), 0);
  }
  for (int64_t rows : {100, 1, 0, 128, 129, 1000000})
    for (cuda::Stream on : {stream, cuda::Stream(nullptr)})
      CHECK(run(exe, device, rows, on));

  // A thread that has never met CUDA finds everything set up, and is left as it was.
  std::thread([&] {
    CHECK(run(exe, device, 500, nullptr));
    cuda::Context current = nullptr;
    CHECK_EQUAL(device.driver.ctxGetCurrent(&current), 0);
    CHECK(current == nullptr);
  }).join();

  llvm::Expected<std::vector<cuda::KernelUse>> use = exe.executable->kernelUse(device.ordinal);
  CHECK(bool(use));
  if (use) {
    CHECK_EQUAL(use->size(), 2u);
    CHECK_EQUAL((*use)[0].kernel, "scale_add");
    CHECK((*use)[0].registers > 0);
    CHECK_EQUAL((*use)[0].localBytes, 0);
  } else {
    std::fprintf(stderr, "%s\n", test::textOf(std::move(use)).c_str());
  }
  // As for the host: what is wrong is found before anything is launched.
  const int64_t sizes[3] = {1000, 0, 0};
  void *buffers[] = {nullptr, nullptr, nullptr};
  CHECK_EQUAL(int(espmm_launch(&exe, device.ordinal, nullptr, sizes, buffers, 3, nullptr, 0)), int(ESPMM_INVALID));
  CHECK_CONTAINS(espmm_last_error(), "argument 0 (x) is null");
  CHECK_CONTAINS(loadError(exe, ESPMM_INVALID, -1), "compiled for cuda:sm_80 can't run on the host");
}

static void testErrors(const cuda::Device &device) {
  std::string count = std::to_string(llvm::cantFail(cuda::deviceCount()));
  CHECK_CONTAINS(loadError(wrap(program), ESPMM_NO_DEVICE, 63), "there is no device cuda:63; this process sees " + count);
  CHECK_CONTAINS(loadError(wrap(edited("sm_80", "sm_999")), ESPMM_INVALID), "the program is compiled for sm_999, but ");
  CHECK_CONTAINS(loadError(wrap(edited("sm_80", "sm_80a")), ESPMM_INVALID), "the program is compiled for sm_80a, but ");
  CHECK_CONTAINS(loadError(wrap(edited("reverse_block", "no_such")), ESPMM_INTERNAL),
                 "kernel no_such: looking for it in the module: CUDA_ERROR_NOT_FOUND (500)");
  CHECK_CONTAINS(loadError(wrap(edited("102400", "1000000")), ESPMM_UNSUPPORTED),
                 "kernel reverse_block: a block needs 1000000 bytes of shared memory, ");
  std::string text = loadError(wrap(program, edited("ld.global.f32", "ld.globl.f32", testPtx)), ESPMM_INTERNAL);
  CHECK_CONTAINS(text, "assembling PTX with the driver for cuda:0");
  CHECK_CONTAINS(text, "CUDA_ERROR_INVALID_PTX (218)");
  CHECK_CONTAINS(text, "globl");

  // Grids that CUDA does not have.
  const int64_t sizes[3] = {70000, 0, 0};
  DeviceArray array(device, ramp(70000)), other(device, ramp(70000)), scratch(device, ramp(73000));
  void *buffers[] = {array.data(), other.data(), other.data()};
  espmm_executable tall = wrap(edited("[\"ceildiv\", \"E\", 128], 1, 1", "1, \"E\", 1"));
  CHECK_EQUAL(int(espmm_launch(&tall, 0, nullptr, sizes, buffers, 3, scratch.data(), 73000 * 4)),
              int(ESPMM_UNSUPPORTED));
  CHECK_CONTAINS(espmm_last_error(), "kernel scale_add: its grid has 70000 blocks in dimension 1, CUDA allows 65535");

  // PTX of a version that no driver knows yet, and no ptxas to help.
  setenv("ESPMM_PTXAS", "/nowhere/ptxas", 1);
  text = loadError(wrap(program, edited(".version 7.0", ".version 99.0", testPtx)), ESPMM_UNSUPPORTED);
  CHECK_CONTAINS(text, "is too old for this PTX");
  unsetenv("ESPMM_PTXAS");
}

static void testAssemblers(const cuda::Device &device, bool fake) {
  for (auto assembler : {cuda::Assembler::Driver, cuda::Assembler::Ptxas}) {
    if (assembler == cuda::Assembler::Ptxas && !test::textOf(cuda::findPtxas()).empty())
      continue;
    llvm::Expected<std::vector<cuda::Cubin>> cubins = cuda::cubinsFor(testPtx, device, assembler);
    CHECK(bool(cubins));
    if (!cubins) {
      std::fprintf(stderr, "%s\n", test::textOf(std::move(cubins)).c_str());
      continue;
    }
    CHECK_EQUAL(cubins->size(), 2u);
    std::vector<cuda::Cubin> again = llvm::cantFail(cuda::cubinsFor(testPtx, device, assembler));
    for (auto [i, cubin] : llvm::enumerate(*cubins)) {
      std::printf("%s reports:\n%s\n", assembler == cuda::Assembler::Driver ? "the driver" : "ptxas",
                  cubin.log.c_str());
      CHECK_EQUAL(cubin.kernel, i ? "reverse_block" : "scale_add");
      CHECK(!cubin.code.empty());
      if (fake || assembler == cuda::Assembler::Ptxas) // how much a driver reports is its own affair
        CHECK_EQUAL(cuda::parseAssemblerLog(cubin.log).size(), 1u);
      CHECK(again[i].code == cubin.code && again[i].kernel == cubin.kernel);
    }
  }
}

/// A child of a process that uses CUDA is told so.
static void testFork(const cuda::Device &device) {
  espmm_executable exe = wrap(program);
  CHECK_EQUAL(int(espmm_executable_load(&exe, device.ordinal)), int(ESPMM_OK));
  CHECK(test::inChild([&] {
    const int64_t sizes[3] = {0, 0, 0};
    void *buffers[] = {nullptr, nullptr, &exe};
    char scratch[1024];
    CHECK_EQUAL(int(espmm_launch(&exe, 0, nullptr, sizes, buffers, 3, scratch, sizeof scratch)),
                int(ESPMM_NO_DEVICE));
    CHECK_CONTAINS(espmm_last_error(), "forked from one that uses CUDA");
    CHECK_CONTAINS(test::textOf(cuda::Driver::get()), "forked from one that uses CUDA");
    return true;
  }));
}

/// What only the fake can tell.
static void testCalls(const cuda::Device &device, void *fake) {
  auto count = reinterpret_cast<int (*)(const char *)>(dlsym(fake, "fakeCount"));
  auto foreignContext = reinterpret_cast<cuda::Context (*)()>(dlsym(fake, "fakeForeignContext"));

  // The cubin comes from the disk the second time; a damaged entry is assembled anew.
  int links = count("link"), loads = count("load");
  std::string ptx = std::string(testPtx) + ".global .b32 not_seen_before;\n";
  espmm_executable first = wrap(program, ptx), second = wrap(program, ptx), third = wrap(program, ptx);
  CHECK(run(first, device, 100, nullptr) && run(first, device, 100, nullptr) && run(second, device, 100, nullptr));
  CHECK_EQUAL(count("link"), links + 2); // each kernel by itself
  CHECK_EQUAL(count("load"), loads + 4);
  DiskCache cache = DiskCache::fromEnvironment();
  auto eachEntry = [&](auto body) {
    std::error_code error;
    for (llvm::sys::fs::directory_iterator file(cache.folder(), error), end; !error && file != end;
         file.increment(error))
      body(file->path());
    CHECK(!error);
  };
  eachEntry([](const std::string &path) {
    std::error_code error;
    llvm::raw_fd_ostream(path, error) << "damaged";
  });
  {
    test::Warnings warnings;
    CHECK(run(third, device, 100, nullptr));
    CHECK_EQUAL(test::Warnings::texts.size(), 2u);
  }
  CHECK_EQUAL(count("link"), links + 4);
  eachEntry([](const std::string &path) { CHECK(!llvm::sys::fs::remove(path)); });

  // Seven bytes are filled as bytes, the rest as words; nothing empty is launched or filled.
  int bytes = count("memset bytes"), words = count("memset words"), launches = count("launch");
  CHECK(run(first, device, 0, nullptr));
  CHECK_EQUAL(count("memset bytes"), bytes + 1);
  CHECK_EQUAL(count("memset words"), words);
  CHECK_EQUAL(count("launch"), launches);
  CHECK(run(first, device, 10, nullptr));
  CHECK_EQUAL(count("memset bytes"), bytes + 2);
  CHECK_EQUAL(count("memset words"), words + 2);
  CHECK_EQUAL(count("launch"), launches + 4);

  // A launch overlaps the one before it in the program, never what comes before the program.
  const std::string after = "\"shared\": 0, \"args\": [[\"argument\", 0], [\"scratch\", 1]";
  std::string overlapping = edited(after, "\"overlaps\": true, " + after);
  espmm_executable overlaps = wrap(overlapping);
  CHECK(run(overlaps, device, 10, nullptr));
  CHECK_EQUAL(count("overlap"), 1);
  CHECK(run(overlaps, device, 0, nullptr));
  CHECK_EQUAL(count("overlap"), 1);
  espmm_executable alone = wrap(edited("[\"ceildiv\", \"E\", 128]", "[\"*\", \"E\", 0]", overlapping));
  CHECK(!run(alone, device, 10, nullptr)); // the first launch is its part of the sum
  CHECK_EQUAL(count("overlap"), 1);

  // Another library's current context is back after a launch; where ours is current already, nothing is pushed.
  cuda::Context current = nullptr;
  device.driver.ctxPushCurrent(foreignContext());
  CHECK(run(first, device, 10, nullptr));
  device.driver.ctxGetCurrent(&current);
  CHECK(current == foreignContext());
  device.driver.ctxPopCurrent(&current);
  device.driver.ctxPushCurrent(device.context);
  int pushes = count("push");
  CHECK(run(first, device, 10, nullptr));
  CHECK_EQUAL(count("push"), pushes);
  device.driver.ctxPopCurrent(&current);
  CHECK(current == device.context);

  // A module whose kernels are not what the manifest says does not stay loaded.
  int unloads = count("unload");
  CHECK_CONTAINS(loadError(wrap(edited("[128, 1, 1]", "[1024, 1, 1]")), ESPMM_UNSUPPORTED),
                 "kernel scale_add: its blocks have 1024 threads, its registers allow 512 on cuda:0 (Fake GPU)");
  CHECK_EQUAL(count("unload"), unloads + 2);
  // The driver's own refusal names the kernel and how it was launched.
  espmm_executable wild = wrap(edited("[\"argument\", 0], [\"result\", 0]", "[\"const\", 64], [\"result\", 0]"));
  CHECK(!run(wild, device, 10, nullptr, ESPMM_INTERNAL));
  CHECK_CONTAINS(espmm_last_error(), "launching kernel scale_add on cuda:0 (Fake GPU) (grid 1 x 1 x 1, block 128 x 1 x "
                                     "1, 0 bytes of shared memory): CUDA_ERROR_ILLEGAL_ADDRESS (700)");

  {
    DeviceArray array(device, ramp(100)), scratch(device, ramp(1000));
    const int64_t sizes[3] = {100, 0, 0};
    void *buffers[] = {array.data(), reinterpret_cast<void *>(64), array.data()};
    CHECK_EQUAL(int(espmm_launch(&first, 0, nullptr, sizes, buffers, 3, scratch.data(), 4000)), int(ESPMM_INTERNAL));
    CHECK_CONTAINS(espmm_last_error(), "filling 400 bytes of result 0 on cuda:0 (Fake GPU): CUDA_ERROR_ILLEGAL_ADDRESS (700)");
  }

  // A program may be met for the first time while a stream is being captured.
  auto capture = reinterpret_cast<void (*)(bool)>(dlsym(fake, "fakeCapture"));
  auto captureMode = reinterpret_cast<int (*)()>(dlsym(fake, "fakeCaptureMode"));
  capture(true);
  espmm_executable late = wrap(program, std::string(testPtx) + ".global .b32 met_in_a_capture;\n");
  CHECK_EQUAL(int(espmm_executable_load(&late, device.ordinal)), int(ESPMM_OK));
  capture(false);
  CHECK_EQUAL(captureMode(), 0);
  CHECK(run(late, device, 10, nullptr));
}

/// Launches one program of one kernel twice; the first time its kernel fails. Gives both statuses, and the last error.
static std::string launchFaulty(void *fake, espmm_status first, espmm_status second) {
  cuda::Device &device = llvm::cantFail(cuda::Device::get(0));
  espmm_executable exe = wrap(program);
  DeviceArray array(device, ramp(100)), result(device, ramp(100)), scratch(device, ramp(1000));
  const int64_t sizes[3] = {100, 0, 0};
  void *buffers[] = {array.data(), result.data(), result.data()};
  auto launch = [&] { return espmm_launch(&exe, 0, nullptr, sizes, buffers, 3, scratch.data(), 4000); };
  CHECK_EQUAL(int(launch()), int(ESPMM_OK));
  reinterpret_cast<void (*)()>(dlsym(fake, "fakeFault"))();
  CHECK_EQUAL(int(launch()), int(first));
  std::string text = first ? espmm_last_error() : "";
  CHECK_EQUAL(int(launch()), int(second));
  return first ? text : espmm_last_error();
}

/// Other devices than the usual one, and faults that nothing recovers from, each in a child that has met no driver yet.
static void testOtherDevices(void *fake) {
  auto count = reinterpret_cast<int (*)(const char *)>(dlsym(fake, "fakeCount"));
  // With ESPMM_SYNC the kernel that fails is the one that is named.
  CHECK(test::inChild([&] {
    setenv("ESPMM_SYNC", "1", 1);
    std::string text = launchFaulty(fake, ESPMM_INTERNAL, ESPMM_INTERNAL);
    CHECK(llvm::StringRef(text).starts_with("kernel scale_add on cuda:0 (Fake GPU) (grid 1 x 1 x 1, block 128 x 1 x 1, 0 bytes of "
                                            "shared memory): CUDA_ERROR_ILLEGAL_ADDRESS (700)"));
    CHECK(text.find("ESPMM_SYNC") == std::string::npos);
    return true;
  }));
  // Without, whoever comes next finds out, and says how to learn more; nothing waits for anything.
  CHECK(test::inChild([&] {
    int waits = count("synchronize");
    std::string text = launchFaulty(fake, ESPMM_INTERNAL, ESPMM_INTERNAL);
    CHECK_CONTAINS(text, "launching kernel scale_add on cuda:0 (Fake GPU)");
    CHECK_CONTAINS(text, "may be the fault of a kernel launched before: with ESPMM_SYNC=1");
    CHECK_EQUAL(count("synchronize"), waits);
    return true;
  }));
  CHECK(test::inChild([&] {
    setenv("ESPMM_FAKE_CHIP", "75", 1);
    CHECK_CONTAINS(loadError(wrap(program), ESPMM_INVALID),
                   "the program is compiled for sm_80, but cuda:0 (Fake GPU) is sm_75");
    return true;
  }));
  CHECK(test::inChild([&] {
    setenv("ESPMM_FAKE_SHARED", "65536", 1);
    CHECK_CONTAINS(loadError(wrap(program), ESPMM_UNSUPPORTED),
                   "kernel reverse_block: a block needs 102400 bytes of shared memory, cuda:0 (Fake GPU) has 65536");
    return true;
  }));
  CHECK(test::inChild([&] {
    setenv("ESPMM_ASSEMBLER", "nvcc", 1);
    CHECK_CONTAINS(loadError(wrap(program), ESPMM_INVALID), "expected ESPMM_ASSEMBLER to be driver or ptxas, got 'nvcc'");
    return true;
  }));
  // What was assembled for one chip is not loaded on another.
  std::string ptx = std::string(testPtx) + ".global .b32 on_two_chips;\n";
  for (auto [chip, links] : {std::pair("80", 2), {"86", 2}, {"86", 0}, {"80", 0}})
    CHECK(test::inChild([&, chip = chip, links = links] {
      setenv("ESPMM_FAKE_CHIP", chip, 1);
      espmm_executable exe = wrap(program, ptx);
      int before = count("link");
      CHECK_EQUAL(int(espmm_executable_load(&exe, 0)), int(ESPMM_OK));
      CHECK_EQUAL(count("link"), before + links);
      return true;
    }));
}

int main(int argc, char **argv) {
  test::TemporaryFolder cache;
  setenv("ESPMM_CACHE_DIR", cache.path().c_str(), 1);
  unsetenv("ESPMM_CACHE");
  void *fake = nullptr;
  if (argc > 1) {
    // Loaded first, it answers to its soname when the runtime asks for libcuda.so.1.
    fake = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!fake) {
      std::fprintf(stderr, "%s\n", dlerror());
      return 2;
    }
    CHECK(test::inChild([] {
      setenv("ESPMM_FAKE_NO_DEVICE", "1", 1);
      testWithoutDevice("cuInit: CUDA_ERROR_NO_DEVICE (100)");
      return true;
    }));
    testOtherDevices(fake);
  }

  llvm::Expected<cuda::Device &> device = cuda::Device::get(0);
  if (!device) {
    std::string reason = test::textOf(device.takeError());
    std::printf("no GPU here: %s\n", reason.c_str());
    testWithoutDevice(reason.find("libcuda") != std::string::npos ? "libcuda.so.1" : "cuInit");
    return test::finish();
  }
  std::printf("on %s, %s, driver %s\n", device->str().c_str(), device->chip().c_str(),
              cuda::versionText(device->driver.version).c_str());
  testAssemblers(*device, fake);
  testPrograms(*device);
  testErrors(*device);
  if (fake)
    testCalls(*device, fake);
  testFork(*device);
  return test::finish();
}
