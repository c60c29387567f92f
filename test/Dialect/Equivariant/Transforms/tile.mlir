// RUN: espmm-opt %s --equivariant-tile="target=cpu vector-bits=256" | FileCheck %s

// CHECK: module attributes {{.*}}equivariant.target = "cpu"

// Grouped by receivers, whose sums are then free; as many lanes as 256 bits hold.
// CHECK-LABEL: @conv
// CHECK: outs(receivers : {{.*}}) attributes {schedule = #equivariant.schedule<target = cpu, group_by = receivers, lanes = 8,
func.func @conv(%g: !equivariant.graph, %x: tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, %y: tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %w: tensor<?x8xf32>) -> tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge : tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x8xf32>)
      outs(receivers : tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>) {
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

// CHECK-LABEL: @double_precision
// CHECK: attributes {schedule = #equivariant.schedule<target = cpu, group_by = receivers, lanes = 4,
func.func @double_precision(%g: !equivariant.graph, %x: tensor<?x24xf64, #equivariant.irreps<"8x1o", mul_ir>>, %y: tensor<?x3xf64, #equivariant.irreps<"1x1o", mul_ir>>, %w: tensor<?x8xf64>) -> tensor<?x8xf64, #equivariant.irreps<"8x0e", mul_ir>> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge : tensor<?x24xf64, #equivariant.irreps<"8x1o", mul_ir>>, tensor<?x3xf64, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x8xf64>)
      outs(receivers : tensor<?x8xf64, #equivariant.irreps<"8x0e", mul_ir>>) {
  ^bb0(%xe: tensor<24xf64, #equivariant.irreps<"8x1o", mul_ir>>, %ye: tensor<3xf64, #equivariant.irreps<"1x1o", mul_ir>>, %we: tensor<8xf64>):
    %c = equivariant.coefficients(1, 1, 0) * 0.5 : tensor<3x3x1xf64>
    %0 = equivariant.block %xe[0] : tensor<24xf64, #equivariant.irreps<"8x1o", mul_ir>> -> tensor<8x3xf64>
    %1 = equivariant.block %ye[0] : tensor<3xf64, #equivariant.irreps<"1x1o", mul_ir>> -> tensor<1x3xf64>
    %2 = equivariant.block %we[0] : tensor<8xf64> -> tensor<8x1xf64>
    %3 = equivariant.einsum "ijk,vj->vik"(%c, %1) : (tensor<3x3x1xf64>, tensor<1x3xf64>) -> tensor<1x3x1xf64>
    %4 = equivariant.einsum "vik,ui->uvk"(%3, %0) : (tensor<1x3x1xf64>, tensor<8x3xf64>) -> tensor<8x1x1xf64>
    %5 = equivariant.einsum "uvk,uv->uk"(%4, %2) : (tensor<8x1x1xf64>, tensor<8x1xf64>) -> tensor<8x1xf64>
    %6 = equivariant.assemble [0](%5) : (tensor<8x1xf64>) -> tensor<8xf64, #equivariant.irreps<"8x0e", mul_ir>>
    equivariant.yield %6 : tensor<8xf64, #equivariant.irreps<"8x0e", mul_ir>>
  }
  return %z : tensor<?x8xf64, #equivariant.irreps<"8x0e", mul_ir>>
}

// Nothing at the receivers: grouped by senders.
// CHECK-LABEL: @senders_only
// CHECK: attributes {schedule = #equivariant.schedule<target = cpu, group_by = senders, lanes = 8,
func.func @senders_only(%g: !equivariant.graph, %x: tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, %y: tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %w: tensor<?x8xf32>) -> tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge : tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x8xf32>)
      outs(edge : tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>) {
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

// No sides: row by row.
// CHECK-LABEL: @batch
// CHECK: attributes {schedule = #equivariant.schedule<target = cpu, group_by = edge, lanes = 8,
func.func @batch(%g: !equivariant.rows, %x: tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, %y: tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %w: tensor<?x8xf32>) -> tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>> {
  %z = equivariant.kernel over %g : !equivariant.rows
      ins(%x at edge, %y at edge, %w at edge : tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x8xf32>)
      outs(edge : tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>) {
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
