// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu chip=sm_90" --equivariant-stage | FileCheck %s
// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu chip=sm_90 products=2" --equivariant-stage | FileCheck %s --check-prefix=TF32
// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu chip=sm_90 products=1" --equivariant-stage | FileCheck %s --check-prefix=NONE
// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu chip=sm_90" | FileCheck %s --check-prefix=TILE

#p = #equivariant.product<x = "16x0e", y = "1x0e", z = "48x0e", paths = [uvw(0, 0, 0) * 1.0]>
#x = #equivariant.irreps<"16x0e", mul_ir>
#y = #equivariant.irreps<"1x0e", mul_ir>
#z = #equivariant.irreps<"48x0e", mul_ir>

// Weights that rows share, times numbers of the rows: matrix units have rows in their rows, w in their columns, and sum over u, two steps of eight. A warp has some tiles of the
// result; lane 4 b + a of it rows 4 b + n, columns w = a and a + 4 of a tile, and adds to nobody else's.
// TILE: rows = 32, {{.*}}products = 3
// NONE-NOT: equivariant.matrix_product
// TF32-LABEL: llvm.func @forward_0
// TF32: equivariant.matrix_product {{.*}} terms 1
// CHECK-LABEL: llvm.func @forward_0
// What a row has of them is computed first, each row in its lane.
// CHECK: equivariant.einsum "vik,i->vk"
// CHECK: nvvm.barrier
// CHECK: %[[LANE:.*]] = llvm.inline_asm has_side_effects "mov.b32 $0, $1;", "=r,r"
// CHECK: %[[B:.*]] = arith.divui %[[LANE]], %{{.*}} : i32
// CHECK: scf.for
// CHECK: scf.for {{.*}} iter_args(%[[S0:[^ ]*]] = %{{[^,]*}}, %[[S1:[^ ]*]] = %{{[^,]*}}, %[[S2:[^ ]*]] = %{{[^,]*}}, %[[S3:[^ ]*]] = 
// CHECK-COUNT-4: equivariant.read %{{.*}} -> tensor<1x1xf32>
// CHECK: equivariant.read %{{.*}} : <1> -> tensor<1xf32>
// CHECK: equivariant.matrix_product "vk,v->k" %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} by %{{.*}}, %{{.*}} into %[[S0]], %[[S1]], %[[S2]], %[[S3]] terms 3
// CHECK: scf.yield
// CHECK: equivariant.write %{{.*}} to %{{.*}} offset 0 strides [33] : tensor<1xf32>, <3>
// CHECK: } {loop_annotation
func.func @forward(%s: !equivariant.rows, %x: tensor<?x16xf32, #x>, %y: tensor<?x1xf32, #y>, %w: tensor<1x768xf32>) -> tensor<?x48xf32, #z> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at all : tensor<?x16xf32, #x>, tensor<?x1xf32, #y>, tensor<1x768xf32>) outs(edge : tensor<?x48xf32, #z>) {
  ^bb0(%xe: tensor<16xf32, #x>, %ye: tensor<1xf32, #y>, %we: tensor<768xf32>):
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (tensor<16xf32, #x>, tensor<1xf32, #y>, tensor<768xf32>) -> tensor<48xf32, #z>
    equivariant.yield %m : tensor<48xf32, #z>
  }
  return %r : tensor<?x48xf32, #z>
}

// The gradient of the weights sums over rows: they are the matrices' depth, four steps. What a tile gives is added to a row of the block that nobody waits for. The sum over all rows is to be as exact as one in
// pairs, which two numbers of tf32 are too short for.
// CHECK-LABEL: llvm.func @gradient_0
// CHECK-NOT: equivariant.matrix_product
// TF32-LABEL: llvm.func @gradient_0
// TF32: scf.for {{.*}} iter_args
// TF32: equivariant.matrix_product
// TF32: scf.yield
// TF32-COUNT-12: equivariant.write %{{.*}} to %{{.*}} offset 0 strides [48] accumulate atomic : tensor<1xf32>, <1>
func.func @gradient(%s: !equivariant.rows, %x: tensor<?x16xf32, #x>, %y: tensor<?x1xf32, #y>, %gz: tensor<?x48xf32, #z>) -> tensor<1x768xf32> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %gz at edge : tensor<?x16xf32, #x>, tensor<?x1xf32, #y>, tensor<?x48xf32, #z>) outs(all : tensor<1x768xf32>) {
  ^bb0(%xe: tensor<16xf32, #x>, %ye: tensor<1xf32, #y>, %ge: tensor<48xf32, #z>):
    %m = equivariant.contract w of #p (x = %xe, y = %ye, z = %ge) : (tensor<16xf32, #x>, tensor<1xf32, #y>, tensor<48xf32, #z>) -> tensor<768xf32>
    equivariant.yield %m : tensor<768xf32>
  }
  return %r : tensor<1x768xf32>
}
