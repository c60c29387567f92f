// RUN: espmm-opt %s -verify-diagnostics -split-input-file

// gather_c1
func.func @edge(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.gather' op expects a side of the index space, got 'edge'}}
  %0 = equivariant.gather %w at edge of %g : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  return
}

// -----

// gather_c1
func.func @rows(%r: !equivariant.rows, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.gather' op expects side 'all' on !equivariant.rows, got 'senders'}}
  %0 = equivariant.gather %w at senders of %r : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.rows
  return
}

// -----

// gather_c2
func.func @dimension(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.gather' op operand and result may differ in their number of rows only, got 'tensor<?x8xf32>' and 'tensor<?x4xf32>'}}
  %0 = equivariant.gather %w at senders of %g : tensor<?x8xf32> -> tensor<?x4xf32> over !equivariant.graph
  return
}

// -----

// gather_c2
func.func @element_type(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.gather' op operand and result may differ in their number of rows only, got 'tensor<?x8xf32>' and 'tensor<?x8xf64>'}}
  %0 = equivariant.gather %w at senders of %g : tensor<?x8xf32> -> tensor<?x8xf64> over !equivariant.graph
  return
}

// -----

// gather_c2
#x = #equivariant.irreps<"8x1o", mul_ir>
#ir_mul = #equivariant.irreps<"8x1o", ir_mul>
func.func @encoding(%g: !equivariant.graph, %x: tensor<?x24xf32, #x>) {
  // expected-error@+1 {{'equivariant.gather' op operand and result may differ in their number of rows only}}
  %0 = equivariant.gather %x at senders of %g : tensor<?x24xf32, #x> -> tensor<?x24xf32, #ir_mul> over !equivariant.graph
  return
}

// -----

// gather_c2
func.func @rank(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.gather' op operand and result may differ in their number of rows only, got 'tensor<?x8xf32>' and 'tensor<?xf32>'}}
  %0 = equivariant.gather %w at senders of %g : tensor<?x8xf32> -> tensor<?xf32> over !equivariant.graph
  return
}

// -----

// gather_c3
func.func @all(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.gather' op expects one row at 'all', got 'tensor<?x8xf32>'}}
  %0 = equivariant.gather %w at all of %g : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  return
}

// -----

func.func @integers(%g: !equivariant.graph, %w: tensor<?x8xi32>) {
  // expected-error@+1 {{'equivariant.gather' op operand #0 must be ranked tensor of 32-bit float or 64-bit float values, but got 'tensor<?x8xi32>'}}
  %0 = equivariant.gather %w at senders of %g : tensor<?x8xi32> -> tensor<?x8xi32> over !equivariant.graph
  return
}

// -----

func.func @space(%g: index, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.gather' op operand #1 must be an index space (`!equivariant.graph` or `!equivariant.rows`), but got 'index'}}
  %0 = equivariant.gather %w at senders of %g : tensor<?x8xf32> -> tensor<?x8xf32> over index
  return
}
