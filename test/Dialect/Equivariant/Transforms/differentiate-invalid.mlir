// RUN: espmm-opt %s --equivariant-differentiate="wrt=1 cotangents=0" -verify-diagnostics -split-input-file

// expected-error@+1 {{'func.func' op expects one block that returns to differentiate}}
func.func private @declaration(!equivariant.graph, tensor<?x8xf32>) -> tensor<?x8xf32>

// -----

// expected-error@+1 {{'func.func' op expects one block that returns to differentiate}}
func.func @two_blocks(%g: !equivariant.graph, %w: tensor<?x8xf32>) -> tensor<?x8xf32> {
  cf.br ^end(%w : tensor<?x8xf32>)
^end(%0: tensor<?x8xf32>):
  return %0 : tensor<?x8xf32>
}

// -----

// expected-error@+1 {{'func.func' op expects wrt to list tensor arguments, got 1 of 1 arguments}}
func.func @no_such_argument(%w: tensor<?x8xf32>) -> tensor<?x8xf32> {
  return %w : tensor<?x8xf32>
}

// -----

// expected-error@+1 {{'func.func' op expects wrt to list tensor arguments, got 1 of 2 arguments}}
func.func @no_tensor(%w: tensor<?x8xf32>, %g: !equivariant.graph) -> tensor<?x8xf32> {
  return %w : tensor<?x8xf32>
}

// -----

// expected-error@+1 {{'func.func' op expects cotangents to list tensor results, got 0 of 0 results}}
func.func @no_results(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  return
}

// -----

// expected-error@+1 {{'func.func' op expects cotangents to list tensor results, got 0 of 1 results}}
func.func @no_tensor_result(%g: !equivariant.graph, %w: tensor<?x8xf32>) -> !equivariant.graph {
  return %g : !equivariant.graph
}

// -----

func.func @kernel(%g: !equivariant.graph, %w: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error@+1 {{'equivariant.kernel' op cannot be differentiated}}
  %0:2 = equivariant.kernel over %g : !equivariant.graph ins(%w at edge : tensor<?x8xf32>)
      outs(senders, receivers : tensor<?x8xf32>, tensor<?x8xf32>) {
  ^bb0(%row: tensor<8xf32>):
    equivariant.yield %row, %row : tensor<8xf32>, tensor<8xf32>
  }
  return %0#1 : tensor<?x8xf32>
}

// -----

func.func @other_dialect(%g: !equivariant.graph, %w: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error@+1 {{'arith.negf' op cannot be differentiated}}
  %0 = arith.negf %w : tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}
