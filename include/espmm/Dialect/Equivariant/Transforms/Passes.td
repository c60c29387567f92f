#ifndef ESPMM_EQUIVARIANT_PASSES_TD
#define ESPMM_EQUIVARIANT_PASSES_TD

include "mlir/Pass/PassBase.td"

def EquivariantDifferentiate : Pass<"equivariant-differentiate", "::mlir::ModuleOp"> {
  let summary = "replace each function by its vector-Jacobian product";
  let description = [{
    The result takes the function's arguments and then the cotangents of the results listed in `cotangents` (an absent
    cotangent is zero), and gives the gradients with respect to the arguments listed in `wrt`. Because contracts, gathers, segment sums, adds and converts
    are closed under differentiation, running the pass n times gives the n-th derivative. What the wanted gradients do not
    need disappears.

    ```mlir
    // before; wrt=1,3 cotangents=0
    func.func @conv(%g, %x, %y, %w) {
      %xe = equivariant.gather %x at senders of %g
      %m = equivariant.contract z of #dot (x = %xe, y = %y, w = %w)
      %z = equivariant.segment_sum %m at receivers of %g
      return %z
    }
    // after
    func.func @conv_vjp(%g, %x, %y, %w, %gz) {
      %ge = equivariant.gather %gz at receivers of %g
      %mx = equivariant.contract x of #dot (y = %y, w = %w, z = %ge)
      %gx = equivariant.segment_sum %mx at senders of %g
      %xe = equivariant.gather %x at senders of %g
      %gw = equivariant.contract w of #dot (x = %xe, y = %y, z = %ge)
      return %gx, %gw
    }
    ```
  }];
  let options = [
    ListOption<"wrt", "wrt", "int64_t", "argument numbers to differentiate with respect to (default: every tensor)">,
    ListOption<"cotangents", "cotangents", "int64_t", "result numbers whose cotangents are given (default: all)">];
  let dependentDialects = ["::espmm::equivariant::EquivariantDialect", "::mlir::func::FuncDialect"];
}

def EquivariantFuse : Pass<"equivariant-fuse", "::mlir::ModuleOp"> {
  let summary = "make one kernel of everything that runs once an edge";
  let description = [{
    Contracts, adds and zeros on edge rows go into the body of an `equivariant.kernel`; gathers become the accesses of its operands,
    segment sums those of its results. Values of edge size that nobody outside asks for exist no more. Only a gather that reads a segment sum starts
    another kernel. Converts stay around the kernels.

    ```mlir
    // before
    %xe = equivariant.gather %x at senders of %g
    %m = equivariant.contract z of #dot (x = %xe, y = %y, w = %w)
    %z = equivariant.segment_sum %m at receivers of %g
    // after
    %z = equivariant.kernel over %g ins(%x at senders, %y at edge, %w at edge) outs(receivers) {
    ^bb0(%xe, %ye, %we):
      %m = equivariant.contract z of #dot (x = %xe, y = %ye, w = %we)
      equivariant.yield %m
    }
    ```
  }];
  let dependentDialects = ["::espmm::equivariant::EquivariantDialect"];
  let statistics = [Statistic<"numKernels", "kernels", "kernels made">];
}

def EquivariantFactor : Pass<"equivariant-factor", "::mlir::ModuleOp"> {
  let summary = "replace contracts by small einsums that share their intermediates";
  let description = [{
    Every result of a kernel is a sum of products of small tensors: coefficients, and blocks of rows. For each path the pass
    looks for the cheapest binary contractions that give all results at once, common factors taken out (the distributive law
    included), equal ones computed once. Nothing here knows of derivatives: the shared products of a backward pass are found.
    Which form is cheapest depends on how many channels share a value that has no channel index: `channel-free-cost` and
    `channel-sum-cost` come from the target. Modes of pairs u < v are those of single channels here: `pairs` and `pair_sum` go between. With `unit-coefficients`, a path that has its block of z for itself works with coefficients that are mostly 1 and
    -1, and takes its block of z times a scale for each component: a multiplication an element of z, which can often be done once for many edges, in place of
    one an element of a product.

    ```mlir
    // before
    ^bb0(%x: tensor<24xf32, #x>, %y: tensor<3xf32, #y>, %w: tensor<8xf32>, %gz: tensor<8xf32, #z>):
      %gx = equivariant.contract x of #dot (y = %y, w = %w, z = %gz)
      %gw = equivariant.contract w of #dot (x = %x, y = %y, z = %gz)
      equivariant.yield %gx, %gw
    // after
      %c = equivariant.coefficients (1, 1, 0) * 1.0
      %p = equivariant.einsum "ijk,uk->uij" (%c, %g)
      %a = equivariant.einsum "uij,vj->uvi" (%p, %y0)
      %gx0 = equivariant.einsum "uvi,uv->ui" (%a, %w0)
      %gw0 = equivariant.einsum "ui,uvi->uv" (%x0, %a)
    ```
  }];
  let options = [
    Option<"channelFreeCost", "channel-free-cost", "double", "1.0",
           "cost of a multiplication without the channel index, relative to one with it">,
    Option<"channelSumCost", "channel-sum-cost", "double", "4.0", "cost of summing one value over the channels">,
    Option<"unitCoefficients", "unit-coefficients", "bool", "false",
           "one scale a component of z is taken out of the coefficients, so that most of those left are 1 or -1">];
  let statistics = [
    Statistic<"numPaths", "paths", "paths factored">,
    Statistic<"numNonzeros", "nonzeros", "nonzero coefficients of all paths">,
    Statistic<"numMultiplications", "multiplications", "multiplications a channel">,
    Statistic<"numChannelFree", "channel_free_multiplications", "multiplications without the channel index">];
  let dependentDialects = ["::espmm::equivariant::EquivariantDialect"];
}

def EquivariantTile : Pass<"equivariant-tile", "::mlir::ModuleOp"> {
  let summary = "choose a schedule for each kernel";
  let description = [{
    Attaches an `#equivariant.schedule` to each kernel that has none: which side's edges are worked on together, how many channels
    lie side by side, how the work is cut. A person can write the attribute before the pass, and it stays; or give some of its numbers as
    options, and the rest is chosen. What the schedules are for is recorded in the module's attribute `equivariant.target`.

    Edges are grouped by receivers if a kernel has rows of them. With `deterministic` (GPU) sums at the other side are kept by edge, and a kernel of their own adds them
    up; if there are sums of senders alone, edges are grouped by senders instead where that moves less.

    On the GPU a kernel whose rows and sums are more than a thread's registers hold becomes several, each with some of its paths: those that read
    the same block of x stay together as long as they fit. Such parts are chosen so that several are the same but for the offsets of
    their blocks, as those of irreps that differ in parity are; up to `instances` of them (2, unless it is given) are instances of one kernel, whose blocks have an offset for
    each. One with loops over several multiplicities, or with rows that all share, is not cut: a warp has a node, or some rows. If rows that are no edges share weights, a block has 32 of them, one in each lane (`rows = 32`), as long as its shared memory has room;
    products of matrices among its einsums are matrix units' where that takes fewer instructions (`products`).

    ```mlir
    // before
    %z = equivariant.kernel over %g ins(...) outs(receivers) { ... }
    // after, target=cpu vector-bits=256
    %z = equivariant.kernel over %g ins(...) outs(receivers)
        attributes {schedule = #equivariant.schedule<target = cpu, group_by = receivers, lanes = 8, ...>} { ... }
    ```
  }];
  let options = [
    Option<"target", "target", "std::string", "\"cpu\"", "cpu or gpu">,
    Option<"chip", "chip", "std::string", "\"sm_90\"", "the chip to compile for (GPU)">,
    Option<"vectorBits", "vector-bits", "int64_t", "256", "width of the CPU's vectors, a power of two">,
    Option<"deterministic", "deterministic", "bool", "false", "no sums in an order that changes from run to run (GPU)">,
    Option<"rows", "rows", "int64_t", "0", "rows a task or a warp works on where there is no grouping (0: chosen)">,
    Option<"warps", "warps", "int64_t", "0", "warps of a block (GPU; 0: chosen)">,
    Option<"stages", "stages", "int64_t", "0", "slots of a warp's ring (GPU; 0: chosen)">,
    Option<"registers", "registers", "int64_t", "0", "registers a thread may have (GPU; 0: chosen)">,
    Option<"slabs", "slabs", "int64_t", "0", "slabs of channels that a warp works on at once, at most (GPU; 0: chosen)">,
    Option<"tileRegisters", "tile-registers", "int64_t", "0",
           "registers that the rows and sums of one tile may take over its loop (GPU; 0: chosen)">,
    Option<"instances", "instances", "int64_t", "0", "tiles alike but for their blocks' offsets that are one kernel, at most (GPU; 0: chosen)">,
    Option<"groupBy", "group-by", "int64_t", "0",
           "whose edges are worked on together: 1 receivers', 2 senders' (GPU, without loops over several multiplicities; 0: chosen)">,
    Option<"products", "products", "int64_t", "0",
           "what multiplies matrices of weights that rows share: 1 multiply-adds, 2 matrix units (f32 in tf32), 3 these with three terms (GPU; 0: chosen)">];
  let statistics = [
    Statistic<"numBytes", "bytes_per_edge", "bytes an edge of the rows by edge, read or written">,
    Statistic<"numGatheredBytes", "gathered_bytes_per_edge", "bytes an edge of the rows of its nodes, read or added to">,
    Statistic<"numRegisters", "registers_estimate", "largest number of values that a kernel's loop keeps alive at once">];
  let dependentDialects = ["::espmm::equivariant::EquivariantDialect", "::mlir::LLVM::LLVMDialect"];
}

def EquivariantNarrow : Pass<"equivariant-narrow", "::mlir::ModuleOp"> {
  let summary = "let kernels read and write rows in the type that they are stored in";
  let description = [{
    A convert of an operand, or of a result that a kernel writes once, becomes part of the kernel: the tensor is then of bf16 or f16 outside, its rows of f32 inside.
    What is summed in memory is summed in f32, and stays converted after: sums by atomics, sums of copies, sums over all rows, rows that loops over several
    multiplicities add to. So do rows that pass through a GPU's shared memory and are no multiple of 4 bytes, which is what is copied at least. Those converts are
    kernels of their own.

    ```mlir
    // before
    %a = equivariant.convert %x : tensor<?x24xbf16, #x> -> tensor<?x24xf32, #x>
    %b = equivariant.kernel over %g ins(%a at senders) outs(receivers) { ^bb0(%xe: tensor<24xf32, #x>): ... }
    %z = equivariant.convert %b : tensor<?x8xf32, #z> -> tensor<?x8xbf16, #z>
    // after
    %z = equivariant.kernel over %g ins(%x at senders) outs(receivers) { ^bb0(%xe: tensor<24xf32, #x>): ... }
    ```
  }];
  let statistics = [Statistic<"numConverts", "converts", "converts left as kernels of their own">];
  let dependentDialects = ["::espmm::equivariant::EquivariantDialect"];
}

def EquivariantStage : Pass<"equivariant-stage", "::mlir::ModuleOp"> {
  let summary = "make loops, lanes, buffers and copies of kernels explicit";
  let description = [{
    Each kernel becomes a device function of loops over nodes, edges and channels around its einsums, whose tensors lose the channel axis to the lanes;
    the function that held the kernels becomes the host function, which takes scratch, fills and launches. On the GPU kernels that need nothing of each
    other are one device function, whose blocks are the blocks of all.

    What works on channels alone shares a loop over them. Where 32 rows share weights, products of matrices become `matrix_product` of what a warp's lanes hold, and operations that differ
    in where they read and write alone become one code in a loop over them. An einsum over several multiplicities, a pair of channels, or a sum over channels and edges has loops of its own, and hands a
    buffer to the next.

    A launch says what its kernel costs (`equivariant.cost`), and how it runs and why (`equivariant.choices`).

    ```mlir
    // before
    %z = equivariant.kernel over %g ins(%x at senders, %w at edge) outs(receivers) { ... }
    // after
    llvm.func @conv_0(%args: !llvm.ptr, %task: i64) {
      scf.for %node = ... {
        scf.for %edge = ... {
          scf.for %channel = 0 to 128 step 8 {
            %x = equivariant.read %px[%channel] ... -> tensor<3xvector<8xf32>>
            %t = equivariant.einsum "ik,i->k" (%m, %x)
            equivariant.write %t to %pz[%channel] ... accumulate
    func.func @conv(%E: i64, %R: i64, %S: i64, %x: !llvm.ptr, ...) {
      equivariant.launch @conv_0 grid(%n) (%offsets, %x, ...)
    ```
  }];
  let dependentDialects = ["::espmm::equivariant::EquivariantDialect", "::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect", "::mlir::scf::SCFDialect",
                           "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect"];
}

def EquivariantOverlap : Pass<"equivariant-overlap", "::mlir::ModuleOp"> {
  let summary = "let a GPU's kernel begin while zeros are written that it adds to";
  let description = [{
    The fills before a launch become one kernel's work, a launch of its own. On chips from sm_90 on the launch after it does not wait for its end: its blocks find their nodes, read their rows and
    start their copies meanwhile, and wait (`nvvm.griddepcontrol wait`) before what may write global memory first, outside of loops. On small graphs, where a launch takes longer than
    what it does, that is a third of the time. All threads wait, so that nobody after the kernel meets zeros that are still to be written.
    A kernel that only reads one of the buffers waits at its beginning.

    Fills of host programs, and those that no launch follows, stay.

    ```mlir
    // before
    equivariant.fill %gx, %n : !llvm.ptr
    equivariant.fill %gy, %m : !llvm.ptr
    equivariant.launch @conv_0 grid(%blocks) block [32, 4, 1] shared 37376(...)
    llvm.func @conv_0(...) {
      equivariant.async_copy ...
      scf.for %edge = ... {
        equivariant.copy_out ... atomic
    // after, equivariant.target = "cuda:sm_90"
    equivariant.launch @espmm_fill_2 grid(%b) block [256, 1, 1] shared 0(%b, %gx, %n, %gy, %m)
    equivariant.launch @conv_0 grid(%blocks) block [32, 4, 1] shared 37376 overlaps(...)
    llvm.func @conv_0(...) {
      equivariant.async_copy ...
      nvvm.griddepcontrol wait
      scf.for %edge = ... {
        equivariant.copy_out ... atomic
    llvm.func @espmm_fill_2(...) {
      nvvm.griddepcontrol launch_dependents
      ...
    ```
  }];
  let dependentDialects = ["::espmm::equivariant::EquivariantDialect", "::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect", "::mlir::scf::SCFDialect",
                           "::mlir::arith::ArithDialect"];
}

def EquivariantSparsify : Pass<"equivariant-sparsify", "::mlir::ModuleOp"> {
  let summary = "replace small tensors by their nonzero elements";
  let description = [{
    Every einsum, add, read and write of a staged kernel becomes multiply-adds, loads and stores of scalars (or of vectors of channels); what meets a zero
    coefficient does not exist. The arithmetic is emitted in one walk, in an order that keeps few values alive: a shared
    product is consumed by all that can use it before the next is formed.

    ```mlir
    // before
    %x = equivariant.read %px[%c] offset 0 strides [8] : !llvm.ptr -> tensor<3xvector<8xf32>>
    %a = equivariant.einsum "i,i->" (%x, %m) : (tensor<3xvector<8xf32>>, tensor<3xf32>) -> tensor<vector<8xf32>>
    equivariant.write %a to %pz[%c] offset 0 strides [] : tensor<vector<8xf32>>, !llvm.ptr
    // after
    %x0 = llvm.load %p0 : !llvm.ptr -> vector<8xf32>
    %a0 = llvm.fmul %x0, %m0 : vector<8xf32>
    %x1 = llvm.load %p1 : !llvm.ptr -> vector<8xf32>
    %a1 = llvm.intr.fma(%x1, %m1, %a0) : (vector<8xf32>, vector<8xf32>, vector<8xf32>) -> vector<8xf32>
    ...
    llvm.store %a2, %pz0 : vector<8xf32>, !llvm.ptr
    ```
  }];
  let statistics = [
    Statistic<"numDenseMultiplications", "dense_multiplications", "multiplications if no element were known to be zero">,
    Statistic<"numDenseAdditions", "dense_additions", "additions if no element were known to be zero">,
    Statistic<"numMultiplications", "multiplications", "multiplications emitted, those of multiply-adds included">,
    Statistic<"numAdditions", "additions", "additions emitted, those of multiply-adds included">,
    Statistic<"maxLive", "max_live", "largest number of values alive at once in a straight line of code">];
  let dependentDialects = ["::espmm::equivariant::EquivariantDialect", "::mlir::LLVM::LLVMDialect", "::mlir::scf::SCFDialect"];
}

def ConvertEquivariantToCPU : Pass<"convert-equivariant-to-cpu", "::mlir::ModuleOp"> {
  let summary = "lower what is left of the dialect in host kernels to LLVM";
  let description = [{
    `relayout` becomes loads, shuffles and stores of whole vectors: since a block's dimension 2l + 1 is odd, one component's channels fall on distinct
    lanes of the registers that hold the block, so that blending the registers and one permutation gather them. `lane_sum` becomes a tree of blends and
    permutations that halves the number of vectors at each step.

    ```mlir
    // before
    equivariant.relayout gather %row to %buffer of #equivariant.irreps<"8x1o", mul_ir> vector 8 : f32, !llvm.ptr, !llvm.ptr
    // after
    %r0 = llvm.load %row : !llvm.ptr -> vector<8xf32>
    %b = llvm.shufflevector %r0, %r1 [0, 9, 2, 3, 12, ...] : vector<8xf32>
    ...
    ```
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::scf::SCFDialect", "::mlir::arith::ArithDialect"];
}

def ConvertLoopsToBranches : Pass<"convert-loops-to-branches"> {
  let summary = "lower scf's loops and branches to blocks, the last one first";
  let description = [{
    The patterns are those of `convert-scf-to-cf`. A loop's block is cut behind it, and what follows moved; in program order that is all the rest of the
    function, for each loop again. From the last loop to the first it is what lies between a loop and the next. Upstream's conversion keeps note of each move besides:
    of the third derivative of a product of 175 paths, 700,000 lines, in 11 GB.

    ```mlir
    // before
    scf.for %i = %zero to %n step %one : i64 {
      ...
    }
    // after
      cf.br ^loop(%zero : i64)
    ^loop(%i: i64):
      %goes_on = arith.cmpi slt, %i, %n : i64
      cf.cond_br %goes_on, ^body, ^end
    ...
    ```
  }];
  let dependentDialects = ["::mlir::cf::ControlFlowDialect"];
}

def ConvertEquivariantToGPU : Pass<"convert-equivariant-to-gpu", "::mlir::ModuleOp"> {
  let summary = "lower what is left of the dialect in GPU kernels to NVVM";
  let description = [{
    Copies become `cp.async`, vector stores and reductions to memory, with each lane's share of the runs looked up once at the kernel's start in a constant
    table; `lane_sum` becomes a butterfly of shuffles that halves the number of values at each step; `matrix_product` becomes `mma.sync`, once for each of its terms.

    ```mlir
    // before
    equivariant.async_copy %row to %slot slab %slab lane %lane runs [0, 32, 32, 1, 128] width 4 : f32, !llvm.ptr<1>, !llvm.ptr<3>
    // after
    %entry = llvm.load %table[lane] ...          // at the kernel's start
    %from = llvm.getelementptr %row[%entry]
    nvvm.cp.async.shared.global %to, %from, 16, cache = ca
    ```
  }];
  let options = [Option<"chip", "chip", "std::string", "", "the chip to compile for (default: the module's target)">];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect", "::mlir::scf::SCFDialect", "::mlir::arith::ArithDialect"];
}

#endif // ESPMM_EQUIVARIANT_PASSES_TD
