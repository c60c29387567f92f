//===- Plan.cpp - espmm::plan: edges grouped by one end ------------------===//
#include "Operators.h"
#include "Tensors.h"
#include <numeric>
#include <stdexcept>
#include <torch/csrc/stable/ops.h>

namespace espmm::torch_ops {

namespace {

using torch::headeronly::ScalarType;
using torch::stable::detail::from;

constexpr int64_t parts = 64;

/// One of torch's operators, by name.
template <size_t results = 1, typename... Arguments>
std::vector<Tensor> call(const char *name, const char *overload, const Arguments &...arguments) {
  StableIValue stack[] = {from(arguments)...};
  static_assert(results <= sizeof...(Arguments));
  check(torch_call_dispatcher(name, overload, stack, TORCH_ABI_VERSION), name);
  std::vector<Tensor> given;
  for (size_t i = 0; i < results; ++i)
    given.push_back(torch::stable::detail::to<Tensor>(stack[i]));
  return given;
}

Tensor toInt64(const Tensor &tensor) { return torch::stable::to(tensor, ScalarType::Long); }
Tensor toInt32(const Tensor &tensor) { return torch::stable::to(tensor, ScalarType::Int); }
Tensor times(const Tensor &a, const Tensor &b) { return call("aten::mul", "Tensor", a, b)[0]; }

/// Over the first axis.
Tensor sumOfRows(const Tensor &tensor) {
  int64_t axis = 0;
  return torch::stable::sum(tensor, torch::headeronly::IntHeaderOnlyArrayRef(&axis, 1));
}

/// For each value the number of elements of a sorted array before it, int32.
Tensor countBefore(const Tensor &sorted, const Tensor &values) {
  return call("aten::searchsorted", "Tensor", sorted, values, /*out_int32=*/true, /*right=*/false, std::optional<std::string>(),
              std::optional<Tensor>())[0];
}

struct Edges {
  Tensor index, other;
  int64_t count, numNodes, numOther;
};

/// Throws for the first edge with an index out of range; the arrays are int64, on the host.
void checkRange(const Edges &edges) {
  const int64_t *index = edges.index.const_data_ptr<int64_t>(), *other = edges.other.const_data_ptr<int64_t>();
  for (int64_t edge = 0; edge < edges.count; ++edge) {
    bool first = index[edge] < 0 || index[edge] >= edges.numNodes;
    if (!first && other[edge] >= 0 && other[edge] < edges.numOther)
      continue;
    std::string name = first ? "index" : "other", number = std::to_string(edge);
    throw std::out_of_range(name + "[" + number + "] = " + std::to_string((first ? index : other)[edge]) + " is out of range: edge " + number +
                            " names a node outside 0 <= " + name + " < " + std::to_string(first ? edges.numNodes : edges.numOther));
  }
}

TensorList onHost(const Edges &edges) {
  Place cpu = placeOf(edges.index);
  TensorList arrays;
  for (int64_t length : {edges.numNodes + 1, edges.count, edges.count, parts + 1})
    arrays.push_back(empty({length}, aoti_torch_dtype_int32(), cpu));
  auto array = [&](size_t i) { return static_cast<int32_t *>(arrays[i].data_ptr()); };
  int sorted = 0;
  int64_t bad = -1;
  bool isInt32 = dtypeOf(edges.index) == aoti_torch_dtype_int32();
  espmm_status status = espmm_plan_build(edges.index.data_ptr(), edges.other.data_ptr(), isInt32 ? 32 : 64, edges.count, edges.numNodes,
                                         edges.numOther, array(0), array(1), array(2), array(3), &sorted, &bad);
  if (status == ESPMM_OUT_OF_RANGE)
    checkRange({toInt64(edges.index), toInt64(edges.other), edges.count, edges.numNodes, edges.numOther});
  check(status);
  if (sorted)
    std::iota(array(1), array(1) + edges.count, 0);
  return arrays;
}

/// The same by torch's operators, on its current stream. Waits for the device once, to check the indices.
TensorList onDevice(const Edges &edges) {
  torch::stable::Device device = edges.index.device();
  auto filled = [&](int64_t length, int64_t value) {
    return torch::stable::full({&length, 1}, double(value), ScalarType::Long, std::nullopt, device);
  };
  auto range = [&](int64_t length) { // 0, 1, ... (arange and subtract take scalars, which the ABI has not, or as floating point only)
    Tensor ones = call("aten::cat", "", TensorList{filled(1, 0), filled(length - 1, 1)}, int64_t(0))[0];
    return call("aten::cumsum", "", ones, int64_t(0), std::optional<ScalarType>())[0];
  };
  Tensor index = toInt64(edges.index), other = toInt64(edges.other);
  if (edges.count) {
    TensorList extremes;
    for (const Tensor &each : {index, other})
      for (const Tensor &extreme : call<2>("aten::aminmax", "", each, std::optional<int64_t>(), false))
        extremes.push_back(extreme);
    Tensor found = torch::stable::to(call("aten::stack", "", extremes, int64_t(0))[0], torch::stable::Device(torch::headeronly::DeviceType::CPU));
    const int64_t *bounds = found.const_data_ptr<int64_t>();
    if (bounds[0] < 0 || bounds[1] >= edges.numNodes || bounds[2] < 0 || bounds[3] >= edges.numOther) {
      torch::stable::Device cpu(torch::headeronly::DeviceType::CPU);
      checkRange({torch::stable::to(index, cpu), torch::stable::to(other, cpu), edges.count, edges.numNodes, edges.numOther});
    }
  }
  TensorList sorted = call<2>("aten::sort", "stable", index, std::optional<bool>(true), int64_t(-1), false);
  Tensor nodes = range(edges.numNodes + 1);
  Tensor offsets = countBefore(sorted[0], nodes);
  // Runs of nodes of about equal work, edges and nodes counted: run p ends where the work passes (p + 1) / parts of the whole.
  Tensor work = sumOfRows(call("aten::stack", "", TensorList{toInt64(offsets), nodes}, int64_t(0))[0]);
  Tensor targets = times(torch::stable::narrow(work, 0, edges.numNodes, 1), range(parts + 1));
  return {offsets, toInt32(sorted[1]), toInt32(call("aten::index_select", "", other, int64_t(0), sorted[1])[0]),
          countBefore(times(work, filled(1, parts)), targets)};
}

void checkIndex(const char *name, const Tensor &index) {
  int32_t dtype = dtypeOf(index);
  if (dtype != aoti_torch_dtype_int32() && dtype != aoti_torch_dtype_int64())
    throw std::invalid_argument(std::string("expected ") + name + " to be int32 or int64, got " + dtypeName(dtype));
  if (index.dim() != 1)
    throw std::invalid_argument(std::string("expected ") + name + " to have one axis (edges,), got shape " + shapeOf(index));
}

TensorList planOf(Tensor index, Tensor other, const Tensor &nodes, const Tensor &others) {
  checkIndex("index", index);
  checkIndex("other", other);
  if (index.size(0) != other.size(0))
    throw std::invalid_argument("expected as many elements of index as of other, got " + std::to_string(index.size(0)) + " and " +
                                std::to_string(other.size(0)));
  if (!(placeOf(index) == placeOf(other)))
    throw std::invalid_argument("expected index and other on one device, got " + placeOf(index).str() + " and " + placeOf(other).str());
  if (nodes.dim() == 0 || others.dim() == 0)
    throw std::invalid_argument("expected nodes and others to have a row for each node, got shapes " + shapeOf(nodes) + " and " + shapeOf(others));
  if (dtypeOf(index) != dtypeOf(other)) {
    index = toInt64(index);
    other = toInt64(other);
  }
  Edges edges{torch::stable::contiguous(index), torch::stable::contiguous(other), index.size(0), nodes.size(0), others.size(0)};
  for (int64_t count : {edges.count, edges.numNodes, edges.numOther})
    if (count >= int64_t(1) << 31)
      throw std::invalid_argument("expected fewer than 2^31 edges and nodes, got " + std::to_string(count));
  return placeOf(index).isCpu() ? onHost(edges) : onDevice(edges);
}

} // namespace

void plan(StableIValue *stack, uint64_t, uint64_t) {
  auto take = [stack](int i) { return torch::stable::detail::to<Tensor>(stack[i]); };
  Tensor index = take(0), other = take(1), nodes = take(2), others = take(3);
  String module(stack[4]);
  TensorList arrays = inModule(module.view(), [&] { return planOf(index, other, nodes, others); });
  for (size_t i = 0; i < arrays.size(); ++i)
    stack[i] = from(arrays[i]);
}

} // namespace espmm::torch_ops
