// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu chip=sm_90" --equivariant-stage | FileCheck %s
// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu chip=sm_90" --equivariant-stage --equivariant-sparsify --convert-equivariant-to-gpu | FileCheck %s --check-prefix=SCALAR

#p = #equivariant.product<x = "48x0e", y = "1x0e", z = "10x0e", paths = [uvw(0, 0, 0) * 1.0]>
#x = #equivariant.irreps<"48x0e", mul_ir>
#y = #equivariant.irreps<"1x0e", mul_ir>
#z = #equivariant.irreps<"10x0e", mul_ir>

// Ten w take 16 lanes: the others of a warp take other u. A sum over u is then one over both groups.
// CHECK-LABEL: func.func @forward(
// CHECK: llvm.func @forward_0
// CHECK: scf.for {{.*}} to %c48_i64{{.*}} step %c16_i64
// CHECK: arith.divui %{{.*}}, %c16_i64
// CHECK: equivariant.lane_sum of 16 lanes across
// CHECK: llvm.store
// SCALAR-LABEL: llvm.func @forward_0
// SCALAR-COUNT-1: nvvm.shfl.sync bfly
// SCALAR-NOT: nvvm.shfl.sync bfly
// SCALAR-LABEL: func.func @backward(
func.func @forward(%s: !equivariant.rows, %x: tensor<?x48xf32, #x>, %y: tensor<?x1xf32, #y>, %w: tensor<?x480xf32>) -> tensor<?x10xf32, #z> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at edge : tensor<?x48xf32, #x>, tensor<?x1xf32, #y>, tensor<?x480xf32>) outs(edge : tensor<?x10xf32, #z>) {
  ^bb0(%xe: tensor<48xf32, #x>, %ye: tensor<1xf32, #y>, %we: tensor<480xf32>):
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (tensor<48xf32, #x>, tensor<1xf32, #y>, tensor<480xf32>) -> tensor<10xf32, #z>
    equivariant.yield %m : tensor<10xf32, #z>
  }
  return %r : tensor<?x10xf32, #z>
}

// Sums over w are taken of eight u in each group.
// CHECK-LABEL: func.func @backward(
// CHECK: llvm.func @backward_0
// CHECK: equivariant.lane_sum of 16 lanes %
func.func @backward(%s: !equivariant.rows, %y: tensor<?x1xf32, #y>, %w: tensor<?x480xf32>, %gz: tensor<?x10xf32, #z>) -> tensor<?x48xf32, #x> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%y at edge, %w at edge, %gz at edge : tensor<?x1xf32, #y>, tensor<?x480xf32>, tensor<?x10xf32, #z>) outs(edge : tensor<?x48xf32, #x>) {
  ^bb0(%ye: tensor<1xf32, #y>, %we: tensor<480xf32>, %ge: tensor<10xf32, #z>):
    %m = equivariant.contract x of #p (y = %ye, w = %we, z = %ge) : (tensor<1xf32, #y>, tensor<480xf32>, tensor<10xf32, #z>) -> tensor<48xf32, #x>
    equivariant.yield %m : tensor<48xf32, #x>
  }
  return %r : tensor<?x48xf32, #x>
}
