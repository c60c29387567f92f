// A C++ program without Python, as LAMMPS is: loads libespmm_torch_autograd.so and a model that a client has deployed as TorchScript, and runs it.
// Usage: DeployedProgram LIBRARY MODEL ARGUMENTS RESULTS [ENERGY VARIABLE], where ARGUMENTS is a tuple of what the model takes, of which dictionaries of
// tensors, tensors and numbers are read, and RESULTS becomes a tuple of the names and one of the values of the tensors in the dictionary that the model
// gives, both in torch.save's format. With ENERGY, the name of one of these, "gradient" is among them, the gradient of its sum with respect to VARIABLE of
// the first argument.
#include <cstdio>
#include <dlfcn.h>
#include <fstream>
#include <iterator>
#include <torch/csrc/api/include/torch/serialize.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/script.h>

using Tensors = c10::Dict<std::string, at::Tensor>;

static std::vector<c10::IValue> argumentsOf(const char *path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const c10::IValue given = torch::pickle_load(bytes);
  std::vector<c10::IValue> arguments;
  for (const c10::IValue &element : given.toTupleRef().elements()) {
    if (!element.isGenericDict()) {
      arguments.push_back(element);
      continue;
    }
    Tensors tensors; // TorchScript wants the type, which the file does not tell
    for (const auto &entry : element.toGenericDict())
      tensors.insert(entry.key().toStringRef(), entry.value().toTensor());
    arguments.push_back(tensors);
  }
  return arguments;
}

static void run(char **argv, bool differentiates) {
  torch::jit::Module model = torch::jit::load(argv[2]);
  std::vector<c10::IValue> arguments = argumentsOf(argv[3]);
  at::Tensor variable;
  if (differentiates)
    variable = c10::impl::toTypedDict<std::string, at::Tensor>(arguments[0].toGenericDict()).at(argv[6]).requires_grad_();
  std::vector<c10::IValue> names, values;
  at::Tensor energy;
  for (const auto &entry : model.forward(arguments).toGenericDict()) {
    if (!entry.value().isTensor())
      continue;
    names.push_back(entry.key());
    values.push_back(entry.value().toTensor().detach());
    if (differentiates && entry.key().toStringRef() == argv[5])
      energy = entry.value().toTensor();
  }
  if (differentiates) {
    TORCH_CHECK(energy.defined(), "expected ", argv[5], " among the model's results");
    names.push_back("gradient");
    values.push_back(torch::autograd::grad({energy.sum()}, {variable})[0]);
  }
  std::vector<char> bytes = torch::pickle_save(c10::ivalue::Tuple::create(c10::ivalue::Tuple::create(names), c10::ivalue::Tuple::create(values)));
  std::ofstream(argv[4], std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
}

int main(int argc, char **argv) {
  if (argc != 5 && argc != 7) {
    std::fprintf(stderr, "usage: %s LIBRARY MODEL ARGUMENTS RESULTS [ENERGY VARIABLE]\n", argv[0]);
    return 2;
  }
  if (!dlopen(argv[1], RTLD_NOW)) {
    std::fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  try {
    run(argv, argc == 7);
  } catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
