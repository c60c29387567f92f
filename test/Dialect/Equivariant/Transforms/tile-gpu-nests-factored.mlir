// RUN: espmm-opt %s --equivariant-tile="target=gpu" -split-input-file | FileCheck %s

// A row that all share.
// CHECK-LABEL: func.func @shared_by_all(
func.func @shared_by_all(%s: !equivariant.rows, %w: tensor<1x8xf32>) -> tensor<?x8xf32> {
  // CHECK: equivariant.kernel {{.*}}schedule = #equivariant.schedule<target = gpu, group_by = edge, lanes = 32, slab_end = 1, rows = 1, warps = 4, registers = {{[0-9]+}}>
  %z = equivariant.kernel over %s : !equivariant.rows ins(%w at all : tensor<1x8xf32>) outs(edge : tensor<?x8xf32>) {
  ^bb0(%we: tensor<8xf32>):
    %0 = equivariant.assemble []() : () -> tensor<8xf32>
    equivariant.yield %0 : tensor<8xf32>
  }
  return %z : tensor<?x8xf32>
}

// -----

// What is summed over channels and edges.
#z = #equivariant.irreps<"8x0e", mul_ir>
#y = #equivariant.irreps<"1x0e", mul_ir>
// CHECK-LABEL: func.func @gradient_of_y_at_nodes(
func.func @gradient_of_y_at_nodes(%g: !equivariant.graph, %x: tensor<?x8xf32, #z>, %gz: tensor<?x8xf32, #z>) -> tensor<?x1xf32, #y> {
  // CHECK: equivariant.kernel {{.*}}schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_end = 1, rows = 1, warps = 4, registers = {{[0-9]+}}>
  %gy = equivariant.kernel over %g : !equivariant.graph ins(%x at senders, %gz at receivers : tensor<?x8xf32, #z>, tensor<?x8xf32, #z>) outs(receivers : tensor<?x1xf32, #y>) {
  ^bb0(%xe: tensor<8xf32, #z>, %ge: tensor<8xf32, #z>):
    %0 = equivariant.block %xe[0] : tensor<8xf32, #z> -> tensor<8x1xf32>
    %1 = equivariant.block %ge[0] : tensor<8xf32, #z> -> tensor<8x1xf32>
    %2 = equivariant.einsum "ui,uk->i"(%0, %1) : (tensor<8x1xf32>, tensor<8x1xf32>) -> tensor<1xf32>
    %3 = equivariant.assemble [0](%2) : (tensor<1xf32>) -> tensor<1xf32, #y>
    equivariant.yield %3 : tensor<1xf32, #y>
  }
  return %gy : tensor<?x1xf32, #y>
}
