#include "Stage.h"
using namespace mlir;
using namespace espmm::equivariant;
LogicalResult espmm::equivariant::stageKernelForGPU(KernelOp kernel, ScheduleAttr, HostProgram &) {
  return kernel.emitOpError("has no GPU lowering yet");
}
