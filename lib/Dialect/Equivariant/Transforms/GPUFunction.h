//===- GPUFunction.h - device kernels being written -------------*- C++ -*-===//
//
// A device kernel is a function of pointers and 64-bit numbers, run by blocks of (32, warps, 1) threads. This is what writing
// one needs: its arguments, who a thread is, shared memory, barriers, and its launch.
//
//===----------------------------------------------------------------------===//
#ifndef ESPMM_LIB_EQUIVARIANT_GPUFUNCTION_H
#define ESPMM_LIB_EQUIVARIANT_GPUFUNCTION_H

#include "HostProgram.h"

namespace espmm::equivariant {

class GPUFunction {
public:
  GPUFunction(HostProgram &host, KernelOp source, int64_t warps, llvm::StringRef suffix = "");

  /// A kernel parameter, given a host value.
  mlir::Value getArgument(mlir::Value hostValue, bool readOnly = true);
  mlir::Value getRowPointer(mlir::Value base, mlir::Value row, int64_t width, mlir::Type element) {
    return ix.address(base, ix.mul(row, width), element);
  }
  /// What follows is done only if the condition holds; the builder then stands in its branch.
  mlir::scf::IfOp guard(mlir::Value condition, mlir::TypeRange types = {});
  void syncWarp();
  void syncBlock();
  /// Ends the function, and lets the host program launch it. `rows` is how many warps a block has, of the host function, if not all;
  /// `sharedBytes` is what all of them take, `registers` what a thread may have, 0 any number.
  void launch(mlir::Value grid, mlir::Value rows, int64_t sharedBytes, int64_t registers);

  HostProgram &host;
  mlir::OpBuilder builder;
  IndexBuilder ix;
  mlir::Location loc;
  mlir::LLVM::LLVMPointerType global, shared;
  /// Of this thread: its lane, its warp in the block (a constant 0 if there is one only), its number in the block.
  mlir::Value lane, warp, thread;
  mlir::Value block, sharedBase;
  /// The beginning of the warp's part of shared memory, of so many elements.
  mlir::Value getWarpMemory(int64_t size, mlir::Type element) { return ix.address(sharedBase, ix.mul(row, size), element); }
  mlir::Value getWarpMemory(mlir::Value size, mlir::Type element) { return ix.address(sharedBase, ix.mul(row, size), element); }

  /// sum + value, rounded, and what is to be taken from that for being rounded; `lost` is what it was before (W. Kahan 1965).
  std::pair<mlir::Value, mlir::Value> addCompensated(mlir::Value sum, mlir::Value lost, mlir::Value value);

private:
  mlir::Value row;  // the warp, but not known to be the same in all lanes
  int64_t warps;
  std::string name;
  mlir::LLVM::LLVMFuncOp function;
  mlir::Block *entry;
  llvm::SmallVector<mlir::Value> operands;             // host values
  llvm::SmallVector<bool> readOnlyArguments;
  llvm::DenseMap<mlir::Value, mlir::Value> arguments;  // host value -> parameter
};

/// A kernel whose threads are numbered through: its function, and what number a thread has.
struct FlatKernel {
  static constexpr int32_t threads = 256; // of a block
  mlir::LLVM::LLVMFuncOp function;
  mlir::Value thread;
};

/// Begins one where the builder is, which then is in the kernel.
FlatKernel beginFlatKernel(mlir::OpBuilder &builder, IndexBuilder &ix, llvm::StringRef name, llvm::ArrayRef<mlir::Type> arguments);

/// A device function with a thread an element of so many, and its launch: `body` is given its arguments, two pointers and the count, and the thread's element.
void launchForEachElement(HostProgram &host, mlir::func::FuncOp source, mlir::StringRef suffix, std::array<mlir::Value, 2> buffers, mlir::Value count,
                          llvm::function_ref<void(mlir::OpBuilder &, IndexBuilder &, mlir::ValueRange, mlir::Value)> body);

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_GPUFUNCTION_H
