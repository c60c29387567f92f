// RUN: espmm-opt %s --convert-equivariant-to-gpu="chip=sm_90" --canonicalize --cse | FileCheck %s

// Two runs, of which the second instance has the first 8 and the second 100 elements further in the row: its three pieces come after the first one's in the
// table, and a lane looks up those of its warp's instance.
// CHECK: llvm.mlir.global internal constant @[[TABLE:.*]](dense<[8, 0, 2147483647, 0, 12, 0, 2147483647, 0, 32, 0, 2147483647, 0, 16, 0, 2147483647, 0, 20, 0, 2147483647, 0, 132, 0, 2147483647, 0]> : tensor<24xi32>)
// CHECK-LABEL: llvm.func @copy_in(
// CHECK-SAME: %[[ROW:.*]]: !llvm.ptr<1>, %[[SLOT:.*]]: !llvm.ptr<3>, %[[SLAB:.*]]: i64, %[[LANE:.*]]: i64, %[[INSTANCE:.*]]: i64)
// CHECK-DAG: %[[FIRST:.*]] = llvm.mlir.addressof @[[TABLE]] : !llvm.ptr<1>
// CHECK-DAG: %[[EACH:.*]] = arith.constant 12 : i64
// CHECK: %[[SKIPPED:.*]] = arith.muli %[[INSTANCE]], %[[EACH]] : i64
// CHECK: %[[OWN:.*]] = llvm.getelementptr %[[FIRST]][%[[SKIPPED]]] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, i32
// CHECK: %[[PIECE:.*]] = arith.minsi %[[LANE]], %c2_i64 : i64
// CHECK: %[[AT:.*]] = arith.muli %[[PIECE]], %c4_i64 : i64
// CHECK: %[[LINE:.*]] = llvm.getelementptr %[[OWN]][%[[AT]]] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, i32
// CHECK: %[[OFFSET:.*]] = llvm.load %[[LINE]] {alignment = 4 : i64} : !llvm.ptr<1> -> i32
// CHECK: %[[FROM:.*]] = llvm.getelementptr %[[ROW]][%[[OFFSET]]] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
// CHECK: nvvm.cp.async.shared.global %{{.*}}, %[[FROM]], 16
llvm.func @copy_in(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64, %instance: i64) attributes {nvvm.kernel} {
  equivariant.async_copy %row to %slot slab %slab lane %lane runs [8, 0, 8, 0, 0, 32, 0, 4, 0, 0] also [16, 132] instance %instance width 4 : f32, !llvm.ptr<1>, !llvm.ptr<3>
  llvm.return
}

// The same on the way back.
// CHECK-LABEL: llvm.func @copy_out(
// CHECK-SAME: %[[ROW:.*]]: !llvm.ptr<1>, %[[SLOT:.*]]: !llvm.ptr<3>, %[[SLAB:.*]]: i64, %[[LANE:.*]]: i64, %[[INSTANCE:.*]]: i64)
// CHECK-DAG: %[[FIRST:.*]] = llvm.mlir.addressof @[[TABLE]] : !llvm.ptr<1>
// CHECK: %[[SKIPPED:.*]] = arith.muli %[[INSTANCE]], %c12_i64 : i64
// CHECK: %[[OWN:.*]] = llvm.getelementptr %[[FIRST]][%[[SKIPPED]]]
// CHECK: %[[LINE:.*]] = llvm.getelementptr %[[OWN]]
// CHECK: %[[OFFSET:.*]] = llvm.load %[[LINE]]
// CHECK: %[[TO:.*]] = llvm.getelementptr %[[ROW]][%[[OFFSET]]]
// CHECK: llvm.inline_asm has_side_effects "red.relaxed.gpu.global.add.v4.f32 [$0], {$1, $2, $3, $4};", "l,f,f,f,f" %[[TO]]
llvm.func @copy_out(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64, %instance: i64) attributes {nvvm.kernel} {
  equivariant.copy_out %slot to %row slab %slab lane %lane runs [8, 0, 8, 0, 0, 32, 0, 4, 0, 0] also [16, 132] instance %instance width 4 atomic : f32, !llvm.ptr<3>, !llvm.ptr<1>
  llvm.return
}
