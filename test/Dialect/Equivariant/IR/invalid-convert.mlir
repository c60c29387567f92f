// RUN: espmm-opt %s -verify-diagnostics -split-input-file

// convert_c1
func.func @shape(%w: tensor<?x8xbf16>) {
  // expected-error@+1 {{'equivariant.convert' op operand and result may differ in their element types only, got 'tensor<?x8xbf16>' and 'tensor<?x9xf32>'}}
  %0 = equivariant.convert %w : tensor<?x8xbf16> -> tensor<?x9xf32>
  return
}

// -----

// convert_c1
func.func @encoding(%w: tensor<?x8xf16>) {
  // expected-error@+1 {{'equivariant.convert' op operand and result may differ in their element types only, got 'tensor<?x8xf16>' and 'tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>'}}
  %0 = equivariant.convert %w : tensor<?x8xf16> -> tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>
  return
}

// -----

// convert_c2
func.func @wide(%w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.convert' op expects elements of f32 on one side, and of bf16 or f16 on the other, got 'f32' and 'f64'}}
  %0 = equivariant.convert %w : tensor<?x8xf32> -> tensor<?x8xf64>
  return
}

// -----

// convert_c2
func.func @narrow(%w: tensor<?x8xbf16>) {
  // expected-error@+1 {{'equivariant.convert' op expects elements of f32 on one side, and of bf16 or f16 on the other, got 'bf16' and 'f16'}}
  %0 = equivariant.convert %w : tensor<?x8xbf16> -> tensor<?x8xf16>
  return
}

// -----

// Nothing is computed with them.
func.func @add_to(%g: !equivariant.graph, %w: tensor<?x8xbf16>) {
  // expected-error@+1 {{'equivariant.gather' op operand #0 must be ranked tensor of 32-bit float or 64-bit float values, but got 'tensor<?x8xbf16>'}}
  %0 = equivariant.gather %w at senders of %g : tensor<?x8xbf16> -> tensor<?x8xbf16> over !equivariant.graph
  return
}

// -----

// kernel_c2
func.func @rows_of_memory(%s: !equivariant.rows, %w: tensor<?x8xbf16>) -> tensor<?x8xf32> {
  // expected-error@+1 {{'equivariant.kernel' op expects block argument 0 to be a row of 'tensor<?x8xbf16>', got 'tensor<8xbf16>'}}
  %z = equivariant.kernel over %s : !equivariant.rows ins(%w at edge : tensor<?x8xbf16>) outs(edge : tensor<?x8xf32>) {
  ^bb0(%we: tensor<8xbf16>):
    %0 = equivariant.assemble []() : () -> tensor<8xf32>
    equivariant.yield %0 : tensor<8xf32>
  }
  return %z : tensor<?x8xf32>
}
