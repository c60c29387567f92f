// RUN: espmm-opt %s --pass-pipeline='builtin.module(equivariant-differentiate{wrt=1,2,3 cotangents=0},equivariant-to-gpu{chip=sm_90 until=tiled})' | FileCheck %s --check-prefix=ONE
// RUN: espmm-opt %s --pass-pipeline='builtin.module(equivariant-differentiate{wrt=1,2,3 cotangents=0},equivariant-to-gpu{chip=sm_90 tile-registers=1 until=tiled})' | FileCheck %s --check-prefix=TWO
// RUN: espmm-opt %s --pass-pipeline='builtin.module(equivariant-differentiate{wrt=1,2,3 cotangents=0},equivariant-to-gpu{chip=sm_90 tile-registers=1 deterministic=true group-by=1 until=tiled})' | FileCheck %s --check-prefix=SUM
// RUN: espmm-opt %s --pass-pipeline='builtin.module(equivariant-differentiate{wrt=1,2,3 cotangents=0},equivariant-to-gpu{chip=sm_90 deterministic=true until=tiled})' | FileCheck %s --check-prefix=SENDERS
// RUN: espmm-opt %s --pass-pipeline='builtin.module(equivariant-differentiate{wrt=1,2,3 cotangents=0},equivariant-to-gpu{chip=sm_90 group-by=2 until=tiled})' | FileCheck %s --check-prefix=SENDERS

// Two paths that share their block of x are one kernel as long as it has registers for both.
// ONE-COUNT-1: equivariant.kernel over
// ONE-NOT: equivariant.kernel over

// If it has not, each reads x, and adds its share to gx; weights and their gradients are each path's own.
// TWO: equivariant.kernel over
// TWO-DAG: equivariant.block %{{.*}}[0] : tensor<96xf32, #irreps> -> tensor<32x3xf32>
// TWO-DAG: equivariant.assemble [0](%{{.*}}) : (tensor<32x3xf32>) -> tensor<96xf32, #irreps>
// TWO-DAG: equivariant.assemble [0](%{{.*}}) : (tensor<32x1xf32>) -> tensor<64xf32>
// TWO: equivariant.kernel over
// TWO-DAG: equivariant.block %{{.*}}[0] : tensor<96xf32, #irreps> -> tensor<32x3xf32>
// TWO-DAG: equivariant.assemble [0](%{{.*}}) : (tensor<32x3xf32>) -> tensor<96xf32, #irreps>
// TWO-DAG: equivariant.assemble [32](%{{.*}}) : (tensor<32x1xf32>) -> tensor<64xf32>

// Where gx is written edge by edge, to be summed in a fixed order, there can be one writer only.
// SUM: equivariant.kernel over {{.*}} outs(edge, edge, edge
// SUM-NOT: outs(edge, edge, edge
// SUM: equivariant.kernel over {{.*}} outs(senders

// Nothing is summed for receivers, and z's gradient, read for each edge, is hardly longer than x: with the edges of a sender together gx is a sum in registers.
// SENDERS-COUNT-1: equivariant.kernel over {{.*}} outs(senders, edge, edge {{.*}}group_by = senders
// SENDERS-NOT: equivariant.kernel over

#product = #equivariant.product<x = "32x1o", y = "0e+1o", z = "32x1o+32x0e", paths = [uvu(0, 0, 0) * 1.7320508075688772, uvu(0, 1, 1) * 1.0]>
#x = #equivariant.irreps<"32x1o", mul_ir>
#y = #equivariant.irreps<"0e+1o", mul_ir>
#z = #equivariant.irreps<"32x1o+32x0e", mul_ir>
func.func @conv(%g: !equivariant.graph, %x: tensor<?x96xf32, #x>, %y: tensor<?x4xf32, #y>, %w: tensor<?x64xf32>) -> tensor<?x128xf32, #z> {
  %xe = equivariant.gather %x at senders of %g : tensor<?x96xf32, #x> -> tensor<?x96xf32, #x> over !equivariant.graph
  %ze = equivariant.contract z of #product (x = %xe, y = %y, w = %w) : (tensor<?x96xf32, #x>, tensor<?x4xf32, #y>, tensor<?x64xf32>) -> tensor<?x128xf32, #z>
  %z = equivariant.segment_sum %ze at receivers of %g : tensor<?x128xf32, #z> -> tensor<?x128xf32, #z> over !equivariant.graph
  return %z : tensor<?x128xf32, #z>
}
