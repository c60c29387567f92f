//===- Manifest.h - what the compiler tells the runtime of a program -----===//
//
// The structs behind docs/Architecture.md, section 3.
//
#ifndef ESPMM_RUNTIME_MANIFEST_H
#define ESPMM_RUNTIME_MANIFEST_H

#include "espmm/Runtime/Expression.h"
#include <array>
#include <string>
#include <vector>

namespace espmm {

enum class TargetKind { Host, Cuda };
enum class Rows { Edges, Receivers, Senders, All };
enum class ElementType { F32, F64, BF16, F16 };
enum class PlanArray { Offsets, Order, Other, Parts, Nodes, Index, Facts };

llvm::StringRef rowsName(Rows rows);
/// "f32"
llvm::StringRef elementName(ElementType element);

/// How many rows a tensor or a side has; Rows::All is one row.
int64_t rowCount(Rows rows, const Sizes &sizes);

struct TensorInfo {
  std::string name; // of an argument; results have none
  ElementType element = ElementType::F32;
  Rows rows = Rows::Edges;
  int64_t width = 0;
  int64_t align = 0; // bytes that its base address must be a multiple of
  bool used = true;  // a launch may leave an unused argument null

  int64_t elementBytes() const { return element == ElementType::F64 ? 8 : element == ElementType::F32 ? 4 : 2; }
};

struct PlanInfo {
  Rows side = Rows::Receivers;
  PlanArray array = PlanArray::Offsets;
};

struct BufferRef {
  enum class Kind { Argument, Plan, Scratch, Result };
  Kind kind = Kind::Argument;
  unsigned index = 0;
};

/// One 64-bit word handed to a kernel: a buffer's address, or a number.
struct KernelArgument {
  std::optional<BufferRef> buffer;
  Expression value;
};

/// Zeros are written to the first `bytes` of the buffer.
struct FillStep {
  BufferRef buffer;
  Expression bytes;
};

struct LaunchStep {
  std::string kernel;
  unsigned kernelIndex = 0; // into Manifest::kernels
  std::array<Expression, 3> grid;
  std::array<unsigned, 3> block = {1, 1, 1}; // CUDA only, like `shared`
  unsigned shared = 0;                       // bytes of dynamic shared memory
  Expression rows;                           // of the block, at most block[1]; shared memory is in proportion
  bool overlaps = false;                     // begins once all blocks of the launch before have begun; CUDA only
  std::vector<KernelArgument> arguments;
};

struct Step {
  enum class Kind { Fill, Launch };
  Kind kind = Kind::Fill;
  FillStep fill;
  LaunchStep launch;
};

/// A kernel, and the most that any of its launches asks for.
struct KernelInfo {
  std::string name;
  unsigned shared = 0;
  unsigned threads = 1;
};

struct Manifest {
  TargetKind target = TargetKind::Host;
  std::string targetName; // as written: "cpu", "cuda:sm_90"
  std::string chip;       // CUDA: "sm_90"
  bool graph = false;     // the index space is a graph, not the rows of a batch
  std::vector<TensorInfo> arguments;
  std::vector<TensorInfo> results;
  std::vector<PlanInfo> plan;
  std::vector<Expression> scratch; // bytes of each buffer
  std::vector<Step> steps;
  std::vector<KernelInfo> kernels; // those that the steps launch, each once

  /// Errors name the place in the JSON: "manifest: steps[1].grid: expected ..., got ...".
  static llvm::Expected<Manifest> parse(llvm::StringRef json);

  size_t numBuffers() const { return arguments.size() + plan.size() + results.size(); }
};

} // namespace espmm

#endif
