//===- CPUFunction.h - host kernels being written ---------------*- C++ -*-===//
//
// A host kernel is a function of an array of 64-bit arguments and a task's number. This is what writing one needs, and the
// kernels that only move rows.
//
//===----------------------------------------------------------------------===//
#ifndef ESPMM_LIB_EQUIVARIANT_CPUFUNCTION_H
#define ESPMM_LIB_EQUIVARIANT_CPUFUNCTION_H

#include "HostProgram.h"

namespace espmm::equivariant {

/// Component order: for each block its components one after the other, channels padded to whole vectors.
struct ComponentOrder {
  IrrepsAttr irreps;
  int64_t vector;

  int64_t pad(int64_t mul) const { return (mul + vector - 1) / vector * vector; }
  int64_t getOffset(size_t block) const;
  int64_t getSize() const { return getOffset(irreps.getBlocks().size()); }
  /// Memory order has it all in place already.
  bool isDirect() const;
  /// The block of a row, in memory order, at an offset.
  size_t findBlock(int64_t offset, int64_t size) const;
};

class CPUFunction {
public:
  CPUFunction(HostProgram &host, mlir::Operation *source, mlir::Type element, llvm::StringRef suffix);

  /// A value of the host function: word n of the argument array.
  mlir::Value getArgument(mlir::Value hostValue);
  /// Elements that live as long as the call, aligned for whole vectors.
  mlir::Value allocate(int64_t count);
  mlir::Value allocate(mlir::Value count);
  /// A number, made where the function begins.
  mlir::Value makeEarly(int64_t number);
  /// A loop; the builder then stands in its body.
  mlir::scf::ForOp loop(mlir::Value begin, mlir::Value end, mlir::Value step, mlir::ValueRange inits = {});
  mlir::Value getRowPointer(mlir::Value base, mlir::Value row, int64_t width) { return getRowPointer(base, row, width, element); }
  mlir::Value getRowPointer(mlir::Value base, mlir::Value row, int64_t width, mlir::Type stored) {
    return ix.address(base, ix.mul(row, width), stored);
  }
  /// The lanes whose number is less than a count.
  mlir::Value getMask(mlir::Value count, int64_t lanes);
  /// The lanes of a vector from a channel on that hold one of so many channels.
  mlir::Value getTailMask(mlir::Value channel, int64_t channels, int64_t lanes) {
    return getMask(ix.sub(ix.constant(channels), channel), lanes);
  }
  /// sum + value, rounded, and what is to be taken from that for being rounded; `lost` is what it was before (W. Kahan 1965).
  std::pair<mlir::Value, mlir::Value> addCompensated(mlir::Value sum, mlir::Value lost, mlir::Value value);
  void fillWithZeros(mlir::Value buffer, mlir::Value count) { fillWithZeros(buffer, count, element); }
  void fillWithZeros(mlir::Value buffer, mlir::Value count, mlir::Type stored);
  /// Ends the function, and lets the host program call it for each task below `grid`.
  void launch(mlir::Value grid);

  HostProgram &host;
  mlir::OpBuilder builder;
  IndexBuilder ix;
  mlir::Location loc;
  mlir::Type element;
  mlir::Value task;

private:
  std::string name;
  mlir::LLVM::LLVMFuncOp function;
  mlir::Block *entry;
  llvm::SmallVector<mlir::Value> operands;                // host values
  llvm::DenseMap<mlir::Value, mlir::Value> arguments;     // host value -> value in the kernel
};

/// A kernel that brings the rows of a tensor to component order; returns the scratch with them.
mlir::Value launchToComponents(HostProgram &host, KernelOp source, mlir::Value tensor, mlir::Value rows, ComponentOrder order);

/// A kernel that writes the rows of a result, each the sum of its `copies` in `scratch`, in component order.
void launchSumOfCopies(HostProgram &host, KernelOp source, mlir::Value result, mlir::Value scratch, mlir::Value copies,
                       mlir::Value rows, ComponentOrder order);

/// A kernel that writes a result of one row: the sum over the tasks, each of which has some rows in `scratch`: its sum, what that lost, and
/// maybe others.
void launchSumOfShares(HostProgram &host, KernelOp source, mlir::Value result, mlir::Value scratch, mlir::Value tasks, int64_t stride,
                       int64_t rows, int64_t lanes);

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_CPUFUNCTION_H
