// RUN: espmm-opt %s -verify-diagnostics -split-input-file

// read_c1
func.func @read_strides(%p: !llvm.ptr, %c: i64) {
  // expected-error@+1 {{'equivariant.read' op expects one stride for each dimension of 'tensor<3xvector<8xf32>>', got 2}}
  %0 = equivariant.read %p[%c] offset 0 strides [8, 1] : !llvm.ptr -> tensor<3xvector<8xf32>>
  return
}

// -----

// write_c1
func.func @write_strides(%p: !llvm.ptr, %c: i64, %v: tensor<3xvector<8xf32>>) {
  // expected-error@+1 {{'equivariant.write' op expects one stride for each dimension of 'tensor<3xvector<8xf32>>', got 0}}
  equivariant.write %v to %p[%c] offset 0 strides [] : tensor<3xvector<8xf32>>, !llvm.ptr
  return
}

// -----

// read_c5
func.func @read_packed(%p: !llvm.ptr) {
  // expected-error@+1 {{'equivariant.read' op expects packed elements in ascending order, below 6, got 6}}
  %0 = equivariant.read %p offset 0 strides [0, 0] packed [0, 4, 6] : !llvm.ptr -> tensor<2x3xf32>
  return
}

// -----

// read_c6
func.func @read_aligned(%p: !llvm.ptr) {
  // expected-error@+1 {{'equivariant.read' op expects a base aligned to 1 scalar or more, got 0}}
  %0 = equivariant.read %p offset 0 strides [1] aligned 0 : !llvm.ptr -> tensor<3xf32>
  return
}

// -----

// write_c6
func.func @write_packed(%p: !llvm.ptr, %v: tensor<2x3xf32>) {
  // expected-error@+1 {{'equivariant.write' op expects packed elements in ascending order, below 6, got 1}}
  equivariant.write %v to %p offset 0 strides [0, 0] packed [4, 1] vector 8 : tensor<2x3xf32>, !llvm.ptr
  return
}

// -----

// write_c6
func.func @write_packed_without_length(%p: !llvm.ptr, %v: tensor<2x3xf32>) {
  // expected-error@+1 {{'equivariant.write' op expects a vector's length with packed elements, and only then}}
  equivariant.write %v to %p offset 0 strides [0, 0] packed [1, 4] vector 0 : tensor<2x3xf32>, !llvm.ptr
  return
}

// -----

// write_c6
func.func @write_packed_accumulate(%p: !llvm.ptr, %v: tensor<2x3xf32>) {
  // expected-error@+1 {{'equivariant.write' op expects packed elements without mask and accumulate}}
  equivariant.write %v to %p offset 0 strides [0, 0] accumulate packed [1, 4] vector 8 : tensor<2x3xf32>, !llvm.ptr
  return
}

// -----

// restrict_c1
func.func @restrict_rank(%v: tensor<5x7xf32>) {
  // expected-error@+1 {{'equivariant.restrict' op expects one offset and one size for each dimension of 'tensor<5x7xf32>', got 1 and 1}}
  %0 = equivariant.restrict %v from [0] sizes [5] : tensor<5x7xf32>
  return
}

// -----

// restrict_c1
func.func @restrict_box(%v: tensor<5x7xf32>) {
  // expected-error@+1 {{'equivariant.restrict' op box from 6 of size 2 is not within an extent of 7}}
  %0 = equivariant.restrict %v from [0, 6] sizes [5, 2] : tensor<5x7xf32>
  return
}

// -----

// async_copy_c1
func.func @async_copy_numbers(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) {
  // expected-error@+1 {{'equivariant.async_copy' op expects five numbers for each run, got 4 numbers}}
  equivariant.async_copy %row to %slot slab %slab lane %lane runs [0, 96, 96, 3] width 4 : f32, !llvm.ptr<1>, !llvm.ptr<3>
  return
}

// -----

// async_copy_c1
func.func @async_copy_width(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) {
  // expected-error@+1 {{'equivariant.async_copy' op expects runs of a multiple of 4 elements, got 9}}
  equivariant.async_copy %row to %slot slab %slab lane %lane runs [0, 9, 9, 0, 1] width 4 : f32, !llvm.ptr<1>, !llvm.ptr<3>
  return
}

// -----

// copy_out_c1
func.func @copy_out_numbers(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) {
  // expected-error@+1 {{'equivariant.copy_out' op expects five numbers for each run, got 1 numbers}}
  equivariant.copy_out %slot to %row slab %slab lane %lane runs [0] width 4 : f32, !llvm.ptr<3>, !llvm.ptr<1>
  return
}

// -----

// async_copy_c2
func.func @async_copy_elements(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) {
  // expected-error@+1 {{'equivariant.async_copy' op expects elements of type f32, f64, bf16 or f16, got 'i16'}}
  equivariant.async_copy %row to %slot slab %slab lane %lane runs [0, 8, 8, 0, 1] width 4 : i16, !llvm.ptr<1>, !llvm.ptr<3>
  return
}

// -----

// copy_out_c3
func.func @copy_out_threads(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) {
  // expected-error@+1 {{'equivariant.copy_out' op expects threads to be a multiple of 32, copies >= 1 and a stride that is a multiple of the width, got 48, 4 and 128}}
  equivariant.copy_out %slot to %row slab %slab lane %lane runs [0, 8, 8, 0, 1] width 4 threads 48 copies 4 stride 128 : f32, !llvm.ptr<3>, !llvm.ptr<1>
  return
}

// -----

// copy_out_c2
func.func @copy_out_pieces(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) {
  // expected-error@+1 {{'equivariant.copy_out' op expects pieces of 4, 8 or 16 bytes, got 32}}
  equivariant.copy_out %slot to %row slab %slab lane %lane runs [0, 8, 8, 0, 1] width 4 : f64, !llvm.ptr<3>, !llvm.ptr<1>
  return
}

// -----

// async_copy_c3
func.func @async_copy_further(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) {
  // expected-error@+1 {{'equivariant.async_copy' op expects an instance and, for each of 2 runs, as many further offsets, or neither, got 3}}
  equivariant.async_copy %row to %slot slab %slab lane %lane runs [0, 0, 4, 0, 0, 8, 0, 4, 0, 0] also [16, 20, 32] instance %slab width 4 : f32, !llvm.ptr<1>, !llvm.ptr<3>
  return
}

// -----

// copy_out_c5
func.func @copy_out_without_instance(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) {
  // expected-error@+1 {{'equivariant.copy_out' op expects an instance and, for each of 1 runs, as many further offsets, or neither, got 1}}
  "equivariant.copy_out"(%slot, %row, %slab, %lane) <{runs = array<i64: 0, 0, 4, 0, 0>, also = array<i64: 8>, width = 4 : i64, element_type = f32}> : (!llvm.ptr<3>, !llvm.ptr<1>, i64, i64) -> ()
  return
}
