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

// A constant mask of the first lanes: they are stored as shorter vectors.
// CHECK-LABEL: llvm.func @first(
// CHECK-SAME: %{{[^ ]*}}: !llvm.ptr, %[[TO:[^ ]*]]: !llvm.ptr)
// CHECK: %[[X:.*]] = llvm.intr.masked.load
// CHECK: %[[FOUR:.*]] = llvm.shufflevector %[[X]], %[[X]] [0, 1, 2, 3] : vector<8xf32>
// CHECK: llvm.store %[[FOUR]], %{{.*}} {alignment = 4 : i64} : vector<4xf32>
// CHECK: %[[TWO:.*]] = llvm.shufflevector %[[X]], %[[X]] [4, 5] : vector<8xf32>
// CHECK: %[[REST:.*]] = llvm.getelementptr %{{.*}}[4] : (!llvm.ptr) -> !llvm.ptr, f32
// CHECK: llvm.store %[[TWO]], %[[REST]] {alignment = 4 : i64} : vector<2xf32>
// CHECK-NOT: store
llvm.func @first(%x: !llvm.ptr, %z: !llvm.ptr) {
  %c = arith.constant 0 : i64
  %mask = arith.constant dense<[true, true, true, true, true, true, false, false]> : vector<8xi1>
  %0 = equivariant.read %x[%c] mask %mask : vector<8xi1> offset 0 strides [] : !llvm.ptr -> tensor<vector<8xf32>>
  equivariant.write %0 to %z[%c] mask %mask : vector<8xi1> offset 0 strides [] : tensor<vector<8xf32>>, !llvm.ptr
  llvm.return
}

// Where a masked store takes no longer than another, only if there is one store then.
// CHECK-LABEL: llvm.func @first_of_16(
// CHECK: llvm.intr.masked.store
// CHECK: %[[FOUR:.*]] = llvm.shufflevector %{{.*}} [0, 1, 2, 3] : vector<16xf32>
// CHECK: llvm.store %[[FOUR]], %{{.*}} : vector<4xf32>
llvm.func @first_of_16(%x: !llvm.ptr, %z: !llvm.ptr) {
  %c = arith.constant 0 : i64
  %five = arith.constant dense<[true, true, true, true, true, false, false, false, false, false, false, false, false, false, false, false]> : vector<16xi1>
  %four = arith.constant dense<[true, true, true, true, false, false, false, false, false, false, false, false, false, false, false, false]> : vector<16xi1>
  %0 = equivariant.read %x[%c] offset 0 strides [] : !llvm.ptr -> tensor<vector<16xf32>>
  equivariant.write %0 to %z[%c] mask %five : vector<16xi1> offset 0 strides [] : tensor<vector<16xf32>>, !llvm.ptr
  equivariant.write %0 to %z[%c] mask %four : vector<16xi1> offset 32 strides [] : tensor<vector<16xf32>>, !llvm.ptr
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
