// RUN: espmm-opt %s --convert-equivariant-to-cpu --canonicalize --cse | FileCheck %s

// The inverse: each component is permuted to the lanes that its channels go to, and each register is blended from the components.
// CHECK-LABEL: llvm.func @scatter(
// CHECK-SAME: %[[P:.*]]: !llvm.ptr, %[[Q:.*]]: !llvm.ptr)
// CHECK: %[[C0:.*]] = llvm.load %[[P]] {alignment = 4 : i64} : !llvm.ptr -> vector<8xf32>
// CHECK: %[[D0:.*]] = llvm.shufflevector %[[C0]], %{{.*}} [0, 3, 6, 1, 4, 7, 2, 5]
// CHECK: %[[C1:.*]] = llvm.load
// CHECK: %[[D1:.*]] = llvm.shufflevector %[[C1]], %{{.*}} [5, 0, 3, 6, 1, 4, 7, 2]
// CHECK: %[[C2:.*]] = llvm.load
// CHECK: %[[D2:.*]] = llvm.shufflevector %[[C2]], %{{.*}} [2, 5, 0, 3, 6, 1, 4, 7]
// CHECK: %[[A0:.*]] = llvm.shufflevector %[[D0]], %[[D1]] [0, 9, 2, 3, 12, 5, 6, 15]
// CHECK: %[[R0:.*]] = llvm.shufflevector %[[A0]], %[[D2]] [0, 1, 10, 3, 4, 13, 6, 7]
// CHECK: llvm.store %[[R0]], %[[Q]] {alignment = 4 : i64}
// CHECK: llvm.getelementptr %[[Q]][8]
// CHECK: llvm.getelementptr %[[Q]][16]
// CHECK-NOT: equivariant
llvm.func @scatter(%p: !llvm.ptr, %q: !llvm.ptr) {
  equivariant.relayout scatter %p to %q of #equivariant.irreps<"8x1o", mul_ir> vector 8 : f32, !llvm.ptr, !llvm.ptr
  llvm.return
}
