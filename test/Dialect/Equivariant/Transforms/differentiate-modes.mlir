// RUN: espmm-opt %s --equivariant-differentiate | FileCheck %s

// Every mode of e3nn is one index map: none needs a rule of its own. The number of weights is that of the mode's w.

// CHECK-LABEL: @uvw_vjp
// CHECK-SAME: (%[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<?x30xf64>, %[[CT:[^:]+]]: tensor
func.func @uvw(%x: tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>,
    %y: tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, %w: tensor<?x30xf64>) -> tensor<?x5xf64, #equivariant.irreps<"5x0e", mul_ir>> {
  // CHECK-NEXT: equivariant.contract x of #[[P:product[0-9]*]] (y = %[[Y]], w = %[[W]], z = %[[CT]])
  // CHECK-NEXT: equivariant.contract y of #[[P]] (x = %[[X]], w = %[[W]], z = %[[CT]])
  // CHECK-NEXT: equivariant.contract w of #[[P]] (x = %[[X]], y = %[[Y]], z = %[[CT]])
  // CHECK-NEXT: return
  %0 = equivariant.contract z of #equivariant.product<x = "2x1o", y = "3x1o", z = "5x0e", paths = [uvw(0, 0, 0) * 1.0]> (x = %x, y = %y, w = %w)
       : (tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, tensor<?x30xf64>) -> tensor<?x5xf64, #equivariant.irreps<"5x0e", mul_ir>>
  return %0 : tensor<?x5xf64, #equivariant.irreps<"5x0e", mul_ir>>
}

// CHECK-LABEL: @uvu_vjp
// CHECK-SAME: (%[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<?x6xf64>, %[[CT:[^:]+]]: tensor
func.func @uvu(%x: tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>,
    %y: tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, %w: tensor<?x6xf64>) -> tensor<?x2xf64, #equivariant.irreps<"2x0e", mul_ir>> {
  // CHECK-NEXT: equivariant.contract x of #[[P:product[0-9]*]] (y = %[[Y]], w = %[[W]], z = %[[CT]])
  // CHECK-NEXT: equivariant.contract y of #[[P]] (x = %[[X]], w = %[[W]], z = %[[CT]])
  // CHECK-NEXT: equivariant.contract w of #[[P]] (x = %[[X]], y = %[[Y]], z = %[[CT]])
  // CHECK-NEXT: return
  %0 = equivariant.contract z of #equivariant.product<x = "2x1o", y = "3x1o", z = "2x0e", paths = [uvu(0, 0, 0) * 1.0]> (x = %x, y = %y, w = %w)
       : (tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, tensor<?x6xf64>) -> tensor<?x2xf64, #equivariant.irreps<"2x0e", mul_ir>>
  return %0 : tensor<?x2xf64, #equivariant.irreps<"2x0e", mul_ir>>
}

// CHECK-LABEL: @uvv_vjp
// CHECK-SAME: (%[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<?x6xf64>, %[[CT:[^:]+]]: tensor
func.func @uvv(%x: tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>,
    %y: tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, %w: tensor<?x6xf64>) -> tensor<?x3xf64, #equivariant.irreps<"3x0e", mul_ir>> {
  // CHECK-NEXT: equivariant.contract x of #[[P:product[0-9]*]] (y = %[[Y]], w = %[[W]], z = %[[CT]])
  // CHECK-NEXT: equivariant.contract y of #[[P]] (x = %[[X]], w = %[[W]], z = %[[CT]])
  // CHECK-NEXT: equivariant.contract w of #[[P]] (x = %[[X]], y = %[[Y]], z = %[[CT]])
  // CHECK-NEXT: return
  %0 = equivariant.contract z of #equivariant.product<x = "2x1o", y = "3x1o", z = "3x0e", paths = [uvv(0, 0, 0) * 1.0]> (x = %x, y = %y, w = %w)
       : (tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, tensor<?x6xf64>) -> tensor<?x3xf64, #equivariant.irreps<"3x0e", mul_ir>>
  return %0 : tensor<?x3xf64, #equivariant.irreps<"3x0e", mul_ir>>
}

// CHECK-LABEL: @uuw_vjp
// CHECK-SAME: (%[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<?x10xf64>, %[[CT:[^:]+]]: tensor
func.func @uuw(%x: tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>,
    %y: tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, %w: tensor<?x10xf64>) -> tensor<?x5xf64, #equivariant.irreps<"5x0e", mul_ir>> {
  // CHECK-NEXT: equivariant.contract x of #[[P:product[0-9]*]] (y = %[[Y]], w = %[[W]], z = %[[CT]])
  // CHECK-NEXT: equivariant.contract y of #[[P]] (x = %[[X]], w = %[[W]], z = %[[CT]])
  // CHECK-NEXT: equivariant.contract w of #[[P]] (x = %[[X]], y = %[[Y]], z = %[[CT]])
  // CHECK-NEXT: return
  %0 = equivariant.contract z of #equivariant.product<x = "2x1o", y = "2x1o", z = "5x0e", paths = [uuw(0, 0, 0) * 1.0]> (x = %x, y = %y, w = %w)
       : (tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<?x10xf64>) -> tensor<?x5xf64, #equivariant.irreps<"5x0e", mul_ir>>
  return %0 : tensor<?x5xf64, #equivariant.irreps<"5x0e", mul_ir>>
}

// CHECK-LABEL: @uuu_vjp
// CHECK-SAME: (%[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<?x2xf64>, %[[CT:[^:]+]]: tensor
func.func @uuu(%x: tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>,
    %y: tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, %w: tensor<?x2xf64>) -> tensor<?x2xf64, #equivariant.irreps<"2x0e", mul_ir>> {
  // CHECK-NEXT: equivariant.contract x of #[[P:product[0-9]*]] (y = %[[Y]], w = %[[W]], z = %[[CT]])
  // CHECK-NEXT: equivariant.contract y of #[[P]] (x = %[[X]], w = %[[W]], z = %[[CT]])
  // CHECK-NEXT: equivariant.contract w of #[[P]] (x = %[[X]], y = %[[Y]], z = %[[CT]])
  // CHECK-NEXT: return
  %0 = equivariant.contract z of #equivariant.product<x = "2x1o", y = "2x1o", z = "2x0e", paths = [uuu(0, 0, 0) * 1.0]> (x = %x, y = %y, w = %w)
       : (tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<?x2xf64>) -> tensor<?x2xf64, #equivariant.irreps<"2x0e", mul_ir>>
  return %0 : tensor<?x2xf64, #equivariant.irreps<"2x0e", mul_ir>>
}

// CHECK-LABEL: @uvuv_vjp
// CHECK-SAME: (%[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<?x6xf64>, %[[CT:[^:]+]]: tensor
func.func @uvuv(%x: tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>,
    %y: tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, %w: tensor<?x6xf64>) -> tensor<?x6xf64, #equivariant.irreps<"6x0e", mul_ir>> {
  // CHECK-NEXT: equivariant.contract x of #[[P:product[0-9]*]] (y = %[[Y]], w = %[[W]], z = %[[CT]])
  // CHECK-NEXT: equivariant.contract y of #[[P]] (x = %[[X]], w = %[[W]], z = %[[CT]])
  // CHECK-NEXT: equivariant.contract w of #[[P]] (x = %[[X]], y = %[[Y]], z = %[[CT]])
  // CHECK-NEXT: return
  %0 = equivariant.contract z of #equivariant.product<x = "2x1o", y = "3x1o", z = "6x0e", paths = [uvuv(0, 0, 0) * 1.0]> (x = %x, y = %y, w = %w)
       : (tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, tensor<?x6xf64>) -> tensor<?x6xf64, #equivariant.irreps<"6x0e", mul_ir>>
  return %0 : tensor<?x6xf64, #equivariant.irreps<"6x0e", mul_ir>>
}

// CHECK-LABEL: @uvu_lt_v_vjp
// CHECK-SAME: (%[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<?x3xf64>, %[[CT:[^:]+]]: tensor
func.func @uvu_lt_v(%x: tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>,
    %y: tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, %w: tensor<?x3xf64>) -> tensor<?x3xf64, #equivariant.irreps<"3x0e", mul_ir>> {
  // CHECK-NEXT: equivariant.contract x of #[[P:product[0-9]*]] (y = %[[Y]], w = %[[W]], z = %[[CT]])
  // CHECK-NEXT: equivariant.contract y of #[[P]] (x = %[[X]], w = %[[W]], z = %[[CT]])
  // CHECK-NEXT: equivariant.contract w of #[[P]] (x = %[[X]], y = %[[Y]], z = %[[CT]])
  // CHECK-NEXT: return
  %0 = equivariant.contract z of #equivariant.product<x = "3x1o", y = "3x1o", z = "3x0e", paths = [uvu_lt_v(0, 0, 0) * 1.0]> (x = %x, y = %y, w = %w)
       : (tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, tensor<?x3xf64>) -> tensor<?x3xf64, #equivariant.irreps<"3x0e", mul_ir>>
  return %0 : tensor<?x3xf64, #equivariant.irreps<"3x0e", mul_ir>>
}

// CHECK-LABEL: @u_lt_vw_vjp
// CHECK-SAME: (%[[X:[^:]+]]: tensor<{{[^:]+}}>, %[[Y:[^:]+]]: tensor<{{[^:]+}}>, %[[W:[^:]+]]: tensor<?x15xf64>, %[[CT:[^:]+]]: tensor
func.func @u_lt_vw(%x: tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>,
    %y: tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, %w: tensor<?x15xf64>) -> tensor<?x5xf64, #equivariant.irreps<"5x0e", mul_ir>> {
  // CHECK-NEXT: equivariant.contract x of #[[P:product[0-9]*]] (y = %[[Y]], w = %[[W]], z = %[[CT]])
  // CHECK-NEXT: equivariant.contract y of #[[P]] (x = %[[X]], w = %[[W]], z = %[[CT]])
  // CHECK-NEXT: equivariant.contract w of #[[P]] (x = %[[X]], y = %[[Y]], z = %[[CT]])
  // CHECK-NEXT: return
  %0 = equivariant.contract z of #equivariant.product<x = "3x1o", y = "3x1o", z = "5x0e", paths = [u_lt_vw(0, 0, 0) * 1.0]> (x = %x, y = %y, w = %w)
       : (tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, tensor<?x15xf64>) -> tensor<?x5xf64, #equivariant.irreps<"5x0e", mul_ir>>
  return %0 : tensor<?x5xf64, #equivariant.irreps<"5x0e", mul_ir>>
}
