// RUN: espmm-opt %s --equivariant-narrow | FileCheck %s

// Three places of a row, two of them by instances of one kernel: each is written once, and rounded where it is.
// CHECK-LABEL: @apart
// CHECK-COUNT-2: outs(receivers : tensor<?x192xbf16>)
// CHECK-NOT: equivariant.convert
func.func @apart(%g: !equivariant.graph, %w: tensor<?x128xf32>) -> tensor<?x192xbf16> {
  %0 = equivariant.kernel over %g : !equivariant.graph ins(%w at edge : tensor<?x128xf32>) outs(receivers : tensor<?x192xf32>) attributes {schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_end = 2, instances = 2>} {
  ^bb0(%we: tensor<128xf32>):
    %b = equivariant.block %we[0] also [64] : tensor<128xf32> -> tensor<64x1xf32>
    %c = equivariant.einsum "uv->uv"(%b) : (tensor<64x1xf32>) -> tensor<64x1xf32>
    %r = equivariant.assemble [0] also [64](%c) : (tensor<64x1xf32>) -> tensor<192xf32>
    equivariant.yield %r : tensor<192xf32>
  }
  %1 = equivariant.kernel over %g : !equivariant.graph ins(%w at edge : tensor<?x128xf32>) outs(receivers : tensor<?x192xf32>) attributes {schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_end = 2>} {
  ^bb0(%we: tensor<128xf32>):
    %b = equivariant.block %we[0] : tensor<128xf32> -> tensor<64x1xf32>
    %c = equivariant.einsum "uv->uv"(%b) : (tensor<64x1xf32>) -> tensor<64x1xf32>
    %r = equivariant.assemble [128](%c) : (tensor<64x1xf32>) -> tensor<192xf32>
    equivariant.yield %r : tensor<192xf32>
  }
  %sum = equivariant.add %0, %1 : tensor<?x192xf32>
  %z = equivariant.convert %sum : tensor<?x192xf32> -> tensor<?x192xbf16>
  return %z : tensor<?x192xbf16>
}

// The second instance's place gets something from another kernel too.
// CHECK-LABEL: @together
// CHECK-COUNT-2: outs(receivers : tensor<?x192xf32>)
// CHECK: equivariant.convert
func.func @together(%g: !equivariant.graph, %w: tensor<?x128xf32>) -> tensor<?x192xbf16> {
  %0 = equivariant.kernel over %g : !equivariant.graph ins(%w at edge : tensor<?x128xf32>) outs(receivers : tensor<?x192xf32>) attributes {schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_end = 2, instances = 2>} {
  ^bb0(%we: tensor<128xf32>):
    %b = equivariant.block %we[0] also [64] : tensor<128xf32> -> tensor<64x1xf32>
    %c = equivariant.einsum "uv->uv"(%b) : (tensor<64x1xf32>) -> tensor<64x1xf32>
    %r = equivariant.assemble [0] also [64](%c) : (tensor<64x1xf32>) -> tensor<192xf32>
    equivariant.yield %r : tensor<192xf32>
  }
  %1 = equivariant.kernel over %g : !equivariant.graph ins(%w at edge : tensor<?x128xf32>) outs(receivers : tensor<?x192xf32>) attributes {schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_end = 2>} {
  ^bb0(%we: tensor<128xf32>):
    %b = equivariant.block %we[0] : tensor<128xf32> -> tensor<64x1xf32>
    %c = equivariant.einsum "uv->uv"(%b) : (tensor<64x1xf32>) -> tensor<64x1xf32>
    %r = equivariant.assemble [64](%c) : (tensor<64x1xf32>) -> tensor<192xf32>
    equivariant.yield %r : tensor<192xf32>
  }
  %sum = equivariant.add %0, %1 : tensor<?x192xf32>
  %z = equivariant.convert %sum : tensor<?x192xf32> -> tensor<?x192xbf16>
  return %z : tensor<?x192xbf16>
}
