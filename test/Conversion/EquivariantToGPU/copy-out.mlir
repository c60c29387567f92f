// RUN: espmm-opt %s --convert-equivariant-to-gpu="chip=sm_90" --canonicalize --cse | FileCheck %s

// CHECK-LABEL: llvm.func @write(
// CHECK: %[[V:.*]] = llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr<3> -> vector<4xf32>
// CHECK: llvm.store %[[V]], %{{.*}} {alignment = 16 : i64} : vector<4xf32>, !llvm.ptr<1>
// CHECK-NOT: equivariant
llvm.func @write(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) attributes {nvvm.kernel} {
  equivariant.copy_out %slot to %row slab %slab lane %lane runs [0, 96, 96, 3, 128] width 4 : f32, !llvm.ptr<3>, !llvm.ptr<1>
  llvm.return
}

// Four sums in memory at once.
// CHECK-LABEL: llvm.func @add(
// CHECK: %[[V:.*]] = llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr<3> -> vector<4xf32>
// CHECK-COUNT-4: llvm.extractelement %[[V]]
// CHECK: llvm.inline_asm has_side_effects "red.relaxed.gpu.global.add.v4.f32 [$0], {$1, $2, $3, $4};"
// CHECK-NOT: llvm.atomicrmw
// CHECK: llvm.return
llvm.func @add(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) attributes {nvvm.kernel} {
  equivariant.copy_out %slot to %row slab %slab lane %lane runs [0, 96, 96, 3, 128] width 4 atomic : f32, !llvm.ptr<3>, !llvm.ptr<1>
  llvm.return
}

// The four warps of a block add what each has for a row, 256 elements apart, and write it past the caches.
// CHECK-LABEL: llvm.func @sum_copies(
// CHECK: %[[A:.*]] = llvm.load %{{.*}} : !llvm.ptr<3> -> vector<4xf32>
// CHECK: %[[B:.*]] = llvm.load %{{.*}} : !llvm.ptr<3> -> vector<4xf32>
// CHECK: %[[AB:.*]] = llvm.fadd %[[A]], %[[B]]
// CHECK: %[[C:.*]] = llvm.load %{{.*}} : !llvm.ptr<3> -> vector<4xf32>
// CHECK: %[[ABC:.*]] = llvm.fadd %[[AB]], %[[C]]
// CHECK: %[[D:.*]] = llvm.load %{{.*}} : !llvm.ptr<3> -> vector<4xf32>
// CHECK: %[[ABCD:.*]] = llvm.fadd %[[ABC]], %[[D]]
// CHECK-COUNT-4: llvm.extractelement %[[ABCD]]
// CHECK: llvm.inline_asm has_side_effects "st.global.cs.v4.f32 [$0], {$1, $2, $3, $4};"
// CHECK: llvm.return
llvm.func @sum_copies(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %thread: i64) attributes {nvvm.kernel} {
  equivariant.copy_out %slot to %row slab %slab lane %thread runs [0, 96, 96, 3, 128] width 4 once threads 128 copies 4 stride 256 : f32, !llvm.ptr<3>, !llvm.ptr<1>
  llvm.return
}

// Doubles have no vector form.
// CHECK-LABEL: llvm.func @add_doubles(
// CHECK-COUNT-2: llvm.inline_asm has_side_effects "red.relaxed.gpu.global.add.f64 [$0], $1;", "l,d"
llvm.func @add_doubles(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) attributes {nvvm.kernel} {
  equivariant.copy_out %slot to %row slab %slab lane %lane runs [0, 96, 96, 3, 128] width 2 atomic : f64, !llvm.ptr<3>, !llvm.ptr<1>
  llvm.return
}

// A sum in memory whose result nobody reads, and one whose result is read.
// CHECK-LABEL: llvm.func @atomics(
// CHECK: llvm.inline_asm has_side_effects "red.relaxed.gpu.global.add.f32 [$0], $1;", "l,f" %{{.*}}, %{{.*}} : (!llvm.ptr<1>, f32) -> ()
// CHECK: llvm.atomicrmw fadd
llvm.func @atomics(%p: !llvm.ptr<1>, %v: f32) -> f32 {
  %0 = llvm.atomicrmw fadd %p, %v monotonic : !llvm.ptr<1>, f32
  %1 = llvm.atomicrmw fadd %p, %v monotonic : !llvm.ptr<1>, f32
  llvm.return %1 : f32
}
