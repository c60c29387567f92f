// RUN: espmm-opt %s --convert-equivariant-to-cpu --canonicalize --cse | FileCheck %s

// Channels that are next to each other already are copied, vector after vector: those of scalars, and all of ir_mul.
// CHECK-LABEL: llvm.func @scalars(
// CHECK-NOT: llvm.shufflevector
// CHECK: scf.for %[[U:.*]] = %{{.*}} to %{{.*}} step
// CHECK: %[[FROM:.*]] = llvm.getelementptr %{{.*}}[%[[U]]] : (!llvm.ptr, i64) -> !llvm.ptr, f32
// CHECK: %[[V:.*]] = llvm.load %[[FROM]] {{.*}} -> vector<8xf32>
// CHECK: %[[TO:.*]] = llvm.getelementptr %{{.*}}[%[[U]]]
// CHECK: llvm.store %[[V]], %[[TO]]
// CHECK-NOT: llvm.shufflevector
// CHECK: llvm.return
llvm.func @scalars(%p: !llvm.ptr, %q: !llvm.ptr) {
  equivariant.relayout gather %p to %q of #equivariant.irreps<"64x0e", mul_ir> vector 8 : f32, !llvm.ptr, !llvm.ptr
  llvm.return
}

// CHECK-LABEL: llvm.func @ir_mul(
// CHECK-NOT: llvm.shufflevector
// CHECK-COUNT-3: scf.for
// CHECK-NOT: scf.for
// CHECK-NOT: llvm.shufflevector
// CHECK: llvm.return
llvm.func @ir_mul(%p: !llvm.ptr, %q: !llvm.ptr) {
  equivariant.relayout scatter %p to %q of #equivariant.irreps<"16x1o", ir_mul> vector 8 : f32, !llvm.ptr, !llvm.ptr
  llvm.return
}

// Blocks without channels are nothing.
// CHECK-LABEL: llvm.func @empty(
// CHECK-NEXT: llvm.return
llvm.func @empty(%p: !llvm.ptr, %q: !llvm.ptr) {
  equivariant.relayout gather %p to %q of #equivariant.irreps<"0x0e+0x1o", mul_ir> vector 8 : f32, !llvm.ptr, !llvm.ptr
  llvm.return
}
