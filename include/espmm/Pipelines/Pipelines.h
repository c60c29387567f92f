//===- Pipelines.h - the named pipelines ------------------------*- C++ -*-===//
#ifndef ESPMM_PIPELINES_PIPELINES_H
#define ESPMM_PIPELINES_PIPELINES_H

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"

namespace espmm {

/// The levels of the IR at which a pipeline can stop, in order.
enum class Stage { Source, Differentiated, Fused, Factored, Tiled, Staged, Scalar, Target };

struct PipelineOptions : mlir::PassPipelineOptions<PipelineOptions> {
  Option<Stage> until{
      *this, "until", llvm::cl::desc("stop after this stage"), llvm::cl::init(Stage::Target),
      llvm::cl::values(clEnumValN(Stage::Source, "source", "the program as it was written"),
                       clEnumValN(Stage::Differentiated, "differentiated", "its derivative"),
                       clEnumValN(Stage::Fused, "fused", "kernels, run once for each edge"),
                       clEnumValN(Stage::Factored, "factored", "kernels of small einsums"),
                       clEnumValN(Stage::Tiled, "tiled", "kernels with a schedule"),
                       clEnumValN(Stage::Staged, "staged", "loops, lanes and buffers around the einsums, and a host function"),
                       clEnumValN(Stage::Scalar, "scalar", "multiply-adds"),
                       clEnumValN(Stage::Target, "target", "device functions in the LLVM dialect"))};
};

struct CPUPipelineOptions : PipelineOptions {
  Option<int64_t> vectorBits{*this, "vector-bits", llvm::cl::desc("width of the vectors (0: this machine's)"), llvm::cl::init(0)};
};

struct GPUPipelineOptions : PipelineOptions {
  Option<std::string> chip{*this, "chip", llvm::cl::desc("the chip to compile for"), llvm::cl::init("sm_90")};
  Option<bool> deterministic{*this, "deterministic", llvm::cl::desc("the same bits on every run"), llvm::cl::init(false)};
  Option<int64_t> rows{*this, "rows", llvm::cl::desc("of schedules: rows a warp (0: chosen)"), llvm::cl::init(0)};
  Option<int64_t> warps{*this, "warps", llvm::cl::desc("of schedules: warps a block (0: chosen)"), llvm::cl::init(0)};
  Option<int64_t> stages{*this, "stages", llvm::cl::desc("of schedules: slots of a ring (0: chosen)"), llvm::cl::init(0)};
  Option<int64_t> registers{*this, "registers", llvm::cl::desc("of schedules: registers a thread (0: chosen)"), llvm::cl::init(0)};
  Option<int64_t> slabs{*this, "slabs", llvm::cl::desc("of schedules: slabs a warp works on at once, at most (0: chosen)"), llvm::cl::init(0)};
  Option<int64_t> tileRegisters{*this, "tile-registers", llvm::cl::desc("registers of a tile's rows and sums (0: chosen)"),
                                llvm::cl::init(0)};
  Option<int64_t> instances{*this, "instances", llvm::cl::desc("tiles alike but for offsets that are one kernel, at most (0: chosen)"), llvm::cl::init(0)};
  Option<int64_t> groupBy{*this, "group-by", llvm::cl::desc("of schedules: whose edges are worked on together, 1 receivers', 2 senders' (0: chosen)"), llvm::cl::init(0)};
  Option<int64_t> products{*this, "products", llvm::cl::desc("what multiplies matrices: 1 multiply-adds, 2 matrix units, 3 these with three terms (0: chosen)"), llvm::cl::init(0)};
};

void buildCPUPipeline(mlir::OpPassManager &pm, const CPUPipelineOptions &options);
void buildGPUPipeline(mlir::OpPassManager &pm, const GPUPipelineOptions &options);
void registerPipelines();

/// Width in bits of the vectors that this machine's kernels use.
int64_t getHostVectorBits();

} // namespace espmm

#endif // ESPMM_PIPELINES_PIPELINES_H
