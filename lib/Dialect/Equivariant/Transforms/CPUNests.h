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
  CPUNestTarget(CPUFunction &function, mlir::VectorType vector, int64_t tileRows)
      : NestTarget(function.builder, function.ix, function.loc, vector.getElementType(), getLimits(vector, tileRows)), function(function), vector(vector) {
    memorySize = function.makeEarly(unknownSize);
    memory = function.allocate(memorySize);
  }
  /// Sums over lanes are as many as an AVX-512 or AVX2 register file holds besides the operands. Of rows side by side, eight results share what they read, and two
  /// sums are enough for multiply-adds not to wait: with more of either the code is longer, and takes as long.
  static NestLimits getLimits(mlir::VectorType vector, int64_t tileRows) {
    NestLimits limits{vector.getNumElements()};
    limits.sums = limits.lanes * vector.getElementTypeBitWidth() == 512 ? 16 : 8;
    if (tileRows > 1) {
      limits.rows = tileRows;
      limits.block = 8;
      limits.summands = limits.rowSummands = 2;
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
      mlir::LLVM::MaskedStoreOp::create(builder, loc, value, address, mask, alignment);
    else
      mlir::LLVM::StoreOp::create(builder, loc, value, address, alignment);
  }

private:
  CPUFunction &function;
  mlir::VectorType vector;
};

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_CPUNESTS_H
