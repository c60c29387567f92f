//===- Operators.cpp - the operators' names, and what they use of torch --===//
//
// Shapes for tracers and the autograd formula are not in the stable ABI: python/espmm/operators.py registers them.
//
#include "Operators.h"
#include "Programs.h"
#include "Tensors.h"
#include <algorithm>
#include <dlfcn.h>
#include <mutex>
#include <set>
#include <stdexcept>
#include <torch/csrc/stable/ops.h>

namespace espmm::torch_ops {

void check(AOTITorchError error, const char *what) {
  if (error == AOTI_TORCH_SUCCESS)
    return;
  using Function = const char *(*)();
  static const auto message = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, "torch_exception_get_what_without_backtrace"));
  throw std::runtime_error(std::string(what) + " failed" + (message ? std::string(": ") + message() : " (torch's message is on stderr)"));
}

void check(espmm_status status) {
  switch (status) {
  case ESPMM_OK:
    return;
  case ESPMM_INVALID:
  case ESPMM_UNSUPPORTED:
    throw std::invalid_argument(espmm_last_error());
  case ESPMM_OUT_OF_RANGE:
    throw std::out_of_range(espmm_last_error());
  case ESPMM_NO_DEVICE:
  case ESPMM_INTERNAL:
    break;
  }
  throw std::runtime_error(espmm_last_error());
}

std::string_view String::view() const {
  size_t length = 0;
  const char *data = nullptr;
  check(torch_string_length(handle, &length), "torch_string_length");
  check(torch_string_c_str(handle, &data), "torch_string_c_str");
  return {data, length};
}

std::string Place::str() const {
  if (isCpu())
    return "cpu";
  return (type == aoti_torch_device_type_cuda() ? "cuda:" : "another device:") + std::to_string(index);
}

Place placeOf(const Tensor &tensor) {
  Place place;
  check(aoti_torch_get_device_type(tensor.get(), &place.type), "aoti_torch_get_device_type");
  check(aoti_torch_get_device_index(tensor.get(), &place.index), "aoti_torch_get_device_index");
  return place;
}

int32_t dtypeOf(const Tensor &tensor) {
  int32_t dtype;
  check(aoti_torch_get_dtype(tensor.get(), &dtype), "aoti_torch_get_dtype");
  return dtype;
}

const char *dtypeName(int32_t dtype) {
  const std::pair<int32_t, const char *> names[] = {
      {aoti_torch_dtype_float32(), "float32"},   {aoti_torch_dtype_float64(), "float64"}, {aoti_torch_dtype_float16(), "float16"},
      {aoti_torch_dtype_bfloat16(), "bfloat16"}, {aoti_torch_dtype_int32(), "int32"},     {aoti_torch_dtype_int64(), "int64"},
      {aoti_torch_dtype_bool(), "bool"},         {aoti_torch_dtype_uint8(), "uint8"},     {aoti_torch_dtype_int16(), "int16"}};
  for (auto [number, name] : names)
    if (number == dtype)
      return name;
  return "another type";
}

std::string shapeOf(const Tensor &tensor) {
  std::string text = "(";
  for (int64_t axis = 0; axis < tensor.dim(); ++axis)
    text += (axis ? ", " : "") + std::to_string(tensor.size(axis));
  return text + (tensor.dim() == 1 ? ",)" : ")");
}

Tensor empty(std::initializer_list<int64_t> shape, int32_t dtype, Place place) {
  int64_t last = *(shape.end() - 1), strides[2] = {1, 1};
  strides[0] = shape.size() == 1 ? 1 : std::max<int64_t>(last, 1);
  AtenTensorHandle handle;
  check(aoti_torch_empty_strided(int64_t(shape.size()), shape.begin(), strides, dtype, place.type, place.index, &handle), "allocating a tensor");
  return Tensor(handle);
}

Tensor zeros(std::initializer_list<int64_t> shape, int32_t dtype, Place place) {
  Tensor tensor = empty(shape, dtype, place);
  check(aoti_torch_zero_(tensor.get()), "aoti_torch_zero_");
  return tensor;
}

Tensor prepared(const Tensor &tensor, int64_t align) {
  Tensor result = tensor.is_contiguous() ? tensor : torch::stable::contiguous(tensor);
  if (uintptr_t(result.data_ptr()) % uintptr_t(align) == 0)
    return result;
  AtenTensorHandle copy;
  check(aoti_torch_clone(result.get(), &copy), "aoti_torch_clone");
  return Tensor(copy);
}

void *currentStream(int32_t device) {
  // In torch's library for CUDA, which is loaded already wherever there is a tensor on a GPU, and is not there in a torch for the CPU. (The
  // function of libtorch_cpu gives torch's number of the stream only, before 2.13.)
  using Function = AOTITorchError (*)(int32_t, void **);
  static const Function function = [] {
    void *library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
    return library ? reinterpret_cast<Function>(dlsym(library, "aoti_torch_get_current_cuda_stream")) : nullptr;
  }();
  if (!function)
    throw std::runtime_error("libtorch_cuda.so is not loaded, or has no aoti_torch_get_current_cuda_stream");
  void *stream = nullptr;
  check(function(device, &stream), "aoti_torch_get_current_cuda_stream");
  return stream;
}

/// "_launch.of3to1(int program, int words, int count, Tensor t0, Tensor t1, Tensor t2) -> Tensor"
static std::string launchSchema(const std::string &name, int64_t tensors, int64_t results) {
  std::string schema = name + "(int program, int words, int count", type;
  for (int64_t i = 0; i < tensors; ++i)
    schema += ", Tensor t" + std::to_string(i);
  for (int64_t i = 0; i < results; ++i)
    type += i ? ", Tensor" : "Tensor";
  return schema + ") -> " + (results == 1 ? type : "(" + type + ")");
}

/// An overload for each number of tensors and of results, when a program first has so many: a list of tensors takes longer to hand over than a small kernel to run.
void defineLaunch(StableIValue *stack, uint64_t, uint64_t) {
  using Library = torch::stable::detail::StableLibrary;
  static std::mutex mutex;
  static auto &known = *new std::set<std::string>;
  int64_t tensors = torch::stable::detail::to<int64_t>(stack[0]), results = torch::stable::detail::to<int64_t>(stack[1]);
  std::string name = "_launch.of" + std::to_string(tensors) + "to" + std::to_string(results);
  std::lock_guard<std::mutex> lock(mutex);
  if (known.count(name))
    return;
  // Never released: what they register would go with them.
  auto library = [](Library::Kind kind, const char *key) { return new Library(kind, "espmm", key, __FILE__, __LINE__); };
  library(Library::Kind::FRAGMENT, nullptr)->def(launchSchema(name, tensors, results).c_str());
  for (const char *key : {"CPU", "CUDA"})
    library(Library::Kind::IMPL, key)->impl(name.c_str(), launch);
  known.insert(name);
}

} // namespace espmm::torch_ops

/// No lists of tensors among the arguments: the stable ABI takes the tensors out of a list that it hands over (torch 2.10 to 2.13), which
/// empties the caller's where TorchScript is the caller, and that may give several calls one list.
static std::string runSchema() {
  using namespace espmm::torch_ops;
  std::string schema = "run(str program";
  for (size_t i = 0; i < planArrays; ++i) {
    std::string name = planArrayName(i);
    schema += ", Tensor? " + name.replace(name.find('.'), 1, "_");
  }
  for (size_t i = 0; i < maxTensors; ++i)
    schema += ", Tensor? t" + std::to_string(i) + "=None";
  return schema + ", *, str module=\"\") -> Tensor[]";
}

STABLE_TORCH_LIBRARY(espmm, library) {
  library.def(runSchema().c_str());
  library.def("plan(Tensor index, Tensor other, Tensor nodes, Tensor others, *, str module=\"\") -> (Tensor, Tensor, Tensor, Tensor)");
  // For espmm's Python alone, which has checked everything: addresses, of an executable, of a program, and of sizes and a plan's arrays.
  library.def("_program(int executable) -> int");
  library.def("_define_launch(int tensors, int results) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(espmm, CompositeExplicitAutograd, library) {
  library.impl("_program", espmm::torch_ops::program);
  library.impl("_define_launch", espmm::torch_ops::defineLaunch);
}

STABLE_TORCH_LIBRARY_IMPL(espmm, CPU, library) {
  library.impl("run", espmm::torch_ops::run);
  library.impl("plan", espmm::torch_ops::plan);
}

STABLE_TORCH_LIBRARY_IMPL(espmm, CUDA, library) {
  library.impl("run", espmm::torch_ops::run);
  library.impl("plan", espmm::torch_ops::plan);
}
