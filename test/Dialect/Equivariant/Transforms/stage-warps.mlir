// RUN: espmm-opt %s --equivariant-stage | FileCheck %s

// Four warps a block that share a node, or one warp for it, as the numbers of edges and nodes say at the launch.
// CHECK-LABEL: func.func @conv(
// CHECK: %[[MORE:[0-9]+]] = arith.muli %{{[0-9]+}}, %c3_i64
// CHECK: %[[ROWS:[0-9]+]] = arith.addi %[[MORE]], %{{.*}} : i64
// CHECK: equivariant.launch @conv_0 grid(%{{.*}}) block [32, 4, 1] shared {{[0-9]+}} rows(%[[ROWS]])({{.*}}%[[ROWS]],
// CHECK: llvm.func @conv_0({{.*}}) attributes {{{.*}}nvvm.maxntid = array<i32: 32, 4, 1>, nvvm.minctasm = 3 : i32}
// CHECK: %[[ID:.*]] = nvvm.shfl.sync idx
// CHECK: %[[WARP:.*]] = arith.extui %[[ID]]
// They take turns at the edges.
// CHECK: %[[FIRST:.*]] = arith.addi %{{.*}}, %[[WARP]] : i64

// A ring of three slots: two edges' rows are on their way before the loop, and within it those of one more wherever the edge
// before was. Weights pass the cache by; rows of senders stay in it.
// CHECK-COUNT-2: nvvm.cp.async.commit.group
// CHECK: %[[LOOP:[^:]*]]:{{[0-9]+}} = scf.for %{{.*}} = %[[FIRST]] to %{{.*}} step %arg3
// CHECK: nvvm.cp.async.wait.group 1
// CHECK-DAG: equivariant.async_copy {{.*}}runs [0, 32, 32, 1, 64] width 4 once
// CHECK-DAG: equivariant.async_copy {{.*}}runs [0, 96, 96, 3, 64] width 4 : f32
// CHECK: nvvm.cp.async.commit.group

// The products are added up unscaled; the sum is scaled once, and goes out through shared memory: those of the four warps
// added by all of their threads, or a warp's own.
// CHECK-NOT: "uk,k->uk"
// CHECK-NOT: scales
// CHECK: scf.yield
// CHECK: equivariant.coefficients(1, 1, 0) * 5.000000e-01 scales
// CHECK: %[[SCALED:.*]] = equivariant.einsum "k,k->k"(%[[LOOP]]#{{[0-9]+}}, %{{.*}})
// CHECK: equivariant.write %[[SCALED]]
// CHECK: scf.if
// CHECK: nvvm.barrier
// CHECK: equivariant.copy_out {{.*}}runs [0, 32, 32, 1, 64] width 4 once threads 128 copies 4 stride
// CHECK: } else {
// CHECK: nvvm.bar.warp.sync
// CHECK: equivariant.copy_out {{.*}}runs [0, 32, 32, 1, 64] width 4 once :
func.func @conv(%g: !equivariant.graph, %x: tensor<?x192xf32, #equivariant.irreps<"64x1o", mul_ir>>, %y: tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %w: tensor<?x64xf32>) -> tensor<?x64xf32, #equivariant.irreps<"64x0e", mul_ir>> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge : tensor<?x192xf32, #equivariant.irreps<"64x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x64xf32>)
      outs(receivers : tensor<?x64xf32, #equivariant.irreps<"64x0e", mul_ir>>) attributes {schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_end = 2, warps = 4, stages = 3, registers = 168>} {
  ^bb0(%xe: tensor<192xf32, #equivariant.irreps<"64x1o", mul_ir>>, %ye: tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %we: tensor<64xf32>):
    %s = equivariant.coefficients(1, 1, 0) * 0.5 scales : tensor<1xf32>
    %c = equivariant.coefficients(1, 1, 0) * 1.0 unit : tensor<3x3x1xf32>
    %0 = equivariant.block %xe[0] : tensor<192xf32, #equivariant.irreps<"64x1o", mul_ir>> -> tensor<64x3xf32>
    %1 = equivariant.block %ye[0] : tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>> -> tensor<1x3xf32>
    %2 = equivariant.block %we[0] : tensor<64xf32> -> tensor<64x1xf32>
    %3 = equivariant.einsum "ijk,vj->vik"(%c, %1) : (tensor<3x3x1xf32>, tensor<1x3xf32>) -> tensor<1x3x1xf32>
    %4 = equivariant.einsum "vik,ui->uvk"(%3, %0) : (tensor<1x3x1xf32>, tensor<64x3xf32>) -> tensor<64x1x1xf32>
    %5 = equivariant.einsum "uvk,uv->uk"(%4, %2) : (tensor<64x1x1xf32>, tensor<64x1xf32>) -> tensor<64x1xf32>
    %7 = equivariant.einsum "uk,k->uk"(%5, %s) : (tensor<64x1xf32>, tensor<1xf32>) -> tensor<64x1xf32>
    %6 = equivariant.assemble [0](%7) : (tensor<64x1xf32>) -> tensor<64xf32, #equivariant.irreps<"64x0e", mul_ir>>
    equivariant.yield %6 : tensor<64xf32, #equivariant.irreps<"64x0e", mul_ir>>
  }
  return %z : tensor<?x64xf32, #equivariant.irreps<"64x0e", mul_ir>>
}
