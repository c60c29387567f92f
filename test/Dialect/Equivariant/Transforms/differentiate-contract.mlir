// RUN: espmm-opt %s --equivariant-differentiate | FileCheck %s

// A contract to one slot becomes a contract to each slot that was bound, with the cotangent in the place of the result.

#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
#bare = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) weightless * 0.5]>
!x = tensor<?x24xf32, #x>
!y = tensor<?x3xf32, #y>
!w = tensor<?x8xf32>
!z = tensor<?x8xf32, #z>

// CHECK-LABEL: @to_z_vjp
// CHECK-SAME: (%[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<?x8xf32>, %[[CT:[^:]+]]: tensor
func.func @to_z(%x: !x, %y: !y, %w: !w) -> !z {
  // CHECK-NEXT: %[[GX:.*]] = equivariant.contract x of #[[P:.*]] (y = %[[Y]], w = %[[W]], z = %[[CT]])
  // CHECK-NEXT: %[[GY:.*]] = equivariant.contract y of #[[P]] (x = %[[X]], w = %[[W]], z = %[[CT]])
  // CHECK-NEXT: %[[GW:.*]] = equivariant.contract w of #[[P]] (x = %[[X]], y = %[[Y]], z = %[[CT]])
  // CHECK-NEXT: return %[[GX]], %[[GY]], %[[GW]]
  %0 = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (!x, !y, !w) -> !z
  return %0 : !z
}

// CHECK-LABEL: @to_x_vjp
// CHECK-SAME: (%[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<?x8xf32>, %[[Z:[^:]+]]: tensor<{{[^:]+}}>, %[[CT:[^:]+]]: tensor
func.func @to_x(%y: !y, %w: !w, %z: !z) -> !x {
  // CHECK-NEXT: %[[GY:.*]] = equivariant.contract y of #{{.*}} (x = %[[CT]], w = %[[W]], z = %[[Z]])
  // CHECK-NEXT: %[[GW:.*]] = equivariant.contract w of #{{.*}} (x = %[[CT]], y = %[[Y]], z = %[[Z]])
  // CHECK-NEXT: %[[GZ:.*]] = equivariant.contract z of #{{.*}} (x = %[[CT]], y = %[[Y]], w = %[[W]])
  // CHECK-NEXT: return %[[GY]], %[[GW]], %[[GZ]]
  %0 = equivariant.contract x of #dot (y = %y, w = %w, z = %z) : (!y, !w, !z) -> !x
  return %0 : !x
}

// CHECK-LABEL: @to_y_vjp
// CHECK-SAME: (%[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<?x8xf32>, %[[Z:[^:]+]]: tensor<{{[^:]+}}>, %[[CT:[^:]+]]: tensor
func.func @to_y(%x: !x, %w: !w, %z: !z) -> !y {
  // CHECK-NEXT: equivariant.contract x of #{{.*}} (y = %[[CT]], w = %[[W]], z = %[[Z]])
  // CHECK-NEXT: equivariant.contract w of #{{.*}} (x = %[[X]], y = %[[CT]], z = %[[Z]])
  // CHECK-NEXT: equivariant.contract z of #{{.*}} (x = %[[X]], y = %[[CT]], w = %[[W]])
  %0 = equivariant.contract y of #dot (x = %x, w = %w, z = %z) : (!x, !w, !z) -> !y
  return %0 : !y
}

// CHECK-LABEL: @to_w_vjp
// CHECK-SAME: (%[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[Z:[^:]+]]: tensor<{{[^:]+}}>, %[[CT:[^:]+]]: tensor
func.func @to_w(%x: !x, %y: !y, %z: !z) -> !w {
  // CHECK-NEXT: equivariant.contract x of #{{.*}} (y = %[[Y]], w = %[[CT]], z = %[[Z]])
  // CHECK-NEXT: equivariant.contract y of #{{.*}} (x = %[[X]], w = %[[CT]], z = %[[Z]])
  // CHECK-NEXT: equivariant.contract z of #{{.*}} (x = %[[X]], y = %[[Y]], w = %[[CT]])
  %0 = equivariant.contract w of #dot (x = %x, y = %y, z = %z) : (!x, !y, !z) -> !w
  return %0 : !w
}

// CHECK-LABEL: @weightless_vjp
// CHECK-SAME: (%[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[CT:[^:]+]]: tensor
func.func @weightless(%x: !x, %y: !y) -> !z {
  // CHECK-NEXT: equivariant.contract x of #{{.*}} (y = %[[Y]], z = %[[CT]])
  // CHECK-NEXT: equivariant.contract y of #{{.*}} (x = %[[X]], z = %[[CT]])
  // CHECK-NEXT: return
  %0 = equivariant.contract z of #bare (x = %x, y = %y) : (!x, !y) -> !z
  return %0 : !z
}

// The same value in two slots: its gradient has two parts.
#square = #equivariant.product<x = "4x1o", y = "4x1o", z = "4x0e", paths = [uuu(0, 0, 0) weightless * 1.0]>
!v = tensor<?x12xf32, #equivariant.irreps<"4x1o", mul_ir>>
!s = tensor<?x4xf32, #equivariant.irreps<"4x0e", mul_ir>>
// CHECK-LABEL: @square_vjp
// CHECK-SAME: (%[[V:[^:]+]]: tensor<{{[^:]+}}>, %[[CT:[^:]+]]: tensor
func.func @square(%v: !v) -> !s {
  // CHECK-NEXT: %[[A:.*]] = equivariant.contract x of #{{.*}} (y = %[[V]], z = %[[CT]])
  // CHECK-NEXT: %[[B:.*]] = equivariant.contract y of #{{.*}} (x = %[[V]], z = %[[CT]])
  // CHECK-NEXT: %[[GV:.*]] = equivariant.add %[[A]], %[[B]]
  // CHECK-NEXT: return %[[GV]]
  %0 = equivariant.contract z of #square (x = %v, y = %v) : (!v, !v) -> !s
  return %0 : !s
}
