// RUN: espmm-opt %s --convert-equivariant-to-cpu --canonicalize --cse | FileCheck %s

// A square: halves of the vectors change places, then single elements.
// CHECK-LABEL: llvm.func @square(
// CHECK-SAME: %[[P:.*]]: !llvm.ptr, %[[Q:.*]]: !llvm.ptr)
// CHECK: %[[R0:.*]] = llvm.load %[[P]] {alignment = 4 : i64} : !llvm.ptr -> vector<4xf32>
// CHECK: %[[P1:.*]] = llvm.getelementptr %[[P]][10]
// CHECK: %[[R1:.*]] = llvm.load %[[P1]]
// CHECK: %[[P2:.*]] = llvm.getelementptr %[[P]][20]
// CHECK: %[[R2:.*]] = llvm.load %[[P2]]
// CHECK: %[[P3:.*]] = llvm.getelementptr %[[P]][30]
// CHECK: %[[R3:.*]] = llvm.load %[[P3]]
// CHECK: %[[A0:.*]] = llvm.shufflevector %[[R0]], %[[R2]] [0, 1, 4, 5]
// CHECK: %[[A2:.*]] = llvm.shufflevector %[[R0]], %[[R2]] [2, 3, 6, 7]
// CHECK: %[[A1:.*]] = llvm.shufflevector %[[R1]], %[[R3]] [0, 1, 4, 5]
// CHECK: %[[A3:.*]] = llvm.shufflevector %[[R1]], %[[R3]] [2, 3, 6, 7]
// CHECK: %[[C0:.*]] = llvm.shufflevector %[[A0]], %[[A1]] [0, 4, 2, 6]
// CHECK: %[[C1:.*]] = llvm.shufflevector %[[A0]], %[[A1]] [1, 5, 3, 7]
// CHECK: %[[C2:.*]] = llvm.shufflevector %[[A2]], %[[A3]] [0, 4, 2, 6]
// CHECK: %[[C3:.*]] = llvm.shufflevector %[[A2]], %[[A3]] [1, 5, 3, 7]
// CHECK: llvm.store %[[C0]], %[[Q]] {alignment = 4 : i64}
// CHECK: %[[Q1:.*]] = llvm.getelementptr %[[Q]][8]
// CHECK: llvm.store %[[C1]], %[[Q1]]
// CHECK: %[[Q2:.*]] = llvm.getelementptr %[[Q]][16]
// CHECK: llvm.store %[[C2]], %[[Q2]]
// CHECK: %[[Q3:.*]] = llvm.getelementptr %[[Q]][24]
// CHECK: llvm.store %[[C3]], %[[Q3]]
// CHECK-NOT: llvm.store
// CHECK: llvm.return
llvm.func @square(%p: !llvm.ptr, %q: !llvm.ptr) {
  equivariant.transpose %p stride 10 to %q stride 8 of block [4, 4] vector 4 : f32 to f32, !llvm.ptr, !llvm.ptr
  llvm.return
}

// Ten columns: a loop over two squares, and what is left of them is read with a mask, and has two columns to write.
// CHECK-LABEL: llvm.func @columns(
// CHECK-SAME: %[[P:.*]]: !llvm.ptr, %[[Q:.*]]: !llvm.ptr)
// CHECK-DAG: %[[TWO:.*]] = llvm.mlir.constant(dense<[true, true, false, false]> : vector<4xi1>)
// CHECK-DAG: %[[C4:.*]] = arith.constant 4 : i64
// CHECK-DAG: %[[C8:.*]] = arith.constant 8 : i64
// CHECK: scf.for %[[COLUMN:.*]] = %{{.*}} to %[[C8]] step %[[C4]]
// CHECK: %[[FROM:.*]] = llvm.getelementptr %[[P]][%[[COLUMN]]]
// CHECK: llvm.load %[[FROM]]
// CHECK: %[[LINE:.*]] = arith.muli %[[COLUMN]], %[[C4]]
// CHECK: %[[TO:.*]] = llvm.getelementptr %[[Q]][%[[LINE]]]
// CHECK: llvm.store %{{.*}}, %[[TO]]
// CHECK: }
// CHECK: %[[TAIL:.*]] = llvm.getelementptr %[[P]][8]
// CHECK: llvm.intr.masked.load %[[TAIL]], %[[TWO]]
// CHECK-COUNT-3: llvm.intr.masked.load
// CHECK-COUNT-2: llvm.store
// CHECK-NOT: llvm.store
// CHECK: llvm.return
llvm.func @columns(%p: !llvm.ptr, %q: !llvm.ptr) {
  equivariant.transpose %p stride 10 to %q stride 4 of block [4, 10] vector 4 : f32 to f32, !llvm.ptr, !llvm.ptr
  llvm.return
}

// One row of three: nothing past its end is read, and of each column there is one element to write.
// CHECK-LABEL: llvm.func @rows(
// CHECK: %[[THREE:.*]] = llvm.mlir.constant(dense<[true, true, true, false]> : vector<4xi1>)
// CHECK: llvm.intr.masked.load %{{.*}}, %[[THREE]], %{{.*}} {alignment = 8 : i32}
// CHECK-NOT: llvm.intr.masked.load
// CHECK-COUNT-3: llvm.store %{{.*}}, %{{.*}} {alignment = 8 : i64} : f64, !llvm.ptr
// CHECK-NOT: store
// CHECK: llvm.return
llvm.func @rows(%p: !llvm.ptr, %q: !llvm.ptr) {
  equivariant.transpose %p stride 3 to %q stride 1 of block [1, 3] vector 4 : f64 to f64, !llvm.ptr, !llvm.ptr
  llvm.return
}

// Scalars of 16 bits, read and written.
// CHECK-LABEL: llvm.func @narrow(
// CHECK: llvm.load %{{.*}} {alignment = 2 : i64} : !llvm.ptr -> vector<4xi16>
// CHECK: llvm.zext
// CHECK: llvm.store %{{.*}} {alignment = 4 : i64} : vector<4xf32>
// CHECK: llvm.load %{{.*}} {alignment = 4 : i64} : !llvm.ptr -> vector<4xf32>
// CHECK: llvm.fptrunc %{{.*}} : vector<4xf32> to vector<4xf16>
// CHECK: llvm.store %{{.*}} {alignment = 2 : i64} : vector<4xi16>
// CHECK: llvm.return
llvm.func @narrow(%p: !llvm.ptr, %q: !llvm.ptr, %r: !llvm.ptr) {
  equivariant.transpose %p stride 4 to %q stride 4 of block [4, 4] vector 4 : bf16 to f32, !llvm.ptr, !llvm.ptr
  equivariant.transpose %q stride 4 to %r stride 4 of block [4, 4] vector 4 : f32 to f16, !llvm.ptr, !llvm.ptr
  llvm.return
}
