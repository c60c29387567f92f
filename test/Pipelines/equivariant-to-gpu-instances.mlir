// RUN: espmm-opt %s --pass-pipeline='builtin.module(equivariant-differentiate{wrt=1,2,3 cotangents=0},equivariant-to-gpu{chip=sm_90 tile-registers=4 instances=2 until=tiled})' | FileCheck %s --check-prefix=TILED
// RUN: espmm-opt %s --pass-pipeline='builtin.module(equivariant-differentiate{wrt=1,2,3 cotangents=0},equivariant-to-gpu{chip=sm_90 tile-registers=4 instances=2 until=staged})' | FileCheck %s --check-prefix=STAGED
// RUN: espmm-opt %s --pass-pipeline='builtin.module(equivariant-differentiate{wrt=1,2,3 cotangents=0},equivariant-to-gpu{chip=sm_90 tile-registers=4 instances=2})' | espmm-translate --to-ptx | FileCheck %s --check-prefix=PTX

// The backward pass of both parities of a vector. Blocks of x and of its gradient move by one block, weights by two, z's by what lies between them; y's stay.
// TILED: equivariant.kernel over {{.*}}instances = 2
// TILED-DAG: equivariant.block %{{.*}}[0] also [96] : tensor<192xf32, #{{.*}}> -> tensor<32x3xf32>
// TILED-DAG: equivariant.block %{{.*}}[0] also [64] : tensor<128xf32> -> tensor<32x1xf32>
// TILED-DAG: equivariant.block %{{.*}}[32] also [96] : tensor<128xf32> -> tensor<32x1xf32>
// TILED-DAG: equivariant.block %{{.*}}[0] also [96] : tensor<256xf32, #{{.*}}> -> tensor<32x3xf32>
// TILED-DAG: equivariant.block %{{.*}}[192] also [224] : tensor<256xf32, #{{.*}}> -> tensor<32x1xf32>
// TILED: equivariant.assemble [0, 0] also [96, 96](
// TILED: equivariant.assemble [0, 1](
// TILED: equivariant.assemble [0, 32] also [64, 96](
// TILED-NOT: equivariant.kernel

// One body in one launch, whose copies know the instance.
// STAGED: equivariant.launch @espmm_fill_2
// STAGED-NEXT: equivariant.launch @conv_vjp_0 {{.*}} overlaps(
// STAGED-NOT: equivariant.launch
// STAGED-DAG: equivariant.async_copy {{.*}} runs [0, 96, 96, 3, 32] also [96] instance
// STAGED-DAG: equivariant.async_copy {{.*}} runs [0, 32, 32, 1, 32, 32, 32, 32, 1, 32] also [64, 96] instance
// STAGED-DAG: equivariant.async_copy {{.*}} runs [0, 0, 4, 0, 0] width 4
// STAGED: scf.for
// STAGED-DAG: equivariant.copy_out {{.*}} runs [0, 96, 96, 3, 32] also [96] instance {{.*}} atomic
// STAGED-DAG: equivariant.copy_out {{.*}} runs [0, 32, 32, 1, 32, 32, 32, 32, 1, 32] also [64, 96] instance {{.*}} once

// PTX: .entry conv_vjp_0
// PTX: .entry espmm_fill_2
// PTX-NOT: .entry

#product = #equivariant.product<x = "32x1o+32x1e", y = "0e+1o", z = "32x1o+32x1e+32x0e+32x0o", paths = [uvu(0, 0, 0) * 1.0, uvu(0, 1, 2) * 1.0, uvu(1, 0, 1) * 1.0, uvu(1, 1, 3) * 1.0]>
#x = #equivariant.irreps<"32x1o+32x1e", mul_ir>
#y = #equivariant.irreps<"0e+1o", mul_ir>
#z = #equivariant.irreps<"32x1o+32x1e+32x0e+32x0o", mul_ir>
func.func @conv(%g: !equivariant.graph, %x: tensor<?x192xf32, #x>, %y: tensor<?x4xf32, #y>, %w: tensor<?x128xf32>) -> tensor<?x256xf32, #z> {
  %xe = equivariant.gather %x at senders of %g : tensor<?x192xf32, #x> -> tensor<?x192xf32, #x> over !equivariant.graph
  %ze = equivariant.contract z of #product (x = %xe, y = %y, w = %w) : (tensor<?x192xf32, #x>, tensor<?x4xf32, #y>, tensor<?x128xf32>) -> tensor<?x256xf32, #z>
  %z = equivariant.segment_sum %ze at receivers of %g : tensor<?x256xf32, #z> -> tensor<?x256xf32, #z> over !equivariant.graph
  return %z : tensor<?x256xf32, #z>
}
