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

namespace {

/// The modules of one program: unloaded again, unless all is found well.
class Modules {
public:
  explicit Modules(const Device &device) : device(device) {}
  ~Modules() {
    for (auto &[kernel, module] : modules)
      device.driver.moduleUnload(module); // nothing has been launched from it
  }
  void keep() { modules.clear(); }

  llvm::Error load(const Cubin &cubin) {
    Module module = nullptr;
    if (llvm::Error error = device.driver.check(
            device.driver.moduleLoadDataEx(&module, cubin.code.data(), 0, nullptr, nullptr),
            "loading a cubin of " + llvm::Twine(cubin.code.size()) + " bytes on " + device.str()))
      return error;
    modules.emplace_back(cubin.kernel, module);
    return llvm::Error::success();
  }

  llvm::Error find(const std::string &kernel, Function &function) const {
    Result result = result::notFound;
    for (auto &[held, module] : modules)
      if (result == result::notFound && (held.empty() || held == kernel))
        result = device.driver.moduleGetFunction(&function, module, kernel.c_str());
    return device.driver.check(result, "looking for it in the module");
  }

private:
  const Device &device;
  std::vector<std::pair<std::string, Module>> modules; // with the kernel that is in it, "" for any
};

} // namespace

llvm::Expected<std::unique_ptr<LoadedCode>> loadCode(llvm::StringRef ptx, const Manifest &manifest,
                                                     const Device &device) {
  if (llvm::Error error = device.checkRuns(manifest.chip))
    return error;
  if (manifest.kernels.empty())
    return std::unique_ptr<LoadedCode>(new LoadedCode{device, {}}); // zeros alone
  llvm::Expected<Assembler> assembler = assemblerFromEnvironment();
  if (!assembler)
    return assembler.takeError();
  llvm::Expected<std::vector<Cubin>> cubins = cubinsFor(ptx, device, *assembler);
  if (!cubins)
    return cubins.takeError();
  CurrentContext current(device);
  if (llvm::Error error = current.takeError())
    return error;
  RelaxedCapture relaxed(device.driver);
  Modules modules(device);
  for (const Cubin &cubin : *cubins)
    if (llvm::Error error = modules.load(cubin))
      return error;
  auto code = std::unique_ptr<LoadedCode>(new LoadedCode{device, {}});
  for (const KernelInfo &kernel : manifest.kernels) {
    Function function = nullptr;
    llvm::Error error = modules.find(kernel.name, function);
    if (!error)
      error = prepareKernel(function, kernel, device);
    if (error)
      return withContext("kernel " + kernel.name, std::move(error));
    code->kernels.push_back(function);
  }
  modules.keep();
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
