#include "espmm/Runtime/Assembler.h"
#include "espmm/Runtime/DiskCache.h"
#include "espmm/Runtime/Error.h"
#include "llvm/ADT/SmallVector.h"

namespace espmm::cuda {

namespace {

/// The driver's linker, given back at the end; the cubin it hands out lives as long.
class Linker {
public:
  explicit Linker(const Driver &driver) : driver(driver), errorLog(logBytes), infoLog(logBytes) {}
  ~Linker() {
    if (state)
      driver.linkDestroy(state);
  }

  llvm::Expected<Cubin> assemble(llvm::StringRef ptx, llvm::StringRef what);

private:
  static constexpr size_t logBytes = 32 * 1024;

  Result run(llvm::StringRef ptx, void *&code, size_t &size);
  static std::string text(const std::vector<char> &log) { return std::string(log.data()); }

  const Driver &driver;
  LinkState state = nullptr;
  std::vector<char> errorLog, infoLog;
  // The driver keeps these arrays until the linker is destroyed, and writes the logs' lengths back.
  int options[5] = {jit_option::errorLogBuffer, jit_option::errorLogBufferSizeBytes, jit_option::infoLogBuffer,
                    jit_option::infoLogBufferSizeBytes, jit_option::logVerbose};
  void *values[5];
};

} // namespace

Result Linker::run(llvm::StringRef ptx, void *&code, size_t &size) {
  values[0] = errorLog.data();
  values[1] = reinterpret_cast<void *>(logBytes - 1); // the last byte stays the terminating zero
  values[2] = infoLog.data();
  values[3] = reinterpret_cast<void *>(logBytes - 1);
  values[4] = reinterpret_cast<void *>(uintptr_t(1));
  if (Result result = driver.linkCreate(std::size(options), options, values, &state))
    return result;
  // PTX is passed with its terminating zero, which a StringRef may lack.
  std::string source = ptx.str();
  if (Result result = driver.linkAddData(state, jit_input::ptx, source.data(), source.size() + 1, "espmm.ptx", 0,
                                         nullptr, nullptr))
    return result;
  return driver.linkComplete(state, &code, &size);
}

llvm::Expected<Cubin> Linker::assemble(llvm::StringRef ptx, llvm::StringRef what) {
  void *code = nullptr;
  size_t size = 0;
  Result result = run(ptx, code, size);
  if (result == result::unsupportedPtxVersion)
    return makeError(ESPMM_UNSUPPORTED, what + ": the driver (CUDA " + versionText(driver.version) +
                                            ") is too old for this PTX\n" + text(errorLog));
  if (llvm::Error error = driver.check(result, what))
    return text(errorLog).empty() ? std::move(error) : llvm::joinErrors(std::move(error),
                                                           makeError(ESPMM_INTERNAL, text(errorLog)));
  return Cubin{std::string(static_cast<const char *>(code), size), text(infoLog)};
}

llvm::Expected<Cubin> assembleWithDriver(llvm::StringRef ptx, const Device &device) {
  CurrentContext current(device);
  if (llvm::Error error = current.takeError())
    return error;
  return Linker(device.driver).assemble(ptx, "assembling PTX with the driver for " + device.str());
}

/// The chip that PTX is to be assembled for on a device: the device's own, or the PTX's where that is bound to one
/// (".target sm_90a").
static std::string chipFor(llvm::StringRef ptx, const Device &device) {
  llvm::StringRef target = ptx.split(".target ").second.take_until([](char c) { return c == '\n' || c == ','; }).trim();
  return target.ends_with("a") || target.ends_with("f") ? target.str() : device.chip();
}

llvm::Expected<Cubin> cubinFor(llvm::StringRef ptx, const Device &device, Assembler assembler) {
  std::string by = "driver " + std::to_string(device.driver.version);
  if (assembler == Assembler::Ptxas) {
    llvm::Expected<std::string> ptxas = findPtxas();
    if (!ptxas)
      return ptxas.takeError();
    llvm::Expected<std::string> version = ptxasVersion(*ptxas);
    if (!version)
      return version.takeError();
    by = "ptxas " + *version;
  }
  std::string chip = chipFor(ptx, device);
  DiskCache cache = DiskCache::fromEnvironment();
  std::string key = cacheKey({"cubin", by, chip, ptx});
  if (std::optional<Blobs> stored = cache.get(key))
    if (auto code = stored->find("cubin"); code != stored->end())
      return Cubin{std::move(code->second), (*stored)["log"]};

  auto assemble = [&] {
    return assembler == Assembler::Ptxas ? assembleWithPtxas(ptx, chip) : assembleWithDriver(ptx, device);
  };
  llvm::Expected<Cubin> cubin = assemble();
  if (!cubin) {
    llvm::Error error = cubin.takeError();
    bool tooOld = false;
    error = llvm::handleErrors(std::move(error), [&](std::unique_ptr<RuntimeError> info) -> llvm::Error {
      tooOld = info->status() == ESPMM_UNSUPPORTED;
      return llvm::Error(std::move(info));
    });
    if (!tooOld)
      return error;
    // A ptxas of the same major CUDA version makes what even an older driver can load.
    cubin = assembleWithPtxas(ptx, chip);
    if (!cubin)
      return llvm::joinErrors(std::move(error), cubin.takeError());
    llvm::consumeError(std::move(error));
  }
  cache.put(key, {{"cubin", cubin->code}, {"log", cubin->log}});
  return cubin;
}

} // namespace espmm::cuda
