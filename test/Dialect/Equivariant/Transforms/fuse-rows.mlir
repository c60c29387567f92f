// RUN: espmm-opt %s --equivariant-fuse | FileCheck %s

// A batch has rows in place of edges; shared weights are accessed at `all`.

#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
!x = tensor<?x24xf32, #x>
!y = tensor<?x3xf32, #y>
!w = tensor<?x8xf32>
!z = tensor<?x8xf32, #z>

// CHECK-LABEL: @batch
// CHECK-SAME: %[[R:[^:]+]]: !equivariant.rows, %[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<?x8xf32>)
func.func @batch(%r: !equivariant.rows, %x: !x, %y: !y, %w: !w) -> !z {
  // CHECK-NEXT: %[[Z:.*]] = equivariant.kernel over %[[R]] : !equivariant.rows ins(%[[X]] at edge, %[[Y]] at edge, %[[W]] at edge : {{.*}}) outs(edge : tensor<?x8xf32, #{{.*}}>) {
  // CHECK: return %[[Z]]
  %z = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (!x, !y, !w) -> !z
  return %z : !z
}

// CHECK-LABEL: @shared_weights
// CHECK-SAME: %[[R:[^:]+]]: !equivariant.rows, %[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<1x8xf32>)
func.func @shared_weights(%r: !equivariant.rows, %x: !x, %y: !y, %w: tensor<1x8xf32>) -> !z {
  // CHECK-NEXT: equivariant.kernel over %[[R]] : !equivariant.rows ins(%[[X]] at edge, %[[Y]] at edge, %[[W]] at all : {{.*}}, tensor<1x8xf32>) outs(edge : {{.*}}) {
  // CHECK-NEXT: ^bb0(%{{.*}}: tensor<24xf32, #{{.*}}>, %{{.*}}: tensor<3xf32, #{{.*}}>, %{{.*}}: tensor<8xf32>):
  %we = equivariant.gather %w at all of %r : tensor<1x8xf32> -> !w over !equivariant.rows
  %z = equivariant.contract z of #dot (x = %x, y = %y, w = %we) : (!x, !y, !w) -> !z
  return %z : !z
}

// CHECK-LABEL: @gradient_of_shared_weights
// CHECK-SAME: %[[R:[^:]+]]: !equivariant.rows, %[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[Z:[^:]+]]: tensor<{{[^:]+}}>)
func.func @gradient_of_shared_weights(%r: !equivariant.rows, %x: !x, %y: !y, %z: !z) -> tensor<1x8xf32> {
  // CHECK-NEXT: %[[GW:.*]] = equivariant.kernel over %[[R]] : !equivariant.rows ins(%[[X]] at edge, %[[Y]] at edge, %[[Z]] at edge : {{.*}}) outs(all : tensor<1x8xf32>) {
  // CHECK: return %[[GW]]
  %m = equivariant.contract w of #dot (x = %x, y = %y, z = %z) : (!x, !y, !z) -> !w
  %gw = equivariant.segment_sum %m at all of %r : !w -> tensor<1x8xf32> over !equivariant.rows
  return %gw : tensor<1x8xf32>
}

// CHECK-LABEL: @shared_weights_of_a_graph
func.func @shared_weights_of_a_graph(%g: !equivariant.graph, %x: !x, %y: !y, %w: tensor<1x8xf32>) -> !z {
  // CHECK-NEXT: equivariant.kernel over %{{.*}} : !equivariant.graph ins(%{{.*}} at senders, %{{.*}} at edge, %{{.*}} at all : {{.*}}) outs(receivers : {{.*}}) {
  %xe = equivariant.gather %x at senders of %g : !x -> !x over !equivariant.graph
  %we = equivariant.gather %w at all of %g : tensor<1x8xf32> -> !w over !equivariant.graph
  %m = equivariant.contract z of #dot (x = %xe, y = %y, w = %we) : (!x, !y, !w) -> !z
  %z = equivariant.segment_sum %m at receivers of %g : !z -> !z over !equivariant.graph
  return %z : !z
}
