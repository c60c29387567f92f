// RUN: espmm-opt %s --equivariant-factor="channel-free-cost=0.0625 channel-sum-cost=0" -mlir-pass-statistics 2>&1 | FileCheck %s

// 6 of the 27 coefficients of (1, 1, 1) are not zero; M[i, k] has 6 elements of one term each, and so has gy the other way.
// A channel: 6 of A, 3 of gx, 3 of gw, 3 of wx, 6 of N.
// CHECK: Pass statistics report
// CHECK: module attributes {equivariant.statistics = {factor = {channel_free_multiplications = 12 : i64, multiplications = 21 : i64, nonzeros = 6 : i64, paths = 1 : i64}}}
// CHECK: equivariant-factor
// CHECK-NEXT: (S) 1 paths
// CHECK-NEXT: (S) 6 nonzeros
// CHECK-NEXT: (S) 21 multiplications
// CHECK-NEXT: (S) 12 channel_free_multiplications
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
