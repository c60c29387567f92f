#include "espmm/Runtime/Assembler.h"
#include "espmm/Runtime/DiskCache.h"
#include "espmm/Runtime/Error.h"
#include "espmm/Runtime/ThreadPool.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include <atomic>
#include <cstdlib>
#include <thread>

namespace espmm::cuda {

static constexpr llvm::StringLiteral entry(".visible .entry ");

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
  return Cubin{"", std::string(static_cast<const char *>(code), size), text(infoLog)};
}

llvm::Expected<Cubin> assembleWithDriver(llvm::StringRef ptx, const Device &device) {
  CurrentContext current(device);
  if (llvm::Error error = current.takeError())
    return error;
  RelaxedCapture relaxed(device.driver);
  return Linker(device.driver).assemble(ptx, "assembling PTX with the driver for " + device.str());
}

llvm::Expected<Assembler> assemblerFromEnvironment() {
  const char *variable = std::getenv("ESPMM_ASSEMBLER");
  llvm::StringRef name = variable ? variable : "";
  if (name.empty() || name == "driver")
    return Assembler::Driver;
  if (name == "ptxas")
    return Assembler::Ptxas;
  return makeError(ESPMM_INVALID, "expected ESPMM_ASSEMBLER to be driver or ptxas, got '" + name + "'");
}

/// Whether a line of a module is a table that the text does not name.
static bool isUnusedTable(llvm::StringRef line, llvm::StringRef text) {
  if (!line.starts_with(".global ") || !line.contains('['))
    return false;
  llvm::StringRef name = line.take_until([](char c) { return c == '['; });
  return !text.contains(name.substr(name.find_last_of(' ') + 1));
}

std::vector<KernelText> splitKernels(llvm::StringRef ptx) {
  llvm::SmallVector<llvm::StringRef> common, kernels;
  size_t kernelBegin = llvm::StringRef::npos;
  for (size_t begin = 0, end; begin < ptx.size(); begin = end) {
    size_t newline = ptx.find('\n', begin);
    end = newline == llvm::StringRef::npos ? ptx.size() : newline + 1;
    llvm::StringRef line = ptx.slice(begin, end);
    if (kernelBegin != llvm::StringRef::npos) {
      if (!line.starts_with("}"))
        continue;
      kernels.push_back(ptx.slice(kernelBegin, end));
      kernelBegin = llvm::StringRef::npos;
    } else if (line.starts_with(entry)) {
      kernelBegin = begin;
    } else if (!line.starts_with("//")) {
      common.push_back(line);
    }
  }
  if (kernelBegin != llvm::StringRef::npos || kernels.empty() || kernels.size() != ptx.count(".entry "))
    return {{"", ptx.str()}};
  std::vector<KernelText> texts;
  for (llvm::StringRef kernel : kernels) {
    llvm::StringRef name = kernel.drop_front(entry.size()).take_until([](char c) { return c == '('; }).trim();
    KernelText text{name.str(), ""};
    for (llvm::StringRef line : common)
      if (!isUnusedTable(line, kernel))
        text.ptx += line;
    text.ptx += kernel;
    texts.push_back(std::move(text));
  }
  return texts;
}

/// The chip that PTX is to be assembled for on a device: the device's own, or the PTX's where that is bound to one
/// (".target sm_90a").
static std::string chipFor(llvm::StringRef ptx, const Device &device) {
  llvm::StringRef target = ptx.split(".target ").second.take_until([](char c) { return c == '\n' || c == ','; }).trim();
  return target.ends_with("a") || target.ends_with("f") ? target.str() : device.chip();
}

/// By the driver, or by ptxas where the driver is too old: a ptxas of the same major CUDA version makes what even an older driver
/// can load.
static llvm::Expected<Cubin> assembleForDevice(llvm::StringRef ptx, const Device &device, llvm::StringRef chip) {
  llvm::Expected<Cubin> cubin = assembleWithDriver(ptx, device);
  if (cubin)
    return cubin;
  bool tooOld = false;
  llvm::Error error = llvm::handleErrors(cubin.takeError(), [&](std::unique_ptr<RuntimeError> info) -> llvm::Error {
    tooOld = info->status() == ESPMM_UNSUPPORTED;
    return llvm::Error(std::move(info));
  });
  if (!tooOld)
    return error;
  cubin = assembleWithPtxas(ptx, chip);
  if (!cubin)
    return llvm::joinErrors(std::move(error), cubin.takeError());
  llvm::consumeError(std::move(error));
  return cubin;
}

static Cubin cubinOf(const KernelText &text, Blobs blobs) {
  return {text.kernel, std::move(blobs["cubin"]), std::move(blobs["log"])};
}

/// Every kernel's cubin, from the disk cache or by `assemble`. `by` names what assembles.
static llvm::Expected<std::vector<Cubin>>
assembleAll(llvm::StringRef ptx, llvm::StringRef by, llvm::StringRef chip,
            llvm::function_ref<llvm::Expected<Cubin>(llvm::StringRef)> assemble) {
  std::vector<KernelText> texts = splitKernels(ptx);
  std::vector<Cubin> cubins(texts.size());
  DiskCache cache = DiskCache::fromEnvironment();
  std::vector<std::string> keys;
  std::vector<size_t> missing;
  for (auto [i, text] : llvm::enumerate(texts)) {
    keys.push_back(cacheKey({"cubin", by, chip, text.ptx}));
    if (std::optional<Blobs> stored = cache.get(keys.back()))
      cubins[i] = cubinOf(text, std::move(*stored));
    else
      missing.push_back(i);
  }
  std::vector<std::string> failures(texts.size());
  std::vector<espmm_status> statuses(texts.size(), ESPMM_OK);
  auto fail = [&](size_t i, llvm::Error failure) {
    // Kept as text: an error has to be handled by somebody, and only the first kernel's is told.
    llvm::handleAllErrors(std::move(failure), [&](const RuntimeError &error) {
      statuses[i] = statuses[i] == ESPMM_OK ? error.status() : statuses[i];
      failures[i] += (failures[i].empty() ? "" : "\n") + error.message();
    });
  };
  auto make = [&](size_t i) -> DiskCache::Made {
    llvm::Expected<Cubin> cubin = assemble(texts[i].ptx);
    if (!cubin)
      return cubin.takeError();
    return Blobs{{"cubin", std::move(cubin->code)}, {"log", std::move(cubin->log)}, {"kernel", texts[i].kernel}, {"chip", chip.str()}};
  };
  std::atomic<size_t> next{0};
  auto work = [&] {
    std::vector<size_t> busy; // with other processes: waited for when there is nothing else to do
    for (size_t n; (n = next++) < missing.size();) {
      size_t i = missing[n];
      llvm::Expected<std::optional<Blobs>> blobs = cache.makeOnceUnlessBusy(keys[i], [&] { return make(i); });
      if (!blobs)
        fail(i, blobs.takeError());
      else if (*blobs)
        cubins[i] = cubinOf(texts[i], std::move(**blobs));
      else
        busy.push_back(i);
    }
    for (size_t i : busy) {
      DiskCache::Made blobs = cache.makeOnce(keys[i], [&] { return make(i); });
      if (blobs)
        cubins[i] = cubinOf(texts[i], std::move(*blobs));
      else
        fail(i, blobs.takeError());
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < std::min(missing.size(), size_t(hardwareThreads())); ++i)
    threads.emplace_back(work);
  work();
  for (std::thread &thread : threads)
    thread.join();
  for (size_t i = 0; i < texts.size(); ++i)
    if (statuses[i] != ESPMM_OK)
      return makeError(statuses[i], (texts[i].kernel.empty() ? "" : "kernel " + texts[i].kernel + ": ") + failures[i]);
  return cubins;
}

/// What says in a cache key which ptxas it is.
static llvm::Expected<std::string> ptxasIdentity() {
  llvm::Expected<std::string> ptxas = findPtxas();
  if (!ptxas)
    return ptxas.takeError();
  llvm::Expected<std::string> version = ptxasVersion(*ptxas);
  if (!version)
    return version.takeError();
  return "ptxas " + *version;
}

llvm::Expected<std::vector<Cubin>> cubinsFor(llvm::StringRef ptx, const Device &device, Assembler assembler) {
  std::string chip = chipFor(ptx, device);
  if (assembler == Assembler::Ptxas)
    return cubinsFor(ptx, chip);
  return assembleAll(ptx, "driver " + std::to_string(device.driver.version), chip,
                     [&](llvm::StringRef text) { return assembleForDevice(text, device, chip); });
}

llvm::Expected<std::vector<Cubin>> cubinsFor(llvm::StringRef ptx, llvm::StringRef chip) {
  llvm::Expected<std::string> by = ptxasIdentity();
  if (!by)
    return withContext("assembling PTX for " + chip, by.takeError());
  return assembleAll(ptx, *by, chip, [&](llvm::StringRef text) { return assembleWithPtxas(text, chip); });
}

} // namespace espmm::cuda
