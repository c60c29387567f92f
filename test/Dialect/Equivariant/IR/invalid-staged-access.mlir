// RUN: espmm-opt %s -verify-diagnostics -split-input-file

// read_c2
func.func @read_shape(%p: !llvm.ptr) {
  // expected-error@+1 {{'equivariant.read' op expects a static tensor of f32, f64 or vectors of these, got 'tensor<?xf32>'}}
  %0 = equivariant.read %p offset 0 strides [1] : !llvm.ptr -> tensor<?xf32>
  return
}

// -----

// read_c2
func.func @read_elements(%p: !llvm.ptr) {
  // expected-error@+1 {{'equivariant.read' op expects a static tensor of f32, f64 or vectors of these, got 'tensor<3xi32>'}}
  %0 = equivariant.read %p offset 0 strides [1] : !llvm.ptr -> tensor<3xi32>
  return
}

// -----

// read_c3
func.func @read_lanes(%p: !llvm.ptr, %c: i64) {
  // expected-error@+1 {{'equivariant.read' op expects channels of a vector next to each other, got a lane stride of 3}}
  %0 = equivariant.read %p[%c * 3] offset 0 strides [1] : !llvm.ptr -> tensor<3xvector<8xf32>>
  return
}

// -----

// read_c4
func.func @read_mask_of_vectors(%p: !llvm.ptr, %c: i64, %mask: vector<4xi1>) {
  // expected-error@+1 {{'equivariant.read' op expects a mask of type 'vector<8xi1>', got 'vector<4xi1>'}}
  %0 = equivariant.read %p[%c] mask %mask : vector<4xi1> offset 0 strides [8] : !llvm.ptr -> tensor<3xvector<8xf32>>
  return
}

// -----

// write_c2
func.func @write_elements(%p: !llvm.ptr, %v: tensor<3xf16>) {
  // expected-error@+1 {{'equivariant.write' op expects a static tensor of f32, f64 or vectors of these, got 'tensor<3xf16>'}}
  equivariant.write %v to %p offset 0 strides [1] : tensor<3xf16>, !llvm.ptr
  return
}

// -----

// write_c3
func.func @write_lanes(%p: !llvm.ptr, %c: i64, %v: tensor<vector<4xf64>>) {
  // expected-error@+1 {{'equivariant.write' op expects channels of a vector next to each other, got a lane stride of 5}}
  equivariant.write %v to %p[%c * 5] offset 0 strides [] : tensor<vector<4xf64>>, !llvm.ptr
  return
}

// -----

// write_c4
func.func @write_mask_of_scalars(%p: !llvm.ptr, %v: tensor<3xf32>, %mask: vector<8xi1>) {
  // expected-error@+1 {{'equivariant.write' op expects a mask of type 'i1', got 'vector<8xi1>'}}
  equivariant.write %v to %p mask %mask : vector<8xi1> offset 0 strides [1] : tensor<3xf32>, !llvm.ptr
  return
}

// -----

// write_c5
func.func @write_accumulate_nontemporal(%p: !llvm.ptr, %v: tensor<3xf32>) {
  // expected-error@+1 {{'equivariant.write' op accumulates, so it reads what it writes: it cannot be nontemporal}}
  equivariant.write %v to %p offset 0 strides [1] accumulate nontemporal : tensor<3xf32>, !llvm.ptr
  return
}
