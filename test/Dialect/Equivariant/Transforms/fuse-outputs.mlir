// RUN: espmm-opt %s --equivariant-fuse | FileCheck %s

#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
!x = tensor<?x24xf32, #x>
!y = tensor<?x3xf32, #y>
!w = tensor<?x8xf32>
!z = tensor<?x8xf32, #z>

// One value is summed at a side and given by edge; another stays inside.
// CHECK-LABEL: @two_outputs
func.func @two_outputs(%g: !equivariant.graph, %x: !x, %y: !y, %w: !w) -> (!z, !z, !w) {
  // CHECK-NEXT: %[[K:.*]]:3 = equivariant.kernel over %{{.*}} outs(receivers, edge, edge : {{.*}}) {
  // CHECK: %[[M:.*]] = equivariant.contract z
  // CHECK-NEXT: %[[INSIDE:.*]] = equivariant.add %[[M]], %[[M]]
  // CHECK-NEXT: %[[GW:.*]] = equivariant.contract w of #{{.*}} (x = %{{.*}}, y = %{{.*}}, z = %[[INSIDE]])
  // CHECK-NEXT: equivariant.yield %[[M]], %[[M]], %[[GW]]
  // CHECK: return %[[K]]#0, %[[K]]#1, %[[K]]#2
  %xe = equivariant.gather %x at senders of %g : !x -> !x over !equivariant.graph
  %m = equivariant.contract z of #dot (x = %xe, y = %y, w = %w) : (!x, !y, !w) -> !z
  %z = equivariant.segment_sum %m at receivers of %g : !z -> !z over !equivariant.graph
  %inside = equivariant.add %m, %m : !z
  %gw = equivariant.contract w of #dot (x = %xe, y = %y, z = %inside) : (!x, !y, !z) -> !w
  return %z, %m, %gw : !z, !z, !w
}

// One value at both sides: one argument for each access.
// CHECK-LABEL: @both_sides
// CHECK-SAME: %{{[^:]+}}: !equivariant.graph, %[[X:[^:]+]]: tensor
func.func @both_sides(%g: !equivariant.graph, %x: !x, %y: !y, %w: !w) -> (!z, !z) {
  // CHECK-NEXT: equivariant.kernel over %{{.*}} ins(%[[X]] at senders, %[[X]] at receivers, %{{.*}} at edge, %{{.*}} at edge : {{.*}}) outs(receivers, senders : {{.*}}) {
  %xs = equivariant.gather %x at senders of %g : !x -> !x over !equivariant.graph
  %xr = equivariant.gather %x at receivers of %g : !x -> !x over !equivariant.graph
  %sum = equivariant.add %xs, %xr : !x
  %m = equivariant.contract z of #dot (x = %sum, y = %y, w = %w) : (!x, !y, !w) -> !z
  %0 = equivariant.segment_sum %m at receivers of %g : !z -> !z over !equivariant.graph
  %1 = equivariant.segment_sum %m at senders of %g : !z -> !z over !equivariant.graph
  return %0, %1 : !z, !z
}

// CHECK-LABEL: @joined_sums
func.func @joined_sums(%g: !equivariant.graph, %a: !z, %b: !z) -> !z {
  // CHECK-NEXT: equivariant.kernel over %{{.*}} ins(%{{.*}} at edge, %{{.*}} at edge : {{.*}}) outs(receivers : {{.*}}) {
  // CHECK-NEXT: ^bb0(%[[A:[^:]+]]: tensor<{{[^:]+}}>, %[[B:[^:]+]]: tensor<{{[^:]+}}>):
  // CHECK-NEXT: %[[AB:.*]] = equivariant.add %[[A]], %[[B]] : tensor<8xf32, #{{.*}}>
  // CHECK-NEXT: equivariant.yield %[[AB]]
  %0 = equivariant.segment_sum %a at receivers of %g : !z -> !z over !equivariant.graph
  %1 = equivariant.segment_sum %b at receivers of %g : !z -> !z over !equivariant.graph
  %2 = equivariant.add %0, %1 : !z
  return %2 : !z
}

// CHECK-LABEL: @sum_of_an_argument
func.func @sum_of_an_argument(%g: !equivariant.graph, %x: !x) -> !x {
  // CHECK-NEXT: equivariant.kernel over %{{.*}} ins(%{{.*}} at senders : {{.*}}) outs(receivers : {{.*}}) {
  // CHECK-NEXT: ^bb0(%[[XE:[^:]+]]: tensor<{{[^:]+}}>):
  // CHECK-NEXT: equivariant.yield %[[XE]]
  %xe = equivariant.gather %x at senders of %g : !x -> !x over !equivariant.graph
  %z = equivariant.segment_sum %xe at receivers of %g : !x -> !x over !equivariant.graph
  return %z : !x
}

// Rows that are gathered and given as they are.
// CHECK-LABEL: @gathered_result
func.func @gathered_result(%g: !equivariant.graph, %x: !x) -> !x {
  // CHECK-NEXT: %[[K:.*]] = equivariant.kernel over %{{.*}} ins(%{{.*}} at senders : {{.*}}) outs(edge : {{.*}}) {
  // CHECK-NEXT: ^bb0(%[[XE:[^:]+]]: tensor<{{[^:]+}}>):
  // CHECK-NEXT: equivariant.yield %[[XE]]
  // CHECK: return %[[K]]
  %xe = equivariant.gather %x at senders of %g : !x -> !x over !equivariant.graph
  return %xe : !x
}

// The gradient of an argument that plays no part has that argument's rows, whatever they are, and is no kernel's.
// CHECK-LABEL: @zero_gradient
// CHECK-SAME: %{{[^:]+}}: !equivariant.graph, %[[X:[^:]+]]: tensor
func.func @zero_gradient(%g: !equivariant.graph, %x: !x, %a: !z) -> (!x, !z) {
  // CHECK-NEXT: %[[ZEROS:.*]] = equivariant.zeros like %[[X]]
  // CHECK-NEXT: %[[K:.*]] = equivariant.kernel over %{{.*}} ins(%{{.*}} at edge : {{.*}}) outs(receivers : {{.*}}) {
  // CHECK: return %[[ZEROS]], %[[K]]
  %0 = equivariant.zeros like %x : !x -> !x
  %1 = equivariant.segment_sum %a at receivers of %g : !z -> !z over !equivariant.graph
  return %0, %1 : !x, !z
}

// CHECK-LABEL: @nothing_to_fuse
func.func @nothing_to_fuse(%g: !equivariant.graph, %x: !x) -> !x {
  // CHECK-NEXT: return
  return %x : !x
}
