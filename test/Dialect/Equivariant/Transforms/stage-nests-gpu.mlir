// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu chip=sm_90" --equivariant-stage | FileCheck %s
// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu chip=sm_90" --equivariant-stage --equivariant-sparsify --convert-equivariant-to-gpu | FileCheck %s --check-prefix=SCALAR

// A warp for a row: results of irreps, and buffers, in its shared memory, as much as is alive at once.
// CHECK-LABEL: func.func @backward(
// CHECK: equivariant.launch @backward_0 grid(%{{.*}}) block [32, 4, 1] shared {{[0-9]+}}(
// CHECK: llvm.func @backward_0
// CHECK: %[[LANE:.*]] = arith.extui %{{.*}} : i32 to i64
// CHECK: %[[SHARED:.*]] = llvm.mlir.addressof @espmm_shared
// CHECK: scf.if
// CHECK: %[[FIRST:.*]] = arith.muli
// CHECK: %[[WARP:.*]] = llvm.getelementptr %[[SHARED]][%[[FIRST]]]
// CHECK: %[[ROW:.*]] = llvm.getelementptr %[[WARP]][0]
// The row's gx is all given by the nests: it needs no zeros.
// CHECK-NOT: llvm.store
// CHECK: nvvm.bar.warp.sync

// The gradient of the products of x and y is a sum over w, which is in lanes: of eight u at once, each of which ends up in a lane.
// CHECK: scf.for {{.*}} step %c8_i64
// CHECK: %[[SUMS:.*]]:8 = scf.for {{.*}} -> (tensor<1x1xf32>, tensor<1x1xf32>, tensor<1x1xf32>, tensor<1x1xf32>, tensor<1x1xf32>, tensor<1x1xf32>, tensor<1x1xf32>, tensor<1x1xf32>)
// CHECK: %[[SUM:.*]] = equivariant.lane_sum %[[SUMS]]#0, %[[SUMS]]#1, {{.*}}%[[SUMS]]#7 :
// CHECK: scf.if
// CHECK: llvm.store %[[SUM]], %{{.*}} : f32, !llvm.ptr<3>

// The gradient of the weights is stored as it is made, in lanes of w, of eight u at once; weights are read once.
// CHECK: equivariant.einsum "vk,k->v"
// CHECK-COUNT-8: equivariant.write %{{.*}} to %{{[0-9]+}}[%{{[0-9]+}}] mask %{{.*}} : i1 offset 0 strides [24] : tensor<1xf32>, <1>
// CHECK: nvvm.bar.warp.sync

// The row of gx leaves in whole lines.
// CHECK: scf.for %[[AT:.*]] = %[[LANE]] to %c24_i64{{.*}} step %c32_i64
// CHECK: %[[VALUE:.*]] = llvm.load %{{.*}} : !llvm.ptr<3> -> f32
// CHECK: llvm.store %[[VALUE]], %{{.*}} : f32, !llvm.ptr<1>

// SCALAR-LABEL: llvm.func @backward_0
// SCALAR: nvvm.shfl.sync bfly
// SCALAR-NOT: equivariant.
#p = #equivariant.product<x = "8x1o", y = "1x1o", z = "24x0e", paths = [uvw(0, 0, 0) * 1.0]>
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"24x0e", mul_ir>
func.func @backward(%s: !equivariant.rows, %x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x192xf32>, %gz: tensor<?x24xf32, #z>)
    -> (tensor<?x24xf32, #x>, tensor<?x192xf32>) {
  %r:2 = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at edge, %gz at edge : tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x192xf32>, tensor<?x24xf32, #z>)
      outs(edge, edge : tensor<?x24xf32, #x>, tensor<?x192xf32>) {
  ^bb0(%xe: tensor<24xf32, #x>, %ye: tensor<3xf32, #y>, %we: tensor<192xf32>, %ge: tensor<24xf32, #z>):
    %gx = equivariant.contract x of #p (y = %ye, w = %we, z = %ge) : (tensor<3xf32, #y>, tensor<192xf32>, tensor<24xf32, #z>) -> tensor<24xf32, #x>
    %gw = equivariant.contract w of #p (x = %xe, y = %ye, z = %ge) : (tensor<24xf32, #x>, tensor<3xf32, #y>, tensor<24xf32, #z>) -> tensor<192xf32>
    equivariant.yield %gx, %gw : tensor<24xf32, #x>, tensor<192xf32>
  }
  return %r#0, %r#1 : tensor<?x24xf32, #x>, tensor<?x192xf32>
}
