//===- StageCopies.cpp - rows that several warps gave shares of -----------===//
#include "GPUFunction.h"
#include "Stage.h"

using namespace mlir;
using namespace espmm::equivariant;

// result[i] = sum over the copies, in their order; a thread an element
void espmm::equivariant::stageSumsOfCopies(HostProgram &host, func::FuncOp source) {
  for (const auto &entry : host.getCopies()) {
    Value sum = entry.first;
    const auto &copies = entry.second; // names of their own, as a closure can't hold a structured binding
    auto type = cast<RankedTensorType>(sum.getType());
    Type element = type.getElementType();
    unsigned bytes = element.getIntOrFloatBitWidth() / 8;
    Value count = host.index().mul(host.getRows(Access::Edge), type.getShape().back());
    launchForEachElement(host, source, "_sum", {host.getBuffer(sum), copies.scratch}, count, [&](OpBuilder &builder, IndexBuilder &ix, ValueRange arguments, Value position) {
      Value total;
      for (int64_t c = 0; c < copies.total; ++c) {
        Value address = ix.address(arguments[1], ix.add(ix.mul(arguments[2], c), position), element);
        Value share = LLVM::LoadOp::create(builder, ix.loc, element, address, bytes);
        total = total ? LLVM::FAddOp::create(builder, ix.loc, total, share).getResult() : share;
      }
      LLVM::StoreOp::create(builder, ix.loc, total, ix.address(arguments[0], position, element), bytes);
    });
  }
}
