//===- CudaDriver.h - the part of the CUDA Driver API that espmm uses ----===//
//
// libcuda is loaded at run time and never linked, and CUDA's headers are not needed to build. Opaque types keep the
// names that cuda.h gives their tags, enumerations are plain ints; RuntimeCudaAbiTest compares all of it with cuda.h.
//
#ifndef ESPMM_RUNTIME_CUDADRIVER_H
#define ESPMM_RUNTIME_CUDADRIVER_H

#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"
#include <cstddef>

struct CUctx_st;
struct CUmod_st;
struct CUfunc_st;
struct CUstream_st;
struct CUlinkState_st;

namespace espmm::cuda {

using Result = int;
using DeviceNumber = int;
using DevicePointer = unsigned long long;
using Context = CUctx_st *;
using Module = CUmod_st *;
using Function = CUfunc_st *;
using Stream = CUstream_st *;
using LinkState = CUlinkState_st *;

namespace result {
enum : int {
  success = 0,
  notInitialized = 3,
  stubLibrary = 34,
  insufficientDriver = 35, // only the runtime API's numbering has it, and some cuInit return it
  deviceUnavailable = 46,
  noDevice = 100,
  invalidDevice = 101,
  invalidPtx = 218,
  unsupportedPtxVersion = 222,
  notFound = 500,
  illegalAddress = 700,
  hardwareStackError = 714, // and those up to launchFailed
  launchFailed = 719,
  systemNotReady = 802,
  systemDriverMismatch = 803,
  compatNotSupportedOnDevice = 804,
  captureImplicit = 906, // of the legacy stream, while another one is being captured
};
} // namespace result

namespace device_attribute {
enum : int {
  multiprocessorCount = 16,
  computeCapabilityMajor = 75,
  computeCapabilityMinor = 76,
  maxSharedMemoryPerBlockOptin = 97,
};
} // namespace device_attribute

namespace function_attribute {
enum : int {
  maxThreadsPerBlock = 0,
  sharedSizeBytes = 1,
  localSizeBytes = 3,
  numRegs = 4,
  maxDynamicSharedSizeBytes = 8,
};
} // namespace function_attribute

namespace jit_option {
enum : int {
  infoLogBuffer = 3,
  infoLogBufferSizeBytes = 4,
  errorLogBuffer = 5,
  errorLogBufferSizeBytes = 6,
  logVerbose = 12,
};
} // namespace jit_option

namespace jit_input {
enum : int { ptx = 1 };
} // namespace jit_input

namespace capture_mode {
enum : int { relaxed = 2 };
} // namespace capture_mode

namespace capture_status {
enum : int { none = 0 };
} // namespace capture_status

namespace stream_flags {
enum : unsigned { nonBlocking = 1 };
} // namespace stream_flags

namespace launch_attribute {
enum : int { programmaticStreamSerialization = 6 };
} // namespace launch_attribute

/// Before 12.3 graphs of launches have no edge of the kind that such a launch is.
constexpr int oldestThatCapturesOverlaps = 12030;

/// As CUlaunchAttribute: a number and what belongs to it, here never more than an int.
struct LaunchAttribute {
  int id = 0;
  alignas(8) int value = 0;
  char unused[60] = {};
};

/// As CUlaunchConfig.
struct LaunchConfig {
  unsigned grid[3], block[3], shared;
  Stream stream;
  LaunchAttribute *attributes;
  unsigned numAttributes;
};

// X(member, symbol, parameters): where cuda.h renames a function, the symbol is the renamed one.
#define ESPMM_CUDA_FUNCTIONS(X)                                                                                        \
  X(init, cuInit, (unsigned))                                                                                          \
  X(driverGetVersion, cuDriverGetVersion, (int *))                                                                     \
  X(getErrorName, cuGetErrorName, (Result, const char **))                                                             \
  X(getErrorString, cuGetErrorString, (Result, const char **))                                                         \
  X(deviceGetCount, cuDeviceGetCount, (int *))                                                                         \
  X(deviceGet, cuDeviceGet, (DeviceNumber *, int))                                                                     \
  X(deviceGetName, cuDeviceGetName, (char *, int, DeviceNumber))                                                       \
  X(deviceGetAttribute, cuDeviceGetAttribute, (int *, int, DeviceNumber))                                              \
  X(deviceTotalMem, cuDeviceTotalMem_v2, (size_t *, DeviceNumber))                                                     \
  X(devicePrimaryCtxRetain, cuDevicePrimaryCtxRetain, (Context *, DeviceNumber))                                       \
  X(ctxGetCurrent, cuCtxGetCurrent, (Context *))                                                                       \
  X(ctxPushCurrent, cuCtxPushCurrent_v2, (Context))                                                                    \
  X(ctxPopCurrent, cuCtxPopCurrent_v2, (Context *))                                                                    \
  X(moduleLoadDataEx, cuModuleLoadDataEx, (Module *, const void *, unsigned, int *, void **))                          \
  X(moduleUnload, cuModuleUnload, (Module))                                                                            \
  X(moduleGetFunction, cuModuleGetFunction, (Function *, Module, const char *))                                        \
  X(funcSetAttribute, cuFuncSetAttribute, (Function, int, int))                                                        \
  X(funcGetAttribute, cuFuncGetAttribute, (int *, int, Function))                                                      \
  X(launchKernel, cuLaunchKernel,                                                                                      \
    (Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void **, void **))        \
  X(launchKernelEx, cuLaunchKernelEx, (const LaunchConfig *, Function, void **, void **))                              \
  X(memsetD8Async, cuMemsetD8Async, (DevicePointer, unsigned char, size_t, Stream))                                    \
  X(memsetD32Async, cuMemsetD32Async, (DevicePointer, unsigned, size_t, Stream))                                       \
  X(memAlloc, cuMemAlloc_v2, (DevicePointer *, size_t))                                                                \
  X(memFree, cuMemFree_v2, (DevicePointer))                                                                            \
  X(memcpyHtoD, cuMemcpyHtoD_v2, (DevicePointer, const void *, size_t))                                                \
  X(memcpyDtoH, cuMemcpyDtoH_v2, (void *, DevicePointer, size_t))                                                      \
  X(linkCreate, cuLinkCreate_v2, (unsigned, int *, void **, LinkState *))                                              \
  X(linkAddData, cuLinkAddData_v2, (LinkState, int, void *, size_t, const char *, unsigned, int *, void **))           \
  X(linkComplete, cuLinkComplete, (LinkState, void **, size_t *))                                                      \
  X(linkDestroy, cuLinkDestroy, (LinkState))                                                                           \
  X(streamCreate, cuStreamCreate, (Stream *, unsigned))                                                                \
  X(streamSynchronize, cuStreamSynchronize, (Stream))                                                                  \
  X(streamDestroy, cuStreamDestroy_v2, (Stream))                                                                       \
  X(streamIsCapturing, cuStreamIsCapturing, (Stream, int *))                                                           \
  X(threadExchangeStreamCaptureMode, cuThreadExchangeStreamCaptureMode, (int *))

/// libcuda's functions, once it is loaded and initialised.
struct Driver {
#define ESPMM_CUDA_MEMBER(member, symbol, parameters) Result(*member) parameters = nullptr;
  ESPMM_CUDA_FUNCTIONS(ESPMM_CUDA_MEMBER)
#undef ESPMM_CUDA_MEMBER

  int version = 0; // 13000 for CUDA 13.0

  /// Loads and initialises libcuda at the first call of the process; ESPMM_NO_DEVICE and what is missing where that
  /// can't be.
  static llvm::Expected<const Driver &> get();

  /// False in a process forked from one that uses CUDA: there the driver must not be called.
  static bool usable();

  /// Whether ESPMM_SYNC asks to wait for each kernel after its launch, so that the one that fails is named.
  static bool synchronous();

  /// "WHAT: CUDA_ERROR_NAME (number): text", or success.
  llvm::Error check(Result result, const llvm::Twine &what) const;
};

/// "13.0" for 13000.
std::string versionText(int version);

} // namespace espmm::cuda

#endif
