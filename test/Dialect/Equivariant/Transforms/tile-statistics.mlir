// RUN: espmm-opt %s --equivariant-tile="target=cpu vector-bits=256" -mlir-pass-statistics 2>&1 | FileCheck %s

// By edge: y 3, w 8, gy 3, gw 8 floats. Of the sender: x 24 and gx 24. The receiver's gz is read once a node.
// CHECK: Pass statistics report
// CHECK: equivariant.statistics = {tile = {bytes_per_edge = 88 : i64, gathered_bytes_per_edge = 192 : i64, registers_estimate = [[R:[0-9]+]] : i64}}
// CHECK: equivariant-tile
// CHECK-NEXT: (S) 88 bytes_per_edge
// CHECK-NEXT: (S) 192 gathered_bytes_per_edge
// The three matrix elements, three of the sum over channels, and what is formed meanwhile.
// CHECK-NEXT: (S) {{1[0-9]}} registers_estimate
func.func @backward(%g: !equivariant.graph, %x: tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, %y: tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %w: tensor<?x8xf32>, %gz: tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>) -> (tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x8xf32>) {
  %r:3 = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge, %gz at receivers : tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x8xf32>, tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>)
      outs(senders, edge, edge : tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x8xf32>) {
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
