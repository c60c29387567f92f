// RUN: not espmm-opt %s --convert-equivariant-to-gpu="chip=sm_70" 2>&1 | FileCheck %s

// CHECK: invalid-chip.mlir:{{.*}} error: chip is sm_80 or later, got 'sm_70'
llvm.func @add(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) attributes {nvvm.kernel} {
  equivariant.copy_out %slot to %row slab %slab lane %lane runs [0, 96, 96, 3, 128] width 4 atomic : f32, !llvm.ptr<3>, !llvm.ptr<1>
  llvm.return
}
