// RUN: espmm-opt %s --convert-equivariant-to-gpu="chip=sm_90" --canonicalize --cse | FileCheck %s

// What warps have is added up in f32; then it is rounded, and half as many bytes are written.
// CHECK-LABEL: llvm.func @once(
// CHECK: %[[A:.*]] = llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr<3> -> vector<4xf32>
// CHECK: %[[B:.*]] = llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr<3> -> vector<4xf32>
// CHECK: %[[SUM:.*]] = llvm.fadd %[[A]], %[[B]] : vector<4xf32>
// CHECK: %[[ROUNDED:.*]] = llvm.fptrunc %[[SUM]] : vector<4xf32> to vector<4xbf16>
// CHECK: %[[WORDS:.*]] = llvm.bitcast %[[ROUNDED]] : vector<4xbf16> to vector<2xi32>
// CHECK-COUNT-2: llvm.extractelement %[[WORDS]]
// CHECK: llvm.inline_asm has_side_effects "st.global.cs.v2.b32 [$0], {$1, $2};", "l,r,r"
llvm.func @once(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %thread: i64) attributes {nvvm.kernel} {
  equivariant.copy_out %slot to %row slab %slab lane %thread runs [0, 96, 96, 3, 128] width 4 once threads 64 copies 2 stride 256 as bf16 : f32, !llvm.ptr<3>, !llvm.ptr<1>
  llvm.return
}

// CHECK-LABEL: llvm.func @write(
// CHECK: llvm.getelementptr %{{.*}}[%{{.*}}] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f16
// CHECK: %[[ROUNDED:.*]] = llvm.fptrunc %{{.*}} : vector<2xf32> to vector<2xf16>
// CHECK: %[[BITS:.*]] = llvm.bitcast %[[ROUNDED]] : vector<2xf16> to vector<2xi16>
// CHECK: llvm.store %[[BITS]], %{{.*}} {alignment = 4 : i64} : vector<2xi16>, !llvm.ptr<1>
llvm.func @write(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) attributes {nvvm.kernel} {
  equivariant.copy_out %slot to %row slab %slab lane %lane runs [0, 96, 96, 3, 128] width 2 as f16 : f32, !llvm.ptr<3>, !llvm.ptr<1>
  llvm.return
}
