// RUN: espmm-opt %s -verify-diagnostics -split-input-file

// read_c7
func.func @read(%p: !llvm.ptr) {
  // expected-error@+1 {{'equivariant.read' op expects elements of f32 stored as bf16 or f16, got 'f64' and 'bf16'}}
  %0 = equivariant.read %p offset 0 strides [1] as bf16 : !llvm.ptr -> tensor<3xf64>
  return
}

// -----

// write_c7
func.func @write(%p: !llvm.ptr, %v: tensor<3xvector<8xf32>>) {
  // expected-error@+1 {{'equivariant.write' op expects elements of f32 stored as bf16 or f16, got 'vector<8xf32>' and 'f32'}}
  equivariant.write %v to %p offset 0 strides [8] as f32 : tensor<3xvector<8xf32>>, !llvm.ptr
  return
}

// -----

// write_c7
func.func @write_accumulate(%p: !llvm.ptr, %v: tensor<3xf32>) {
  // expected-error@+1 {{'equivariant.write' op rounds what it writes: it can neither accumulate nor have packed elements}}
  equivariant.write %v to %p offset 0 strides [1] accumulate as f16 : tensor<3xf32>, !llvm.ptr
  return
}

// -----

// relayout_c4
func.func @relayout(%p: !llvm.ptr, %q: !llvm.ptr) {
  // expected-error@+1 {{'equivariant.relayout' op expects elements of f32 stored as bf16 or f16, got 'f64' and 'f16'}}
  equivariant.relayout gather %p to %q of block [8, 4] vector 8 as f16 : f64, !llvm.ptr, !llvm.ptr
  return
}

// -----

// copy_out_c4
func.func @copy_out(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) {
  // expected-error@+1 {{'equivariant.copy_out' op expects elements of f32 stored as bf16 or f16, got 'f64' and 'bf16'}}
  equivariant.copy_out %slot to %row slab %slab lane %lane runs [0, 96, 96, 3, 128] width 2 as bf16 : f64, !llvm.ptr<3>, !llvm.ptr<1>
  return
}

// -----

// copy_out_c4
func.func @copy_out_atomic(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) {
  // expected-error@+1 {{'equivariant.copy_out' op rounds what it writes: it cannot add to what is there}}
  equivariant.copy_out %slot to %row slab %slab lane %lane runs [0, 96, 96, 3, 128] width 4 atomic as bf16 : f32, !llvm.ptr<3>, !llvm.ptr<1>
  return
}

// -----

// async_copy_c2
func.func @async_copy(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) {
  // expected-error@+1 {{'equivariant.async_copy' op expects pieces of 4, 8 or 16 bytes, got 2}}
  equivariant.async_copy %row to %slot slab %slab lane %lane runs [0, 96, 96, 3, 128] width 1 : bf16, !llvm.ptr<1>, !llvm.ptr<3>
  return
}
