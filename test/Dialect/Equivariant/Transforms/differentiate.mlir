// RUN: espmm-opt %s --equivariant-differentiate="wrt=1,3 cotangents=0" | FileCheck %s

// The example of the pass's description.

#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.57735026918962573]>

// CHECK: func.func @conv_vjp(%[[G:[^:]+]]: !equivariant.graph, %[[X:[^:]+]]: tensor<?x24xf32, #[[XI:[^>]+]]>, %[[Y:[^:]+]]: tensor<?x3xf32, #{{[^>]+}}>, %[[W:[^:]+]]: tensor<?x8xf32>, %[[GZ:[^:]+]]: tensor<?x8xf32, #{{[^>]+}}>)
// CHECK-SAME: -> (tensor<?x24xf32, #[[XI]]>, tensor<?x8xf32>)
func.func @conv(%g: !equivariant.graph, %x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>) -> tensor<?x8xf32, #z> {
  // CHECK-NEXT: %[[XE:.*]] = equivariant.gather %[[X]] at senders of %[[G]]
  // CHECK-NEXT: %[[GE:.*]] = equivariant.gather %[[GZ]] at receivers of %[[G]]
  // CHECK-NEXT: %[[MX:.*]] = equivariant.contract x of #[[DOT:.*]] (y = %[[Y]], w = %[[W]], z = %[[GE]])
  // CHECK-NEXT: %[[GW:.*]] = equivariant.contract w of #[[DOT]] (x = %[[XE]], y = %[[Y]], z = %[[GE]])
  // CHECK-NEXT: %[[GX:.*]] = equivariant.segment_sum %[[MX]] at senders of %[[G]]
  // CHECK-NEXT: return %[[GX]], %[[GW]]
  %xe = equivariant.gather %x at senders of %g : tensor<?x24xf32, #x> -> tensor<?x24xf32, #x> over !equivariant.graph
  %m = equivariant.contract z of #dot (x = %xe, y = %y, w = %w) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32>) -> tensor<?x8xf32, #z>
  %z = equivariant.segment_sum %m at receivers of %g : tensor<?x8xf32, #z> -> tensor<?x8xf32, #z> over !equivariant.graph
  return %z : tensor<?x8xf32, #z>
}
