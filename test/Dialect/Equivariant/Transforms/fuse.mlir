// RUN: espmm-opt %s --equivariant-fuse | FileCheck %s

// The example of the pass's description: gathers and sums become accesses, and nothing of edge size is left.

#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
!x = tensor<?x24xf32, #x>
!y = tensor<?x3xf32, #y>
!w = tensor<?x8xf32>
!z = tensor<?x8xf32, #z>

// CHECK-LABEL: @conv
// CHECK-SAME: %[[G:[^:]+]]: !equivariant.graph, %[[X:[^:]+]]: tensor<?x24xf32, #[[XI:[^>]+]]>, %[[Y:[^:]+]]: tensor<?x3xf32, #[[YI:[^>]+]]>, %[[W:[^:]+]]: tensor<?x8xf32>)
func.func @conv(%g: !equivariant.graph, %x: !x, %y: !y, %w: !w) -> !z {
  // CHECK-NEXT: %[[Z:.*]] = equivariant.kernel over %[[G]] : !equivariant.graph
  // CHECK-SAME: ins(%[[X]] at senders, %[[Y]] at edge, %[[W]] at edge : {{.*}}) outs(receivers : tensor<?x8xf32, #[[ZI:.*]]>) {
  // CHECK-NEXT: ^bb0(%[[XE:[^:]+]]: tensor<24xf32, #[[XI]]>, %[[YE:[^:]+]]: tensor<3xf32, #[[YI]]>, %[[WE:[^:]+]]: tensor<8xf32>):
  // CHECK-NEXT: %[[M:.*]] = equivariant.contract z of #{{.*}} (x = %[[XE]], y = %[[YE]], w = %[[WE]]) : (tensor<24xf32, #[[XI]]>, tensor<3xf32, #[[YI]]>, tensor<8xf32>) -> tensor<8xf32, #[[ZI]]>
  // CHECK-NEXT: equivariant.yield %[[M]]
  // CHECK-NEXT: }
  // CHECK-NEXT: return %[[Z]]
  %xe = equivariant.gather %x at senders of %g : !x -> !x over !equivariant.graph
  %m = equivariant.contract z of #dot (x = %xe, y = %y, w = %w) : (!x, !y, !w) -> !z
  %z = equivariant.segment_sum %m at receivers of %g : !z -> !z over !equivariant.graph
  return %z : !z
}
