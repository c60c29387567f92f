//===- InitAll.cpp - registration of dialects, passes and pipelines -------===//
#include "espmm/InitAll.h"
#include "espmm/Dialect/Equivariant/Transforms/Passes.h"
#include "espmm/Pipelines/Pipelines.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/NVVMToLLVM/NVVMToLLVM.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/GPU/GPUToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Transforms/Passes.h"
#include <mutex>

using namespace mlir;

void espmm::registerAllDialects(DialectRegistry &registry) {
  registry.insert<equivariant::EquivariantDialect, arith::ArithDialect, cf::ControlFlowDialect, func::FuncDialect,
                  gpu::GPUDialect, LLVM::LLVMDialect, NVVM::NVVMDialect, scf::SCFDialect>();
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  registerNVVMDialectTranslation(registry);
  registerGPUDialectTranslation(registry);
}

void espmm::registerAllPasses() {
  static std::once_flag once;
  std::call_once(once, [] {
    equivariant::registerEquivariantPasses();
    registerCanonicalizerPass();
    registerCSEPass();
    // Each by itself: the header that registers all of MLIR's conversions includes all of MLIR.
    registerPass([] { return createSCFToControlFlowPass(); });
    registerPass([] { return createArithToLLVMConversionPass(); });
    registerPass([] { return createConvertControlFlowToLLVMPass(); });
    registerPipelines();
  });
}
