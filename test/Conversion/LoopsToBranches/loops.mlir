// RUN: espmm-opt %s --pass-pipeline='builtin.module(llvm.func(convert-loops-to-branches))' | FileCheck %s
// RUN: espmm-opt %s --pass-pipeline='builtin.module(llvm.func(convert-scf-to-cf))' > %t.upstream
// RUN: espmm-opt %s --pass-pipeline='builtin.module(llvm.func(convert-loops-to-branches))' | diff %t.upstream -

// Loops within loops and after each other, with and without values that go through them, become the blocks that upstream's conversion makes of them, whatever says that they
// are not to be unrolled included.
#keep = #llvm.loop_annotation<unroll = <disable = true>>

// CHECK-LABEL: llvm.func @loops
// CHECK-NOT: scf.
// CHECK: cf.br ^[[OUTER:.*]](%{{.*}} : i64)
// CHECK: ^[[OUTER]](%[[I:.*]]: i64):
// CHECK: arith.cmpi slt, %[[I]]
// CHECK: cf.cond_br %{{.*}}, ^[[BODY:[a-z0-9]+]], ^[[AFTER:[a-z0-9]+]]
// CHECK: ^[[BODY]]:
// CHECK: cf.br ^[[INNER:.*]](%{{.*}}, %{{.*}} : i64, f32)
// CHECK: cf.br ^[[OUTER]](%{{.*}} : i64) {loop_annotation = #
// CHECK: ^[[AFTER]]:
// CHECK: cf.cond_br %{{.*}}, ^{{.*}}, ^{{.*}}
llvm.func @loops(%p: !llvm.ptr, %n: i64, %b: i1) {
  %zero = arith.constant 0 : i64
  %one = arith.constant 1 : i64
  %none = llvm.mlir.constant(0.0 : f32) : f32
  scf.for %i = %zero to %n step %one : i64 {
    %sum = scf.for %j = %zero to %i step %one iter_args(%s = %none) -> (f32) : i64 {
      %at = llvm.getelementptr %p[%j] : (!llvm.ptr, i64) -> !llvm.ptr, f32
      %x = llvm.load %at : !llvm.ptr -> f32
      %next = llvm.fadd %s, %x : f32
      scf.yield %next : f32
    }
    %to = llvm.getelementptr %p[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    llvm.store %sum, %to : f32, !llvm.ptr
  } {loop_annotation = #keep}
  scf.if %b {
    llvm.store %none, %p : f32, !llvm.ptr
  }
  llvm.return
}
