#ifndef ESPMM_EQUIVARIANT_ATTRS_TD
#define ESPMM_EQUIVARIANT_ATTRS_TD

include "espmm/Dialect/Equivariant/IR/Dialect.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/TensorEncoding.td"

//===-- Enumerations -----------------------------------------------------===//

def Equivariant_Layout : I32EnumAttr<"Layout", "order of the elements within a block of irreps", [
    I32EnumAttrCase<"MulIr", 0, "mul_ir">, I32EnumAttrCase<"IrMul", 1, "ir_mul">]> {
  let cppNamespace = "::espmm::equivariant";
  let description = [{
    In a block of multiplicity m and dimension d, element (u, i) lies at u * d + i in `mul_ir` (e3nn's own
    layout) and at i * m + u in `ir_mul`.
  }];
}

def Equivariant_Slot : I32EnumAttr<"Slot", "a slot of a tensor product", [
    I32EnumAttrCase<"X", 0, "x">, I32EnumAttrCase<"Y", 1, "y">,
    I32EnumAttrCase<"W", 2, "w">, I32EnumAttrCase<"Z", 3, "z">]> {
  let cppNamespace = "::espmm::equivariant";
  let genSpecializedAttr = 0;
}
def Equivariant_SlotAttr : EnumAttr<Equivariant_Dialect, Equivariant_Slot, "slot">;

def Equivariant_Access : I32EnumAttr<"Access", "which rows of a tensor belong to an edge", [
    I32EnumAttrCase<"Edge", 0, "edge">, I32EnumAttrCase<"Receivers", 1, "receivers">,
    I32EnumAttrCase<"Senders", 2, "senders">, I32EnumAttrCase<"All", 3, "all">]> {
  let cppNamespace = "::espmm::equivariant";
  let genSpecializedAttr = 0;
  let description = [{
    `edge`: row e for edge e. `receivers`, `senders`: the row of the edge's receiver or sender. `all`: the
    one row that every edge shares.
  }];
}
def Equivariant_AccessAttr : EnumAttr<Equivariant_Dialect, Equivariant_Access, "access">;

def Equivariant_Mode : I32EnumAttr<"Mode", "how the multiplicity indices of a path are tied", [
    I32EnumAttrCase<"UVW", 0, "uvw">, I32EnumAttrCase<"UVU", 1, "uvu">, I32EnumAttrCase<"UVV", 2, "uvv">,
    I32EnumAttrCase<"UUW", 3, "uuw">, I32EnumAttrCase<"UUU", 4, "uuu">, I32EnumAttrCase<"UVUV", 5, "uvuv">,
    I32EnumAttrCase<"UVUltV", 6, "uvu_lt_v">, I32EnumAttrCase<"UltVW", 7, "u_lt_vw">]> {
  let cppNamespace = "::espmm::equivariant";
  let genSpecializedAttr = 0;
  let description = "The connection modes of e3nn.o3.TensorProduct; `uvu<v` and `u<vw` are spelled `uvu_lt_v` and `u_lt_vw`.";
}

def Equivariant_Member : I32EnumAttr<"Member", "of a pair", [
    I32EnumAttrCase<"First", 0, "first">, I32EnumAttrCase<"Second", 1, "second">]> {
  let cppNamespace = "::espmm::equivariant";
  let genSpecializedAttr = 0;
  let description = "Which of the two channels u < v of a pair.";
}
def Equivariant_MemberAttr : EnumAttr<Equivariant_Dialect, Equivariant_Member, "member">;

//===-- Attributes -------------------------------------------------------===//

class Equivariant_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<Equivariant_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

def Equivariant_IrrepsAttr : Equivariant_Attr<"Irreps", "irreps",
    [DeclareAttrInterfaceMethods<VerifiableTensorEncoding>]> {
  let summary = "irreducible representations of O(3), in e3nn's notation, and their layout";
  let description = [{
    The encoding of a tensor whose last dimension holds these irreps, block after block.

    Example: `tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>`

    Constraints:
    - (irreps_c1) the last dimension of the tensor is the irreps' dimension.
    - (irreps_c2) the notation parses: `MULxLP` joined by `+`, MUL >= 0 (1 if left out), 0 <= L <= 11, P `e` or `o`.
    - (irreps_c3) the dimension is less than 2^31.
  }];
  let parameters = (ins
    ArrayRefParameter<"::espmm::equivariant::MulIrrep", "blocks">:$blocks,
    EnumParameter<Equivariant_Layout>:$layout);
  let hasCustomAssemblyFormat = 1;
  let genMnemonicAlias = 1;
  let extraClassDeclaration = [{
    /// Number of elements of a row.
    int64_t getDim() const;
    /// Offset in elements of a block in a row.
    int64_t getOffset(size_t block) const;
  }];
}

def Equivariant_ProductAttr : Equivariant_Attr<"Product", "product"> {
  let summary = "the irreps and paths of a tensor product";
  let description = [{
    Each path couples block `i1` of x with block `i2` of y into block `i3` of z through the real
    Clebsch-Gordan tensor C of (l1, l2, l3):

        z[i3][mz, k] += coefficient * sum w_p[mw] * C[i, j, k] * x[i1][mx, i] * y[i2][my, j]

    The mode says how the multiplicity indices mx, my, mw, mz are tied. The coefficient is e3nn's final
    `path_weight`. The weights of the paths follow each other in w.

    Example: `#equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>`

    Constraints:
    - (product_c1) block indices lie within their irreps.
    - (product_c2) |l1 - l2| <= l3 <= l1 + l2 and the parities multiply.
    - (product_c3) multiplicities fit the mode.
    - (product_c4) every path has a weight, or none has.
    - (product_c5) modes that mix multiplicities (uvw, u_lt_vw, uuw with w > 1) have a weight.
    - (product_c6) coefficients are finite.
    - (product_c7) the number of weights fits 63 bits.
  }];
  let parameters = (ins
    ArrayRefParameter<"::espmm::equivariant::MulIrrep">:$x,
    ArrayRefParameter<"::espmm::equivariant::MulIrrep">:$y,
    ArrayRefParameter<"::espmm::equivariant::MulIrrep">:$z,
    ArrayRefParameter<"::espmm::equivariant::Path">:$paths);
  let hasCustomAssemblyFormat = 1;
  let genMnemonicAlias = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    ::llvm::ArrayRef<MulIrrep> getIrreps(Slot slot) const;
    /// True if the paths have weights.
    bool isWeighted() const;
    /// Number of weights of all paths.
    int64_t getWeightNumel() const;
    /// Number of elements of a row of `slot`.
    int64_t getDim(Slot slot) const;
    /// Multiplicities of u, v and w in a path.
    int64_t getExtent(const Path &path, char index) const;
    /// Offset and size of a path's weights in a row of w.
    int64_t getWeightOffset(size_t path) const;
    int64_t getWeightSize(const Path &path) const;
  }];
}

//===-- Schedules ---------------------------------------------------------===//

def Equivariant_Target : I32EnumAttr<"Target", "where a kernel runs", [
    I32EnumAttrCase<"CPU", 0, "cpu">, I32EnumAttrCase<"GPU", 1, "gpu">]> {
  let cppNamespace = "::espmm::equivariant";
  let genSpecializedAttr = 0;
}

def Equivariant_ScheduleAttr : Equivariant_Attr<"Schedule", "schedule"> {
  let summary = "how a kernel is laid out in loops, lanes and buffers";
  let description = [{
    - `target`: `cpu` or `gpu`.
    - `group_by`: the side whose nodes' edges are worked on together (`edge`: no grouping, row by row).
    - `lanes`: channels side by side: of a vector on the CPU, of a warp on the GPU.
    - `slab_begin`, `slab_end`: the slabs of `lanes` channels that this kernel covers (GPU; the CPU loops over all).
    - `slabs`: slabs that a warp works on at once: a lane then has as many channels, `lanes` apart. What an edge costs besides its channels it costs once for all of
      them (GPU).
    - `instances`: how often the kernel is done, each time with other blocks of its rows: `block` and `assemble` say which. Its code is the same for all of
      them; which of them a warp does is, like its slab, what its number in the launch says (GPU).
    - `rows`: rows that a task (CPU) or a warp (GPU) works on where there is no grouping.
    - `tile_rows`: of rows that share weights, so many are worked on side by side, one in each lane (CPU; 1: one after the other, channels in lanes).
    - `warps`: warps of a block (GPU). If nodes have many edges, the warps of a block share a node's; if not, each has a node of its own. Which of the two is
      decided at launch.
    - `stages`: slots of a warp's ring in shared memory: while one edge's rows are worked on, those of the next `stages - 1` are on their way (GPU). Where 32
      rows share weights: how much room there is for what is computed before it has to be, that many times 3072 elements.
    - `registers`: how many a thread may have, which decides how many warps a multiprocessor holds (GPU; 0: as many as it likes).
    - `products`: what multiplies matrices where 32 rows share weights (GPU): 1 multiply-adds; 2 matrix units, f32 rounded to tf32; 3 matrix units, f32 as two numbers of tf32, whose
      three larger products are added.
    - `deterministic`: no sums in memory whose order changes from run to run (the CPU has none).

    What is left out has its default: `slab_begin = 0, slab_end = 0, slabs = 1, instances = 1, rows = 16, tile_rows = 1, warps = 1, stages = 2,
    registers = 0, products = 1, deterministic = false`.

    Example: `#equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_end = 4, warps = 4, registers = 168>`

    Constraints:
    - (schedule_c1) `lanes` is a power of two.
    - (schedule_c2) `rows` is at least 1, `registers` from 0 to 255.
    - (schedule_c3) 0 <= `slab_begin` <= `slab_end`.
    - (schedule_c4) `warps` is 1, 2, 4, 8 or 16, and `stages` from 2 to 8.
    - (schedule_c5) `slabs` is at least 1 and divides `slab_end - slab_begin`.
    - (schedule_c6) `tile_rows` is 1, or `lanes` where edges are not grouped.
    - (schedule_c7) `instances` is at least 1, on the CPU 1.
    - (schedule_c8) `products` is from 1 to 3, on the CPU 1.
  }];
  let parameters = (ins
    EnumParameter<Equivariant_Target>:$target, EnumParameter<Equivariant_Access>:$group_by, "int64_t":$lanes,
    DefaultValuedParameter<"int64_t", "0">:$slab_begin, DefaultValuedParameter<"int64_t", "0">:$slab_end,
    DefaultValuedParameter<"int64_t", "1">:$slabs, DefaultValuedParameter<"int64_t", "1">:$instances, DefaultValuedParameter<"int64_t", "16">:$rows,
    DefaultValuedParameter<"int64_t", "1">:$tile_rows, DefaultValuedParameter<"int64_t", "1">:$warps,
    DefaultValuedParameter<"int64_t", "2">:$stages, DefaultValuedParameter<"int64_t", "0">:$registers, DefaultValuedParameter<"int64_t", "1">:$products,
    DefaultValuedParameter<"bool", "false">:$deterministic);
  let genVerifyDecl = 1;
  let assemblyFormat = "`<` struct(params) `>`";
  let extraClassDeclaration = [{
    /// How many warps have a slab or several of each edge: in one instance, and in all.
    int64_t getSlabUnits() const { return (getSlabEnd() - getSlabBegin()) / getSlabs(); }
    int64_t getNumUnits() const { return getSlabUnits() * getInstances(); }
    /// How many channels of a block with that multiplicity a lane has: one of each slab that its warp works on, as long as the block has that slab.
    int64_t getLaneChannels(int64_t multiplicity) const;
    /// What a lane has of a block [channels, ...]: the channels' dimension stays if they are several.
    ::llvm::SmallVector<int64_t> getLaneShape(::llvm::ArrayRef<int64_t> block) const;
  }];
}

#endif // ESPMM_EQUIVARIANT_ATTRS_TD
