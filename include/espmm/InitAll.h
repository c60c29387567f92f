//===- InitAll.h - everything that espmm's tools register -------*- C++ -*-===//
#ifndef ESPMM_INITALL_H
#define ESPMM_INITALL_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace espmm {
/// The dialects of every level, with what their translation to LLVM IR needs.
void registerAllDialects(mlir::DialectRegistry &registry);
/// Every pass and every named pipeline. Safe to call more than once.
void registerAllPasses();
} // namespace espmm

#endif // ESPMM_INITALL_H
