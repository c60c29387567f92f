//===- KernelChoices.h - what was chosen for a kernel, and why --*- C++ -*-===//
#ifndef ESPMM_LIB_EQUIVARIANT_KERNELCHOICES_H
#define ESPMM_LIB_EQUIVARIANT_KERNELCHOICES_H

#include "espmm/Dialect/Equivariant/IR/Equivariant.h"

namespace espmm::equivariant {

/// How a factored kernel will run with its schedule, as `equivariant.choices` has it: a sentence on rows or edges, one on channels, and one on each kind of
/// einsum over several multiplicities, with what it was chosen for. Nothing is staged for it.
llvm::SmallVector<std::string> describeChoices(KernelOp kernel, ScheduleAttr schedule);

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_KERNELCHOICES_H
