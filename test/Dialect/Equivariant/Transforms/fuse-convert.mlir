// RUN: espmm-opt %s --equivariant-fuse | FileCheck %s

// Converts of arguments come before the kernel, those of results after it.
!a = tensor<?x8xf32>
!s = tensor<?x8xbf16>

// CHECK-LABEL: @sum
// CHECK-SAME: %[[G:[^:]+]]: !equivariant.graph, %[[A:[^:]+]]: tensor<?x8xbf16>, %[[B:[^:]+]]: tensor<?x8xbf16>)
func.func @sum(%g: !equivariant.graph, %a: !s, %b: !s) -> (!s, !s, !s) {
  // CHECK-NEXT: %[[AC:.*]] = equivariant.convert %[[A]]
  // CHECK-NEXT: %[[BC:.*]] = equivariant.convert %[[B]]
  // CHECK-NEXT: %[[K:.*]]:3 = equivariant.kernel over %[[G]] : !equivariant.graph ins(%[[AC]] at senders, %[[BC]] at edge : tensor<?x8xf32>, tensor<?x8xf32>) outs(receivers, edge, edge : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>)
  // CHECK: %[[Z:.*]] = equivariant.convert %[[K]]#0
  // CHECK-NEXT: %[[M:.*]] = equivariant.convert %[[K]]#1
  // CHECK-NEXT: %[[E:.*]] = equivariant.convert %[[K]]#2
  // CHECK-NEXT: return %[[Z]], %[[M]], %[[E]]
  %ac = equivariant.convert %a : !s -> !a
  %bc = equivariant.convert %b : !s -> !a
  %ae = equivariant.gather %ac at senders of %g : !a -> !a over !equivariant.graph
  %m = equivariant.add %ae, %bc : !a
  %z = equivariant.segment_sum %m at receivers of %g : !a -> !a over !equivariant.graph
  %zc = equivariant.convert %z : !a -> !s
  %mc = equivariant.convert %m : !a -> !s
  %ec = equivariant.convert %ae : !a -> !s
  return %zc, %mc, %ec : !s, !s, !s
}
