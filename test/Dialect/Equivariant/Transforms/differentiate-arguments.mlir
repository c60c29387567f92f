// RUN: espmm-opt %s --equivariant-differentiate="wrt=3,1 cotangents=1" | FileCheck %s

// Gradients come in wrt's order, cotangents in theirs; results without a cotangent, and what only they need, disappear.

#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
!x = tensor<?x24xf32, #x>
!y = tensor<?x3xf32, #y>
!w = tensor<?x8xf32>
!z = tensor<?x8xf32, #z>

// CHECK-LABEL: @order_vjp
// CHECK-SAME: %{{[^:]+}}: !equivariant.graph, %[[X:[^:]+]]: tensor<?x24xf32, #[[XI:[^>]+]]>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<?x8xf32>, %[[C1:[^:]+]]: tensor<?x8xf32, #{{[^>]+}}>) -> (tensor<?x8xf32>, tensor<?x24xf32, #[[XI]]>)
func.func @order(%g: !equivariant.graph, %x: !x, %y: !y, %w: !w) -> (!z, !z) {
  // CHECK-NEXT: %[[GX:.*]] = equivariant.contract x of #{{.*}} (y = %[[Y]], w = %[[W]], z = %[[C1]])
  // CHECK-NEXT: %[[GW:.*]] = equivariant.contract w of #{{.*}} (x = %[[X]], y = %[[Y]], z = %[[C1]])
  // CHECK-NEXT: return %[[GW]], %[[GX]]
  %1 = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (!x, !y, !w) -> !z
  %0 = equivariant.segment_sum %1 at receivers of %g : !z -> !z over !equivariant.graph
  return %0, %1 : !z, !z
}

// An argument that the result does not depend on has gradient zero.
// CHECK-LABEL: @independent_vjp
// CHECK-SAME: %{{[^:]+}}: !equivariant.graph, %[[X:[^:]+]]: tensor<?x24xf32, #[[XI:[^>]+]]>, %{{[^:]+}}: tensor<{{[^:]+}}>, %{{[^:]+}}: tensor<?x8xf32>, %[[C1:[^:]+]]: tensor<?x8xf32>)
func.func @independent(%g: !equivariant.graph, %x: !x, %y: !y, %w: !w) -> (!z, !w) {
  // CHECK-NEXT: %[[GX:.*]] = equivariant.zeros like %[[X]] : tensor<?x24xf32, #[[XI]]> -> tensor<?x24xf32, #[[XI]]>
  // CHECK-NEXT: return %[[C1]], %[[GX]]
  %0 = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (!x, !y, !w) -> !z
  return %0, %w : !z, !w
}

// Attributes of the arguments stay with them.
// CHECK-LABEL: @attributes_vjp
// CHECK-SAME: {equivariant.name = "x"}, %{{.*}}: tensor<{{.*}}>, %{{.*}}: tensor<?x8xf32> {equivariant.name = "w"}, %{{.*}}: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x24xf32, #{{.*}}>)
func.func @attributes(%g: !equivariant.graph, %x: !x {equivariant.name = "x"}, %y: !y, %w: !w {equivariant.name = "w"}) -> (!x, !w {equivariant.name = "r"}) {
  return %x, %w : !x, !w
}
