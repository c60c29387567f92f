//===- DiskCache.h - compiled code kept between processes ----------------===//
#ifndef ESPMM_RUNTIME_DISKCACHE_H
#define ESPMM_RUNTIME_DISKCACHE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <map>
#include <optional>
#include <string>

namespace espmm {

/// What an entry holds: named pieces such as "manifest", "ptx", "object", "cubin".
using Blobs = std::map<std::string, std::string>;

/// The name of an entry: a hash, in hexadecimal, of all parts and of where one ends and the next begins.
std::string cacheKey(llvm::ArrayRef<llvm::StringRef> parts);

/// Blobs as one string of bytes, and back; nothing if the bytes are not of that form.
std::string packBlobs(const Blobs &blobs);
std::optional<Blobs> unpackBlobs(llvm::StringRef bytes);

/// A folder of entries, shared by any number of processes. It never fails a caller: what can't be read is missing,
/// what can't be written stays uncached, and a warning says so.
class DiskCache {
public:
  /// ESPMM_CACHE_DIR, else $XDG_CACHE_HOME/espmm, else ~/.cache/espmm; none where ESPMM_CACHE=0.
  static DiskCache fromEnvironment();

  explicit DiskCache(std::string folder) : folder_(std::move(folder)) {}

  /// False where caching is switched off or there is no place for it.
  bool enabled() const { return !folder_.empty(); }
  const std::string &folder() const { return folder_; }

  /// Verified in full: an entry that is damaged, or another key's, gives a warning and counts as missing.
  std::optional<Blobs> get(llvm::StringRef key) const;

  /// Replaces what is there, atomically. False if nothing was stored; the first time in a process that it should
  /// have been, with a warning.
  bool put(llvm::StringRef key, const Blobs &blobs) const;

  /// Where the entry lies or would lie.
  std::string path(llvm::StringRef key) const;

private:
  std::string folder_; // empty: off
};

} // namespace espmm

#endif
