//===- DiskCache.cpp - compiled code kept between processes --------------===//
//
// Entries are files KEY.espmm of the format in CacheEntry.cpp, in a folder that CacheFolder.cpp guards. Here is what is kept,
// for how long, and who makes it.
//
#include "espmm/Runtime/DiskCache.h"
#include "CacheEntry.h"
#include "CacheFolder.h"
#include "espmm/Runtime/Error.h"
#include "espmm/Runtime/Warning.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/xxhash.h"
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <set>
#include <thread>
#include <tuple>

namespace espmm {

static constexpr llvm::StringLiteral suffix(".espmm");

static std::atomic<int64_t> found{0}, made{0};

DiskCache::Counts DiskCache::counts() { return {found, made}; }

/// Says what is wrong with a folder, once in a process: who can't keep one entry can't keep the next either.
static void warnOfFolder(const std::string &folder, const llvm::Twine &problem) {
  static std::mutex &mutex = *new std::mutex; // there for threads that outlive static objects
  static std::set<std::string> &warned = *new std::set<std::string>;
  {
    std::lock_guard<std::mutex> lock(mutex);
    if (!warned.insert(folder).second)
      return;
  }
  warn("compiled code can't be kept in " + (folder.empty() ? "a cache folder" : llvm::Twine(folder)) + ": " + problem +
       "; going on without (ESPMM_CACHE_DIR names another folder, ESPMM_CACHE=0 switches the cache off)");
}

static void warnOfEntry(const std::string &path, const llvm::Twine &problem) {
  warn("the cache entry " + path + " " + problem + "; it is compiled anew");
}

/// ESPMM_CACHE_LIMIT: bytes, or a number of K, M or G of 1024 each.
static uint64_t limitFromEnvironment() {
  const char *variable = std::getenv("ESPMM_CACHE_LIMIT");
  llvm::StringRef text(variable ? variable : "");
  if (text.empty())
    return DiskCache::defaultLimit;
  size_t unit = llvm::StringRef("KMG").find(text.back());
  unsigned shift = unit == llvm::StringRef::npos ? 0 : 10 * (unsigned(unit) + 1);
  uint64_t number = 0;
  if (!(shift ? text.drop_back() : text).getAsInteger(10, number) && number <= UINT64_MAX >> shift)
    return number << shift;
  static std::once_flag once;
  std::call_once(once, [&] {
    warn("expected ESPMM_CACHE_LIMIT to be a number of bytes such as 500M or 2G, got '" + text + "'; it is taken as 1G");
  });
  return DiskCache::defaultLimit;
}

DiskCache DiskCache::fromEnvironment() {
  auto variable = [](const char *name) { return llvm::StringRef(std::getenv(name) ? std::getenv(name) : ""); };
  if (variable("ESPMM_CACHE") == "0")
    return DiskCache("");
  uint64_t limit = limitFromEnvironment();
  if (llvm::StringRef folder = variable("ESPMM_CACHE_DIR"); !folder.empty())
    return DiskCache(folder.str(), limit);
  llvm::SmallString<128> folder = variable("XDG_CACHE_HOME");
  // The XDG rules say that a relative path there is to be ignored.
  if (!llvm::sys::path::is_absolute(folder)) {
    folder.clear();
    if (!llvm::sys::path::home_directory(folder) || !llvm::sys::path::is_absolute(folder)) {
      warnOfFolder("", "this user has no home");
      return DiskCache("");
    }
    llvm::sys::path::append(folder, ".cache");
  }
  llvm::sys::path::append(folder, "espmm");
  return DiskCache(folder.str().str(), limit);
}

/// The folder; with nothing, a warning, unless it is just not there.
static std::optional<CacheFolder> openFolder(const std::string &path, bool make) {
  std::string why;
  std::optional<CacheFolder> folder = CacheFolder::open(path, make, why);
  if (!why.empty())
    warnOfFolder(path, "it " + why);
  return folder;
}

std::string DiskCache::problem() const {
  std::string why;
  if (enabled())
    CacheFolder::open(folder_, /*make=*/false, why);
  return why;
}

static std::string nameOf(llvm::StringRef key) { return (key + suffix).str(); }

std::string DiskCache::path(llvm::StringRef key) const {
  llvm::SmallString<128> result(folder_);
  llvm::sys::path::append(result, nameOf(key));
  return result.str().str();
}

/// Keys become file names.
static bool isKey(llvm::StringRef key) {
  return key.size() >= 8 && key.size() <= 128 && llvm::all_of(key, llvm::isHexDigit);
}

/// Reads and checks one entry; with nothing what is wrong with it, or no problem if it is just not there.
static std::optional<Blobs> readEntry(const CacheFolder &folder, llvm::StringRef key, bool notesUse, std::string &problem) {
  std::optional<std::string> bytes = folder.read(nameOf(key), notesUse, problem);
  return bytes ? openEntry(*bytes, key, problem) : std::nullopt;
}

std::optional<Blobs> DiskCache::look(llvm::StringRef key, bool warns) const {
  if (!enabled() || !isKey(key))
    return std::nullopt;
  std::optional<CacheFolder> folder = openFolder(folder_, /*make=*/false);
  if (!folder)
    return std::nullopt;
  std::string problem;
  std::optional<Blobs> blobs = readEntry(*folder, key, /*notesUse=*/true, problem);
  if (!problem.empty() && warns)
    warnOfEntry(path(key), problem);
  return blobs;
}

std::optional<Blobs> DiskCache::get(llvm::StringRef key) const {
  std::optional<Blobs> blobs = look(key, /*warns=*/true);
  found += blobs.has_value();
  return blobs;
}

/// Removes what has not been used for longest until there is some room, and what writers left that were killed.
static void makeRoom(const CacheFolder &folder, uint64_t limit) {
  folder.removeLeftovers(3600);
  std::vector<CacheFolder::File> files = folder.list(suffix);
  uint64_t total = 0;
  for (const CacheFolder::File &file : files)
    total += file.bytes;
  if (total <= limit)
    return;
  llvm::sort(files, [](const auto &a, const auto &b) { return std::tie(a.used, a.name) < std::tie(b.used, b.name); });
  for (const CacheFolder::File &file : files) {
    if (total <= limit - limit / 8)
      return;
    folder.remove(file.name);
    total -= file.bytes;
  }
}

/// Whether the folder is to be looked over after this entry: once for about every 64th of the limit that is written, by however many
/// processes, so that a large cache is not listed each time. The key decides, which is as good as a die.
static bool isTimeForRoom(llvm::StringRef key, uint64_t bytes, uint64_t limit) {
  return double(llvm::xxh3_64bits(key)) / double(UINT64_MAX) * double(limit) <= 64.0 * double(bytes);
}

bool DiskCache::put(llvm::StringRef key, const Blobs &blobs) const {
  if (!enabled() || !isKey(key))
    return false;
  std::string bytes = sealEntry(key, blobs);
  if (bytes.size() > limit_) {
    warnOfFolder(folder_, "an entry of " + llvm::Twine(bytes.size()) + " bytes is more than ESPMM_CACHE_LIMIT");
    return false;
  }
  std::optional<CacheFolder> folder = openFolder(folder_, /*make=*/true);
  if (!folder)
    return false;
  if (std::error_code error = folder->write(nameOf(key), bytes)) {
    warnOfFolder(folder_, error.message());
    return false;
  }
  if (isTimeForRoom(key, bytes.size(), limit_))
    makeRoom(*folder, limit_);
  return true;
}

void DiskCache::reject(llvm::StringRef key, const llvm::Twine &problem) const {
  warnOfEntry(path(key), problem);
  if (std::optional<CacheFolder> folder = openFolder(folder_, /*make=*/false))
    folder->remove(nameOf(key));
}

std::optional<std::string> DiskCache::readBeside(const std::string &name, std::string &why) const {
  why.clear();
  std::optional<CacheFolder> folder = enabled() ? openFolder(folder_, /*make=*/false) : std::nullopt;
  return folder ? folder->read(name, /*notesUse=*/true, why) : std::nullopt;
}

/// How long another process is waited for. One that dies is not waited for; this is for one that is stopped, or far away on a
/// network that has lost it.
static constexpr auto patience = std::chrono::seconds(120);

llvm::Expected<std::optional<Blobs>> DiskCache::makeOnce(llvm::StringRef key, llvm::function_ref<Made()> make,
                                                         bool waits) const {
  std::optional<CacheFolder> folder = enabled() && isKey(key) ? openFolder(folder_, /*make=*/true) : std::nullopt;
  std::optional<CacheFolder::Claim> claim; // until the entry is there
  auto start = std::chrono::steady_clock::now();
  for (auto pause = std::chrono::milliseconds(1); folder; pause = std::min(2 * pause, std::chrono::milliseconds(16))) {
    claim.emplace(*folder, key);
    bool isBusy = claim->state() == CacheFolder::Claim::Busy;
    if (isBusy && !waits)
      return std::nullopt;
    // Whoever had the claim before may have put it there.
    if (std::optional<Blobs> blobs = look(key, /*warns=*/false)) {
      ++found;
      return std::move(*blobs);
    }
    if (!isBusy || std::chrono::steady_clock::now() - start > patience)
      break;
    claim.reset();
    std::this_thread::sleep_for(pause);
  }
  ++made;
  Made blobs = make();
  if (!blobs)
    return blobs.takeError();
  put(key, *blobs);
  return std::move(*blobs);
}

DiskCache::Made DiskCache::makeOnce(llvm::StringRef key, llvm::function_ref<Made()> make) const {
  llvm::Expected<std::optional<Blobs>> blobs = makeOnce(key, make, /*waits=*/true);
  if (!blobs)
    return blobs.takeError();
  return std::move(**blobs);
}

llvm::Expected<std::optional<Blobs>> DiskCache::makeOnceUnlessBusy(llvm::StringRef key, llvm::function_ref<Made()> make) const {
  return makeOnce(key, make, /*waits=*/false);
}

/// For whoever looks after the cache: an error where openFolder warns.
static llvm::Expected<std::optional<CacheFolder>> openToManage(const DiskCache &cache) {
  if (!cache.enabled())
    return std::nullopt;
  std::string why;
  std::optional<CacheFolder> folder = CacheFolder::open(cache.folder(), /*make=*/false, why);
  if (!why.empty())
    return makeError(ESPMM_INVALID, "the cache folder " + cache.folder() + " " + why);
  return std::move(folder);
}

llvm::Error DiskCache::forEach(llvm::function_ref<void(const Entry &)> callback) const {
  llvm::Expected<std::optional<CacheFolder>> folder = openToManage(*this);
  if (!folder || !*folder)
    return folder.takeError();
  for (const CacheFolder::File &file : (*folder)->list(suffix)) {
    Entry entry{file.name, file.bytes, file.used / 1000000000, "", {}};
    llvm::StringRef key = llvm::StringRef(file.name).drop_back(suffix.size());
    if (!isKey(key))
      entry.problem = "is not named by a key";
    else if (std::optional<Blobs> blobs = readEntry(**folder, key, /*notesUse=*/false, entry.problem))
      entry.blobs = std::move(*blobs);
    else if (entry.problem.empty())
      continue; // gone meanwhile
    callback(entry);
  }
  return llvm::Error::success();
}

llvm::Expected<int> DiskCache::clear() const {
  llvm::Expected<std::optional<CacheFolder>> folder = openToManage(*this);
  if (!folder)
    return folder.takeError();
  if (!*folder)
    return 0;
  int removed = (*folder)->removeLeftovers(60);
  for (const CacheFolder::File &file : (*folder)->list(suffix))
    removed += (*folder)->remove(file.name);
  return removed;
}

} // namespace espmm
