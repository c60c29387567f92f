// RUN: espmm-opt %s --convert-equivariant-to-cpu --canonicalize --cse | FileCheck %s

// All matrices of the same types are one function's work.
// CHECK-LABEL: llvm.func @tile(
// CHECK-SAME: %[[P:.*]]: !llvm.ptr, %[[Q:.*]]: !llvm.ptr)
// CHECK-DAG: %[[C4:.*]] = arith.constant 4 : i64
// CHECK-DAG: %[[C10:.*]] = arith.constant 10 : i64
// CHECK: llvm.call @espmm_transpose_4xf32_f32(%[[P]], %[[Q]], %[[C10]], %[[C4]], %[[C4]], %[[C10]])
// CHECK: llvm.call @espmm_transpose_4xf32_f32(%[[Q]], %[[P]], %[[C4]], %[[C10]], %[[C10]], %[[C4]])
// CHECK-NOT: equivariant
llvm.func @tile(%p: !llvm.ptr, %q: !llvm.ptr) {
  equivariant.transpose %p stride 10 to %q stride 4 of block [4, 10] vector 4 : f32 to f32, !llvm.ptr, !llvm.ptr
  equivariant.transpose %q stride 4 to %p stride 10 of block [10, 4] vector 4 : f32 to f32, !llvm.ptr, !llvm.ptr
  llvm.return
}

// CHECK-LABEL: llvm.func @narrow(
// CHECK: llvm.call @espmm_transpose_4xbf16_f32(
// CHECK: llvm.call @espmm_transpose_4xf32_f16(
llvm.func @narrow(%p: !llvm.ptr, %q: !llvm.ptr, %r: !llvm.ptr) {
  equivariant.transpose %p stride 4 to %q stride 4 of block [4, 4] vector 4 : bf16 to f32, !llvm.ptr, !llvm.ptr
  equivariant.transpose %q stride 4 to %r stride 4 of block [4, 4] vector 4 : f32 to f16, !llvm.ptr, !llvm.ptr
  llvm.return
}

// CHECK-LABEL: llvm.func internal @espmm_transpose_4xf32_f32(
// CHECK-SAME: %[[FROM:.*]]: !llvm.ptr, %[[TO:.*]]: !llvm.ptr, %[[FROM_STRIDE:.*]]: i64, %[[TO_STRIDE:.*]]: i64, %[[ROWS:.*]]: i64, %[[COLUMNS:.*]]: i64)
// The last square of ten columns begins at the sixth.
// CHECK: scf.for %[[R:.*]] = %{{.*}} to %[[ROWS]] step %[[C4:.*]] :
// CHECK: %[[LAST_ROW:.*]] = arith.subi %[[ROWS]], %[[C4]]
// CHECK: %[[MOST_ROW:.*]] = arith.maxsi %[[LAST_ROW]], %[[C0:.*]] : i64
// CHECK: %[[ROW:.*]] = arith.minsi %[[R]], %[[MOST_ROW]]
// CHECK: scf.for %[[C:.*]] = %{{.*}} to %[[COLUMNS]] step %[[C4]]
// CHECK: %[[COLUMN:.*]] = arith.minsi %[[C]], %{{.*}}
// CHECK: %[[ROWS_LEFT:.*]] = arith.subi %[[ROWS]], %[[ROW]]
// CHECK: %[[COLUMNS_LEFT:.*]] = arith.subi %[[COLUMNS]], %[[COLUMN]]
// CHECK: %[[LEAST:.*]] = arith.minsi %[[ROWS_LEFT]], %[[COLUMNS_LEFT]]
// CHECK: %[[IS_WHOLE:.*]] = arith.cmpi sge, %[[LEAST]], %[[C4]]
// A square: halves of the vectors change places, then single elements.
// CHECK: scf.if %[[IS_WHOLE]]
// CHECK: %[[P1:.*]] = llvm.getelementptr %[[P0:.*]][%[[FROM_STRIDE]]]
// CHECK: %[[P2:.*]] = llvm.getelementptr %[[P1]][%[[FROM_STRIDE]]]
// CHECK: %[[P3:.*]] = llvm.getelementptr %[[P2]][%[[FROM_STRIDE]]]
// CHECK: %[[R0:.*]] = llvm.load %[[P0]] {alignment = 4 : i64} : !llvm.ptr -> vector<4xf32>
// CHECK: %[[R1:.*]] = llvm.load %[[P1]]
// CHECK: %[[R2:.*]] = llvm.load %[[P2]]
// CHECK: %[[R3:.*]] = llvm.load %[[P3]]
// CHECK: %[[LOW01:.*]] = llvm.shufflevector %[[R0]], %[[R1]] [0, 4, 1, 5]
// CHECK: %[[LOW23:.*]] = llvm.shufflevector %[[R2]], %[[R3]] [0, 4, 1, 5]
// CHECK: %[[C0:.*]] = llvm.shufflevector %[[LOW01]], %[[LOW23]] [0, 1, 4, 5]
// CHECK: %[[C1:.*]] = llvm.shufflevector %[[LOW01]], %[[LOW23]] [2, 3, 6, 7]
// CHECK: %[[HIGH01:.*]] = llvm.shufflevector %[[R0]], %[[R1]] [2, 6, 3, 7]
// CHECK: %[[HIGH23:.*]] = llvm.shufflevector %[[R2]], %[[R3]] [2, 6, 3, 7]
// CHECK: %[[C2:.*]] = llvm.shufflevector %[[HIGH01]], %[[HIGH23]] [0, 1, 4, 5]
// CHECK: %[[C3:.*]] = llvm.shufflevector %[[HIGH01]], %[[HIGH23]] [2, 3, 6, 7]
// CHECK: llvm.store %[[C0]], %[[Q0:.*]] {alignment = 4 : i64}
// CHECK: %[[Q1:.*]] = llvm.getelementptr %[[Q0]][%[[TO_STRIDE]]]
// CHECK: llvm.store %[[C1]], %[[Q1]]
// CHECK: %[[Q2:.*]] = llvm.getelementptr %[[Q1]][%[[TO_STRIDE]]]
// CHECK: llvm.store %[[C2]], %[[Q2]]
// CHECK: %[[Q3:.*]] = llvm.getelementptr %[[Q2]][%[[TO_STRIDE]]]
// CHECK: llvm.store %[[C3]], %[[Q3]]
// Where there are fewer rows or columns than that, of the others nothing is read or written.
// CHECK: } else {
// CHECK: %[[IS_THERE:.*]] = arith.cmpi sgt, %[[ROWS_LEFT]], %{{.*}}
// CHECK: %[[COUNT:.*]] = arith.select %[[IS_THERE]], %[[COLUMNS_LEFT]], %{{.*}}
// CHECK: %[[MASK:.*]] = arith.cmpi sgt, %{{.*}}, %{{.*}} : vector<4xi32>
// CHECK: llvm.intr.masked.load %{{.*}}, %[[MASK]], %{{.*}} {alignment = 4 : i32}
// CHECK-COUNT-3: llvm.intr.masked.load
// CHECK: arith.cmpi sgt, %[[COLUMNS_LEFT]], %{{.*}}
// CHECK: arith.select %{{.*}}, %[[ROWS_LEFT]], %{{.*}}
// CHECK-COUNT-4: llvm.intr.masked.store
// CHECK: llvm.return

// CHECK-LABEL: llvm.func internal @espmm_transpose_4xbf16_f32(
// CHECK: llvm.load %{{.*}} {alignment = 2 : i64} : !llvm.ptr -> vector<4xi16>
// CHECK: llvm.zext
// CHECK: llvm.store %{{.*}} {alignment = 4 : i64} : vector<4xf32>
// CHECK: llvm.intr.masked.load %{{.*}} {alignment = 2 : i32} : (!llvm.ptr, vector<4xi1>, vector<4xi16>)

// CHECK-LABEL: llvm.func internal @espmm_transpose_4xf32_f16(
// CHECK: llvm.load %{{.*}} {alignment = 4 : i64} : !llvm.ptr -> vector<4xf32>
// CHECK: llvm.fptrunc %{{.*}} : vector<4xf32> to vector<4xf16>
// CHECK: llvm.store %{{.*}} {alignment = 2 : i64} : vector<4xi16>
// CHECK: llvm.intr.masked.store %{{.*}} {alignment = 2 : i32} : vector<4xi16>

// Vectors of two groups of 128 bits are read half by half, so that the second comes from memory to its place.
// CHECK-LABEL: llvm.func internal @espmm_transpose_8xf32_f32(
// CHECK: scf.if
// CHECK: %[[LOW:.*]] = llvm.load %[[P0:.*]] {alignment = 4 : i64} : !llvm.ptr -> vector<4xf32>
// CHECK: %[[HIGH:.*]] = llvm.load %[[P4:.*]] {alignment = 4 : i64} : !llvm.ptr -> vector<4xf32>
// CHECK: llvm.shufflevector %[[LOW]], %[[HIGH]] [0, 1, 2, 3, 4, 5, 6, 7]
// CHECK: %[[LATER:.*]] = llvm.getelementptr %[[P0]][4]
// CHECK: llvm.load %[[LATER]]
// CHECK: llvm.shufflevector %{{.*}} [0, 8, 1, 9, 4, 12, 5, 13]
// CHECK: llvm.shufflevector %{{.*}} [0, 1, 8, 9, 4, 5, 12, 13]
// CHECK: llvm.shufflevector %{{.*}} [2, 3, 10, 11, 6, 7, 14, 15]
// CHECK: llvm.shufflevector %{{.*}} [2, 10, 3, 11, 6, 14, 7, 15]
llvm.func @eights(%p: !llvm.ptr, %q: !llvm.ptr) {
  equivariant.transpose %p stride 8 to %q stride 8 of block [8, 8] vector 8 : f32 to f32, !llvm.ptr, !llvm.ptr
  llvm.return
}

// Of more groups, halves change places, and halves of these, in registers.
// CHECK-LABEL: llvm.func internal @espmm_transpose_16xf32_f32(
// CHECK: scf.if
// CHECK-COUNT-16: llvm.load
// CHECK: llvm.shufflevector %{{.*}} [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]
// CHECK: llvm.shufflevector %{{.*}} [0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27]
// CHECK: llvm.shufflevector %{{.*}} [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29]
llvm.func @sixteens(%p: !llvm.ptr, %q: !llvm.ptr) {
  equivariant.transpose %p stride 16 to %q stride 16 of block [16, 16] vector 16 : f32 to f32, !llvm.ptr, !llvm.ptr
  llvm.return
}
