// RUN: espmm-opt %s --equivariant-differentiate="wrt=1,2,3" --equivariant-differentiate --equivariant-fuse | FileCheck %s

// The double backward is one kernel too. Sums over one side are joined, so that rows are added and not nodes.

#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
!x = tensor<?x24xf32, #x>
!y = tensor<?x3xf32, #y>
!w = tensor<?x8xf32>
!z = tensor<?x8xf32, #z>

// CHECK-LABEL: @conv_vjp_vjp
func.func @conv(%g: !equivariant.graph, %x: !x, %y: !y, %w: !w) -> !z {
  // CHECK-NEXT: %[[K:.*]]:4 = equivariant.kernel
  // CHECK-SAME: outs({{.*}} : {{.*}}) {
  // CHECK-COUNT-9: equivariant.contract
  // CHECK-NOT: equivariant.contract
  // CHECK: equivariant.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: return %[[K]]#
  %xe = equivariant.gather %x at senders of %g : !x -> !x over !equivariant.graph
  %m = equivariant.contract z of #dot (x = %xe, y = %y, w = %w) : (!x, !y, !w) -> !z
  %z = equivariant.segment_sum %m at receivers of %g : !z -> !z over !equivariant.graph
  return %z : !z
}
