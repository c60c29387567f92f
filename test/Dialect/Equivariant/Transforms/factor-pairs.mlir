// RUN: espmm-opt %s --equivariant-factor | FileCheck %s

// A pair u < v is a channel like any other once x and y are taken for pairs; what pairs give is added to their channels.
#p = #equivariant.product<x = "4x1o", y = "4x1o", z = "6x0e", paths = [uvu_lt_v(0, 0, 0) * 1.0]>
#x = #equivariant.irreps<"4x1o", mul_ir>
#z = #equivariant.irreps<"6x0e", mul_ir>
// CHECK-LABEL: func.func @pairs(
// CHECK: %[[X:.*]] = equivariant.block %{{.*}}[0] : tensor<12xf32, {{.*}}> -> tensor<4x3xf32>
// CHECK: %[[U:.*]] = equivariant.pairs first %[[X]] : tensor<4x3xf32> -> tensor<6x3xf32>
// CHECK: %[[Y:.*]] = equivariant.block %{{.*}}[0] : tensor<12xf32, {{.*}}> -> tensor<4x3xf32>
// CHECK: %[[V:.*]] = equivariant.pairs second %[[Y]] : tensor<4x3xf32> -> tensor<6x3xf32>
// CHECK: equivariant.block %{{.*}}[0] : tensor<6xf32> -> tensor<6xf32>
// CHECK: %[[GX:.*]] = equivariant.einsum "{{.*}}->ui"{{.*}} -> tensor<6x3xf32>
// CHECK: %[[SUM:.*]] = equivariant.pair_sum first %[[GX]] : tensor<6x3xf32> -> tensor<4x3xf32>
// CHECK: equivariant.assemble [0](%[[SUM]])
func.func @pairs(%s: !equivariant.rows, %x: tensor<?x12xf32, #x>, %y: tensor<?x12xf32, #x>, %w: tensor<?x6xf32>, %gz: tensor<?x6xf32, #z>)
    -> (tensor<?x6xf32, #z>, tensor<?x12xf32, #x>) {
  %r:2 = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at edge, %gz at edge : tensor<?x12xf32, #x>, tensor<?x12xf32, #x>, tensor<?x6xf32>, tensor<?x6xf32, #z>)
      outs(edge, edge : tensor<?x6xf32, #z>, tensor<?x12xf32, #x>) {
  ^bb0(%xe: tensor<12xf32, #x>, %ye: tensor<12xf32, #x>, %we: tensor<6xf32>, %ge: tensor<6xf32, #z>):
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (tensor<12xf32, #x>, tensor<12xf32, #x>, tensor<6xf32>) -> tensor<6xf32, #z>
    %g = equivariant.contract x of #p (y = %ye, w = %we, z = %ge) : (tensor<12xf32, #x>, tensor<6xf32>, tensor<6xf32, #z>) -> tensor<12xf32, #x>
    equivariant.yield %m, %g : tensor<6xf32, #z>, tensor<12xf32, #x>
  }
  return %r#0, %r#1 : tensor<?x6xf32, #z>, tensor<?x12xf32, #x>
}
