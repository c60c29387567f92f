// RUN: espmm-opt %s --equivariant-stage | FileCheck %s

// A task's nodes, their edges, vectors of channels: the matrix once an edge, accumulators once a node.
// CHECK-LABEL: llvm.func @conv_0(
// CHECK-SAME: %[[ARGS:.*]]: !llvm.ptr, %[[TASK:.*]]: i64)
// CHECK: scf.for %[[NODE:.*]] = %{{.*}} to %{{.*}} step
// CHECK: "llvm.intr.memset"(%[[ZBUF:[^,]*]],
// CHECK: scf.for %[[POSITION:.*]] = %{{.*}} to %{{.*}} step
// The edge of a position: itself, if the edges are sorted.
// CHECK: scf.if
// CHECK: scf.yield %[[POSITION]]
// CHECK: %[[C:.*]] = equivariant.coefficients(1, 1, 0) * 5.000000e-01
// CHECK: %[[Y:.*]] = equivariant.read %{{.*}} offset 0 strides [3, 1] : !llvm.ptr -> tensor<1x3xf32>
// CHECK: equivariant.einsum "ijk,vj->vik"(%[[C]], %[[Y]])
// CHECK-NOT: "ijk,vj->vik"
// CHECK: scf.for %[[CHANNEL:.*]] = %{{.*}} to %{{.*}} step
// CHECK-DAG: %[[X:.*]] = equivariant.read %{{.*}}[%[[CHANNEL]]] offset 0 strides [8] : !llvm.ptr -> tensor<3xvector<8xf32>>
// CHECK-DAG: %[[T:.*]] = equivariant.einsum "vik,i->vk"(%{{.*}}, %[[X]]) : (tensor<1x3x1xf32>, tensor<3xvector<8xf32>>) -> tensor<1x1xvector<8xf32>>
// CHECK-DAG: %[[W:.*]] = equivariant.read %{{.*}}[%[[CHANNEL]]] offset 0 strides [8] : !llvm.ptr -> tensor<1xvector<8xf32>>
// CHECK-DAG: %[[Z:.*]] = equivariant.einsum "vk,v->k"(%[[T]], %[[W]])
// CHECK: equivariant.write %[[Z]] to %[[ZBUF]][%[[CHANNEL]]] offset 0 strides [8] accumulate
// CHECK: equivariant.relayout scatter %[[ZBUF]] to %{{.*}} of #{{.*}} vector 8 : f32
// CHECK: llvm.return
func.func @conv(%g: !equivariant.graph, %x: tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, %y: tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %w: tensor<?x8xf32>) -> tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge : tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x8xf32>)
      outs(receivers : tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>) attributes {schedule = #equivariant.schedule<target = cpu, group_by = receivers, lanes = 8, slab_begin = 0, slab_end = 0, rows = 16, deterministic = true>} {
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
