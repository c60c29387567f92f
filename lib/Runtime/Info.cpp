#include "espmm/Runtime/Info.h"
#include "espmm/Runtime/Assembler.h"
#include "espmm/Runtime/DiskCache.h"
#include "espmm/Runtime/Manifest.h"
#include "espmm/Runtime/ThreadPool.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/TargetParser/Host.h"

namespace espmm {

namespace fs = llvm::sys::fs;
using llvm::json::Object;

const char *versionString() { return ESPMM_VERSION; }
const char *llvmVersionString() { return LLVM_VERSION_STRING; }

int hostVectorBits() {
  llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
  return features.lookup("avx512f") ? 512 : features.lookup("avx") ? 256 : 128;
}

static Object hostInfo() {
  return Object{{"triple", llvm::sys::getProcessTriple()},
                {"cpu", llvm::sys::getHostCPUName()},
                {"vector_bits", hostVectorBits()},
                {"processors", hardwareThreads()},
                {"threads", numThreads()}};
}

static Object deviceInfo(int ordinal) {
  llvm::Expected<cuda::Device &> device = cuda::Device::get(ordinal);
  if (!device)
    return Object{{"error", llvm::toString(device.takeError())}};
  return Object{{"name", device->name},
                {"chip", device->chip()},
                {"memory_bytes", int64_t(device->memory)},
                {"multiprocessors", device->multiprocessors},
                {"shared_bytes_per_block", device->maxSharedPerBlock}};
}

static Object cudaInfo() {
  llvm::Expected<const cuda::Driver &> driver = cuda::Driver::get();
  if (!driver)
    return Object{{"error", llvm::toString(driver.takeError())}};
  Object info{{"driver", cuda::versionText(driver->version)}};
  llvm::Expected<int> count = cuda::deviceCount();
  if (!count) {
    info["error"] = llvm::toString(count.takeError());
    return info;
  }
  llvm::json::Array devices;
  for (int ordinal = 0; ordinal < *count; ++ordinal)
    devices.push_back(deviceInfo(ordinal));
  info["devices"] = std::move(devices);
  return info;
}

static Object ptxasInfo() {
  llvm::Expected<std::string> path = cuda::findPtxas();
  if (!path)
    return Object{{"error", llvm::toString(path.takeError())}};
  Object info{{"path", *path}};
  if (llvm::Expected<std::string> version = cuda::ptxasVersion(*path))
    info["version"] = *version;
  else
    info["error"] = llvm::toString(version.takeError());
  return info;
}

static Object cacheInfo() {
  DiskCache cache = DiskCache::fromEnvironment();
  DiskCache::Counts counts = DiskCache::counts();
  Object info{{"this_process", Object{{"found", counts.found}, {"made", counts.made}}}};
  if (!cache.enabled()) {
    info["state"] = "off";
    return info;
  }
  info["folder"] = cache.folder();
  info["limit_bytes"] = int64_t(cache.limit());
  if (!fs::exists(cache.folder())) {
    info["state"] = "not made yet";
    return info;
  }
  if (std::string problem = cache.problem(); !problem.empty()) {
    info["state"] = "not used: it " + problem;
    return info;
  }
  int64_t entries = 0, bytes = 0;
  std::error_code error;
  for (fs::directory_iterator file(cache.folder(), error), end; !error && file != end; file.increment(error)) {
    llvm::ErrorOr<fs::basic_file_status> status = file->status();
    if (!status || !llvm::StringRef(file->path()).ends_with(".espmm"))
      continue;
    ++entries;
    bytes += int64_t(status->getSize());
  }
  info["entries"] = entries;
  info["bytes"] = bytes;
  info["state"] = error                                                     ? "unreadable: " + error.message()
                  : fs::access(cache.folder(), fs::AccessMode::Write) ? std::string("read-only")
                                                                            : std::string("ready");
  return info;
}

/// What an entry is of: a program, or a kernel assembled for a chip.
static Object describeEntry(const DiskCache::Entry &entry) {
  auto blob = [&](const char *name) -> llvm::StringRef {
    auto found = entry.blobs.find(name);
    return found == entry.blobs.end() ? llvm::StringRef() : llvm::StringRef(found->second);
  };
  Object info{{"name", entry.name}, {"bytes", int64_t(entry.bytes)}, {"used", entry.used}};
  if (!entry.problem.empty()) {
    info["problem"] = entry.problem;
  } else if (entry.blobs.count("cubin")) {
    info["kind"] = "cubin";
    info["target"] = ("cuda:" + blob("chip")).str();
    info["kernels"] = llvm::json::Array{blob("kernel").str()};
  } else if (llvm::Expected<Manifest> manifest = Manifest::parse(blob("manifest"))) {
    info["kind"] = "program";
    info["target"] = manifest->targetName;
    llvm::json::Array kernels;
    for (const KernelInfo &kernel : manifest->kernels)
      kernels.push_back(kernel.name);
    info["kernels"] = std::move(kernels);
    info["product"] = blob("source").split("#equivariant.product<").second.split(",\n").first.split(", paths").first.str();
  } else {
    info["problem"] = "holds no program: " + llvm::toString(manifest.takeError());
  }
  return info;
}

llvm::Expected<Object> listCache() {
  DiskCache cache = DiskCache::fromEnvironment();
  llvm::json::Array entries;
  if (llvm::Error error = cache.forEach([&](const DiskCache::Entry &entry) { entries.push_back(describeEntry(entry)); }))
    return std::move(error);
  return Object{{"folder", cache.enabled() ? llvm::json::Value(cache.folder()) : llvm::json::Value(nullptr)},
                {"limit_bytes", int64_t(cache.limit())},
                {"entries", std::move(entries)}};
}

Object collectInfo() {
  return Object{{"version", versionString()}, {"llvm", llvmVersionString()}, {"host", hostInfo()},
                {"cuda", cudaInfo()},         {"ptxas", ptxasInfo()},        {"cache", cacheInfo()}};
}

} // namespace espmm
