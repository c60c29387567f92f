// RUN: espmm-opt %s --convert-equivariant-to-cpu --canonicalize --cse | FileCheck %s

// Channel u of component i is at 3 u + i: for i = 0 in lanes 0 3 6 1 4 7 2 5 of registers 0 0 0 1 1 1 2 2. These are distinct
// lanes: two blends gather them, and one permutation orders them.
// CHECK-LABEL: llvm.func @gather(
// CHECK-SAME: %[[P:.*]]: !llvm.ptr, %[[Q:.*]]: !llvm.ptr)
// CHECK: %[[POISON:.*]] = llvm.mlir.poison
// CHECK: %[[R0:.*]] = llvm.load %[[P]] {alignment = 4 : i64} : !llvm.ptr -> vector<8xf32>
// CHECK: %[[P1:.*]] = llvm.getelementptr %[[P]][8]
// CHECK: %[[R1:.*]] = llvm.load %[[P1]]
// CHECK: %[[P2:.*]] = llvm.getelementptr %[[P]][16]
// CHECK: %[[R2:.*]] = llvm.load %[[P2]]
// CHECK: %[[A0:.*]] = llvm.shufflevector %[[R0]], %[[R1]] [0, 9, 2, 3, 12, 5, 6, 15]
// CHECK: %[[B0:.*]] = llvm.shufflevector %[[A0]], %[[R2]] [0, 1, 10, 3, 4, 13, 6, 7]
// CHECK: %[[C0:.*]] = llvm.shufflevector %[[B0]], %[[POISON]] [0, 3, 6, 1, 4, 7, 2, 5]
// CHECK: llvm.store %[[C0]], %[[Q]] {alignment = 4 : i64}
// CHECK: %[[C1:.*]] = llvm.shufflevector %{{.*}}, %[[POISON]] [1, 4, 7, 2, 5, 0, 3, 6]
// CHECK: %[[Q1:.*]] = llvm.getelementptr %[[Q]][8]
// CHECK: llvm.store %[[C1]], %[[Q1]]
// CHECK: %[[C2:.*]] = llvm.shufflevector %{{.*}}, %[[POISON]] [2, 5, 0, 3, 6, 1, 4, 7]
// CHECK: %[[Q2:.*]] = llvm.getelementptr %[[Q]][16]
// CHECK: llvm.store %[[C2]], %[[Q2]]
// CHECK-NOT: equivariant
llvm.func @gather(%p: !llvm.ptr, %q: !llvm.ptr) {
  equivariant.relayout gather %p to %q of #equivariant.irreps<"8x1o", mul_ir> vector 8 : f32, !llvm.ptr, !llvm.ptr
  llvm.return
}
