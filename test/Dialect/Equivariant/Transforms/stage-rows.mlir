// RUN: espmm-opt %s --equivariant-stage | FileCheck %s

// A batch has no plan; a task has 16 rows.
// CHECK-LABEL: func.func @batch(
// CHECK-SAME: %[[E:[^ ]*]]: i64 {equivariant.name = "E"
// CHECK-NOT: equivariant.role = "plan"
// CHECK: %[[N:.*]] = arith.constant 16 : i64
// CHECK: %[[TASKS:.*]] = arith.ceildivui %[[E]], %[[N]]
// CHECK: equivariant.launch @batch_0 grid(%[[TASKS]])
// CHECK-LABEL: llvm.func @batch_0(
// CHECK: arith.minsi
// CHECK: scf.for
// CHECK: equivariant.einsum
func.func @batch(%g: !equivariant.rows, %x: tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, %y: tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %w: tensor<?x8xf32>) -> tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>> {
  %z = equivariant.kernel over %g : !equivariant.rows
      ins(%x at edge, %y at edge, %w at edge : tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x8xf32>)
      outs(edge : tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>) attributes {schedule = #equivariant.schedule<target = cpu, group_by = edge, lanes = 8, slab_begin = 0, slab_end = 0, rows = 16, deterministic = true>} {
  ^bb0(%xe: tensor<24xf32, #equivariant.irreps<"8x1o", mul_ir>>, %ye: tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %we: tensor<8xf32>):
    %c = equivariant.coefficients(1, 1, 0) * 0.5 : tensor<3x3x1xf32>
    %0 = equivariant.block %xe[0] : tensor<24xf32, #equivariant.irreps<"8x1o", mul_ir>> -> tensor<8x3xf32>
    %1 = equivariant.block %ye[0] : tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>> -> tensor<1x3xf32>
    %2 = equivariant.block %we[0] : tensor<8xf32> -> tensor<8x1xf32>
    %3 = equivariant.einsum "ijk,vj->vik"(%c, %1) : (tensor<3x3x1xf32>, tensor<1x3xf32>) -> tensor<1x3x1xf32>
    %4 = equivariant.einsum "vik,ui->uvk"(%3, %0) : (tensor<1x3x1xf32>, tensor<8x3xf32>) -> tensor<8x1x1xf32>
    %5 = equivariant.einsum "uvk,uv->uk"(%4, %2) : (tensor<8x1x1xf32>, tensor<8x1xf32>) -> tensor<8x1xf32>
    %6 = equivariant.assemble [0](%5) : (tensor<8x1xf32>) -> tensor<8xf32, #equivariant.irreps<"8x0e", mul_ir>>
    equivariant.yield %6 : tensor<8xf32, #equivariant.irreps<"8x0e", mul_ir>>
  }
  return %z : tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>
}
