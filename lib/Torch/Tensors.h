//===- Tensors.h - what the operators use of torch -----------------------===//
//
// All of it is in PyTorch's stable ABI. An exception's class is what Python makes of it: std::invalid_argument is a ValueError,
// std::out_of_range an IndexError, std::runtime_error a RuntimeError.
//
#ifndef ESPMM_LIB_TORCH_TENSORS_H
#define ESPMM_LIB_TORCH_TENSORS_H

#include "espmm-c/espmm.h"
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>
#include <vector>

namespace espmm::torch_ops {

using Tensor = torch::stable::Tensor;
using TensorList = std::vector<Tensor>;

/// Throws if a function of torch's failed. Torch's own message is known from 2.13 on; before, it is on stderr.
void check(AOTITorchError error, const char *what);

/// Throws if a function of libespmm failed, with its message.
void check(espmm_status status);

/// A string argument of an operator. Released at the end; nothing is copied.
class String {
public:
  explicit String(StableIValue value) : handle(reinterpret_cast<StringHandle>(value)) {}
  ~String() { torch_delete_string(handle); }
  String(const String &) = delete;
  String &operator=(const String &) = delete;
  /// With a null character after its end.
  std::string_view view() const;

private:
  StringHandle handle;
};

/// What \p body gives; an exception of its begins with the path of a module in a model, if there is one.
template <typename Body> auto inModule(std::string_view module, Body body) -> decltype(body()) {
  if (module.empty())
    return body();
  auto named = [&](const std::exception &error) { return std::string(module) + ": " + error.what(); };
  try {
    return body();
  } catch (const std::invalid_argument &error) {
    throw std::invalid_argument(named(error));
  } catch (const std::out_of_range &error) {
    throw std::out_of_range(named(error));
  } catch (const std::exception &error) {
    throw std::runtime_error(named(error));
  }
}

struct Place {
  int32_t type, index;
  bool isCpu() const { return type == aoti_torch_device_type_cpu(); }
  /// What libespmm calls it.
  int number() const { return isCpu() ? -1 : index; }
  std::string str() const;
  bool operator==(const Place &other) const { return type == other.type && (index == other.index || isCpu()); }
};

Place placeOf(const Tensor &tensor);
int32_t dtypeOf(const Tensor &tensor);
/// "float32"; "another type" for those of which there is none here.
const char *dtypeName(int32_t dtype);
/// "(3, 4)"
std::string shapeOf(const Tensor &tensor);

/// New memory, contiguous, from torch's allocator, of one axis or two.
Tensor empty(std::initializer_list<int64_t> shape, int32_t dtype, Place place);
Tensor zeros(std::initializer_list<int64_t> shape, int32_t dtype, Place place);

/// The tensor, contiguous and at a multiple of `align` bytes; itself if it is so already.
Tensor prepared(const Tensor &tensor, int64_t align);

/// The CUstream on which torch is working on a CUDA device.
void *currentStream(int32_t device);

} // namespace espmm::torch_ops

#endif
