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

// The distributive law: a = w0 x1 + w1 x0 goes into the cotangents of y and of g; a matrix M[i, k] for each of y0 and y1.
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
// CHECK-DAG: %[[M1:.*]] = equivariant.einsum "ijk,vj->vik"(%[[C]], %[[Y1]])
// CHECK-DAG: %[[M0:.*]] = equivariant.einsum "ijk,vj->vik"(%[[C]], %[[Y0]])
// CHECK-DAG: %[[S0:.*]] = equivariant.einsum "uv,ui->uvi"(%[[W0]], %[[X1]])
// CHECK-DAG: %[[S1:.*]] = equivariant.einsum "uv,ui->uvi"(%[[W1]], %[[X0]])
// CHECK-DAG: %[[S:.*]] = equivariant.add %[[S0]], %[[S1]]
// CHECK-DAG: %[[N:.*]] = equivariant.einsum "uk,uvi->vik"(%[[G]], %[[S]])
// CHECK-DAG: %[[GY:.*]] = equivariant.einsum "ijk,vik->vj"(%[[C]], %[[N]])
// CHECK-DAG: %[[Z0:.*]] = equivariant.einsum "vik,uvi->uk"(%[[M0]], %[[S]])
// CHECK-DAG: %[[T:.*]] = equivariant.einsum "vik,ui->uvk"(%[[M1]], %[[X0]])
// CHECK-DAG: %[[Z1:.*]] = equivariant.einsum "uvk,uv->uk"(%[[T]], %[[W0]])
// CHECK-DAG: %[[GG:.*]] = equivariant.add %[[Z0]], %[[Z1]]
// CHECK: equivariant.assemble
// CHECK: equivariant.assemble [0](%[[GY]])
// CHECK: equivariant.assemble
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
