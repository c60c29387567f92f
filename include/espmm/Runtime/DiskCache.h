//===- DiskCache.h - compiled code kept between processes ----------------===//
#ifndef ESPMM_RUNTIME_DISKCACHE_H
#define ESPMM_RUNTIME_DISKCACHE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace espmm {

/// What an entry holds: named pieces such as "manifest", "ptx", "object", "cubin".
using Blobs = std::map<std::string, std::string>;

/// The name of an entry: a hash, in hexadecimal, of all parts and of where one ends and the next begins.
std::string cacheKey(llvm::ArrayRef<llvm::StringRef> parts);

/// Blobs as one string of bytes, and back; nothing if the bytes are not of that form.
std::string packBlobs(const Blobs &blobs);
std::optional<Blobs> unpackBlobs(llvm::StringRef bytes);

/// A folder of entries, shared by any number of processes. It never fails a caller: what can't be read or trusted is missing,
/// what can't be written stays uncached, and a warning says so: of the folder once in a process, of an entry each time.
class DiskCache {
public:
  static constexpr uint64_t defaultLimit = uint64_t(1) << 30;

  /// In ESPMM_CACHE_DIR, else $XDG_CACHE_HOME/espmm, else ~/.cache/espmm; none where ESPMM_CACHE=0. The limit is
  /// ESPMM_CACHE_LIMIT, such as 500M.
  static DiskCache fromEnvironment();

  /// @param limit bytes that entries may take in all.
  explicit DiskCache(std::string folder, uint64_t limit = defaultLimit) : folder_(std::move(folder)), limit_(limit) {}

  /// False where caching is switched off or there is no place for it.
  bool enabled() const { return !folder_.empty(); }
  const std::string &folder() const { return folder_; }
  uint64_t limit() const { return limit_; }

  /// Verified in full: an entry that is damaged, another key's or another user's counts as missing.
  std::optional<Blobs> get(llvm::StringRef key) const;

  /// Replaces what is there, atomically; may remove what has not been used for longest. False if nothing was stored.
  bool put(llvm::StringRef key, const Blobs &blobs) const;

  /// Removes an entry that get has found and that turned out to be of no use, with a warning that says why.
  void reject(llvm::StringRef key, const llvm::Twine &problem) const;

  /// For an entry that get has not found: what `make` gives, which is put there. Of several that ask at a time, in whatever
  /// process, one makes it and the others wait and are given what it has put there; where that one dies another takes its place.
  /// `make` must not ask for entries itself.
  using Made = llvm::Expected<Blobs>;
  Made makeOnce(llvm::StringRef key, llvm::function_ref<Made()> make) const;

  /// The same, but gives nothing at once if somebody else is making it.
  llvm::Expected<std::optional<Blobs>> makeOnceUnlessBusy(llvm::StringRef key, llvm::function_ref<Made()> make) const;

  /// Why the folder is not used ("can be written to by others"); "" if it is, or is not there yet.
  std::string problem() const;

  /// A file beside the entries, trusted as those are. Nothing, and why, if it can't be trusted or read; with an empty why if it is just
  /// not there, or the folder can't be used.
  std::optional<std::string> readBeside(const std::string &name, std::string &why) const;

  /// Where the entry lies or would lie.
  std::string path(llvm::StringRef key) const;

  struct Entry {
    std::string name;
    uint64_t bytes;
    int64_t used;        // seconds since 1970, to the minute
    std::string problem; // why it would not be used; empty if it would
    Blobs blobs;
  };
  /// Calls back with every entry, opened and checked. Fails if the folder can't be trusted or read; there is nothing in one that
  /// is not there.
  llvm::Error forEach(llvm::function_ref<void(const Entry &)> callback) const;

  /// Removes all entries, and what killed processes left; gives how many files. Fails as forEach.
  llvm::Expected<int> clear() const;

  /// How many entries were found by this process, and how many it had to make.
  struct Counts {
    int64_t found, made;
  };
  static Counts counts();

private:
  std::optional<Blobs> look(llvm::StringRef key, bool warns) const;
  llvm::Expected<std::optional<Blobs>> makeOnce(llvm::StringRef key, llvm::function_ref<Made()> make, bool waits) const;

  std::string folder_; // empty: off
  uint64_t limit_;
};

} // namespace espmm

#endif
