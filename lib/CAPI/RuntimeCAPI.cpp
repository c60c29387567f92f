//===- RuntimeCAPI.cpp - the functions of espmm.h that need no compiler --===//
#include "espmm-c/espmm.h"
#include "espmm/Runtime/DiskCache.h"
#include "espmm/Runtime/Executable.h"
#include "espmm/Runtime/Info.h"
#include "espmm/Runtime/LastError.h"
#include "espmm/Runtime/Plan.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdlib>
#include <cstring>

using namespace espmm;

/// A null pointer where the function can do nothing without one.
static espmm_status nullArgument(const char *function, const char *argument) {
  return report(makeError(ESPMM_INVALID, llvm::Twine(function) + ": " + argument + " is a null pointer"));
}

static espmm_status giveJson(const char *function, llvm::json::Object object, char **out) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::json::Value(std::move(object));
  *out = strdup(text.c_str());
  return *out ? ESPMM_OK : report(makeError(ESPMM_INTERNAL, llvm::Twine(function) + ": out of memory"));
}

static Sizes sizesOf(const int64_t sizes[3]) { return {sizes[0], sizes[1], sizes[2]}; }

extern "C" {

const char *espmm_version(void) { return versionString(); }

const char *espmm_llvm_version(void) { return llvmVersionString(); }

const char *espmm_last_error(void) { return lastError(); }

void espmm_free(char *text) { std::free(text); }

void espmm_executable_release(espmm_executable *exe) { delete exe; }

const char *espmm_executable_manifest(const espmm_executable *exe) {
  return exe ? exe->executable->manifestText().c_str() : nullptr;
}

espmm_status espmm_executable_load(espmm_executable *exe, int device) {
  if (!exe)
    return nullArgument("espmm_executable_load", "exe");
  return report(exe->executable->load(device));
}

espmm_status espmm_executable_scratch(const espmm_executable *exe, const int64_t sizes[3], int64_t *bytes) {
  if (!exe || !sizes || !bytes)
    return nullArgument("espmm_executable_scratch", !exe ? "exe" : !sizes ? "sizes" : "bytes");
  llvm::Expected<int64_t> needed = exe->executable->scratchBytes(sizesOf(sizes));
  if (!needed)
    return report(needed.takeError());
  *bytes = *needed;
  return ESPMM_OK;
}

espmm_status espmm_launch(espmm_executable *exe, int device, void *stream, const int64_t sizes[3],
                          void *const *buffers, size_t num_buffers, void *scratch, int64_t scratch_bytes) {
  if (!exe || !sizes || (num_buffers && !buffers))
    return nullArgument("espmm_launch", !exe ? "exe" : !sizes ? "sizes" : "buffers");
  // The list is only read; ArrayRef<void *> says so.
  llvm::ArrayRef<void *> list(const_cast<void **>(buffers), num_buffers);
  return report(exe->executable->launch(device, stream, sizesOf(sizes), list, scratch, scratch_bytes));
}

espmm_status espmm_plan_build(const void *index, const void *other, int index_bits, int64_t num_edges,
                              int64_t num_nodes, int64_t num_other, int32_t *offsets, int32_t *order,
                              int32_t *other_out, int32_t *parts, int *sorted, int64_t *bad_edge) {
  if (!sorted || !bad_edge)
    return nullArgument("espmm_plan_build", !sorted ? "sorted" : "bad_edge");
  PlanInput input{index, other, index_bits, num_edges, num_nodes, num_other};
  PlanOutput output;
  output.offsets = offsets;
  output.order = order;
  output.other = other_out;
  output.parts = parts;
  espmm_status status = report(buildPlan(input, output));
  *sorted = output.sorted;
  *bad_edge = output.badEdge;
  return status;
}

void espmm_set_num_threads(int threads) { setNumThreads(threads); }

int espmm_get_num_threads(void) { return numThreads(); }

espmm_status espmm_info(char **out) {
  if (!out)
    return nullArgument("espmm_info", "out");
  return giveJson("espmm_info", collectInfo(), out);
}

espmm_status espmm_cache_list(char **out) {
  if (!out)
    return nullArgument("espmm_cache_list", "out");
  llvm::Expected<llvm::json::Object> list = listCache();
  if (!list)
    return report(list.takeError());
  return giveJson("espmm_cache_list", std::move(*list), out);
}

espmm_status espmm_cache_clear(int *removed) {
  if (!removed)
    return nullArgument("espmm_cache_clear", "removed");
  llvm::Expected<int> count = DiskCache::fromEnvironment().clear();
  if (!count)
    return report(count.takeError());
  *removed = *count;
  return ESPMM_OK;
}

} // extern "C"
