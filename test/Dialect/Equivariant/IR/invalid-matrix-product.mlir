// RUN: espmm-opt %s -verify-diagnostics -split-input-file

// matrix_product_c1
func.func @of_integers(%i: i32) {
  // expected-error@+1 {{'equivariant.matrix_product' op expects matrices of f32 or f64}}
  %0:2 = equivariant.matrix_product ",->" %i by %i into %i, %i terms 1 : i32 by i32 into i32, i32
  return
}

// -----

// matrix_product_c1
func.func @too_few(%s: f32) {
  // expected-error@+1 {{'equivariant.matrix_product' op expects 4, 2 and 4 operands of 'f32', got 3, 2 and 4}}
  %0:4 = equivariant.matrix_product ",->" %s, %s, %s by %s, %s into %s, %s, %s, %s terms 1 : f32, f32, f32 by f32, f32 into f32, f32, f32, f32
  return
}

// -----

// matrix_product_c1
func.func @half_as_deep(%s: f32) {
  // expected-error@+1 {{'equivariant.matrix_product' op expects 2, 1 and 4 operands of 'f32', got 4, 1 and 4}}
  %0:4 = equivariant.matrix_product ",->" %s, %s, %s, %s by %s into %s, %s, %s, %s terms 1 : f32, f32, f32, f32 by f32 into f32, f32, f32, f32
  return
}

// -----

// matrix_product_c1
func.func @of_two_types(%d: f64, %t: tensor<3xf64>) {
  // expected-error@+1 {{'equivariant.matrix_product' op expects all elements of a matrix to be of one type, scalars or small tensors of 'f64', got 'tensor<3xf64>'}}
  %0:2 = equivariant.matrix_product ",->" %d by %d into %d, %t terms 1 : f64 by f64 into f64, tensor<3xf64>
  return
}

// -----

// matrix_product_c2
func.func @without_sums(%d: f64) {
  // expected-error@+1 {{'equivariant.matrix_product' op expects letters of left and right, then '->' and those of the sums, got "->"}}
  %0:2 = equivariant.matrix_product "->" %d by %d into %d, %d terms 1 : f64 by f64 into f64, f64
  return
}

// -----

// matrix_product_c2
func.func @too_many_letters(%d: f64) {
  // expected-error@+1 {{'equivariant.matrix_product' op 'k' names 1 dimensions, got 'f64'}}
  %0:2 = equivariant.matrix_product "k,->" %d by %d into %d, %d terms 1 : f64 by f64 into f64, f64
  return
}

// -----

// matrix_product_c2
func.func @a_letter_of_sums_alone(%d: f64, %t: tensor<3xf64>) {
  // expected-error@+1 {{'equivariant.matrix_product' op expects 'k' once in 'k', in a factor, and of one extent}}
  %0:2 = equivariant.matrix_product ",->k" %d by %d into %t, %t terms 1 : f64 by f64 into tensor<3xf64>, tensor<3xf64>
  return
}

// -----

// matrix_product_c2
func.func @two_extents(%t: tensor<3xf64>, %u: tensor<2xf64>) {
  // expected-error@+1 {{'equivariant.matrix_product' op expects 'k' once in 'k', in a factor, and of one extent}}
  %0:2 = equivariant.matrix_product "k,k->k" %t by %u into %t, %t terms 1 : tensor<3xf64> by tensor<2xf64> into tensor<3xf64>, tensor<3xf64>
  return
}

// -----

// matrix_product_c3
func.func @three_terms_of_doubles(%d: f64) {
  // expected-error@+1 {{'equivariant.matrix_product' op expects 1 term, or 3 of f32, got 3}}
  %0:2 = equivariant.matrix_product ",->" %d by %d into %d, %d terms 3 : f64 by f64 into f64, f64
  return
}

// -----

// write_c8
func.func @atomic_without_a_sum(%p: !llvm.ptr, %t: tensor<3xf32>) {
  // expected-error@+1 {{'equivariant.write' op adds atomically: expects scalars that are accumulated}}
  equivariant.write %t to %p offset 0 strides [1] atomic : tensor<3xf32>, !llvm.ptr
  return
}

// -----

// write_c8
func.func @atomic_vectors(%p: !llvm.ptr, %v: tensor<3xvector<8xf32>>) {
  // expected-error@+1 {{'equivariant.write' op adds atomically: expects scalars that are accumulated}}
  equivariant.write %v to %p offset 0 strides [8] accumulate atomic : tensor<3xvector<8xf32>>, !llvm.ptr
  return
}
