// RUN: espmm-opt %s --convert-equivariant-to-cpu --canonicalize --cse | FileCheck %s

// Component order pads channels to whole vectors: 2x0e takes 4 elements, 5x1o begins at 4 with 8 for each component. Channels that
// fill no vector go one by one, after zeros.
// CHECK-LABEL: llvm.func @gather(
// CHECK-SAME: %[[P:.*]]: !llvm.ptr, %[[Q:.*]]: !llvm.ptr)
// CHECK: %[[ZERO:.*]] = llvm.mlir.zero : vector<4xf64>
// CHECK: llvm.store %[[ZERO]], %[[Q]]
// CHECK: %[[U0:.*]] = llvm.load %[[P]] {alignment = 8 : i64} : !llvm.ptr -> f64
// CHECK: llvm.store %[[U0]], %[[Q]]
// CHECK: %[[BLOCK:.*]] = llvm.getelementptr %[[Q]][4]
// CHECK: llvm.store %{{.*}}, %[[BLOCK]] {alignment = 8 : i64} : vector<4xf64>
// CHECK: %[[TAIL:.*]] = llvm.getelementptr %[[BLOCK]][4]
// CHECK: llvm.store %[[ZERO]], %[[TAIL]]
// CHECK: %[[FROM:.*]] = llvm.getelementptr %[[P]][14]
// CHECK: %[[U4:.*]] = llvm.load %[[FROM]] {{.*}} -> f64
// CHECK: %[[TO:.*]] = llvm.getelementptr %[[Q]][8]
// CHECK: llvm.store %[[U4]], %[[TO]]
llvm.func @gather(%p: !llvm.ptr, %q: !llvm.ptr) {
  equivariant.relayout gather %p to %q of #equivariant.irreps<"2x0e+5x1o", mul_ir> vector 4 : f64, !llvm.ptr, !llvm.ptr
  llvm.return
}

// The other way nothing but the row is written: 12 elements as vectors, 3 one by one.
// CHECK-LABEL: llvm.func @scatter(
// CHECK-NOT: llvm.mlir.zero
// CHECK-COUNT-3: llvm.store {{.*}} : vector<4xf64>
// CHECK-COUNT-3: llvm.store {{.*}} : f64
// CHECK-NOT: llvm.store
// CHECK: llvm.return
llvm.func @scatter(%p: !llvm.ptr, %q: !llvm.ptr) {
  equivariant.relayout scatter %p to %q of #equivariant.irreps<"5x1o", mul_ir> vector 4 : f64, !llvm.ptr, !llvm.ptr
  llvm.return
}
