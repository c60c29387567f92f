//===- CudaCode.h - a program's kernels, loaded on one GPU ---------------===//
#ifndef ESPMM_RUNTIME_CUDACODE_H
#define ESPMM_RUNTIME_CUDACODE_H

#include "espmm/Runtime/CudaDevice.h"
#include "espmm/Runtime/Manifest.h"
#include <vector>

namespace espmm::cuda {

struct LoadedCode {
  const Device &device;
  std::vector<Function> kernels; // in the order of Manifest::kernels
};

/// Assembles (or takes from the disk cache) and loads into the device's primary context, and checks that the device
/// can launch every kernel as the manifest says. The module stays loaded for the process's life: launches return
/// before they are done and captured graphs run them again, so there is no moment at which unloading is known safe.
llvm::Expected<std::unique_ptr<LoadedCode>> loadCode(llvm::StringRef ptx, const Manifest &manifest,
                                                     const Device &device);

/// What the loaded kernels really use; asked of the driver.
struct KernelUse {
  std::string kernel;
  int registers = 0;
  int localBytes = 0; // a thread: spills and arrays
  int staticShared = 0;
};
llvm::Expected<std::vector<KernelUse>> kernelUse(const LoadedCode &code, const Manifest &manifest);

} // namespace espmm::cuda

#endif
