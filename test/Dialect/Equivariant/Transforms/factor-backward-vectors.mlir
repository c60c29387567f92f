// RUN: espmm-opt %s --equivariant-factor="channel-free-cost=0.0625 channel-sum-cost=0" | FileCheck %s

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

// Where many channels share a value that has none: the matrix M[i, k] = sum_j C y_j once, and N[i, k], summed over the
// channels, before the coefficients.
// CHECK-LABEL: @backward
// CHECK: ^bb0(%[[XE:.*]]: tensor<24xf32, #{{.*}}>, %[[YE:.*]]: tensor<3xf32, #{{.*}}>, %[[WE:.*]]: tensor<8xf32>, %[[GE:.*]]: tensor<24xf32, #{{.*}}>):
// CHECK-DAG: %[[C:.*]] = equivariant.coefficients
// CHECK-DAG: %[[X:.*]] = equivariant.block %[[XE]][0]
// CHECK-DAG: %[[Y:.*]] = equivariant.block %[[YE]][0]
// CHECK-DAG: %[[W:.*]] = equivariant.block %[[WE]][0]
// CHECK-DAG: %[[G:.*]] = equivariant.block %[[GE]][0]
// CHECK: %[[M:.*]] = equivariant.einsum "ijk,vj->vik"(%[[C]], %[[Y]]) : (tensor<3x3x3xf32>, tensor<1x3xf32>) -> tensor<1x3x3xf32>
// CHECK-DAG: %[[A:.*]] = equivariant.einsum "vik,uk->uvi"(%[[M]], %[[G]])
// CHECK-DAG: %[[GX:.*]] = equivariant.einsum "uvi,uv->ui"(%[[A]], %[[W]])
// CHECK-DAG: %[[GW:.*]] = equivariant.einsum "uvi,ui->uv"(%[[A]], %[[X]])
// CHECK-DAG: %[[WX:.*]] = equivariant.einsum "uv,ui->uvi"(%[[W]], %[[X]])
// CHECK-DAG: %[[N:.*]] = equivariant.einsum "uvi,uk->vik"(%[[WX]], %[[G]]) : (tensor<8x1x3xf32>, tensor<8x3xf32>) -> tensor<1x3x3xf32>
// CHECK-DAG: %[[GY:.*]] = equivariant.einsum "ijk,vik->vj"(%[[C]], %[[N]])
// CHECK-DAG: %[[RX:.*]] = equivariant.assemble [0](%[[GX]])
// CHECK-DAG: %[[RY:.*]] = equivariant.assemble [0](%[[GY]])
// CHECK-DAG: %[[RW:.*]] = equivariant.assemble [0](%[[GW]])
// CHECK: equivariant.yield %[[RX]], %[[RY]], %[[RW]]
func.func @backward(%g: !equivariant.graph, %x: !xs, %y: !ys, %w: !ws, %gz: !zs) -> (!xs, !ys, !ws) {
  %r:3 = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge, %gz at receivers : !xs, !ys, !ws, !zs) outs(senders, edge, edge : !xs, !ys, !ws) {
  ^bb0(%xe: !x, %ye: !y, %we: !w, %ge: !z):
    %mx = equivariant.contract x of #p (y = %ye, w = %we, z = %ge) : (!y, !w, !z) -> !x
    %my = equivariant.contract y of #p (x = %xe, w = %we, z = %ge) : (!x, !w, !z) -> !y
    %mw = equivariant.contract w of #p (x = %xe, y = %ye, z = %ge) : (!x, !y, !z) -> !w
    equivariant.yield %mx, %my, %mw : !x, !y, !w
  }
  return %r#0, %r#1, %r#2 : !xs, !ys, !ws
}
