//===- Codegen.h - from the last level of the IR to code --------*- C++ -*-===//
//
// What these functions are given is a module as `equivariant-to-cpu` and `equivariant-to-gpu` leave it: device functions in the
// LLVM dialect, one host function, and `equivariant.target`. Errors are diagnostics at the operation that is wrong.
//
//===----------------------------------------------------------------------===//
#ifndef ESPMM_TARGET_CODEGEN_H
#define ESPMM_TARGET_CODEGEN_H

#include "mlir/IR/BuiltinOps.h"
#include <string>

namespace espmm {

/// What a module is compiled for, "cpu" or "cuda:sm_90".
mlir::FailureOr<std::string> getTarget(mlir::ModuleOp module);

/// The manifest (docs/Architecture.md, section 3): the host function as JSON, on one line.
mlir::FailureOr<std::string> writeManifest(mlir::ModuleOp module);

/// LLVM IR is for every target; assembly (text) and objects (ELF) are the host's, PTX is a GPU's.
enum class CodeKind { LLVMIR, Assembly, Object, PTX };

/// Code of the device functions. Host code is for this machine, whatever the vectors' width.
mlir::FailureOr<std::string> generateCode(mlir::ModuleOp module, CodeKind kind);

} // namespace espmm

#endif // ESPMM_TARGET_CODEGEN_H
