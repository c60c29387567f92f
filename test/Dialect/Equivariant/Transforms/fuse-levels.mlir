// RUN: espmm-opt %s --equivariant-fuse | FileCheck %s

// A gather that reads a segment sum waits for it: two kernels. Rows that the second one needs again are given by edge.

#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
!x = tensor<?x24xf32, #x>
!y = tensor<?x3xf32, #y>
!w = tensor<?x8xf32>
!z = tensor<?x8xf32, #z>
#up = #equivariant.product<x = "8x0e", y = "1x1o", z = "8x1o", paths = [uvu(0, 0, 0) weightless * 1.0]>

// CHECK-LABEL: @two_layers
// CHECK-SAME: %[[G:[^:]+]]: !equivariant.graph, %[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<{{[^:]+}}>)
func.func @two_layers(%g: !equivariant.graph, %x: !x, %y: !y, %w: !w) -> !x {
  // CHECK-NEXT: %[[H:.*]] = equivariant.kernel over %[[G]] : !equivariant.graph ins(%[[X]] at senders, %[[Y]] at edge, %[[W]] at edge : {{.*}}) outs(receivers : {{.*}}) {
  // CHECK: equivariant.yield
  // CHECK: %[[Z:.*]] = equivariant.kernel over %[[G]] : !equivariant.graph ins(%[[H]] at senders, %[[Y]] at edge : {{.*}}) outs(receivers : {{.*}}) {
  // CHECK: return %[[Z]]
  %xe = equivariant.gather %x at senders of %g : !x -> !x over !equivariant.graph
  %m = equivariant.contract z of #dot (x = %xe, y = %y, w = %w) : (!x, !y, !w) -> !z
  %h = equivariant.segment_sum %m at receivers of %g : !z -> !z over !equivariant.graph
  %he = equivariant.gather %h at senders of %g : !z -> !z over !equivariant.graph
  %n = equivariant.contract z of #up (x = %he, y = %y) : (!z, !y) -> !x
  %z = equivariant.segment_sum %n at receivers of %g : !x -> !x over !equivariant.graph
  return %z : !x
}

// CHECK-LABEL: @rows_for_the_second
func.func @rows_for_the_second(%g: !equivariant.graph, %x: !x, %y: !y, %w: !w) -> !z {
  // CHECK-NEXT: %[[K:.*]]:2 = equivariant.kernel over %{{.*}} outs(receivers, edge : {{.*}}) {
  // CHECK: equivariant.kernel over %{{.*}} ins(%[[K]]#0 at senders, %[[K]]#1 at edge : {{.*}}) outs(receivers : {{.*}}) {
  // CHECK-NEXT: ^bb0(%[[H:[^:]+]]: tensor<{{[^:]+}}>, %[[M:[^:]+]]: tensor<{{[^:]+}}>):
  // CHECK-NEXT: equivariant.add %[[H]], %[[M]]
  %xe = equivariant.gather %x at senders of %g : !x -> !x over !equivariant.graph
  %m = equivariant.contract z of #dot (x = %xe, y = %y, w = %w) : (!x, !y, !w) -> !z
  %h = equivariant.segment_sum %m at receivers of %g : !z -> !z over !equivariant.graph
  %he = equivariant.gather %h at senders of %g : !z -> !z over !equivariant.graph
  %sum = equivariant.add %he, %m : !z
  %z = equivariant.segment_sum %sum at receivers of %g : !z -> !z over !equivariant.graph
  return %z : !z
}

// A gathered sum of nodes is the sum of what is gathered: nodes are not computed on.
// CHECK-LABEL: @gathered_sum_of_nodes
// CHECK-SAME: %{{[^:]+}}: !equivariant.graph, %[[A:[^:]+]]: tensor<{{[^:]+}}>, %[[B:[^:]+]]: tensor<{{[^:]+}}>)
func.func @gathered_sum_of_nodes(%g: !equivariant.graph, %a: !z, %b: !z) -> !z {
  // CHECK-NEXT: %[[H:.*]] = equivariant.kernel over %{{.*}} ins(%[[B]] at edge : {{.*}}) outs(receivers : {{.*}}) {
  // CHECK: equivariant.kernel over %{{.*}} ins(%[[A]] at senders, %[[H]] at senders : {{.*}}) outs(receivers : {{.*}}) {
  %h = equivariant.segment_sum %b at receivers of %g : !z -> !z over !equivariant.graph
  %sum = equivariant.add %a, %h : !z
  %e = equivariant.gather %sum at senders of %g : !z -> !z over !equivariant.graph
  %z = equivariant.segment_sum %e at receivers of %g : !z -> !z over !equivariant.graph
  return %z : !z
}
