//===- CudaDevice.h - a GPU and its primary context ----------------------===//
#ifndef ESPMM_RUNTIME_CUDADEVICE_H
#define ESPMM_RUNTIME_CUDADEVICE_H

#include "espmm/Runtime/CudaDriver.h"
#include <string>

namespace espmm::cuda {

constexpr int maxDevices = 64;

/// A device, with its primary context (the one that torch and the CUDA runtime use) retained for the process's life.
struct Device {
  const Driver &driver;
  int ordinal = 0;
  Context context = nullptr;
  std::string name;
  int major = 0, minor = 0; // compute capability
  size_t memory = 0;
  int multiprocessors = 0;
  int maxSharedPerBlock = 0; // what a kernel may ask for at most

  explicit Device(const Driver &driver) : driver(driver) {}

  /// "sm_90"
  std::string chip() const { return "sm_" + std::to_string(major) + std::to_string(minor); }
  /// "cuda:0 (NVIDIA H100 80GB HBM3)"
  std::string str() const { return "cuda:" + std::to_string(ordinal) + " (" + name + ")"; }

  /// Fails with ESPMM_NO_DEVICE where there is no such device. After the first call for a device, one atomic load.
  static llvm::Expected<Device &> get(int ordinal);

  /// Whether PTX written for `chip` ("sm_80", "sm_90a", "sm_100f") runs here.
  llvm::Error checkRuns(llvm::StringRef chip) const;
};

/// How many devices there are.
llvm::Expected<int> deviceCount();

/// Makes a device's context the calling thread's current one, and puts back the one before at the end.
class CurrentContext {
public:
  explicit CurrentContext(const Device &device);
  ~CurrentContext();
  CurrentContext(const CurrentContext &) = delete;
  CurrentContext &operator=(const CurrentContext &) = delete;

  /// Whether the context could be made current.
  llvm::Error takeError();

private:
  const Device &device;
  Result failure = result::success;
  bool pushed = false;
};

/// While it lives this thread may assemble and load modules although another captures a graph; nothing of a load is put on a stream.
class RelaxedCapture {
public:
  explicit RelaxedCapture(const Driver &driver)
      : driver(driver), changed(driver.threadExchangeStreamCaptureMode(&mode) == result::success) {}
  ~RelaxedCapture() {
    if (changed)
      driver.threadExchangeStreamCaptureMode(&mode); // back to what it was
  }

  RelaxedCapture(const RelaxedCapture &) = delete;
  RelaxedCapture &operator=(const RelaxedCapture &) = delete;

private:
  const Driver &driver;
  int mode = capture_mode::relaxed;
  const bool changed;
};

} // namespace espmm::cuda

#endif
