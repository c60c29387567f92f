// RUN: espmm-opt %s --equivariant-factor | FileCheck %s
// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu" --equivariant-stage --equivariant-sparsify | FileCheck %s --check-prefix=SCALAR

#p = #equivariant.product<x = "32x0e", y = "4x0e", z = "32x0e", paths = [uvu(0, 0, 0) weightless * 2.0]>
#x = #equivariant.irreps<"32x0e", mul_ir>
#y = #equivariant.irreps<"4x0e", mul_ir>

// Without weights z is a sum over v, the channels of y, and the gradient of y is the same for each of them: that index comes from
// ones, which cost nothing.
// CHECK-LABEL: @backward
// CHECK-DAG: %[[ONES:.*]] = equivariant.ones : tensor<4xf32>
// CHECK-DAG: %[[GY:.*]] = equivariant.einsum "{{.*}}->vj"({{.*}}%[[ONES]]{{.*}}) : {{.*}} -> tensor<4x1xf32>
// CHECK: equivariant.assemble [0](%[[GY]]) : (tensor<4x1xf32>) -> tensor<4xf32
// SCALAR: equivariant.lane_sum
// SCALAR-NOT: equivariant.ones
func.func @backward(%s: !equivariant.rows, %x: tensor<?x32xf32, #x>, %y: tensor<?x4xf32, #y>, %gz: tensor<?x32xf32, #x>) -> (tensor<?x32xf32, #x>, tensor<?x4xf32, #y>) {
  %r:2 = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %gz at edge : tensor<?x32xf32, #x>, tensor<?x4xf32, #y>, tensor<?x32xf32, #x>) outs(edge, edge : tensor<?x32xf32, #x>, tensor<?x4xf32, #y>) {
  ^bb0(%xe: tensor<32xf32, #x>, %ye: tensor<4xf32, #y>, %ge: tensor<32xf32, #x>):
    %gx = equivariant.contract x of #p (y = %ye, z = %ge) : (tensor<4xf32, #y>, tensor<32xf32, #x>) -> tensor<32xf32, #x>
    %gy = equivariant.contract y of #p (x = %xe, z = %ge) : (tensor<32xf32, #x>, tensor<32xf32, #x>) -> tensor<4xf32, #y>
    equivariant.yield %gx, %gy : tensor<32xf32, #x>, tensor<4xf32, #y>
  }
  return %r#0, %r#1 : tensor<?x32xf32, #x>, tensor<?x4xf32, #y>
}
