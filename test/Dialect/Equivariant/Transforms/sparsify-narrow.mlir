// RUN: espmm-opt %s --equivariant-sparsify | FileCheck %s

// Sixteen bits are loaded and stored: bf16 is the upper half of an f32, f16 has conversions.
// CHECK-LABEL: llvm.func @vectors(
// CHECK-SAME: %[[MASK:[^ ]*]]: vector<8xi1>)
// CHECK: llvm.getelementptr %{{.*}}[8] : (!llvm.ptr) -> !llvm.ptr, bf16
// CHECK: %[[BITS:.*]] = llvm.load %{{.*}} {alignment = 2 : i64} : !llvm.ptr -> vector<8xi16>
// CHECK: %[[LOW:.*]] = llvm.zext %[[BITS]] : vector<8xi16> to vector<8xi32>
// CHECK: %[[SHIFT:.*]] = llvm.mlir.constant(dense<16> : vector<8xi32>)
// CHECK: %[[HIGH:.*]] = llvm.shl %[[LOW]], %[[SHIFT]]
// CHECK: %[[X:.*]] = llvm.bitcast %[[HIGH]] : vector<8xi32> to vector<8xf32>
// CHECK: %[[ROUNDED:.*]] = llvm.fptrunc %[[X]] : vector<8xf32> to vector<8xf16>
// CHECK: %[[OUT:.*]] = llvm.bitcast %[[ROUNDED]] : vector<8xf16> to vector<8xi16>
// CHECK: llvm.store %[[OUT]], %{{.*}} {alignment = 16 : i64, nontemporal} : vector<8xi16>
// CHECK: %[[ZERO:.*]] = llvm.mlir.zero : vector<8xi16>
// CHECK: llvm.intr.masked.load %{{.*}}, %[[MASK]], %[[ZERO]] {alignment = 2 : i32} : (!llvm.ptr, vector<8xi1>, vector<8xi16>) -> vector<8xi16>
// CHECK: llvm.fpext %{{.*}} : vector<8xf16> to vector<8xf32>
// CHECK: llvm.fptrunc %{{.*}} : vector<8xf32> to vector<8xbf16>
// CHECK: llvm.intr.masked.store %{{.*}}, %{{.*}}, %[[MASK]] {alignment = 2 : i32} : vector<8xi16>
llvm.func @vectors(%x: !llvm.ptr, %z: !llvm.ptr, %c: i64, %mask: vector<8xi1>) {
  %0 = equivariant.read %x[%c] offset 8 strides [] as bf16 : !llvm.ptr -> tensor<vector<8xf32>>
  equivariant.write %0 to %z[%c] offset 8 strides [] nontemporal as f16 : tensor<vector<8xf32>>, !llvm.ptr
  %1 = equivariant.read %x[%c] mask %mask : vector<8xi1> offset 0 strides [] as f16 : !llvm.ptr -> tensor<vector<8xf32>>
  equivariant.write %1 to %z[%c] mask %mask : vector<8xi1> offset 0 strides [] as bf16 : tensor<vector<8xf32>>, !llvm.ptr
  llvm.return
}

// The same place, in elements of two types: two addresses. Sums are of f32.
// CHECK-LABEL: llvm.func @scalars(
// CHECK: llvm.getelementptr %{{.*}}[%{{.*}}] : (!llvm.ptr<3>, i64) -> !llvm.ptr<3>, bf16
// CHECK: llvm.load %{{.*}} {alignment = 2 : i64} : !llvm.ptr<3> -> i16
// CHECK: llvm.getelementptr %{{.*}}[%{{.*}}] : (!llvm.ptr<3>, i64) -> !llvm.ptr<3>, f32
// CHECK: llvm.load %{{.*}} {alignment = 4 : i64} : !llvm.ptr<3> -> f32
// CHECK: %[[SUM:.*]] = llvm.fadd %{{.*}}, %{{.*}} : f32
// CHECK: llvm.fptrunc %[[SUM]] : f32 to bf16
// CHECK: llvm.store %{{.*}} {alignment = 2 : i64} : i16
llvm.func @scalars(%slot: !llvm.ptr<3>, %z: !llvm.ptr, %lane: i64) {
  %0 = equivariant.read %slot[%lane] offset 0 strides [] as bf16 : !llvm.ptr<3> -> tensor<f32>
  %1 = equivariant.read %slot[%lane] offset 64 strides [] : !llvm.ptr<3> -> tensor<f32>
  %2 = equivariant.add %0, %1 : tensor<f32>
  equivariant.write %2 to %z[%lane] offset 0 strides [] as bf16 : tensor<f32>, !llvm.ptr
  llvm.return
}
