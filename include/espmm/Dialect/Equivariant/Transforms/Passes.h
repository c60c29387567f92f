//===- Passes.h - passes of the equivariant dialect -------------*- C++ -*-===//
#ifndef ESPMM_DIALECT_EQUIVARIANT_TRANSFORMS_PASSES_H
#define ESPMM_DIALECT_EQUIVARIANT_TRANSFORMS_PASSES_H

#include "espmm/Dialect/Equivariant/IR/Equivariant.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace espmm::equivariant {
#define GEN_PASS_DECL
#include "espmm/Dialect/Equivariant/Transforms/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "espmm/Dialect/Equivariant/Transforms/Passes.h.inc"
} // namespace espmm::equivariant

#endif // ESPMM_DIALECT_EQUIVARIANT_TRANSFORMS_PASSES_H
