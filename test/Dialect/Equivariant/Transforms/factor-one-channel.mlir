// RUN: espmm-opt %s --equivariant-factor | FileCheck %s

// Where v has one element, uvuv's block of z is that of uvu, which it is added to; where u has one, that of uvv.

#p = #equivariant.product<x = "2x0e+1x0e", y = "1x0e+2x0e", z = "2x0e",
    paths = [uvu(0, 0, 0) weightless * 1.0, uvuv(0, 0, 0) weightless * 2.0, uvuv(1, 1, 0) weightless * 3.0]>
#x = #equivariant.irreps<"2x0e+1x0e", mul_ir>
#y = #equivariant.irreps<"1x0e+2x0e", mul_ir>
#z = #equivariant.irreps<"2x0e", mul_ir>

// CHECK-LABEL: func.func @tp
// CHECK: %[[A:.*]] = equivariant.einsum "ijk,uij->uk"
// CHECK: %[[B:.*]] = equivariant.einsum "ijk,uij->uk"
// CHECK: %[[C:.*]] = equivariant.einsum "jk,vj->vk"
// CHECK: equivariant.assemble [0, 0, 0](%[[A]], %[[B]], %[[C]]) : (tensor<2x1xf32>, tensor<2x1xf32>, tensor<2x1xf32>) -> tensor<2xf32, #{{.*}}>
func.func @tp(%g: !equivariant.rows, %x: tensor<?x3xf32, #x>, %y: tensor<?x3xf32, #y>) -> tensor<?x2xf32, #z> {
  %0 = equivariant.kernel over %g : !equivariant.rows ins(%x at edge, %y at edge : tensor<?x3xf32, #x>, tensor<?x3xf32, #y>) outs(edge : tensor<?x2xf32, #z>) {
  ^bb0(%a: tensor<3xf32, #x>, %b: tensor<3xf32, #y>):
    %1 = equivariant.contract z of #p (x = %a, y = %b) : (tensor<3xf32, #x>, tensor<3xf32, #y>) -> tensor<2xf32, #z>
    equivariant.yield %1 : tensor<2xf32, #z>
  }
  return %0 : tensor<?x2xf32, #z>
}
