// A seventh derivative reads 76 rows; a plan has a bit for each, of 64.
// RUN: not espmm-opt %s --pass-pipeline="builtin.module(equivariant-differentiate{wrt=1,2,3 cotangents=0},\
// RUN: equivariant-differentiate{wrt=1,2,3,4 cotangents=0,1,2},\
// RUN: equivariant-differentiate{wrt=1,2,3,4,5,6,7 cotangents=0,1,2,3},\
// RUN: equivariant-differentiate{wrt=1,2,3,4,5,6,7,8,9,10,11 cotangents=0,1,2,3,4,5,6},\
// RUN: equivariant-differentiate{wrt=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18 cotangents=0,1,2,3,4,5,6,7,8,9,10},\
// RUN: equivariant-differentiate{wrt=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29 cotangents=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17},\
// RUN: equivariant-differentiate{wrt=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,36,37,38,39,40,41,42,43,44,45,46,47 cotangents=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28},\
// RUN: equivariant-fuse,\
// RUN: equivariant-factor)" 2>&1 | FileCheck %s

// CHECK: error: 'equivariant.kernel' op instruction 0 cannot be factored: expected at most 64 leaves, got 77
#p = #equivariant.product<x = "1x0e", y = "1x0e", z = "1x0e", paths = [uvu(0, 0, 0) * 1.0]>
#i = #equivariant.irreps<"1x0e", mul_ir>
func.func @tp(%s: !equivariant.rows, %x: tensor<?x1xf32, #i>, %y: tensor<?x1xf32, #i>, %w: tensor<?x1xf32>) -> tensor<?x1xf32, #i> {
  %z = equivariant.contract z of #p (x = %x, y = %y, w = %w) : (tensor<?x1xf32, #i>, tensor<?x1xf32, #i>, tensor<?x1xf32>) -> tensor<?x1xf32, #i>
  return %z : tensor<?x1xf32, #i>
}
