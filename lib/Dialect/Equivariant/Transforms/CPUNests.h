//===- CPUNests.h - nests in vectors ----------------------------*- C++ -*-===//
#ifndef ESPMM_LIB_EQUIVARIANT_CPUNESTS_H
#define ESPMM_LIB_EQUIVARIANT_CPUNESTS_H

#include "CPUFunction.h"
#include "Nests.h"
#include "espmm/Dialect/Equivariant/Transforms/Storage.h"

namespace espmm::equivariant {

/// Nests in vectors.
class CPUNestTarget : public NestTarget {
public:
  /// `place` gives the memory that buffers share, of a size that is known later.
  CPUNestTarget(CPUFunction &function, mlir::VectorType vector, int64_t tileRows, llvm::function_ref<mlir::Value(mlir::Value size)> place)
      : NestTarget(function.builder, function.ix, function.loc, vector.getElementType(), getLimits(vector, tileRows)), function(function), vector(vector) {
    memorySize = function.makeEarly(unknownSize);
    memory = place(memorySize);
  }
  /// Sums over lanes are as many as an AVX-512 or AVX2 register file holds besides the operands, and what operations hold in loops over weights of a row is as many
  /// registers as there are. Of rows side by side, some results share what they read; these are sums enough for multiply-adds not to wait, and of AVX2's registers two each are
  /// too many.
  static NestLimits getLimits(mlir::VectorType vector, int64_t tileRows) {
    NestLimits limits{vector.getNumElements()};
    bool isAVX512 = limits.lanes * vector.getElementTypeBitWidth() == 512;
    limits.sums = isAVX512 ? 16 : 8;
    if (tileRows > 1) {
      limits.rows = tileRows;
      limits.block = isAVX512 ? 8 : 12;
      limits.summands = 2;
      limits.rowSummands = isAVX512 ? 2 : 1;
    } else {
      limits.shared = isAVX512 ? 32 : 16;
    }
    return limits;
  }

  mlir::Type getLaneType() override { return vector; }
  void fillWithZeros(mlir::Value buffer, int64_t count) override { function.fillWithZeros(buffer, ix.constant(count)); }
  void separate() override { mlir::LLVM::FenceOp::create(builder, loc, mlir::LLVM::AtomicOrdering::acq_rel, "singlethread"); }
  void transpose(mlir::Value source, int64_t sourceStride, mlir::Value target, int64_t targetStride, int64_t rows, int64_t columns) override {
    TransposeOp::create(builder, loc, source, target, sourceStride, targetStride, llvm::ArrayRef<int64_t>{rows, columns}, lanes, element, element);
  }
  mlir::Value getLane(mlir::Value position, int64_t, int64_t) override { return position; }
  bool readsPastEnd() override { return false; }
  mlir::Value getMask(mlir::Value count, int64_t) override { return function.getMask(count, lanes); }
  void once(llvm::function_ref<void()> emit) override { emit(); }
  void store(mlir::Value value, mlir::Value address, int64_t stride, mlir::Value mask, bool accumulate, int64_t, mlir::TypeAttr stored) override {
    assert(stride == 1 && "blocks whose channels are in vectors lie in buffers");
    unsigned alignment = getElement(stored).getIntOrFloatBitWidth() / 8;
    if (accumulate) {
      mlir::Value zero = mlir::LLVM::ZeroOp::create(builder, loc, vector);
      mlir::Value old = mask ? mlir::LLVM::MaskedLoadOp::create(builder, loc, vector, address, mask, zero, alignment).getResult()
                       : mlir::LLVM::LoadOp::create(builder, loc, vector, address, alignment).getResult();
      value = mlir::LLVM::FAddOp::create(builder, loc, old, value);
    }
    value = roundToStored(builder, loc, value, getElement(stored));
    if (mask)
      storeMasked(builder, loc, value, address, mask, alignment);
    else
      mlir::LLVM::StoreOp::create(builder, loc, value, address, alignment);
  }

private:
  CPUFunction &function;
  mlir::VectorType vector;
};

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_CPUNESTS_H
