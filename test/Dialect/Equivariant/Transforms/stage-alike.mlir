// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu chip=sm_90" --equivariant-stage | FileCheck %s
// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu chip=sm_90 rows=1" --equivariant-stage | FileCheck %s --check-prefix=WARP

#p = #equivariant.product<x = "16x0e+16x0o", y = "1x0e", z = "48x0e+48x0o", paths = [uvw(0, 0, 0) * 1.0, uvw(1, 0, 1) * 1.0]>
#x = #equivariant.irreps<"16x0e+16x0o", mul_ir>
#y = #equivariant.irreps<"1x0e", mul_ir>
#z = #equivariant.irreps<"48x0e+48x0o", mul_ir>

// Even and odd irreps: what is done for them differs in where it is alone. One code does it, twice: its addresses have a number more, of the one that is done.
// CHECK-LABEL: llvm.func @forward_0
// Of each row, u after u: the one that is done is the outer loop's.
// CHECK: scf.for %[[I:.*]] = %{{.*}} to %c2_i64
// CHECK: %[[N:.*]] = arith.trunci %[[I]] : i64 to i32
// CHECK: arith.muli %[[N]], %{{.*}} : i32
// CHECK-COUNT-4: equivariant.einsum "vik,i->vk"
// CHECK-NOT: equivariant.einsum "vik
// CHECK: nvvm.barrier
// Of matrices there are as many pieces again, for the warps to take in turn.
// CHECK: scf.for %[[P:.*]] = %{{.*}} to %c4_i64{{.*}} step %c4_i64
// CHECK: %[[PIECE:.*]] = arith.trunci %[[P]] : i64 to i32
// CHECK: %[[M:.*]] = arith.divui %[[PIECE]], %{{.*}} : i32
// CHECK: arith.muli %[[M]], %c768_i32 : i32
// CHECK: equivariant.matrix_product
// CHECK: nvvm.barrier
// CHECK-NOT: equivariant.matrix_product
// CHECK: llvm.return
// A warp of its own has both.
// WARP-LABEL: llvm.func @forward_0
// WARP-COUNT-2: equivariant.einsum "vk,v->k"
func.func @forward(%s: !equivariant.rows, %x: tensor<?x32xf32, #x>, %y: tensor<?x1xf32, #y>, %w: tensor<1x1536xf32>) -> tensor<?x96xf32, #z> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at all : tensor<?x32xf32, #x>, tensor<?x1xf32, #y>, tensor<1x1536xf32>) outs(edge : tensor<?x96xf32, #z>) {
  ^bb0(%xe: tensor<32xf32, #x>, %ye: tensor<1xf32, #y>, %we: tensor<1536xf32>):
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (tensor<32xf32, #x>, tensor<1xf32, #y>, tensor<1536xf32>) -> tensor<96xf32, #z>
    equivariant.yield %m : tensor<96xf32, #z>
  }
  return %r : tensor<?x96xf32, #z>
}
