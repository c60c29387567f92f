#include "espmm/Runtime/CudaCode.h"
#include "espmm/Runtime/Assembler.h"
#include "espmm/Runtime/Error.h"

namespace espmm::cuda {

/// Allows the kernel its dynamic shared memory, if the device has as much, and checks that its blocks fit.
static llvm::Error prepareKernel(Function function, const KernelInfo &kernel, const Device &device) {
  const Driver &driver = device.driver;
  int staticShared = 0, mostThreads = 0;
  const std::pair<int, int *> attributes[] = {{function_attribute::sharedSizeBytes, &staticShared},
                                              {function_attribute::maxThreadsPerBlock, &mostThreads}};
  for (auto [attribute, value] : attributes)
    if (llvm::Error error = driver.check(driver.funcGetAttribute(value, attribute, function), "cuFuncGetAttribute"))
      return error;
  if (int64_t(staticShared) + kernel.shared > device.maxSharedPerBlock)
    return makeError(ESPMM_UNSUPPORTED, "a block needs " + llvm::Twine(int64_t(staticShared) + kernel.shared) +
                                            " bytes of shared memory, " + device.str() + " has " +
                                            llvm::Twine(device.maxSharedPerBlock));
  if (int(kernel.threads) > mostThreads)
    return makeError(ESPMM_UNSUPPORTED, "its blocks have " + llvm::Twine(kernel.threads) +
                                            " threads, its registers allow " + llvm::Twine(mostThreads) + " on " +
                                            device.str());
  constexpr int64_t unasked = 48 * 1024; // what every kernel may have without asking
  if (int64_t(staticShared) + kernel.shared <= unasked)
    return llvm::Error::success();
  return driver.check(
      driver.funcSetAttribute(function, function_attribute::maxDynamicSharedSizeBytes, int(kernel.shared)),
      "asking for " + llvm::Twine(kernel.shared) + " bytes of dynamic shared memory");
}

llvm::Expected<std::unique_ptr<LoadedCode>> loadCode(llvm::StringRef ptx, const Manifest &manifest,
                                                     const Device &device) {
  if (llvm::Error error = device.checkRuns(manifest.chip))
    return error;
  llvm::Expected<Cubin> cubin = cubinFor(ptx, device);
  if (!cubin)
    return cubin.takeError();
  CurrentContext current(device);
  if (llvm::Error error = current.takeError())
    return error;
  const Driver &driver = device.driver;
  Module module = nullptr;
  if (llvm::Error error = driver.check(driver.moduleLoadDataEx(&module, cubin->code.data(), 0, nullptr, nullptr),
                                       "loading a cubin of " + llvm::Twine(cubin->code.size()) + " bytes on " +
                                           device.str()))
    return error;
  auto code = std::unique_ptr<LoadedCode>(new LoadedCode{device, {}});
  for (const KernelInfo &kernel : manifest.kernels) {
    Function function = nullptr;
    llvm::Error error = driver.check(driver.moduleGetFunction(&function, module, kernel.name.c_str()),
                                     "looking for it in the module");
    if (!error)
      error = prepareKernel(function, kernel, device);
    if (error) {
      driver.moduleUnload(module); // nothing has been launched from it
      return withContext("kernel " + kernel.name, std::move(error));
    }
    code->kernels.push_back(function);
  }
  return code;
}

llvm::Expected<std::vector<KernelUse>> kernelUse(const LoadedCode &code, const Manifest &manifest) {
  CurrentContext current(code.device);
  if (llvm::Error error = current.takeError())
    return error;
  const Driver &driver = code.device.driver;
  std::vector<KernelUse> uses;
  for (size_t i = 0; i < code.kernels.size(); ++i) {
    KernelUse use;
    use.kernel = manifest.kernels[i].name;
    const std::pair<int, int *> attributes[] = {{function_attribute::numRegs, &use.registers},
                                                {function_attribute::localSizeBytes, &use.localBytes},
                                                {function_attribute::sharedSizeBytes, &use.staticShared}};
    for (auto [attribute, value] : attributes)
      if (llvm::Error error = driver.check(driver.funcGetAttribute(value, attribute, code.kernels[i]),
                                           "kernel " + use.kernel + ": cuFuncGetAttribute"))
        return error;
    uses.push_back(std::move(use));
  }
  return uses;
}

} // namespace espmm::cuda
