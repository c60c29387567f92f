//===- RuntimeTest.cpp - the runtime's tests that need no GPU ------------===//
#include "RuntimeTest.h"
#include "llvm/Support/JSON.h"
#include <cstdlib>

static void testInfo() {
  char *text = nullptr;
  CHECK_EQUAL(int(espmm_info(&text)), int(ESPMM_OK));
  llvm::Expected<llvm::json::Value> info = llvm::json::parse(text);
  espmm_free(text);
  CHECK(bool(info));
  if (!info)
    return llvm::consumeError(info.takeError());
  const llvm::json::Object &root = *info->getAsObject();
  CHECK_EQUAL(*root.getString("version"), espmm_version());
  CHECK_EQUAL(*root.getString("llvm"), espmm_llvm_version());
  CHECK(llvm::StringRef(espmm_llvm_version()).starts_with("22."));
  const llvm::json::Object &host = *root.getObject("host");
  CHECK(*host.getInteger("vector_bits") >= 128);
  CHECK_EQUAL(*host.getInteger("threads"), espmm_get_num_threads());
  // Either is there or says why not.
  CHECK(root.getObject("cuda")->get("devices") || root.getObject("cuda")->get("error"));
  CHECK(root.getObject("ptxas")->get("version") || root.getObject("ptxas")->get("error"));
  CHECK(root.getObject("cache")->getString("state").has_value());
}

int main(int argc, char **argv) {
  // Compiling the kernels that are run needs a C compiler: argv[1], or the environment's.
  const char *clang = argc > 1 ? argv[1] : std::getenv("ESPMM_TEST_CLANG");
  test::TemporaryFolder cache;
  setenv("ESPMM_CACHE_DIR", cache.path().c_str(), 1);
  unsetenv("ESPMM_CACHE");

  testExpressions();
  testManifest();
  testPlan();
  testThreadPool();
  testForkGate();
  testCache();
  testCacheProcesses();
  if (!clang) {
    std::fprintf(stderr, "usage: RuntimeTest CLANG\n");
    return 2;
  }
  testHostCode(clang);
  testHostPrograms(clang);
  testPtxas();
  testInfo();
  return test::finish();
}
