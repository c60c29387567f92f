// RUN: espmm-opt %s -verify-diagnostics -split-input-file

// kernel_c1
func.func @missing_access(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.kernel' op expects one access for each operand and each result, got 0 for 1 operands and 0 for 0 results}}
  "equivariant.kernel"(%g, %w) <{input_access = [], result_access = []}> ({
  ^bb0(%row: tensor<8xf32>):
    "equivariant.yield"() : () -> ()
  }) : (!equivariant.graph, tensor<?x8xf32>) -> ()
  return
}

// -----

// kernel_c1
func.func @senders_of_rows(%r: !equivariant.rows, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.kernel' op expects accesses 'edge' or 'all' over !equivariant.rows, got 'senders'}}
  equivariant.kernel over %r : !equivariant.rows ins(%w at senders : tensor<?x8xf32>) {
  ^bb0(%row: tensor<8xf32>):
  }
  return
}

// -----

// kernel_c1
func.func @result_at_receivers_of_rows(%r: !equivariant.rows, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.kernel' op expects accesses 'edge' or 'all' over !equivariant.rows, got 'receivers'}}
  %0 = equivariant.kernel over %r : !equivariant.rows ins(%w at edge : tensor<?x8xf32>) outs(receivers : tensor<?x8xf32>) {
  ^bb0(%row: tensor<8xf32>):
    equivariant.yield %row : tensor<8xf32>
  }
  return
}

// -----

// kernel_c2
func.func @block_arguments(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.kernel' op expects 1 block arguments, got 2}}
  equivariant.kernel over %g : !equivariant.graph ins(%w at edge : tensor<?x8xf32>) {
  ^bb0(%row: tensor<8xf32>, %more: tensor<8xf32>):
  }
  return
}

// -----

// kernel_c2
func.func @block_argument_type(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.kernel' op expects block argument 0 to be a row of 'tensor<?x8xf32>', got 'tensor<4xf32>'}}
  equivariant.kernel over %g : !equivariant.graph ins(%w at edge : tensor<?x8xf32>) {
  ^bb0(%row: tensor<4xf32>):
  }
  return
}

// -----

// kernel_c2
func.func @yielded_values(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.kernel' op expects 1 yielded values, got 0}}
  %0 = equivariant.kernel over %g : !equivariant.graph ins(%w at edge : tensor<?x8xf32>) outs(edge : tensor<?x8xf32>) {
  ^bb0(%row: tensor<8xf32>):
  }
  return
}

// -----

// kernel_c2
func.func @yielded_type(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.kernel' op expects yielded value 0 to be a row of 'tensor<?x8xf64>', got 'tensor<8xf32>'}}
  %0 = equivariant.kernel over %g : !equivariant.graph ins(%w at edge : tensor<?x8xf32>) outs(edge : tensor<?x8xf64>) {
  ^bb0(%row: tensor<8xf32>):
    equivariant.yield %row : tensor<8xf32>
  }
  return
}

// -----

// kernel_c3
func.func @many_rows_at_all(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.kernel' op expects one row at 'all', got 'tensor<?x8xf32>'}}
  equivariant.kernel over %g : !equivariant.graph ins(%w at all : tensor<?x8xf32>) {
  ^bb0(%row: tensor<8xf32>):
  }
  return
}

// -----

// kernel_c3
func.func @many_result_rows_at_all(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.kernel' op expects one row at 'all', got 'tensor<?x8xf32>'}}
  %0 = equivariant.kernel over %g : !equivariant.graph ins(%w at edge : tensor<?x8xf32>) outs(all : tensor<?x8xf32>) {
  ^bb0(%row: tensor<8xf32>):
    equivariant.yield %row : tensor<8xf32>
  }
  return
}

// -----

func.func @not_an_access(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{expected edge, receivers, senders or all, got 'nodes'}}
  equivariant.kernel over %g : !equivariant.graph ins(%w at nodes : tensor<?x8xf32>) {
  ^bb0(%row: tensor<8xf32>):
  }
  return
}

// -----

func.func @captures(%g: !equivariant.graph, %w: tensor<?x8xf32>, %row: tensor<8xf32>) {
  // expected-note@+1 {{required by region isolation constraints}}
  %0 = equivariant.kernel over %g : !equivariant.graph ins(%w at edge : tensor<?x8xf32>) outs(edge : tensor<?x8xf32>) {
  ^bb0(%we: tensor<8xf32>):
    // expected-error@+1 {{'equivariant.yield' op using value defined outside the region}}
    equivariant.yield %row : tensor<8xf32>
  }
  return
}

// -----

func.func @yield_outside() {
  // expected-error@+1 {{'equivariant.yield' op expects parent op 'equivariant.kernel'}}
  equivariant.yield
}
