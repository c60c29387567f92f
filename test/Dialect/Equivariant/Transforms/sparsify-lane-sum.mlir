// RUN: espmm-opt %s --equivariant-sparsify | FileCheck %s

// Vectors are summed one by one; the order of the lanes' sum is the machine's.
// CHECK-LABEL: llvm.func @vectors(
// CHECK: %[[ZERO:.*]] = llvm.mlir.constant(0.000000e+00 : f32)
// CHECK: %[[S0:.*]] = "llvm.intr.vector.reduce.fadd"(%[[ZERO]], %{{.*}}) <{fastmathFlags = #llvm.fastmath<reassoc>}> : (f32, vector<8xf32>) -> f32
// CHECK: %[[S1:.*]] = "llvm.intr.vector.reduce.fadd"(%[[ZERO]], %{{.*}}) <{fastmathFlags = #llvm.fastmath<reassoc>}> : (f32, vector<8xf32>) -> f32
// CHECK: llvm.store %[[S0]]
// CHECK: llvm.store %[[S1]]
// CHECK-NOT: equivariant
llvm.func @vectors(%x: !llvm.ptr, %z: !llvm.ptr) {
  %0 = equivariant.read %x offset 0 strides [8] : !llvm.ptr -> tensor<2xvector<8xf32>>
  %1 = equivariant.lane_sum %0 : tensor<2xvector<8xf32>> -> tensor<2xf32>
  equivariant.write %1 to %z offset 0 strides [1] : tensor<2xf32>, !llvm.ptr
  llvm.return
}

// A warp's sum is left, of scalars; structurally zero elements keep their place.
// CHECK-LABEL: llvm.func @lanes(
// CHECK-DAG: %[[X0:.*]] = llvm.load %{{[^,]*}} {alignment = 4 : i64} : !llvm.ptr -> f32
// CHECK-DAG: %[[ZERO:.*]] = llvm.mlir.constant(0.000000e+00 : f32)
// CHECK: %{{.*}} = equivariant.lane_sum %{{.*}}, %{{.*}}, %{{.*}} : f32, f32, f32 -> f32
// CHECK-NOT: tensor
// CHECK: llvm.return
llvm.func @lanes(%x: !llvm.ptr, %z: !llvm.ptr) {
  %0 = equivariant.read %x offset 0 strides [1] : !llvm.ptr -> tensor<2xf32>
  %1 = equivariant.zero : tensor<f32>
  %2 = equivariant.lane_sum %0, %1 : tensor<2xf32>, tensor<f32> -> f32
  llvm.store %2, %z : f32, !llvm.ptr
  llvm.return
}
