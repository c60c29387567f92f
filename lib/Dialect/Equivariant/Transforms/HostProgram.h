//===- HostProgram.h - the host function of a staged program ----*- C++ -*-===//
//
// A staged program is a module of device functions and one host function: the sizes, then the arguments, plan arrays and
// results as pointers; it computes sizes, takes scratch, fills and launches. This class writes that function, whatever the target.
//
//===----------------------------------------------------------------------===//
#ifndef ESPMM_LIB_EQUIVARIANT_HOSTPROGRAM_H
#define ESPMM_LIB_EQUIVARIANT_HOSTPROGRAM_H

#include "espmm/Dialect/Equivariant/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/MapVector.h"

namespace espmm::equivariant {

/// Scalar i64 arithmetic, constants folded, at an insertion point.
class IndexBuilder {
public:
  explicit IndexBuilder(mlir::OpBuilder &builder, mlir::Location loc, unsigned bits = 64) : builder(builder), loc(loc), bits(bits) {}
  mlir::Value constant(int64_t value);
  mlir::Value add(mlir::Value a, mlir::Value b);
  mlir::Value sub(mlir::Value a, mlir::Value b);
  mlir::Value mul(mlir::Value a, mlir::Value b);
  mlir::Value mul(mlir::Value a, int64_t b) { return b == 1 ? a : mul(a, constant(b)); }
  mlir::Value add(mlir::Value a, int64_t b) { return b == 0 ? a : add(a, constant(b)); }
  mlir::Value floordiv(mlir::Value a, int64_t b);
  mlir::Value ceildiv(mlir::Value a, mlir::Value b);
  mlir::Value min(mlir::Value a, mlir::Value b);
  mlir::Value max(mlir::Value a, mlir::Value b);
  mlir::Value less(mlir::Value a, mlir::Value b);
  /// 1 if a > b, else 0, for numbers that are not negative; in operations that a manifest has.
  mlir::Value isMore(mlir::Value a, mlir::Value b);
  /// base + index, in elements of a type.
  mlir::Value address(mlir::Value base, mlir::Value index, mlir::Type element);
  /// An int32 of an index array, widened.
  mlir::Value loadIndex(mlir::Value base, mlir::Value index);
  /// The same; without an array (a null pointer) the index itself.
  mlir::Value loadIndexIfAny(mlir::Value base, mlir::Value index);

  mlir::OpBuilder &builder;
  mlir::Location loc;
  unsigned bits; // of numbers
};

class HostProgram {
public:
  /// What a host function can say: kernels, sums of their results, converts of arguments and of results, and zeros, each returned once.
  static mlir::LogicalResult verify(mlir::func::FuncOp source);
  /// Starts the host function for a verified level-4 function, next to it.
  explicit HostProgram(mlir::func::FuncOp source);

  enum Size { E, R, S };
  mlir::Value getSize(Size size) { return host.getArgument(size); }
  /// How many rows a value with this access has.
  mlir::Value getRows(Access access);
  /// The pointer of a tensor of the source: an argument, or the buffer of a kernel's result.
  mlir::Value getBuffer(mlir::Value tensor);
  /// The buffer that a kernel's result goes to: kernels whose results are added share one.
  mlir::Value getDestination(mlir::Value kernelResult) { return getBuffer(getSum(kernelResult)); }
  /// The value that a kernel's result is added up in.
  static mlir::Value getSum(mlir::Value kernelResult);
  /// Fills with zeros the destinations of all kernels that are not overwritten whole: those that are added to, and rows that
  /// have blocks which no kernel writes.
  void zeroDestinations();
  /// Rows by edge that several warps give a share of, each in a copy of its own: the copies of all kernels that a result is
  /// summed from, and the first of this kernel's. `sumCopies` adds them up.
  struct Copies {
    mlir::Value scratch;
    int64_t next = 0, total = 0;
  };
  std::pair<mlir::Value, int64_t> reserveCopies(mlir::Value kernelResult, int64_t count);
  const llvm::MapVector<mlir::Value, Copies> &getCopies() const { return copies; }
  /// "receivers" + "offsets" and so on.
  mlir::Value getPlan(Access side, llvm::StringRef array);
  /// A buffer that lives as long as the call; `use` says in words what it holds of a tensor.
  mlir::Value getScratch(mlir::Value bytes, mlir::Value tensor, const llvm::Twine &use);
  /// Says that a kernel counts on a buffer's address being a multiple of `bytes`. Scratch always is.
  static void requireAlignment(mlir::Value buffer, int64_t bytes);
  void fill(mlir::Value buffer, mlir::Value bytes);
  /// The elements of a convert's operand and result.
  mlir::Value countElements(ConvertOp convert);
  /// What launches of the kernel that is named next say of it. Kernels with a suffix, which only move rows, cost nothing for an edge and had no choice.
  void setAttributes(mlir::DictionaryAttr given) { attributes = given; }
  void launch(llvm::StringRef kernel, mlir::Value grid, mlir::ValueRange operands,
              std::optional<std::array<int64_t, 3>> block = std::nullopt, int64_t shared = 0, mlir::Value rows = {});
  /// Ends the function and erases the source.
  void finish();

  /// A device function's name, unique in the module.
  std::string getKernelName(llvm::StringRef suffix);
  IndexBuilder &index() { return indices; }
  mlir::LLVM::LLVMPointerType getPointerType() { return pointer; }

private:
  mlir::func::FuncOp source, host;
  mlir::OpBuilder builder;
  IndexBuilder indices;
  mlir::LLVM::LLVMPointerType pointer;
  mlir::DictionaryAttr attributes;
  llvm::StringMap<mlir::DictionaryAttr> attributesOf; // by kernel
  llvm::DenseMap<mlir::Value, mlir::Value> buffers;
  llvm::MapVector<mlir::Value, Copies> copies;  // by kernel result that the destination is named by
  llvm::SmallVector<std::pair<std::string, unsigned>> plan;
  unsigned numArguments = 0, numResults = 0, numKernels = 0;
};

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_HOSTPROGRAM_H
