// RUN: espmm-opt %s --equivariant-differentiate="wrt=1,3" --equivariant-differentiate="wrt=1,4" --cse | FileCheck %s

// The gradients of x and w once more, with respect to x and the cotangent of z: no derivative is written by hand.

#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
!x = tensor<?x24xf32, #x>
!y = tensor<?x3xf32, #y>
!w = tensor<?x8xf32>
!z = tensor<?x8xf32, #z>

// CHECK: func.func @conv_vjp_vjp(%[[G:[^:]+]]: !equivariant.graph, %[[X:[^:]+]]: tensor<?x24xf32, #{{[^>]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<?x8xf32>,
// CHECK-SAME: %[[GZ:[^:]+]]: tensor<?x8xf32, #{{[^>]+}}>, %[[CX:[^:]+]]: tensor<?x24xf32, #{{[^>]+}}>, %[[CW:[^:]+]]: tensor<?x8xf32>)
func.func @conv(%g: !equivariant.graph, %x: !x, %y: !y, %w: !w) -> !z {
  // CHECK-DAG: %[[XE:.*]] = equivariant.gather %[[X]] at senders of %[[G]]
  // CHECK-DAG: %[[GE:.*]] = equivariant.gather %[[GZ]] at receivers of %[[G]]
  // CHECK-DAG: %[[CXE:.*]] = equivariant.gather %[[CX]] at senders of %[[G]]

  // x enters the gradient of w only, the cotangent both.
  // CHECK-DAG: %[[DX:.*]] = equivariant.contract x of #[[P:.*]] (y = %[[Y]], w = %[[CW]], z = %[[GE]])
  // CHECK-DAG: %[[DZ0:.*]] = equivariant.contract z of #[[P]] (x = %[[XE]], y = %[[Y]], w = %[[CW]])
  // CHECK-DAG: %[[DZ1:.*]] = equivariant.contract z of #[[P]] (x = %[[CXE]], y = %[[Y]], w = %[[W]])
  // CHECK-DAG: %[[DZ:.*]] = equivariant.add %[[DZ0]], %[[DZ1]]
  // CHECK-DAG: %[[SX:.*]] = equivariant.segment_sum %[[DX]] at senders of %[[G]]
  // CHECK-DAG: %[[SZ:.*]] = equivariant.segment_sum %[[DZ]] at receivers of %[[G]]
  // CHECK-NOT: equivariant.contract
  // CHECK: return %[[SX]], %[[SZ]]
  %xe = equivariant.gather %x at senders of %g : !x -> !x over !equivariant.graph
  %m = equivariant.contract z of #dot (x = %xe, y = %y, w = %w) : (!x, !y, !w) -> !z
  %z = equivariant.segment_sum %m at receivers of %g : !z -> !z over !equivariant.graph
  return %z : !z
}
