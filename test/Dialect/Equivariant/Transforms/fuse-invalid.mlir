// RUN: espmm-opt %s --equivariant-fuse -verify-diagnostics -split-input-file

!w = tensor<?x8xf32>
func.func @sum_of_nodes(%g: !equivariant.graph, %a: !w, %b: !w) -> !w {
  %0 = equivariant.segment_sum %a at receivers of %g : !w -> !w over !equivariant.graph
  %1 = equivariant.segment_sum %b at senders of %g : !w -> !w over !equivariant.graph
  // expected-error@+1 {{'equivariant.add' op works on rows of nodes, which has no lowering yet}}
  %2 = equivariant.add %0, %1 : !w
  return %2 : !w
}

// -----

!w = tensor<?x8xf32>
func.func @gather_of_edges(%g: !equivariant.graph, %a: !w) -> !w {
  %0 = equivariant.gather %a at senders of %g : !w -> !w over !equivariant.graph
  // expected-error@+1 {{'equivariant.gather' op gathers neither an argument nor a segment sum, but rows that are computed by edge}}
  %1 = equivariant.gather %0 at senders of %g : !w -> !w over !equivariant.graph
  return %1 : !w
}

// -----

!w = tensor<?x8xf32>
func.func @two_graphs(%g: !equivariant.graph, %h: !equivariant.graph, %a: !w) -> !w {
  // expected-error@+1 {{'equivariant.segment_sum' op expects the index space to be argument 0 of the function}}
  %0 = equivariant.segment_sum %a at senders of %h : !w -> !w over !equivariant.graph
  return %0 : !w
}

// -----

!w = tensor<?x8xf32>
// expected-error@+1 {{'func.func' op expects argument 0 to be an index space, !equivariant.graph or !equivariant.rows}}
func.func @no_space(%a: !w, %b: !w) -> !w {
  %0 = equivariant.add %a, %b : !w
  return %0 : !w
}

// -----

!w = tensor<?x8xf32>
func.func @other_dialect(%r: !equivariant.rows, %a: !w) -> !w {
  // expected-error@+1 {{'arith.negf' op cannot be fused into a kernel}}
  %0 = arith.negf %a : !w
  return %0 : !w
}

// -----

!w = tensor<?x8xf32>
// expected-error@+1 {{'func.func' op expects one block to fuse}}
func.func @two_blocks(%r: !equivariant.rows, %a: !w) -> !w {
  cf.br ^end(%a : !w)
^end(%0: !w):
  return %0 : !w
}

// -----

func.func @rounded_in_between(%g: !equivariant.graph, %a: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %0 = equivariant.add %a, %a : tensor<?x8xf32>
  // expected-error@+1 {{'equivariant.convert' op converts what is computed, and is computed with: that has no lowering yet}}
  %1 = equivariant.convert %0 : tensor<?x8xf32> -> tensor<?x8xbf16>
  %2 = equivariant.convert %1 : tensor<?x8xbf16> -> tensor<?x8xf32>
  %3 = equivariant.add %2, %a : tensor<?x8xf32>
  return %3 : tensor<?x8xf32>
}
