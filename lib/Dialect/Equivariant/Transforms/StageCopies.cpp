//===- StageCopies.cpp - rows that several warps gave shares of -----------===//
#include "HostProgram.h"
#include "Stage.h"

using namespace mlir;
using namespace espmm::equivariant;

// result[i] = sum over the copies, in their order; a thread an element
void espmm::equivariant::stageSumsOfCopies(HostProgram &host, func::FuncOp source) {
  constexpr int64_t threads = 256;
  for (auto &[sum, copies] : host.getCopies()) {
    Location loc = source.getLoc();
    OpBuilder builder(source);
    IndexBuilder ix(builder, loc), &h = host.index();
    auto type = cast<RankedTensorType>(sum.getType());
    Type element = type.getElementType(), i32 = builder.getI32Type(), i64 = builder.getI64Type();
    Type global = LLVM::LLVMPointerType::get(source.getContext(), 1);
    auto signature = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(source.getContext()), {global, global, i64});
    std::string name = host.getKernelName("_sum");
    auto function = LLVM::LLVMFuncOp::create(builder, loc, name, signature);
    function->setAttr("nvvm.kernel", builder.getUnitAttr());
    function->setAttr("nvvm.maxntid", builder.getDenseI32ArrayAttr({threads, 1, 1}));
    Block *entry = function.addEntryBlock(builder);
    builder.setInsertionPointToStart(entry);
    Value block = arith::ExtUIOp::create(builder, loc, i64, NVVM::BlockIdXOp::create(builder, loc, i32));
    Value thread = arith::ExtUIOp::create(builder, loc, i64, NVVM::ThreadIdXOp::create(builder, loc, i32));
    Value position = ix.add(ix.mul(block, threads), thread), count = entry->getArgument(2);
    auto inside = scf::IfOp::create(builder, loc, ix.less(position, count), /*withElseRegion=*/false);
    LLVM::ReturnOp::create(builder, loc, ValueRange());
    builder.setInsertionPointToStart(inside.thenBlock());
    Value total;
    for (int64_t c = 0; c < copies.total; ++c) {
      Value address = ix.address(entry->getArgument(1), ix.add(ix.mul(count, c), position), element);
      Value share = LLVM::LoadOp::create(builder, loc, element, address, element.getIntOrFloatBitWidth() / 8);
      total = total ? LLVM::FAddOp::create(builder, loc, total, share).getResult() : share;
    }
    LLVM::StoreOp::create(builder, loc, total, ix.address(entry->getArgument(0), position, element),
                          element.getIntOrFloatBitWidth() / 8);
    Value elements = h.mul(host.getRows(Access::Edge), type.getShape().back());
    host.launch(name, h.ceildiv(elements, h.constant(threads)), {host.getBuffer(sum), copies.scratch, elements},
                std::array<int64_t, 3>{threads, 1, 1});
  }
}
