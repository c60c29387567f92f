#ifndef ESPMM_EQUIVARIANT_STAGEDOPS_TD
#define ESPMM_EQUIVARIANT_STAGEDOPS_TD

//===----------------------------------------------------------------------===//
// Level 5: staged kernels. Loops are scf.for, addresses are !llvm.ptr, and the body is still a few dozen
// einsums. The channel axis is gone from the tensors: a value that has channels holds, for each of its small components, what
// one lane holds (GPU: f32), or a vector of channels (CPU: vector<8xf32>); one without channels holds scalars.
//===----------------------------------------------------------------------===//

include "mlir/Dialect/LLVMIR/LLVMOpBase.td"

def Equivariant_ReadOp : Equivariant_Op<"read", [AttrSizedOperandSegments, MemoryEffects<[MemRead]>]> {
  let summary = "read a small tensor from memory";
  let description = [{
    Element (a, b, ...) is read at `base + offset + lane * lane_stride + a * strides[0] + b * strides[1] + ...`, counted in scalars. If the elements are vectors,
    `lane` is the first channel, and lane_stride 1. With a mask, lanes whose bit is clear read zero.

    A read happens at any place between its own and the next operation with effects other than reads and writes of the same run: the memory it reads must not be
    written by a `write` of that run.

    With `packed`, only the elements of these numbers (row-major) are in memory, one after the other; the others are structurally zero. With `aligned`, the base
    is known to be at a multiple of so many scalars. With `as`, the scalars in memory are of that type, and what is read is extended.

    Example: `%x = equivariant.read %p[%c] offset 24 strides [8] : !llvm.ptr -> tensor<3xvector<8xf32>>`

    Constraints:
    - (read_c1) one stride for each dimension.
    - (read_c2) the result is static, of f32, f64 or vectors of these.
    - (read_c3) channels of vectors are next to each other: lane_stride is 1.
    - (read_c4) the mask has a bit for each channel of an element: i1, or a vector of i1.
    - (read_c5) packed elements are in ascending order and within the tensor.
    - (read_c6) aligned is positive.
    - (read_c7) `as` is bf16 or f16, and the elements are f32.
  }];
  let arguments = (ins LLVM_AnyPointer:$base, Optional<I64>:$lane, Optional<AnyType>:$mask, I64Attr:$offset,
    DefaultValuedAttr<I64Attr, "1">:$lane_stride, DenseI64ArrayAttr:$strides, OptionalAttr<DenseI64ArrayAttr>:$packed,
    DefaultValuedAttr<I64Attr, "1">:$aligned, OptionalAttr<TypeAttr>:$stored);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $base (`[` $lane^ (`*` $lane_stride^)? `]`)? (`mask` $mask^ `:` type($mask))? `offset` $offset `strides` $strides (`packed` $packed^)? (`aligned` $aligned^)? (`as` $stored^)? attr-dict `:` type($base) `->` type($result)
  }];
  let builders = [OpBuilder<(ins "::mlir::Type":$result, "::mlir::Value":$base, "::mlir::Value":$lane, "::mlir::Value":$mask,
      "int64_t":$offset, "int64_t":$lane_stride, "::llvm::ArrayRef<int64_t>":$strides, CArg<"::mlir::TypeAttr", "{}">:$stored), [{
    build($_builder, $_state, result, base, lane, mask, offset, lane_stride, strides, ::mlir::DenseI64ArrayAttr(), /*aligned=*/1, stored);
  }]>];
  let hasVerifier = 1;
}

def Equivariant_WriteOp : Equivariant_Op<"write", [AttrSizedOperandSegments, MemoryEffects<[MemWrite]>]> {
  let summary = "write a small tensor to memory, or add it to what is there";
  let description = [{
    Addresses as in `read`. `accumulate` adds, `atomic` without waiting for what is there (GPU); `nontemporal` says that nobody will read it soon. `packed` as in `read`, with `vector`: scalars next to each other
    are computed as vectors of that length where they are sums of constants times what was read, and memory up to the next multiple of it is overwritten.
    With `as`, each scalar is rounded to that type, and memory holds scalars of it.

    Example: `equivariant.write %v to %p[%c] offset 24 strides [8] accumulate : tensor<3xvector<8xf32>>, !llvm.ptr`

    Constraints:
    - (write_c1) one stride for each dimension.
    - (write_c2) the value is static, of f32, f64 or vectors of these.
    - (write_c3) channels of vectors are next to each other: lane_stride is 1.
    - (write_c4) the mask has a bit for each channel of an element: i1, or a vector of i1.
    - (write_c5) what is accumulated is not nontemporal.
    - (write_c6) packed elements are in ascending order and within the tensor; with them goes a vector's length, and neither mask nor accumulate.
    - (write_c7) `as` is bf16 or f16, and the elements are f32; such a value is neither accumulated nor packed.
    - (write_c8) what is `atomic` is accumulated scalars.
  }];
  let arguments = (ins AnyRankedTensor:$value, LLVM_AnyPointer:$base, Optional<I64>:$lane, Optional<AnyType>:$mask, I64Attr:$offset,
    DefaultValuedAttr<I64Attr, "1">:$lane_stride, DenseI64ArrayAttr:$strides, UnitAttr:$accumulate, UnitAttr:$atomic, UnitAttr:$nontemporal,
    OptionalAttr<DenseI64ArrayAttr>:$packed, OptionalAttr<I64Attr>:$vector, OptionalAttr<TypeAttr>:$stored);
  let assemblyFormat = [{
    $value `to` $base (`[` $lane^ (`*` $lane_stride^)? `]`)? (`mask` $mask^ `:` type($mask))? `offset` $offset `strides` $strides
    (`accumulate` $accumulate^)? (`atomic` $atomic^)? (`nontemporal` $nontemporal^)? (`packed` $packed^ `vector` $vector)? (`as` $stored^)? attr-dict `:` type($value) `,` type($base)
  }];
  let builders = [OpBuilder<(ins "::mlir::Value":$value, "::mlir::Value":$base, "::mlir::Value":$lane, "::mlir::Value":$mask,
      "int64_t":$offset, "int64_t":$lane_stride, "::llvm::ArrayRef<int64_t>":$strides, "bool":$accumulate, "bool":$nontemporal,
      CArg<"::mlir::TypeAttr", "{}">:$stored), [{
    build($_builder, $_state, value, base, lane, mask, offset, lane_stride, strides, accumulate, /*atomic=*/false, nontemporal,
          ::mlir::DenseI64ArrayAttr(), ::mlir::IntegerAttr(), stored);
  }]>];
  let hasVerifier = 1;
}

def Equivariant_ZeroOp : Equivariant_Op<"zero", [Pure]> {
  let summary = "a small tensor of zeros, each structurally zero";
  let description = [{
    Example: `%0 = equivariant.zero : tensor<3xvector<8xf32>>`

    Constraints:
    - (zero_c1) the result is static, of f32, f64 or vectors of these.
  }];
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Equivariant_StackOp : Equivariant_Op<"stack", [Pure]> {
  let summary = "small tensors of one shape as one with a first dimension more";
  let description = [{
    What a lane holds of several channels, read one by one.

    Example: `%s = equivariant.stack %a, %b : tensor<3xf32>, tensor<3xf32> -> tensor<2x3xf32>`

    Constraints:
    - (stack_c1) one operand or more, of one type: static, of f32, f64 or vectors of these.
    - (stack_c2) the result is of their number times their shape.
  }];
  let arguments = (ins Variadic<AnyRankedTensor>:$values);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$values attr-dict `:` type($values) `->` type($result)";
  let hasVerifier = 1;
}

def Equivariant_RestrictOp : Equivariant_Op<"restrict", [Pure, SameOperandsAndResultType]> {
  let summary = "a small tensor whose elements outside of a box are structurally zero";
  let description = [{
    What is zero is not computed: a sum with more elements than there are registers is taken a box at a time.

    Example: `%b = equivariant.restrict %a from [0, 2] sizes [5, 2] : tensor<5x7xvector<8xf32>>`

    Constraints:
    - (restrict_c1) one offset and one size for each dimension; the box lies within the tensor.
  }];
  let arguments = (ins AnyRankedTensor:$source, DenseI64ArrayAttr:$offsets, DenseI64ArrayAttr:$sizes);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$source `from` $offsets `sizes` $sizes attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Equivariant_LaneSumOp : Equivariant_Op<"lane_sum", [Pure]> {
  let summary = "sum each element over its lanes";
  let description = [{
    Sums as many elements at once as there are lanes: the elements of the operands, in their order, from element `from` on. Lane t of the result
    holds the sum of element t mod n over all lanes, n being the number of elements rounded up to a power of two. On the CPU an element and the result are vectors; on the GPU an
    element is what a lane of a warp holds, and the result is one scalar a lane. With `stride`, every n-th element is taken. Groups of `lanes` lanes next to each
    other have sums of their own; with `across`, the sum is over lanes that have the same place in such groups, of one element. `equivariant-sparsify`
    replaces the tensors by their elements.

    Example: `%s = equivariant.lane_sum %v : tensor<3xvector<8xf32>> -> vector<8xf32>`

    Constraints:
    - (lane_sum_c1) one operand or more, elements or small tensors of them, of one type.
    - (lane_sum_c2) the result is of the elements' type.
    - (lane_sum_c3) `from` is less than the number of elements; the stride is positive, and 1 for elements.
    - (lane_sum_c4) `lanes` is a power of two; 0, which is that of all, for vectors and without groups.
  }];
  let arguments = (ins Variadic<AnyType>:$values, DefaultValuedAttr<I64Attr, "0">:$from, DefaultValuedAttr<I64Attr, "1">:$stride,
    DefaultValuedAttr<I64Attr, "0">:$lanes, UnitAttr:$across);
  let results = (outs AnyType:$result);
  let assemblyFormat = [{
    (`from` $from^)? (`stride` $stride^)? (`of` $lanes^ `lanes`)? (`across` $across^)? $values attr-dict `:` type($values) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Equivariant_MatrixProductOp : Equivariant_Op<"matrix_product", [Pure, AttrSizedOperandSegments, InferTypeOpAdaptor]> {
  let summary = "sums + left x right, matrices that a warp's lanes hold together";
  let description = [{
    Lane 4 b + a of a warp, b < 8, a < 4, holds of f32 matrices of 16 x 8, 8 x 8 and 16 x 8 elements: of `left` (b, a), (b + 8, a), (b, a + 4) and (b + 8, a + 4), of `right`
    (a, b) and (a + 4, b), of `sums` (b, 2 a), (b, 2 a + 1), (b + 8, 2 a) and (b + 8, 2 a + 1), the first half of left's and right's if four are summed and not eight; of f64 matrices of 8 x 4, 4 x 8 and 8 x 8 elements (b, a), (a, b), and (b, 2 a) and
    (b, 2 a + 1). These are the fragments of PTX's `mma`. If elements are small tensors, there is a matrix for each of their components, and `subscripts` say, as those of an einsum,
    which are multiplied and what they are added to. All lanes of the warp have to be there.

    With `terms 1` f32 factors are rounded to tf32. With `terms 3` each is the sum of two such numbers, of whose four products the smallest is left out, and what a
    product of matrices gives is added to the sums as f32 are: these are then about as exact as those of multiply-adds. Products of f64 are exact. `equivariant-sparsify` replaces the tensors by their elements.

    Example: `%c:2 = equivariant.matrix_product "k,->k" %a by %b into %c0, %c1 terms 1 : tensor<3xf64> by tensor<f64> into tensor<3xf64>, tensor<3xf64>`

    Constraints:
    - (matrix_product_c1) f32: 4, 2 and 4 operands, or 2, 1 and 4; f64: 1, 1 and 2; scalars, or small tensors of them, those of a matrix of one type.
    - (matrix_product_c2) the subscripts name the dimensions of the tensors, each letter of the sums once in one of the factors or in both.
    - (matrix_product_c3) `terms` is 1, or 3 for f32.
  }];
  let arguments = (ins StrAttr:$subscripts, Variadic<AnyType>:$left, Variadic<AnyType>:$right, Variadic<AnyType>:$sums, I64Attr:$terms);
  let results = (outs Variadic<AnyType>:$results);
  let assemblyFormat = [{
    $subscripts $left `by` $right `into` $sums `terms` $terms attr-dict `:` type($left) `by` type($right) `into` type($sums)
  }];
  let extraClassDeclaration = [{
    /// The letters of left, right and sums.
    ::std::array<::llvm::StringRef, 3> getLetters();
    /// The units' tile for elements of a type: rows and columns of the result, and what is summed.
    static constexpr int64_t columns = 8;
    static int64_t getRows(::mlir::Type element) { return element.isF64() ? 8 : 16; }
    static int64_t getSummed(::mlir::Type element) { return element.isF64() ? 4 : 8; }
  }];
  let hasVerifier = 1;
}

def Equivariant_RelayoutOp : Equivariant_Op<"relayout", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "copy a row between memory order and component order";
  let description = [{
    Component order is what vectors want: block after block, component after component, the channels of one component next to each other and padded with zeros to a multiple
    of `vector`. `gather` copies a row of `irreps` (in their layout), or one `block` of channels with so many elements each, to component order, `scatter` copies
    it back. With `as`, the elements in memory order are of that type: they are extended by `gather` and rounded by `scatter`.

    Example: `equivariant.relayout gather %row to %buffer of #equivariant.irreps<"8x1o", mul_ir> vector 8 : f32, !llvm.ptr, !llvm.ptr`,
    `equivariant.relayout scatter %buffer to %weights of block [8, 4] vector 8 : f32, !llvm.ptr, !llvm.ptr`

    Constraints:
    - (relayout_c1) the vector's width is a power of two.
    - (relayout_c2) the elements are f32 or f64.
    - (relayout_c3) either irreps are given, or a block: two positive numbers.
    - (relayout_c4) `as` is bf16 or f16, and the elements are f32.
  }];
  let arguments = (ins LLVM_AnyPointer:$source, LLVM_AnyPointer:$target, UnitAttr:$scatter, OptionalAttr<Equivariant_IrrepsAttr>:$irreps,
    OptionalAttr<DenseI64ArrayAttr>:$block, I64Attr:$vector, TypeAttr:$element_type, OptionalAttr<TypeAttr>:$stored);
  let assemblyFormat = "(`scatter` $scatter^):(`gather`)? $source `to` $target `of` ($irreps^)? (`block` $block^)? `vector` $vector (`as` $stored^)? `:` $element_type `,` type($source) `,` type($target) attr-dict";
  let hasVerifier = 1;
}

def Equivariant_TransposeOp : Equivariant_Op<"transpose", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "copy a matrix so that its rows become columns";
  let description = [{
    Of a `block` of rows and columns, element (r, c) is at `source + r * source stride + c`, and goes to `target + c * target stride + r`, counted in scalars;
    `vector` of them are moved at a time. So rows of a tensor come to lie side by side, and back. The types are those of the scalars there: they are extended, or rounded.

    Example: `equivariant.transpose %rows stride 30 to %tile stride 8 of block [8, 30] vector 8 : f32 to f32, !llvm.ptr, !llvm.ptr`

    Constraints:
    - (transpose_c1) the block is two positive numbers; strides are at least what lies between.
    - (transpose_c2) the vector's width is a power of two.
    - (transpose_c3) the types are one, f32 or f64; or f32 and bf16 or f16.
  }];
  let arguments = (ins LLVM_AnyPointer:$source, LLVM_AnyPointer:$target, I64Attr:$source_stride, I64Attr:$target_stride, DenseI64ArrayAttr:$block, I64Attr:$vector,
    TypeAttr:$source_type, TypeAttr:$target_type);
  let assemblyFormat = [{
    $source `stride` $source_stride `to` $target `stride` $target_stride `of` `block` $block `vector` $vector `:` $source_type `to` $target_type `,` type($source) `,` type($target) attr-dict
  }];
  let hasVerifier = 1;
}

def Equivariant_AsyncCopyOp : Equivariant_Op<"async_copy", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "start copying parts of a row to a warp's shared memory";
  let description = [{
    `runs` holds, for each contiguous run, (offset, slab stride, count, channels' dimension, multiplicity): the run starts at `offset + slab * slab stride` of the
    row, has `count` elements for a whole slab, and belongs to a block with that many elements a channel and channels in all; elements of channels past
    the multiplicity are filled with zeros. Dimension 0 means that the run has no channels. The runs follow each other in shared memory. `width` elements
    are copied at a time, each by one lane of the warp. `once` says that nobody will read them again soon: caches give them up first. In a kernel of several instances
    `also` has, for run after run, the offsets in those after the first, and `instance` is the warp's.

    Example: `equivariant.async_copy %row to %slot slab %slab lane %lane runs [0, 96, 96, 3, 128] width 4 : f32, !llvm.ptr<1>, !llvm.ptr<3>`

    Constraints:
    - (async_copy_c1) five numbers a run; counts are multiples of the width.
    - (async_copy_c2) the elements are f32, f64, bf16 or f16, and `width` of them 4, 8 or 16 bytes.
    - (async_copy_c3) an instance goes with further offsets, as many for each run.
  }];
  let arguments = (ins LLVM_AnyPointer:$source, LLVM_AnyPointer:$target, I64:$slab, I64:$lane, Optional<I64>:$instance, DenseI64ArrayAttr:$runs,
    OptionalAttr<DenseI64ArrayAttr>:$also, I64Attr:$width, UnitAttr:$once, TypeAttr:$element_type);
  let assemblyFormat = "$source `to` $target `slab` $slab `lane` $lane `runs` $runs (`also` $also^ `instance` $instance)? `width` $width (`once` $once^)? `:` $element_type `,` type($source) `,` type($target) attr-dict";
  let hasVerifier = 1;
}

def Equivariant_CopyOutOp : Equivariant_Op<"copy_out", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "write parts of a row from a warp's shared memory, or add them to what is there";
  let description = [{
    The way back of `async_copy`. `atomic` adds, in no particular order among warps. `once`, `also` and `instance` are as there. `copies n stride s` writes the sum, in order, of n copies
    that begin s elements after each other: what the warps of a block have for one row; then `threads`, all of theirs, share the work, and `lane` is a thread's
    number in the block. With `as`, what is written is rounded to that type.

    Example: `equivariant.copy_out %slot to %row slab %slab lane %lane runs [0, 96, 96, 3, 128] width 4 atomic : f32, !llvm.ptr<3>, !llvm.ptr<1>`

    Constraints:
    - (copy_out_c1) five numbers a run; counts are multiples of the width.
    - (copy_out_c2) the elements are f32 or f64, and `width` of them 4, 8 or 16 bytes.
    - (copy_out_c3) `threads` is a multiple of 32; there is at least one copy; the stride is a multiple of the width.
    - (copy_out_c4) `as` is bf16 or f16, the elements are f32, and nothing is added to what is there.
    - (copy_out_c5) an instance goes with further offsets, as many for each run.
  }];
  let arguments = (ins LLVM_AnyPointer:$source, LLVM_AnyPointer:$target, I64:$slab, I64:$lane, Optional<I64>:$instance, DenseI64ArrayAttr:$runs,
    OptionalAttr<DenseI64ArrayAttr>:$also, I64Attr:$width, UnitAttr:$atomic, UnitAttr:$once,
    DefaultValuedAttr<I64Attr, "32">:$threads, DefaultValuedAttr<I64Attr, "1">:$copies, DefaultValuedAttr<I64Attr, "0">:$stride, TypeAttr:$element_type, OptionalAttr<TypeAttr>:$stored);
  let assemblyFormat = "$source `to` $target `slab` $slab `lane` $lane `runs` $runs (`also` $also^ `instance` $instance)? `width` $width (`atomic` $atomic^)? (`once` $once^)? (`threads` $threads^)? (`copies` $copies^)? (`stride` $stride^)? (`as` $stored^)? `:` $element_type `,` type($source) `,` type($target) attr-dict";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// The host function of a staged program: what the runtime interprets
//===----------------------------------------------------------------------===//

def Equivariant_FillOp : Equivariant_Op<"fill", [MemoryEffects<[MemWrite]>]> {
  let summary = "fill a buffer with zeros";
  let description = "Example: `equivariant.fill %z, %bytes : !llvm.ptr`";
  let arguments = (ins LLVM_AnyPointer:$buffer, I64:$bytes);
  let assemblyFormat = "$buffer `,` $bytes attr-dict `:` type($buffer)";
}

def Equivariant_ScratchOp : Equivariant_Op<"scratch"> {
  let summary = "a buffer that lives as long as the call";
  let description = [{
    `use` says in words what it holds, for people.

    Example: `%p = equivariant.scratch %bytes for "result 0 by edges" : !llvm.ptr`
  }];
  let arguments = (ins I64:$bytes, StrAttr:$use);
  let results = (outs LLVM_AnyPointer:$buffer);
  let assemblyFormat = "$bytes `for` $use attr-dict `:` type($buffer)";
}

def Equivariant_LaunchOp : Equivariant_Op<"launch", [MemoryEffects<[MemRead, MemWrite]>, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "run a kernel over a grid";
  let description = [{
    On the CPU the kernel is called once for each task of the grid; block and shared are absent. On the GPU `block` is the largest that the kernel is
    launched with, and `shared` the bytes of shared memory that it takes; if `rows` is given, it is what the block's second dimension is this time, and
    the shared memory is in proportion. With `overlaps` it begins when all blocks of the launch before have begun; the kernel itself then waits for that one's end.

    Example: `equivariant.launch @conv_0 grid(%n) block [32, 4, 1] shared 6784 rows(%r)(%x, %y) : !llvm.ptr, !llvm.ptr`

    Constraints:
    - (launch_c1) operands have 64 bits: pointers or i64.
    - (launch_c2) block and shared are given together; block has three dimensions, at most 1024 threads in all.
    - (launch_c3) the kernel is a device function, an `llvm.func` of the module.
    - (launch_c4) with a block the kernel takes the operands; without one it takes a pointer to the array of them, and the task (i64).
    - (launch_c5) rows go with a block; then shared is a multiple of 16 bytes times the block's second dimension.
    - (launch_c6) what overlaps has a block, and follows a launch.
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, I64:$grid, Optional<I64>:$rows, Variadic<AnyType>:$operands_,
    OptionalAttr<DenseI64ArrayAttr>:$block, OptionalAttr<I64Attr>:$shared, UnitAttr:$overlaps);
  let assemblyFormat = [{
    $kernel `grid` `(` $grid `)` (`block` $block^)? (`shared` $shared^)? (`rows` `(` $rows^ `)`)? (`overlaps` $overlaps^)? `` `(` $operands_ `)` attr-dict (`:` type($operands_)^)?
  }];
  let hasVerifier = 1;
}

#endif // ESPMM_EQUIVARIANT_STAGEDOPS_TD
