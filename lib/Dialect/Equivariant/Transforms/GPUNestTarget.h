//===- GPUNestTarget.h - nests in the lanes of a warp, or of a block -*- C++ -*-===//
#ifndef ESPMM_LIB_EQUIVARIANT_GPUNESTTARGET_H
#define ESPMM_LIB_EQUIVARIANT_GPUNESTTARGET_H

#include "GPUFunction.h"
#include "GPURowTiles.h"
#include "Nests.h"
#include "espmm/Dialect/Equivariant/Transforms/Storage.h"
#include "SharedRows.h"

namespace espmm::equivariant {

/// Nests in the lanes of a warp.
class GPUNestTarget : public NestTarget {
public:
  /// `place` says where buffers are, given how many elements they take.
  GPUNestTarget(GPUFunction &function, mlir::Type element, llvm::function_ref<mlir::Value(mlir::Value)> place, const NestLimits &limits = getLimits())
      : NestTarget(function.builder, function.ix, function.loc, element, limits), function(function) {
    memorySize = mlir::arith::ConstantIntOp::create(builder, loc, unknownSize, 64);
    memory = place(memorySize);
  }

  static NestLimits getLimits() { return {warpSize, /*summands=*/8, /*block=*/8, /*sums=*/16, /*parts=*/1, /*rows=*/0, /*early=*/1024, /*recomputed=*/16, /*lanesAreThreads=*/true, /*shared=*/80}; }

  mlir::Type getLaneType() override { return element; }

  void fillWithZeros(mlir::Value buffer, int64_t count) override {
    forEach(count, [&](mlir::Value at) { mlir::LLVM::StoreOp::create(builder, loc, getZero(), ix.address(buffer, at, element), getBytes()); });
  }
  void separate() override { function.syncWarp(); }
  mlir::Value getGroup(int64_t groups) override { return ix.floordiv(function.lane, lanes / groups); }
  mlir::Value getLane(mlir::Value position, int64_t extent, int64_t groups) override {
    mlir::Value at = ix.add(position, getPlaceInGroup(groups));
    return extent % (lanes / groups) ? ix.min(at, ix.constant(extent - 1)) : at;
  }
  bool readsPastEnd() override { return true; }
  mlir::Value getMask(mlir::Value count, int64_t groups) override { return ix.less(getPlaceInGroup(groups), count); }
  int64_t getAlignment(mlir::Value base) override { return isBuffer(base) ? bytesAtOnce / getBytes() : 1; }
  mlir::Value hide(mlir::Value pointer) override { return move(pointer, "mov.b64 $0, $1;", "=l,l"); }
  mlir::Value hideNumber(mlir::Value number) override { return move(number, "mov.b32 $0, $1;", "=r,r"); }
  void once(llvm::function_ref<void()> emit) override {
    mlir::OpBuilder::InsertionGuard insertion(builder);
    function.guard(ix.less(function.lane, ix.constant(1)));
    emit();
  }
  void store(mlir::Value value, mlir::Value address, int64_t stride, mlir::Value mask, bool accumulate, int64_t groups, mlir::TypeAttr stored) override {
    mlir::OpBuilder::InsertionGuard insertion(builder);
    if (mask)
      function.guard(mask);
    mlir::Value own = ix.address(address, ix.mul(getPlaceInGroup(groups), stride), getElement(stored));
    // Nobody waits for a sum in memory of the device; it is this lane's alone, so that their order is known.
    if (accumulate && addsInMemory(own)) {
      mlir::LLVM::AtomicRMWOp::create(builder, loc, mlir::LLVM::AtomicBinOp::fadd, own, value, mlir::LLVM::AtomicOrdering::monotonic);
      return;
    }
    if (accumulate)
      value = mlir::LLVM::FAddOp::create(builder, loc, mlir::LLVM::LoadOp::create(builder, loc, element, own, getBytes()), value);
    mlir::LLVM::StoreOp::create(builder, loc, roundToStored(builder, loc, value, getElement(stored)), own, getElement(stored).getIntOrFloatBitWidth() / 8);
  }

  bool addsInMemory(mlir::Value address) override { return mlir::cast<mlir::LLVM::LLVMPointerType>(address.getType()).getAddressSpace() == function.global.getAddressSpace(); }

  /// Each lane's part of a row.
  virtual void forEach(int64_t count, llvm::function_ref<void(mlir::Value)> body) {
    mlir::OpBuilder::InsertionGuard insertion(builder);
    auto loop = mlir::scf::ForOp::create(builder, loc, function.lane, ix.constant(count), ix.constant(lanes));
    builder.setInsertionPoint(loop.getBody()->getTerminator());
    body(loop.getInductionVar());
  }

  unsigned getBytes() const { return element.getIntOrFloatBitWidth() / 8; }

protected:
  mlir::Value getPlaceInGroup(int64_t groups) {
    return groups == 1 ? function.lane : mlir::arith::AndIOp::create(builder, loc, function.lane, ix.constant(lanes / groups - 1)).getResult();
  }
  /// What one instruction reads, if it lies at a multiple of it.
  static constexpr int64_t bytesAtOnce = 16;

  mlir::Value move(mlir::Value value, llvm::StringRef text, llvm::StringRef constraints) {
    return mlir::LLVM::InlineAsmOp::create(builder, loc, value.getType(), value, text, constraints, /*has_side_effects=*/true, /*is_align_stack=*/false,
                                           mlir::LLVM::TailCallKind::None, mlir::LLVM::AsmDialectAttr(), mlir::ArrayAttr()).getRes();
  }
  mlir::Value getZero() { return mlir::LLVM::ConstantOp::create(builder, loc, element, mlir::FloatAttr::get(element, 0.0)); }

  GPUFunction &function;
};

/// Nests in the lanes of all warps of a block, which share its memory: loops are shared out among them.
class GPURowTileTarget : public GPUNestTarget {
public:
  GPURowTileTarget(GPUFunction &function, mlir::Type element, const RowTileNumbers &numbers)
      : GPUNestTarget(function, element, [&](mlir::Value) { return function.sharedBase; }, getLimits(element, numbers)), warps(numbers.warps) {}
  /// Of several results and several summands at once, those of weights that follow each other are read by one instruction. Each part has code of its own, that goes by once for each tile:
  /// what has no room in the multiprocessor's cache comes from memory every time, at about 5 bytes a cycle, so that loops are as short as loads under way allow.
  static NestLimits getLimits(mlir::Type element, const RowTileNumbers &numbers) {
    NestLimits limits{warpSize, /*summands=*/32, /*block=*/8, /*sums=*/16, numbers.warps, /*rows=*/warpSize, /*early=*/numbers.stages * bytesOfStage / (element.getIntOrFloatBitWidth() / 8), /*recomputed=*/0, /*lanesAreThreads=*/true};
    limits.rowSummands = 4;
    limits.keepsCodeShort = true;
    limits.rowPitch = pitch;
    int64_t terms = numbers.products == Products::ThreeTerms && element.isF32() ? 3 : 1;
    if (numbers.products != Products::MultiplyAdds)
      limits.units = {MatrixProductOp::getRows(element), MatrixProductOp::columns, MatrixProductOp::getSummed(element), terms, /*ofNumber=*/element.isF64() ? 1 : terms == 3 ? 3 : 2};
    return limits;
  }
  /// Elements from one number of the rows to the next one: odd, so that neither a row nor a number's rows lie in one bank.
  static constexpr int64_t pitch = warpSize + 1;

  mlir::Value getPart() override { return function.warp; }
  void separate() override { function.syncBlock(); }
  void separateLanes() override { function.syncWarp(); }
  /// Says that a pointer's memory begins at a multiple of 16 bytes.
  void align(mlir::Value pointer) { aligned.insert(pointer); }
  int64_t getAlignment(mlir::Value base) override { return aligned.contains(base) ? bytesAtOnce / getBytes() : GPUNestTarget::getAlignment(base); }
  /// Each thread's part of so many elements.
  void forEach(int64_t count, llvm::function_ref<void(mlir::Value)> body) override {
    mlir::OpBuilder::InsertionGuard insertion(builder);
    auto loop = mlir::scf::ForOp::create(builder, loc, function.thread, ix.constant(count), ix.constant(warps * warpSize));
    builder.setInsertionPoint(loop.getBody()->getTerminator());
    body(loop.getInductionVar());
  }

private:
  static constexpr int64_t bytesOfStage = 6144;
  int64_t warps;
  llvm::DenseSet<mlir::Value> aligned;
};

/// result[i] = the sum over so many rows of scratch memory, in their order, with what rounding takes kept (W. Kahan 1965). A block has 32 elements; its
/// warps take turns, and the sums of each are added in the end.
void launchSumOfShares(HostProgram &host, KernelOp kernel, unsigned result, mlir::Value scratch, mlir::Value count);

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_GPUNESTTARGET_H
