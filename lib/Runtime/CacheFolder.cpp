#include "CacheFolder.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/xxhash.h"
#include <cerrno>
#include <ctime>
#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace espmm {

static constexpr llvm::StringLiteral temporaryPrefix(".tmp-");
static constexpr int64_t nanoseconds = 1000000000;

static std::error_code systemError() { return std::error_code(errno, std::generic_category()); }

/// What speaks against using a file or folder; null if nothing does.
static const char *distrust(const struct stat &status) {
  if (status.st_uid != geteuid())
    return "belongs to another user";
  if (status.st_mode & (S_IWGRP | S_IWOTH))
    return "can be written to by others";
  return nullptr;
}

static int64_t usedAt(const struct stat &status) {
  return int64_t(status.st_mtim.tv_sec) * nanoseconds + status.st_mtim.tv_nsec;
}

static int64_t now() {
  timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  return int64_t(time.tv_sec) * nanoseconds + time.tv_nsec;
}

std::optional<CacheFolder> CacheFolder::open(const std::string &path, bool make, std::string &why) {
  why.clear();
  if (make)
    if (std::error_code error = llvm::sys::fs::create_directories(path, /*IgnoreExisting=*/true, llvm::sys::fs::owner_all)) {
      why = "can't be made: " + error.message();
      return std::nullopt;
    }
  int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) {
    if (errno != ENOENT && errno != ENOTDIR)
      why = "can't be opened: " + systemError().message();
    else if (make)
      why = "is no folder";
    return std::nullopt;
  }
  CacheFolder folder(descriptor);
  struct stat status;
  if (fstat(descriptor, &status) != 0)
    why = "can't be opened: " + systemError().message();
  else if (const char *problem = distrust(status))
    why = problem;
  if (!why.empty())
    return std::nullopt;
  return folder;
}

CacheFolder::CacheFolder(CacheFolder &&other) noexcept : descriptor(std::exchange(other.descriptor, -1)) {}

CacheFolder::~CacheFolder() {
  if (descriptor >= 0)
    close(descriptor);
}

/// Reads what `size` says and no further: a file that grows or shrinks has the wrong checksum.
static std::error_code readAll(int file, size_t size, std::string &bytes) {
  bytes.resize(size);
  size_t done = 0;
  while (done < size) {
    ssize_t count = ::read(file, &bytes[done], size - done);
    if (count < 0 && errno != EINTR)
      return systemError();
    if (count == 0)
      break;
    done += count > 0 ? size_t(count) : 0;
  }
  bytes.resize(done);
  return {};
}

std::optional<std::string> CacheFolder::read(const std::string &name, bool notesUse, std::string &why) const {
  why.clear();
  // Not to wait for a writer, if it is a pipe.
  int file = openat(descriptor, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) {
    if (errno != ENOENT)
      why = errno == ELOOP ? "is a link" : "can't be read: " + systemError().message();
    return std::nullopt;
  }
  struct stat status;
  std::string bytes;
  if (fstat(file, &status) != 0)
    why = "can't be read: " + systemError().message();
  else if (!S_ISREG(status.st_mode))
    why = "is not a file";
  else if (const char *problem = distrust(status))
    why = problem;
  else if (std::error_code error = readAll(file, size_t(status.st_size), bytes))
    why = "can't be read: " + error.message();
  // To the minute: whoever reads an entry often need not write each time.
  if (notesUse && why.empty() && now() - usedAt(status) > 60 * nanoseconds)
    futimens(file, nullptr);
  close(file);
  if (!why.empty())
    return std::nullopt;
  return bytes;
}

static std::error_code writeAll(int file, llvm::StringRef bytes) {
  while (!bytes.empty()) {
    ssize_t count = ::write(file, bytes.data(), bytes.size());
    if (count < 0 && errno != EINTR)
      return systemError();
    bytes = bytes.drop_front(count > 0 ? size_t(count) : 0);
  }
  return {};
}

std::error_code CacheFolder::write(const std::string &name, llvm::StringRef bytes) const {
  uint64_t random = 0;
  if (getrandom(&random, sizeof random, 0) != sizeof random)
    return systemError();
  std::string temporary = temporaryPrefix.str() + llvm::utohexstr(random, /*LowerCase=*/true, 16);
  int file = openat(descriptor, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0)
    return systemError();
  std::error_code error = writeAll(file, bytes);
  if (close(file) != 0 && !error)
    error = systemError();
  if (!error && renameat(descriptor, temporary.c_str(), descriptor, name.c_str()) != 0)
    error = systemError();
  if (error)
    remove(temporary);
  return error;
}

bool CacheFolder::remove(const std::string &name) const { return unlinkat(descriptor, name.c_str(), 0) == 0; }

/// Calls back with the name and status of each file; what goes away meanwhile is left out.
static void forEachFile(int folder, llvm::function_ref<void(llvm::StringRef, const struct stat &)> callback) {
  // A descriptor of its own: where a folder is read up to is shared by duplicates.
  int descriptor = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *stream = descriptor < 0 ? nullptr : fdopendir(descriptor);
  if (!stream) {
    if (descriptor >= 0)
      close(descriptor);
    return;
  }
  while (const dirent *file = readdir(stream)) {
    struct stat status;
    if (fstatat(folder, file->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(status.st_mode))
      callback(file->d_name, status);
  }
  closedir(stream);
}

std::vector<CacheFolder::File> CacheFolder::list(llvm::StringRef suffix) const {
  std::vector<File> files;
  forEachFile(descriptor, [&](llvm::StringRef name, const struct stat &status) {
    if (name.ends_with(suffix))
      files.push_back({name.str(), uint64_t(status.st_size), usedAt(status)});
  });
  return files;
}

int CacheFolder::removeLeftovers(int64_t seconds) const {
  int removed = 0;
  int64_t latest = now() - seconds * nanoseconds;
  forEachFile(descriptor, [&](llvm::StringRef name, const struct stat &status) {
    if (name.starts_with(temporaryPrefix) && usedAt(status) <= latest)
      removed += remove(name.str());
  });
  return removed;
}

// One file for all claims, a byte of it for each: there is nothing to clean up. A lock of an open file, not of a process:
// threads exclude each other too.
CacheFolder::Claim::Claim(const CacheFolder &folder, llvm::StringRef key) {
  descriptor = openat(folder.descriptor, ".lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (descriptor < 0)
    return;
  struct flock range = {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  range.l_start = off_t(llvm::xxh3_64bits(key) >> 2);
  range.l_len = 1;
  if (fcntl(descriptor, F_OFD_SETLK, &range) == 0)
    state_ = Held;
  else if (errno == EAGAIN || errno == EACCES)
    state_ = Busy;
}

CacheFolder::Claim::~Claim() {
  if (descriptor >= 0)
    close(descriptor);
}

} // namespace espmm
