// A tensor product compiled and run from C++, without Python and without torch: two atoms that are each other's neighbours.
//
// Python writes the program, once, as a string:
//
//     import espmm
//     problem = espmm.TPProblem("2x0e+2x1o", "0e+1o", "2x0e", [(0, 0, 0, "uvu", True), (1, 1, 0, "uvu", True)],
//                               shared_weights=False, internal_weights=False)
//     open("product.mlir", "w").write(espmm.compile(problem, "cpu", conv=True).kernels[0].program.serialize())
//
// The program here reads any such file, a convolution's in float32, and prints the rows of its first result for inputs x[i] = y[i] = w[i] = (i + 1) / 10:
//
//     c++ -std=c++17 -I include examples/load_kernel.cpp -L build/lib -lespmm -Wl,-rpath,$PWD/build/lib -o load_kernel
//     ./load_kernel product.mlir
#include "espmm-c/espmm.h"
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

static void check(espmm_status status) {
  if (status == ESPMM_OK)
    return;
  std::fprintf(stderr, "error: %s\n", espmm_last_error());
  std::exit(1);
}

/// Memory that kernels' vectors may be aligned to.
static void *allocate(int64_t bytes) { return std::aligned_alloc(64, (bytes + 63) / 64 * 64 + 64); }

int main(int argc, char **argv) {
  std::ifstream file(argc == 2 ? argv[1] : "");
  if (!file) {
    std::fprintf(stderr, "usage: load_kernel PROGRAM\n");
    return 2;
  }
  std::string program{std::istreambuf_iterator<char>(file), {}};
  constexpr int host = -1;
  espmm_executable *kernel = nullptr;
  check(espmm_program_load(program.c_str(), host, &kernel));
  espmm_signature signature;
  check(espmm_executable_signature(kernel, &signature));
  if (!signature.graph) {
    std::fprintf(stderr, "error: expected a convolution, got a product without a graph\n");
    return 1;
  }

  // Edge n goes from senders[n] to receivers[n].
  const int64_t receivers[] = {0, 1}, senders[] = {1, 0}, edges = 2, nodes = 2;
  const int64_t sizes[] = {edges, nodes, nodes};
  std::map<espmm_rows, int64_t> rows = {{ESPMM_EDGES, edges}, {ESPMM_RECEIVERS, nodes}, {ESPMM_SENDERS, nodes}, {ESPMM_ALL, 1}};
  std::map<std::pair<espmm_rows, espmm_plan_array>, void *> plan;
  for (espmm_rows side : {ESPMM_RECEIVERS, ESPMM_SENDERS}) {
    auto *offsets = new int32_t[nodes + 1], *order = new int32_t[edges], *other = new int32_t[edges], *parts = new int32_t[65];
    int isSorted;
    int64_t badEdge;
    bool isReceivers = side == ESPMM_RECEIVERS;
    check(espmm_plan_build(isReceivers ? receivers : senders, isReceivers ? senders : receivers, 64, edges, nodes, nodes, offsets, order, other, parts,
                           &isSorted, &badEdge));
    plan[{side, ESPMM_OFFSETS}] = offsets;
    plan[{side, ESPMM_ORDER}] = isSorted ? nullptr : order;
    plan[{side, ESPMM_OTHER}] = other;
    plan[{side, ESPMM_PARTS}] = parts;
    plan[{side, ESPMM_NODES}] = nullptr;
  }

  // What a launch takes: arguments, the plan's arrays, results.
  std::vector<void *> buffers;
  espmm_tensor tensor;
  for (size_t i = 0; i < signature.arguments; ++i) {
    check(espmm_executable_argument(kernel, i, &tensor));
    if (std::string(tensor.dtype) != "f32") {
      std::fprintf(stderr, "error: expected %s to be f32, got %s\n", tensor.name, tensor.dtype);
      return 1;
    }
    int64_t count = rows[tensor.rows] * tensor.width;
    auto *numbers = static_cast<float *>(allocate(4 * count));
    for (int64_t n = 0; n < count; ++n)
      numbers[n] = (n + 1) / 10.f;
    buffers.push_back(numbers);
  }
  for (size_t i = 0; i < signature.plan_arrays; ++i) {
    espmm_rows side;
    espmm_plan_array array;
    check(espmm_executable_plan(kernel, i, &side, &array));
    buffers.push_back(plan[{side, array}]);
  }
  for (size_t i = 0; i < signature.results; ++i) {
    check(espmm_executable_result(kernel, i, &tensor));
    buffers.push_back(allocate(4 * rows[tensor.rows] * tensor.width));
  }
  int64_t bytes;
  check(espmm_executable_scratch(kernel, sizes, &bytes));
  check(espmm_launch(kernel, host, /*stream=*/nullptr, sizes, buffers.data(), buffers.size(), allocate(bytes), bytes));

  check(espmm_executable_result(kernel, 0, &tensor));
  auto *z = static_cast<float *>(buffers[signature.arguments + signature.plan_arrays]);
  for (int64_t row = 0; row < rows[tensor.rows]; ++row)
    for (int64_t i = 0; i < tensor.width; ++i)
      std::printf("%.6f%c", z[row * tensor.width + i], i + 1 < tensor.width ? ' ' : '\n');
  espmm_executable_release(kernel);
}
