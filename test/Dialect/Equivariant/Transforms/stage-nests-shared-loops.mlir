// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu chip=sm_90" --equivariant-stage | FileCheck %s
#p = #equivariant.product<x = "8x0e", y = "1x0e", z = "40x0e", paths = [uvw(0, 0, 0) * 1.0]>
#q = #equivariant.product<x = "8x0e", y = "1x0e", z = "10x0e", paths = [uvw(0, 0, 0) * 1.0]>
#x = #equivariant.irreps<"8x0e", mul_ir>
#y = #equivariant.irreps<"1x0e", mul_ir>
#z = #equivariant.irreps<"40x0e", mul_ir>
#v = #equivariant.irreps<"10x0e", mul_ir>

// Of forty w, two at a time in each lane: a weight is read once, for the sum over u, which goes through the loop, and for the one over w, of eight u at once.
// CHECK-LABEL: llvm.func @both_0
// CHECK: %[[ROW:.*]] = llvm.getelementptr %arg3[
// Rows of irreps are copied to shared memory first: of x and y in one load, of gz in two.
// CHECK-COUNT-4: llvm.load %{{.*}} : !llvm.ptr<1> -> f32
// CHECK-COUNT-4: llvm.store %{{.*}} : f32, !llvm.ptr<3>
// CHECK: nvvm.bar.warp.sync
// CHECK: %[[WEIGHTS:.*]] = llvm.inline_asm {{.*}} %[[ROW]] :
// CHECK: %[[SUMS:.*]]:2 = scf.for {{.*}} step %c8_i64{{.*}} iter_args(
// CHECK: llvm.getelementptr %[[WEIGHTS]][
// CHECK-COUNT-16: equivariant.read {{.*}} strides [40]
// CHECK-NOT: strides [40]
// CHECK: equivariant.lane_sum %{{[0-9]+}}, {{.*}}tensor<1x1xf32> -> f32
// CHECK: scf.yield
// CHECK: equivariant.write %[[SUMS]]#0 to %[[Z:[0-9]+]][
// CHECK: equivariant.write %[[SUMS]]#1 to %[[Z]][%{{.*}}] mask
// CHECK-NOT: %[[ROW]]
func.func @both(%s: !equivariant.rows, %x: tensor<?x8xf32, #x>, %y: tensor<?x1xf32, #y>, %w: tensor<?x320xf32>, %gz: tensor<?x40xf32, #z>)
    -> (tensor<?x40xf32, #z>, tensor<?x8xf32, #x>) {
  %r:2 = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at edge, %gz at edge : tensor<?x8xf32, #x>, tensor<?x1xf32, #y>, tensor<?x320xf32>, tensor<?x40xf32, #z>)
      outs(edge, edge : tensor<?x40xf32, #z>, tensor<?x8xf32, #x>) {
  ^bb0(%xe: tensor<8xf32, #x>, %ye: tensor<1xf32, #y>, %we: tensor<320xf32>, %ge: tensor<40xf32, #z>):
    %z = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (tensor<8xf32, #x>, tensor<1xf32, #y>, tensor<320xf32>) -> tensor<40xf32, #z>
    %gx = equivariant.contract x of #p (y = %ye, w = %we, z = %ge) : (tensor<1xf32, #y>, tensor<320xf32>, tensor<40xf32, #z>) -> tensor<8xf32, #x>
    equivariant.yield %z, %gx : tensor<40xf32, #z>, tensor<8xf32, #x>
  }
  return %r#0, %r#1 : tensor<?x40xf32, #z>, tensor<?x8xf32, #x>
}

// Ten w take 16 lanes, the others have other u: sums over u end in one over both groups.
// CHECK-LABEL: llvm.func @groups_0
// CHECK: %[[SUM:.*]] = scf.for {{.*}} step %c8_i64{{.*}} iter_args(
// CHECK: arith.divui %{{.*}}, %c16_i64
// CHECK-COUNT-4: equivariant.read {{.*}} strides [10]
// CHECK-NOT: strides [10]
// CHECK: equivariant.lane_sum of 16 lanes %
// CHECK: scf.yield
// CHECK: equivariant.lane_sum of 16 lanes across %[[SUM]]
func.func @groups(%s: !equivariant.rows, %x: tensor<?x8xf32, #x>, %y: tensor<?x1xf32, #y>, %w: tensor<?x80xf32>, %gz: tensor<?x10xf32, #v>)
    -> (tensor<?x10xf32, #v>, tensor<?x8xf32, #x>) {
  %r:2 = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at edge, %gz at edge : tensor<?x8xf32, #x>, tensor<?x1xf32, #y>, tensor<?x80xf32>, tensor<?x10xf32, #v>)
      outs(edge, edge : tensor<?x10xf32, #v>, tensor<?x8xf32, #x>) {
  ^bb0(%xe: tensor<8xf32, #x>, %ye: tensor<1xf32, #y>, %we: tensor<80xf32>, %ge: tensor<10xf32, #v>):
    %z = equivariant.contract z of #q (x = %xe, y = %ye, w = %we) : (tensor<8xf32, #x>, tensor<1xf32, #y>, tensor<80xf32>) -> tensor<10xf32, #v>
    %gx = equivariant.contract x of #q (y = %ye, w = %we, z = %ge) : (tensor<1xf32, #y>, tensor<80xf32>, tensor<10xf32, #v>) -> tensor<8xf32, #x>
    equivariant.yield %z, %gx : tensor<10xf32, #v>, tensor<8xf32, #x>
  }
  return %r#0, %r#1 : tensor<?x10xf32, #v>, tensor<?x8xf32, #x>
}
