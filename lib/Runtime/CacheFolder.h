//===- CacheFolder.h - the files of a cache, and who may touch them ------===//
#ifndef ESPMM_LIB_RUNTIME_CACHEFOLDER_H
#define ESPMM_LIB_RUNTIME_CACHEFOLDER_H

#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

namespace espmm {

/// A folder that belongs to this user and that nobody else can write to, held open: what was checked is what is used,
/// whatever is renamed meanwhile. Names are of files right in it.
class CacheFolder {
public:
  /// Nothing, and why, if the folder can't be used; with an empty why if it is just not there.
  /// @param make creates it, for its owner alone, if it is not there.
  static std::optional<CacheFolder> open(const std::string &path, bool make, std::string &why);

  CacheFolder(CacheFolder &&other) noexcept;
  ~CacheFolder();

  /// A file's bytes, of an owner and a mode that are as the folder's have to be. Nothing, and why, if it can't be trusted or
  /// read; with an empty why if it is just not there.
  std::optional<std::string> read(const std::string &name, bool notesUse, std::string &why) const;

  /// Replaces a file: readers see the old bytes or the new ones, and a writer that dies leaves the old ones.
  std::error_code write(const std::string &name, llvm::StringRef bytes) const;

  bool remove(const std::string &name) const;

  struct File {
    std::string name;
    uint64_t bytes;
    int64_t used; // nanoseconds since 1970, to the minute
  };
  /// All files of a suffix.
  std::vector<File> list(llvm::StringRef suffix) const;

  /// Removes what writers left that died more than `seconds` ago; gives how many.
  int removeLeftovers(int64_t seconds) const;

  /// The right to make a file, which one thread of all processes has at a time. It is a lock of the system's: it ends with its
  /// holder, however that ends.
  class Claim {
  public:
    enum State { Held, Busy, NoLocks }; // NoLocks: the folder can't be written to, or its file system has none

    Claim(const CacheFolder &folder, llvm::StringRef key);
    ~Claim();
    Claim(const Claim &) = delete;
    Claim &operator=(const Claim &) = delete;
    State state() const { return state_; }

  private:
    int descriptor = -1;
    State state_ = NoLocks;
  };

private:
  explicit CacheFolder(int descriptor) : descriptor(descriptor) {}

  int descriptor;
};

} // namespace espmm

#endif
