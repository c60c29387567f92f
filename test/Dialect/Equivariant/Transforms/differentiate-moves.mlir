// RUN: espmm-opt %s --equivariant-differentiate | FileCheck %s

// gather and segment_sum are each other's transposes, at every side and of every space.

// CHECK-LABEL: @gather_at_senders_vjp
// CHECK-SAME: %[[G:[^:]+]]: !equivariant.graph, %{{[^:]+}}: tensor<?x8xf32>, %[[CT:[^:]+]]: tensor<?x8xf32>)
func.func @gather_at_senders(%g: !equivariant.graph, %x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: %[[GX:.*]] = equivariant.segment_sum %[[CT]] at senders of %[[G]] : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  // CHECK-NEXT: return %[[GX]]
  %0 = equivariant.gather %x at senders of %g : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  return %0 : tensor<?x8xf32>
}

// CHECK-LABEL: @gather_at_receivers_vjp
func.func @gather_at_receivers(%g: !equivariant.graph, %x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: equivariant.segment_sum %{{.*}} at receivers of %{{.*}}
  // CHECK-NEXT: return
  %0 = equivariant.gather %x at receivers of %g : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  return %0 : tensor<?x8xf32>
}

// CHECK-LABEL: @gather_at_all_vjp
// CHECK-SAME: (%[[R:[^:]+]]: !equivariant.rows, %{{[^:]+}}: tensor<1x8xf32>, %[[CT:[^:]+]]: tensor<?x8xf32>) -> tensor<1x8xf32>
func.func @gather_at_all(%r: !equivariant.rows, %w: tensor<1x8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: equivariant.segment_sum %[[CT]] at all of %[[R]] : tensor<?x8xf32> -> tensor<1x8xf32> over !equivariant.rows
  // CHECK-NEXT: return
  %0 = equivariant.gather %w at all of %r : tensor<1x8xf32> -> tensor<?x8xf32> over !equivariant.rows
  return %0 : tensor<?x8xf32>
}

// CHECK-LABEL: @segment_sum_at_receivers_vjp
// CHECK-SAME: %[[G:[^:]+]]: !equivariant.graph, %{{[^:]+}}: tensor<?x8xf32>, %[[CT:[^:]+]]: tensor<?x8xf32>)
func.func @segment_sum_at_receivers(%g: !equivariant.graph, %m: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: equivariant.gather %[[CT]] at receivers of %[[G]]
  // CHECK-NEXT: return
  %0 = equivariant.segment_sum %m at receivers of %g : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  return %0 : tensor<?x8xf32>
}

// CHECK-LABEL: @segment_sum_at_senders_vjp
func.func @segment_sum_at_senders(%g: !equivariant.graph, %m: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: equivariant.gather %{{.*}} at senders of %{{.*}}
  // CHECK-NEXT: return
  %0 = equivariant.segment_sum %m at senders of %g : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  return %0 : tensor<?x8xf32>
}

// CHECK-LABEL: @segment_sum_at_all_vjp
// CHECK-SAME: %[[G:[^:]+]]: !equivariant.graph, %{{[^:]+}}: tensor<?x8xf32>, %[[CT:[^:]+]]: tensor<1x8xf32>)
func.func @segment_sum_at_all(%g: !equivariant.graph, %m: tensor<?x8xf32>) -> tensor<1x8xf32> {
  // CHECK-NEXT: equivariant.gather %[[CT]] at all of %[[G]] : tensor<1x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  // CHECK-NEXT: return
  %0 = equivariant.segment_sum %m at all of %g : tensor<?x8xf32> -> tensor<1x8xf32> over !equivariant.graph
  return %0 : tensor<1x8xf32>
}
