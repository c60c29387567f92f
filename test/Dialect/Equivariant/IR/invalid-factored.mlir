// RUN: espmm-opt %s -verify-diagnostics -split-input-file

// block_c1
func.func @block_end(%x: tensor<24xf32>) {
  // expected-error@+1 {{'equivariant.block' op block of 24 elements at offset 1 does not lie within a row of 24}}
  %0 = equivariant.block %x[1] : tensor<24xf32> -> tensor<8x3xf32>
  return
}

// -----

// block_c1
func.func @block_begin(%x: tensor<24xf32>) {
  // expected-error@+1 {{'equivariant.block' op block of 3 elements at offset -1 does not lie within a row of 24}}
  %0 = equivariant.block %x[-1] : tensor<24xf32> -> tensor<1x3xf32>
  return
}

// -----

// block_c1
func.func @block_rank(%x: tensor<?x24xf32>) {
  // expected-error@+1 {{'equivariant.block' op expects a row of rank 1, got 'tensor<?x24xf32>'}}
  %0 = equivariant.block %x[0] : tensor<?x24xf32> -> tensor<8x3xf32>
  return
}

// -----

// block_c1
func.func @block_element_type(%x: tensor<24xf32>) {
  // expected-error@+1 {{'equivariant.block' op element types differ: 'tensor<24xf32>' and 'tensor<8x3xf64>'}}
  %0 = equivariant.block %x[0] : tensor<24xf32> -> tensor<8x3xf64>
  return
}

// -----

// block_c1
func.func @block_further(%x: tensor<24xf32>) {
  // expected-error@+1 {{'equivariant.block' op block of 3 elements at offset 22 does not lie within a row of 24}}
  %0 = equivariant.block %x[0] also [3, 22] : tensor<24xf32> -> tensor<1x3xf32>
  return
}

// -----

// assemble_c1
func.func @assemble_further(%a: tensor<1x3xf32>) {
  // expected-error@+1 {{'equivariant.assemble' op block of 3 elements at offset 22 does not lie within a row of 24}}
  %0 = equivariant.assemble [0] also [22] (%a) : (tensor<1x3xf32>) -> tensor<24xf32>
  return
}

// -----

// assemble_c2
func.func @assemble_some(%a: tensor<1x3xf32>) {
  // expected-error@+1 {{'equivariant.assemble' op expects as many further offsets for each of 2 blocks, got 1}}
  %0 = equivariant.assemble [0, 3] also [6] (%a, %a) : (tensor<1x3xf32>, tensor<1x3xf32>) -> tensor<24xf32>
  return
}

// -----

// coefficients_c1
func.func @coefficients_triangle() {
  // expected-error@+1 {{'equivariant.coefficients' op no coefficients for (1, 1, 3)}}
  %0 = equivariant.coefficients (1, 1, 3) * 1.0 : tensor<3x3x7xf32>
  return
}

// -----

// coefficients_c1
func.func @coefficients_large() {
  // expected-error@+1 {{'equivariant.coefficients' op no coefficients for (12, 12, 0)}}
  %0 = equivariant.coefficients (12, 12, 0) * 1.0 : tensor<25x25x1xf32>
  return
}

// -----

// pairs_c1
func.func @too_few_pairs(%x: tensor<4x3xf32>) {
  // expected-error@+1 {{'equivariant.pairs' op 4 channels have 6 pairs, got 5}}
  %0 = equivariant.pairs first %x : tensor<4x3xf32> -> tensor<5x3xf32>
  return
}

// -----

// pairs_c1
func.func @pairs_of_other_components(%x: tensor<4x3xf32>) {
  // expected-error@+1 {{'equivariant.pairs' op expects types that differ in their first dimension only, got 'tensor<4x3xf32>' and 'tensor<6x5xf32>'}}
  %0 = equivariant.pairs first %x : tensor<4x3xf32> -> tensor<6x5xf32>
  return
}

// -----

// pair_sum_c1
func.func @sum_to_too_many_channels(%x: tensor<6x3xf32>) {
  // expected-error@+1 {{'equivariant.pair_sum' op 5 channels have 10 pairs, got 6}}
  %0 = equivariant.pair_sum first %x : tensor<6x3xf32> -> tensor<5x3xf32>
  return
}

// -----

// ones_c1
func.func @ones_of_integers() {
  // expected-error@+1 {{'equivariant.ones' op expects a static tensor of f32 or f64, got 'tensor<4xi32>'}}
  %0 = equivariant.ones : tensor<4xi32>
  return
}

// -----

// coefficients_c2
func.func @coefficients_both() {
  // expected-error@+1 {{'equivariant.coefficients' op expects unit or scales, got both}}
  %0 = equivariant.coefficients (1, 1, 0) * 1.0 unit scales : tensor<3x3x1xf32>
  return
}

// -----

// coefficients_c1
func.func @coefficients_scales() {
  // expected-error@+1 {{'equivariant.coefficients' op expects shape 5, got 'tensor<3x3x5xf32>'}}
  %0 = equivariant.coefficients (1, 1, 2) * 1.0 scales : tensor<3x3x5xf32>
  return
}

// -----

// coefficients_c1
func.func @coefficients_shape() {
  // expected-error@+1 {{'equivariant.coefficients' op expects shape 3x3x1, got 'tensor<3x1x3xf32>'}}
  %0 = equivariant.coefficients (1, 1, 0) * 1.0 : tensor<3x1x3xf32>
  return
}

// -----

// einsum_c1
func.func @einsum_groups(%x: tensor<8x3xf32>) {
  // expected-error@+1 {{'equivariant.einsum' op expects one group of letters for each of 1 operands, then '->' and the result's, got "ui,uj->u"}}
  %0 = equivariant.einsum "ui,uj->u" (%x) : (tensor<8x3xf32>) -> tensor<8xf32>
  return
}

// -----

// einsum_c1
func.func @einsum_arrow(%x: tensor<8x3xf32>) {
  // expected-error@+1 {{'equivariant.einsum' op expects one group of letters for each of 1 operands, then '->' and the result's, got "ui"}}
  %0 = equivariant.einsum "ui" (%x) : (tensor<8x3xf32>) -> tensor<8xf32>
  return
}

// -----

// einsum_c1
func.func @einsum_rank(%x: tensor<8x3xf32>) {
  // expected-error@+1 {{'equivariant.einsum' op 'uij' names 3 dimensions, got 'tensor<8x3xf32>'}}
  %0 = equivariant.einsum "uij->u" (%x) : (tensor<8x3xf32>) -> tensor<8xf32>
  return
}

// -----

// einsum_c1
func.func @einsum_twice(%x: tensor<3x3xf32>) {
  // expected-error@+1 {{'equivariant.einsum' op letter 'i' occurs twice in 'ii'}}
  %0 = equivariant.einsum "ii->i" (%x) : (tensor<3x3xf32>) -> tensor<3xf32>
  return
}

// -----

// einsum_c2
func.func @einsum_extent(%x: tensor<8x3xf32>, %y: tensor<4x3xf32>) {
  // expected-error@+1 {{'equivariant.einsum' op letter 'u' has extents 8 and 4}}
  %0 = equivariant.einsum "ui,ui->u" (%x, %y) : (tensor<8x3xf32>, tensor<4x3xf32>) -> tensor<8xf32>
  return
}

// -----

// einsum_c2
func.func @einsum_result(%x: tensor<8x3xf32>) {
  // expected-error@+1 {{'equivariant.einsum' op letter 'k' of the result does not occur in an operand}}
  %0 = equivariant.einsum "ui->uk" (%x) : (tensor<8x3xf32>) -> tensor<8x3xf32>
  return
}

// -----

// assemble_c1
func.func @assemble_offsets(%a: tensor<8x3xf32>) {
  // expected-error@+1 {{'equivariant.assemble' op expects one offset for each block, got 2 and 1}}
  %0 = equivariant.assemble [0, 24] (%a) : (tensor<8x3xf32>) -> tensor<48xf32>
  return
}

// -----

// assemble_c1
func.func @assemble_end(%a: tensor<8x3xf32>) {
  // expected-error@+1 {{'equivariant.assemble' op block of 24 elements at offset 8 does not lie within a row of 24}}
  %0 = equivariant.assemble [8] (%a) : (tensor<8x3xf32>) -> tensor<24xf32>
  return
}
