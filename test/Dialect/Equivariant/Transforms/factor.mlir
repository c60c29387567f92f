// RUN: espmm-opt %s --equivariant-factor | FileCheck %s

#p = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x1e", paths = [uvu(0, 0, 0) * 0.5]>
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x1e", mul_ir>
!x = tensor<24xf32, #x>
!y = tensor<3xf32, #y>
!w = tensor<8xf32>
!z = tensor<24xf32, #z>
!xs = tensor<?x24xf32, #x>
!ys = tensor<?x3xf32, #y>
!ws = tensor<?x8xf32>
!zs = tensor<?x24xf32, #z>

// The matrix M[i, k] = sum_j C y_j has no channels; then x, then w.
// CHECK-LABEL: @forward
// CHECK: ^bb0(%[[XE:.*]]: tensor<24xf32, #{{.*}}>, %[[YE:.*]]: tensor<3xf32, #{{.*}}>, %[[WE:.*]]: tensor<8xf32>):
// CHECK-DAG: %[[C:.*]] = equivariant.coefficients(1, 1, 1) * 5.000000e-01 : tensor<3x3x3xf32>
// CHECK-DAG: %[[X:.*]] = equivariant.block %[[XE]][0] : tensor<24xf32, #{{.*}}> -> tensor<8x3xf32>
// CHECK-DAG: %[[Y:.*]] = equivariant.block %[[YE]][0] : tensor<3xf32, #{{.*}}> -> tensor<1x3xf32>
// CHECK-DAG: %[[W:.*]] = equivariant.block %[[WE]][0] : tensor<8xf32> -> tensor<8x1xf32>
// CHECK: %[[M:.*]] = equivariant.einsum "ijk,vj->vik"(%[[C]], %[[Y]]) : (tensor<3x3x3xf32>, tensor<1x3xf32>) -> tensor<1x3x3xf32>
// CHECK: %[[T:.*]] = equivariant.einsum "vik,ui->uvk"(%[[M]], %[[X]])
// CHECK: %[[Z:.*]] = equivariant.einsum "uvk,uv->uk"(%[[T]], %[[W]])
// CHECK: %[[ROW:.*]] = equivariant.assemble [0](%[[Z]]) : (tensor<8x3xf32>) -> tensor<24xf32, #{{.*}}>
// CHECK: equivariant.yield %[[ROW]]
// CHECK-NOT: equivariant.contract
func.func @forward(%g: !equivariant.graph, %x: !xs, %y: !ys, %w: !ws) -> !zs {
  %z = equivariant.kernel over %g : !equivariant.graph ins(%x at senders, %y at edge, %w at edge : !xs, !ys, !ws) outs(receivers : !zs) {
  ^bb0(%xe: !x, %ye: !y, %we: !w):
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (!x, !y, !w) -> !z
    equivariant.yield %m : !z
  }
  return %z : !zs
}
