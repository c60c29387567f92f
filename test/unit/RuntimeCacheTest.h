//===- RuntimeCacheTest.h - what the tests of the disk cache share -------===//
#ifndef ESPMM_TEST_UNIT_RUNTIMECACHETEST_H
#define ESPMM_TEST_UNIT_RUNTIMECACHETEST_H

#include "RuntimeTest.h"
#include "espmm/Runtime/DiskCache.h"
#include "llvm/Support/MemoryBuffer.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace test {

inline std::string readFile(const std::string &path) {
  auto file = llvm::MemoryBuffer::getFile(path, false, false, true);
  CHECK(bool(file));
  return file ? (*file)->getBuffer().str() : "";
}

inline void writeFile(const std::string &path, llvm::StringRef bytes) {
  std::error_code error;
  llvm::raw_fd_ostream os(path, error);
  CHECK(!error);
  os << bytes;
}

inline std::vector<std::string> filesIn(const std::string &folder) {
  std::vector<std::string> files;
  std::error_code error;
  for (llvm::sys::fs::directory_iterator file(folder, error), end; !error && file != end; file.increment(error))
    files.push_back(file->path());
  return files;
}

inline const espmm::Blobs sample = {{"manifest", "{}"}, {"cubin", std::string("\0\x7f\xff\n", 4)}, {"empty", ""}};

/// Sets the time of last use back.
inline void setUsed(const std::string &path, int secondsAgo) {
  timespec times[2] = {{time(nullptr) - secondsAgo, 0}, {time(nullptr) - secondsAgo, 0}};
  CHECK(utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

/// Memory that forked children share.
template <typename T> T &shared() {
  void *memory = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return *new (memory) T();
}

} // namespace test

#endif
