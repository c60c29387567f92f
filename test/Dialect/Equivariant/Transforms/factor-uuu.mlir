// RUN: espmm-opt %s --equivariant-factor | FileCheck %s

// In mode uuu y has x's channels: its block carries the channel axis, and its gradient has no sum over it.
#p = #equivariant.product<x = "20x1o", y = "20x1o", z = "20x0e", paths = [uuu(0, 0, 0) * 0.5]>
#x = #equivariant.irreps<"20x1o", mul_ir>
#z = #equivariant.irreps<"20x0e", mul_ir>

// CHECK-LABEL: @backward
// CHECK-DAG: %[[C:.*]] = equivariant.coefficients(1, 1, 0) * 5.000000e-01 : tensor<3x3x1xf32>
// CHECK-DAG: %[[X:.*]] = equivariant.block %{{.*}}[0] : tensor<60xf32, #{{.*}}> -> tensor<20x3xf32>
// CHECK-DAG: %[[G:.*]] = equivariant.block %{{.*}}[0] : tensor<20xf32, #{{.*}}> -> tensor<20x1xf32>
// CHECK-DAG: %[[W:.*]] = equivariant.block %{{.*}}[0] : tensor<20xf32> -> tensor<20xf32>
// CHECK: %[[GY:.*]] = equivariant.einsum "{{.*}}->uj"
// CHECK: %[[GW:.*]] = equivariant.einsum "{{.*}}->u"
// CHECK-NOT: equivariant.ones
// CHECK: equivariant.assemble [0](%[[GY]]) : (tensor<20x3xf32>) -> tensor<60xf32
// CHECK: equivariant.assemble [0](%[[GW]]) : (tensor<20xf32>) -> tensor<20xf32>
func.func @backward(%s: !equivariant.rows, %x: tensor<?x60xf32, #x>, %y: tensor<?x60xf32, #x>, %w: tensor<?x20xf32>, %gz: tensor<?x20xf32, #z>) -> (tensor<?x60xf32, #x>, tensor<?x20xf32>) {
  %r:2 = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at edge, %gz at edge : tensor<?x60xf32, #x>, tensor<?x60xf32, #x>, tensor<?x20xf32>, tensor<?x20xf32, #z>) outs(edge, edge : tensor<?x60xf32, #x>, tensor<?x20xf32>) {
  ^bb0(%xe: tensor<60xf32, #x>, %ye: tensor<60xf32, #x>, %we: tensor<20xf32>, %ge: tensor<20xf32, #z>):
    %gy = equivariant.contract y of #p (x = %xe, w = %we, z = %ge) : (tensor<60xf32, #x>, tensor<20xf32>, tensor<20xf32, #z>) -> tensor<60xf32, #x>
    %gw = equivariant.contract w of #p (x = %xe, y = %ye, z = %ge) : (tensor<60xf32, #x>, tensor<60xf32, #x>, tensor<20xf32, #z>) -> tensor<20xf32>
    equivariant.yield %gy, %gw : tensor<60xf32, #x>, tensor<20xf32>
  }
  return %r#0, %r#1 : tensor<?x60xf32, #x>, tensor<?x20xf32>
}
