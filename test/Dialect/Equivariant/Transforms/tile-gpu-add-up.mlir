// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu" -split-input-file | FileCheck %s

// What two paths give to one block is added up first, if it has no sum over a loop: one channel times one channel.
#p = #equivariant.product<x = "1x0e+1x1o", y = "1x0e+1x1o", z = "16x0e", paths = [uvw(0, 0, 0) * 1.0, uvw(1, 1, 0) * 1.0]>
#x = #equivariant.irreps<"1x0e+1x1o", mul_ir>
#z = #equivariant.irreps<"16x0e", mul_ir>
// CHECK-LABEL: func.func @one_channel(
func.func @one_channel(%s: !equivariant.rows, %x: tensor<?x4xf32, #x>, %y: tensor<?x4xf32, #x>, %w: tensor<?x32xf32>) -> tensor<?x16xf32, #z> {
  %r = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %w at edge : tensor<?x4xf32, #x>, tensor<?x4xf32, #x>, tensor<?x32xf32>) outs(edge : tensor<?x16xf32, #z>) {
  ^bb0(%xe: tensor<4xf32, #x>, %ye: tensor<4xf32, #x>, %we: tensor<32xf32>):
    // CHECK: %[[SUM:.*]] = equivariant.add %{{.*}}, %{{.*}} : tensor<16x1xf32>
    // CHECK: equivariant.assemble [0](%[[SUM]])
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (tensor<4xf32, #x>, tensor<4xf32, #x>, tensor<32xf32>) -> tensor<16xf32, #z>
    equivariant.yield %m : tensor<16xf32, #z>
  }
  return %r : tensor<?x16xf32, #z>
}

// -----

// Sums over u would have to end before they could be added: each goes to the block by itself.
#p = #equivariant.product<x = "8x0e+8x1o", y = "1x0e+1x1o", z = "16x0e", paths = [uvw(0, 0, 0) * 1.0, uvw(1, 1, 0) * 1.0]>
#x = #equivariant.irreps<"8x0e+8x1o", mul_ir>
#y = #equivariant.irreps<"1x0e+1x1o", mul_ir>
#z = #equivariant.irreps<"16x0e", mul_ir>
// CHECK-LABEL: func.func @many_channels(
func.func @many_channels(%s: !equivariant.rows, %x: tensor<?x32xf32, #x>, %y: tensor<?x4xf32, #y>, %w: tensor<?x256xf32>) -> tensor<?x16xf32, #z> {
  %r = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %w at edge : tensor<?x32xf32, #x>, tensor<?x4xf32, #y>, tensor<?x256xf32>) outs(edge : tensor<?x16xf32, #z>) {
  ^bb0(%xe: tensor<32xf32, #x>, %ye: tensor<4xf32, #y>, %we: tensor<256xf32>):
    // CHECK-NOT: equivariant.add
    // CHECK: equivariant.assemble [0, 0](
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (tensor<32xf32, #x>, tensor<4xf32, #y>, tensor<256xf32>) -> tensor<16xf32, #z>
    equivariant.yield %m : tensor<16xf32, #z>
  }
  return %r : tensor<?x16xf32, #z>
}

// -----

// Both give six channels to one block, 2 x 3 and 3 x 2: these are no sum, each goes to the block by itself.
#p = #equivariant.product<x = "2x0e+3x0e", y = "2x0e+3x0e", z = "6x0e", paths = [uvuv(1, 0, 0) weightless * 1.0, uvuv(0, 1, 0) weightless * 1.0]>
#x = #equivariant.irreps<"2x0e+3x0e", mul_ir>
#z = #equivariant.irreps<"6x0e", mul_ir>
// CHECK-LABEL: func.func @other_channels(
func.func @other_channels(%s: !equivariant.rows, %x: tensor<?x5xf32, #x>, %y: tensor<?x5xf32, #x>) -> tensor<?x6xf32, #z> {
  %r = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge : tensor<?x5xf32, #x>, tensor<?x5xf32, #x>) outs(edge : tensor<?x6xf32, #z>) {
  ^bb0(%xe: tensor<5xf32, #x>, %ye: tensor<5xf32, #x>):
    // CHECK-NOT: equivariant.add
    // CHECK: equivariant.assemble [0, 0](%{{.*}}, %{{.*}}) : (tensor<2x3x1xf32>, tensor<3x2x1xf32>)
    %m = equivariant.contract z of #p (x = %xe, y = %ye) : (tensor<5xf32, #x>, tensor<5xf32, #x>) -> tensor<6xf32, #z>
    equivariant.yield %m : tensor<6xf32, #z>
  }
  return %r : tensor<?x6xf32, #z>
}
