// RUN: espmm-opt %s --equivariant-tile="target=gpu" | FileCheck %s
// RUN: espmm-opt %s --equivariant-tile="target=gpu slabs=1" | FileCheck %s --check-prefix=ONE
// RUN: espmm-opt %s --equivariant-tile="target=gpu slabs=3" | FileCheck %s --check-prefix=THREE

// 100 channels and 17: a warp has all slabs of an edge, four channels a lane of the one block, one of the other.
// CHECK-LABEL: @uneven
// CHECK: slab_end = 4, slabs = 4,
// CHECK-NOT: #equivariant.schedule
// One slab at a time: a kernel for the slab that both have, and one for the three that only the first has.
// ONE-LABEL: @uneven
// ONE: slab_end = 1, rows
// ONE: slab_begin = 1, slab_end = 4, rows
// At most three at once.
// THREE-LABEL: @uneven
// THREE: slab_end = 1, rows
// THREE: slab_begin = 1, slab_end = 4, slabs = 3,
func.func @uneven(%g: !equivariant.graph, %x: tensor<?x117xf32, #equivariant.irreps<"100x0e+17x0o", mul_ir>>, %w: tensor<?x117xf32>) -> tensor<?x117xf32, #equivariant.irreps<"100x0e+17x0o", mul_ir>> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %w at edge : tensor<?x117xf32, #equivariant.irreps<"100x0e+17x0o", mul_ir>>, tensor<?x117xf32>)
      outs(receivers : tensor<?x117xf32, #equivariant.irreps<"100x0e+17x0o", mul_ir>>) {
  ^bb0(%xe: tensor<117xf32, #equivariant.irreps<"100x0e+17x0o", mul_ir>>, %we: tensor<117xf32>):
    %0 = equivariant.block %xe[0] : tensor<117xf32, #equivariant.irreps<"100x0e+17x0o", mul_ir>> -> tensor<100x1xf32>
    %1 = equivariant.block %we[0] : tensor<117xf32> -> tensor<100x1xf32>
    %2 = equivariant.einsum "ui,uv->ui"(%0, %1) : (tensor<100x1xf32>, tensor<100x1xf32>) -> tensor<100x1xf32>
    %3 = equivariant.block %xe[100] : tensor<117xf32, #equivariant.irreps<"100x0e+17x0o", mul_ir>> -> tensor<17x1xf32>
    %4 = equivariant.block %we[100] : tensor<117xf32> -> tensor<17x1xf32>
    %5 = equivariant.einsum "ui,uv->ui"(%3, %4) : (tensor<17x1xf32>, tensor<17x1xf32>) -> tensor<17x1xf32>
    %6 = equivariant.assemble [0, 100](%2, %5) : (tensor<100x1xf32>, tensor<17x1xf32>) -> tensor<117xf32, #equivariant.irreps<"100x0e+17x0o", mul_ir>>
    equivariant.yield %6 : tensor<117xf32, #equivariant.irreps<"100x0e+17x0o", mul_ir>>
  }
  return %z : tensor<?x117xf32, #equivariant.irreps<"100x0e+17x0o", mul_ir>>
}
