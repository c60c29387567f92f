// RUN: espmm-opt %s -verify-diagnostics -split-input-file

// zero_c1
func.func @zero_elements() {
  // expected-error@+1 {{'equivariant.zero' op expects a static tensor of f32, f64 or vectors of these, got 'tensor<3xvector<2x4xf32>>'}}
  %0 = equivariant.zero : tensor<3xvector<2x4xf32>>
  return
}

// -----

// lane_sum_c1
func.func @lane_sum_of_nothing() {
  // expected-error@+1 {{'equivariant.lane_sum' op expects an operand, got none}}
  %0 = "equivariant.lane_sum"() : () -> f32
  return
}

// -----

// lane_sum_c1
func.func @lane_sum_of_integers(%v: i32) {
  // expected-error@+1 {{'equivariant.lane_sum' op expects elements of f32 or f64 or small tensors of them, got 'i32'}}
  %0 = equivariant.lane_sum %v : i32 -> i32
  return
}

// -----

// lane_sum_c1
func.func @lane_sum_of_types(%a: f32, %b: f64) {
  // expected-error@+1 {{'equivariant.lane_sum' op expects operands of one element type, got 'f32' and 'f64'}}
  %0 = equivariant.lane_sum %a, %b : f32, f64 -> f32
  return
}

// -----

// lane_sum_c3
func.func @lane_sum_of_every_second_element(%a: f32, %b: f32) {
  // expected-error@+1 {{'equivariant.lane_sum' op expects a positive stride, 1 for elements, got 2}}
  %0 = equivariant.lane_sum stride 2 %a, %b : f32, f32 -> f32
  return
}

// -----

// lane_sum_c2
func.func @lane_sum_of_vectors(%v: tensor<3xvector<8xf32>>) {
  // expected-error@+1 {{'equivariant.lane_sum' op expects a result of type 'vector<8xf32>', got 'tensor<3xf32>'}}
  %0 = equivariant.lane_sum %v : tensor<3xvector<8xf32>> -> tensor<3xf32>
  return
}

// -----

// lane_sum_c2
func.func @lane_sum_of_scalars(%v: tensor<3xf32>) {
  // expected-error@+1 {{'equivariant.lane_sum' op expects a result of type 'f32', got 'tensor<3xf32>'}}
  %0 = equivariant.lane_sum %v : tensor<3xf32> -> tensor<3xf32>
  return
}

// -----

// lane_sum_c3
func.func @lane_sum_past_the_end(%v: tensor<5x7xf32>) {
  // expected-error@+1 {{'equivariant.lane_sum' op expects to begin within its 35 elements, got 35}}
  %0 = equivariant.lane_sum from 35 %v : tensor<5x7xf32> -> f32
  return
}

// -----

// lane_sum_c4
func.func @lane_sum_of_odd_groups(%a: f32) {
  // expected-error@+1 {{'equivariant.lane_sum' op expects groups of a power of two of a warp's lanes, got 12}}
  %0 = equivariant.lane_sum of 12 lanes %a : f32 -> f32
  return
}

// -----

// lane_sum_c4
func.func @lane_sum_across_all(%a: f32) {
  // expected-error@+1 {{'equivariant.lane_sum' op expects groups of a power of two of a warp's lanes, got 0}}
  %0 = equivariant.lane_sum across %a : f32 -> f32
  return
}

// -----

// relayout_c1
func.func @relayout_vector(%p: !llvm.ptr, %q: !llvm.ptr) {
  // expected-error@+1 {{'equivariant.relayout' op expects a vector of a power of two channels, got 6}}
  equivariant.relayout gather %p to %q of #equivariant.irreps<"8x1o", mul_ir> vector 6 : f32, !llvm.ptr, !llvm.ptr
  return
}

// -----

// relayout_c3
func.func @relayout_nothing(%p: !llvm.ptr, %q: !llvm.ptr) {
  // expected-error@+1 {{'equivariant.relayout' op expects irreps, or a block of two positive numbers}}
  "equivariant.relayout"(%p, %q) <{vector = 8 : i64, element_type = f32}> : (!llvm.ptr, !llvm.ptr) -> ()
  return
}

// -----

// relayout_c3
func.func @relayout_both(%p: !llvm.ptr, %q: !llvm.ptr) {
  // expected-error@+1 {{'equivariant.relayout' op expects irreps, or a block of two positive numbers}}
  equivariant.relayout gather %p to %q of #equivariant.irreps<"8x1o", mul_ir> block [8, 3] vector 8 : f32, !llvm.ptr, !llvm.ptr
  return
}

// -----

// relayout_c3
func.func @relayout_block(%p: !llvm.ptr, %q: !llvm.ptr) {
  // expected-error@+1 {{'equivariant.relayout' op expects irreps, or a block of two positive numbers}}
  equivariant.relayout scatter %p to %q of block [8, 0] vector 8 : f32, !llvm.ptr, !llvm.ptr
  return
}

// -----

// relayout_c2
func.func @relayout_elements(%p: !llvm.ptr, %q: !llvm.ptr) {
  // expected-error@+1 {{'equivariant.relayout' op expects elements of type f32 or f64, got 'i8'}}
  equivariant.relayout scatter %p to %q of #equivariant.irreps<"8x1o", mul_ir> vector 8 : i8, !llvm.ptr, !llvm.ptr
  return
}

// -----

// transpose_c1
func.func @transpose_block(%p: !llvm.ptr, %q: !llvm.ptr) {
  // expected-error@+1 {{'equivariant.transpose' op expects a block of two positive numbers}}
  equivariant.transpose %p stride 30 to %q stride 8 of block [8, 0] vector 8 : f32 to f32, !llvm.ptr, !llvm.ptr
  return
}

// -----

// transpose_c1
func.func @transpose_strides(%p: !llvm.ptr, %q: !llvm.ptr) {
  // expected-error@+1 {{'equivariant.transpose' op expects strides of at least 30 and 8, got 30 and 4}}
  equivariant.transpose %p stride 30 to %q stride 4 of block [8, 30] vector 8 : f32 to f32, !llvm.ptr, !llvm.ptr
  return
}

// -----

// transpose_c2
func.func @transpose_vector(%p: !llvm.ptr, %q: !llvm.ptr) {
  // expected-error@+1 {{'equivariant.transpose' op expects a vector of a power of two scalars, got 6}}
  equivariant.transpose %p stride 30 to %q stride 8 of block [8, 30] vector 6 : f32 to f32, !llvm.ptr, !llvm.ptr
  return
}

// -----

// transpose_c3
func.func @transpose_types(%p: !llvm.ptr, %q: !llvm.ptr) {
  // expected-error@+1 {{'equivariant.transpose' op expects scalars of one type, f32 or f64, or f32 and bf16 or f16, got 'f64' and 'bf16'}}
  equivariant.transpose %p stride 30 to %q stride 8 of block [8, 30] vector 8 : f64 to bf16, !llvm.ptr, !llvm.ptr
  return
}

// -----

// transpose_c3
func.func @transpose_narrow(%p: !llvm.ptr, %q: !llvm.ptr) {
  // expected-error@+1 {{'equivariant.transpose' op expects scalars of one type, f32 or f64, or f32 and bf16 or f16, got 'f16' and 'f16'}}
  equivariant.transpose %p stride 30 to %q stride 8 of block [8, 30] vector 8 : f16 to f16, !llvm.ptr, !llvm.ptr
  return
}

// -----

// stack_c1
func.func @stack_of_nothing() {
  // expected-error@+1 {{'equivariant.stack' op expects an operand, got none}}
  %0 = "equivariant.stack"() : () -> tensor<0x3xf32>
  return
}

// -----

// stack_c1
func.func @stack_of_types(%a: tensor<3xf32>, %b: tensor<2xf32>) {
  // expected-error@+1 {{'equivariant.stack' op expects operands of one type, got 'tensor<3xf32>' and 'tensor<2xf32>'}}
  %0 = equivariant.stack %a, %b : tensor<3xf32>, tensor<2xf32> -> tensor<2x3xf32>
  return
}

// -----

// stack_c1
func.func @stack_of_integers(%a: tensor<3xi32>) {
  // expected-error@+1 {{'equivariant.stack' op expects a static tensor of f32, f64 or vectors of these, got 'tensor<3xi32>'}}
  %0 = equivariant.stack %a : tensor<3xi32> -> tensor<1x3xi32>
  return
}

// -----

// stack_c2
func.func @stack_of_other_shape(%a: tensor<3xf32>) {
  // expected-error@+1 {{'equivariant.stack' op expects a result of type 'tensor<2x3xf32>', got 'tensor<3x2xf32>'}}
  %0 = equivariant.stack %a, %a : tensor<3xf32>, tensor<3xf32> -> tensor<3x2xf32>
  return
}
