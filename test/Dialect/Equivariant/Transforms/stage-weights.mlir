// RUN: espmm-opt %s --equivariant-stage | FileCheck %s

// Weights for four channels of y lie four a channel: a row's block is put in component order before the loop over channels, and
// its gradient goes back after it.
// CHECK-LABEL: llvm.func @backward_0(
// CHECK: scf.for
// CHECK: equivariant.relayout gather %{{.*}} to %[[W:.*]] of block [20, 4] vector 8 : f32
// CHECK: scf.for %[[CHANNEL:.*]] =
// CHECK-DAG: equivariant.read %[[W]][%[[CHANNEL]]] offset 0 strides [24] : !llvm.ptr -> tensor<4xvector<8xf32>>
// CHECK-DAG: equivariant.write %{{.*}} to %[[GW:.*]][%[[CHANNEL]]] offset 0 strides [24] :
// CHECK: equivariant.relayout scatter %[[GW]] to %{{.*}} of block [20, 4] vector 8 : f32
// CHECK: llvm.return
#x = #equivariant.irreps<"20x0e", mul_ir>
#y = #equivariant.irreps<"4x0e", mul_ir>
func.func @backward(%s: !equivariant.rows, %x: tensor<?x20xf32, #x>, %y: tensor<?x4xf32, #y>, %w: tensor<?x80xf32>, %gz: tensor<?x20xf32, #x>) -> (tensor<?x80xf32>, tensor<?x20xf32, #x>) {
  %r:2 = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at edge, %gz at edge : tensor<?x20xf32, #x>, tensor<?x4xf32, #y>, tensor<?x80xf32>, tensor<?x20xf32, #x>)
      outs(edge, edge : tensor<?x80xf32>, tensor<?x20xf32, #x>) attributes {schedule = #equivariant.schedule<target = cpu, group_by = edge, lanes = 8, slab_begin = 0, slab_end = 0, rows = 16, deterministic = true>} {
  ^bb0(%xe: tensor<20xf32, #x>, %ye: tensor<4xf32, #y>, %we: tensor<80xf32>, %ge: tensor<20xf32, #x>):
    %0 = equivariant.block %xe[0] : tensor<20xf32, #x> -> tensor<20x1xf32>
    %1 = equivariant.block %ye[0] : tensor<4xf32, #y> -> tensor<4x1xf32>
    %2 = equivariant.block %we[0] : tensor<80xf32> -> tensor<20x4xf32>
    %3 = equivariant.block %ge[0] : tensor<20xf32, #x> -> tensor<20x1xf32>
    %4 = equivariant.einsum "ui,uk,vj->uv"(%0, %3, %1) : (tensor<20x1xf32>, tensor<20x1xf32>, tensor<4x1xf32>) -> tensor<20x4xf32>
    %5 = equivariant.einsum "uv,uk,vj->uk"(%2, %3, %1) : (tensor<20x4xf32>, tensor<20x1xf32>, tensor<4x1xf32>) -> tensor<20x1xf32>
    %6 = equivariant.assemble [0](%4) : (tensor<20x4xf32>) -> tensor<80xf32>
    %7 = equivariant.assemble [0](%5) : (tensor<20x1xf32>) -> tensor<20xf32, #x>
    equivariant.yield %6, %7 : tensor<80xf32>, tensor<20xf32, #x>
  }
  return %r#0, %r#1 : tensor<?x80xf32>, tensor<?x20xf32, #x>
}
