// RUN: espmm-opt %s --equivariant-stage | FileCheck %s

// Every edge has a result of its own, and none is summed over a node's edges: several blocks may share a segment, as the numbers of edges
// and nodes say at the launch. No more than give each warp some edges (8); no more than it takes to have many blocks. A GPU that has little to do takes
// fewer edges a warp (1), until each multiprocessor has some blocks.
// CHECK-LABEL: func.func @weights(
// CHECK: %[[POSSIBLE:.*]] = arith.ceildivui %{{.*}}, %c32_i64{{.*}} : i64
// CHECK: %[[WANTED:.*]] = arith.ceildivui %c16384_i64,
// CHECK: %[[LESS:.*]] = arith.minsi %[[POSSIBLE]], %[[WANTED]]
// CHECK: %[[EARLY:.*]] = arith.ceildivui %{{.*}}, %c4_i64{{.*}} : i64
// CHECK: %[[FEW:.*]] = arith.ceildivui %c256_i64,
// CHECK: %[[LESS_OF_FEW:.*]] = arith.minsi %[[EARLY]], %[[FEW]]
// CHECK: %[[MORE:.*]] = arith.maxsi %[[LESS]], %[[LESS_OF_FEW]]
// CHECK: %[[PARTS:.*]] = arith.maxsi %[[MORE]], %c1_i64{{.*}} : i64
// CHECK: %[[BLOCKS:.*]] = arith.muli %{{.*}}, %[[PARTS]]
// CHECK: equivariant.launch @weights_0 grid(%[[BLOCKS]]) block [32, 4, 1] {{.*}}(%[[PARTS]],
// CHECK: llvm.func @weights_0(%[[OF:[a-z0-9]+]]: i64,
// CHECK: %[[SEGMENT:.*]] = arith.divui %[[BLOCK:.*]], %[[OF]]
// CHECK: %[[WHOLE:.*]] = arith.muli %[[SEGMENT]], %[[OF]]
// CHECK: %[[PART:.*]] = arith.subi %[[BLOCK]], %[[WHOLE]]
// CHECK: %[[SHARE:.*]] = arith.ceildivui %{{.*}}, %[[OF]]
// CHECK: arith.muli %[[PART]], %[[SHARE]]
// An uneven graph's short segments have fewer parts.
// CHECK: %[[ANY:.*]] = arith.cmpi slt
// CHECK: scf.if %[[ANY]]
func.func @weights(%g: !equivariant.graph, %x: tensor<?x32xf32, #equivariant.irreps<"32x0e", mul_ir>>, %d: tensor<?x32xf32, #equivariant.irreps<"32x0e", mul_ir>>) -> tensor<?x32xf32> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %d at receivers : tensor<?x32xf32, #equivariant.irreps<"32x0e", mul_ir>>, tensor<?x32xf32, #equivariant.irreps<"32x0e", mul_ir>>)
      outs(edge : tensor<?x32xf32>) attributes {schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_end = 1, warps = 4, stages = 3, registers = 168>} {
  ^bb0(%xe: tensor<32xf32, #equivariant.irreps<"32x0e", mul_ir>>, %de: tensor<32xf32, #equivariant.irreps<"32x0e", mul_ir>>):
    %0 = equivariant.block %xe[0] : tensor<32xf32, #equivariant.irreps<"32x0e", mul_ir>> -> tensor<32x1xf32>
    %1 = equivariant.block %de[0] : tensor<32xf32, #equivariant.irreps<"32x0e", mul_ir>> -> tensor<32x1xf32>
    %2 = equivariant.einsum "ui,ui->ui"(%0, %1) : (tensor<32x1xf32>, tensor<32x1xf32>) -> tensor<32x1xf32>
    %3 = equivariant.assemble [0](%2) : (tensor<32x1xf32>) -> tensor<32xf32>
    equivariant.yield %3 : tensor<32xf32>
  }
  return %z : tensor<?x32xf32>
}
