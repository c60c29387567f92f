//===- GPUNestTarget.cpp - what kernels with nests on a GPU share ---------===//
#include "GPUNestTarget.h"

using namespace mlir;
using namespace espmm::equivariant;

void espmm::equivariant::launchSumOfShares(HostProgram &host, KernelOp kernel, unsigned r, Value scratch, Value count) {
  constexpr int64_t warpsOfSum = 8;
  IndexBuilder &h = host.index();
  Location loc = kernel.getLoc();
  GPUFunction f(host, kernel, warpsOfSum, "_sum");
  OpBuilder &b = f.builder;
  IndexBuilder &fx = f.ix;
  auto type = cast<RankedTensorType>(kernel.getResult(r).getType());
  Type element = type.getElementType();
  int64_t width = type.getShape().back();
  unsigned bytes = element.getIntOrFloatBitWidth() / 8;
  Value base = f.getArgument(scratch), end = f.getArgument(count);
  Value to = f.getArgument(host.getDestination(kernel.getResult(r)), /*readOnly=*/false);
  Value at = fx.min(fx.add(fx.mul(f.block, warpSize), f.lane), fx.constant(width - 1));
  Value zero = LLVM::ConstantOp::create(b, loc, element, FloatAttr::get(element, 0.0));
  auto add = [&](ValueRange known, Value value) {
    auto [sum, lost] = f.addCompensated(known[0], known[1], value);
    return SmallVector<Value>{sum, lost};
  };
  auto loop = scf::ForOp::create(b, loc, f.warp, end, fx.constant(warpsOfSum), ValueRange{zero, zero});
  b.setInsertionPointToEnd(loop.getBody());
  Value share = f.getRowPointer(base, loop.getInductionVar(), width, element);
  Value value = LLVM::LoadOp::create(b, loc, element, fx.address(share, at, element), bytes);
  scf::YieldOp::create(b, loc, add(loop.getRegionIterArgs(), value));
  b.setInsertionPointAfter(loop);
  Value mine = fx.address(f.sharedBase, f.thread, element);
  LLVM::StoreOp::create(b, loc, loop.getResult(0), mine, bytes);
  f.syncBlock();
  Value isFirst = fx.less(f.warp, fx.constant(1)), isInside = fx.less(fx.add(fx.mul(f.block, warpSize), f.lane), fx.constant(width));
  OpBuilder::InsertPoint after = b.saveInsertionPoint();
  f.guard(arith::AndIOp::create(b, loc, isFirst, isInside));
  SmallVector<Value> total{zero, zero};
  for (int64_t n = 0; n < warpsOfSum; ++n) {
    Value place = fx.address(f.sharedBase, fx.add(f.lane, n * warpSize), element);
    total = add(total, LLVM::LoadOp::create(b, loc, element, place, bytes));
  }
  LLVM::StoreOp::create(b, loc, total[0], fx.address(to, at, element), bytes);
  b.restoreInsertionPoint(after);
  f.launch(h.constant((width + warpSize - 1) / warpSize), Value(), warpsOfSum * warpSize * bytes, 0);
}
