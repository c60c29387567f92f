//===- Pipelines.cpp - which passes run, in which order -------------------===//
#include "espmm/Pipelines/Pipelines.h"
#include "espmm/Dialect/Equivariant/Transforms/Passes.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/TargetParser/Host.h"

using namespace mlir;
using namespace espmm;
using namespace espmm::equivariant;

int64_t espmm::getHostVectorBits() {
  static const int64_t bits = [] {
    auto features = llvm::sys::getHostCPUFeatures();
    if (features.lookup("avx512f") && features.lookup("avx512vl"))
      return 512;
    return features.lookup("avx2") ? 256 : 128;
  }();
  return bits;
}

/// What the loops and the integer arithmetic of device functions become. Floating point is in the LLVM dialect already.
static void addLLVMLowering(OpPassManager &pm) {
  OpPassManager &function = pm.nest<LLVM::LLVMFuncOp>();
  function.addPass(createConvertLoopsToBranches());
  function.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
}

/// The passes that both targets share, with each target's costs and schedules in between.
static void addCommonPasses(OpPassManager &pm, espmm::Stage until, const EquivariantFactorOptions &factor,
                            const EquivariantTileOptions &tile) {
  if (until >= espmm::Stage::Fused) {
    pm.addPass(createCanonicalizerPass());
    pm.addPass(createCSEPass());
    pm.addPass(createEquivariantFuse());
  }
  if (until >= espmm::Stage::Factored)
    pm.addPass(createEquivariantFactor(factor));
  if (until >= espmm::Stage::Tiled)
    pm.addPass(createEquivariantTile(tile));
  if (until >= espmm::Stage::Tiled)
    pm.addPass(createEquivariantNarrow());
  if (until >= espmm::Stage::Staged) {
    pm.addPass(createEquivariantStage());
    pm.addPass(createEquivariantOverlap());
  }
  if (until >= espmm::Stage::Scalar)
    pm.addPass(createEquivariantSparsify());
}

void espmm::buildCPUPipeline(OpPassManager &pm, const CPUPipelineOptions &options) {
  espmm::Stage until = options.until;
  EquivariantFactorOptions factor;
  // A value without channels serves about as many vectors as a block has; their sums ride on the loop.
  factor.channelFreeCost = 1.0 / 16;
  factor.channelSumCost = 0.0;
  EquivariantTileOptions tile;
  tile.target = "cpu";
  tile.vectorBits = options.vectorBits ? options.vectorBits : getHostVectorBits();
  addCommonPasses(pm, until, factor, tile);
  if (until >= espmm::Stage::Target) {
    pm.addPass(createConvertEquivariantToCPU());
    addLLVMLowering(pm);
  }
}

void espmm::buildGPUPipeline(OpPassManager &pm, const GPUPipelineOptions &options) {
  espmm::Stage until = options.until;
  EquivariantTileOptions tile;
  tile.target = "gpu";
  tile.chip = options.chip;
  tile.deterministic = options.deterministic;
  tile.rows = options.rows;
  tile.warps = options.warps;
  tile.stages = options.stages;
  tile.registers = options.registers;
  tile.slabs = options.slabs;
  tile.tileRegisters = options.tileRegisters;
  tile.instances = options.instances;
  tile.groupBy = options.groupBy;
  tile.products = options.products;
  EquivariantFactorOptions factor;
  factor.unitCoefficients = true;
  addCommonPasses(pm, until, factor, tile);
  if (until >= espmm::Stage::Target) {
    pm.addPass(createConvertEquivariantToGPU());
    addLLVMLowering(pm);
  }
}

void espmm::registerPipelines() {
  PassPipelineRegistration<CPUPipelineOptions>("equivariant-to-cpu", "from tensor programs to host code", buildCPUPipeline);
  PassPipelineRegistration<GPUPipelineOptions>("equivariant-to-gpu", "from tensor programs to NVIDIA GPU code", buildGPUPipeline);
}
