//===- RuntimeFakeCuda.cpp - a libcuda.so.1 for machines without a GPU ---===//
//
// Lets RuntimeCudaTest run the paths that lead to the driver where there is none: one device whose memory is the
// host's, and the kernels of RuntimeTestPtx.h written in C++; others do nothing. It is stricter than the driver where the
// driver would leave a mistake unnoticed (a context that is not current, memory that was not asked for).
//
#include "espmm/Runtime/CudaDriver.h"
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

using namespace espmm::cuda;

struct CUctx_st {};
struct CUstream_st {};
struct CUfunc_st {
  std::string name;
  int dynamicShared = 48 * 1024;
};
struct CUmod_st {
  std::map<std::string, CUfunc_st> functions;
};
struct CUlinkState_st {
  char *errorLog = nullptr;
  size_t errorLogBytes = 0;
  char *infoLog = nullptr;
  size_t infoLogBytes = 0;
  std::string cubin;
};

namespace {

constexpr Result invalidValue = 1, invalidImage = 200, invalidContext = 201;
constexpr Result captureUnsupported = 900;
const char *const cubinMagic = "a fake cubin of:";

/// A number from the environment: the fake is another device in a child of the test.
int configured(const char *variable, int usual) {
  const char *text = std::getenv(variable);
  return text ? std::atoi(text) : usual;
}
int sharedPerBlock() { return configured("ESPMM_FAKE_SHARED", 227 * 1024); }
int capability() { return configured("ESPMM_FAKE_CHIP", 90); }

std::atomic<bool> capturing{false};  // a stream, in the mode "global"
std::atomic<bool> faulty{false};     // the kernel launched next reads an illegal address
std::atomic<Result> pending{0};      // what an earlier kernel came to, told at every call from then on
thread_local int captureMode = 0;

CUctx_st primary, foreign;
thread_local std::vector<Context> contexts;
std::atomic<bool> initialised{false};
std::map<std::string, int> counts;
std::map<DevicePointer, size_t> allocations;
std::mutex mutex; // of the maps

bool current() { return !contexts.empty() && contexts.back() == &primary; }

void countCall(const char *what) {
  std::lock_guard<std::mutex> lock(mutex);
  ++counts[what];
}

/// Whether all of [pointer, pointer + bytes) was allocated.
bool allocated(DevicePointer pointer, size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  auto after = allocations.upper_bound(pointer);
  if (after == allocations.begin())
    return false;
  auto &[begin, size] = *std::prev(after);
  return pointer + bytes <= begin + size;
}

Result scaleAdd(uint64_t x, uint64_t z, int64_t n, int64_t k, int64_t threads) {
  n = std::min(n, threads);
  if (!allocated(x, size_t(n) * 4) || !allocated(z, size_t(n) * 4))
    return 700; // an illegal address
  for (int64_t i = 0; i < n; ++i)
    reinterpret_cast<float *>(z)[i] += float(k) * reinterpret_cast<float *>(x)[i];
  return 0;
}

Result reverseBlock(uint64_t x, uint64_t z, int64_t n, unsigned threads, unsigned shared) {
  if (n > threads || size_t(n) * 4 > shared || !allocated(x, size_t(n) * 4) || !allocated(z, size_t(n) * 4))
    return 700;
  auto *from = reinterpret_cast<float *>(x);
  std::reverse_copy(from, from + n, reinterpret_cast<float *>(z));
  return 0;
}

/// The compiler's kernel that zeroes buffers: its number of blocks, then of each buffer address and bytes.
Result fillBuffers(const std::string &name, void **parameters) {
  for (int i = 0, buffers = std::atoi(name.c_str() + name.rfind('_') + 1); i < buffers; ++i) {
    auto address = *static_cast<uint64_t *>(parameters[1 + 2 * i]), bytes = *static_cast<uint64_t *>(parameters[2 + 2 * i]);
    if (!allocated(address, bytes))
      return 700;
    std::memset(reinterpret_cast<void *>(address), 0, bytes);
  }
  return 0;
}

} // namespace

#define FAKE extern "C" __attribute__((visibility("default")))

// What the test asks of the fake alone.
FAKE int fakeCount(const char *what) {
  std::lock_guard<std::mutex> lock(mutex);
  return counts[what];
}
FAKE Context fakeForeignContext() { return &foreign; }
FAKE void fakeCapture(bool on) { capturing = on; }
FAKE void fakeFault() { faulty = true; }
FAKE int fakeCaptureMode() { return captureMode; }

FAKE Result cuInit(unsigned flags) {
  if (std::getenv("ESPMM_FAKE_NO_DEVICE"))
    return result::noDevice;
  initialised = true;
  return flags ? invalidValue : 0;
}
FAKE Result cuDriverGetVersion(int *version) {
  *version = 13000;
  return 0;
}
FAKE Result cuGetErrorName(Result code, const char **name) {
  static const std::map<Result, const char *> names = {{1, "CUDA_ERROR_INVALID_VALUE"},
                                                       {3, "CUDA_ERROR_NOT_INITIALIZED"},
                                                       {100, "CUDA_ERROR_NO_DEVICE"},
                                                       {200, "CUDA_ERROR_INVALID_IMAGE"},
                                                       {201, "CUDA_ERROR_INVALID_CONTEXT"},
                                                       {218, "CUDA_ERROR_INVALID_PTX"},
                                                       {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"},
                                                       {500, "CUDA_ERROR_NOT_FOUND"},
                                                       {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
                                                       {700, "CUDA_ERROR_ILLEGAL_ADDRESS"}};
  auto found = names.find(code);
  *name = found == names.end() ? nullptr : found->second;
  return *name ? 0 : invalidValue;
}
FAKE Result cuGetErrorString(Result code, const char **text) {
  *text = "as the fake driver says";
  return code ? 0 : invalidValue;
}
FAKE Result cuDeviceGetCount(int *count) {
  *count = 1;
  return initialised ? 0 : int(result::notInitialized);
}
FAKE Result cuDeviceGet(DeviceNumber *device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? 0 : int(result::invalidDevice);
}
FAKE Result cuDeviceGetName(char *name, int length, DeviceNumber) {
  std::snprintf(name, size_t(length), "Fake GPU");
  return 0;
}
FAKE Result cuDeviceGetAttribute(int *value, int attribute, DeviceNumber) {
  switch (attribute) {
  case device_attribute::computeCapabilityMajor:
    *value = capability() / 10;
    return 0;
  case device_attribute::computeCapabilityMinor:
    *value = capability() % 10;
    return 0;
  case device_attribute::multiprocessorCount:
    *value = 1;
    return 0;
  case device_attribute::maxSharedMemoryPerBlockOptin:
    *value = sharedPerBlock();
    return 0;
  }
  return invalidValue;
}
FAKE Result cuDeviceTotalMem_v2(size_t *bytes, DeviceNumber) {
  *bytes = size_t(1) << 30;
  return 0;
}
FAKE Result cuDevicePrimaryCtxRetain(Context *context, DeviceNumber) {
  *context = &primary;
  return 0;
}
FAKE Result cuCtxGetCurrent(Context *context) {
  *context = contexts.empty() ? nullptr : contexts.back();
  return 0;
}
FAKE Result cuCtxPushCurrent_v2(Context context) {
  contexts.push_back(context);
  countCall("push");
  return 0;
}
FAKE Result cuCtxPopCurrent_v2(Context *context) {
  if (contexts.empty())
    return invalidContext;
  *context = contexts.back();
  contexts.pop_back();
  return 0;
}

FAKE Result cuLinkCreate_v2(unsigned count, int *options, void **values, LinkState *out) {
  if (!current())
    return invalidContext;
  if (capturing && captureMode != capture_mode::relaxed)
    return captureUnsupported;
  auto *state = new CUlinkState_st;
  for (unsigned i = 0; i < count; ++i) {
    if (options[i] == jit_option::errorLogBuffer)
      state->errorLog = static_cast<char *>(values[i]);
    else if (options[i] == jit_option::errorLogBufferSizeBytes)
      state->errorLogBytes = reinterpret_cast<size_t>(values[i]);
    else if (options[i] == jit_option::infoLogBuffer)
      state->infoLog = static_cast<char *>(values[i]);
    else if (options[i] == jit_option::infoLogBufferSizeBytes)
      state->infoLogBytes = reinterpret_cast<size_t>(values[i]);
  }
  *out = state;
  return 0;
}
FAKE Result cuLinkAddData_v2(LinkState state, int type, void *data, size_t size, const char *, unsigned, int *,
                             void **) {
  const char *text = static_cast<const char *>(data);
  if (type != jit_input::ptx || size == 0 || text[size - 1] != 0)
    return invalidValue;
  countCall("link");
  std::string ptx(text);
  if (ptx.find(".version 99") != std::string::npos)
    return result::unsupportedPtxVersion;
  if (size_t at = ptx.find("ld.globl"); at != std::string::npos) {
    std::snprintf(state->errorLog, state->errorLogBytes, "line %d; error: Unknown modifier '.globl'",
                  int(std::count(ptx.begin(), ptx.begin() + long(at), '\n')) + 1);
    return result::invalidPtx;
  }
  state->cubin = cubinMagic;
  std::string log;
  const std::string entry = ".entry ";
  for (size_t at = ptx.find(entry); at != std::string::npos; at = ptx.find(entry, at + 1)) {
    size_t begin = at + entry.size();
    std::string name = ptx.substr(begin, ptx.find('(', begin) - begin);
    state->cubin += " " + name;
    log += "ptxas info    : Compiling entry function '" + name + "' for 'sm_90'\nptxas info    : Used 16 registers\n";
  }
  std::snprintf(state->infoLog, state->infoLogBytes, "%s", log.c_str());
  return 0;
}
FAKE Result cuLinkComplete(LinkState state, void **cubin, size_t *size) {
  *cubin = state->cubin.data();
  *size = state->cubin.size() + 1;
  return 0;
}
FAKE Result cuLinkDestroy(LinkState state) {
  std::fill(state->cubin.begin(), state->cubin.end(), '?'); // whoever still reads it is noticed
  delete state;
  return 0;
}

FAKE Result cuModuleLoadDataEx(Module *module, const void *image, unsigned, int *, void **) {
  if (!current())
    return invalidContext;
  if (capturing && captureMode != capture_mode::relaxed)
    return captureUnsupported;
  std::string text(static_cast<const char *>(image));
  if (text.compare(0, std::strlen(cubinMagic), cubinMagic) != 0)
    return invalidImage;
  *module = new CUmod_st;
  std::istringstream names(text.substr(std::strlen(cubinMagic)));
  for (std::string name; names >> name;)
    (*module)->functions[name].name = name;
  countCall("load");
  return 0;
}
FAKE Result cuModuleUnload(Module module) {
  delete module;
  countCall("unload");
  return 0;
}
FAKE Result cuModuleGetFunction(Function *function, Module module, const char *name) {
  auto found = module->functions.find(name);
  if (found == module->functions.end())
    return result::notFound;
  *function = &found->second;
  return 0;
}
FAKE Result cuFuncSetAttribute(Function function, int attribute, int value) {
  if (attribute != function_attribute::maxDynamicSharedSizeBytes || value < 0 || value > sharedPerBlock())
    return invalidValue;
  function->dynamicShared = value;
  return 0;
}
FAKE Result cuFuncGetAttribute(int *value, int attribute, Function) {
  *value = attribute == function_attribute::maxThreadsPerBlock ? 512
           : attribute == function_attribute::numRegs          ? 16
                                                               : 0;
  return 0;
}
FAKE Result cuLaunchKernel(Function function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                           unsigned bz, unsigned shared, Stream, void **parameters, void **) {
  if (!current())
    return invalidContext;
  if (!gx || !gy || !gz || gy > 65535 || gz > 65535 || !bx || bx * by * bz > 512 ||
      int(shared) > function->dynamicShared)
    return invalidValue;
  if (pending)
    return pending;
  countCall("launch");
  if (faulty) {
    pending = result::illegalAddress; // found out later
    return 0;
  }
  auto word = [&](int i) { return *static_cast<uint64_t *>(parameters[i]); };
  int64_t threads = int64_t(gx) * gy * gz * bx * by * bz;
  if (function->name == "scale_add")
    return scaleAdd(word(0), word(1), int64_t(word(2)), int64_t(word(3)), threads);
  if (function->name.rfind("espmm_fill_", 0) == 0)
    return fillBuffers(function->name, parameters);
  if (function->name != "reverse_block")
    return 0; // a kernel of the compiler's: loaded and launched, it does nothing
  return reverseBlock(word(0), word(1), int64_t(word(2)), bx, shared);
}

FAKE Result cuLaunchKernelEx(const LaunchConfig *config, Function function, void **parameters, void **extra) {
  const LaunchAttribute *attribute = config->attributes;
  if (config->numAttributes != 1 || attribute->id != launch_attribute::programmaticStreamSerialization || attribute->value != 1)
    return invalidValue;
  countCall("overlap");
  auto [gx, gy, gz] = config->grid;
  auto [bx, by, bz] = config->block;
  return cuLaunchKernel(function, gx, gy, gz, bx, by, bz, config->shared, config->stream, parameters, extra);
}

FAKE Result cuMemsetD8Async(DevicePointer pointer, unsigned char value, size_t count, Stream) {
  if (!current() || !allocated(pointer, count))
    return current() ? 700 : invalidContext;
  countCall("memset bytes");
  std::memset(reinterpret_cast<void *>(pointer), value, count);
  return 0;
}
FAKE Result cuMemsetD32Async(DevicePointer pointer, unsigned value, size_t count, Stream) {
  if (!current() || pointer % 4 || !allocated(pointer, count * 4))
    return current() ? 700 : invalidContext;
  countCall("memset words");
  std::fill_n(reinterpret_cast<unsigned *>(pointer), count, value);
  return 0;
}
FAKE Result cuMemAlloc_v2(DevicePointer *pointer, size_t bytes) {
  if (!current())
    return invalidContext;
  *pointer = reinterpret_cast<uintptr_t>(std::aligned_alloc(512, (bytes + 511) / 512 * 512));
  std::lock_guard<std::mutex> lock(mutex);
  allocations[*pointer] = bytes;
  return 0;
}
FAKE Result cuMemFree_v2(DevicePointer pointer) {
  std::lock_guard<std::mutex> lock(mutex);
  if (!allocations.erase(pointer))
    return invalidValue;
  std::free(reinterpret_cast<void *>(pointer));
  return 0;
}
FAKE Result cuMemcpyHtoD_v2(DevicePointer to, const void *from, size_t bytes) {
  if (!allocated(to, bytes))
    return invalidValue;
  std::memcpy(reinterpret_cast<void *>(to), from, bytes);
  return 0;
}
FAKE Result cuMemcpyDtoH_v2(void *to, DevicePointer from, size_t bytes) {
  if (!allocated(from, bytes))
    return invalidValue;
  std::memcpy(to, reinterpret_cast<void *>(from), bytes);
  return 0;
}
FAKE Result cuStreamCreate(Stream *stream, unsigned) {
  *stream = new CUstream_st;
  return 0;
}
FAKE Result cuStreamSynchronize(Stream) {
  countCall("synchronize");
  return capturing ? captureUnsupported : pending.load();
}
FAKE Result cuStreamIsCapturing(Stream, int *status) {
  *status = capturing;
  return pending;
}
FAKE Result cuThreadExchangeStreamCaptureMode(int *mode) {
  std::swap(*mode, captureMode);
  return 0;
}
FAKE Result cuStreamDestroy_v2(Stream stream) {
  delete stream;
  return 0;
}
