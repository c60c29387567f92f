// RUN: espmm-opt %s --equivariant-stage | FileCheck %s

// A warp with both slabs of 40 channels: a lane has two of them, 32 apart. The node's row is read channel by channel, the second one only in lanes that
// have it; the edge's comes through shared memory, 64 channels of which the last 24 are filled with zeros. The channels' letter stays in the einsums, and
// sums over them begin in the lane.
// CHECK-LABEL: llvm.func @gradient_0(
// CHECK: %[[FIRST:.*]] = equivariant.read %[[NODE:.*]][%{{[^ ]*}} * 3] offset 0 strides [1] {{.*}} -> tensor<3xf32>
// CHECK: %[[SECOND:.*]] = equivariant.read %[[NODE]][%{{[^ ]*}} * 3] mask %{{.*}} : i1 offset 96 strides [1] {{.*}} -> tensor<3xf32>
// CHECK: %[[G:.*]] = equivariant.stack %[[FIRST]], %[[SECOND]] : tensor<3xf32>, tensor<3xf32> -> tensor<2x3xf32>
// CHECK: equivariant.async_copy {{.*}} runs [0, 32, 64, 1, 40]
// CHECK: scf.for
// CHECK: %[[W:.*]] = equivariant.read {{.*}} strides [32, 1] {{.*}} -> tensor<2x1xf32>
// CHECK: %[[PRODUCT:.*]] = equivariant.einsum "ui,uv->uiv"(%[[G]], %[[W]]) : (tensor<2x3xf32>, tensor<2x1xf32>) -> tensor<2x3x1xf32>
// CHECK: %[[SUM:.*]] = equivariant.einsum "uiv->vi"(%[[PRODUCT]]) : (tensor<2x3x1xf32>) -> tensor<1x3xf32>
// CHECK: equivariant.lane_sum %[[SUM]]
func.func @gradient(%g: !equivariant.graph, %d: tensor<?x120xf32, #equivariant.irreps<"40x1o", mul_ir>>, %w: tensor<?x40xf32>) -> tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%d at receivers, %w at edge : tensor<?x120xf32, #equivariant.irreps<"40x1o", mul_ir>>, tensor<?x40xf32>)
      outs(edge : tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>) attributes {schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_end = 2, slabs = 2>} {
  ^bb0(%de: tensor<120xf32, #equivariant.irreps<"40x1o", mul_ir>>, %we: tensor<40xf32>):
    %0 = equivariant.block %de[0] : tensor<120xf32, #equivariant.irreps<"40x1o", mul_ir>> -> tensor<40x3xf32>
    %1 = equivariant.block %we[0] : tensor<40xf32> -> tensor<40x1xf32>
    %2 = equivariant.einsum "ui,uv->uiv"(%0, %1) : (tensor<40x3xf32>, tensor<40x1xf32>) -> tensor<40x3x1xf32>
    %3 = equivariant.einsum "uiv->vi"(%2) : (tensor<40x3x1xf32>) -> tensor<1x3xf32>
    %4 = equivariant.assemble [0](%3) : (tensor<1x3xf32>) -> tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>>
    equivariant.yield %4 : tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>>
  }
  return %z : tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>
}
