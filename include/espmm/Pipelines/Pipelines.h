//===- Pipelines.h - the named pipelines ------------------------*- C++ -*-===//
#ifndef ESPMM_PIPELINES_PIPELINES_H
#define ESPMM_PIPELINES_PIPELINES_H

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"

namespace espmm {

/// The levels of the IR at which a pipeline can stop, in order.
enum class Stage { Source, Differentiated, Fused, Factored, Tiled, Staged, Scalar, Target };

struct PipelineOptions : mlir::PassPipelineOptions<PipelineOptions> {
  Option<std::string> until{*this, "until", llvm::cl::desc("stop after this stage: source, differentiated, fused, factored, "
                                                           "tiled, staged, scalar or target"),
                            llvm::cl::init("target")};
};

struct CPUPipelineOptions : PipelineOptions {
  Option<int64_t> vectorBits{*this, "vector-bits", llvm::cl::desc("width of the vectors (0: this machine's)"), llvm::cl::init(0)};
};

struct GPUPipelineOptions : PipelineOptions {
  Option<std::string> chip{*this, "chip", llvm::cl::desc("the chip to compile for"), llvm::cl::init("sm_90")};
  Option<bool> deterministic{*this, "deterministic", llvm::cl::desc("the same bits on every run"), llvm::cl::init(false)};
};

void buildCPUPipeline(mlir::OpPassManager &pm, const CPUPipelineOptions &options);
void buildGPUPipeline(mlir::OpPassManager &pm, const GPUPipelineOptions &options);
void registerPipelines();

/// Width in bits of the vectors that this machine's kernels use.
int64_t getHostVectorBits();

} // namespace espmm

#endif // ESPMM_PIPELINES_PIPELINES_H
