#include "Launch.h"
#include "espmm/Runtime/Error.h"
#include "espmm/Runtime/Executable.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include <cstring>
#include <sys/mman.h>

namespace espmm {

namespace {

/// Runs steps on the host, each to its end.
class HostLauncher {
public:
  /// `bytes` is what the program reads and writes.
  HostLauncher(llvm::ArrayRef<HostKernel> kernels, int64_t bytes)
      : kernels(kernels), threads(std::min<int64_t>(numThreads(), std::max<int64_t>(1, bytes / bytesPerThread))) {}

  llvm::Error fill(const FillStep &, void *address, int64_t bytes) {
    static constexpr int64_t chunk = 1 << 18;
    const uint64_t words[] = {reinterpret_cast<uintptr_t>(address), uint64_t(bytes)};
    parallelFor(
        [](const uint64_t *words, int64_t task) {
          int64_t begin = task * chunk;
          std::memset(reinterpret_cast<char *>(words[0]) + begin, 0, std::min(chunk, int64_t(words[1]) - begin));
        },
        words, (bytes + chunk - 1) / chunk, threads);
    return llvm::Error::success();
  }

  llvm::Error launch(const LaunchStep &step, const int64_t (&grid)[3], unsigned, bool, LaunchFrame::Words &words) {
    parallelFor(kernels[step.kernelIndex], words.data(), grid[0], threads);
    return llvm::Error::success();
  }

private:
  /// A thread takes some 20 us to wake; for fewer bytes than this it would find the work done.
  static constexpr int64_t bytesPerThread = 1 << 17;

  llvm::ArrayRef<HostKernel> kernels;
  const int threads;
};

/// Puts steps on a stream.
class CudaLauncher {
public:
  CudaLauncher(const cuda::LoadedCode &code, void *stream)
      : code(code), driver(code.device.driver), stream(static_cast<cuda::Stream>(stream)) {}

  llvm::Error fill(const FillStep &step, void *address, int64_t bytes) {
    auto pointer = cuda::DevicePointer(reinterpret_cast<uintptr_t>(address));
    bool words = pointer % 4 == 0 && bytes % 4 == 0;
    cuda::Result result = words ? driver.memsetD32Async(pointer, 0, bytes / 4, stream)
                                : driver.memsetD8Async(pointer, 0, bytes, stream);
    if (LLVM_LIKELY(result == cuda::result::success))
      return llvm::Error::success();
    return driver.check(result, "filling " + llvm::Twine(bytes) + " bytes of " + bufferName(step.buffer) + " on " +
                                    code.device.str());
  }

  /// `overlaps` lets it begin before the launch before it has ended.
  llvm::Error launch(const LaunchStep &step, const int64_t (&grid)[3], unsigned rows, bool overlaps, LaunchFrame::Words &words) {
    const int64_t limits[] = {std::numeric_limits<int32_t>::max(), 65535, 65535};
    for (unsigned i = 0; i < 3; ++i)
      if (grid[i] > limits[i])
        return makeError(ESPMM_UNSUPPORTED, "kernel " + step.kernel + ": its grid has " + llvm::Twine(grid[i]) +
                                                " blocks in dimension " + llvm::Twine(i) + ", CUDA allows " +
                                                llvm::Twine(limits[i]));
    llvm::SmallVector<void *, 48> parameters;
    for (uint64_t &word : words)
      parameters.push_back(&word);
    const LaunchShape shape{grid, {step.block[0], rows, step.block[2]}, step.shared / step.block[1] * rows};
    cuda::Result result = start(code.kernels[step.kernelIndex], shape, overlaps, parameters.data());
    if (LLVM_UNLIKELY(result != cuda::result::success))
      return driver.check(result, "launching kernel " + describe(step, shape));
    if (LLVM_UNLIKELY(cuda::Driver::synchronous()))
      return wait("kernel " + describe(step, shape));
    return llvm::Error::success();
  }

private:
  struct LaunchShape {
    const int64_t (&grid)[3];
    unsigned block[3], shared;
  };

  cuda::Result start(cuda::Function function, const LaunchShape &shape, bool overlaps, void **parameters) const {
    auto [x, y, z] = shape.grid;
    auto [width, rows, depth] = shape.block;
    if (!overlaps || driver.version < cuda::oldestThatCapturesOverlaps)
      return driver.launchKernel(function, x, y, z, width, rows, depth, shape.shared, stream, parameters, nullptr);
    cuda::LaunchAttribute attribute;
    attribute.id = cuda::launch_attribute::programmaticStreamSerialization;
    attribute.value = 1;
    cuda::LaunchConfig config{{unsigned(x), unsigned(y), unsigned(z)}, {width, rows, depth}, shape.shared, stream, &attribute, 1};
    return driver.launchKernelEx(&config, function, parameters, nullptr);
  }

  std::string describe(const LaunchStep &step, const LaunchShape &shape) const {
    auto dimensions = [](auto &sizes) {
      return std::to_string(sizes[0]) + " x " + std::to_string(sizes[1]) + " x " + std::to_string(sizes[2]);
    };
    return step.kernel + " on " + code.device.str() + " (grid " + dimensions(shape.grid) + ", block " +
           dimensions(shape.block) + ", " + std::to_string(shape.shared) + " bytes of shared memory)";
  }

  /// For what was just launched, unless it is being captured: then it has not been run.
  llvm::Error wait(const std::string &what) const {
    int status = cuda::capture_status::none;
    cuda::Result result = driver.streamIsCapturing(stream, &status);
    if (result == cuda::result::captureImplicit || status != cuda::capture_status::none)
      return llvm::Error::success();
    return driver.check(driver.streamSynchronize(stream), what);
  }

  const cuda::LoadedCode &code;
  const cuda::Driver &driver;
  const cuda::Stream stream;
};

} // namespace

static int64_t bytesOf(const TensorInfo &tensor, const Sizes &sizes) {
  return rowCount(tensor.rows, sizes) * tensor.width * tensor.elementBytes();
}

/// The bytes of a program's arguments and results.
static int64_t bytesMoved(const Manifest &manifest, const Sizes &sizes) {
  int64_t bytes = 0;
  for (const TensorInfo &argument : manifest.arguments)
    bytes += argument.used ? bytesOf(argument, sizes) : 0;
  for (const TensorInfo &result : manifest.results)
    bytes += bytesOf(result, sizes);
  return bytes;
}

/// Asks for the memory's whole 2 MiB pages to be just that. A large result is often memory that nobody has touched yet, and
/// getting it from the system 4 KiB at a time can take longer than computing it.
static void preferHugePages(void *address, int64_t bytes) {
  constexpr uintptr_t page = 1 << 21;
  uintptr_t begin = llvm::alignTo(uintptr_t(address), page), end = (uintptr_t(address) + bytes) / page * page;
  // A hint: where the system does not take it, nothing is lost.
  if (begin < end)
    (void)madvise(reinterpret_cast<void *>(begin), end - begin, MADV_HUGEPAGE);
}

template <typename Launcher>
static llvm::Error runSteps(const Manifest &manifest, const LaunchFrame &frame, Launcher &&launcher) {
  LaunchFrame::Words words;
  // A launch overlaps the step before it, not what comes before the program if that step had nothing to do.
  bool launched = false;
  for (const Step &step : manifest.steps) {
    bool overlaps = step.kind == Step::Kind::Launch && step.launch.overlaps && launched;
    launched = false;
    if (step.kind == Step::Kind::Fill) {
      llvm::Expected<int64_t> bytes = frame.fillBytes(step.fill);
      if (!bytes)
        return bytes.takeError();
      if (*bytes == 0)
        continue;
      if (llvm::Error error = launcher.fill(step.fill, frame.address(step.fill.buffer), *bytes))
        return error;
      continue;
    }
    int64_t grid[3];
    if (llvm::Error error = frame.grid(step.launch, grid))
      return error;
    if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0)
      continue;
    words.clear();
    if (llvm::Error error = frame.arguments(step.launch, words))
      return error;
    llvm::Expected<unsigned> rows = frame.rows(step.launch);
    if (!rows)
      return rows.takeError();
    if (llvm::Error error = launcher.launch(step.launch, grid, *rows, overlaps, words))
      return error;
    launched = true;
  }
  return llvm::Error::success();
}

llvm::Expected<int64_t> Executable::scratchBytes(const Sizes &sizes) const { return totalScratch(manifest_, sizes); }

llvm::Error Executable::launch(int device, void *stream, const Sizes &sizes, llvm::ArrayRef<void *> buffers,
                               void *scratch, int64_t scratchSize) {
  if (llvm::Error error = checkDevice(device))
    return error;
  LaunchFrame frame(manifest_, sizes, buffers);
  if (llvm::Error error = frame.prepare(scratch, scratchSize))
    return error;
  if (device == hostDevice) {
    llvm::Expected<const HostKernels &> code = loadHost();
    if (!code)
      return code.takeError();
    preferHugePages(scratch, scratchSize);
    for (auto [i, result] : llvm::enumerate(manifest_.results))
      preferHugePages(frame.address({BufferRef::Kind::Result, unsigned(i)}),
                      bytesOf(result, sizes));
    return runSteps(manifest_, frame, HostLauncher(code->kernels, bytesMoved(manifest_, sizes)));
  }
  llvm::Expected<const cuda::LoadedCode &> code = loadCuda(device);
  if (!code)
    return code.takeError();
  cuda::CurrentContext current(code->device);
  if (llvm::Error error = current.takeError())
    return error;
  return runSteps(manifest_, frame, CudaLauncher(*code, stream));
}

} // namespace espmm
