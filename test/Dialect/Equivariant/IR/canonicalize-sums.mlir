// RUN: espmm-opt %s --canonicalize | FileCheck %s

// CHECK-LABEL: @join_segment_sums
// CHECK-SAME: %[[G:[^:]+]]: !equivariant.graph, %[[A:[^:]+]]: tensor<?x8xf32>, %[[B:[^:]+]]: tensor<?x8xf32>, %[[C:[^:]+]]: tensor<?x8xf32>)
func.func @join_segment_sums(%g: !equivariant.graph, %a: tensor<?x8xf32>, %b: tensor<?x8xf32>, %c: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: %[[AB:.*]] = equivariant.add %[[A]], %[[B]]
  // CHECK-NEXT: %[[ABC:.*]] = equivariant.add %[[AB]], %[[C]]
  // CHECK-NEXT: %[[SUM:.*]] = equivariant.segment_sum %[[ABC]] at receivers of %[[G]]
  // CHECK-NEXT: return %[[SUM]]
  %0 = equivariant.segment_sum %a at receivers of %g : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  %1 = equivariant.segment_sum %b at receivers of %g : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  %2 = equivariant.segment_sum %c at receivers of %g : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  %3 = equivariant.add %0, %1 : tensor<?x8xf32>
  %4 = equivariant.add %3, %2 : tensor<?x8xf32>
  return %4 : tensor<?x8xf32>
}

// CHECK-LABEL: @sums_at_different_sides
func.func @sums_at_different_sides(%g: !equivariant.graph, %a: tensor<?x8xf32>, %b: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK: segment_sum
  // CHECK: segment_sum
  // CHECK: add
  %0 = equivariant.segment_sum %a at receivers of %g : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  %1 = equivariant.segment_sum %b at senders of %g : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  %2 = equivariant.add %0, %1 : tensor<?x8xf32>
  return %2 : tensor<?x8xf32>
}

// CHECK-LABEL: @sums_over_different_spaces
func.func @sums_over_different_spaces(%g: !equivariant.graph, %h: !equivariant.graph, %a: tensor<?x8xf32>) -> tensor<1x8xf32> {
  // CHECK: segment_sum
  // CHECK: segment_sum
  // CHECK: add
  %0 = equivariant.segment_sum %a at all of %g : tensor<?x8xf32> -> tensor<1x8xf32> over !equivariant.graph
  %1 = equivariant.segment_sum %a at all of %h : tensor<?x8xf32> -> tensor<1x8xf32> over !equivariant.graph
  %2 = equivariant.add %0, %1 : tensor<1x8xf32>
  return %2 : tensor<1x8xf32>
}

// CHECK-LABEL: @gather_of_sum
// CHECK-SAME: %[[G:[^:]+]]: !equivariant.graph, %[[A:[^:]+]]: tensor<?x8xf32>, %[[B:[^:]+]]: tensor<?x8xf32>)
func.func @gather_of_sum(%g: !equivariant.graph, %a: tensor<?x8xf32>, %b: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: %[[AE:.*]] = equivariant.gather %[[A]] at senders of %[[G]]
  // CHECK-NEXT: %[[BE:.*]] = equivariant.gather %[[B]] at senders of %[[G]]
  // CHECK-NEXT: %[[SUM:.*]] = equivariant.add %[[AE]], %[[BE]]
  // CHECK-NEXT: return %[[SUM]]
  %0 = equivariant.add %a, %b : tensor<?x8xf32>
  %1 = equivariant.gather %0 at senders of %g : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  return %1 : tensor<?x8xf32>
}
