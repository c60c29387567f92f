// RUN: espmm-opt %s --convert-equivariant-to-cpu --canonicalize --cse | FileCheck %s

// With an even number of elements a channel, those of one component share lanes: they are collected register by register.
// CHECK-LABEL: llvm.func @gather(
// CHECK-SAME: %[[P:.*]]: !llvm.ptr, %[[Q:.*]]: !llvm.ptr)
// CHECK: %[[R0:.*]] = llvm.load %[[P]] {alignment = 4 : i64} : !llvm.ptr -> vector<4xf32>
// CHECK: %[[P1:.*]] = llvm.getelementptr %[[P]][4]
// CHECK: %[[R1:.*]] = llvm.load %[[P1]]
// CHECK: %[[A:.*]] = llvm.shufflevector %[[R0]], %[[R0]] [4, 6, 2, 3]
// CHECK: %[[B:.*]] = llvm.shufflevector %[[A]], %[[R1]] [0, 1, 4, 6]
// CHECK: llvm.store %[[B]], %[[Q]]
// CHECK: %[[C:.*]] = llvm.shufflevector %[[R0]], %[[R0]] [5, 7, 2, 3]
// CHECK: %[[D:.*]] = llvm.shufflevector %[[C]], %[[R1]] [0, 1, 5, 7]
// CHECK: %[[Q1:.*]] = llvm.getelementptr %[[Q]][4]
// CHECK: llvm.store %[[D]], %[[Q1]]
// CHECK-NOT: equivariant
llvm.func @gather(%p: !llvm.ptr, %q: !llvm.ptr) {
  equivariant.relayout gather %p to %q of block [4, 2] vector 4 : f32, !llvm.ptr, !llvm.ptr
  llvm.return
}

// CHECK-LABEL: llvm.func @scatter(
// CHECK-SAME: %[[P:.*]]: !llvm.ptr, %[[Q:.*]]: !llvm.ptr)
// CHECK: %[[C0:.*]] = llvm.load %[[P]]
// CHECK: %[[P1:.*]] = llvm.getelementptr %[[P]][4]
// CHECK: %[[C1:.*]] = llvm.load %[[P1]]
// CHECK: %[[A:.*]] = llvm.shufflevector %[[C0]], %[[C0]] [4, 1, 5, 3]
// CHECK: %[[B:.*]] = llvm.shufflevector %[[A]], %[[C1]] [0, 4, 2, 5]
// CHECK: llvm.store %[[B]], %[[Q]]
// CHECK: %[[C:.*]] = llvm.shufflevector %[[C0]], %[[C0]] [6, 1, 7, 3]
// CHECK: %[[D:.*]] = llvm.shufflevector %[[C]], %[[C1]] [0, 6, 2, 7]
// CHECK: llvm.store %[[D]], %{{.*}}
// CHECK-NOT: equivariant
llvm.func @scatter(%p: !llvm.ptr, %q: !llvm.ptr) {
  equivariant.relayout scatter %p to %q of block [4, 2] vector 4 : f32, !llvm.ptr, !llvm.ptr
  llvm.return
}
