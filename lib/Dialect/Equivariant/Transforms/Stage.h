//===- Stage.h - staging of one kernel, by target ---------------*- C++ -*-===//
#ifndef ESPMM_LIB_EQUIVARIANT_STAGE_H
#define ESPMM_LIB_EQUIVARIANT_STAGE_H

#include "espmm/Dialect/Equivariant/Transforms/Passes.h"

namespace espmm::equivariant {
class HostProgram;

mlir::LogicalResult stageKernelForCPU(KernelOp kernel, ScheduleAttr schedule, HostProgram &host);
/// Kernels over one space that need nothing of each other become one device function: its blocks are theirs.
mlir::LogicalResult stageKernelsForGPU(llvm::ArrayRef<KernelOp> kernels, HostProgram &host);

/// A kernel that needs loops over several multiplicities.
mlir::LogicalResult stageNestsForGPU(KernelOp kernel, HostProgram &host);

/// A small block without channels (channel by channel of a second input), as it lies in a row of irreps; null for weights.
mlir::Value toMemoryOrder(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value block, IrrepsAttr irreps);

/// A convert as a kernel of its own.
void stageConvertForCPU(HostProgram &host, ConvertOp convert, int64_t lanes);
void stageConvertForGPU(HostProgram &host, ConvertOp convert);

/// After all kernels: adds up the copies of rows that they gave shares of.
void stageSumsOfCopies(HostProgram &host, mlir::func::FuncOp source);

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_STAGE_H
