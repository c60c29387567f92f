// RUN: espmm-opt %s --equivariant-factor="unit-coefficients=true" | FileCheck %s

// The coefficients of (1, 1, 0) are equal: once their magnitude is taken out, with the path's own factor, nothing is left but ones. The
// one path into the block scales the block, here the sum that it gives.
// CHECK-LABEL: @alone
// CHECK-DAG: %[[S:.*]] = equivariant.coefficients(1, 1, 0) * 5.000000e-01 scales : tensor<1xf32>
// CHECK-DAG: %[[C:.*]] = equivariant.coefficients(1, 1, 0) * 1.000000e+00 unit : tensor<3x3x1xf32>
// CHECK: %[[SUM:.*]] = equivariant.einsum {{.*}} -> tensor<8x1xf32>
// CHECK: %[[Z:.*]] = equivariant.einsum "uk,k->uk"(%[[SUM]], %[[S]])
// CHECK: equivariant.assemble [0](%[[Z]])
#alone = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
func.func @alone(%g: !equivariant.graph, %x: tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, %y: tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %w: tensor<?x8xf32>) -> tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge : tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x8xf32>)
      outs(receivers : tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>) {
  ^bb0(%xe: tensor<24xf32, #equivariant.irreps<"8x1o", mul_ir>>, %ye: tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %we: tensor<8xf32>):
    %m = equivariant.contract z of #alone (x = %xe, y = %ye, w = %we) : (tensor<24xf32, #equivariant.irreps<"8x1o", mul_ir>>, tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<8xf32>) -> tensor<8xf32, #equivariant.irreps<"8x0e", mul_ir>>
    equivariant.yield %m : tensor<8xf32, #equivariant.irreps<"8x0e", mul_ir>>
  }
  return %z : tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>
}

// Two paths into one block: each keeps its coefficients.
// CHECK-LABEL: @together
// CHECK-NOT: scales
// CHECK-DAG: equivariant.coefficients(1, 1, 0) * 5.000000e-01 : tensor<3x3x1xf32>
// CHECK-DAG: equivariant.coefficients(1, 1, 0) * 2.500000e-01 : tensor<3x3x1xf32>
// CHECK: equivariant.yield
#together = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5, uvu(0, 0, 0) * 0.25]>
func.func @together(%g: !equivariant.graph, %x: tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, %y: tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %w: tensor<?x16xf32>) -> tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge : tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x16xf32>)
      outs(receivers : tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>) {
  ^bb0(%xe: tensor<24xf32, #equivariant.irreps<"8x1o", mul_ir>>, %ye: tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %we: tensor<16xf32>):
    %m = equivariant.contract z of #together (x = %xe, y = %ye, w = %we) : (tensor<24xf32, #equivariant.irreps<"8x1o", mul_ir>>, tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<16xf32>) -> tensor<8xf32, #equivariant.irreps<"8x0e", mul_ir>>
    equivariant.yield %m : tensor<8xf32, #equivariant.irreps<"8x0e", mul_ir>>
  }
  return %z : tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>
}
