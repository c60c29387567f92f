// RUN: espmm-opt %s --equivariant-differentiate="wrt=3" | FileCheck %s

// Only the weights are asked for: neither the gathers nor the contracts of other gradients remain.

#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
!x = tensor<?x24xf32, #x>
!y = tensor<?x3xf32, #y>
!w = tensor<?x8xf32>
!z = tensor<?x8xf32, #z>

// CHECK-LABEL: @conv_vjp
func.func @conv(%g: !equivariant.graph, %x: !x, %y: !y, %w: !w) -> !z {
  // CHECK-NEXT: equivariant.gather
  // CHECK-NEXT: equivariant.gather
  // CHECK-NEXT: equivariant.contract w
  // CHECK-NEXT: return
  %xe = equivariant.gather %x at senders of %g : !x -> !x over !equivariant.graph
  %m = equivariant.contract z of #dot (x = %xe, y = %y, w = %w) : (!x, !y, !w) -> !z
  %z = equivariant.segment_sum %m at receivers of %g : !z -> !z over !equivariant.graph
  return %z : !z
}

// The gradient of w reads neither w nor the rows that were summed.
// CHECK-LABEL: @linear_in_weights_vjp
// CHECK-SAME: %{{[^:]+}}: !equivariant.graph, %{{[^:]+}}: tensor<{{[^:]+}}>, %{{[^:]+}}: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<?x8xf32>
func.func @linear_in_weights(%g: !equivariant.graph, %x: !x, %y: !y, %w: !w) -> !w {
  // CHECK-NEXT: %[[CT:.*]] = equivariant.gather
  // CHECK-NEXT: return %[[CT]]
  %m = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (!x, !y, !w) -> !z
  %gw = equivariant.contract w of #dot (x = %x, y = %y, z = %m) : (!x, !y, !z) -> !w
  %0 = equivariant.segment_sum %w at receivers of %g : !w -> !w over !equivariant.graph
  return %0 : !w
}
