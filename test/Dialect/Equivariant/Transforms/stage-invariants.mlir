// RUN: espmm-opt %s --equivariant-stage | FileCheck %s
// RUN: espmm-opt %s --equivariant-stage --equivariant-sparsify | FileCheck %s --check-prefix=SCALAR

// Of what does not depend on the edge only the node's rows are read before the loop over its edges: products of them (C g) are formed within:
// a lane has no registers for all of them at once. Nor does what comes after move them out.
#x = #equivariant.irreps<"32x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"32x1e", mul_ir>
// CHECK-LABEL: llvm.func @conv_0(
// CHECK-NOT: equivariant.einsum
// CHECK: %[[G:.*]] = equivariant.read {{.*}} -> tensor<3xf32>
// CHECK-NOT: equivariant.einsum
// CHECK: scf.for
// CHECK: %[[C:.*]] = equivariant.coefficients(1, 1, 1)
// CHECK: %[[P:.*]] = equivariant.einsum "ijk,k->ij"(%[[C]], %[[G]])
// CHECK: equivariant.einsum {{.*}}(%[[P]],
// CHECK: scf.yield
// SCALAR-LABEL: llvm.func @conv_0(
// SCALAR: llvm.load
// SCALAR-NOT: {{llvm.fmul|llvm.intr.fma}}
// SCALAR: scf.for
// SCALAR: {{llvm.fmul|llvm.intr.fma}}
// SCALAR: scf.yield
func.func @conv(%g: !equivariant.graph, %x: tensor<?x96xf32, #x>, %y: tensor<?x3xf32, #y>, %gz: tensor<?x96xf32, #z>) -> tensor<?x32xf32> {
  %gw = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %gz at receivers : tensor<?x96xf32, #x>, tensor<?x3xf32, #y>, tensor<?x96xf32, #z>)
      outs(edge : tensor<?x32xf32>) attributes {schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_begin = 0, slab_end = 1, rows = 16, registers = 128, deterministic = false>} {
  ^bb0(%xe: tensor<96xf32, #x>, %ye: tensor<3xf32, #y>, %ge: tensor<96xf32, #z>):
    %c = equivariant.coefficients(1, 1, 1) * 0.5 : tensor<3x3x3xf32>
    %0 = equivariant.block %xe[0] : tensor<96xf32, #x> -> tensor<32x3xf32>
    %1 = equivariant.block %ye[0] : tensor<3xf32, #y> -> tensor<1x3xf32>
    %2 = equivariant.block %ge[0] : tensor<96xf32, #z> -> tensor<32x3xf32>
    %3 = equivariant.einsum "ijk,uk->uij"(%c, %2) : (tensor<3x3x3xf32>, tensor<32x3xf32>) -> tensor<32x3x3xf32>
    %4 = equivariant.einsum "uij,vj->uvi"(%3, %1) : (tensor<32x3x3xf32>, tensor<1x3xf32>) -> tensor<32x1x3xf32>
    %5 = equivariant.einsum "uvi,ui->uv"(%4, %0) : (tensor<32x1x3xf32>, tensor<32x3xf32>) -> tensor<32x1xf32>
    %6 = equivariant.assemble [0](%5) : (tensor<32x1xf32>) -> tensor<32xf32>
    equivariant.yield %6 : tensor<32xf32>
  }
  return %gw : tensor<?x32xf32>
}
