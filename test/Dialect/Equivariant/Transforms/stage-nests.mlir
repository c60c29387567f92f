// RUN: espmm-opt %s --equivariant-factor="channel-free-cost=0.0625 channel-sum-cost=0" --equivariant-tile="target=cpu vector-bits=256" --equivariant-stage | FileCheck %s

// A dense product with weights [u, v, w] is an einsum over several multiplicities: each operation has loops of its own, and hands a buffer to the next.
// What has no multiplicity with a loop is computed once.
// CHECK: llvm.func @forward_0
// CHECK: scf.for
// CHECK: %[[M:.*]] = equivariant.einsum "ijk,vj->vik"
// CHECK: equivariant.write %[[M]] to %[[MATRIX:[0-9]+]]
// CHECK: llvm.fence syncscope("singlethread") acq_rel
// In one vector over u:
// CHECK: equivariant.read %[[MATRIX]] offset 0
// CHECK: %[[T:.*]] = equivariant.einsum "vik,i->vk"
// CHECK: equivariant.write %[[T]] to %[[BUFFER:[0-9]+]][%c0_i64{{.*}}]
// CHECK: llvm.fence
// In vectors over w, next to each other in memory, with a sum over u in registers, one u at a time:
// CHECK: scf.for %[[W:.*]] = %{{.*}} to %c24_i64{{.*}} step %c8_i64
// CHECK: scf.for %[[U:[^ ]*]] = %{{.*}} step %c1_i64{{.*}} iter_args(
// CHECK: %[[AT:.*]] = llvm.getelementptr %[[BUFFER]][%[[U]]]
// CHECK: equivariant.read %[[AT]] offset 0 {{.*}} -> tensor<1x1xf32>
// CHECK: equivariant.read %{{[0-9]+}}[%[[W]]] offset 0 {{.*}} -> tensor<1xvector<8xf32>>
// CHECK: equivariant.einsum "vk,v->k"
// CHECK: equivariant.write %{{.*}} accumulate
#p = #equivariant.product<x = "8x1o", y = "1x1o", z = "24x0e", paths = [uvw(0, 0, 0) * 1.0]>
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"24x0e", mul_ir>
func.func @forward(%s: !equivariant.rows, %x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x192xf32>) -> tensor<?x24xf32, #z> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at edge : tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x192xf32>) outs(edge : tensor<?x24xf32, #z>) {
  ^bb0(%xe: tensor<24xf32, #x>, %ye: tensor<3xf32, #y>, %we: tensor<192xf32>):
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (tensor<24xf32, #x>, tensor<3xf32, #y>, tensor<192xf32>) -> tensor<24xf32, #z>
    equivariant.yield %m : tensor<24xf32, #z>
  }
  return %r : tensor<?x24xf32, #z>
}
