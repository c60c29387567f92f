// RUN: espmm-opt %s --equivariant-differentiate="wrt=1,2,3" | FileCheck %s

// A product of weighted and weightless paths is two contracts: the gradient of w comes from one, those of x and y from both.

#x = #equivariant.irreps<"2x0e+2x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"2x0e+2x1o", mul_ir>
#weighted = #equivariant.product<x = "2x0e+2x1o", y = "1x1o", z = "2x0e+2x1o", paths = [uvu(0, 0, 1) * 1.0]>
#weightless = #equivariant.product<x = "2x0e+2x1o", y = "1x1o", z = "2x0e+2x1o", paths = [uvu(1, 0, 0) weightless * 0.5]>
!x = tensor<?x8xf64, #x>
!y = tensor<?x3xf64, #y>
!w = tensor<?x2xf64>
!z = tensor<?x8xf64, #z>

// CHECK-DAG: #[[WEIGHTED:.*]] = #equivariant.product<{{.*}} paths = [uvu(0, 0, 1) * 1.0]>
// CHECK-DAG: #[[WEIGHTLESS:.*]] = #equivariant.product<{{.*}} paths = [uvu(1, 0, 0) weightless * 0.5]>

// CHECK-LABEL: @mixed_vjp
// CHECK-SAME: %{{[^:]+}}: !equivariant.rows, %[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<?x2xf64>, %[[CT:[^:]+]]: tensor
func.func @mixed(%r: !equivariant.rows, %x: !x, %y: !y, %w: !w) -> !z {
  // CHECK-DAG: %[[X0:.*]] = equivariant.contract x of #[[WEIGHTLESS]] (y = %[[Y]], z = %[[CT]])
  // CHECK-DAG: %[[Y0:.*]] = equivariant.contract y of #[[WEIGHTLESS]] (x = %[[X]], z = %[[CT]])
  // CHECK-DAG: %[[X1:.*]] = equivariant.contract x of #[[WEIGHTED]] (y = %[[Y]], w = %[[W]], z = %[[CT]])
  // CHECK-DAG: %[[Y1:.*]] = equivariant.contract y of #[[WEIGHTED]] (x = %[[X]], w = %[[W]], z = %[[CT]])
  // CHECK-DAG: %[[GX:.*]] = equivariant.add %[[X0]], %[[X1]]
  // CHECK-DAG: %[[GY:.*]] = equivariant.add %[[Y0]], %[[Y1]]
  // CHECK-DAG: %[[GW:.*]] = equivariant.contract w of #[[WEIGHTED]] (x = %[[X]], y = %[[Y]], z = %[[CT]])
  // CHECK: return %[[GX]], %[[GY]], %[[GW]]
  %0 = equivariant.contract z of #weighted (x = %x, y = %y, w = %w) : (!x, !y, !w) -> !z
  %1 = equivariant.contract z of #weightless (x = %x, y = %y) : (!x, !y) -> !z
  %z = equivariant.add %0, %1 : !z
  return %z : !z
}
