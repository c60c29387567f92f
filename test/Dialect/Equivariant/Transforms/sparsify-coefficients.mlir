// RUN: espmm-opt %s --equivariant-sparsify | FileCheck %s

// 6 of the 27 coefficients of (1, 1, 1) are not zero, of one size: M[i, k] is one term off the diagonal, and zero on it.
// CHECK-LABEL: llvm.func @matrix(
// CHECK-NOT: llvm.intr.fma
// CHECK: %[[ZERO:.*]] = llvm.mlir.constant(0.000000e+00 : f32) : f32
// CHECK-COUNT-3: llvm.store %[[ZERO]], %{{.*}}
// CHECK-COUNT-6: llvm.fmul
// CHECK-NOT: llvm.fmul
// CHECK: llvm.return
llvm.func @matrix(%y: !llvm.ptr, %z: !llvm.ptr) {
  %c = equivariant.coefficients(1, 1, 1) * 0.5 : tensor<3x3x3xf32>
  %0 = equivariant.read %y offset 0 strides [1] : !llvm.ptr -> tensor<3xf32>
  %1 = equivariant.einsum "ijk,j->ik"(%c, %0) : (tensor<3x3x3xf32>, tensor<3xf32>) -> tensor<3x3xf32>
  equivariant.write %1 to %z offset 0 strides [3, 1] : tensor<3x3xf32>, !llvm.ptr
  llvm.return
}

// Coefficients that are 1 or -1 cost no multiplication: (0, 1, 1) is the identity over sqrt(3).
// CHECK-LABEL: llvm.func @identity(
// CHECK-NOT: llvm.fmul
// CHECK: %[[Y0:.*]] = llvm.load %{{.*}} : !llvm.ptr -> f32
// CHECK: llvm.store %[[Y0]], %{{.*}} : f32
// CHECK: %[[Y1:.*]] = llvm.load %{{.*}} : !llvm.ptr -> f32
// CHECK: llvm.store %[[Y1]], %{{.*}} : f32
// CHECK-NOT: llvm.fmul
// CHECK: llvm.return
llvm.func @identity(%y: !llvm.ptr, %z: !llvm.ptr) {
  %c = equivariant.coefficients(0, 1, 1) * 1.7320508075688772 : tensor<1x3x3xf32>
  %0 = equivariant.read %y offset 0 strides [1] : !llvm.ptr -> tensor<3xf32>
  %1 = equivariant.einsum "ijk,j->ik"(%c, %0) : (tensor<1x3x3xf32>, tensor<3xf32>) -> tensor<1x3xf32>
  equivariant.write %1 to %z offset 0 strides [3, 1] : tensor<1x3xf32>, !llvm.ptr
  llvm.return
}

// What meets a zero is not read.
// CHECK-LABEL: llvm.func @unread(
// CHECK-NOT: llvm.load
// CHECK: %[[ZERO:.*]] = llvm.mlir.constant(0.000000e+00 : f32) : f32
// CHECK: llvm.store %[[ZERO]], %{{.*}}
// CHECK-NOT: llvm.load
// CHECK: llvm.return
llvm.func @unread(%x: !llvm.ptr, %z: !llvm.ptr) {
  %0 = equivariant.read %x offset 0 strides [1] : !llvm.ptr -> tensor<3xf32>
  %1 = equivariant.zero : tensor<3xf32>
  %2 = equivariant.einsum "i,i->"(%0, %1) : (tensor<3xf32>, tensor<3xf32>) -> tensor<f32>
  equivariant.write %2 to %z offset 0 strides [] : tensor<f32>, !llvm.ptr
  llvm.return
}
