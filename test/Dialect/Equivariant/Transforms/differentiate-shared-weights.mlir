// RUN: espmm-opt %s --equivariant-differentiate="wrt=3" | FileCheck %s

// Shared weights are gathered at `all`; their gradient is summed there.

#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
!x = tensor<?x24xf32, #x>
!y = tensor<?x3xf32, #y>
!z = tensor<?x8xf32, #z>

// CHECK-LABEL: @batch_vjp
// CHECK-SAME: %[[R:[^:]+]]: !equivariant.rows, %[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %{{[^:]+}}: tensor<1x8xf32>, %[[CT:[^:]+]]: tensor<{{[^:]+}}>) -> tensor<1x8xf32>
func.func @batch(%r: !equivariant.rows, %x: !x, %y: !y, %w: tensor<1x8xf32>) -> !z {
  // CHECK-NEXT: %[[M:.*]] = equivariant.contract w of #{{.*}} (x = %[[X]], y = %[[Y]], z = %[[CT]]) : {{.*}} -> tensor<?x8xf32>
  // CHECK-NEXT: %[[GW:.*]] = equivariant.segment_sum %[[M]] at all of %[[R]] : tensor<?x8xf32> -> tensor<1x8xf32> over !equivariant.rows
  // CHECK-NEXT: return %[[GW]]
  %wr = equivariant.gather %w at all of %r : tensor<1x8xf32> -> tensor<?x8xf32> over !equivariant.rows
  %z = equivariant.contract z of #dot (x = %x, y = %y, w = %wr) : (!x, !y, tensor<?x8xf32>) -> !z
  return %z : !z
}

// CHECK-LABEL: @conv_vjp
// CHECK-SAME: %[[G:[^:]+]]: !equivariant.graph
func.func @conv(%g: !equivariant.graph, %x: !x, %y: !y, %w: tensor<1x8xf32>) -> !z {
  // CHECK: equivariant.contract w
  // CHECK: equivariant.segment_sum %{{.*}} at all of %[[G]] : tensor<?x8xf32> -> tensor<1x8xf32> over !equivariant.graph
  %xe = equivariant.gather %x at senders of %g : !x -> !x over !equivariant.graph
  %we = equivariant.gather %w at all of %g : tensor<1x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  %m = equivariant.contract z of #dot (x = %xe, y = %y, w = %we) : (!x, !y, tensor<?x8xf32>) -> !z
  %z = equivariant.segment_sum %m at receivers of %g : !z -> !z over !equivariant.graph
  return %z : !z
}
