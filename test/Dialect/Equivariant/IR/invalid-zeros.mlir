// RUN: espmm-opt %s -verify-diagnostics -split-input-file

// zeros_c1
func.func @rank(%w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.zeros' op expects a result of rank 2 as its operand's, got 'tensor<8xf32>'}}
  %0 = equivariant.zeros like %w : tensor<?x8xf32> -> tensor<8xf32>
  return
}

// -----

// zeros_c1
func.func @rows(%w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.zeros' op expects as many rows as its operand has, got 'tensor<?x8xf32>' and 'tensor<1x8xf32>'}}
  %0 = equivariant.zeros like %w : tensor<?x8xf32> -> tensor<1x8xf32>
  return
}

// -----

// zeros_c2
func.func @dynamic(%w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.zeros' op expects static dimensions but for the rows, got 'tensor<?x?xf32>'}}
  %0 = equivariant.zeros like %w : tensor<?x8xf32> -> tensor<?x?xf32>
  return
}

// -----

// zeros_c2
func.func @dynamic_row(%w: tensor<8xf32>) {
  // expected-error@+1 {{'equivariant.zeros' op expects static dimensions but for the rows, got 'tensor<?xf32>'}}
  %0 = equivariant.zeros like %w : tensor<8xf32> -> tensor<?xf32>
  return
}
