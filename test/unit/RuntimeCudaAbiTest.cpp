//===- RuntimeCudaAbiTest.cpp - our declarations against cuda.h ----------===//
//
// Built where CUDA's headers are: it compiles, or the declarations in CudaDriver.h are wrong.
//
#include "espmm/Runtime/CudaDriver.h"
#include <cstdio>
#include <cuda.h>
#include <type_traits>

using namespace espmm;

namespace {

// An enumeration of the driver's is an int here; a pointer may point to such a one.
template <typename A, typename B> constexpr bool sameWord() {
  if constexpr (std::is_pointer_v<A> && std::is_pointer_v<B>) {
    using PointeeA = std::remove_cv_t<std::remove_pointer_t<A>>;
    using PointeeB = std::remove_cv_t<std::remove_pointer_t<B>>;
    if constexpr (std::is_same_v<PointeeA, CUlaunchConfig>)
      return std::is_same_v<PointeeB, cuda::LaunchConfig>; // compared below
    else if constexpr (std::is_enum_v<PointeeA>)
      return sizeof(PointeeA) == sizeof(PointeeB) && std::is_integral_v<PointeeB>;
    else
      return std::is_same_v<PointeeA, PointeeB>;
  } else if constexpr (std::is_enum_v<A>) {
    return std::is_integral_v<B> && sizeof(A) == sizeof(B);
  } else {
    return std::is_same_v<A, B>;
  }
}

template <typename A, typename B> struct SameAbi : std::false_type {};
template <typename RA, typename... A, typename RB, typename... B>
struct SameAbi<RA (*)(A...), RB (*)(B...)> {
  static constexpr bool check() {
    if constexpr (sizeof...(A) == sizeof...(B))
      return sameWord<RA, RB>() && (sameWord<A, B>() && ...);
    else
      return false;
  }
  static constexpr bool value = check();
};

#define SAME_ABI(member, symbol, parameters)                                                                           \
  static_assert(SameAbi<decltype(&::symbol), decltype(cuda::Driver::member)>::value, #symbol);
ESPMM_CUDA_FUNCTIONS(SAME_ABI)

// That the check can tell.
static_assert(!SameAbi<decltype(&::cuMemFree_v2), decltype(cuda::Driver::memAlloc)>::value, "");
static_assert(!SameAbi<decltype(&::cuInit), decltype(cuda::Driver::moduleUnload)>::value, "");

#define SAME(ours, theirs) static_assert(int(cuda::ours) == int(theirs), #theirs)
SAME(result::success, CUDA_SUCCESS);
SAME(result::notInitialized, CUDA_ERROR_NOT_INITIALIZED);
SAME(result::stubLibrary, CUDA_ERROR_STUB_LIBRARY);
SAME(result::deviceUnavailable, CUDA_ERROR_DEVICE_UNAVAILABLE);
SAME(result::noDevice, CUDA_ERROR_NO_DEVICE);
SAME(result::invalidDevice, CUDA_ERROR_INVALID_DEVICE);
SAME(result::invalidPtx, CUDA_ERROR_INVALID_PTX);
SAME(result::notFound, CUDA_ERROR_NOT_FOUND);
SAME(result::illegalAddress, CUDA_ERROR_ILLEGAL_ADDRESS);
SAME(result::hardwareStackError, CUDA_ERROR_HARDWARE_STACK_ERROR);
SAME(result::launchFailed, CUDA_ERROR_LAUNCH_FAILED);
SAME(result::unsupportedPtxVersion, CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
SAME(result::systemNotReady, CUDA_ERROR_SYSTEM_NOT_READY);
SAME(result::systemDriverMismatch, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
SAME(result::compatNotSupportedOnDevice, CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE);
SAME(result::captureImplicit, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
SAME(device_attribute::multiprocessorCount, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
SAME(device_attribute::computeCapabilityMajor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
SAME(device_attribute::computeCapabilityMinor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
SAME(device_attribute::maxSharedMemoryPerBlockOptin, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
SAME(function_attribute::maxThreadsPerBlock, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
SAME(function_attribute::sharedSizeBytes, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
SAME(function_attribute::localSizeBytes, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
SAME(function_attribute::numRegs, CU_FUNC_ATTRIBUTE_NUM_REGS);
SAME(function_attribute::maxDynamicSharedSizeBytes, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
SAME(jit_option::infoLogBuffer, CU_JIT_INFO_LOG_BUFFER);
SAME(jit_option::infoLogBufferSizeBytes, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES);
SAME(jit_option::errorLogBuffer, CU_JIT_ERROR_LOG_BUFFER);
SAME(jit_option::errorLogBufferSizeBytes, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES);
SAME(jit_option::logVerbose, CU_JIT_LOG_VERBOSE);
SAME(jit_input::ptx, CU_JIT_INPUT_PTX);
SAME(launch_attribute::programmaticStreamSerialization, CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION);
SAME(capture_mode::relaxed, CU_STREAM_CAPTURE_MODE_RELAXED);
SAME(capture_status::none, CU_STREAM_CAPTURE_STATUS_NONE);
SAME(stream_flags::nonBlocking, CU_STREAM_NON_BLOCKING);

#define SAME_PLACE(type, ours, theirs, member) static_assert(offsetof(cuda::type, ours) == offsetof(theirs, member), #member);
static_assert(sizeof(cuda::LaunchConfig) == sizeof(CUlaunchConfig) && sizeof(cuda::LaunchAttribute) == sizeof(CUlaunchAttribute), "");
SAME_PLACE(LaunchConfig, grid, CUlaunchConfig, gridDimX)
SAME_PLACE(LaunchConfig, block, CUlaunchConfig, blockDimX)
SAME_PLACE(LaunchConfig, shared, CUlaunchConfig, sharedMemBytes)
SAME_PLACE(LaunchConfig, stream, CUlaunchConfig, hStream)
SAME_PLACE(LaunchConfig, attributes, CUlaunchConfig, attrs)
SAME_PLACE(LaunchConfig, numAttributes, CUlaunchConfig, numAttrs)
SAME_PLACE(LaunchAttribute, id, CUlaunchAttribute, id)
SAME_PLACE(LaunchAttribute, value, CUlaunchAttribute, value.programmaticStreamSerializationAllowed)

} // namespace

int main() {
  std::puts("the declarations agree with cuda.h");
  return 0;
}
