//===- Autograd.cpp - derivatives of espmm::run for programs without Python ===//
//
// Autograd is not in PyTorch's stable ABI: this is a library of its own, libespmm_torch_autograd.so, for the one torch that it is built with. Where
// espmm's Python is, it is not to be loaded: python/espmm/operators.py registers the same.
//
#include "espmm-c/espmm.h"
#include "Operators.h"
#include "Programs.h"
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>
#include <map>
#include <mutex>
#include <tuple>
#include <utility>

namespace espmm::torch_ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr size_t moduleArgument = 1 + planArrays + maxTensors, numArguments = moduleArgument + 1;

/// A call that is on its way: its arguments on the stack, then its results.
struct Call {
  const c10::OperatorHandle &op;
  torch::jit::Stack *stack;

  std::optional<at::Tensor> tensor(size_t i) const { return torch::jit::peek(*stack, i, numArguments).toOptional<at::Tensor>(); }
};

c10::IValue orNone(const at::Tensor &tensor) { return tensor.defined() ? c10::IValue(tensor) : c10::IValue(); }

/// What espmm_program_gradient says, asked once. Grows only, and is never destroyed.
struct Gradient {
  std::string program; // "" if there is none
  size_t count = maxTensors;
  std::vector<int> needs, present;
};

const Gradient &gradientOf(const std::string &program, std::vector<int> needs, std::vector<int> present) {
  static auto &mutex = *new std::mutex;
  static auto &known = *new std::map<std::tuple<std::string, std::vector<int>, std::vector<int>>, Gradient>;
  std::lock_guard<std::mutex> lock(mutex);
  auto [entry, isNew] = known.try_emplace({program, needs, present});
  Gradient &gradient = entry->second;
  if (!isNew)
    return gradient;
  char *text = nullptr;
  if (espmm_program_gradient(program.c_str(), needs.data(), &gradient.count, present.data(), present.size(), &text) != ESPMM_OK) {
    known.erase(entry);
    TORCH_CHECK(false, espmm_last_error());
  }
  gradient.program = text ? text : "";
  espmm_free(text);
  gradient.needs = std::move(needs);
  gradient.present = std::move(present);
  return gradient;
}

/// What an error of a gradient says of the module.
std::string ofGradient(const std::string &module) {
  const char *const prefix = "backward of ";
  return module.empty() || module.rfind(prefix, 0) == 0 ? module : prefix + module;
}

struct Run : torch::autograd::Function<Run> {
  /// The tensors are seen by autograd, the plan is not. What is None is saved as undefined.
  template <typename... Tensors> static variable_list forward(AutogradContext *ctx, Call *call, const Tensors &...tensors) {
    ctx->saved_data["program"] = torch::jit::peek(*call->stack, 0, numArguments);
    ctx->saved_data["module"] = torch::jit::peek(*call->stack, moduleArgument, numArguments);
    variable_list saved;
    for (size_t i = 1; i <= planArrays; ++i)
      saved.push_back(call->tensor(i).value_or(at::Tensor()));
    (saved.push_back(tensors.value_or(at::Tensor())), ...);
    ctx->save_for_backward(std::move(saved));
    ctx->set_materialize_grads(false);
    at::AutoDispatchBelowADInplaceOrView guard;
    call->op.callBoxed(call->stack);
    return torch::jit::pop(*call->stack).toTensorVector();
  }

  static variable_list backward(AutogradContext *ctx, const variable_list &cotangents) {
    std::string program = ctx->saved_data["program"].toStringRef();
    variable_list saved = ctx->get_saved_variables();
    std::vector<int> needs(maxTensors), present(cotangents.size());
    for (size_t i = 0, edge = 0; i < maxTensors; ++i) // autograd counts those that are there
      needs[i] = saved[planArrays + i].defined() && ctx->needs_input_grad(edge++);
    for (size_t i = 0; i < cotangents.size(); ++i)
      present[i] = cotangents[i].defined();
    variable_list gradients(1 + maxTensors); // the call has none
    const Gradient &gradient = gradientOf(program, std::move(needs), std::move(present));
    if (gradient.program.empty())
      return gradients;
    torch::jit::Stack stack = {gradient.program};
    for (size_t i = 0; i < planArrays + gradient.count; ++i)
      stack.push_back(orNone(saved[i]));
    for (size_t i = 0; i < cotangents.size(); ++i)
      if (gradient.present[i])
        stack.push_back(cotangents[i]);
    TORCH_CHECK(stack.size() <= moduleArgument, "expected a derivative of at most ", maxTensors, " tensors, got ", stack.size() - 1 - planArrays);
    stack.resize(moduleArgument);
    stack.push_back(ofGradient(ctx->saved_data["module"].toStringRef()));
    static const c10::OperatorHandle run = c10::Dispatcher::singleton().findSchemaOrThrow("espmm::run", "");
    run.callBoxed(&stack); // through autograd again, for the next order
    std::vector<at::Tensor> results = stack.back().toTensorVector();
    auto next = results.begin();
    for (size_t i = 0; i < gradient.count; ++i)
      if (gradient.needs[i])
        gradients[1 + i] = std::move(*next++);
    return gradients;
  }
};

template <size_t... i> variable_list apply(Call *call, std::index_sequence<i...>) {
  std::array<std::optional<at::Tensor>, sizeof...(i)> tensors = {call->tensor(1 + planArrays + i)...};
  return Run::apply(call, tensors[i]...);
}

void differentiably(const c10::OperatorHandle &op, c10::DispatchKeySet, torch::jit::Stack *stack) {
  Call call{op, stack};
  variable_list results = apply(&call, std::make_index_sequence<maxTensors>());
  stack->emplace_back(c10::List<at::Tensor>(results));
}

} // namespace

} // namespace espmm::torch_ops

TORCH_LIBRARY_IMPL(espmm, Autograd, library) {
  library.impl("run", torch::CppFunction::makeFromBoxedFunction<&espmm::torch_ops::differentiably>());
}
