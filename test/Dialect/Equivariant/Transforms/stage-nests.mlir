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
// In vectors over w, next to each other in memory, with sums over u in registers, all vectors of an u before the next one: weights are read as they lie.
// CHECK: %[[LAST:.*]] = arith.constant dense<[true, true, true, true, false, false, false, false]> : vector<8xi1>
// CHECK: scf.for %[[U:[^ ]*]] = %{{.*}} iter_args({{.*}}) -> (tensor<1xvector<8xf32>>, tensor<1xvector<8xf32>>, tensor<1xvector<8xf32>>, tensor<1xvector<8xf32>>)
// CHECK: %[[AT:.*]] = llvm.getelementptr %[[BUFFER]][%[[U]]]
// CHECK: equivariant.read %[[AT]] offset 0 {{.*}} -> tensor<1x1xf32>
// CHECK: %[[ROW:.*]] = llvm.getelementptr %{{.*}} : (!llvm.ptr, i64) -> !llvm.ptr, f32
// CHECK: equivariant.read %[[ROW]][%{{.*}}] offset 0 {{.*}} -> tensor<1xvector<8xf32>>
// CHECK: equivariant.einsum "vk,v->k"
// CHECK: equivariant.read %[[ROW]][%{{.*}}] offset 0 {{.*}} -> tensor<1xvector<8xf32>>
// CHECK: equivariant.read %[[ROW]][%{{.*}}] offset 0 {{.*}} -> tensor<1xvector<8xf32>>
// CHECK: equivariant.read %[[ROW]][%{{.*}}] mask %[[LAST]]
// The next u:
// CHECK: llvm.getelementptr %[[BUFFER]][%{{.*}}]
// CHECK-COUNT-4: equivariant.write %{{.*}} accumulate
#p = #equivariant.product<x = "8x1o", y = "1x1o", z = "28x0e", paths = [uvw(0, 0, 0) * 1.0]>
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"28x0e", mul_ir>
func.func @forward(%s: !equivariant.rows, %x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x224xf32>) -> tensor<?x28xf32, #z> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at edge : tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x224xf32>) outs(edge : tensor<?x28xf32, #z>) {
  ^bb0(%xe: tensor<24xf32, #x>, %ye: tensor<3xf32, #y>, %we: tensor<224xf32>):
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (tensor<24xf32, #x>, tensor<3xf32, #y>, tensor<224xf32>) -> tensor<28xf32, #z>
    equivariant.yield %m : tensor<28xf32, #z>
  }
  return %r : tensor<?x28xf32, #z>
}

// Of many vectors, as many at once as there are registers: 9 of 18, each of whose halves is read for all u before the other.
// CHECK: llvm.func @wide_0
// CHECK: scf.for %[[FIRST:[^ ]*]] = %c0_i64{{.*}} to %c144_i64{{.*}} step %c72_i64{{.*}} {
// CHECK: %[[SECOND:.*]] = arith.addi %[[FIRST]], %c8_i64
// CHECK: scf.for %{{.*}} = %{{.*}} to %c8_i64{{.*}} iter_args({{.*}}) -> (tensor<1xvector<8xf32>>, tensor<1xvector<8xf32>>, tensor<1xvector<8xf32>>, tensor<1xvector<8xf32>>, tensor<1xvector<8xf32>>, tensor<1xvector<8xf32>>, tensor<1xvector<8xf32>>, tensor<1xvector<8xf32>>, tensor<1xvector<8xf32>>)
// CHECK: equivariant.read %{{.*}}[%[[FIRST]]] offset 0 strides [144]
// CHECK: equivariant.read %{{.*}}[%[[SECOND]]] offset 0 strides [144]
#q = #equivariant.product<x = "8x0e", y = "1x0e", z = "144x0e", paths = [uvw(0, 0, 0) * 1.0]>
#xs = #equivariant.irreps<"8x0e", mul_ir>
#ys = #equivariant.irreps<"1x0e", mul_ir>
#zs = #equivariant.irreps<"144x0e", mul_ir>
func.func @wide(%s: !equivariant.rows, %x: tensor<?x8xf32, #xs>, %y: tensor<?x1xf32, #ys>, %w: tensor<?x1152xf32>) -> tensor<?x144xf32, #zs> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at edge : tensor<?x8xf32, #xs>, tensor<?x1xf32, #ys>, tensor<?x1152xf32>) outs(edge : tensor<?x144xf32, #zs>) {
  ^bb0(%xe: tensor<8xf32, #xs>, %ye: tensor<1xf32, #ys>, %we: tensor<1152xf32>):
    %m = equivariant.contract z of #q (x = %xe, y = %ye, w = %we) : (tensor<8xf32, #xs>, tensor<1xf32, #ys>, tensor<1152xf32>) -> tensor<144xf32, #zs>
    equivariant.yield %m : tensor<144xf32, #zs>
  }
  return %r : tensor<?x144xf32, #zs>
}
