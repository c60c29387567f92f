#include "espmm/Runtime/CudaDriver.h"
#include "espmm/Runtime/Error.h"
#include <atomic>
#include <cstdlib>
#include <dlfcn.h>
#include <mutex>
#include <pthread.h>

namespace espmm::cuda {

/// Set in a child forked after CUDA was initialised: the driver does not work there, and its errors do not say why.
static std::atomic<bool> forkedWithCuda{false};

static constexpr const char *forkHint =
    "; this process was forked from one that uses CUDA, where CUDA can't be used: start it by spawn or exec";

/// Errors of kernels come with whatever call is next, and with every call after it.
static constexpr const char *earlierHint =
    "; this may be the fault of a kernel launched before: with ESPMM_SYNC=1 in the environment espmm waits for each of its "
    "kernels and names the one that fails";

static bool isOfKernel(Result result) {
  return result == result::illegalAddress ||
         (result >= result::hardwareStackError && result <= result::launchFailed);
}

namespace {

/// The outcome of loading libcuda, good or bad, for the process's life.
struct Loaded {
  Driver driver;
  std::string failure;

  Loaded();

private:
  void *open();
  bool resolve(void *library);
};

} // namespace

void *Loaded::open() {
  std::string reasons;
  for (const char *name : {"libcuda.so.1", "libcuda.so"}) {
    if (void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL))
      return library;
    if (reasons.empty())
      reasons = dlerror();
  }
  failure = "launching on cuda needs NVIDIA's driver library, which can't be loaded: " + reasons;
  return nullptr;
}

bool Loaded::resolve(void *library) {
#define ESPMM_CUDA_RESOLVE(member, symbol, parameters)                                                                 \
  driver.member = reinterpret_cast<decltype(driver.member)>(dlsym(library, #symbol));                                  \
  if (!driver.member && failure.empty())                                                                               \
    failure = "launching on cuda needs a newer NVIDIA driver: libcuda has no " #symbol;
  ESPMM_CUDA_FUNCTIONS(ESPMM_CUDA_RESOLVE)
#undef ESPMM_CUDA_RESOLVE
  return failure.empty();
}

Loaded::Loaded() {
  void *library = open();
  if (!library || !resolve(library))
    return;
  if (Result result = driver.init(0)) {
    failure = "launching on cuda needs a working NVIDIA driver and device: " +
              llvm::toString(driver.check(result, "cuInit"));
    if (result == result::notInitialized)
      failure += forkHint;
    return;
  }
  if (llvm::Error error = driver.check(driver.driverGetVersion(&driver.version), "cuDriverGetVersion")) {
    failure = llvm::toString(std::move(error));
    return;
  }
  pthread_atfork(nullptr, nullptr, [] { forkedWithCuda.store(true); });
}

llvm::Expected<const Driver &> Driver::get() {
  static const Loaded *loaded = new Loaded; // outlives whatever is released at the process's end
  if (!loaded->failure.empty())
    return makeError(ESPMM_NO_DEVICE, loaded->failure);
  if (!usable())
    return makeError(ESPMM_NO_DEVICE, llvm::Twine("launching on cuda") + forkHint);
  return loaded->driver;
}

bool Driver::usable() { return !forkedWithCuda.load(std::memory_order_relaxed); }

llvm::Error Driver::check(Result result, const llvm::Twine &what) const {
  if (LLVM_LIKELY(result == result::success))
    return llvm::Error::success();
  const char *name = nullptr, *text = nullptr;
  if (getErrorName(result, &name) != result::success || !name)
    name = "an error unknown to this driver";
  if (getErrorString(result, &text) != result::success || !text)
    text = "no description";
  bool noDevice = result == result::noDevice || result == result::invalidDevice ||
                  result == result::deviceUnavailable || result == result::stubLibrary ||
                  result == result::insufficientDriver || result == result::systemNotReady ||
                  result == result::systemDriverMismatch || result == result::compatNotSupportedOnDevice ||
                  result == result::notInitialized;
  return makeError(noDevice ? ESPMM_NO_DEVICE : ESPMM_INTERNAL,
                   what + ": " + name + " (" + llvm::Twine(result) + "): " + text +
                       (!usable() ? forkHint : isOfKernel(result) && !synchronous() ? earlierHint : ""));
}

bool Driver::synchronous() {
  static const bool wanted = [] {
    const char *variable = std::getenv("ESPMM_SYNC");
    return variable && *variable && llvm::StringRef(variable) != "0";
  }();
  return wanted;
}

std::string versionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

} // namespace espmm::cuda
