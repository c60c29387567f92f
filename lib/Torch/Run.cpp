//===- Run.cpp - espmm::run: a program on tensors ------------------------===//
#include "Operators.h"
#include "Programs.h"
#include "Tensors.h"
#include <algorithm>
#include <optional>
#include <stdexcept>

namespace espmm::torch_ops {

namespace {

struct Sizes {
  int64_t values[3]; // E, R, S
  int64_t rows(const Program::Spec &spec) const { return spec.rows == ESPMM_ALL ? 1 : values[spec.rows]; }
};

std::string list(const std::vector<Program::Spec> &specs) {
  std::string text;
  for (const Program::Spec &spec : specs)
    text += (text.empty() ? "" : ", ") + spec.name;
  return text;
}

/// The arguments of the operator that may be None.
using Optionals = std::vector<std::optional<Tensor>>;

TensorList checkedPlan(const Program &program, const Optionals &given) {
  TensorList plan;
  for (size_t i = 0; i < given.size(); ++i)
    if (given[i].has_value() != program.graph)
      throw std::invalid_argument(program.graph ? std::string("expected ") + planArrayName(i) + " for a convolution, got None"
                                                : std::string("expected no plan for a product without a graph, got ") + planArrayName(i));
    else if (program.graph)
      plan.push_back(*given[i]);
  return plan;
}

void checkCount(const Program &program, const Optionals &tensors) {
  size_t count = tensors.size();
  while (count && !tensors[count - 1])
    --count;
  size_t expected = program.arguments.size();
  if (expected > tensors.size())
    throw std::invalid_argument("expected a program of at most " + std::to_string(tensors.size()) + " tensors, got one of " + std::to_string(expected));
  for (size_t i = 0; i < std::max(count, expected); ++i)
    if (i >= expected || (program.arguments[i].used && !tensors[i]))
      throw std::invalid_argument("expected " + std::to_string(expected) + " tensors (" + list(program.arguments) + "), got " +
                                  (i >= expected ? std::to_string(count) : "None for " + program.arguments[i].name));
}

void checkPlan(const TensorList &plan, Place place) {
  for (size_t i = 0; i < plan.size(); ++i) {
    if (dtypeOf(plan[i]) != aoti_torch_dtype_int32() || plan[i].dim() != 1 || !plan[i].is_contiguous())
      throw std::invalid_argument(std::string("expected ") + planArrayName(i) + " to be a contiguous int32 array, got " +
                                  dtypeName(dtypeOf(plan[i])) + " of shape " + shapeOf(plan[i]));
    if (!(placeOf(plan[i]) == place))
      throw std::invalid_argument("expected all tensors on " + place.str() + ", got " + planArrayName(i) + " on " + placeOf(plan[i]).str());
  }
  for (size_t side : {0, 4}) {
    if (plan[side].size(0) == 0)
      throw std::invalid_argument(std::string("expected ") + planArrayName(side) + " to have one element more than there are nodes, got none");
    if (plan[side + 2].size(0) != plan[2].size(0))
      throw std::invalid_argument(std::string("expected ") + planArrayName(side + 2) + " to have " + std::to_string(plan[2].size(0)) +
                                  " elements, got " + std::to_string(plan[side + 2].size(0)));
  }
}

Sizes sizesOf(const Program &program, const Optionals &tensors, const TensorList &plan) {
  if (program.graph)
    return {{plan[2].size(0), plan[0].size(0) - 1, plan[4].size(0) - 1}};
  for (size_t i = 0; i < program.arguments.size(); ++i)
    if (program.arguments[i].used && program.arguments[i].rows == ESPMM_EDGES && tensors[i]->dim() == 2)
      return {{tensors[i]->size(0), 0, 0}};
  return {{0, 0, 0}};
}

void checkTensor(const Program::Spec &spec, const Tensor &tensor, const Sizes &sizes, Place place) {
  if (dtypeOf(tensor) != spec.dtype)
    throw std::invalid_argument("expected " + spec.name + " to be " + dtypeName(spec.dtype) + ", got " + dtypeName(dtypeOf(tensor)));
  if (tensor.dim() != 2 || tensor.size(1) != spec.width || tensor.size(0) != sizes.rows(spec))
    throw std::invalid_argument("expected " + spec.name + " of shape (" + std::to_string(sizes.rows(spec)) + ", " +
                                std::to_string(spec.width) + "), got " + shapeOf(tensor));
  if (!(placeOf(tensor) == place))
    throw std::invalid_argument("expected all tensors on " + place.str() + ", got " + spec.name + " on " + placeOf(tensor).str());
}

/// Launches a program on tensors that have been checked.
class Launch {
public:
  Launch(const Program &program, Place place, const Sizes &sizes) : program(program), place(place), sizes(sizes) {
    buffers.reserve(program.arguments.size() + program.plan.size() + program.results.size());
  }

  void addUnread() { buffers.push_back(nullptr); }
  /// A tensor that lives until it is launched.
  void add(const Tensor &tensor, int64_t align) {
    void *data = tensor.is_contiguous() ? tensor.data_ptr() : nullptr;
    if (!data || uintptr_t(data) % uintptr_t(align)) {
      kept.push_back(prepared(tensor, align));
      data = kept.back().data_ptr();
    }
    buffers.push_back(data);
  }
  /// Of the plan's arrays, after all arguments.
  void add(void *array) { buffers.push_back(array); }

  TensorList run() {
    // Without edges every result is a sum over nothing.
    bool isEmpty = sizes.values[0] == 0;
    TensorList results;
    results.reserve(program.results.size());
    for (const Program::Spec &spec : program.results) {
      results.push_back((isEmpty ? zeros : empty)({sizes.rows(spec), spec.width}, spec.dtype, place));
      buffers.push_back(results.back().data_ptr());
    }
    if (!isEmpty)
      launch();
    return results;
  }

private:
  void launch() {
    int64_t scratchBytes = 0;
    check(espmm_executable_scratch(program.executable, sizes.values, &scratchBytes));
    void *scratch = nullptr, *stream = nullptr;
    alignas(64) unsigned char little[1 << 15]; // asking torch takes longer than a small kernel
    if (place.isCpu() && scratchBytes <= int64_t(sizeof little)) {
      scratch = little;
    } else if (scratchBytes) {
      kept.push_back(empty({scratchBytes}, aoti_torch_dtype_uint8(), place));
      scratch = kept.back().data_ptr();
    }
    if (place.isCpu()) {
      uint32_t threads = 1;
      check(torch_get_num_threads(&threads), "torch_get_num_threads");
      espmm_follow_num_threads(int(threads));
    } else {
      stream = currentStream(place.index);
    }
    check(espmm_launch(program.executable, place.number(), stream, sizes.values, buffers.data(), buffers.size(), scratch, scratchBytes));
  }

  const Program &program;
  const Place place;
  const Sizes sizes;
  std::vector<void *> buffers;
  TensorList kept; // until it is launched: torch gives memory again to what is put on the same stream after it
};

TensorList runProgram(std::string_view text, const Optionals &tensors, const Optionals &arrays) {
  auto first = std::find_if(tensors.begin(), tensors.end(), [](auto &tensor) { return tensor.has_value(); });
  if (first == tensors.end())
    throw std::invalid_argument("expected the program's tensors, got none");
  Place place = placeOf(**first);
  const Program &program = programOf(text, place.number());
  checkCount(program, tensors);
  TensorList plan = checkedPlan(program, arrays);
  if (program.graph)
    checkPlan(plan, place);
  Sizes sizes = sizesOf(program, tensors, plan);
  Launch launch(program, place, sizes);
  for (size_t i = 0; i < program.arguments.size(); ++i) {
    const Program::Spec &spec = program.arguments[i];
    if (!spec.used) {
      launch.addUnread();
      continue;
    }
    checkTensor(spec, *tensors[i], sizes, place);
    launch.add(*tensors[i], spec.align);
  }
  for (int array : program.plan)
    launch.add(array < 0 || plan[array].numel() == 0 ? nullptr : plan[array].data_ptr());
  return launch.run();
}

/// A program's tensors that it reads, and E, R, S and the addresses of its plan's arrays.
TensorList launchProgram(const Program &program, const TensorList &tensors, const int64_t *words, size_t count) {
  if (tensors.empty() || count < 3 + program.plan.size())
    throw std::invalid_argument("expected the tensors that the program reads, and " + std::to_string(3 + program.plan.size()) + " words, got " +
                                std::to_string(tensors.size()) + " and " + std::to_string(count));
  Launch launch(program, placeOf(tensors[0]), {{words[0], words[1], words[2]}});
  auto next = tensors.begin();
  for (const Program::Spec &spec : program.arguments) {
    if (!spec.used)
      launch.addUnread();
    else if (next == tensors.end())
      throw std::invalid_argument("expected more tensors, got " + std::to_string(tensors.size()));
    else
      launch.add(*next++, spec.align);
  }
  for (size_t i = 3; i < 3 + program.plan.size(); ++i)
    launch.add(reinterpret_cast<void *>(words[i]));
  return launch.run();
}

} // namespace

void run(StableIValue *stack, uint64_t, uint64_t) {
  String program(stack[0]), module(stack[1 + planArrays + maxTensors]);
  Optionals plan, tensors;
  plan.reserve(planArrays);
  tensors.reserve(maxTensors);
  for (size_t i = 1; i <= planArrays + maxTensors; ++i)
    (i <= planArrays ? plan : tensors).push_back(torch::stable::detail::to<std::optional<Tensor>>(stack[i]));
  stack[0] = torch::stable::detail::from(inModule(module.view(), [&] { return runProgram(program.view(), tensors, plan); }));
}

void program(StableIValue *stack, uint64_t, uint64_t) {
  auto *executable = reinterpret_cast<espmm_executable *>(torch::stable::detail::to<int64_t>(stack[0]));
  stack[0] = torch::stable::detail::from(reinterpret_cast<int64_t>(programOf(executable)));
}

void launch(StableIValue *stack, uint64_t arguments, uint64_t results) {
  auto *program = reinterpret_cast<const Program *>(torch::stable::detail::to<int64_t>(stack[0]));
  auto *words = reinterpret_cast<const int64_t *>(torch::stable::detail::to<int64_t>(stack[1]));
  auto count = size_t(torch::stable::detail::to<int64_t>(stack[2]));
  TensorList tensors;
  tensors.reserve(arguments - 3);
  for (uint64_t i = 3; i < arguments; ++i)
    tensors.push_back(torch::stable::detail::to<Tensor>(stack[i]));
  TensorList given = launchProgram(*program, tensors, words, count);
  if (given.size() != results)
    throw std::invalid_argument("expected a program of " + std::to_string(results) + " results, got one of " + std::to_string(given.size()));
  for (uint64_t i = 0; i < results; ++i)
    stack[i] = torch::stable::detail::from(given[i]);
}

} // namespace espmm::torch_ops
