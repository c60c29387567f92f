#include "espmm/Runtime/CudaDevice.h"
#include "espmm/Runtime/Error.h"
#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <mutex>

namespace espmm::cuda {

llvm::Expected<int> deviceCount() {
  llvm::Expected<const Driver &> driver = Driver::get();
  if (!driver)
    return driver.takeError();
  int count = 0;
  if (llvm::Error error = driver->check(driver->deviceGetCount(&count), "cuDeviceGetCount"))
    return error;
  return count;
}

static llvm::Error describe(Device &device, DeviceNumber number) {
  const Driver &driver = device.driver;
  char name[256] = "";
  if (llvm::Error error = driver.check(driver.deviceGetName(name, sizeof name, number), "cuDeviceGetName"))
    return error;
  device.name = name;
  if (llvm::Error error = driver.check(driver.deviceTotalMem(&device.memory, number), "cuDeviceTotalMem"))
    return error;
  const std::pair<int, int *> attributes[] = {
      {device_attribute::computeCapabilityMajor, &device.major},
      {device_attribute::computeCapabilityMinor, &device.minor},
      {device_attribute::multiprocessorCount, &device.multiprocessors},
      {device_attribute::maxSharedMemoryPerBlockOptin, &device.maxSharedPerBlock},
  };
  for (auto [attribute, value] : attributes)
    if (llvm::Error error = driver.check(driver.deviceGetAttribute(value, attribute, number), "cuDeviceGetAttribute"))
      return error;
  return llvm::Error::success();
}

static llvm::Expected<std::unique_ptr<Device>> openDevice(int ordinal) {
  llvm::Expected<int> count = deviceCount();
  if (!count)
    return count.takeError();
  if (ordinal < 0 || ordinal >= std::min(*count, int(maxDevices)))
    return makeError(ESPMM_NO_DEVICE, "there is no device cuda:" + llvm::Twine(ordinal) + "; this process sees " +
                                          llvm::Twine(*count));
  auto device = std::make_unique<Device>(llvm::cantFail(Driver::get()));
  const Driver &driver = device->driver;
  device->ordinal = ordinal;
  DeviceNumber number = 0;
  if (llvm::Error error = driver.check(driver.deviceGet(&number, ordinal), "cuDeviceGet"))
    return error;
  if (llvm::Error error = describe(*device, number))
    return error;
  if (llvm::Error error = driver.check(driver.devicePrimaryCtxRetain(&device->context, number),
                                       "taking hold of the primary context of " + device->str()))
    return error;
  return device;
}

llvm::Expected<Device &> Device::get(int ordinal) {
  static std::array<std::atomic<Device *>, maxDevices> opened{};
  static std::mutex opening;
  auto find = [&] {
    return ordinal >= 0 && ordinal < maxDevices ? opened[ordinal].load(std::memory_order_acquire) : nullptr;
  };
  if (Device *device = find())
    return *device;
  std::lock_guard<std::mutex> lock(opening);
  if (Device *device = find())
    return *device;
  llvm::Expected<std::unique_ptr<Device>> device = openDevice(ordinal);
  if (!device)
    return device.takeError();
  opened[ordinal].store(device->get(), std::memory_order_release);
  return *device->release();
}

llvm::Error Device::checkRuns(llvm::StringRef chip) const {
  llvm::StringRef digits = chip;
  int target = 0;
  bool parsed = digits.consume_front("sm_") && !digits.consumeInteger(10, target);
  int own = major * 10 + minor;
  bool runs = digits.empty()    ? target <= own                                   // runs on what is newer
              : digits == "a" ? target == own                                   // "architecture": nowhere else
              : digits == "f" ? target <= own && target / 10 == major           // "family"
                              : false;
  if (parsed && runs)
    return llvm::Error::success();
  return makeError(ESPMM_INVALID, "the program is compiled for " + chip + ", but " + str() + " is " + this->chip());
}

CurrentContext::CurrentContext(const Device &device) : device(device) {
  Context current = nullptr;
  failure = Driver::usable() ? device.driver.ctxGetCurrent(&current) : int(result::notInitialized);
  if (failure != result::success || current == device.context)
    return;
  failure = device.driver.ctxPushCurrent(device.context);
  pushed = failure == result::success;
}

CurrentContext::~CurrentContext() {
  Context own = nullptr;
  if (pushed)
    device.driver.ctxPopCurrent(&own);
}

llvm::Error CurrentContext::takeError() {
  if (LLVM_LIKELY(failure == result::success))
    return llvm::Error::success();
  return device.driver.check(failure, "making the context of " + device.str() + " current");
}

} // namespace espmm::cuda
