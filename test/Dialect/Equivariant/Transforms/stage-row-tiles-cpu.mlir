// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=cpu vector-bits=256" --equivariant-stage --canonicalize --cse | FileCheck %s

#p = #equivariant.product<x = "16x1o", y = "1x0e", z = "20x1o", paths = [uvw(0, 0, 0) * 1.0]>
#x = #equivariant.irreps<"16x1o", mul_ir>
#y = #equivariant.irreps<"1x0e", mul_ir>
#z = #equivariant.irreps<"20x1o", mul_ir>

// Rows that share weights, eight side by side, one in each lane.
// CHECK-LABEL: llvm.func @forward_0
// CHECK: scf.for %[[ROW:.*]] = %{{.*}} to %[[LAST:.*]] step %c8_i64
// CHECK: %[[LEFT:.*]] = arith.subi %[[LAST]], %[[ROW]]
// CHECK: %[[COUNT:.*]] = arith.minsi %[[LEFT]], %c8_i64
// What is there of a last tile is copied to where zeros are past it.
// CHECK: %[[IS_PART:.*]] = arith.cmpi slt, %[[COUNT]], %c8_i64
// CHECK: %[[ROWS:.*]] = llvm.getelementptr
// CHECK: scf.if %[[IS_PART]]
// CHECK: "llvm.intr.memset"(%[[BUFFER:.*]], %{{.*}}, %c1536_i64)
// CHECK: "llvm.intr.memcpy"(%[[BUFFER]], %[[ROWS]],
// CHECK: %[[FROM:.*]] = llvm.select %[[IS_PART]], %[[BUFFER]], %[[ROWS]]
// CHECK: equivariant.transpose %[[FROM]] stride 48 to %{{.*}} stride 8 of block [8, 48] vector 8 : f32 to f32
// CHECK: equivariant.transpose %{{.*}} stride 1 to %{{.*}} stride 8 of block [8, 1] vector 8 : f32 to f32
// Four w at once, of three components each; a weight is one number for all lanes.
// CHECK: scf.for %{{.*}} = %{{.*}} to %c20_i64 step %c4_i64
// CHECK: %[[Z:.*]]:4 = scf.for %[[U:.*]] = %{{.*}} to %c16_i64 step %c1_i64
// CHECK: equivariant.read {{.*}} -> tensor<1x3xvector<8xf32>>
// CHECK: %[[WEIGHT:.*]] = equivariant.read %{{.*}} offset 0 strides [20] : !llvm.ptr -> tensor<1xf32>
// CHECK: equivariant.einsum "vk,v->k"(%{{.*}}, %[[WEIGHT]]) : (tensor<1x3xvector<8xf32>>, tensor<1xf32>)
// CHECK: equivariant.write %[[Z]]#0 to {{.*}} strides [8] : tensor<3xvector<8xf32>>
// CHECK: equivariant.write %[[Z]]#3 to {{.*}} strides [8] : tensor<3xvector<8xf32>>
// CHECK: equivariant.transpose %{{.*}} stride 8 to %{{.*}} stride 60 of block [60, 8] vector 8 : f32 to f32
// CHECK: scf.if %[[IS_PART]]
// CHECK: llvm.intr.memcpy
func.func @forward(%s: !equivariant.rows, %x: tensor<?x48xf32, #x>, %y: tensor<?x1xf32, #y>, %w: tensor<1x320xf32>) -> tensor<?x60xf32, #z> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at all : tensor<?x48xf32, #x>, tensor<?x1xf32, #y>, tensor<1x320xf32>) outs(edge : tensor<?x60xf32, #z>) {
  ^bb0(%xe: tensor<48xf32, #x>, %ye: tensor<1xf32, #y>, %we: tensor<320xf32>):
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (tensor<48xf32, #x>, tensor<1xf32, #y>, tensor<320xf32>) -> tensor<60xf32, #z>
    equivariant.yield %m : tensor<60xf32, #z>
  }
  return %r : tensor<?x60xf32, #z>
}

// The gradient of weights: w is in lanes, and eight rows are summed in registers. For that the cotangent, whose rows lie side by side, is transposed once more, component
// by component, to rows of whole vectors.
// CHECK-LABEL: llvm.func @gradient_0
// CHECK: %[[HAS_NONE:.*]] = arith.cmpi sle, %[[END:.*]], %[[BEGIN:.*]] : i64
// CHECK: scf.if %[[HAS_NONE]]
// CHECK: scf.for %[[CHUNK:.*]] = %[[BEGIN]] to %[[END]] step %c64_i64
// CHECK: scf.for %{{.*}} = %[[CHUNK]] to %{{.*}} step %c8_i64
// CHECK: scf.for %[[K:.*]] = %c0_i64 to %c3_i64 step %c1_i64
// CHECK: equivariant.transpose %{{.*}} stride 24 to %{{.*}} stride 24 of block [20, 8] vector 8 : f32 to f32
// Whole vectors of w,
// CHECK: scf.for %[[W:.*]] = %c0_i64 to %c16_i64 step %c8_i64
// CHECK: scf.for %{{.*}} = %c0_i64 to %c16_i64 step %c8_i64
// CHECK: %[[SUMS:.*]]:8 = scf.for %[[R:.*]] = %c0_i64 to %c8_i64 step %c1_i64
// CHECK: arith.muli %[[R]], %c24_i64
// CHECK: equivariant.read %{{.*}}[%[[W]]] offset 0 strides [192] : !llvm.ptr -> tensor<3xvector<8xf32>>
// All are added to what is there before one is written.
// CHECK: equivariant.add %{{.*}}, %[[SUMS]]#0
// CHECK: equivariant.add %{{.*}}, %[[SUMS]]#7
// CHECK: llvm.fence
// CHECK-COUNT-8: equivariant.write
// and the last one, of which four lanes are known to be there.
// CHECK: scf.for %{{.*}} = %c0_i64 to %c16_i64 step %c8_i64
// CHECK: scf.for %{{.*}} = %c0_i64 to %c8_i64 step %c1_i64
// CHECK: equivariant.read %{{.*}}[%c16_i64] mask %[[FOUR:cst[_0-9]*]] : vector<8xi1> offset 0 strides [192] : !llvm.ptr -> tensor<3xvector<8xf32>>
// CHECK-COUNT-8: equivariant.write %{{.*}}[%c16_i64] mask %[[FOUR]] : vector<8xi1>
// After 64 rows, with what rounding took; the first of them are the task's sum.
// CHECK: %[[IS_FIRST:.*]] = arith.cmpi eq, %[[CHUNK]], %[[BEGIN]]
// CHECK: %[[SUM:.*]] = llvm.select %[[IS_FIRST]], %{{.*}}, %{{.*}} : i1, vector<8xf32>
// CHECK: %[[LOST:.*]] = llvm.select %[[IS_FIRST]], %{{.*}}, %{{.*}} : i1, vector<8xf32>
// CHECK: llvm.fsub %{{.*}}, %[[LOST]]
func.func @gradient(%s: !equivariant.rows, %x: tensor<?x48xf32, #x>, %y: tensor<?x1xf32, #y>, %gz: tensor<?x60xf32, #z>) -> tensor<1x320xf32> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %gz at edge : tensor<?x48xf32, #x>, tensor<?x1xf32, #y>, tensor<?x60xf32, #z>) outs(all : tensor<1x320xf32>) {
  ^bb0(%xe: tensor<48xf32, #x>, %ye: tensor<1xf32, #y>, %ge: tensor<60xf32, #z>):
    %m = equivariant.contract w of #p (x = %xe, y = %ye, z = %ge) : (tensor<48xf32, #x>, tensor<1xf32, #y>, tensor<60xf32, #z>) -> tensor<320xf32>
    equivariant.yield %m : tensor<320xf32>
  }
  return %r : tensor<1x320xf32>
}
