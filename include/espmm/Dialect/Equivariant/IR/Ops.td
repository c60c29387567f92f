#ifndef ESPMM_EQUIVARIANT_OPS_TD
#define ESPMM_EQUIVARIANT_OPS_TD

include "espmm/Dialect/Equivariant/IR/Attrs.td"
include "espmm/Dialect/Equivariant/IR/Dialect.td"
include "espmm/Dialect/Equivariant/IR/Types.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Equivariant_Op<string mnemonic, list<Trait> traits = []>
    : Op<Equivariant_Dialect, mnemonic, traits>;

//===----------------------------------------------------------------------===//
// Level 0: the tensor program
//===----------------------------------------------------------------------===//

def Equivariant_GatherOp : Equivariant_Op<"gather", [Pure]> {
  let summary = "a row for each edge, taken from its receiver, its sender, or the one row of all";
  let description = [{
    Example: `%xe = equivariant.gather %x at senders of %g : tensor<?x24xf32, #x> -> tensor<?x24xf32, #x> over !equivariant.graph`

    Constraints:
    - (gather_c1) the side is not `edge`; on `!equivariant.rows` it is `all`.
    - (gather_c2) operand and result agree in element type, encoding and all dimensions but the first.
    - (gather_c3) at `all` the operand has one row.
  }];
  let arguments = (ins Equivariant_Tensor:$source, Equivariant_Space:$space, Equivariant_AccessAttr:$side);
  let results = (outs Equivariant_Tensor:$result);
  let assemblyFormat = "$source `at` custom<Access>($side) `of` $space attr-dict `:` type($source) `->` type($result) `over` type($space)";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def Equivariant_SegmentSumOp : Equivariant_Op<"segment_sum", [Pure]> {
  let summary = "the sum of the rows of each node's edges";
  let description = [{
    The transpose of `gather`. Nodes without edges get zeros.

    Example: `%z = equivariant.segment_sum %m at receivers of %g : tensor<?x8xf32, #z> -> tensor<?x8xf32, #z> over !equivariant.graph`

    Constraints:
    - (segment_sum_c1) the side is not `edge`; on `!equivariant.rows` it is `all`.
    - (segment_sum_c2) operand and result agree in element type, encoding and all dimensions but the first.
    - (segment_sum_c3) at `all` the result has one row.
  }];
  let arguments = (ins Equivariant_Tensor:$source, Equivariant_Space:$space, Equivariant_AccessAttr:$side);
  let results = (outs Equivariant_Tensor:$result);
  let assemblyFormat = "$source `at` custom<Access>($side) `of` $space attr-dict `:` type($source) `->` type($result) `over` type($space)";
  let hasVerifier = 1;
}

def Equivariant_ContractOp : Equivariant_Op<"contract", [Pure, AttrSizedOperandSegments]> {
  let summary = "a tensor product, or its contraction to any other slot";
  let description = [{
    The product is linear in each of x, y, w and z. `contract s` binds the other slots and gives the
    coefficient of slot s: `contract z` is the tensor product itself, `contract x` with the cotangent of z bound
    to z is the gradient with respect to x, and so on. Row by row, or (inside a kernel) for one edge.

    Example:
    ```mlir
    %z = equivariant.contract z of #p (x = %x, y = %y, w = %w)
         : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32>) -> tensor<?x8xf32, #z>
    ```

    Constraints:
    - (contract_c1) exactly the slots other than the result's are bound; w counts only if the paths have weights.
    - (contract_c2) each tensor's last dimension is that of its slot.
    - (contract_c3) the encoding of x, y and z names the product's irreps; w has none.
    - (contract_c4) all tensors have the same rank, 1 or 2, and the same element type.
    - (contract_c5) tensors of rank 2 have the same number of rows.
  }];
  let arguments = (ins Equivariant_SlotAttr:$slot, Equivariant_ProductAttr:$product,
    Optional<Equivariant_Tensor>:$x, Optional<Equivariant_Tensor>:$y, Optional<Equivariant_Tensor>:$w, Optional<Equivariant_Tensor>:$z);
  let results = (outs Equivariant_Tensor:$result);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
  let extraClassDeclaration = [{
    /// The value bound to a slot, or null.
    ::mlir::Value getBound(Slot slot);
  }];
  let builders = [OpBuilder<(ins "::mlir::Type":$type, "Slot":$slot, "ProductAttr":$product,
                                 "::llvm::ArrayRef<::mlir::Value>":$bound /* by slot, null where unbound */)>];
}

def Equivariant_AddOp : Equivariant_Op<"add", [Pure, Commutative, SameOperandsAndResultType]> {
  let summary = "the elementwise sum of two tensors";
  let description = "Example: `%c = equivariant.add %a, %b : tensor<?x8xf32>`";
  let arguments = (ins AnyRankedTensor:$lhs, AnyRankedTensor:$rhs);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($result)";
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def Equivariant_ZerosOp : Equivariant_Op<"zeros", [Pure]> {
  let summary = "zeros, as many rows as another tensor has";
  let description = [{
    The operand says the number of rows and nothing else; its elements are not read.

    Example: `%0 = equivariant.zeros like %x : tensor<?x24xf32, #x> -> tensor<?x8xf32, #z>`

    Constraints:
    - (zeros_c1) operand and result have the same rank; from rank 2 on, their first dimensions are the same.
    - (zeros_c2) the result's other dimensions are static.
  }];
  let arguments = (ins Equivariant_StoredTensor:$like);
  let results = (outs Equivariant_StoredTensor:$result);
  let assemblyFormat = "`like` $like attr-dict `:` type($like) `->` type($result)";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def Equivariant_ConvertOp : Equivariant_Op<"convert", [Pure]> {
  let summary = "between the type that a tensor is stored in and the one that is computed with";
  let description = [{
    bf16 and f16 are types of memory only: from there to f32 nothing changes, and back each element is rounded to the nearest, of two to the even one. Kernels
    convert the rows that they read and write themselves, where `equivariant-narrow` says so.

    Example: `%a = equivariant.convert %x : tensor<?x24xbf16, #x> -> tensor<?x24xf32, #x>`

    Constraints:
    - (convert_c1) operand and result differ in their element types only.
    - (convert_c2) one is of f32, the other of bf16 or f16.
  }];
  let arguments = (ins Equivariant_StoredTensor:$source);
  let results = (outs Equivariant_StoredTensor:$result);
  let assemblyFormat = "$source attr-dict `:` type($source) `->` type($result)";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

//===----------------------------------------------------------------------===//
// Level 2: kernels
//===----------------------------------------------------------------------===//

def Equivariant_KernelOp : Equivariant_Op<"kernel", [IsolatedFromAbove,
    SingleBlockImplicitTerminator<"YieldOp">, RecursiveMemoryEffects]> {
  let summary = "a computation run once for each edge or row";
  let description = [{
    The region sees one edge: its block arguments are rows of the operands, taken by each operand's access,
    and the yielded rows go to the results by theirs: `edge` writes the edge's own row, any other
    access sums the rows of all the edges that share it.

    ```mlir
    %gx, %gw = equivariant.kernel over %g : !equivariant.graph
        ins(%x at senders, %y at edge, %gz at receivers : tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32, #z>)
        outs(senders, edge : tensor<?x24xf32, #x>, tensor<?x8xf32>) {
    ^bb0(%xe: tensor<24xf32, #x>, %ye: tensor<3xf32, #y>, %ge: tensor<8xf32, #z>):
      ...
      equivariant.yield %mx, %mw : tensor<24xf32, #x>, tensor<8xf32>
    }
    ```

    Constraints:
    - (kernel_c1) one access for each operand and each result, allowed by the index space.
    - (kernel_c2) each block argument and each yielded value is its tensor without the row dimension, of f32 where that is of bf16 or f16.
    - (kernel_c3) a tensor accessed at `all` has one row.
    - (kernel_c4) blocks with further offsets have one for each instance after the first that the kernel's schedule gives it.
  }];
  let arguments = (ins Equivariant_Space:$space, Variadic<Equivariant_StoredTensor>:$inputs,
    TypedArrayAttrBase<Equivariant_AccessAttr, "accesses">:$input_access,
    TypedArrayAttrBase<Equivariant_AccessAttr, "accesses">:$result_access);
  let results = (outs Variadic<Equivariant_StoredTensor>:$results);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let hasCanonicalizer = 1;
  let extraClassDeclaration = [{
    Access getInputAccess(unsigned i) { return ::llvm::cast<AccessAttr>(getInputAccess()[i]).getValue(); }
    Access getResultAccess(unsigned i) { return ::llvm::cast<AccessAttr>(getResultAccess()[i]).getValue(); }
  }];
}

def Equivariant_YieldOp : Equivariant_Op<"yield", [Pure, Terminator, ReturnLike, HasParent<"KernelOp">]> {
  let summary = "the rows that a kernel gives for an edge";
  let description = "Example: `equivariant.yield %mx, %mw : tensor<24xf32, #x>, tensor<8xf32>`";
  let arguments = (ins Variadic<Equivariant_Tensor>:$values);
  let assemblyFormat = "attr-dict ($values^ `:` type($values))?";
  let builders = [OpBuilder<(ins), "build($_builder, $_state, ::mlir::ValueRange());">];
}

//===----------------------------------------------------------------------===//
// Level 3: factored kernels
//===----------------------------------------------------------------------===//

def Equivariant_BlockOp : Equivariant_Op<"block", [Pure]> {
  let summary = "one block of a row";
  let description = [{
    `offset` counts elements. The result is [multiplicity, component] for irreps and the path's multiplicity indices for
    weights. How (u, i) lies in memory is said by the row's layout. In a kernel of several instances (its schedule says how many), `also` has the block's
    offsets in those after the first; without it, they are the same.

    Example: `%x0 = equivariant.block %x[0] : tensor<24xf32, #x> -> tensor<8x3xf32>`, `%w0 = equivariant.block %w[0] also [16] : tensor<32xf32> -> tensor<8x1xf32>`

    Constraints:
    - (block_c1) the block lies within the row, at each of its offsets; the element types agree.
  }];
  let arguments = (ins AnyRankedTensor:$row, I64Attr:$offset, OptionalAttr<DenseI64ArrayAttr>:$also);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$row `[` $offset `]` (`also` $also^)? attr-dict `:` type($row) `->` type($result)";
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "::mlir::Type":$result, "::mlir::Value":$row, "int64_t":$offset), [{
    build($_builder, $_state, result, row, offset, /*also=*/::mlir::DenseI64ArrayAttr());
  }]>];
  let extraClassDeclaration = [{
    /// The offsets in instances after the first; empty if they are the same.
    ::llvm::ArrayRef<int64_t> getFurther() { return getAlso().value_or(::llvm::ArrayRef<int64_t>()); }
  }];
}

def Equivariant_CoefficientsOp : Equivariant_Op<"coefficients", [Pure]> {
  let summary = "the real Clebsch-Gordan tensor of (l1, l2, l3), scaled";
  let description = [{
    e3nn's `wigner_3j` times `scale`; only its nonzero elements will be used. The tensor is a product C[i,j,k] = U[i,j,k] s[k] in which as many elements of U
    as possible are 1 or -1: `unit` is U times `scale`, `scales` is s times `scale`.

    Example: `%c = equivariant.coefficients (1, 1, 0) * 0.5 : tensor<3x3x1xf32>`, `%s = equivariant.coefficients (1, 1, 0) * 0.5 scales : tensor<1xf32>`

    Constraints:
    - (coefficients_c1) the result's shape is [2 l1 + 1, 2 l2 + 1, 2 l3 + 1], of scales [2 l3 + 1], and |l1 - l2| <= l3 <= l1 + l2.
    - (coefficients_c2) it is not both unit and scales.
  }];
  let arguments = (ins I64Attr:$l1, I64Attr:$l2, I64Attr:$l3, F64Attr:$scale, UnitAttr:$unit, UnitAttr:$scales);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "`(` $l1 `,` $l2 `,` $l3 `)` `*` $scale (`unit` $unit^)? (`scales` $scales^)? attr-dict `:` type($result)";
  let extraClassDeclaration = [{
    /// The elements, row-major.
    ::llvm::SmallVector<double> getElements();
  }];
  let hasVerifier = 1;
}

def Equivariant_OnesOp : Equivariant_Op<"ones", [Pure]> {
  let summary = "a small tensor of ones";
  let description = [{
    In an einsum it gives a value an index that no other operand has: the derivative of a sum over v is the same for each v.

    Example: `%a = equivariant.ones : tensor<4xf32>`

    Constraints:
    - (ones_c1) the result is static, of f32 or f64.
  }];
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Equivariant_PairsOp : Equivariant_Op<"pairs", [Pure]> {
  let summary = "what pairs of channels have of their first, or of their second";
  let description = [{
    The first dimension of the result is that of the pairs of channels u < v, in the order (0, 1), (0, 2), ..., (1, 2), ...; element p is what the operand
    has for the `first` or the `second` channel of pair p. With it, the modes of pairs are modes of single channels.

    Example: `%a = equivariant.pairs second %x : tensor<8x3xf32> -> tensor<28x3xf32>`

    Constraints:
    - (pairs_c1) m channels have m (m - 1) / 2 pairs; all else of the types agrees.
  }];
  let arguments = (ins Equivariant_MemberAttr:$member, AnyRankedTensor:$source);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$member $source attr-dict `:` type($source) `->` type($result)";
  let hasVerifier = 1;
}

def Equivariant_PairSumOp : Equivariant_Op<"pair_sum", [Pure]> {
  let summary = "the sum, for each channel, over the pairs in which it comes first, or second";
  let description = [{
    The transpose of `pairs`.

    Example: `%x = equivariant.pair_sum second %a : tensor<28x3xf32> -> tensor<8x3xf32>`

    Constraints:
    - (pair_sum_c1) m channels have m (m - 1) / 2 pairs; all else of the types agrees.
  }];
  let arguments = (ins Equivariant_MemberAttr:$member, AnyRankedTensor:$source);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$member $source attr-dict `:` type($source) `->` type($result)";
  let hasVerifier = 1;
}

def Equivariant_EinsumOp : Equivariant_Op<"einsum", [Pure]> {
  let summary = "a small contraction of one or two tensors";
  let description = [{
    The subscripts name each dimension by a letter; letters missing from the result are summed over. `u` is the channel axis,
    which a schedule maps to lanes; all other dimensions are unrolled, and elements that are structurally zero cost nothing.

    Example: `%a = equivariant.einsum "uij,vj->ui" (%p, %y) : (tensor<8x3x3xf32>, tensor<1x3xf32>) -> tensor<8x3xf32>`

    Constraints:
    - (einsum_c1) one group of letters for each operand, each letter once a group, as many as its rank.
    - (einsum_c2) a letter has one extent; the result's letters occur in the operands.
  }];
  let arguments = (ins StrAttr:$subscripts, Variadic<AnyRankedTensor>:$operands_);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$subscripts `(` $operands_ `)` attr-dict `:` functional-type($operands_, $result)";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The letters of operand i, and of the result.
    ::llvm::StringRef getOperandLetters(unsigned i);
    ::llvm::StringRef getResultLetters();
  }];
}

def Equivariant_AssembleOp : Equivariant_Op<"assemble", [Pure]> {
  let summary = "a row made of blocks";
  let description = [{
    The inverse of `block`: adds each block into a row of zeros at its offset. An offset may occur more than once. In a kernel of several instances `also` has, for
    block after block, the offsets in those after the first; the rows of all instances are added.

    Example: `%gx = equivariant.assemble [0, 0] (%a, %b) : (tensor<8x3xf32>, tensor<8x3xf32>) -> tensor<24xf32, #x>`

    Constraints:
    - (assemble_c1) one offset for each block; the blocks lie within the row, at each of their offsets; the element types agree.
    - (assemble_c2) each block has as many further offsets.
  }];
  let arguments = (ins DenseI64ArrayAttr:$offsets, OptionalAttr<DenseI64ArrayAttr>:$also, Variadic<AnyRankedTensor>:$blocks);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$offsets (`also` $also^)? `(` $blocks `)` attr-dict `:` functional-type($blocks, $result)";
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "::mlir::Type":$result, "::llvm::ArrayRef<int64_t>":$offsets, "::mlir::ValueRange":$blocks), [{
    build($_builder, $_state, result, offsets, /*also=*/::mlir::DenseI64ArrayAttr(), blocks);
  }]>];
  let extraClassDeclaration = [{
    /// A block's offsets in instances after the first; empty if they are the same.
    ::llvm::ArrayRef<int64_t> getFurther(unsigned block);
  }];
}

include "espmm/Dialect/Equivariant/IR/StagedOps.td"

#endif // ESPMM_EQUIVARIANT_OPS_TD
