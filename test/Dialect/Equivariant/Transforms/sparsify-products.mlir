// RUN: espmm-opt %s --equivariant-sparsify | FileCheck %s

// The products x y and x v are only added, times a coefficient that is one: a multiply-add takes the two factors.
// CHECK-LABEL: llvm.func @added(
// CHECK: llvm.fmul
// CHECK-NOT: llvm.fmul
// CHECK: llvm.intr.fma
// CHECK-NOT: llvm.fadd
// CHECK: llvm.return
llvm.func @added(%x: !llvm.ptr, %y: !llvm.ptr, %v: !llvm.ptr, %z: !llvm.ptr) {
  %c = equivariant.coefficients(0, 0, 0) * 1.0 unit : tensor<1x1x1xf32>
  %0 = equivariant.read %x offset 0 strides [1] : !llvm.ptr -> tensor<1xf32>
  %1 = equivariant.read %y offset 0 strides [1] : !llvm.ptr -> tensor<1xf32>
  %2 = equivariant.read %v offset 0 strides [1] : !llvm.ptr -> tensor<1xf32>
  %3 = equivariant.einsum "i,j->ij"(%0, %1) : (tensor<1xf32>, tensor<1xf32>) -> tensor<1x1xf32>
  %4 = equivariant.einsum "i,j->ij"(%0, %2) : (tensor<1xf32>, tensor<1xf32>) -> tensor<1x1xf32>
  %5 = equivariant.einsum "ijk,ij->k"(%c, %3) : (tensor<1x1x1xf32>, tensor<1x1xf32>) -> tensor<1xf32>
  %6 = equivariant.einsum "ijk,ij->k"(%c, %4) : (tensor<1x1x1xf32>, tensor<1x1xf32>) -> tensor<1xf32>
  %7 = equivariant.add %5, %6 : tensor<1xf32>
  equivariant.write %7 to %z offset 0 strides [1] : tensor<1xf32>, !llvm.ptr
  llvm.return
}

// A sum of products that is added once is not formed either: z_0 = x_0 y_0 + x_1 y_1 + x_2 y_2 is one product and two multiply-adds.
// CHECK-LABEL: llvm.func @sum_added_once(
// CHECK: %[[FIRST:.*]] = llvm.fmul
// CHECK: %[[SECOND:.*]] = llvm.intr.fma(%{{.*}}, %{{.*}}, %[[FIRST]])
// CHECK: %[[THIRD:.*]] = llvm.intr.fma(%{{.*}}, %{{.*}}, %[[SECOND]])
// CHECK: llvm.store %[[THIRD]]
// CHECK-NEXT: llvm.return
llvm.func @sum_added_once(%x: !llvm.ptr, %y: !llvm.ptr, %z: !llvm.ptr) {
  %c = equivariant.coefficients(1, 1, 0) * 1.0 unit : tensor<3x3x1xf32>
  %0 = equivariant.read %x offset 0 strides [1] : !llvm.ptr -> tensor<3xf32>
  %1 = equivariant.read %y offset 0 strides [1] : !llvm.ptr -> tensor<3xf32>
  %2 = equivariant.einsum "i,j->ij"(%0, %1) : (tensor<3xf32>, tensor<3xf32>) -> tensor<3x3xf32>
  %3 = equivariant.einsum "ijk,ij->k"(%c, %2) : (tensor<3x3x1xf32>, tensor<3x3xf32>) -> tensor<1xf32>
  equivariant.write %3 to %z offset 0 strides [1] : tensor<1xf32>, !llvm.ptr
  llvm.return
}

// Scales are constants.
// CHECK-LABEL: llvm.func @scales(
// CHECK: llvm.mlir.constant(2.000000e+00 : f32)
// CHECK: llvm.fmul
// CHECK: llvm.return
llvm.func @scales(%x: !llvm.ptr, %z: !llvm.ptr) {
  %s = equivariant.coefficients(0, 0, 0) * 2.0 scales : tensor<1xf32>
  %0 = equivariant.read %x offset 0 strides [1] : !llvm.ptr -> tensor<1xf32>
  %1 = equivariant.einsum "k,k->k"(%0, %s) : (tensor<1xf32>, tensor<1xf32>) -> tensor<1xf32>
  equivariant.write %1 to %z offset 0 strides [1] : tensor<1xf32>, !llvm.ptr
  llvm.return
}
