// RUN: espmm-opt %s --convert-equivariant-to-gpu="chip=sm_90" --canonicalize --cse | FileCheck %s

// 24 pieces of 16 bytes, each by one lane: a table says where a lane's piece is in slab 0 and how far it moves with the slab.
// 128 channels are four whole slabs: no piece is ever absent.
// CHECK: llvm.mlir.global internal constant @[[TABLE:.*]](dense<[0, 96, 127, 0, 4, 96, 126, 0, {{.*}} 92, 96, 97, 0]> : tensor<96xi32>)
// CHECK-LABEL: llvm.func @whole_slabs(
// CHECK-SAME: %[[ROW:.*]]: !llvm.ptr<1>, %[[SLOT:.*]]: !llvm.ptr<3>, %[[SLAB:.*]]: i64, %[[LANE:.*]]: i64)
// CHECK: llvm.mlir.addressof @[[TABLE]]
// CHECK: %[[FIRST:.*]] = llvm.load %{{.*}} : !llvm.ptr<1> -> i32
// CHECK: %[[STRIDE:.*]] = llvm.load %{{.*}} : !llvm.ptr<1> -> i32
// CHECK: %[[MOVE:.*]] = arith.muli %{{.*}}, %[[STRIDE]] : i32
// CHECK: %[[OFFSET:.*]] = arith.addi %[[FIRST]], %[[MOVE]] : i32
// CHECK: %[[HAS:.*]] = arith.cmpi slt, %[[LANE]], %{{.*}} : i64
// CHECK: scf.if %[[HAS]] {
// CHECK: %[[FROM:.*]] = llvm.getelementptr %[[ROW]][%[[OFFSET]]] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
// CHECK: nvvm.cp.async.shared.global %{{.*}}, %[[FROM]], 16, cache = ca : !llvm.ptr<3>, !llvm.ptr<1>
// CHECK-NOT: equivariant
llvm.func @whole_slabs(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) attributes {nvvm.kernel} {
  equivariant.async_copy %row to %slot slab %slab lane %lane runs [0, 96, 96, 3, 128] width 4 : f32, !llvm.ptr<1>, !llvm.ptr<3>
  llvm.return
}

// Of 40 channels the second slab has 8: pieces past them are zeros, by a size of 0.
// CHECK-LABEL: llvm.func @part_of_a_slab(
// CHECK: %[[INSIDE:.*]] = arith.cmpi slt, %{{.*}}, %{{.*}} : i32
// CHECK: %[[SIZE:.*]] = arith.select %[[INSIDE]], %{{.*}}, %{{.*}} : i32
// CHECK: nvvm.cp.async.shared.global %{{.*}}, %{{.*}}, 16, cache = ca, %[[SIZE]] : !llvm.ptr<3>, !llvm.ptr<1>, i32
llvm.func @part_of_a_slab(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) attributes {nvvm.kernel} {
  equivariant.async_copy %row to %slot slab %slab lane %lane runs [0, 96, 96, 3, 40] width 4 : f32, !llvm.ptr<1>, !llvm.ptr<3>
  llvm.return
}

// What is read once passes the first cache by, and is the first that the second gives up.
// CHECK-LABEL: llvm.func @once(
// CHECK: %[[POLICY:.*]] = llvm.inline_asm "createpolicy.fractional.L2::evict_first.b64 $0, 1.0;", "=l"
// CHECK: llvm.inline_asm has_side_effects "cp.async.cg.shared.global.L2::cache_hint [$0], [$1], 16, $2;", "l,l,l" %{{.*}}, %{{.*}}, %[[POLICY]]
llvm.func @once(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) attributes {nvvm.kernel} {
  equivariant.async_copy %row to %slot slab %slab lane %lane runs [0, 96, 96, 3, 128] width 4 once : f32, !llvm.ptr<1>, !llvm.ptr<3>
  llvm.return
}

// What passes the first cache by does so in pieces of 16 bytes; this does not, and its pieces may be narrow.
// CHECK-LABEL: llvm.func @narrow(
// CHECK: nvvm.cp.async.shared.global %{{.*}}, %{{.*}}, 4, cache = ca
llvm.func @narrow(%row: !llvm.ptr<1>, %slot: !llvm.ptr<3>, %slab: i64, %lane: i64) attributes {nvvm.kernel} {
  equivariant.async_copy %row to %slot slab %slab lane %lane runs [0, 0, 9, 0, 0] width 1 : f32, !llvm.ptr<1>, !llvm.ptr<3>
  llvm.return
}
