// A C++ program without Python: loads libespmm_torch.so and a model (an AOTInductor package, .pt2, or TorchScript, .pt), and runs it.
// Usage: TorchProgram LIBRARY MODEL INPUTS OUTPUTS [gradients], where INPUTS is a list of tensors and OUTPUTS becomes a tuple, in torch.save's format. With
// "gradients" the library is libespmm_torch_autograd.so, and outputs are the gradients of the first output's sum with respect to all inputs that are numbers,
// and of the sum of their squares.
#include <cstdio>
#include <dlfcn.h>
#include <fstream>
#include <iterator>
#include <torch/csrc/api/include/torch/serialize.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/script.h>

static std::vector<at::Tensor> tensorsOf(const c10::IValue &value) {
  if (value.isTensor())
    return {value.toTensor()};
  if (value.isTensorList())
    return value.toTensorVector();
  c10::ArrayRef<c10::IValue> elements = value.isTuple() ? value.toTupleRef().elements().asArrayRef() : value.toListRef();
  std::vector<at::Tensor> tensors;
  for (const c10::IValue &element : elements)
    tensors.push_back(element.toTensor());
  return tensors;
}

static std::vector<at::Tensor> runModel(const std::string &path, const std::vector<at::Tensor> &inputs) {
  if (path.size() > 4 && path.substr(path.size() - 4) == ".pt2") {
    torch::inductor::AOTIModelPackageLoader model(path);
    return model.run(inputs);
  }
  torch::jit::Module model = torch::jit::load(path);
  return tensorsOf(model.forward(std::vector<c10::IValue>(inputs.begin(), inputs.end())));
}

/// First and second derivatives.
static std::vector<at::Tensor> gradientsOf(const std::string &model, std::vector<at::Tensor> inputs) {
  std::vector<at::Tensor> leaves;
  for (at::Tensor &input : inputs)
    if (input.is_floating_point())
      leaves.push_back(input.requires_grad_());
  std::vector<at::Tensor> first = torch::autograd::grad({runModel(model, inputs)[0].sum()}, leaves, {}, true, /*create_graph=*/true);
  at::Tensor squares = first[0].square().sum();
  for (size_t i = 1; i < first.size(); ++i)
    squares = squares + first[i].square().sum();
  std::vector<at::Tensor> all = torch::autograd::grad({squares}, leaves);
  all.insert(all.begin(), first.begin(), first.end());
  for (at::Tensor &gradient : all)
    gradient = gradient.detach();
  return all;
}

int main(int argc, char **argv) {
  if (argc != 5 && argc != 6) {
    std::fprintf(stderr, "usage: %s LIBRARY MODEL INPUTS OUTPUTS [gradients]\n", argv[0]);
    return 2;
  }
  if (!dlopen(argv[1], RTLD_NOW)) {
    std::fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  try {
    std::ifstream file(argv[3], std::ios::binary);
    std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::vector<at::Tensor> inputs = tensorsOf(torch::pickle_load(bytes));
    std::vector<at::Tensor> outputs = argc == 6 ? gradientsOf(argv[2], inputs) : runModel(argv[2], inputs);
    bytes = torch::pickle_save(c10::ivalue::Tuple::create(std::vector<c10::IValue>(outputs.begin(), outputs.end())));
    std::ofstream(argv[4], std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
  } catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
