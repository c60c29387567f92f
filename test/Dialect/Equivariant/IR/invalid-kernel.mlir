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

// -----

// kernel_c4
func.func @too_few_instances(%g: !equivariant.graph, %w: tensor<?x24xf32>) -> tensor<?x8xf32> {
  %r = equivariant.kernel over %g : !equivariant.graph ins(%w at edge : tensor<?x24xf32>) outs(receivers : tensor<?x8xf32>)
      attributes {schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_end = 1, instances = 3>} {
  ^bb0(%we: tensor<24xf32>):
    // expected-error@+1 {{'equivariant.block' op expects 2 further offsets for each block, as its kernel has 3 instances, got 1}}
    %a = equivariant.block %we[0] also [8] : tensor<24xf32> -> tensor<8x1xf32>
    %b = equivariant.assemble [0] (%a) : (tensor<8x1xf32>) -> tensor<8xf32>
    equivariant.yield %b : tensor<8xf32>
  }
  return %r : tensor<?x8xf32>
}

// -----

// kernel_c4
func.func @no_instances(%g: !equivariant.graph, %w: tensor<?x8xf32>) -> tensor<?x16xf32> {
  %r = equivariant.kernel over %g : !equivariant.graph ins(%w at edge : tensor<?x8xf32>) outs(receivers : tensor<?x16xf32>) {
  ^bb0(%we: tensor<8xf32>):
    %a = equivariant.block %we[0] : tensor<8xf32> -> tensor<8x1xf32>
    // expected-error@+1 {{'equivariant.assemble' op expects 0 further offsets for each block, as its kernel has 1 instances, got 1}}
    %b = equivariant.assemble [0] also [8] (%a) : (tensor<8x1xf32>) -> tensor<16xf32>
    equivariant.yield %b : tensor<16xf32>
  }
  return %r : tensor<?x16xf32>
}
