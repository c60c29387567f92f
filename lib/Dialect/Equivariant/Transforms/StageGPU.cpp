//===- StageGPU.cpp - kernels as launches of warps ------------------------===//
#include "espmm/Dialect/Equivariant/Transforms/Chips.h"
#include "GPUKernelStaging.h"
#include "Stage.h"

using namespace mlir;
using namespace espmm::equivariant;

/// From so many edges a warp on, on average, the warps of a block share a node's edges.
static constexpr int64_t edgesOfSharedWarp = 8;
/// From so many on, where a GPU has little to do and the time is that of one warp.
static constexpr int64_t edgesOfEarlyWarp = 1;
/// Nodes times slabs up to which a graph is small: about what a GPU can have under way at once.
static constexpr int64_t warpsOfSmallGraph = 1024;
/// Blocks of which a launch's last round, when most of a GPU waits for the rest, is a small part.
static constexpr int64_t blocksOfLaunch = 16384;

namespace {

/// How a launch divides the edges of segments, of the host function.
class Division {
public:
  Division(ArrayRef<KernelOp> kernels, HostProgram &host)
      : schedule(GPUKernelStaging::getSchedule(kernels.front())), h(host.index()), edges(host.getSize(HostProgram::E)) {
    h.loc = KernelOp(kernels.front()).getLoc();
    if (schedule.getGroupBy() == Access::Edge)
      return;
    nodes = host.getRows(schedule.getGroupBy());
    for (KernelOp kernel : kernels)
      slabs += GPUKernelStaging::getSchedule(kernel).getNumUnits();
  }

  /// How many warps a block has: those that share a segment, or one. Null if blocks have nothing to share.
  Value getSharing() {
    if (!nodes || schedule.getWarps() == 1)
      return {};
    // If there are enough edges for each warp; or if there are so few nodes that most of the multiprocessors would have nothing to do.
    Value isLong = h.isMore(edges, h.mul(nodes, edgesOfSharedWarp * schedule.getWarps()));
    Value isSmall = h.sub(h.constant(1), h.isMore(h.mul(nodes, slabs), h.constant(warpsOfSmallGraph)));
    return h.add(h.mul(h.max(isLong, isSmall), schedule.getWarps() - 1), 1);
  }

  /// How many blocks share a segment: no more than it has edges for, nor than it takes to make the last round short. Null without segments.
  Value getParts() {
    if (!nodes)
      return {};
    Value one = h.constant(1), degree = h.ceildiv(edges, h.max(nodes, one)), blocks = h.max(h.mul(nodes, slabs), one);
    // As many parts as make so many blocks, if their warps then have so many edges, about.
    auto cut = [&](int64_t wanted, int64_t edgesOfWarp) {
      int64_t edgesOfPart = edgesOfWarp * schedule.getWarps();
      Value possible = h.ceildiv(h.max(h.add(degree, -(edgesOfPart / 2)), h.constant(0)), h.constant(edgesOfPart));
      return h.min(possible, h.ceildiv(h.constant(wanted), blocks));
    };
    Value all = h.max(cut(blocksOfLaunch, edgesOfSharedWarp), cut(warpsOfSmallGraph / schedule.getWarps(), edgesOfEarlyWarp));
    return h.max(all, one);
  }

private:
  ScheduleAttr schedule;
  IndexBuilder &h;
  Value edges, nodes;
  int64_t slabs = 0;
};

/// Modules that were not tiled for a chip may be for any.
LogicalResult verifySharedMemory(KernelOp kernel, int64_t bytes) {
  auto target = kernel->getParentOfType<ModuleOp>()->getAttrOfType<StringAttr>(EquivariantDialect::targetAttrName);
  if (!target)
    return success();
  int64_t most = getSharedBytesOfBlock(target.getValue().split(':').second);
  if (bytes <= most)
    return success();
  return kernel.emitOpError("needs ") << bytes << " bytes of shared memory a block, which has no lowering yet for " << target.getValue() << " with " << most
                                      << "; fewer stages or warps need less";
}

} // namespace

LogicalResult espmm::equivariant::stageKernelsForGPU(ArrayRef<KernelOp> kernels, HostProgram &host) {
  for (KernelOp kernel : kernels)
    if (failed(KernelAnalysis(kernel).verify()))
      return failure();
  int64_t warps = GPUKernelStaging::getSchedule(kernels.front()).getWarps();
  GPUFunction function(host, kernels.front(), warps);
  IndexBuilder &h = host.index();
  Division division(kernels, host);
  Value sharing = division.getSharing(), parts = division.getParts();
  // One kernel's blocks after another's, so that a multiprocessor mostly runs one body at a time.
  Value block = function.block, total;
  int64_t sharedBytes = 0, registers = 0;
  for (KernelOp kernel : kernels) {
    GPUKernelStaging staging(kernel, function, sharing, parts);
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
  function.launch(total, sharing, sharedBytes, registers);
  return verifySharedMemory(kernels.front(), sharedBytes);
}
