// RUN: espmm-opt %s --equivariant-differentiate --equivariant-fuse | FileCheck %s

// One pass over the edges gives all gradients: at senders, by edge, and at receivers.

#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
!x = tensor<?x24xf32, #x>
!y = tensor<?x3xf32, #y>
!w = tensor<?x8xf32>
!z = tensor<?x8xf32, #z>

// CHECK-LABEL: @conv_vjp
// CHECK-SAME: %[[G:[^:]+]]: !equivariant.graph, %[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<{{[^:]+}}>, %[[GZ:[^:]+]]: tensor<{{[^:]+}}>)
func.func @conv(%g: !equivariant.graph, %x: !x, %y: !y, %w: !w) -> !z {
  // CHECK-NEXT: %[[K:.*]]:3 = equivariant.kernel over %[[G]]
  // CHECK-SAME: ins(%[[Y]] at edge, %[[W]] at edge, %[[GZ]] at receivers, %[[X]] at senders : {{.*}}) outs(senders, edge, edge : tensor<?x24xf32, #{{.*}}>, tensor<?x3xf32, #{{.*}}>, tensor<?x8xf32>) {
  // CHECK-NEXT: ^bb0(%[[YE:[^:]+]]: tensor<{{[^:]+}}>, %[[WE:[^:]+]]: tensor<8xf32>, %[[GE:[^:]+]]: tensor<{{[^:]+}}>, %[[XE:[^:]+]]: tensor<{{[^:]+}}>):
  // CHECK-NEXT: %[[GX:.*]] = equivariant.contract x of #{{.*}} (y = %[[YE]], w = %[[WE]], z = %[[GE]])
  // CHECK-NEXT: %[[GY:.*]] = equivariant.contract y of #{{.*}} (x = %[[XE]], w = %[[WE]], z = %[[GE]])
  // CHECK-NEXT: %[[GW:.*]] = equivariant.contract w of #{{.*}} (x = %[[XE]], y = %[[YE]], z = %[[GE]])
  // CHECK-NEXT: equivariant.yield %[[GX]], %[[GY]], %[[GW]]
  // CHECK: return %[[K]]#0, %[[K]]#1, %[[K]]#2
  %xe = equivariant.gather %x at senders of %g : !x -> !x over !equivariant.graph
  %m = equivariant.contract z of #dot (x = %xe, y = %y, w = %w) : (!x, !y, !w) -> !z
  %z = equivariant.segment_sum %m at receivers of %g : !z -> !z over !equivariant.graph
  return %z : !z
}
