// RUN: espmm-opt %s --equivariant-stage | FileCheck %s

// Weights that all rows share are read from the one row there is. Their gradient is a sum over all rows: each task has its own, few rows are summed before
// their sum is added to it, and what rounding takes from it is kept. No number depends on the number of threads.
#s = #equivariant.schedule<target = cpu, group_by = edge, lanes = 8, slab_begin = 0, slab_end = 0, rows = 16, deterministic = true>
#x = #equivariant.irreps<"16x0e", mul_ir>
// CHECK-LABEL: func.func @shared(
// CHECK: %[[MANY:.*]] = arith.ceildivui %arg0, %c64_i64
// CHECK: %[[TASKS:.*]] = arith.minsi
// CHECK: %[[BYTES:.*]] = arith.muli %[[TASKS]], %c128_i64
// CHECK: %[[SCRATCH:.*]] = equivariant.scratch %[[BYTES]]
// CHECK: equivariant.launch @shared_0 grid(%[[TASKS]])(
// CHECK: equivariant.launch @shared_1_sum grid(%{{.*}})(%[[TASKS]], %[[SCRATCH]], %{{.*}})
// CHECK: llvm.func @shared_0(
// The sum of some rows begins as zeros, and so do the task's sum and what it has lost.
// CHECK: llvm.intr.memset{{.*}}%c64_i64
// CHECK: llvm.intr.memset{{.*}}%c128_i64
// CHECK: scf.for %{{.*}} step %c16_i64
// CHECK: scf.for %[[ROW:.*]] = %{{.*}} step %c1_i64
// CHECK: scf.for
// CHECK: equivariant.write {{.*}} accumulate
// CHECK: scf.for
// CHECK: %[[ZERO:.*]] = llvm.mlir.zero : vector<8xf32>
// CHECK: %[[EXACT:.*]] = llvm.fsub %[[ROWS:.*]], %[[LOST:.*]] : vector<8xf32>
// CHECK: %[[SUM:.*]] = llvm.fadd %[[OLD:.*]], %[[EXACT]]
// CHECK: %[[ADDED:.*]] = llvm.fsub %[[SUM]], %[[OLD]]
// CHECK: %[[NEXT:.*]] = llvm.fsub %[[ADDED]], %[[EXACT]]
// CHECK: llvm.store %[[SUM]]
// CHECK: llvm.store %[[NEXT]]
// CHECK: llvm.store %[[ZERO]]
// CHECK: llvm.func @shared_1_sum(
// CHECK: scf.for {{.*}} -> (vector<8xf32>, vector<8xf32>)
func.func @shared(%s: !equivariant.rows, %x: tensor<?x16xf32, #x>, %w: tensor<1x16xf32>, %gz: tensor<?x16xf32, #x>) -> (tensor<?x16xf32, #x>, tensor<1x16xf32>) {
  %r:2 = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %w at all, %gz at edge : tensor<?x16xf32, #x>, tensor<1x16xf32>, tensor<?x16xf32, #x>)
      outs(edge, all : tensor<?x16xf32, #x>, tensor<1x16xf32>) attributes {schedule = #s} {
  ^bb0(%xe: tensor<16xf32, #x>, %we: tensor<16xf32>, %ge: tensor<16xf32, #x>):
    %0 = equivariant.block %xe[0] : tensor<16xf32, #x> -> tensor<16x1xf32>
    %1 = equivariant.block %we[0] : tensor<16xf32> -> tensor<16x1xf32>
    %2 = equivariant.block %ge[0] : tensor<16xf32, #x> -> tensor<16x1xf32>
    %3 = equivariant.einsum "uv,uk->uk"(%1, %2) : (tensor<16x1xf32>, tensor<16x1xf32>) -> tensor<16x1xf32>
    %4 = equivariant.einsum "uk,uk->u"(%0, %2) : (tensor<16x1xf32>, tensor<16x1xf32>) -> tensor<16xf32>
    %5 = equivariant.assemble [0](%3) : (tensor<16x1xf32>) -> tensor<16xf32, #x>
    %6 = equivariant.assemble [0](%4) : (tensor<16xf32>) -> tensor<16xf32>
    equivariant.yield %5, %6 : tensor<16xf32, #x>, tensor<16xf32>
  }
  return %r#0, %r#1 : tensor<?x16xf32, #x>, tensor<1x16xf32>
}
