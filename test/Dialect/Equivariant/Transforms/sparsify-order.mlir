// RUN: espmm-opt %s --equivariant-sparsify | FileCheck %s

// P[i] = x_i y is used by both results as soon as it is there, before the next P[i] is formed: few values are alive.
// CHECK-LABEL: llvm.func @consume_first(
// CHECK: %[[Y:.*]] = llvm.load %{{[^ ]*}} {
// CHECK: %[[P0:.*]] = llvm.fmul {{.*}}
// CHECK: %[[A0:.*]] = llvm.fmul %[[P0]], %{{.*}}
// CHECK: %[[B0:.*]] = llvm.fmul %[[P0]], %{{.*}}
// CHECK: %[[P1:.*]] = llvm.fmul
// CHECK: %[[A1:.*]] = llvm.intr.fma(%[[P1]], %{{.*}}, %[[A0]])
// CHECK: %[[B1:.*]] = llvm.intr.fma(%[[P1]], %{{.*}}, %[[B0]])
// CHECK: %[[P2:.*]] = llvm.fmul
// CHECK: %[[A2:.*]] = llvm.intr.fma(%[[P2]], %{{.*}}, %[[A1]])
// CHECK: llvm.store %[[A2]]
// CHECK: %[[B2:.*]] = llvm.intr.fma(%[[P2]], %{{.*}}, %[[B1]])
// CHECK: llvm.store %[[B2]]
llvm.func @consume_first(%x: !llvm.ptr, %y: !llvm.ptr, %a: !llvm.ptr, %b: !llvm.ptr, %z: !llvm.ptr) {
  %0 = equivariant.read %y offset 0 strides [] : !llvm.ptr -> tensor<f32>
  %1 = equivariant.read %x offset 0 strides [1] : !llvm.ptr -> tensor<3xf32>
  %2 = equivariant.read %a offset 0 strides [1] : !llvm.ptr -> tensor<3xf32>
  %3 = equivariant.read %b offset 0 strides [1] : !llvm.ptr -> tensor<3xf32>
  %p = equivariant.einsum ",i->i"(%0, %1) : (tensor<f32>, tensor<3xf32>) -> tensor<3xf32>
  %4 = equivariant.einsum "i,i->"(%p, %2) : (tensor<3xf32>, tensor<3xf32>) -> tensor<f32>
  %5 = equivariant.einsum "i,i->"(%p, %3) : (tensor<3xf32>, tensor<3xf32>) -> tensor<f32>
  equivariant.write %4 to %z offset 0 strides [] : tensor<f32>, !llvm.ptr
  equivariant.write %5 to %z offset 1 strides [] : tensor<f32>, !llvm.ptr
  llvm.return
}
