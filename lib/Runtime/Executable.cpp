#include "espmm/Runtime/Executable.h"
#include "espmm/Runtime/Error.h"
#include "espmm/Runtime/ForkGate.h"

namespace espmm {

Executable::Executable(std::string text, Manifest manifest, Blobs blobs)
    : text(std::move(text)), manifest_(std::move(manifest)), blobs(std::move(blobs)) {}

Executable::~Executable() {
  delete host.load();
  for (auto &device : devices)
    delete device.load();
}

llvm::Expected<std::shared_ptr<Executable>> Executable::create(std::string text, Blobs blobs) {
  llvm::Expected<Manifest> manifest = Manifest::parse(text);
  if (!manifest)
    return manifest.takeError();
  llvm::StringRef code = manifest->target == TargetKind::Host ? "object" : "ptx";
  if (!manifest->kernels.empty() && !blobs.count(code.str()))
    return makeError(ESPMM_INVALID, "a program for " + manifest->targetName + " needs the blob \"" + code + "\"");
  return std::shared_ptr<Executable>(new Executable(std::move(text), std::move(*manifest), std::move(blobs)));
}

const std::string *Executable::blob(llvm::StringRef name) const {
  auto found = blobs.find(name.str());
  return found == blobs.end() ? nullptr : &found->second;
}

llvm::Error Executable::checkDevice(int device) const {
  if (device < hostDevice || device >= cuda::maxDevices)
    return makeError(ESPMM_INVALID, "a device is -1 (the host) or the number of a CUDA device below " +
                                        llvm::Twine(cuda::maxDevices) + ", got " + llvm::Twine(device));
  if ((device == hostDevice) != (manifest_.target == TargetKind::Host))
    return makeError(ESPMM_INVALID, "a program compiled for " + manifest_.targetName + " can't run on " +
                                        (device == hostDevice ? "the host" : "cuda:" + std::to_string(device)));
  return llvm::Error::success();
}

llvm::Expected<const Executable::HostKernels &> Executable::loadHost() {
  if (const HostKernels *loaded = host.load(std::memory_order_acquire))
    return *loaded;
  ForkGate gate;
  std::lock_guard<std::mutex> lock(loading);
  if (const HostKernels *loaded = host.load(std::memory_order_acquire))
    return *loaded;
  auto fresh = std::make_unique<HostKernels>();
  if (!manifest_.kernels.empty()) {
    llvm::Expected<std::unique_ptr<HostCode>> code = HostCode::link(*blob("object"));
    if (!code)
      return code.takeError();
    fresh->code = std::move(*code);
  }
  for (const KernelInfo &kernel : manifest_.kernels) {
    llvm::Expected<void *> address = fresh->code->lookup(kernel.name);
    if (!address)
      return withContext("kernel " + kernel.name, address.takeError());
    fresh->kernels.push_back(reinterpret_cast<HostKernel>(*address));
  }
  host.store(fresh.get(), std::memory_order_release);
  return *fresh.release();
}

llvm::Expected<const cuda::LoadedCode &> Executable::loadCuda(int device) {
  if (const cuda::LoadedCode *loaded = devices[device].load(std::memory_order_acquire))
    return *loaded;
  ForkGate gate;
  std::lock_guard<std::mutex> lock(loading);
  if (const cuda::LoadedCode *loaded = devices[device].load(std::memory_order_acquire))
    return *loaded;
  llvm::Expected<cuda::Device &> opened = cuda::Device::get(device);
  if (!opened)
    return opened.takeError();
  std::unique_ptr<cuda::LoadedCode> fresh(new cuda::LoadedCode{*opened, {}});
  if (!manifest_.kernels.empty()) {
    llvm::Expected<std::unique_ptr<cuda::LoadedCode>> code = cuda::loadCode(*blob("ptx"), manifest_, *opened);
    if (!code)
      return code.takeError();
    fresh = std::move(*code);
  }
  devices[device].store(fresh.get(), std::memory_order_release);
  return *fresh.release();
}

llvm::Error Executable::load(int device) {
  if (llvm::Error error = checkDevice(device))
    return error;
  if (device == hostDevice)
    return loadHost().takeError();
  return loadCuda(device).takeError();
}

llvm::Expected<std::vector<cuda::KernelUse>> Executable::kernelUse(int device) {
  if (llvm::Error error = checkDevice(device))
    return error;
  if (device == hostDevice)
    return makeError(ESPMM_INVALID, "registers are counted on CUDA devices, not on the host");
  llvm::Expected<const cuda::LoadedCode &> code = loadCuda(device);
  if (!code)
    return code.takeError();
  return cuda::kernelUse(*code, manifest_);
}

} // namespace espmm
