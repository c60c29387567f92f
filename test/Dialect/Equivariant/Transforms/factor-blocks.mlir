// RUN: espmm-opt %s --equivariant-factor | FileCheck %s

// Blocks begin where the irreps and the weights before them end.
#p = #equivariant.product<x = "2x0e+4x1o", y = "1x0e+1x1o", z = "3x0e+4x0e+4x1o", paths = [uvu(1, 1, 1) * 1.0, uvu(1, 0, 2) * 2.0]>
#x = #equivariant.irreps<"2x0e+4x1o", mul_ir>
#y = #equivariant.irreps<"1x0e+1x1o", mul_ir>
#z = #equivariant.irreps<"3x0e+4x0e+4x1o", mul_ir>
!xs = tensor<?x14xf32, #x>
!ys = tensor<?x4xf32, #y>
!ws = tensor<?x8xf32>
!zs = tensor<?x19xf32, #z>
!x = tensor<14xf32, #x>
!y = tensor<4xf32, #y>
!w = tensor<8xf32>
!z = tensor<19xf32, #z>

// CHECK-LABEL: @offsets
// CHECK: ^bb0(%[[X:.*]]: tensor<14xf32, #{{.*}}>, %[[Y:.*]]: tensor<4xf32, #{{.*}}>, %[[W:.*]]: tensor<8xf32>):
// CHECK-DAG: equivariant.block %[[X]][2] : tensor<14xf32, #{{.*}}> -> tensor<4x3xf32>
// CHECK-DAG: equivariant.block %[[Y]][0] : tensor<4xf32, #{{.*}}> -> tensor<1x1xf32>
// CHECK-DAG: equivariant.block %[[W]][4] : tensor<8xf32> -> tensor<4x1xf32>
// CHECK-DAG: equivariant.block %[[Y]][1] : tensor<4xf32, #{{.*}}> -> tensor<1x3xf32>
// CHECK-DAG: equivariant.block %[[W]][0] : tensor<8xf32> -> tensor<4x1xf32>
// Paths that share a block of x stand together, those of the first block of y before the others; nothing reaches 3x0e at 0.
// CHECK: equivariant.assemble [7, 3](%{{.*}}, %{{.*}}) : (tensor<4x3xf32>, tensor<4x1xf32>) -> tensor<19xf32, #{{.*}}>
func.func @offsets(%s: !equivariant.rows, %x: !xs, %y: !ys, %w: !ws) -> !zs {
  %z = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %w at edge : !xs, !ys, !ws) outs(edge : !zs) {
  ^bb0(%xe: !x, %ye: !y, %we: !w):
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (!x, !y, !w) -> !z
    equivariant.yield %m : !z
  }
  return %z : !zs
}

// Both paths add to the one block of x.
// CHECK-LABEL: @same_offset
// CHECK: equivariant.assemble [2, 2](%{{.*}}, %{{.*}}) : (tensor<4x3xf32>, tensor<4x3xf32>) -> tensor<14xf32, #{{.*}}>
func.func @same_offset(%s: !equivariant.rows, %y: !ys, %w: !ws, %gz: !zs) -> !xs {
  %gx = equivariant.kernel over %s : !equivariant.rows ins(%y at edge, %w at edge, %gz at edge : !ys, !ws, !zs) outs(edge : !xs) {
  ^bb0(%ye: !y, %we: !w, %ge: !z):
    %m = equivariant.contract x of #p (y = %ye, w = %we, z = %ge) : (!y, !w, !z) -> !x
    equivariant.yield %m : !x
  }
  return %gx : !xs
}

#none = #equivariant.product<x = "0x1o", y = "1x1o", z = "0x0e", paths = [uvu(0, 0, 0) * 1.0]>
#x0 = #equivariant.irreps<"0x1o", mul_ir>
#y1 = #equivariant.irreps<"1x1o", mul_ir>
#z0 = #equivariant.irreps<"0x0e", mul_ir>

// A path without channels gives nothing; a row of zeros is an empty sum.
// CHECK-LABEL: @nothing
// CHECK-NOT: equivariant.einsum
// CHECK: %[[GX:.*]] = equivariant.assemble []() : () -> tensor<0xf32, #{{.*}}>
// CHECK: %[[GY:.*]] = equivariant.assemble []() : () -> tensor<3xf32, #{{.*}}>
// CHECK: equivariant.yield %[[GX]], %[[GY]]
func.func @nothing(%s: !equivariant.rows, %y: tensor<?x3xf32, #y1>, %w: tensor<?x0xf32>, %gz: tensor<?x0xf32, #z0>) -> (tensor<?x0xf32, #x0>, tensor<?x3xf32, #y1>) {
  %r:2 = equivariant.kernel over %s : !equivariant.rows ins(%y at edge, %w at edge, %gz at edge : tensor<?x3xf32, #y1>, tensor<?x0xf32>, tensor<?x0xf32, #z0>)
      outs(edge, edge : tensor<?x0xf32, #x0>, tensor<?x3xf32, #y1>) {
  ^bb0(%ye: tensor<3xf32, #y1>, %we: tensor<0xf32>, %ge: tensor<0xf32, #z0>):
    %m = equivariant.contract x of #none (y = %ye, w = %we, z = %ge) : (tensor<3xf32, #y1>, tensor<0xf32>, tensor<0xf32, #z0>) -> tensor<0xf32, #x0>
    %0 = equivariant.zeros like %ye : tensor<3xf32, #y1> -> tensor<3xf32, #y1>
    equivariant.yield %m, %0 : tensor<0xf32, #x0>, tensor<3xf32, #y1>
  }
  return %r#0, %r#1 : tensor<?x0xf32, #x0>, tensor<?x3xf32, #y1>
}
