// RUN: espmm-opt %s --equivariant-sparsify | FileCheck %s

// base + offset + lane * lane_stride + a * strides[0] + b * strides[1], the lane's part once.
// CHECK-LABEL: llvm.func @strides(
// CHECK-SAME: %[[X:.*]]: !llvm.ptr, %[[Z:.*]]: !llvm.ptr, %[[LANE:.*]]: i64)
// CHECK: %[[STRIDE:.*]] = llvm.mlir.constant(5 : i64) : i64
// CHECK: %[[AT:.*]] = llvm.mul %[[LANE]], %[[STRIDE]] : i64
// CHECK: %[[BASE:.*]] = llvm.getelementptr %[[X]][%[[AT]]] : (!llvm.ptr, i64) -> !llvm.ptr, f64
// CHECK: llvm.getelementptr %[[BASE]][7] : (!llvm.ptr) -> !llvm.ptr, f64
// CHECK: llvm.getelementptr %[[BASE]][107]
// CHECK: llvm.getelementptr %[[BASE]][17]
// CHECK: llvm.getelementptr %[[BASE]][117]
// CHECK-NOT: llvm.mul
llvm.func @strides(%x: !llvm.ptr, %z: !llvm.ptr, %lane: i64) {
  %0 = equivariant.read %x[%lane * 5] offset 7 strides [10, 100] : !llvm.ptr -> tensor<2x2xf64>
  equivariant.write %0 to %z offset 0 strides [2, 1] : tensor<2x2xf64>, !llvm.ptr
  llvm.return
}

// Whole vectors that nobody reads soon bypass the caches; their place is a multiple of their size.
// CHECK-LABEL: llvm.func @nontemporal(
// CHECK: llvm.store %{{.*}}, %{{.*}} {alignment = 32 : i64, nontemporal} : vector<8xf32>
llvm.func @nontemporal(%x: !llvm.ptr, %z: !llvm.ptr, %c: i64) {
  %0 = equivariant.read %x[%c] offset 0 strides [] : !llvm.ptr -> tensor<vector<8xf32>>
  equivariant.write %0 to %z[%c] offset 0 strides [] nontemporal : tensor<vector<8xf32>>, !llvm.ptr
  llvm.return
}
