// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu" --equivariant-stage | FileCheck %s --check-prefixes=CHECK,GPU
// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=cpu vector-bits=512" --equivariant-stage | FileCheck %s --check-prefixes=CHECK,CPU

#p = #equivariant.product<x = "32x7o", y = "4x7o", z = "32x0e", paths = [uvu(0, 0, 0) weightless * 2.0]>
#x = #equivariant.irreps<"32x7o", mul_ir>
#y = #equivariant.irreps<"4x7o", ir_mul>
#z = #equivariant.irreps<"32x0e", mul_ir>

// The gradient of y is a sum over channels for each of its 60 elements, in their order in memory: as many at a time as there are lanes.
// CHECK: %[[GY:.*]] = equivariant.einsum "vj->jv"(%{{.*}}) : {{.*}} -> tensor<15x4x
// GPU: %[[FIRST:.*]] = equivariant.lane_sum %[[GY]] : tensor<15x4xf32> -> f32
// GPU: arith.cmpi slt, %{{.*}}, %c32_i64
// GPU: llvm.atomicrmw fadd %{{.*}}, %[[FIRST]]
// GPU: %[[SECOND:.*]] = equivariant.lane_sum from 32 %[[GY]] : tensor<15x4xf32> -> f32
// GPU: arith.cmpi slt, %{{.*}}, %c28_i64
// GPU: llvm.atomicrmw fadd %{{.*}}, %[[SECOND]]
// CPU: %[[FIRST:.*]] = equivariant.lane_sum %[[GY]] : tensor<15x4xvector<16xf32>> -> vector<16xf32>
// CPU: llvm.store %[[FIRST]]
// CPU: equivariant.lane_sum from 16 %[[GY]]
// CPU: equivariant.lane_sum from 32 %[[GY]]
// CPU: %[[LAST:.*]] = equivariant.lane_sum from 48 %[[GY]]
// CPU: %[[TAIL:.*]] = llvm.shufflevector %[[LAST]], %[[LAST]] [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11] : vector<16xf32>
// CPU: llvm.store %[[TAIL]], %{{.*}} : vector<12xf32>
func.func @backward(%s: !equivariant.rows, %x: tensor<?x480xf32, #x>, %gz: tensor<?x32xf32, #z>) -> tensor<?x60xf32, #y> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %gz at edge : tensor<?x480xf32, #x>, tensor<?x32xf32, #z>) outs(edge : tensor<?x60xf32, #y>) {
  ^bb0(%xe: tensor<480xf32, #x>, %ge: tensor<32xf32, #z>):
    %gy = equivariant.contract y of #p (x = %xe, z = %ge) : (tensor<480xf32, #x>, tensor<32xf32, #z>) -> tensor<60xf32, #y>
    equivariant.yield %gy : tensor<60xf32, #y>
  }
  return %r : tensor<?x60xf32, #y>
}
