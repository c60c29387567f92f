// RUN: espmm-opt %s -verify-diagnostics -split-input-file

// segment_sum_c1
func.func @edge(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.segment_sum' op expects a side of the index space, got 'edge'}}
  %0 = equivariant.segment_sum %w at edge of %g : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  return
}

// -----

// segment_sum_c1
func.func @rows(%r: !equivariant.rows, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.segment_sum' op expects side 'all' on !equivariant.rows, got 'receivers'}}
  %0 = equivariant.segment_sum %w at receivers of %r : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.rows
  return
}

// -----

// segment_sum_c2
func.func @dimension(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.segment_sum' op operand and result may differ in their number of rows only, got 'tensor<?x8xf32>' and 'tensor<?x4xf32>'}}
  %0 = equivariant.segment_sum %w at senders of %g : tensor<?x8xf32> -> tensor<?x4xf32> over !equivariant.graph
  return
}

// -----

// segment_sum_c3
func.func @all(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.segment_sum' op expects one row at 'all', got 'tensor<?x8xf32>'}}
  %0 = equivariant.segment_sum %w at all of %g : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  return
}

// -----

func.func @not_a_side(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{expected edge, receivers, senders or all, got 'nodes'}}
  %0 = equivariant.segment_sum %w at nodes of %g : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  return
}
