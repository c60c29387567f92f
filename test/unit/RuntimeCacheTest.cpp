//===- RuntimeCacheTest.cpp - entries that are damaged, foreign, raced ---===//
#include "RuntimeTest.h"
#include "espmm/Runtime/DiskCache.h"
#include "llvm/Support/MemoryBuffer.h"
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <sys/resource.h>
#include <sys/stat.h>

using namespace espmm;
using test::Warnings;

static std::string readFile(const std::string &path) {
  auto file = llvm::MemoryBuffer::getFile(path, false, false, true);
  CHECK(bool(file));
  return file ? (*file)->getBuffer().str() : "";
}

static void writeFile(const std::string &path, llvm::StringRef bytes) {
  std::error_code error;
  llvm::raw_fd_ostream os(path, error);
  CHECK(!error);
  os << bytes;
}

static std::vector<std::string> filesIn(const std::string &folder) {
  std::vector<std::string> files;
  std::error_code error;
  for (llvm::sys::fs::directory_iterator file(folder, error), end; !error && file != end; file.increment(error))
    files.push_back(file->path());
  return files;
}

static const Blobs sample = {{"manifest", "{}"}, {"cubin", std::string("\0\x7f\xff\n", 4)}, {"empty", ""}};

static void testKeysAndBlobs() {
  std::string key = cacheKey({"ab", "c"});
  CHECK_EQUAL(key.size(), 64u);
  CHECK_EQUAL(key, cacheKey({"ab", "c"}));
  for (std::string other : {cacheKey({"a", "bc"}), cacheKey({"abc"}), cacheKey({"ab", "c", ""}), cacheKey({})})
    CHECK(other != key);

  std::string bytes = packBlobs(sample);
  CHECK(unpackBlobs(bytes) == sample);
  CHECK(unpackBlobs(packBlobs({})) == Blobs());
  for (size_t length = 0; length < bytes.size(); ++length)
    CHECK(!unpackBlobs(llvm::StringRef(bytes).take_front(length)));
  CHECK(!unpackBlobs(bytes + "x"));
  CHECK(!unpackBlobs(llvm::StringRef("\1\0\0\0\1\0\0\0\xff\xff\xff\xff\xff\xff\xff\xffn", 17))); // lengths that wrap
}

static void testDamage() {
  test::TemporaryFolder folder;
  DiskCache cache(folder.path("deep/er"));
  std::string key = cacheKey({"damage"});
  {
    Warnings warnings;
    CHECK(!cache.get(key));
    CHECK(cache.put(key, sample));
    CHECK(cache.get(key) == sample);
    CHECK(Warnings::texts.empty());
  }
  struct stat status;
  CHECK(stat(cache.folder().c_str(), &status) == 0 && (status.st_mode & 0777) == 0700);

  std::string path = cache.path(key), good = readFile(path);
  auto noticed = [&](llvm::StringRef bytes, const char *what) {
    writeFile(path, bytes);
    Warnings warnings;
    CHECK(!cache.get(key));
    CHECK_EQUAL(Warnings::texts.size(), 1u);
    CHECK_CONTAINS(Warnings::texts.empty() ? "" : Warnings::texts[0], what);
    CHECK_CONTAINS(Warnings::texts.empty() ? "" : Warnings::texts[0], path);
  };
  // Every byte, by a flipped bit and by a zero.
  for (size_t i = 0; i < good.size(); ++i) {
    for (char byte : {char(good[i] ^ 0x10), '\0'}) {
      std::string bad = good;
      bad[i] = byte;
      if (bad != good)
        noticed(bad, "the cache entry");
    }
  }
  for (size_t length = 0; length < good.size(); ++length)
    noticed(llvm::StringRef(good).take_front(length), "the cache entry");
  noticed(good + "x", "wrong length");
  noticed("", "not an entry");
  noticed(std::string(4096, 'z'), "not an entry");

  // Another key's entry under this name.
  std::string otherKey = cacheKey({"another"});
  CHECK(cache.put(otherKey, {{"manifest", "other"}}));
  noticed(readFile(cache.path(otherKey)), "belongs to another key");

  // The next put repairs it.
  Warnings warnings;
  CHECK(cache.put(key, sample));
  CHECK(cache.get(key) == sample);
  CHECK(Warnings::texts.empty());
  CHECK_EQUAL(filesIn(cache.folder()).size(), 2u);
  // Names that are no keys never become file names.
  CHECK(!cache.put("../../escape", sample));
  CHECK(!cache.get("../../escape"));
}

static void testConcurrentWriters() {
  test::TemporaryFolder folder;
  DiskCache cache(folder.path());
  std::string key = cacheKey({"raced"});
  // Each writer's entries have their own length and letter, so that a mixture shows.
  auto content = [](int writer) { return Blobs{{"a", std::string(20000 + 1000 * writer, char('a' + writer))}}; };
  auto valid = [&](const Blobs &blobs) {
    for (int writer = 0; writer < 4; ++writer)
      if (blobs == content(writer))
        return true;
    return false;
  };
  std::fflush(nullptr);
  std::vector<pid_t> children;
  for (int writer = 0; writer < 4; ++writer) {
    pid_t child = fork();
    if (child == 0) {
      for (int i = 0; i < 100; ++i)
        if (!cache.put(key, content(writer)))
          _exit(1);
      _exit(0);
    }
    children.push_back(child);
  }
  Warnings warnings;
  int seen = 0;
  for (size_t left = children.size(); left > 0;) {
    if (std::optional<Blobs> blobs = cache.get(key)) {
      ++seen;
      CHECK(valid(*blobs));
    }
    int status = 0;
    if (waitpid(-1, &status, WNOHANG) > 0) {
      CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
      --left;
    }
  }
  CHECK(seen > 0);
  CHECK(valid(cache.get(key).value_or(Blobs())));
  CHECK(Warnings::texts.empty());
  CHECK_EQUAL(filesIn(cache.folder()).size(), 1u); // no temporary is left behind
}

static void testNoRoom() {
  test::TemporaryFolder folder;
  std::string key = cacheKey({"full"});
  // Each in a process of its own, as there is one warning a process.
  CHECK(test::inChild([&] {
    Warnings warnings;
    DiskCache cache(folder.path("full"));
    CHECK(cache.put(key, {{"a", "small"}}));
    signal(SIGXFSZ, SIG_IGN);
    rlimit limit = {4096, 4096}; // a write beyond fails, as on a full disk
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    for (int i = 0; i < 3; ++i)
      CHECK(!cache.put(key, {{"a", std::string(100000, 'a')}}));
    CHECK_EQUAL(Warnings::texts.size(), 1u);
    CHECK_CONTAINS(Warnings::texts[0], "can't be kept in " + cache.folder());
    CHECK(cache.get(key) == Blobs({{"a", "small"}})); // what was there still is
    CHECK_EQUAL(filesIn(cache.folder()).size(), 1u);
    return true;
  }));
  CHECK(test::inChild([&] {
    Warnings warnings;
    writeFile(folder.path("file"), "in the way");
    DiskCache cache(folder.path("file/cache"));
    CHECK(!cache.get(key));
    CHECK(!cache.put(key, sample) && !cache.put(key, sample));
    CHECK_EQUAL(Warnings::texts.size(), 1u);
    return true;
  }));
}

static void testEnvironment() {
  std::string before = std::getenv("ESPMM_CACHE_DIR");
  setenv("ESPMM_CACHE", "0", 1);
  CHECK(!DiskCache::fromEnvironment().enabled());
  CHECK(!DiskCache::fromEnvironment().put(cacheKey({}), sample));
  CHECK(!DiskCache::fromEnvironment().get(cacheKey({})));
  setenv("ESPMM_CACHE", "1", 1);
  CHECK_EQUAL(DiskCache::fromEnvironment().folder(), before);
  CHECK(test::inChild([] {
    unsetenv("ESPMM_CACHE_DIR");
    setenv("XDG_CACHE_HOME", "/some/where", 1);
    CHECK_EQUAL(DiskCache::fromEnvironment().folder(), "/some/where/espmm");
    setenv("XDG_CACHE_HOME", "not/absolute", 1);
    setenv("HOME", "/home/someone", 1);
    CHECK_EQUAL(DiskCache::fromEnvironment().folder(), "/home/someone/.cache/espmm");
    unsetenv("XDG_CACHE_HOME");
    setenv("HOME", "/dev/null", 1); // a home in which nothing can be made
    Warnings warnings;
    DiskCache cache = DiskCache::fromEnvironment();
    CHECK(!cache.put(cacheKey({}), sample));
    CHECK(!cache.get(cacheKey({})));
    CHECK_EQUAL(Warnings::texts.size(), 1u);
    return true;
  }));
  unsetenv("ESPMM_CACHE");
}

void testCache() {
  testKeysAndBlobs();
  testDamage();
  testConcurrentWriters();
  testNoRoom();
  testEnvironment();
}
