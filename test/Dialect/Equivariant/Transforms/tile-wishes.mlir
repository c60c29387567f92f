// RUN: espmm-opt %s --equivariant-tile="target=gpu warps=2 stages=5 registers=96 rows=7" | FileCheck %s
// RUN: not espmm-opt %s --equivariant-tile="target=gpu warps=3" 2>&1 | FileCheck %s --check-prefix=WRONG

// What a person gives is taken, the rest is chosen.
// CHECK: #equivariant.schedule<target = gpu, group_by = edge, lanes = 32, slab_end = 1, rows = 7, warps = 2, stages = 5, registers = 96>
// WRONG: 'equivariant.kernel' op has no schedule as wished: expected warps to be 1, 2, 4, 8 or 16 and stages from 2 to 8, got 3 and
func.func @rows(%s: !equivariant.rows, %w: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %z = equivariant.kernel over %s : !equivariant.rows ins(%w at edge : tensor<?x8xf32>) outs(edge : tensor<?x8xf32>) {
  ^bb0(%we: tensor<8xf32>):
    %0 = equivariant.block %we[0] : tensor<8xf32> -> tensor<8x1xf32>
    %1 = equivariant.einsum "uv->uv"(%0) : (tensor<8x1xf32>) -> tensor<8x1xf32>
    %2 = equivariant.assemble [0](%1) : (tensor<8x1xf32>) -> tensor<8xf32>
    equivariant.yield %2 : tensor<8xf32>
  }
  return %z : tensor<?x8xf32>
}
