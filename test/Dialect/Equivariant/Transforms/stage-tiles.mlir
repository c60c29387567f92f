// RUN: espmm-opt %s --equivariant-stage | FileCheck %s

// Two kernels that need nothing of each other are one launch: the first one's blocks, then the other's.
// CHECK-LABEL: func.func @tiles(
// CHECK: equivariant.launch @tiles_0 grid(%{{.*}}) block [32, 4, 1]
// CHECK-NOT: equivariant.launch
// CHECK: llvm.func @tiles_0(
// CHECK: %[[ID:.*]] = nvvm.read.ptx.sreg.ctaid.x
// CHECK: %[[BLOCK:.*]] = arith.extui %[[ID]]
// CHECK: %[[IS_FIRST:.*]] = arith.cmpi slt, %[[BLOCK]], %[[COUNT:.*]] : i64
// CHECK: scf.if %[[IS_FIRST]]
// CHECK: equivariant.copy_out {{.*}}runs [0, 32, 32, 1, 64]
// CHECK: } else {
// CHECK: arith.subi %[[BLOCK]], %[[COUNT]]
// CHECK: equivariant.copy_out {{.*}}runs [64, 32, 32, 1, 64]
func.func @tiles(%g: !equivariant.graph, %x: tensor<?x64xf32, #equivariant.irreps<"64x0e", mul_ir>>, %w: tensor<?x64xf32>) -> tensor<?x128xf32, #equivariant.irreps<"64x0e+64x0e", mul_ir>> {
  %0 = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %w at edge : tensor<?x64xf32, #equivariant.irreps<"64x0e", mul_ir>>, tensor<?x64xf32>) outs(receivers : tensor<?x128xf32, #equivariant.irreps<"64x0e+64x0e", mul_ir>>) attributes {schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_end = 2, warps = 4>} {
  ^bb0(%xe: tensor<64xf32, #equivariant.irreps<"64x0e", mul_ir>>, %we: tensor<64xf32>):
    %a = equivariant.block %xe[0] : tensor<64xf32, #equivariant.irreps<"64x0e", mul_ir>> -> tensor<64x1xf32>
    %b = equivariant.block %we[0] : tensor<64xf32> -> tensor<64x1xf32>
    %c = equivariant.einsum "ui,uv->uv"(%a, %b) : (tensor<64x1xf32>, tensor<64x1xf32>) -> tensor<64x1xf32>
    %d = equivariant.assemble [0](%c) : (tensor<64x1xf32>) -> tensor<128xf32, #equivariant.irreps<"64x0e+64x0e", mul_ir>>
    equivariant.yield %d : tensor<128xf32, #equivariant.irreps<"64x0e+64x0e", mul_ir>>
  }
  %1 = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %w at edge : tensor<?x64xf32, #equivariant.irreps<"64x0e", mul_ir>>, tensor<?x64xf32>) outs(receivers : tensor<?x128xf32, #equivariant.irreps<"64x0e+64x0e", mul_ir>>) attributes {schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_end = 2, warps = 4>} {
  ^bb0(%xe: tensor<64xf32, #equivariant.irreps<"64x0e", mul_ir>>, %we: tensor<64xf32>):
    %a = equivariant.block %xe[0] : tensor<64xf32, #equivariant.irreps<"64x0e", mul_ir>> -> tensor<64x1xf32>
    %b = equivariant.block %we[0] : tensor<64xf32> -> tensor<64x1xf32>
    %c = equivariant.einsum "ui,uv->uv"(%a, %b) : (tensor<64x1xf32>, tensor<64x1xf32>) -> tensor<64x1xf32>
    %d = equivariant.assemble [64](%c) : (tensor<64x1xf32>) -> tensor<128xf32, #equivariant.irreps<"64x0e+64x0e", mul_ir>>
    equivariant.yield %d : tensor<128xf32, #equivariant.irreps<"64x0e+64x0e", mul_ir>>
  }
  %z = equivariant.add %0, %1 : tensor<?x128xf32, #equivariant.irreps<"64x0e+64x0e", mul_ir>>
  return %z : tensor<?x128xf32, #equivariant.irreps<"64x0e+64x0e", mul_ir>>
}

// One that reads what another gives waits for it.
// CHECK-LABEL: func.func @after(
// CHECK: equivariant.launch @after_0
// CHECK: equivariant.launch @after_1
func.func @after(%g: !equivariant.graph, %x: tensor<?x64xf32, #equivariant.irreps<"64x0e", mul_ir>>, %w: tensor<?x64xf32>) -> tensor<?x64xf32, #equivariant.irreps<"64x0e", mul_ir>> {
  %0 = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %w at edge : tensor<?x64xf32, #equivariant.irreps<"64x0e", mul_ir>>, tensor<?x64xf32>) outs(receivers : tensor<?x64xf32, #equivariant.irreps<"64x0e", mul_ir>>) attributes {schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_end = 2, warps = 4>} {
  ^bb0(%xe: tensor<64xf32, #equivariant.irreps<"64x0e", mul_ir>>, %we: tensor<64xf32>):
    %a = equivariant.block %xe[0] : tensor<64xf32, #equivariant.irreps<"64x0e", mul_ir>> -> tensor<64x1xf32>
    %b = equivariant.block %we[0] : tensor<64xf32> -> tensor<64x1xf32>
    %c = equivariant.einsum "ui,uv->uv"(%a, %b) : (tensor<64x1xf32>, tensor<64x1xf32>) -> tensor<64x1xf32>
    %d = equivariant.assemble [0](%c) : (tensor<64x1xf32>) -> tensor<64xf32, #equivariant.irreps<"64x0e", mul_ir>>
    equivariant.yield %d : tensor<64xf32, #equivariant.irreps<"64x0e", mul_ir>>
  }
  %1 = equivariant.kernel over %g : !equivariant.graph
      ins(%0 at senders, %w at edge : tensor<?x64xf32, #equivariant.irreps<"64x0e", mul_ir>>, tensor<?x64xf32>) outs(receivers : tensor<?x64xf32, #equivariant.irreps<"64x0e", mul_ir>>) attributes {schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_end = 2, warps = 4>} {
  ^bb0(%xe: tensor<64xf32, #equivariant.irreps<"64x0e", mul_ir>>, %we: tensor<64xf32>):
    %a = equivariant.block %xe[0] : tensor<64xf32, #equivariant.irreps<"64x0e", mul_ir>> -> tensor<64x1xf32>
    %b = equivariant.block %we[0] : tensor<64xf32> -> tensor<64x1xf32>
    %c = equivariant.einsum "ui,uv->uv"(%a, %b) : (tensor<64x1xf32>, tensor<64x1xf32>) -> tensor<64x1xf32>
    %d = equivariant.assemble [0](%c) : (tensor<64x1xf32>) -> tensor<64xf32, #equivariant.irreps<"64x0e", mul_ir>>
    equivariant.yield %d : tensor<64xf32, #equivariant.irreps<"64x0e", mul_ir>>
  }
  return %1 : tensor<?x64xf32, #equivariant.irreps<"64x0e", mul_ir>>
}
