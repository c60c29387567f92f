//===- RuntimeCacheTest.cpp - entries that are damaged or foreign, and folders ===//
#include "RuntimeCacheTest.h"
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

using namespace espmm;
using namespace test;

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
  TemporaryFolder folder;
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

static void testNoRoom() {
  TemporaryFolder folder;
  std::string key = cacheKey({"full"});
  // Each in a process of its own, as there is one warning a process.
  CHECK(inChild([&] {
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
  CHECK(inChild([&] {
    Warnings warnings;
    writeFile(folder.path("file"), "in the way");
    DiskCache cache(folder.path("file/cache"));
    CHECK(!cache.get(key));
    CHECK(!cache.put(key, sample) && !cache.put(key, sample));
    CHECK_EQUAL(Warnings::texts.size(), 1u);
    return true;
  }));
}

/// A file that others can write to, is another user's, or is no file, is not used; nor is such a folder.
static void testTrust() {
  TemporaryFolder folder;
  DiskCache cache(folder.path("cache"));
  std::string key = cacheKey({"trust"}), path = cache.path(key);
  CHECK(cache.put(key, sample));
  auto refused = [&](const char *why) {
    Warnings warnings;
    CHECK(!cache.get(key));
    CHECK_EQUAL(Warnings::texts.size(), 1u);
    CHECK_CONTAINS(Warnings::texts.empty() ? "" : Warnings::texts[0], path + " " + why);
    CHECK(cache.put(key, sample)); // replaced
    CHECK(cache.get(key) == sample);
    CHECK_EQUAL(Warnings::texts.size(), 1u);
  };
  for (mode_t mode : {0602, 0620, 0666}) {
    CHECK(chmod(path.c_str(), mode) == 0);
    refused("can be written to by others");
  }
  CHECK(rename(path.c_str(), (path + ".real").c_str()) == 0 && symlink((path + ".real").c_str(), path.c_str()) == 0);
  refused("is a link");
  CHECK(unlink(path.c_str()) == 0 && mkdir(path.c_str(), 0700) == 0);
  {
    Warnings warnings;
    CHECK(!cache.get(key));
    CHECK_CONTAINS(Warnings::texts[0], path + " is not a file");
  }
  CHECK(rmdir(path.c_str()) == 0 && mkfifo(path.c_str(), 0600) == 0);
  refused("is not a file"); // and not waited for
  if (chown(path.c_str(), 1, -1) == 0)
    refused("belongs to another user");

  // The same of a file beside the entries.
  std::string beside = folder.path("cache/KEY.schedule.json"), why;
  CHECK(!cache.readBeside("KEY.schedule.json", why) && why.empty());
  writeFile(beside, "{}");
  CHECK(chmod(beside.c_str(), 0600) == 0);
  CHECK(cache.readBeside("KEY.schedule.json", why) == "{}");
  CHECK(chmod(beside.c_str(), 0606) == 0);
  CHECK(!cache.readBeside("KEY.schedule.json", why));
  CHECK_EQUAL(why, "can be written to by others");
  {
    Warnings warnings;
    cache.reject(key, "is of no use");
    CHECK_CONTAINS(Warnings::texts[0], path + " is of no use; it is compiled anew");
    CHECK(!cache.get(key) && cache.put(key, sample));
    CHECK_EQUAL(Warnings::texts.size(), 1u);
  }

  // Each in a process of its own, as a folder is spoken of once in a process.
  auto folderRefused = [&](const std::string &path, const char *why) {
    CHECK(inChild([&] {
      Warnings warnings;
      DiskCache cache(path);
      for (int i = 0; i < 3; ++i)
        CHECK(!cache.get(key) && !cache.put(key, sample));
      int made = 0;
      for (int i = 0; i < 2; ++i)
        CHECK(bool(cache.makeOnce(key, [&]() -> DiskCache::Made { return ++made, sample; })));
      CHECK_EQUAL(made, 2); // works all the same
      CHECK_CONTAINS(cache.problem(), why);
      CHECK_EQUAL(Warnings::texts.size(), 1u);
      CHECK_CONTAINS(Warnings::texts[0], "can't be kept in " + path + ": it " + why);
      CHECK_CONTAINS(textOf(cache.forEach([](const DiskCache::Entry &) {})), path + " " + why);
      CHECK_CONTAINS(textOf(cache.clear()), path + " " + why);
      return true;
    }));
  };
  for (mode_t mode : {0702, 0720, 01777}) {
    CHECK(chmod(cache.folder().c_str(), mode) == 0);
    folderRefused(cache.folder(), "can be written to by others");
  }
  CHECK(chmod(cache.folder().c_str(), 0755) == 0); // may be read
  CHECK(cache.get(key) == sample);
  if (geteuid() == 0)
    CHECK(chown(cache.folder().c_str(), 1, -1) == 0);
  folderRefused(geteuid() == 0 ? cache.folder() : "/", "belongs to another user");
}

static void testLimit() {
  TemporaryFolder folder;
  const Blobs blobs = {{"a", std::string(1000, 'a')}};
  DiskCache cache(folder.path(), 20000);
  auto key = [](int i) { return cacheKey({"limit", std::to_string(i)}); };
  Warnings warnings;
  for (int i = 0; i < 10; ++i) {
    CHECK(cache.put(key(i), blobs));
    setUsed(cache.path(key(i)), 10000 - i);
  }
  uint64_t bytes = readFile(cache.path(key(0))).size();
  writeFile(folder.path(".tmp-0123"), "left by a writer that was killed");
  writeFile(folder.path(".tmp-4567"), "of a writer that writes");
  setUsed(folder.path(".tmp-0123"), 3700);
  CHECK(cache.get(key(2)) == blobs); // now used last
  // Another limit for the same folder: an eighth less than it stays, of what was used last.
  DiskCache smaller(folder.path(), 5 * bytes);
  CHECK(smaller.put(key(10), blobs));
  for (int i = 0; i <= 10; ++i)
    CHECK_EQUAL(bool(cache.get(key(i))), i == 2 || i >= 8);
  CHECK_EQUAL(filesIn(folder.path()).size(), 5u);
  // However many are written, about the limit is kept.
  size_t most = 0;
  for (int i = 0; i < 300; ++i) {
    CHECK(smaller.put(key(i), blobs));
    most = std::max(most, filesIn(folder.path()).size());
  }
  CHECK_EQUAL(most, 6u); // five and a temporary
  CHECK(Warnings::texts.empty());
  // The same where entries are small, and few of them have the folder looked over.
  DiskCache large(folder.path("large"), 300 * bytes);
  for (int i = 0; i < 1000; ++i)
    CHECK(large.put(key(i), blobs));
  size_t kept = filesIn(large.folder()).size();
  CHECK(kept > 200 && kept < 330);
  // Listing is no use; clearing removes all but what is being written.
  setUsed(large.path(key(999)), 5000);
  size_t listed = 0;
  int64_t oldest = INT64_MAX;
  CHECK(!large.forEach([&](const DiskCache::Entry &entry) {
    ++listed;
    CHECK(entry.problem.empty() && entry.blobs == blobs && entry.bytes == bytes);
    oldest = std::min(oldest, entry.used);
  }));
  CHECK_EQUAL(listed, kept);
  setUsed(large.path(key(999)), 4000);
  CHECK(large.get(key(999)) == blobs); // but this is
  int64_t now = time(nullptr);
  CHECK(!large.forEach([&](const DiskCache::Entry &entry) { CHECK(now - entry.used < 1000); }));
  CHECK(now - oldest >= 5000);
  CHECK_EQUAL(*large.clear(), int(kept));
  CHECK_EQUAL(filesIn(large.folder()).size(), 0u);
  CHECK(inChild([&] {
    Warnings warnings;
    DiskCache none(folder.path("none"), 100);
    CHECK(!none.put(key(0), blobs) && !none.put(key(0), blobs));
    CHECK_EQUAL(Warnings::texts.size(), 1u);
    CHECK_CONTAINS(Warnings::texts[0], "is more than ESPMM_CACHE_LIMIT");
    return true;
  }));
}

/// A small file system of its own, if this process may mount one.
static bool mountTiny(const std::string &folder, unsigned long flags) {
  std::string user = std::to_string(geteuid()), group = std::to_string(getegid());
  if (unshare(CLONE_NEWNS) != 0) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
      return false;
    // Without, the user could own no file.
    writeFile("/proc/self/uid_map", "0 " + user + " 1");
    writeFile("/proc/self/setgroups", "deny");
    writeFile("/proc/self/gid_map", "0 " + group + " 1");
  }
  mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  return mount("tmpfs", folder.c_str(), "tmpfs", flags, "size=64k,mode=0700") == 0;
}

static void testFullDisk() {
  TemporaryFolder folder;
  int *mounted = &shared<int>();
  std::string key = cacheKey({"full"});
  CHECK(inChild([&] {
    if (!mountTiny(folder.path(), 0))
      return true;
    ++*mounted;
    Warnings warnings;
    DiskCache cache(folder.path("espmm"));
    CHECK(cache.put(key, {{"a", "small"}}));
    for (int i = 0; i < 3; ++i) {
      auto blobs = cache.makeOnce(cacheKey({"large"}), []() -> DiskCache::Made { return Blobs{{"a", std::string(100000, 'a')}}; });
      CHECK(blobs && blobs->at("a").size() == 100000);
    }
    CHECK_EQUAL(Warnings::texts.size(), 1u);
    CHECK_CONTAINS(Warnings::texts[0], "No space left on device");
    CHECK(cache.get(key) == Blobs({{"a", "small"}}));
    CHECK_EQUAL(filesIn(cache.folder()).size(), 2u); // with the locks' file
    return true;
  }));
  CHECK(inChild([&] {
    if (!mountTiny(folder.path(), MS_RDONLY))
      return true;
    ++*mounted;
    Warnings warnings;
    DiskCache cache(folder.path("espmm"));
    for (int i = 0; i < 3; ++i) {
      CHECK(!cache.get(key));
      CHECK(bool(cache.makeOnce(key, []() -> DiskCache::Made { return sample; })));
    }
    CHECK_EQUAL(Warnings::texts.size(), 1u);
    CHECK_CONTAINS(Warnings::texts[0], "Read-only file system");
    return true;
  }));
  if (*mounted < 2)
    std::printf("a full and a read-only file system: not tested, no right to mount\n");
}

static void testEnvironment() {
  std::string before = std::getenv("ESPMM_CACHE_DIR");
  setenv("ESPMM_CACHE", "0", 1);
  CHECK(!DiskCache::fromEnvironment().enabled());
  CHECK(!DiskCache::fromEnvironment().put(cacheKey({}), sample));
  CHECK(!DiskCache::fromEnvironment().get(cacheKey({})));
  setenv("ESPMM_CACHE", "1", 1);
  CHECK_EQUAL(DiskCache::fromEnvironment().folder(), before);
  CHECK(inChild([] {
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
  CHECK(inChild([] {
    unsetenv("ESPMM_CACHE_DIR");
    unsetenv("XDG_CACHE_HOME");
    setenv("HOME", "", 1); // no home at all
    Warnings warnings;
    for (int i = 0; i < 3; ++i) {
      CHECK(!DiskCache::fromEnvironment().enabled());
      CHECK(bool(DiskCache::fromEnvironment().makeOnce(cacheKey({}), []() -> DiskCache::Made { return sample; })));
    }
    CHECK_EQUAL(Warnings::texts.size(), 1u);
    CHECK_CONTAINS(Warnings::texts[0], "no home");
    return true;
  }));
  CHECK(inChild([] {
    auto limit = [](const char *text) {
      setenv("ESPMM_CACHE_LIMIT", text, 1);
      return DiskCache::fromEnvironment().limit();
    };
    Warnings warnings;
    CHECK_EQUAL(limit(""), uint64_t(1) << 30);
    CHECK_EQUAL(limit("0"), 0u);
    CHECK_EQUAL(limit("12345"), 12345u);
    CHECK_EQUAL(limit("3K"), 3072u);
    CHECK_EQUAL(limit("500M"), uint64_t(500) << 20);
    CHECK_EQUAL(limit("2G"), uint64_t(2) << 30);
    CHECK(Warnings::texts.empty());
    for (const char *text : {"G", "much", "-1", "1.5G", "99999999999G"})
      CHECK_EQUAL(limit(text), uint64_t(1) << 30);
    CHECK_EQUAL(Warnings::texts.size(), 1u);
    CHECK_CONTAINS(Warnings::texts[0], "such as 500M or 2G, got 'G'");
    return true;
  }));
  unsetenv("ESPMM_CACHE");
}

void testCache() {
  testKeysAndBlobs();
  testDamage();
  testNoRoom();
  testTrust();
  testLimit();
  testFullDisk();
  testEnvironment();
}
