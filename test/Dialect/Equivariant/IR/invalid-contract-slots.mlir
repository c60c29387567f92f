// RUN: espmm-opt %s -verify-diagnostics -split-input-file

// contract_c1
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
func.func @unbound(%x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.contract' op expects y to be bound}}
  %0 = equivariant.contract z of #dot (x = %x, w = %w) : (tensor<?x24xf32, #x>, tensor<?x8xf32>) -> tensor<?x8xf32, #z>
  return
}

// -----

// contract_c1
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
func.func @weights_unbound(%x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.contract' op expects w to be bound}}
  %0 = equivariant.contract z of #dot (x = %x, y = %y) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>) -> tensor<?x8xf32, #z>
  return
}

// -----

// contract_c1
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
func.func @result_bound(%x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.contract' op expects x unbound, because it is the result}}
  %0 = equivariant.contract x of #dot (x = %x, y = %y, w = %w) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32>) -> tensor<?x24xf32, #x>
  return
}

// -----

// contract_c1
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#bare = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) weightless * 0.5]>
func.func @weightless(%x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.contract' op expects w unbound, because the product has no weights}}
  %0 = equivariant.contract z of #bare (x = %x, y = %y, w = %w) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32>) -> tensor<?x8xf32, #z>
  return
}

// -----

// contract_c1
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#bare = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) weightless * 0.5]>
func.func @to_no_weights(%x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>, %z: tensor<?x8xf32, #z>) {
  // expected-error@+1 {{'equivariant.contract' op contracts to w, but the product has no weights}}
  %0 = equivariant.contract w of #bare (x = %x, y = %y, z = %z) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32, #z>) -> tensor<?x8xf32>
  return
}

// -----

#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
func.func @slot(%x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{expected a slot, x, y, w or z, got 'v'}}
  %0 = equivariant.contract v of #dot (x = %x, y = %y, w = %w) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32>) -> tensor<?x8xf32, #z>
  return
}

// -----

#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
func.func @bound_twice(%x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{slot 'x' is bound twice}}
  %0 = equivariant.contract z of #dot (x = %x, x = %x, w = %w) : (tensor<?x24xf32, #x>, tensor<?x24xf32, #x>, tensor<?x8xf32>) -> tensor<?x8xf32, #z>
  return
}

// -----

#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
func.func @types(%x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{expected 3 operand types and one result type}}
  %0 = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>) -> tensor<?x8xf32, #z>
  return
}
