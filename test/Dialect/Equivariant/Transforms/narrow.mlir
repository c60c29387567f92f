// RUN: espmm-opt %s --equivariant-tile="target=cpu vector-bits=256" --equivariant-narrow | FileCheck %s

#x = #equivariant.irreps<"32x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"32x0e", mul_ir>

// The example of the pass's description.
// CHECK-LABEL: @conv
// CHECK-SAME: (%[[G:[^:]+]]: {{[^,]+}}, %[[X:[^:]+]]: tensor<?x96xbf16, #{{[^>]+}}>, %[[Y:[^:]+]]: tensor<?x3xbf16, #{{[^>]+}}>, %[[W:[^:]+]]: tensor<?x32xf16>)
// CHECK-NEXT: %[[Z:.*]] = equivariant.kernel over %[[G]] : !equivariant.graph ins(%[[X]] at senders, %[[Y]] at edge, %[[W]] at edge : tensor<?x96xbf16, #{{[^>]+}}>, tensor<?x3xbf16, #{{[^>]+}}>, tensor<?x32xf16>)
// CHECK-SAME: outs(receivers : tensor<?x32xbf16, #{{[^>]+}}>)
// CHECK-NEXT: ^bb0(%{{.*}}: tensor<96xf32, #{{[^>]+}}>, %{{.*}}: tensor<3xf32, #{{[^>]+}}>, %{{.*}}: tensor<32xf32>):
// CHECK: return %[[Z]]
func.func @conv(%g: !equivariant.graph, %x: tensor<?x96xbf16, #x>, %y: tensor<?x3xbf16, #y>, %w: tensor<?x32xf16>) -> tensor<?x32xbf16, #z> {
  %xc = equivariant.convert %x : tensor<?x96xbf16, #x> -> tensor<?x96xf32, #x>
  %yc = equivariant.convert %y : tensor<?x3xbf16, #y> -> tensor<?x3xf32, #y>
  %wc = equivariant.convert %w : tensor<?x32xf16> -> tensor<?x32xf32>
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%xc at senders, %yc at edge, %wc at edge : tensor<?x96xf32, #x>, tensor<?x3xf32, #y>, tensor<?x32xf32>) outs(receivers : tensor<?x32xf32, #z>) {
  ^bb0(%xe: tensor<96xf32, #x>, %ye: tensor<3xf32, #y>, %we: tensor<32xf32>):
    %c = equivariant.coefficients(1, 1, 0) * 0.5 : tensor<3x3x1xf32>
    %0 = equivariant.block %xe[0] : tensor<96xf32, #x> -> tensor<32x3xf32>
    %1 = equivariant.block %ye[0] : tensor<3xf32, #y> -> tensor<1x3xf32>
    %2 = equivariant.block %we[0] : tensor<32xf32> -> tensor<32x1xf32>
    %3 = equivariant.einsum "ijk,vj->vik"(%c, %1) : (tensor<3x3x1xf32>, tensor<1x3xf32>) -> tensor<1x3x1xf32>
    %4 = equivariant.einsum "vik,ui->uvk"(%3, %0) : (tensor<1x3x1xf32>, tensor<32x3xf32>) -> tensor<32x1x1xf32>
    %5 = equivariant.einsum "uvk,uv->uk"(%4, %2) : (tensor<32x1x1xf32>, tensor<32x1xf32>) -> tensor<32x1xf32>
    %6 = equivariant.assemble [0](%5) : (tensor<32x1xf32>) -> tensor<32xf32, #z>
    equivariant.yield %6 : tensor<32xf32, #z>
  }
  %zc = equivariant.convert %z : tensor<?x32xf32, #z> -> tensor<?x32xbf16, #z>
  return %zc : tensor<?x32xbf16, #z>
}

// Sums at the side that edges are not grouped by are in copies, whose sum is rounded.
// CHECK-LABEL: @senders
// CHECK: %[[Z:.*]] = equivariant.kernel
// CHECK-SAME: outs(senders : tensor<?x32xf16, #{{[^>]+}}>)
// CHECK: return %[[Z]]
func.func @senders(%g: !equivariant.graph, %gz: tensor<?x32xf16, #z>) -> tensor<?x32xf16, #z> {
  %a = equivariant.convert %gz : tensor<?x32xf16, #z> -> tensor<?x32xf32, #z>
  %z = equivariant.kernel over %g : !equivariant.graph ins(%a at receivers : tensor<?x32xf32, #z>) outs(senders : tensor<?x32xf32, #z>) {
  ^bb0(%e: tensor<32xf32, #z>):
    %0 = equivariant.block %e[0] : tensor<32xf32, #z> -> tensor<32x1xf32>
    %1 = equivariant.einsum "uk->uk"(%0) : (tensor<32x1xf32>) -> tensor<32x1xf32>
    %2 = equivariant.assemble [0](%1) : (tensor<32x1xf32>) -> tensor<32xf32, #z>
    equivariant.yield %2 : tensor<32xf32, #z>
  }
  %zc = equivariant.convert %z : tensor<?x32xf32, #z> -> tensor<?x32xf16, #z>
  return %zc : tensor<?x32xf16, #z>
}
