// RUN: espmm-opt %s --equivariant-stage | FileCheck %s

// A warp has a node and a slab of channels; rows come through shared memory, the next edge's while this one's are worked on.
// CHECK-LABEL: func.func @conv(
// CHECK-NOT: equivariant.fill
// CHECK: equivariant.launch @conv_0 grid(%{{.*}}) block [32, 1, 1] shared {{[0-9]+}}(
// CHECK: llvm.func @conv_0({{.*}}) attributes {{{.*}}nvvm.kernel
// CHECK-DAG: nvvm.read.ptx.sreg.tid.x
// CHECK-DAG: nvvm.read.ptx.sreg.ctaid.x
// CHECK: equivariant.async_copy
// CHECK: %[[LOOP:[^:]*]]:{{[0-9]+}} = scf.for {{.*}}tensor<1xf32>)
// CHECK: nvvm.cp.async.wait.group
// CHECK: equivariant.async_copy
// CHECK: equivariant.einsum "vik,i->vk"
// CHECK: scf.yield
// CHECK: equivariant.write %[[LOOP]]#{{[0-9]+}} to
func.func @conv(%g: !equivariant.graph, %x: tensor<?x192xf32, #equivariant.irreps<"64x1o", mul_ir>>, %y: tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %w: tensor<?x64xf32>) -> tensor<?x64xf32, #equivariant.irreps<"64x0e", mul_ir>> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge : tensor<?x192xf32, #equivariant.irreps<"64x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x64xf32>)
      outs(receivers : tensor<?x64xf32, #equivariant.irreps<"64x0e", mul_ir>>) attributes {schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_begin = 0, slab_end = 2, rows = 16, registers = 128, deterministic = false>} {
  ^bb0(%xe: tensor<192xf32, #equivariant.irreps<"64x1o", mul_ir>>, %ye: tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %we: tensor<64xf32>):
    %c = equivariant.coefficients(1, 1, 0) * 0.5 : tensor<3x3x1xf32>
    %0 = equivariant.block %xe[0] : tensor<192xf32, #equivariant.irreps<"64x1o", mul_ir>> -> tensor<64x3xf32>
    %1 = equivariant.block %ye[0] : tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>> -> tensor<1x3xf32>
    %2 = equivariant.block %we[0] : tensor<64xf32> -> tensor<64x1xf32>
    %3 = equivariant.einsum "ijk,vj->vik"(%c, %1) : (tensor<3x3x1xf32>, tensor<1x3xf32>) -> tensor<1x3x1xf32>
    %4 = equivariant.einsum "vik,ui->uvk"(%3, %0) : (tensor<1x3x1xf32>, tensor<64x3xf32>) -> tensor<64x1x1xf32>
    %5 = equivariant.einsum "uvk,uv->uk"(%4, %2) : (tensor<64x1x1xf32>, tensor<64x1xf32>) -> tensor<64x1xf32>
    %6 = equivariant.assemble [0](%5) : (tensor<64x1xf32>) -> tensor<64xf32, #equivariant.irreps<"64x0e", mul_ir>>
    equivariant.yield %6 : tensor<64xf32, #equivariant.irreps<"64x0e", mul_ir>>
  }
  return %z : tensor<?x64xf32, #equivariant.irreps<"64x0e", mul_ir>>
}
