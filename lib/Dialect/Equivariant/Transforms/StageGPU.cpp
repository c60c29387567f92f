//===- StageGPU.cpp - kernels as launches of warps ------------------------===//
#include "GPUKernelStaging.h"
#include "Stage.h"

using namespace mlir;
using namespace espmm::equivariant;

/// From so many edges a warp on, on average, the warps of a block share a node's edges.
static constexpr int64_t edgesOfSharedWarp = 8;
/// Nodes times slabs up to which a graph is small: about what a GPU can have under way at once.
static constexpr int64_t warpsOfSmallGraph = 1024;

/// Whether the warps of a block share a node in a launch, 1 or 0, of the host function; if not, a block has one warp. Null if blocks have
/// nothing to share.
static Value chooseSharing(ArrayRef<KernelOp> kernels, HostProgram &host) {
  ScheduleAttr schedule = GPUKernelStaging::getSchedule(kernels.front());
  if (schedule.getGroupBy() == Access::Edge || schedule.getWarps() == 1)
    return {};
  int64_t slabs = 0;
  for (KernelOp kernel : kernels)
    slabs += GPUKernelStaging::getSchedule(kernel).getSlabEnd() - GPUKernelStaging::getSchedule(kernel).getSlabBegin();
  IndexBuilder &h = host.index();
  h.loc = KernelOp(kernels.front()).getLoc();
  Value edges = host.getSize(HostProgram::E), nodes = host.getRows(schedule.getGroupBy());
  // A node's edges are shared if there are enough of them for each warp; or if there are so few nodes that most of the
  // multiprocessors would have nothing to do.
  Value isLong = h.isMore(edges, h.mul(nodes, edgesOfSharedWarp * schedule.getWarps()));
  Value isSmall = h.sub(h.constant(1), h.isMore(h.mul(nodes, slabs), h.constant(warpsOfSmallGraph)));
  return h.max(isLong, isSmall);
}

LogicalResult espmm::equivariant::stageKernelsForGPU(ArrayRef<KernelOp> kernels, HostProgram &host) {
  for (KernelOp kernel : kernels)
    if (failed(KernelAnalysis(kernel).verify()))
      return failure();
  int64_t warps = GPUKernelStaging::getSchedule(kernels.front()).getWarps();
  GPUFunction function(host, kernels.front(), warps);
  IndexBuilder &h = host.index();
  Value sharing = chooseSharing(kernels, host);
  Value sharingBits = sharing ? h.mul(sharing, llvm::Log2_64(warps)) : Value();
  // One kernel's blocks after another's, so that a multiprocessor mostly runs one body at a time.
  Value block = function.block, total;
  int64_t sharedBytes = 0, registers = 0;
  for (KernelOp kernel : kernels) {
    GPUKernelStaging staging(kernel, function, sharingBits);
    Value blocks = staging.getBlocks();
    total = total ? h.add(total, blocks) : blocks;
    sharedBytes = std::max(sharedBytes, staging.getSharedBytes());
    registers = std::max(registers, GPUKernelStaging::getSchedule(kernel).getRegisters());
    if (kernel == kernels.back()) {
      staging.stage(block);
      break;
    }
    Value own = function.getArgument(blocks);
    auto choice = scf::IfOp::create(function.builder, kernel.getLoc(), function.ix.less(block, own), /*withElseRegion=*/true);
    function.builder.setInsertionPointToStart(choice.thenBlock());
    staging.stage(block);
    function.builder.setInsertionPointToStart(choice.elseBlock());
    block = function.ix.sub(block, own);
  }
  Value rows = sharing ? h.add(h.mul(sharing, warps - 1), 1) : Value();
  function.launch(total, rows, sharedBytes, registers);
  return success();
}
