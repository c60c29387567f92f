// RUN: espmm-opt %s --convert-equivariant-to-gpu | FileCheck %s

// The chip is the module's target: sm_80 adds to memory one by one.
module attributes {equivariant.target = "cuda:sm_80"} {
// CHECK-LABEL: llvm.func @add(
// CHECK-NOT: add.v4
// CHECK-COUNT-4: llvm.inline_asm has_side_effects "red.relaxed.gpu.global.add.f32 [$0], $1;", "l,f" %{{.*}}, %{{.*}} : (!llvm.ptr<1>, f32) -> ()
llvm.func @add(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) attributes {nvvm.kernel} {
  equivariant.copy_out %slot to %row slab %slab lane %lane runs [0, 96, 96, 3, 128] width 4 atomic : f32, !llvm.ptr<3>, !llvm.ptr<1>
  llvm.return
}
}
