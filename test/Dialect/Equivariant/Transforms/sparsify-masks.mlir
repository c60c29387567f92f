// RUN: espmm-opt %s --equivariant-sparsify | FileCheck %s

// Lanes whose bit is clear read zero and write nothing.
// CHECK-LABEL: llvm.func @vectors(
// CHECK-SAME: %[[MASK:[^ ]*]]: vector<8xi1>)
// CHECK: %[[ZERO:.*]] = llvm.mlir.constant(dense<0.000000e+00> : vector<8xf32>)
// CHECK: %[[X:.*]] = llvm.intr.masked.load %{{.*}}, %[[MASK]], %[[ZERO]] {alignment = 4 : i32} : (!llvm.ptr, vector<8xi1>, vector<8xf32>) -> vector<8xf32>
// CHECK: llvm.intr.masked.store %[[X]], %{{.*}}, %[[MASK]] {alignment = 4 : i32} : vector<8xf32>, vector<8xi1> into !llvm.ptr
llvm.func @vectors(%x: !llvm.ptr, %z: !llvm.ptr, %c: i64, %mask: vector<8xi1>) {
  %0 = equivariant.read %x[%c] mask %mask : vector<8xi1> offset 0 strides [] : !llvm.ptr -> tensor<vector<8xf32>>
  equivariant.write %0 to %z[%c] mask %mask : vector<8xi1> offset 0 strides [] : tensor<vector<8xf32>>, !llvm.ptr
  llvm.return
}

// One lane of a warp: it loads, and chooses; it stores under a condition.
// CHECK-LABEL: llvm.func @scalars(
// CHECK-SAME: %[[MASK:[^ ]*]]: i1)
// CHECK: %[[ZERO:.*]] = llvm.mlir.constant(0.000000e+00 : f32)
// CHECK: %[[LOADED:.*]] = llvm.load %{{.*}} : !llvm.ptr -> f32
// CHECK: %[[X:.*]] = llvm.select %[[MASK]], %[[LOADED]], %[[ZERO]] : i1, f32
// CHECK: scf.if %[[MASK]] {
// CHECK-NEXT: llvm.store %[[X]], %{{.*}} {alignment = 4 : i64} : f32
// CHECK-NEXT: }
llvm.func @scalars(%x: !llvm.ptr, %z: !llvm.ptr, %lane: i64, %mask: i1) {
  %0 = equivariant.read %x[%lane * 3] mask %mask : i1 offset 0 strides [] : !llvm.ptr -> tensor<f32>
  equivariant.write %0 to %z[%lane * 3] mask %mask : i1 offset 0 strides [] : tensor<f32>, !llvm.ptr
  llvm.return
}
