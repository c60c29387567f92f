//===- Codegen.h - from the last level of the IR to code --------*- C++ -*-===//
#ifndef ESPMM_TARGET_CODEGEN_H
#define ESPMM_TARGET_CODEGEN_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include <string>

namespace espmm {

/// The manifest (docs/Architecture.md, section 3) of a module at level 7: its host function as JSON.
llvm::Expected<std::string> writeManifest(mlir::ModuleOp module, llvm::StringRef target);

enum class CodeKind { LLVMIR, Assembly, Object };

/// Code of the device functions of a module at level 7, for this machine.
llvm::Expected<std::string> generateHostCode(mlir::ModuleOp module, CodeKind kind);

/// PTX (or LLVM IR) of the device functions of a module at level 7, for a chip such as "sm_90".
llvm::Expected<std::string> generatePTX(mlir::ModuleOp module, llvm::StringRef chip, CodeKind kind);

} // namespace espmm

#endif // ESPMM_TARGET_CODEGEN_H
