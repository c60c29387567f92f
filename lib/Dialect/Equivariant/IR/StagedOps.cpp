//===- StagedOps.cpp - level 5: staged kernels and the host function ------===//
#include "espmm/Dialect/Equivariant/IR/Equivariant.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace espmm::equivariant;

static bool isScalar(Type type) { return type.isF32() || type.isF64(); }

/// What a lane holds of one element of a small tensor: a scalar, or on the CPU a vector of channels.
static bool isElement(Type type) {
  auto vector = dyn_cast<VectorType>(type);
  return isScalar(vector ? vector.getElementType() : type) && (!vector || (vector.getRank() == 1 && !vector.isScalable()));
}

static bool isSmallTensor(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.hasStaticShape() && isElement(tensor.getElementType());
}

static LogicalResult verifySmallTensor(Operation *op, Type type) {
  if (isSmallTensor(type))
    return success();
  return op->emitOpError("expects a static tensor of f32, f64 or vectors of these, got ") << type;
}

/// The type of memory, if there is one besides the elements'.
static LogicalResult verifyStored(Operation *op, std::optional<Type> stored, Type element) {
  auto vector = dyn_cast<VectorType>(element);
  if (!stored || (isNarrow(*stored) && (vector ? vector.getElementType() : element).isF32()))
    return success();
  return op->emitOpError("expects elements of f32 stored as bf16 or f16, got ") << element << " and " << *stored;
}

//===----------------------------------------------------------------------===//
// read, write
//===----------------------------------------------------------------------===//

template <typename OpTy>
static LogicalResult verifyAccess(OpTy op, RankedTensorType type) {
  // read_c1, write_c1
  if (static_cast<int64_t>(op.getStrides().size()) != type.getRank())
    return op.emitOpError("expects one stride for each dimension of ") << type << ", got " << op.getStrides().size();
  // read_c2, write_c2
  if (failed(verifySmallTensor(op, type)))
    return failure();
  auto vector = dyn_cast<VectorType>(type.getElementType());
  // read_c3, write_c3
  if (vector && op.getLaneStride() != 1)
    return op.emitOpError("expects channels of a vector next to each other, got a lane stride of ") << op.getLaneStride();
  // read_c4, write_c4
  if (Value mask = op.getMask()) {
    Type bit = IntegerType::get(op.getContext(), 1);
    Type expected = vector ? Type(VectorType::get(vector.getShape(), bit)) : bit;
    if (mask.getType() != expected)
      return op.emitOpError("expects a mask of type ") << expected << ", got " << mask.getType();
  }
  return success();
}

static LogicalResult verifyPacked(Operation *op, RankedTensorType type, ArrayRef<int64_t> packed) {
  int64_t previous = -1;
  for (int64_t element : packed) {
    if (element <= previous || element >= type.getNumElements())
      return op->emitOpError("expects packed elements in ascending order, below ") << type.getNumElements() << ", got " << element;
    previous = element;
  }
  return success();
}

LogicalResult ReadOp::verify() {
  if (failed(verifyAccess(*this, getType())))
    return failure();
  // read_c6
  if (getAligned() < 1)
    return emitOpError("expects a base aligned to 1 scalar or more, got ") << getAligned();
  // read_c7
  if (failed(verifyStored(*this, getStored(), getType().getElementType())))
    return failure();
  // read_c5
  return verifyPacked(*this, getType(), getPacked().value_or(ArrayRef<int64_t>()));
}

LogicalResult WriteOp::verify() {
  if (failed(verifyAccess(*this, getValue().getType())))
    return failure();
  // write_c8
  if (getAtomic() && (!getAccumulate() || isa<VectorType>(getValue().getType().getElementType())))
    return emitOpError("adds atomically: expects scalars that are accumulated");
  // write_c5
  if (getAccumulate() && getNontemporal())
    return emitOpError("accumulates, so it reads what it writes: it cannot be nontemporal");
  // write_c6
  if (getPacked().has_value() != getVector().has_value() || (getVector() && *getVector() < 1))
    return emitOpError("expects a vector's length with packed elements, and only then");
  if (getPacked() && (getMask() || getAccumulate()))
    return emitOpError("expects packed elements without mask and accumulate");
  // write_c7
  if (getStored() && (getAccumulate() || getPacked()))
    return emitOpError("rounds what it writes: it can neither accumulate nor have packed elements");
  if (failed(verifyStored(*this, getStored(), getValue().getType().getElementType())))
    return failure();
  return verifyPacked(*this, getValue().getType(), getPacked().value_or(ArrayRef<int64_t>()));
}

LogicalResult StackOp::verify() {
  // stack_c1
  if (getValues().empty())
    return emitOpError("expects an operand, got none");
  for (Type type : getValues().getTypes()) {
    if (failed(verifySmallTensor(*this, type)))
      return failure();
    if (type != getValues().front().getType())
      return emitOpError("expects operands of one type, got ") << getValues().front().getType() << " and " << type;
  }
  // stack_c2
  auto part = cast<RankedTensorType>(getValues().front().getType());
  SmallVector<int64_t> shape{static_cast<int64_t>(getValues().size())};
  llvm::append_range(shape, part.getShape());
  auto expected = RankedTensorType::get(shape, part.getElementType());
  if (getType() != expected)
    return emitOpError("expects a result of type ") << expected << ", got " << getType();
  return success();
}

// restrict_c1
LogicalResult RestrictOp::verify() {
  auto type = cast<RankedTensorType>(getType());
  int64_t rank = type.getRank();
  if (static_cast<int64_t>(getOffsets().size()) != rank || static_cast<int64_t>(getSizes().size()) != rank)
    return emitOpError("expects one offset and one size for each dimension of ")
           << type << ", got " << getOffsets().size() << " and " << getSizes().size();
  for (auto [offset, size, extent] : llvm::zip(getOffsets(), getSizes(), type.getShape()))
    if (offset < 0 || size < 0 || offset + size > extent)
      return emitOpError("box from ") << offset << " of size " << size << " is not within an extent of " << extent;
  return success();
}

//===----------------------------------------------------------------------===//
// zero, lane_sum
//===----------------------------------------------------------------------===//

// zero_c1
LogicalResult ZeroOp::verify() { return verifySmallTensor(*this, getType()); }

LogicalResult LaneSumOp::verify() {
  // lane_sum_c1
  if (getValues().empty())
    return emitOpError("expects an operand, got none");
  Type element;
  int64_t count = 0;
  for (Type type : getValues().getTypes()) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    auto vector = dyn_cast<VectorType>(type);
    if (!isSmallTensor(type) && !isScalar(vector ? vector.getElementType() : type))
      return emitOpError("expects elements of f32 or f64 or small tensors of them, got ") << type;
    Type own = tensor ? tensor.getElementType() : type;
    if (element && own != element)
      return emitOpError("expects operands of one element type, got ") << element << " and " << own;
    element = own;
    count += tensor ? tensor.getNumElements() : 1;
  }
  // lane_sum_c2
  if (getType() != element)
    return emitOpError("expects a result of type ") << element << ", got " << getType();
  // lane_sum_c4
  if (getLanes() < 0 || (getLanes() && !llvm::isPowerOf2_64(getLanes())) || (!getLanes() && getAcross()) || (getLanes() && isa<VectorType>(element)))
    return emitOpError("expects groups of a power of two of a warp's lanes, got ") << getLanes();
  // lane_sum_c3
  int64_t from = getFrom();
  if (from < 0 || from >= count)
    return emitOpError("expects to begin within its ") << count << " elements, got " << from;
  bool hasTensors = llvm::all_of(getValues().getTypes(), [](Type type) { return isa<RankedTensorType>(type); });
  if (getStride() < 1 || (getStride() > 1 && !hasTensors))
    return emitOpError("expects a positive stride, 1 for elements, got ") << getStride();
  return success();
}

//===----------------------------------------------------------------------===//
// matrix_product
//===----------------------------------------------------------------------===//

std::array<StringRef, 3> MatrixProductOp::getLetters() {
  auto [factors, sums] = getSubscripts().split("->");
  auto [left, right] = factors.split(',');
  return {left, right, sums};
}

LogicalResult MatrixProductOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor adaptor, SmallVectorImpl<Type> &types) {
  llvm::append_range(types, adaptor.getSums().getTypes());
  return success();
}

LogicalResult MatrixProductOp::verify() {
  // matrix_product_c1
  std::array<OperandRange, 3> operands{getLeft(), getRight(), getSums()};
  Type element = getSums().empty() ? Type() : getSums().front().getType();
  if (auto tensor = dyn_cast_or_null<RankedTensorType>(element))
    element = tensor.getElementType();
  if (!element || !isScalar(element))
    return emitOpError("expects matrices of f32 or f64");
  std::array<size_t, 3> counts = element.isF64() ? std::array<size_t, 3>{1, 1, 2} : std::array<size_t, 3>{4, 2, 4};
  if (element.isF32() && getRight().size() == 1)
    counts = {2, 1, 4};
  for (auto [each, count] : llvm::zip(operands, counts)) {
    if (each.size() != count)
      return emitOpError("expects ") << counts[0] << ", " << counts[1] << " and " << counts[2] << " operands of " << element << ", got " << operands[0].size() << ", "
                                     << operands[1].size() << " and " << operands[2].size();
    for (Type type : each.getTypes()) {
      auto tensor = dyn_cast<RankedTensorType>(type);
      if (type != each.front().getType() || (tensor ? tensor.getElementType() : type) != element || (tensor && !tensor.hasStaticShape()))
        return emitOpError("expects all elements of a matrix to be of one type, scalars or small tensors of ") << element << ", got " << type;
    }
  }
  // matrix_product_c2
  if (getSubscripts().count("->") != 1 || getSubscripts().split("->").first.count(',') != 1)
    return emitOpError("expects letters of left and right, then '->' and those of the sums, got \"") << getSubscripts() << "\"";
  llvm::SmallDenseMap<char, int64_t> extents;
  for (auto [letters, each] : llvm::zip(getLetters(), operands)) {
    auto tensor = dyn_cast<RankedTensorType>(each.front().getType());
    ArrayRef<int64_t> shape = tensor ? tensor.getShape() : ArrayRef<int64_t>();
    if (letters.size() != shape.size())
      return emitOpError("'") << letters << "' names " << letters.size() << " dimensions, got " << each.front().getType();
    for (auto [letter, extent] : llvm::zip(letters, shape)) {
      bool isNew = extents.try_emplace(letter, extent).second;
      if (letters.count(letter) > 1 || extents[letter] != extent || (isNew && each.getBeginOperandIndex() == getSums().getBeginOperandIndex()))
        return emitOpError("expects '") << Twine(letter) << "' once in '" << letters << "', in a factor, and of one extent";
    }
  }
  // matrix_product_c3
  if (getTerms() != 1 && (getTerms() != 3 || !element.isF32()))
    return emitOpError("expects 1 term, or 3 of f32, got ") << getTerms();
  return success();
}

//===----------------------------------------------------------------------===//
// relayout, transpose, async_copy, copy_out
//===----------------------------------------------------------------------===//

LogicalResult RelayoutOp::verify() {
  // relayout_c1
  if (!llvm::isPowerOf2_64(getVector()))
    return emitOpError("expects a vector of a power of two channels, got ") << getVector();
  // relayout_c2
  if (!isScalar(getElementType()))
    return emitOpError("expects elements of type f32 or f64, got ") << getElementType();
  // relayout_c3
  auto block = getBlock();
  if (getIrreps().has_value() == block.has_value() || (block && (block->size() != 2 || llvm::any_of(*block, [](int64_t n) { return n < 1; }))))
    return emitOpError("expects irreps, or a block of two positive numbers");
  // relayout_c4
  return verifyStored(*this, getStored(), getElementType());
}

LogicalResult TransposeOp::verify() {
  // transpose_c1
  ArrayRef<int64_t> block = getBlock();
  if (block.size() != 2 || block[0] < 1 || block[1] < 1)
    return emitOpError("expects a block of two positive numbers");
  if (static_cast<int64_t>(getSourceStride()) < block[1] || static_cast<int64_t>(getTargetStride()) < block[0])
    return emitOpError("expects strides of at least ") << block[1] << " and " << block[0] << ", got " << getSourceStride() << " and " << getTargetStride();
  // transpose_c2
  if (!llvm::isPowerOf2_64(getVector()))
    return emitOpError("expects a vector of a power of two scalars, got ") << getVector();
  // transpose_c3
  Type from = getSourceType(), to = getTargetType();
  bool converts = (isNarrow(from) && to.isF32()) || (from.isF32() && isNarrow(to));
  if (!converts && (from != to || !isScalar(from)))
    return emitOpError("expects scalars of one type, f32 or f64, or f32 and bf16 or f16, got ") << from << " and " << to;
  return success();
}

template <typename OpTy>
static LogicalResult verifyRuns(OpTy op, bool mayBeNarrow) {
  ArrayRef<int64_t> runs = op.getRuns();
  int64_t width = op.getWidth();
  // async_copy_c1, copy_out_c1
  if (runs.size() % 5 != 0)
    return op.emitOpError("expects five numbers for each run, got ") << runs.size() << " numbers";
  for (size_t r = 0; r < runs.size(); r += 5)
    if (width <= 0 || runs[r + 2] % width != 0)
      return op.emitOpError("expects runs of a multiple of ") << width << " elements, got " << runs[r + 2];
  // async_copy_c2, copy_out_c2
  if (!isScalar(op.getElementType()) && !(mayBeNarrow && isNarrow(op.getElementType())))
    return op.emitOpError(mayBeNarrow ? "expects elements of type f32, f64, bf16 or f16, got " : "expects elements of type f32 or f64, got ") << op.getElementType();
  int64_t bytes = width * op.getElementType().getIntOrFloatBitWidth() / 8;
  if (!llvm::is_contained({4, 8, 16}, bytes))
    return op.emitOpError("expects pieces of 4, 8 or 16 bytes, got ") << bytes;
  // async_copy_c3, copy_out_c5
  size_t further = op.getAlso() ? op.getAlso()->size() : 0, count = runs.size() / 5;
  if (op.getAlso().has_value() != !!op.getInstance() || (further ? count == 0 || further % count != 0 : op.getAlso().has_value()))
    return op.emitOpError("expects an instance and, for each of ") << count << " runs, as many further offsets, or neither, got " << further;
  return success();
}

LogicalResult AsyncCopyOp::verify() { return verifyRuns(*this, /*mayBeNarrow=*/true); }
LogicalResult CopyOutOp::verify() {
  // copy_out_c3
  if (getThreads() <= 0 || getThreads() % 32 != 0 || getCopies() < 1 || getStride() < 0 || getWidth() <= 0 || getStride() % getWidth() != 0)
    return emitOpError("expects threads to be a multiple of 32, copies >= 1 and a stride that is a multiple of the width, got ")
           << getThreads() << ", " << getCopies() << " and " << getStride();
  // copy_out_c4
  if (getStored() && getAtomic())
    return emitOpError("rounds what it writes: it cannot add to what is there");
  if (failed(verifyStored(*this, getStored(), getElementType())))
    return failure();
  return verifyRuns(*this, /*mayBeNarrow=*/false);
}

//===----------------------------------------------------------------------===//
// launch
//===----------------------------------------------------------------------===//

LogicalResult LaunchOp::verify() {
  // launch_c1
  for (Type type : getOperands_().getTypes())
    if (!type.isInteger(64) && !isa<LLVM::LLVMPointerType>(type))
      return emitOpError("expects operands of 64 bits, pointers or i64, got ") << type;
  // launch_c2
  if (getBlock().has_value() != getShared().has_value())
    return emitOpError("expects block and shared together, or neither of them");
  if (auto block = getBlock()) {
    int64_t threads = 1;
    for (int64_t extent : *block)
      threads = extent > 0 && extent <= 1024 ? threads * extent : 1025;
    if (block->size() != 3 || threads > 1024 || *getShared() < 0)
      return emitOpError("expects a block of three dimensions of together at most 1024 threads, and shared >= 0, got ")
             << getBlockAttr() << " and " << *getShared();
  }
  // launch_c5
  if (getRows() && (!getBlock() || *getShared() % (16 * (*getBlock())[1]) != 0))
    return emitOpError("expects rows with a block, and shared memory that its rows have equal parts of, multiples of 16 bytes");
  // launch_c6
  if (getOverlaps()) {
    Operation *before = getOperation()->getPrevNode();
    while (before && !isa<LaunchOp, FillOp>(before))
      before = before->getPrevNode();
    if (!getBlock() || !isa_and_nonnull<LaunchOp>(before))
      return emitOpError("expects what overlaps to have a block, and to follow a launch");
  }
  return success();
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // launch_c3
  auto function = symbols.lookupNearestSymbolFrom<LLVM::LLVMFuncOp>(*this, getKernelAttr());
  if (!function)
    return emitOpError("expects a device function @") << getKernel() << " in the module, got none";
  // launch_c4
  auto type = function.getFunctionType();
  if (getBlock()) {
    if (type.getNumParams() != getOperands_().size())
      return emitOpError("expects ") << type.getNumParams() << " operands for @" << getKernel() << ", got " << getOperands_().size();
    return success();
  }
  if (type.getNumParams() != 2 || !isa<LLVM::LLVMPointerType>(type.getParamType(0)) || !type.getParamType(1).isInteger(64))
    return emitOpError("expects @") << getKernel() << " to take its arguments' array and a task, a pointer and an i64, got " << type;
  return success();
}
