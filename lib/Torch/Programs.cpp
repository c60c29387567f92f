#include "Programs.h"
#include "Tensors.h"
#include <atomic>
#include <memory>
#include <stdexcept>

namespace espmm::torch_ops {

const char *planArrayName(size_t i) {
  static const char *const names[planArrays] = {"receivers.offsets", "receivers.order", "receivers.other", "receivers.parts",
                                                "senders.offsets",   "senders.order",   "senders.other",   "senders.parts"};
  return names[i];
}

static int32_t dtypeNamed(std::string_view name) {
  if (name == "f64")
    return aoti_torch_dtype_float64();
  if (name == "bf16")
    return aoti_torch_dtype_bfloat16();
  return name == "f16" ? aoti_torch_dtype_float16() : aoti_torch_dtype_float32();
}

static Program::Spec specOf(const espmm_tensor &tensor) {
  return {tensor.name, dtypeNamed(tensor.dtype), tensor.rows, tensor.width, tensor.align, tensor.used != 0};
}

static std::unique_ptr<Program> describe(espmm_executable *executable) {
  auto program = std::make_unique<Program>();
  program->executable = executable;
  espmm_signature signature;
  check(espmm_executable_signature(program->executable, &signature));
  program->graph = signature.graph;
  espmm_tensor tensor;
  for (size_t i = 0; i < signature.arguments; ++i) {
    check(espmm_executable_argument(program->executable, i, &tensor));
    program->arguments.push_back(specOf(tensor));
  }
  for (size_t i = 0; i < signature.results; ++i) {
    check(espmm_executable_result(program->executable, i, &tensor));
    program->results.push_back(specOf(tensor));
  }
  for (size_t i = 0; i < signature.plan_arrays; ++i) {
    espmm_rows side;
    espmm_plan_array array;
    check(espmm_executable_plan(program->executable, i, &side, &array));
    // Segments are whole nodes here: they are named by their numbers.
    program->plan.push_back(array == ESPMM_NODES ? -1 : (side == ESPMM_SENDERS ? 4 : 0) + int(array));
  }
  return program;
}

const Program *programOf(espmm_executable *executable) { return describe(executable).release(); }

static std::unique_ptr<Program> load(const char *text, int device) {
  espmm_executable *executable = nullptr;
  // Never released: a captured graph may launch its kernels at any time.
  check(espmm_program_load(text, device, &executable));
  return describe(executable);
}

namespace {

struct Entry {
  std::string text;
  int device;
  std::unique_ptr<Program> program;
  Entry *next;
};

/// Grows only, one entry at a time; never destroyed, as threads may outlive static objects.
constexpr size_t numBuckets = 1024;
std::atomic<Entry *> buckets[numBuckets];

const Entry *find(const Entry *entry, std::string_view text, int device) {
  while (entry && (entry->device != device || entry->text != text))
    entry = entry->next;
  return entry;
}

} // namespace

const Program &programOf(std::string_view text, int device) {
  // Programs nearly always differ in length: reading all of them for a hash would take longer than comparing with one.
  std::atomic<Entry *> &bucket = buckets[(text.size() * 33 + size_t(device + 1)) % numBuckets];
  if (const Entry *found = find(bucket.load(std::memory_order_acquire), text, device))
    return *found->program;
  auto fresh = std::make_unique<Entry>(Entry{std::string(text), device, load(text.data(), device), nullptr});
  fresh->next = bucket.load(std::memory_order_acquire);
  do {
    // Another thread may have been faster: then there is this program twice, and one executable.
    if (const Entry *found = find(fresh->next, text, device))
      return *found->program;
  } while (!bucket.compare_exchange_weak(fresh->next, fresh.get(), std::memory_order_acq_rel, std::memory_order_acquire));
  return *fresh.release()->program;
}

} // namespace espmm::torch_ops
