// RUN: espmm-opt %s -verify-diagnostics -split-input-file

// contract_c2
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
func.func @weights_dimension(%x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x9xf32>) {
  // expected-error@+1 {{'equivariant.contract' op expects dimension 8 for w, got 'tensor<?x9xf32>'}}
  %0 = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x9xf32>) -> tensor<?x8xf32, #z>
  return
}

// -----

// contract_c2
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
func.func @result_dimension(%x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.contract' op expects dimension 8 for z, got 'tensor<?x9xf32>'}}
  %0 = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32>) -> tensor<?x9xf32>
  return
}

// -----

// contract_c3
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
func.func @no_irreps(%x: tensor<?x24xf32>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.contract' op expects irreps 8x1o for x, got 'tensor<?x24xf32>'}}
  %0 = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (tensor<?x24xf32>, tensor<?x3xf32, #y>, tensor<?x8xf32>) -> tensor<?x8xf32, #z>
  return
}

// -----

// contract_c3
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
func.func @other_irreps(%x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.contract' op expects irreps 8x0e for z, got 'tensor<?x8xf32, #equivariant.irreps<"8x0o", mul_ir>>'}}
  %0 = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32>) -> tensor<?x8xf32, #equivariant.irreps<"8x0o", mul_ir>>
  return
}

// -----

// contract_c3
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
func.func @weights_encoding(%x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32, #z>) {
  // expected-error@+1 {{'equivariant.contract' op expects weights without an encoding, got 'tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>'}}
  %0 = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32, #z>) -> tensor<?x8xf32, #z>
  return
}

// -----

// contract_c4
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
func.func @element_types(%x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf64>) {
  // expected-error@+1 {{'equivariant.contract' op expects one element type, got 'tensor<?x8xf64>' for w and the result 'tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>'}}
  %0 = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf64>) -> tensor<?x8xf32, #z>
  return
}

// -----

// contract_c4
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
func.func @ranks(%x: tensor<?x24xf32, #x>, %y: tensor<3xf32, #y>, %w: tensor<?x8xf32>) {
  // expected-error@+1 {{'equivariant.contract' op expects tensors of rank 2, or of rank 1 inside a kernel, got 'tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>>' for y}}
  %0 = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (tensor<?x24xf32, #x>, tensor<3xf32, #y>, tensor<?x8xf32>) -> tensor<?x8xf32, #z>
  return
}

// -----

// contract_c4
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
func.func @rank_three(%x: tensor<?x?x24xf32, #x>, %y: tensor<?x?x3xf32, #y>, %w: tensor<?x?x8xf32>) {
  // expected-error@+1 {{'equivariant.contract' op expects tensors of rank 2, or of rank 1 inside a kernel, got 'tensor<?x?x24xf32}}
  %0 = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (tensor<?x?x24xf32, #x>, tensor<?x?x3xf32, #y>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32, #z>
  return
}

// -----

// contract_c5
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
func.func @rows(%x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<1x8xf32>) {
  // expected-error@+1 {{'equivariant.contract' op expects one number of rows, got 'tensor<1x8xf32>' for w and the result 'tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>'}}
  %0 = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<1x8xf32>) -> tensor<?x8xf32, #z>
  return
}
