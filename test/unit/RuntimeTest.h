//===- RuntimeTest.h - what the runtime's tests share --------------------===//
#ifndef ESPMM_TEST_UNIT_RUNTIMETEST_H
#define ESPMM_TEST_UNIT_RUNTIMETEST_H

#include "espmm/Runtime/Error.h"
#include "espmm/Runtime/Executable.h"
#include "espmm/Runtime/Warning.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include <atomic>
#include <cstdio>
#include <functional>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace test {

inline std::atomic<int> failures{0};
inline std::atomic<int> checks{0};

inline void check(bool ok, const char *file, int line, const std::string &what) {
  ++checks;
  if (ok)
    return;
  ++failures;
  std::fprintf(stderr, "%s:%d: failed: %s\n", file, line, what.c_str());
}

template <typename A, typename B>
void checkEqual(const A &a, const B &b, const char *file, int line, const char *what) {
  std::string text = what;
  if (!(a == b))
    llvm::raw_string_ostream(text) << ": got " << a << ", expected " << b;
  check(a == b, file, line, text);
}

/// "" for a success.
inline std::string textOf(llvm::Error error) { return error ? llvm::toString(std::move(error)) : ""; }
template <typename T> std::string textOf(llvm::Expected<T> value) { return textOf(value.takeError()); }

inline void checkContains(const std::string &text, const std::string &part, const char *file, int line) {
  check(text.find(part) != std::string::npos, file, line, "\"" + text + "\" does not contain \"" + part + "\"");
}

/// A folder that is removed with all that is in it.
class TemporaryFolder {
public:
  TemporaryFolder() {
    if (std::error_code error = llvm::sys::fs::createUniqueDirectory("espmm-test", path_)) {
      std::fprintf(stderr, "no temporary folder: %s\n", error.message().c_str());
      std::abort();
    }
  }
  ~TemporaryFolder() { llvm::sys::fs::remove_directories(path_); }
  std::string path(const std::string &name = "") const {
    return path_.str().str() + (name.empty() ? "" : "/" + name);
  }

private:
  llvm::SmallString<128> path_;
};

/// Collects warnings while it lives.
class Warnings {
public:
  Warnings() {
    texts.clear();
    espmm::setWarningHandler([](const char *text) { texts.push_back(text); });
  }
  ~Warnings() { espmm::setWarningHandler(nullptr); }
  static inline std::vector<std::string> texts;
};

/// Runs `body` in a forked child; true if it came back, and with true.
inline bool inChild(const std::function<bool()> &body) {
  std::fflush(nullptr);
  pid_t child = fork();
  if (child == 0) {
    alarm(60); // a child that hangs is a failure, not a test that never ends
    failures = 0;
    bool ok = body();
    std::fflush(nullptr);
    _exit(ok && failures == 0 ? 0 : 1);
  }
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// Prints the tally; what main returns.
inline int finish() {
  std::printf("%d checks, %d failed\n", checks.load(), failures.load());
  return failures ? 1 : 0;
}

} // namespace test

#define CHECK(condition) ::test::check(bool(condition), __FILE__, __LINE__, #condition)
#define CHECK_EQUAL(a, b) ::test::checkEqual(a, b, __FILE__, __LINE__, #a)
#define CHECK_CONTAINS(text, part) ::test::checkContains(text, part, __FILE__, __LINE__)

// The tests of RuntimeTest, one a file.
void testManifest();
void testExpressions();
void testThreadPool();
void testForkGate();
void testPlan();
void testCache();
void testCacheProcesses();
void testHostCode(const std::string &clang);
void testHostPrograms(const std::string &clang);
void testPtxas();

#endif
