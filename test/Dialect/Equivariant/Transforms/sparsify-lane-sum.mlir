// RUN: espmm-opt %s --equivariant-sparsify | FileCheck %s

// Sums over lanes are left, of the elements, as many as there are lanes; structurally zero elements keep their place.
// CHECK-LABEL: llvm.func @vectors(
// CHECK-COUNT-3: llvm.load %{{.*}} -> vector<2xf32>
// CHECK: equivariant.lane_sum %[[V0:[^,]*]], %[[V1:.*]] : vector<2xf32>, vector<2xf32> -> vector<2xf32>
// CHECK: equivariant.lane_sum %[[V2:.*]] : vector<2xf32> -> vector<2xf32>
// CHECK-NOT: tensor
// CHECK: llvm.return
llvm.func @vectors(%x: !llvm.ptr, %z: !llvm.ptr) {
  %0 = equivariant.read %x offset 0 strides [2] : !llvm.ptr -> tensor<3xvector<2xf32>>
  %1 = equivariant.lane_sum %0 : tensor<3xvector<2xf32>> -> vector<2xf32>
  %2 = equivariant.lane_sum from 2 %0 : tensor<3xvector<2xf32>> -> vector<2xf32>
  %3 = llvm.fadd %1, %2 : vector<2xf32>
  llvm.store %3, %z : vector<2xf32>, !llvm.ptr
  llvm.return
}

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

// With a stride, of several tensors' elements one component: a lane for each tensor.
// CHECK-LABEL: @one_component(
// CHECK: %[[A:.*]] = llvm.getelementptr %{{.*}}[2] : (!llvm.ptr) -> !llvm.ptr, f32
// CHECK: %[[LOADA:.*]] = llvm.load %[[A]]
// CHECK: %[[B:.*]] = llvm.getelementptr %{{.*}}[8] : (!llvm.ptr) -> !llvm.ptr, f32
// CHECK: %[[LOADB:.*]] = llvm.load %[[B]]
// CHECK: equivariant.lane_sum %[[LOADA]], %[[LOADB]] : vector<2xf32>, vector<2xf32> -> vector<2xf32>
llvm.func @one_component(%p: !llvm.ptr, %q: !llvm.ptr) {
  %a = equivariant.read %p offset 0 strides [2] : !llvm.ptr -> tensor<3xvector<2xf32>>
  %b = equivariant.read %p offset 6 strides [2] : !llvm.ptr -> tensor<3xvector<2xf32>>
  %s = equivariant.lane_sum from 1 stride 3 %a, %b : tensor<3xvector<2xf32>>, tensor<3xvector<2xf32>> -> vector<2xf32>
  llvm.store %s, %q {alignment = 4 : i64} : vector<2xf32>, !llvm.ptr
  llvm.return
}
