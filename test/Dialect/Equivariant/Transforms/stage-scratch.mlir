// RUN: espmm-opt %s --equivariant-stage | FileCheck %s

// The rows that edges take from the other side come to component order first. Each task has its own copy of what is summed
// there; a third kernel adds the copies.
// CHECK-LABEL: func.func @backward(
// CHECK-SAME: %[[E:[^ ]*]]: i64 {equivariant.name = "E"
// CHECK-SAME: %[[S:[^ ]*]]: i64 {equivariant.name = "S"
// CHECK-SAME: %[[X:[^ ]*]]: !llvm.ptr {{{[^}]*}}equivariant.name = "arg0"
// CHECK-SAME: %[[GX:[^ ]*]]: !llvm.ptr {{{[^}]*}}equivariant.name = "result0"
// CHECK: %[[ROWS:.*]] = arith.muli %[[TASKS:.*]], %[[S]]
// CHECK: %[[BYTES:.*]] = arith.muli %[[ROWS]], %{{.*}}
// CHECK: %[[COPIES:.*]] = equivariant.scratch %[[BYTES]]
// CHECK: %[[COMPONENTS:.*]] = equivariant.scratch %{{.*}}
// CHECK-NOT: equivariant.fill
// CHECK: equivariant.launch @[[CONVERT:.*]] grid(%{{.*}})(%[[X]], %[[COMPONENTS]], %[[S]])
// CHECK-NOT: equivariant.cost
// CHECK: equivariant.launch @[[KERNEL:.*]] grid(%[[TASKS]])({{.*}}%[[COPIES]]{{.*}}%[[COMPONENTS]]{{.*}}) {equivariant.choices = [{{.*}}], equivariant.cost
// CHECK: equivariant.launch @[[SUM:.*]] grid(%{{.*}})({{.*}}%[[COPIES]], %[[GX]]{{.*}})
// CHECK-NOT: equivariant.cost

// CHECK: llvm.func @[[KERNEL]](
// The task zeroes its copy.
// CHECK: "llvm.intr.memset"(
// CHECK: scf.for
// What is summed over the channels rides on their loop, lane by lane, and is written once an edge.
// CHECK: %[[ZERO:.*]] = equivariant.zero : tensor<1x3x1xvector<8xf32>>
// CHECK: %[[N:.*]] = scf.for {{.*}} iter_args(%[[PARTIAL:.*]] = %[[ZERO]]) -> (tensor<1x3x1xvector<8xf32>>)
// CHECK: %[[NEXT:.*]] = equivariant.add %[[PARTIAL]], %{{.*}}
// CHECK: scf.yield %[[NEXT]]
// CHECK: %[[GY:.*]] = equivariant.einsum "ijk,vik->vj"(%{{.*}}, %[[N]])
// CHECK: %[[SUMMED:.*]] = equivariant.lane_sum %[[GY]] : tensor<1x3xvector<8xf32>> -> vector<8xf32>
// CHECK: %[[THREE:.*]] = llvm.shufflevector %[[SUMMED]], %[[SUMMED]] [0, 1, 2] : vector<8xf32>
// CHECK: llvm.store %[[THREE]], %{{.*}} {alignment = 4 : i64} : vector<3xf32>, !llvm.ptr

// CHECK: llvm.func @[[CONVERT]](
// CHECK: equivariant.relayout gather

// CHECK: llvm.func @[[SUM]](
// CHECK: equivariant.relayout scatter
func.func @backward(%g: !equivariant.graph, %x: tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, %y: tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %w: tensor<?x8xf32>, %gz: tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>) -> (tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x8xf32>) {
  %r:3 = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge, %gz at receivers : tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x8xf32>, tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>)
      outs(senders, edge, edge : tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x8xf32>) attributes {schedule = #equivariant.schedule<target = cpu, group_by = receivers, lanes = 8, slab_begin = 0, slab_end = 0, rows = 16, deterministic = true>} {
  ^bb0(%xe: tensor<24xf32, #equivariant.irreps<"8x1o", mul_ir>>, %ye: tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %we: tensor<8xf32>, %ge: tensor<8xf32, #equivariant.irreps<"8x0e", mul_ir>>):
    %c = equivariant.coefficients(1, 1, 0) * 0.5 : tensor<3x3x1xf32>
    %0 = equivariant.block %xe[0] : tensor<24xf32, #equivariant.irreps<"8x1o", mul_ir>> -> tensor<8x3xf32>
    %1 = equivariant.block %ye[0] : tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>> -> tensor<1x3xf32>
    %2 = equivariant.block %we[0] : tensor<8xf32> -> tensor<8x1xf32>
    %3 = equivariant.block %ge[0] : tensor<8xf32, #equivariant.irreps<"8x0e", mul_ir>> -> tensor<8x1xf32>
    %4 = equivariant.einsum "ijk,vj->vik"(%c, %1) : (tensor<3x3x1xf32>, tensor<1x3xf32>) -> tensor<1x3x1xf32>
    %5 = equivariant.einsum "uv,uk->uvk"(%2, %3) : (tensor<8x1xf32>, tensor<8x1xf32>) -> tensor<8x1x1xf32>
    %6 = equivariant.einsum "vik,uvk->ui"(%4, %5) : (tensor<1x3x1xf32>, tensor<8x1x1xf32>) -> tensor<8x3xf32>
    %7 = equivariant.einsum "uvk,ui->vik"(%5, %0) : (tensor<8x1x1xf32>, tensor<8x3xf32>) -> tensor<1x3x1xf32>
    %8 = equivariant.einsum "ijk,vik->vj"(%c, %7) : (tensor<3x3x1xf32>, tensor<1x3x1xf32>) -> tensor<1x3xf32>
    %9 = equivariant.einsum "vik,ui->uvk"(%4, %0) : (tensor<1x3x1xf32>, tensor<8x3xf32>) -> tensor<8x1x1xf32>
    %10 = equivariant.einsum "uvk,uk->uv"(%9, %3) : (tensor<8x1x1xf32>, tensor<8x1xf32>) -> tensor<8x1xf32>
    %11 = equivariant.assemble [0](%6) : (tensor<8x3xf32>) -> tensor<24xf32, #equivariant.irreps<"8x1o", mul_ir>>
    %12 = equivariant.assemble [0](%8) : (tensor<1x3xf32>) -> tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>>
    %13 = equivariant.assemble [0](%10) : (tensor<8x1xf32>) -> tensor<8xf32>
    equivariant.yield %11, %12, %13 : tensor<24xf32, #equivariant.irreps<"8x1o", mul_ir>>, tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<8xf32>
  }
  return %r#0, %r#1, %r#2 : tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x8xf32>
}
