// RUN: espmm-opt %s --canonicalize | FileCheck %s

#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>

// CHECK-LABEL: @unused_result
// CHECK-SAME: %[[G:[^:]+]]: !equivariant.graph, %[[X:[^:]+]]: tensor<?x24xf32, #[[XI:.*]]>, %[[Y:[^:]+]]: tensor<?x3xf32, #[[YI:.*]]>, %[[W:[^:]+]]: tensor<?x8xf32>, %[[GZ:[^:]+]]: tensor<?x8xf32, #[[ZI:.*]]>)
func.func @unused_result(%g: !equivariant.graph, %x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>,
                         %gz: tensor<?x8xf32, #z>) -> tensor<?x8xf32> {
  // The gradient of x goes, and w with it.
  // CHECK-NEXT: %[[K:.*]] = equivariant.kernel over %[[G]] : !equivariant.graph ins(%[[X]] at senders, %[[Y]] at edge, %[[GZ]] at receivers : {{.*}}) outs(edge : tensor<?x8xf32>) attributes {note = "kept"} {
  // CHECK-NEXT: ^bb0(%[[XE:.*]]: tensor<24xf32, #[[XI]]>, %[[YE:.*]]: tensor<3xf32, #[[YI]]>, %[[ZE:.*]]: tensor<8xf32, #[[ZI]]>):
  // CHECK-NEXT: %[[GW:.*]] = equivariant.contract w of #{{.*}} (x = %[[XE]], y = %[[YE]], z = %[[ZE]])
  // CHECK-NEXT: equivariant.yield %[[GW]] : tensor<8xf32>
  // CHECK: return %[[K]]
  %r:2 = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge, %gz at receivers
          : tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32>, tensor<?x8xf32, #z>)
      outs(senders, edge : tensor<?x24xf32, #x>, tensor<?x8xf32>) attributes {note = "kept"} {
  ^bb0(%xe: tensor<24xf32, #x>, %ye: tensor<3xf32, #y>, %we: tensor<8xf32>, %ze: tensor<8xf32, #z>):
    %0 = equivariant.contract x of #dot (y = %ye, w = %we, z = %ze) : (tensor<3xf32, #y>, tensor<8xf32>, tensor<8xf32, #z>) -> tensor<24xf32, #x>
    %1 = equivariant.contract w of #dot (x = %xe, y = %ye, z = %ze) : (tensor<24xf32, #x>, tensor<3xf32, #y>, tensor<8xf32, #z>) -> tensor<8xf32>
    equivariant.yield %0, %1 : tensor<24xf32, #x>, tensor<8xf32>
  }
  return %r#1 : tensor<?x8xf32>
}

// CHECK-LABEL: @unused_kernel
func.func @unused_kernel(%g: !equivariant.graph, %w: tensor<?x8xf32>) {
  // CHECK-NEXT: return
  %r = equivariant.kernel over %g : !equivariant.graph ins(%w at edge : tensor<?x8xf32>) outs(receivers : tensor<?x8xf32>) {
  ^bb0(%we: tensor<8xf32>):
    equivariant.yield %we : tensor<8xf32>
  }
  return
}

// Rows inside a kernel fold as tensors do outside.
// CHECK-LABEL: @zeros_inside
func.func @zeros_inside(%g: !equivariant.graph, %x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %a: tensor<?x8xf32, #z>) -> tensor<?x8xf32, #z> {
  // CHECK-NEXT: equivariant.kernel over %{{.*}} : !equivariant.graph ins(%{{.*}} at edge : tensor<?x8xf32, #{{.*}}>) outs(receivers
  // CHECK-NEXT: ^bb0(%[[A:.*]]: tensor<8xf32, #{{.*}}>):
  // CHECK-NEXT: equivariant.yield %[[A]]
  %r = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %a at edge : tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32, #z>)
      outs(receivers : tensor<?x8xf32, #z>) {
  ^bb0(%xe: tensor<24xf32, #x>, %ye: tensor<3xf32, #y>, %ae: tensor<8xf32, #z>):
    %w = equivariant.zeros like %ye : tensor<3xf32, #y> -> tensor<8xf32>
    %z = equivariant.contract z of #dot (x = %xe, y = %ye, w = %w) : (tensor<24xf32, #x>, tensor<3xf32, #y>, tensor<8xf32>) -> tensor<8xf32, #z>
    %sum = equivariant.add %z, %ae : tensor<8xf32, #z>
    equivariant.yield %sum : tensor<8xf32, #z>
  }
  return %r : tensor<?x8xf32, #z>
}
