// RUN: espmm-opt %s --equivariant-tile="target=gpu chip=sm_100a" | FileCheck %s

// CHECK: module attributes {{.*}}equivariant.target = "cuda:sm_100a"

// 96 channels are three slabs. What a warp copies for an edge is little (4 words a channel), so it works on all three at once, three channels a lane; and four edges
// are under way.
// CHECK-LABEL: @conv
// CHECK: attributes {schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_end = 3, slabs = 3, rows = {{[0-9]+}}, warps = 4, stages = 4, registers = {{[0-9]+}}>}
func.func @conv(%g: !equivariant.graph, %x: tensor<?x288xf32, #equivariant.irreps<"96x1o", mul_ir>>, %y: tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %w: tensor<?x96xf32>) -> tensor<?x96xf32, #equivariant.irreps<"96x0e", mul_ir>> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge : tensor<?x288xf32, #equivariant.irreps<"96x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x96xf32>)
      outs(receivers : tensor<?x96xf32, #equivariant.irreps<"96x0e", mul_ir>>) {
  ^bb0(%xe: tensor<288xf32, #equivariant.irreps<"96x1o", mul_ir>>, %ye: tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %we: tensor<96xf32>):
    %c = equivariant.coefficients(1, 1, 0) * 0.5 : tensor<3x3x1xf32>
    %0 = equivariant.block %xe[0] : tensor<288xf32, #equivariant.irreps<"96x1o", mul_ir>> -> tensor<96x3xf32>
    %1 = equivariant.block %ye[0] : tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>> -> tensor<1x3xf32>
    %2 = equivariant.block %we[0] : tensor<96xf32> -> tensor<96x1xf32>
    %3 = equivariant.einsum "ijk,vj->vik"(%c, %1) : (tensor<3x3x1xf32>, tensor<1x3xf32>) -> tensor<1x3x1xf32>
    %4 = equivariant.einsum "vik,ui->uvk"(%3, %0) : (tensor<1x3x1xf32>, tensor<96x3xf32>) -> tensor<96x1x1xf32>
    %5 = equivariant.einsum "uvk,uv->uk"(%4, %2) : (tensor<96x1x1xf32>, tensor<96x1xf32>) -> tensor<96x1xf32>
    %6 = equivariant.assemble [0](%5) : (tensor<96x1xf32>) -> tensor<96xf32, #equivariant.irreps<"96x0e", mul_ir>>
    equivariant.yield %6 : tensor<96xf32, #equivariant.irreps<"96x0e", mul_ir>>
  }
  return %z : tensor<?x96xf32, #equivariant.irreps<"96x0e", mul_ir>>
}
