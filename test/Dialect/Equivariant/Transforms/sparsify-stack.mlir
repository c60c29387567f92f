// RUN: espmm-opt %s --equivariant-sparsify | FileCheck %s

// A stack is its operands' elements; what is zero in one of them stays zero. Of the product, only the second channel's is computed.
// CHECK-LABEL: llvm.func @stack(
// CHECK-DAG: %[[B:.*]] = llvm.load %{{.*}} : !llvm.ptr -> f32
// CHECK-DAG: %[[ZERO:.*]] = llvm.mlir.constant(0.000000e+00 : f32)
// CHECK: %[[PRODUCT:.*]] = llvm.fmul %[[B]], %[[B]]
// CHECK-NOT: llvm.fmul
// CHECK: llvm.return
llvm.func @stack(%x: !llvm.ptr, %z: !llvm.ptr, %lane: i64) {
  %a = equivariant.zero : tensor<1xf32>
  %b = equivariant.read %x[%lane * 2] offset 1 strides [1] : !llvm.ptr -> tensor<1xf32>
  %s = equivariant.stack %a, %b : tensor<1xf32>, tensor<1xf32> -> tensor<2x1xf32>
  %p = equivariant.einsum "ui,ui->ui"(%s, %s) : (tensor<2x1xf32>, tensor<2x1xf32>) -> tensor<2x1xf32>
  equivariant.write %p to %z[%lane * 2] offset 0 strides [1, 1] : tensor<2x1xf32>, !llvm.ptr
  llvm.return
}
