// RUN: espmm-opt %s --equivariant-stage | FileCheck %s

// In ir_mul whole vectors of channels lie next to each other: rows are read where they are.
// CHECK-LABEL: llvm.func @direct_0(
// CHECK-NOT: equivariant.relayout gather
// CHECK: equivariant.read %{{.*}}[%{{.*}}] offset 0 strides [8] : !llvm.ptr -> tensor<3xvector<4xf32>>
// CHECK-NOT: mask
// CHECK: llvm.return
func.func @direct(%g: !equivariant.graph, %x: tensor<?x24xf32, #equivariant.irreps<"8x1o", ir_mul>>, %y: tensor<?x3xf32, #equivariant.irreps<"1x1o", ir_mul>>, %w: tensor<?x8xf32>) -> tensor<?x8xf32, #equivariant.irreps<"8x0e", ir_mul>> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge : tensor<?x24xf32, #equivariant.irreps<"8x1o", ir_mul>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", ir_mul>>, tensor<?x8xf32>)
      outs(receivers : tensor<?x8xf32, #equivariant.irreps<"8x0e", ir_mul>>) attributes {schedule = #equivariant.schedule<target = cpu, group_by = receivers, lanes = 4, slab_begin = 0, slab_end = 0, rows = 16, deterministic = true>} {
  ^bb0(%xe: tensor<24xf32, #equivariant.irreps<"8x1o", ir_mul>>, %ye: tensor<3xf32, #equivariant.irreps<"1x1o", ir_mul>>, %we: tensor<8xf32>):
    %c = equivariant.coefficients(1, 1, 0) * 0.5 : tensor<3x3x1xf32>
    %0 = equivariant.block %xe[0] : tensor<24xf32, #equivariant.irreps<"8x1o", ir_mul>> -> tensor<8x3xf32>
    %1 = equivariant.block %ye[0] : tensor<3xf32, #equivariant.irreps<"1x1o", ir_mul>> -> tensor<1x3xf32>
    %2 = equivariant.block %we[0] : tensor<8xf32> -> tensor<8x1xf32>
    %3 = equivariant.einsum "ijk,vj->vik"(%c, %1) : (tensor<3x3x1xf32>, tensor<1x3xf32>) -> tensor<1x3x1xf32>
    %4 = equivariant.einsum "vik,ui->uvk"(%3, %0) : (tensor<1x3x1xf32>, tensor<8x3xf32>) -> tensor<8x1x1xf32>
    %5 = equivariant.einsum "uvk,uv->uk"(%4, %2) : (tensor<8x1x1xf32>, tensor<8x1xf32>) -> tensor<8x1xf32>
    %6 = equivariant.assemble [0](%5) : (tensor<8x1xf32>) -> tensor<8xf32, #equivariant.irreps<"8x0e", ir_mul>>
    equivariant.yield %6 : tensor<8xf32, #equivariant.irreps<"8x0e", ir_mul>>
  }
  return %z : tensor<?x8xf32, #equivariant.irreps<"8x0e", ir_mul>>
}

// Five channels are a vector and a part of one: weights, which have no padding, are read with a mask.
// CHECK-LABEL: llvm.func @tail_0(
// CHECK: %[[LANES:.*]] = arith.constant dense<[0, 1, 2, 3]> : vector<4xi64>
// CHECK: %[[MASK:.*]] = arith.cmpi slt, %[[LANES]], %{{.*}} : vector<4xi64>
// CHECK-DAG: equivariant.read %{{.*}}[%{{.*}}] offset 0 strides [8] : !llvm.ptr -> tensor<3xvector<4xf32>>
// CHECK-DAG: equivariant.read %{{.*}}[%{{.*}}] mask %[[MASK]] : vector<4xi1> offset 0 strides [5] : !llvm.ptr -> tensor<1xvector<4xf32>>
func.func @tail(%g: !equivariant.graph, %x: tensor<?x15xf32, #equivariant.irreps<"5x1o", mul_ir>>, %y: tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %w: tensor<?x5xf32>) -> tensor<?x5xf32, #equivariant.irreps<"5x0e", mul_ir>> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge : tensor<?x15xf32, #equivariant.irreps<"5x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x5xf32>)
      outs(receivers : tensor<?x5xf32, #equivariant.irreps<"5x0e", mul_ir>>) attributes {schedule = #equivariant.schedule<target = cpu, group_by = receivers, lanes = 4, slab_begin = 0, slab_end = 0, rows = 16, deterministic = true>} {
  ^bb0(%xe: tensor<15xf32, #equivariant.irreps<"5x1o", mul_ir>>, %ye: tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %we: tensor<5xf32>):
    %c = equivariant.coefficients(1, 1, 0) * 0.5 : tensor<3x3x1xf32>
    %0 = equivariant.block %xe[0] : tensor<15xf32, #equivariant.irreps<"5x1o", mul_ir>> -> tensor<5x3xf32>
    %1 = equivariant.block %ye[0] : tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>> -> tensor<1x3xf32>
    %2 = equivariant.block %we[0] : tensor<5xf32> -> tensor<5x1xf32>
    %3 = equivariant.einsum "ijk,vj->vik"(%c, %1) : (tensor<3x3x1xf32>, tensor<1x3xf32>) -> tensor<1x3x1xf32>
    %4 = equivariant.einsum "vik,ui->uvk"(%3, %0) : (tensor<1x3x1xf32>, tensor<5x3xf32>) -> tensor<5x1x1xf32>
    %5 = equivariant.einsum "uvk,uv->uk"(%4, %2) : (tensor<5x1x1xf32>, tensor<5x1xf32>) -> tensor<5x1xf32>
    %6 = equivariant.assemble [0](%5) : (tensor<5x1xf32>) -> tensor<5xf32, #equivariant.irreps<"5x0e", mul_ir>>
    equivariant.yield %6 : tensor<5xf32, #equivariant.irreps<"5x0e", mul_ir>>
  }
  return %z : tensor<?x5xf32, #equivariant.irreps<"5x0e", mul_ir>>
}

// Loops go by where their weights lie, whatever comes first in the kernel: an edge's are read from begin to end.
// CHECK-LABEL: llvm.func @order_0(
// CHECK: equivariant.read %{{.*}}[%{{.*}}] offset 0 strides [8] : !llvm.ptr -> tensor<1xvector<4xf32>>
// CHECK: equivariant.write %{{.*}} to %{{.*}}[%{{.*}}] offset 8 strides [8] accumulate : tensor<1xvector<4xf32>>, !llvm.ptr
// CHECK: scf.for
// CHECK: equivariant.read %{{.*}}[%{{.*}}] offset 8 strides [8] : !llvm.ptr -> tensor<1xvector<4xf32>>
// CHECK: equivariant.write %{{.*}} to %{{.*}}[%{{.*}}] offset 0 strides [8] accumulate : tensor<1xvector<4xf32>>, !llvm.ptr
func.func @order(%g: !equivariant.graph, %x: tensor<?x48xf32, #equivariant.irreps<"8x1o+8x1o", ir_mul>>, %y: tensor<?x3xf32, #equivariant.irreps<"1x1o", ir_mul>>, %w: tensor<?x16xf32>) -> tensor<?x16xf32, #equivariant.irreps<"8x0e+8x0e", ir_mul>> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge : tensor<?x48xf32, #equivariant.irreps<"8x1o+8x1o", ir_mul>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", ir_mul>>, tensor<?x16xf32>)
      outs(receivers : tensor<?x16xf32, #equivariant.irreps<"8x0e+8x0e", ir_mul>>) attributes {schedule = #equivariant.schedule<target = cpu, group_by = receivers, lanes = 4, slab_begin = 0, slab_end = 0, rows = 16, deterministic = true>} {
  ^bb0(%xe: tensor<48xf32, #equivariant.irreps<"8x1o+8x1o", ir_mul>>, %ye: tensor<3xf32, #equivariant.irreps<"1x1o", ir_mul>>, %we: tensor<16xf32>):
    %c = equivariant.coefficients(1, 1, 0) * 0.5 : tensor<3x3x1xf32>
    %0 = equivariant.block %xe[0] : tensor<48xf32, #equivariant.irreps<"8x1o+8x1o", ir_mul>> -> tensor<8x3xf32>
    %1 = equivariant.block %ye[0] : tensor<3xf32, #equivariant.irreps<"1x1o", ir_mul>> -> tensor<1x3xf32>
    %2 = equivariant.block %we[8] : tensor<16xf32> -> tensor<8x1xf32>
    %3 = equivariant.einsum "ijk,vj->vik"(%c, %1) : (tensor<3x3x1xf32>, tensor<1x3xf32>) -> tensor<1x3x1xf32>
    %4 = equivariant.einsum "vik,ui->uvk"(%3, %0) : (tensor<1x3x1xf32>, tensor<8x3xf32>) -> tensor<8x1x1xf32>
    %5 = equivariant.einsum "uvk,uv->uk"(%4, %2) : (tensor<8x1x1xf32>, tensor<8x1xf32>) -> tensor<8x1xf32>
    %6 = equivariant.block %xe[24] : tensor<48xf32, #equivariant.irreps<"8x1o+8x1o", ir_mul>> -> tensor<8x3xf32>
    %7 = equivariant.block %we[0] : tensor<16xf32> -> tensor<8x1xf32>
    %8 = equivariant.einsum "vik,ui->uvk"(%3, %6) : (tensor<1x3x1xf32>, tensor<8x3xf32>) -> tensor<8x1x1xf32>
    %9 = equivariant.einsum "uvk,uv->uk"(%8, %7) : (tensor<8x1x1xf32>, tensor<8x1xf32>) -> tensor<8x1xf32>
    %10 = equivariant.assemble [0, 8](%5, %9) : (tensor<8x1xf32>, tensor<8x1xf32>) -> tensor<16xf32, #equivariant.irreps<"8x0e+8x0e", ir_mul>>
    equivariant.yield %10 : tensor<16xf32, #equivariant.irreps<"8x0e+8x0e", ir_mul>>
  }
  return %z : tensor<?x16xf32, #equivariant.irreps<"8x0e+8x0e", ir_mul>>
}
