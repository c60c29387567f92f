//===- Executable.h - a compiled program, ready to run -------------------===//
#ifndef ESPMM_RUNTIME_EXECUTABLE_H
#define ESPMM_RUNTIME_EXECUTABLE_H

#include "espmm/Runtime/CudaCode.h"
#include "espmm/Runtime/DiskCache.h"
#include "espmm/Runtime/HostCode.h"
#include "espmm/Runtime/Manifest.h"
#include "espmm/Runtime/ThreadPool.h"
#include <atomic>
#include <memory>
#include <mutex>

namespace espmm {

/// The device number that stands for the host.
constexpr int hostDevice = -1;

/// A manifest and its code. Immutable, but for code that is loaded on the first use of a device; any thread may do
/// anything with it at any time.
class Executable {
public:
  /// Takes a manifest and the code that its target needs: the blob "object" (an ELF relocatable file) for the cpu,
  /// "ptx" for cuda. Further blobs are kept for blob().
  static llvm::Expected<std::shared_ptr<Executable>> create(std::string manifest, Blobs blobs);
  ~Executable();

  const std::string &manifestText() const { return text; }
  const Manifest &manifest() const { return manifest_; }
  /// Null if there is no such blob.
  const std::string *blob(llvm::StringRef name) const;

  /// See espmm_executable_load, espmm_executable_scratch and espmm_launch.
  llvm::Error load(int device);
  llvm::Expected<int64_t> scratchBytes(const Sizes &sizes) const;
  llvm::Error launch(int device, void *stream, const Sizes &sizes, llvm::ArrayRef<void *> buffers, void *scratch,
                     int64_t scratchSize);

  /// What the kernels use on a CUDA device, as the driver says; loads them.
  llvm::Expected<std::vector<cuda::KernelUse>> kernelUse(int device);

private:
  struct HostKernels {
    std::unique_ptr<HostCode> code;
    std::vector<HostKernel> kernels; // in the order of Manifest::kernels
  };

  Executable(std::string text, Manifest manifest, Blobs blobs);
  llvm::Error checkDevice(int device) const;
  llvm::Expected<const HostKernels &> loadHost();
  llvm::Expected<const cuda::LoadedCode &> loadCuda(int device);

  const std::string text;
  const Manifest manifest_;
  const Blobs blobs;

  std::mutex loading;
  std::atomic<const HostKernels *> host{nullptr};
  std::atomic<const cuda::LoadedCode *> devices[cuda::maxDevices] = {};
};

} // namespace espmm

/// What the C interface hands out.
struct espmm_executable {
  std::shared_ptr<espmm::Executable> executable;
  std::vector<std::string> names = {}; // of its arguments, where the program that it was loaded from gave them
};

#endif
