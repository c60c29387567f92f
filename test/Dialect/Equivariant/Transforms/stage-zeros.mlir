// RUN: espmm-opt %s --equivariant-stage | FileCheck %s

// What no path reaches, in a program of zeros alone: rows are edges where there is no graph, or the one row that all share. No kernel is launched.
// CHECK-LABEL: func.func @zeros(
// CHECK-SAME: %[[E:[^:]+]]: i64 {equivariant.name = "E"
// CHECK-SAME: equivariant.rows = "edges", equivariant.used = true, equivariant.width = 6
// CHECK-SAME: equivariant.rows = "all", equivariant.used = true, equivariant.width = 5
// CHECK-SAME: %[[Z:[^:]+]]: !llvm.ptr {equivariant.dtype = f32, equivariant.name = "result0", equivariant.role = "result", equivariant.rows = "edges"
// CHECK-SAME: %[[V:[^:]+]]: !llvm.ptr {equivariant.dtype = f32, equivariant.name = "result1", equivariant.role = "result", equivariant.rows = "all"
// CHECK: %[[BYTES:.*]] = arith.muli %[[E]], %c16_i64
// CHECK: equivariant.fill %[[Z]], %[[BYTES]]
// CHECK: equivariant.fill %[[V]], %c20_i64
// CHECK-NOT: equivariant.launch
func.func @zeros(%s: !equivariant.rows, %x: tensor<?x6xf32>, %w: tensor<1x5xf32>) -> (tensor<?x4xf32>, tensor<1x5xf32>) {
  %0 = equivariant.zeros like %x : tensor<?x6xf32> -> tensor<?x4xf32>
  %1 = equivariant.zeros like %w : tensor<1x5xf32> -> tensor<1x5xf32>
  return %0, %1 : tensor<?x4xf32>, tensor<1x5xf32>
}
