//===- RuntimePtxasTest.cpp - assembling PTX without a GPU ---------------===//
#include "RuntimeTest.h"
#include "RuntimeTestPtx.h"
#include "espmm/Runtime/Assembler.h"
#include <cstdlib>

using namespace espmm;
using namespace espmm::cuda;

static void testLog() {
  // As ptxas 13.0 prints it, for a kernel that spills, a device function and one that does not.
  std::vector<KernelResources> kernels = parseAssemblerLog(
      "ptxas info    : 0 bytes gmem\n"
      "ptxas info    : Compiling entry function 'conv_0' for 'sm_90'\n"
      "ptxas info    : Function properties for conv_0\n"
      "    320 bytes stack frame, 316 bytes spill stores, 1024 bytes spill loads\n"
      "ptxas info    : Used 255 registers, used 1 barriers, 320 bytes cumulative stack size, 6784 bytes smem\n"
      "ptxas info    : Compile time = 33.162 ms\n"
      "ptxas info    : Function properties for helper\n"
      "    64 bytes stack frame, 8 bytes spill stores, 8 bytes spill loads\n"
      "ptxas info    : Compiling entry function 'conv_1' for 'sm_90'\n"
      "ptxas info    : Function properties for conv_1\n"
      "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
      "ptxas info    : Used 8 registers, used 0 barriers\n");
  CHECK_EQUAL(kernels.size(), 2u);
  CHECK_EQUAL(kernels[0].kernel, "conv_0");
  CHECK_EQUAL(kernels[0].registers, 255);
  CHECK_EQUAL(kernels[0].stack, 320);
  CHECK_EQUAL(kernels[0].spillStores, 316);
  CHECK_EQUAL(kernels[0].spillLoads, 1024);
  CHECK_EQUAL(kernels[0].shared, 6784);
  CHECK_EQUAL(kernels[1].registers, 8);
  CHECK_EQUAL(kernels[1].spillStores, 0);
  CHECK_EQUAL(kernels[1].shared, 0);
  CHECK(parseAssemblerLog("").empty());
}

static void testSplit() {
  const std::string head = ".version 8.1\n.target sm_90\n.address_size 64\n";
  const std::string first = ".visible .entry first(\n\t.param .u64 a\n)\n.maxntid 32, 4, 1\n{\n\tmov.b64 %rd1, table_1;\n\tret;\n}\n";
  const std::string second = ".visible .entry second()\n{\n\tmov.b64 %rd1, table_2;\n\tret;\n}\n";
  const std::string table1 = ".global .align 16 .b8 table_1[2] = {1, 0};\n", table2 = ".global .align 16 .b8 table_2[2] = {2, 0};\n";
  const std::string shared = ".extern .shared .align 16 .b8 espmm_shared[];\n";
  std::vector<KernelText> texts = splitKernels("// a comment\n" + head + table1 + table2 + shared + first + second);
  CHECK_EQUAL(texts.size(), 2u);
  CHECK_EQUAL(texts[0].kernel, "first");
  CHECK_EQUAL(texts[0].ptx, head + table1 + shared + first);
  CHECK_EQUAL(texts[1].kernel, "second");
  CHECK_EQUAL(texts[1].ptx, head + table2 + shared + second);
  // What is not as expected stays as it is: an entry that has no end, one that is not visible, nothing.
  for (const std::string &whole : {head + first + ".visible .entry open()\n{\n", head + first + ".entry hidden()\n{\n}\n", head}) {
    texts = splitKernels(whole);
    CHECK_EQUAL(texts.size(), 1u);
    CHECK_EQUAL(texts[0].kernel, "");
    CHECK_EQUAL(texts[0].ptx, whole);
  }
}

void testPtxas() {
  testLog();
  testSplit();
  CHECK(test::inChild([] {
    setenv("ESPMM_PTXAS", "/nowhere/ptxas", 1);
    CHECK_CONTAINS(test::textOf(assembleWithPtxas(testPtx, "sm_90")), "ESPMM_PTXAS names /nowhere/ptxas");
    for (const char *variable : {"ESPMM_PTXAS", "CUDA_HOME", "CUDA_PATH"})
      unsetenv(variable);
    setenv("PATH", "/nowhere", 1);
    if (!llvm::sys::fs::exists("/usr/local/cuda/bin/ptxas"))
      CHECK_CONTAINS(test::textOf(findPtxas()), "no ptxas in CUDA_HOME, on PATH or");
    return true;
  }));

  llvm::Expected<std::string> ptxas = findPtxas();
  if (!ptxas) {
    std::printf("assembling is not tested: %s\n", test::textOf(std::move(ptxas)).c_str());
    return;
  }
  CHECK(llvm::cantFail(ptxasVersion(*ptxas)).find('.') != std::string::npos);
  for (const char *chip : {"sm_80", "sm_90", "sm_90a"}) {
    llvm::Expected<Cubin> cubin = assembleWithPtxas(testPtx, chip);
    CHECK(bool(cubin));
    if (!cubin) {
      std::fprintf(stderr, "%s\n", test::textOf(std::move(cubin)).c_str());
      continue;
    }
    CHECK(llvm::StringRef(cubin->code).starts_with("\x7f" "ELF"));
    std::vector<KernelResources> kernels = parseAssemblerLog(cubin->log);
    CHECK_EQUAL(kernels.size(), 2u);
    for (const KernelResources &kernel : kernels) {
      CHECK(kernel.registers > 0);
      CHECK_EQUAL(kernel.spillStores, 0);
    }
  }
  std::vector<Cubin> apart = llvm::cantFail(cubinsFor(testPtx, "sm_90"));
  CHECK_EQUAL(apart.size(), 2u);
  for (const Cubin &cubin : apart) {
    std::vector<KernelResources> kernels = parseAssemblerLog(cubin.log);
    CHECK_EQUAL(kernels.size(), 1u);
    CHECK_EQUAL(kernels[0].kernel, cubin.kernel);
    CHECK(codeBytes(cubin.code, cubin.kernel) >= 16 * 10);
    CHECK(codeBytes(cubin.code, cubin.kernel) < int64_t(cubin.code.size()));
    CHECK_EQUAL(codeBytes(cubin.code, "another"), 0);
    CHECK_EQUAL(codeBytes(llvm::StringRef(cubin.code).take_front(100), cubin.kernel), 0);
  }
  std::string broken = std::string(testPtx).replace(std::string(testPtx).find("ld.global.f32"), 13, "ld.globl.f32");
  std::string error = test::textOf(assembleWithPtxas(broken, "sm_90"));
  CHECK_CONTAINS(error, "-arch=sm_90");
  CHECK_CONTAINS(error, "Unknown modifier '.globl'");
  CHECK_CONTAINS(test::textOf(cubinsFor(broken, "sm_90")), "kernel scale_add: ");
  CHECK_CONTAINS(test::textOf(assembleWithPtxas(testPtx, "sm_1")), "sm_1");
}
