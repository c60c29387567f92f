//===- RuntimeCAPI.cpp - the functions of espmm.h that need no compiler --===//
#include "espmm-c/espmm.h"
#include "espmm/Runtime/DiskCache.h"
#include "espmm/Runtime/Executable.h"
#include "espmm/Runtime/Info.h"
#include "espmm/Runtime/LastError.h"
#include "espmm/Runtime/Plan.h"
#include "espmm/Runtime/ProgramText.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdlib>
#include <cstring>

using namespace espmm;

/// A null pointer where the function can do nothing without one.
static espmm_status nullArgument(const char *function, const char *argument) {
  return report(makeError(ESPMM_INVALID, llvm::Twine(function) + ": " + argument + " is a null pointer"));
}

static espmm_status giveJson(const char *function, llvm::json::Value value, char **out) {
  std::string text;
  llvm::raw_string_ostream(text) << value;
  *out = strdup(text.c_str());
  return *out ? ESPMM_OK : report(makeError(ESPMM_INTERNAL, llvm::Twine(function) + ": out of memory"));
}

static Sizes sizesOf(const int64_t sizes[3]) { return {sizes[0], sizes[1], sizes[2]}; }

/// The i-th of a list that a manifest has; null, and an error, if there is none.
template <typename T> static const T *at(const std::vector<T> &list, size_t i, const char *function) {
  if (i < list.size())
    return &list[i];
  report(makeError(ESPMM_INVALID, llvm::Twine(function) + ": the program has " + llvm::Twine(list.size()) + ", got number " + llvm::Twine(i)));
  return nullptr;
}

static espmm_status describe(const std::vector<TensorInfo> &list, size_t i, espmm_tensor *tensor, const char *function) {
  const TensorInfo *found = at(list, i, function);
  if (!found)
    return ESPMM_INVALID;
  *tensor = {found->name.c_str(), elementName(found->element).data(), espmm_rows(found->rows), found->width, found->align, found->used};
  return ESPMM_OK;
}

extern "C" {

const char *espmm_version(void) { return versionString(); }

const char *espmm_llvm_version(void) { return llvmVersionString(); }

const char *espmm_last_error(void) { return lastError(); }

void espmm_free(char *text) { std::free(text); }

void espmm_executable_release(espmm_executable *exe) { delete exe; }

const char *espmm_executable_manifest(const espmm_executable *exe) {
  return exe ? exe->executable->manifestText().c_str() : nullptr;
}

espmm_status espmm_program_gradient(const char *program, int *needs, size_t *num_arguments, int *present, size_t num_results, char **out) {
  if (!program || !needs || !num_arguments || !present || !out)
    return nullArgument("espmm_program_gradient", !program ? "program" : !needs ? "needs" : !num_arguments ? "num_arguments" : !present ? "present" : "out");
  llvm::Expected<ProgramText> parsed = ProgramText::parse(program);
  if (!parsed)
    return report(parsed.takeError());
  if (parsed->arguments.size() > *num_arguments || parsed->terms.size() != num_results)
    return report(makeError(ESPMM_INVALID, "espmm_program_gradient: the program has " + llvm::Twine(parsed->arguments.size()) + " arguments and " +
                                               llvm::Twine(parsed->terms.size()) + " results, got " + llvm::Twine(*num_arguments) + " and " +
                                               llvm::Twine(num_results)));
  *num_arguments = parsed->arguments.size();
  auto chosen = [](const int *flags, size_t count) {
    std::vector<int64_t> numbers;
    for (size_t i = 0; i < count; ++i)
      if (flags[i])
        numbers.push_back(int64_t(i));
    return numbers;
  };
  std::optional<ProgramText::Derivative> step = pruned(*parsed, chosen(needs, *num_arguments), chosen(present, num_results));
  *out = nullptr;
  std::fill_n(needs, *num_arguments, 0);
  std::fill_n(present, num_results, 0);
  if (!step)
    return ESPMM_OK;
  llvm::Expected<std::string> text = derivative(program, *step);
  if (!text)
    return report(text.takeError());
  for (int64_t i : step->wrt)
    needs[i] = 1;
  for (int64_t i : step->cotangents)
    present[i] = 1;
  *out = strdup(text->c_str());
  return *out ? ESPMM_OK : report(makeError(ESPMM_INTERNAL, "espmm_program_gradient: out of memory"));
}

espmm_status espmm_executable_signature(const espmm_executable *exe, espmm_signature *signature) {
  if (!exe || !signature)
    return nullArgument("espmm_executable_signature", !exe ? "exe" : "signature");
  const Manifest &manifest = exe->executable->manifest();
  *signature = {manifest.graph, manifest.arguments.size(), manifest.plan.size(), manifest.results.size()};
  return ESPMM_OK;
}

espmm_status espmm_executable_argument(const espmm_executable *exe, size_t i, espmm_tensor *tensor) {
  if (!exe || !tensor)
    return nullArgument("espmm_executable_argument", !exe ? "exe" : "tensor");
  espmm_status status = describe(exe->executable->manifest().arguments, i, tensor, "espmm_executable_argument");
  if (status == ESPMM_OK && i < exe->names.size())
    tensor->name = exe->names[i].c_str();
  return status;
}

espmm_status espmm_executable_result(const espmm_executable *exe, size_t i, espmm_tensor *tensor) {
  if (!exe || !tensor)
    return nullArgument("espmm_executable_result", !exe ? "exe" : "tensor");
  return describe(exe->executable->manifest().results, i, tensor, "espmm_executable_result");
}

espmm_status espmm_executable_plan(const espmm_executable *exe, size_t i, espmm_rows *side, espmm_plan_array *array) {
  if (!exe || !side || !array)
    return nullArgument("espmm_executable_plan", !exe ? "exe" : !side ? "side" : "array");
  const PlanInfo *found = at(exe->executable->manifest().plan, i, "espmm_executable_plan");
  if (!found)
    return ESPMM_INVALID;
  *side = espmm_rows(found->side);
  *array = espmm_plan_array(found->array);
  return ESPMM_OK;
}

espmm_status espmm_executable_load(espmm_executable *exe, int device) {
  if (!exe)
    return nullArgument("espmm_executable_load", "exe");
  return report(exe->executable->load(device));
}

espmm_status espmm_executable_use(espmm_executable *exe, int device, char **out) {
  if (!exe || !out)
    return nullArgument("espmm_executable_use", !exe ? "exe" : "out");
  llvm::Expected<std::vector<cuda::KernelUse>> uses = exe->executable->kernelUse(device);
  if (!uses)
    return report(uses.takeError());
  llvm::json::Array kernels;
  for (const cuda::KernelUse &use : *uses)
    kernels.push_back(llvm::json::Object{
        {"name", use.kernel}, {"registers", use.registers}, {"local_bytes", use.localBytes}, {"static_shared_bytes", use.staticShared}});
  return giveJson("espmm_executable_use", std::move(kernels), out);
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

void espmm_follow_num_threads(int threads) { followNumThreads(threads); }

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
