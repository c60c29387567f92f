// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu chip=sm_90 warps=8 products=1" --equivariant-stage | FileCheck %s
// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu chip=sm_90 warps=8 products=1" --equivariant-stage --equivariant-sparsify --convert-equivariant-to-gpu | FileCheck %s --check-prefix=SCALAR
// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu chip=sm_90 rows=1" --equivariant-stage | FileCheck %s --check-prefix=WARP
// RUN: espmm-opt %s --pass-pipeline='builtin.module(equivariant-factor, equivariant-tile{target=gpu chip=sm_90 warps=8 products=1}, equivariant-stage, equivariant-sparsify, convert-equivariant-to-gpu, llvm.func(convert-scf-to-cf, convert-arith-to-llvm), convert-cf-to-llvm)' | espmm-translate --to-ptx | FileCheck %s --check-prefix=PTX

#p = #equivariant.product<x = "16x0e", y = "1x0e", z = "48x0e", paths = [uvw(0, 0, 0) * 1.0]>
#x = #equivariant.irreps<"16x0e", mul_ir>
#y = #equivariant.irreps<"1x0e", mul_ir>
#z = #equivariant.irreps<"48x0e", mul_ir>

// Rows that share weights: a block works on 32 at once, one in each lane, and its warps share out the channels.
// CHECK-LABEL: func.func @forward(
// CHECK: equivariant.launch @forward_0 grid(%{{.*}}) block [32, 8, 1] shared
// CHECK: llvm.func @forward_0
// CHECK: scf.for
// Rows come element after element, 33 apart, so that neither a row nor a column lies in one bank.
// CHECK: llvm.load %{{.*}} : !llvm.ptr<1> -> f32
// CHECK: %[[C33:.*]] = arith.constant 33 : i64
// CHECK: arith.muli %{{.*}}, %[[C33]]
// CHECK: nvvm.barrier
// A warp has six of 48 w, and adds four u at once; a weight is read for all 32 rows, with those that follow it.
// CHECK: scf.for %[[W:.*]] = %{{.*}} to %c48_i64{{.*}} step %c48_i64
// CHECK: %[[U:.*]]:6 = scf.for {{.*}} step %c4_i64
// CHECK: equivariant.read %{{.*}} offset 0 {{.*}} aligned 2 : <1> -> tensor<1xf32>
// CHECK: } {loop_annotation = #[[KEEP:.*]]}
// CHECK-COUNT-6: equivariant.write %{{.*}} offset 0 strides [33] : tensor<1xf32>, <3>
// CHECK: } {loop_annotation = #[[KEEP]]}
// A tile's code goes by once for 32 rows: ptxas is asked to leave the loop over u as it is, so that its code is a quarter of that.
// PTX-LABEL: .visible .entry forward_0(
// PTX: .pragma "nounroll";
// PTX: .visible .entry gradient_0(
// SCALAR-LABEL: llvm.func @forward_0
// SCALAR: llvm.load %{{.*}} invariant {alignment = 8 : i64} : !llvm.ptr<1> -> f32
// WARP-LABEL: llvm.func @forward_0
// WARP-NOT: nvvm.barrier
// WARP-LABEL: func.func @gradient(
func.func @forward(%s: !equivariant.rows, %x: tensor<?x16xf32, #x>, %y: tensor<?x1xf32, #y>, %w: tensor<1x768xf32>) -> tensor<?x48xf32, #z> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at all : tensor<?x16xf32, #x>, tensor<?x1xf32, #y>, tensor<1x768xf32>) outs(edge : tensor<?x48xf32, #z>) {
  ^bb0(%xe: tensor<16xf32, #x>, %ye: tensor<1xf32, #y>, %we: tensor<768xf32>):
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (tensor<16xf32, #x>, tensor<1xf32, #y>, tensor<768xf32>) -> tensor<48xf32, #z>
    equivariant.yield %m : tensor<48xf32, #z>
  }
  return %r : tensor<?x48xf32, #z>
}

// The gradient of weights is a sum over rows, and over tiles: w is in lanes, four rows are added at once, in sums of their own, for each of two u, and what a tile gives is added to a row of the block's own
// that nobody waits for.
// CHECK-LABEL: func.func @gradient(
// CHECK: equivariant.launch @gradient_0
// CHECK: equivariant.launch @gradient_1_sum
// CHECK: llvm.func @gradient_0
// CHECK: scf.for {{.*}} to %c16_i64{{.*}} step
// CHECK: %[[SUMS:.*]]:8 = scf.for {{.*}} to %c32_i64{{.*}} step %c4_i64
// CHECK: equivariant.einsum "vk,k->v"
// CHECK: equivariant.add
// CHECK: %[[ONE:.*]] = equivariant.lane_sum of 32 lanes across
// CHECK: llvm.atomicrmw fadd %{{.*}}, %[[ONE]] monotonic : !llvm.ptr<1>, f32
// CHECK: llvm.func @gradient_1_sum
func.func @gradient(%s: !equivariant.rows, %x: tensor<?x16xf32, #x>, %y: tensor<?x1xf32, #y>, %gz: tensor<?x48xf32, #z>) -> tensor<1x768xf32> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %gz at edge : tensor<?x16xf32, #x>, tensor<?x1xf32, #y>, tensor<?x48xf32, #z>) outs(all : tensor<1x768xf32>) {
  ^bb0(%xe: tensor<16xf32, #x>, %ye: tensor<1xf32, #y>, %ge: tensor<48xf32, #z>):
    %m = equivariant.contract w of #p (x = %xe, y = %ye, z = %ge) : (tensor<16xf32, #x>, tensor<1xf32, #y>, tensor<48xf32, #z>) -> tensor<768xf32>
    equivariant.yield %m : tensor<768xf32>
  }
  return %r : tensor<1x768xf32>
}
