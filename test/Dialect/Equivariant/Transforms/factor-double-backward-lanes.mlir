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

// The distributive law: a = w0 x1 + w1 x0 goes into the cotangents of y and of g, P[i, j] = sum_k C g_k into those of
// x, y and w.
// CHECK-LABEL: @double_backward
// CHECK: ^bb0(%[[X0E:.*]]: tensor<24xf32, #{{.*}}>, %[[Y0E:.*]]: tensor<3xf32, #{{.*}}>, %[[W0E:.*]]: tensor<8xf32>, %[[GE:.*]]: tensor<24xf32, #{{.*}}>, %[[X1E:.*]]: tensor<24xf32, #{{.*}}>, %[[Y1E:.*]]: tensor<3xf32, #{{.*}}>, %[[W1E:.*]]: tensor<8xf32>):
// CHECK-DAG: %[[C:.*]] = equivariant.coefficients
// CHECK-DAG: %[[X0:.*]] = equivariant.block %[[X0E]][0]
// CHECK-DAG: %[[Y0:.*]] = equivariant.block %[[Y0E]][0]
// CHECK-DAG: %[[W0:.*]] = equivariant.block %[[W0E]][0]
// CHECK-DAG: %[[G:.*]] = equivariant.block %[[GE]][0]
// CHECK-DAG: %[[X1:.*]] = equivariant.block %[[X1E]][0]
// CHECK-DAG: %[[Y1:.*]] = equivariant.block %[[Y1E]][0]
// CHECK-DAG: %[[W1:.*]] = equivariant.block %[[W1E]][0]
// CHECK-DAG: %[[P:.*]] = equivariant.einsum "ijk,uk->uij"(%[[C]], %[[G]])
// CHECK-DAG: %[[A1:.*]] = equivariant.einsum "uij,vj->uvi"(%[[P]], %[[Y1]])
// CHECK-DAG: %[[A0:.*]] = equivariant.einsum "uij,vj->uvi"(%[[P]], %[[Y0]])
// CHECK-DAG: %[[GX1:.*]] = equivariant.einsum "uvi,uv->ui"(%[[A1]], %[[W0]])
// CHECK-DAG: %[[GX0:.*]] = equivariant.einsum "uvi,uv->ui"(%[[A0]], %[[W1]])
// CHECK-DAG: %[[GX:.*]] = equivariant.add %[[GX1]], %[[GX0]]
// CHECK-DAG: %[[S0:.*]] = equivariant.einsum "uv,ui->uvi"(%[[W0]], %[[X1]])
// CHECK-DAG: %[[S1:.*]] = equivariant.einsum "uv,ui->uvi"(%[[W1]], %[[X0]])
// CHECK-DAG: %[[S:.*]] = equivariant.add %[[S0]], %[[S1]]
// CHECK-DAG: %[[GY:.*]] = equivariant.einsum "uij,uvi->vj"(%[[P]], %[[S]])
// CHECK-DAG: %[[GW0:.*]] = equivariant.einsum "uvi,ui->uv"(%[[A0]], %[[X1]])
// CHECK-DAG: %[[GW1:.*]] = equivariant.einsum "uvi,ui->uv"(%[[A1]], %[[X0]])
// CHECK-DAG: %[[GW:.*]] = equivariant.add %[[GW0]], %[[GW1]]
// CHECK-DAG: %[[Q0:.*]] = equivariant.einsum "vj,uvi->uij"(%[[Y0]], %[[S]])
// CHECK-DAG: %[[T:.*]] = equivariant.einsum "uv,ui->uvi"(%[[W0]], %[[X0]])
// CHECK-DAG: %[[Q1:.*]] = equivariant.einsum "vj,uvi->uij"(%[[Y1]], %[[T]])
// CHECK-DAG: %[[Q:.*]] = equivariant.add %[[Q0]], %[[Q1]]
// CHECK-DAG: %[[GG:.*]] = equivariant.einsum "ijk,uij->uk"(%[[C]], %[[Q]])
// CHECK: equivariant.assemble [0](%[[GX]])
// CHECK: equivariant.assemble [0](%[[GY]])
// CHECK: equivariant.assemble [0](%[[GW]])
// CHECK: equivariant.assemble [0](%[[GG]])
func.func @double_backward(%g: !equivariant.graph, %x: !xs, %y: !ys, %w: !ws, %gz: !zs, %dx: !xs, %dy: !ys, %dw: !ws) -> (!xs, !ys, !ws, !zs) {
  %r:4 = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge, %gz at receivers, %dx at senders, %dy at edge, %dw at edge : !xs, !ys, !ws, !zs, !xs, !ys, !ws)
      outs(senders, edge, edge, receivers : !xs, !ys, !ws, !zs) {
  ^bb0(%x0: !x, %y0: !y, %w0: !w, %g0: !z, %x1: !x, %y1: !y, %w1: !w):
    %0 = equivariant.contract x of #p (y = %y1, w = %w0, z = %g0) : (!y, !w, !z) -> !x
    %1 = equivariant.contract x of #p (y = %y0, w = %w1, z = %g0) : (!y, !w, !z) -> !x
    %gx = equivariant.add %0, %1 : !x
    %2 = equivariant.contract y of #p (x = %x1, w = %w0, z = %g0) : (!x, !w, !z) -> !y
    %3 = equivariant.contract y of #p (x = %x0, w = %w1, z = %g0) : (!x, !w, !z) -> !y
    %gy = equivariant.add %2, %3 : !y
    %4 = equivariant.contract w of #p (x = %x1, y = %y0, z = %g0) : (!x, !y, !z) -> !w
    %5 = equivariant.contract w of #p (x = %x0, y = %y1, z = %g0) : (!x, !y, !z) -> !w
    %gw = equivariant.add %4, %5 : !w
    %6 = equivariant.contract z of #p (x = %x1, y = %y0, w = %w0) : (!x, !y, !w) -> !z
    %7 = equivariant.contract z of #p (x = %x0, y = %y1, w = %w0) : (!x, !y, !w) -> !z
    %8 = equivariant.contract z of #p (x = %x0, y = %y0, w = %w1) : (!x, !y, !w) -> !z
    %9 = equivariant.add %6, %7 : !z
    %gg = equivariant.add %9, %8 : !z
    equivariant.yield %gx, %gy, %gw, %gg : !x, !y, !w, !z
  }
  return %r#0, %r#1, %r#2, %r#3 : !xs, !ys, !ws, !zs
}
