// RUN: espmm-opt %s --equivariant-differentiate --equivariant-differentiate --equivariant-differentiate --cse | FileCheck %s

// The third derivative is the pass, run again. A product is one form L(x, y, w, z), linear in each slot. Twice transposed
// with cotangents X, Y, W it is L with one slot of x, y, w taken from them: 3 forms. The third time a second slot of the
// 4 is taken from that order's cotangents: 3 * 3 forms, each with a contract for each of its 3 other arguments. So 27
// contracts make up the 7 gradients, none left out and none there twice.

#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
!x = tensor<?x24xf32, #x>
!y = tensor<?x3xf32, #y>
!w = tensor<?x8xf32>
!z = tensor<?x8xf32, #z>

// CHECK-LABEL: @product_vjp_vjp_vjp
// CHECK-SAME: -> (tensor<?x24xf32, #{{[^>]+}}>, tensor<?x3xf32, #{{[^>]+}}>, tensor<?x8xf32>, tensor<?x8xf32, #{{[^>]+}}>, tensor<?x24xf32, #{{[^>]+}}>, tensor<?x3xf32, #{{[^>]+}}>, tensor<?x8xf32>)
// CHECK-COUNT-27: equivariant.contract
// CHECK-NOT: equivariant.contract
func.func @product(%x: !x, %y: !y, %w: !w) -> !z {
  %z = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (!x, !y, !w) -> !z
  return %z : !z
}
