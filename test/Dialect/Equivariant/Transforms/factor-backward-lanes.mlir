// RUN: espmm-opt %s --equivariant-factor="channel-free-cost=1 channel-sum-cost=4" | FileCheck %s

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

// Where a lane has one channel: P[i, j] = sum_k C g_k serves all three results; nothing is computed without channels.
// CHECK-LABEL: @backward
// CHECK: ^bb0(%[[XE:.*]]: tensor<24xf32, #{{.*}}>, %[[YE:.*]]: tensor<3xf32, #{{.*}}>, %[[WE:.*]]: tensor<8xf32>, %[[GE:.*]]: tensor<24xf32, #{{.*}}>):
// CHECK-DAG: %[[C:.*]] = equivariant.coefficients
// CHECK-DAG: %[[X:.*]] = equivariant.block %[[XE]][0]
// CHECK-DAG: %[[Y:.*]] = equivariant.block %[[YE]][0]
// CHECK-DAG: %[[W:.*]] = equivariant.block %[[WE]][0]
// CHECK-DAG: %[[G:.*]] = equivariant.block %[[GE]][0]
// CHECK: %[[P:.*]] = equivariant.einsum "ijk,uk->uij"(%[[C]], %[[G]]) : (tensor<3x3x3xf32>, tensor<8x3xf32>) -> tensor<8x3x3xf32>
// CHECK-NOT: equivariant.coefficients
// CHECK-DAG: %[[A:.*]] = equivariant.einsum "uij,vj->uvi"(%[[P]], %[[Y]])
// CHECK-DAG: %[[GX:.*]] = equivariant.einsum "uvi,uv->ui"(%[[A]], %[[W]])
// CHECK-DAG: %[[B:.*]] = equivariant.einsum "uij,ui->uj"(%[[P]], %[[X]])
// CHECK-DAG: %[[GY:.*]] = equivariant.einsum "uj,uv->vj"(%[[B]], %[[W]])
// CHECK-DAG: %[[GW:.*]] = equivariant.einsum "uj,vj->uv"(%[[B]], %[[Y]])
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
