// RUN: espmm-opt %s --equivariant-factor="channel-free-cost=0.0625 channel-sum-cost=0" | FileCheck %s

// Copies of a path in both parities have the same coefficients and block of y: its matrix is computed once.
#parities = #equivariant.product<x = "8x1o+8x1e", y = "1x1o", z = "8x1e+8x1o", paths = [uvu(0, 0, 0) * 0.5, uvu(1, 0, 1) * 0.5]>
#x2 = #equivariant.irreps<"8x1o+8x1e", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z2 = #equivariant.irreps<"8x1e+8x1o", mul_ir>
// CHECK-LABEL: @parities
// CHECK: equivariant.coefficients(1, 1, 1) * 5.000000e-01
// CHECK: %[[M:.*]] = equivariant.einsum "ijk,vj->vik"
// CHECK: equivariant.einsum "vik,ui->uvk"(%[[M]], %{{.*}})
// CHECK-NOT: equivariant.coefficients
// CHECK-NOT: "ijk,vj->vik"
// CHECK: equivariant.einsum "vik,ui->uvk"(%[[M]], %{{.*}})
// CHECK: equivariant.assemble [0, 24]
func.func @parities(%s: !equivariant.rows, %x: tensor<?x48xf32, #x2>, %y: tensor<?x3xf32, #y>, %w: tensor<?x16xf32>) -> tensor<?x48xf32, #z2> {
  %z = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %w at edge : tensor<?x48xf32, #x2>, tensor<?x3xf32, #y>, tensor<?x16xf32>)
      outs(edge : tensor<?x48xf32, #z2>) {
  ^bb0(%xe: tensor<48xf32, #x2>, %ye: tensor<3xf32, #y>, %we: tensor<16xf32>):
    %m = equivariant.contract z of #parities (x = %xe, y = %ye, w = %we) : (tensor<48xf32, #x2>, tensor<3xf32, #y>, tensor<16xf32>) -> tensor<48xf32, #z2>
    equivariant.yield %m : tensor<48xf32, #z2>
  }
  return %z : tensor<?x48xf32, #z2>
}

// Another coefficient, another matrix.
#scales = #equivariant.product<x = "8x1o+8x1e", y = "1x1o", z = "8x1e+8x1o", paths = [uvu(0, 0, 0) * 0.5, uvu(1, 0, 1) * 0.25]>
// CHECK-LABEL: @scales
// CHECK: equivariant.coefficients(1, 1, 1) * 5.000000e-01
// CHECK: equivariant.einsum "ijk,vj->vik"
// CHECK: equivariant.coefficients(1, 1, 1) * 2.500000e-01
// CHECK: equivariant.einsum "ijk,vj->vik"
func.func @scales(%s: !equivariant.rows, %x: tensor<?x48xf32, #x2>, %y: tensor<?x3xf32, #y>, %w: tensor<?x16xf32>) -> tensor<?x48xf32, #z2> {
  %z = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %w at edge : tensor<?x48xf32, #x2>, tensor<?x3xf32, #y>, tensor<?x16xf32>)
      outs(edge : tensor<?x48xf32, #z2>) {
  ^bb0(%xe: tensor<48xf32, #x2>, %ye: tensor<3xf32, #y>, %we: tensor<16xf32>):
    %m = equivariant.contract z of #scales (x = %xe, y = %ye, w = %we) : (tensor<48xf32, #x2>, tensor<3xf32, #y>, tensor<16xf32>) -> tensor<48xf32, #z2>
    equivariant.yield %m : tensor<48xf32, #z2>
  }
  return %z : tensor<?x48xf32, #z2>
}
