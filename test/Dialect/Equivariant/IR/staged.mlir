// RUN: espmm-opt %s --verify-roundtrip --mlir-print-op-generic | espmm-opt | FileCheck %s

// CHECK-LABEL: @read
func.func @read(%p: !llvm.ptr, %c: i64, %mask: vector<8xi1>, %bit: i1) {
  // CHECK: equivariant.read %{{.*}} offset 0 strides [8] : !llvm.ptr -> tensor<3xvector<8xf32>>
  %0 = equivariant.read %p offset 0 strides [8] : !llvm.ptr -> tensor<3xvector<8xf32>>
  // CHECK: equivariant.read %{{.*}}[%{{.*}}] offset 24 strides [] : !llvm.ptr -> tensor<vector<8xf32>>
  %1 = equivariant.read %p[%c] offset 24 strides [] : !llvm.ptr -> tensor<vector<8xf32>>
  // CHECK: equivariant.read %{{.*}}[%{{.*}}] mask %{{.*}} : vector<8xi1> offset 1 strides [8, 24] : !llvm.ptr -> tensor<3x2xvector<8xf32>>
  %2 = equivariant.read %p[%c] mask %mask : vector<8xi1> offset 1 strides [8, 24] : !llvm.ptr -> tensor<3x2xvector<8xf32>>
  // CHECK: equivariant.read %{{.*}}[%{{.*}} * 3] mask %{{.*}} : i1 offset 1 strides [1] : !llvm.ptr -> tensor<3xf32>
  %3 = equivariant.read %p[%c * 3] mask %bit : i1 offset 1 strides [1] : !llvm.ptr -> tensor<3xf32>
  // CHECK: equivariant.read %{{.*}} offset 8 strides [0, 0] packed [0, 4] : !llvm.ptr -> tensor<2x3xf32>
  %4 = equivariant.read %p offset 8 strides [0, 0] packed [0, 4] : !llvm.ptr -> tensor<2x3xf32>
  // CHECK: equivariant.read %{{.*}} offset 8 strides [1] aligned 4 : !llvm.ptr -> tensor<3xf32>
  %5 = equivariant.read %p offset 8 strides [1] aligned 4 : !llvm.ptr -> tensor<3xf32>
  // CHECK: equivariant.read %{{.*}} offset 8 strides [1] aligned 4 as bf16 : !llvm.ptr -> tensor<3xf32>
  %6 = equivariant.read %p offset 8 strides [1] aligned 4 as bf16 : !llvm.ptr -> tensor<3xf32>
  return
}

// CHECK-LABEL: @write
func.func @write(%p: !llvm.ptr, %c: i64, %v: tensor<3xvector<8xf32>>, %s: tensor<3xf32>, %mask: vector<8xi1>, %bit: i1) {
  // CHECK: equivariant.write %{{.*}} to %{{.*}} offset 0 strides [8] : tensor<3xvector<8xf32>>, !llvm.ptr
  equivariant.write %v to %p offset 0 strides [8] : tensor<3xvector<8xf32>>, !llvm.ptr
  // CHECK: equivariant.write %{{.*}} to %{{.*}}[%{{.*}}] mask %{{.*}} : vector<8xi1> offset 0 strides [8] accumulate : tensor<3xvector<8xf32>>, !llvm.ptr
  equivariant.write %v to %p[%c] mask %mask : vector<8xi1> offset 0 strides [8] accumulate : tensor<3xvector<8xf32>>, !llvm.ptr
  // CHECK: equivariant.write %{{.*}} to %{{.*}}[%{{.*}} * 3] mask %{{.*}} : i1 offset 0 strides [1] : tensor<3xf32>, !llvm.ptr
  equivariant.write %s to %p[%c * 3] mask %bit : i1 offset 0 strides [1] : tensor<3xf32>, !llvm.ptr
  // CHECK: equivariant.write %{{.*}} to %{{.*}} offset 0 strides [8] nontemporal : tensor<3xvector<8xf32>>, !llvm.ptr
  equivariant.write %v to %p offset 0 strides [8] nontemporal : tensor<3xvector<8xf32>>, !llvm.ptr
  // CHECK: equivariant.write %{{.*}} to %{{.*}} offset 0 strides [0] packed [0, 2] vector 8 : tensor<3xvector<8xf32>>, !llvm.ptr
  equivariant.write %v to %p offset 0 strides [0] packed [0, 2] vector 8 : tensor<3xvector<8xf32>>, !llvm.ptr
  // CHECK: equivariant.write %{{.*}} to %{{.*}} offset 0 strides [8] nontemporal as f16 : tensor<3xvector<8xf32>>, !llvm.ptr
  equivariant.write %v to %p offset 0 strides [8] nontemporal as f16 : tensor<3xvector<8xf32>>, !llvm.ptr
  // CHECK: equivariant.write %{{.*}} to %{{.*}} offset 0 strides [1] accumulate atomic : tensor<3xf32>, !llvm.ptr
  equivariant.write %s to %p offset 0 strides [1] accumulate atomic : tensor<3xf32>, !llvm.ptr
  return
}

// CHECK-LABEL: @matrices
func.func @matrices(%a: tensor<3xf32>, %b: tensor<f32>, %s: f32, %d: f64) {
  // CHECK: equivariant.matrix_product "k,->k" %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} by %{{.*}}, %{{.*}} into %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} terms 3 : tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32> by tensor<f32>, tensor<f32> into tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>
  %0:4 = equivariant.matrix_product "k,->k" %a, %a, %a, %a by %b, %b into %a, %a, %a, %a terms 3 : tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32> by tensor<f32>, tensor<f32> into tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>
  // CHECK: equivariant.matrix_product ",->" %{{.*}}, %{{.*}} by %{{.*}} into %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} terms 1 : f32, f32 by f32 into f32, f32, f32, f32
  %1:4 = equivariant.matrix_product ",->" %s, %s by %s into %s, %s, %s, %s terms 1 : f32, f32 by f32 into f32, f32, f32, f32
  // CHECK: equivariant.matrix_product ",->" %{{.*}} by %{{.*}} into %{{.*}}, %{{.*}} terms 1 : f64 by f64 into f64, f64
  %2:2 = equivariant.matrix_product ",->" %d by %d into %d, %d terms 1 : f64 by f64 into f64, f64
  return
}

// CHECK-LABEL: @values
func.func @values(%v: tensor<3xvector<8xf32>>, %t: tensor<3xf32>, %s: f32) {
  // CHECK: equivariant.zero : tensor<3xvector<8xf32>>
  %0 = equivariant.zero : tensor<3xvector<8xf32>>
  // CHECK: equivariant.stack %{{.*}}, %{{.*}} : tensor<3xf32>, tensor<3xf32> -> tensor<2x3xf32>
  %5 = equivariant.stack %t, %t : tensor<3xf32>, tensor<3xf32> -> tensor<2x3xf32>
  // CHECK: equivariant.restrict %{{.*}} from [1] sizes [2] : tensor<3xvector<8xf32>>
  %3 = equivariant.restrict %v from [1] sizes [2] : tensor<3xvector<8xf32>>
  // CHECK: equivariant.lane_sum %{{.*}}, %{{.*}} : tensor<3xvector<8xf32>>, tensor<3xvector<8xf32>> -> vector<8xf32>
  %1 = equivariant.lane_sum %v, %v : tensor<3xvector<8xf32>>, tensor<3xvector<8xf32>> -> vector<8xf32>
  // CHECK: equivariant.lane_sum from 2 %{{.*}}, %{{.*}} : tensor<3xf32>, f32 -> f32
  %2 = equivariant.lane_sum from 2 %t, %s : tensor<3xf32>, f32 -> f32
  // CHECK: equivariant.lane_sum of 16 lanes across %{{.*}} : f32 -> f32
  %4 = equivariant.lane_sum of 16 lanes across %s : f32 -> f32
  return
}

// CHECK-LABEL: @copies
func.func @copies(%p: !llvm.ptr, %q: !llvm.ptr, %row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) {
  // CHECK: equivariant.relayout gather %{{.*}} to %{{.*}} of #irreps vector 8 : f32, !llvm.ptr, !llvm.ptr
  equivariant.relayout gather %p to %q of #equivariant.irreps<"8x1o", mul_ir> vector 8 : f32, !llvm.ptr, !llvm.ptr
  // CHECK: equivariant.relayout scatter %{{.*}} to %{{.*}} of #irreps vector 8 : f32, !llvm.ptr, !llvm.ptr
  equivariant.relayout scatter %q to %p of #equivariant.irreps<"8x1o", mul_ir> vector 8 : f32, !llvm.ptr, !llvm.ptr
  // CHECK: equivariant.relayout gather %{{.*}} to %{{.*}} of block [8, 4] vector 8 : f64, !llvm.ptr, !llvm.ptr
  equivariant.relayout gather %p to %q of block [8, 4] vector 8 : f64, !llvm.ptr, !llvm.ptr
  // CHECK: equivariant.relayout scatter %{{.*}} to %{{.*}} of block [8, 4] vector 8 as bf16 : f32, !llvm.ptr, !llvm.ptr
  equivariant.relayout scatter %q to %p of block [8, 4] vector 8 as bf16 : f32, !llvm.ptr, !llvm.ptr
  // CHECK: equivariant.transpose %{{.*}} stride 30 to %{{.*}} stride 8 of block [8, 30] vector 8 : bf16 to f32, !llvm.ptr, !llvm.ptr
  equivariant.transpose %p stride 30 to %q stride 8 of block [8, 30] vector 8 : bf16 to f32, !llvm.ptr, !llvm.ptr
  // CHECK: equivariant.async_copy %{{.*}} to %{{.*}} slab %{{.*}} lane %{{.*}} runs [0, 96, 96, 3, 128] width 8 : bf16, {{.*}}<1>, {{.*}}<3>
  equivariant.async_copy %row to %slot slab %slab lane %lane runs [0, 96, 96, 3, 128] width 8 : bf16, !llvm.ptr<1>, !llvm.ptr<3>
  // CHECK: equivariant.copy_out %{{.*}} to %{{.*}} slab %{{.*}} lane %{{.*}} runs [0, 96, 96, 3, 128] width 4 as f16 : f32, {{.*}}<3>, {{.*}}<1>
  equivariant.copy_out %slot to %row slab %slab lane %lane runs [0, 96, 96, 3, 128] width 4 as f16 : f32, !llvm.ptr<3>, !llvm.ptr<1>
  // CHECK: equivariant.async_copy %{{.*}} to %{{.*}} slab %{{.*}} lane %{{.*}} runs [0, 96, 96, 3, 128] width 4 : f32, {{.*}}<1>, {{.*}}<3>
  equivariant.async_copy %row to %slot slab %slab lane %lane runs [0, 96, 96, 3, 128] width 4 : f32, !llvm.ptr<1>, !llvm.ptr<3>
  // CHECK: equivariant.copy_out %{{.*}} to %{{.*}} slab %{{.*}} lane %{{.*}} runs [0, 96, 96, 3, 128] width 4 atomic : f32, {{.*}}<3>, {{.*}}<1>
  equivariant.copy_out %slot to %row slab %slab lane %lane runs [0, 96, 96, 3, 128] width 4 atomic : f32, !llvm.ptr<3>, !llvm.ptr<1>
  // CHECK: equivariant.async_copy %{{.*}} to %{{.*}} slab %{{.*}} lane %{{.*}} runs [0, 32, 32, 1, 64] width 4 once : f32
  equivariant.async_copy %row to %slot slab %slab lane %lane runs [0, 32, 32, 1, 64] width 4 once : f32, !llvm.ptr<1>, !llvm.ptr<3>
  // CHECK: equivariant.async_copy %{{.*}} to %{{.*}} slab %{{.*}} lane %{{.*}} runs [0, 0, 4, 0, 0, 8, 0, 4, 0, 0] also [16, 20, 32, 36] instance %{{.*}} width 4 once : f32
  equivariant.async_copy %row to %slot slab %slab lane %lane runs [0, 0, 4, 0, 0, 8, 0, 4, 0, 0] also [16, 20, 32, 36] instance %slab width 4 once : f32, !llvm.ptr<1>, !llvm.ptr<3>
  // CHECK: equivariant.copy_out %{{.*}} to %{{.*}} slab %{{.*}} lane %{{.*}} runs [0, 32, 32, 1, 64] also [64] instance %{{.*}} width 4 atomic : f32
  equivariant.copy_out %slot to %row slab %slab lane %lane runs [0, 32, 32, 1, 64] also [64] instance %slab width 4 atomic : f32, !llvm.ptr<3>, !llvm.ptr<1>
  // CHECK: equivariant.copy_out %{{.*}} to %{{.*}} slab %{{.*}} lane %{{.*}} runs [0, 32, 32, 1, 64] width 4 once threads 128 copies 4 stride 256 : f32
  equivariant.copy_out %slot to %row slab %slab lane %lane runs [0, 32, 32, 1, 64] width 4 once threads 128 copies 4 stride 256 : f32, !llvm.ptr<3>, !llvm.ptr<1>
  return
}

llvm.func @conv_0(!llvm.ptr<1>, !llvm.ptr<1>)
llvm.func @conv_1(!llvm.ptr, i64)

// CHECK-LABEL: @host
func.func @host(%z: !llvm.ptr, %n: i64) {
  // CHECK: equivariant.fill %{{.*}}, %{{.*}} : !llvm.ptr
  equivariant.fill %z, %n : !llvm.ptr
  // CHECK: %[[P:.*]] = equivariant.scratch %{{.*}} for "result 0 by edges" : !llvm.ptr
  %p = equivariant.scratch %n for "result 0 by edges" : !llvm.ptr
  // CHECK: equivariant.launch @conv_0 grid(%{{.*}}) block [32, 4, 1] shared 6784(%{{.*}}, %[[P]]) : !llvm.ptr, !llvm.ptr
  equivariant.launch @conv_0 grid(%n) block [32, 4, 1] shared 6784 (%z, %p) : !llvm.ptr, !llvm.ptr
  // CHECK: equivariant.launch @conv_0 grid(%{{.*}}) block [32, 4, 1] shared 6784 rows(%{{.*}})(%{{.*}}, %[[P]]) : !llvm.ptr, !llvm.ptr
  equivariant.launch @conv_0 grid(%n) block [32, 4, 1] shared 6784 rows(%n) (%z, %p) : !llvm.ptr, !llvm.ptr
  // CHECK: equivariant.launch @conv_1 grid(%{{.*}})(%{{.*}}) : !llvm.ptr
  equivariant.launch @conv_1 grid(%n) (%z) : !llvm.ptr
  // CHECK: equivariant.launch @conv_1 grid(%{{.*}})()
  equivariant.launch @conv_1 grid(%n) ()
  return
}
