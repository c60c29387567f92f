// RUN: espmm-opt %s --equivariant-sparsify | FileCheck %s

// A tensor that a loop carries becomes its elements.
// CHECK-LABEL: llvm.func @carried(
// CHECK: %[[ZERO0:.*]] = llvm.mlir.constant(dense<0.000000e+00> : vector<8xf32>)
// CHECK: %[[ZERO1:.*]] = llvm.mlir.constant(dense<0.000000e+00> : vector<8xf32>)
// CHECK: %[[SUMS:.*]]:2 = scf.for %{{.*}} iter_args(%[[A:.*]] = %[[ZERO0]], %[[B:.*]] = %[[ZERO1]]) -> (vector<8xf32>, vector<8xf32>)
// CHECK-DAG: %[[A1:.*]] = llvm.fadd %[[A]], %{{.*}} : vector<8xf32>
// CHECK-DAG: %[[B1:.*]] = llvm.fadd %[[B]], %{{.*}} : vector<8xf32>
// CHECK: scf.yield %[[A1]], %[[B1]]
// CHECK: llvm.store %[[SUMS]]#0
// CHECK: llvm.store %[[SUMS]]#1
llvm.func @carried(%x: !llvm.ptr, %z: !llvm.ptr, %n: i64) {
  %c0 = arith.constant 0 : i64
  %c8 = arith.constant 8 : i64
  %0 = equivariant.zero : tensor<2xvector<8xf32>>
  %1 = scf.for %i = %c0 to %n step %c8 iter_args(%sum = %0) -> (tensor<2xvector<8xf32>>) : i64 {
    %2 = equivariant.read %x[%i] offset 0 strides [64] : !llvm.ptr -> tensor<2xvector<8xf32>>
    %3 = equivariant.add %sum, %2 : tensor<2xvector<8xf32>>
    scf.yield %3 : tensor<2xvector<8xf32>>
  }
  equivariant.write %1 to %z offset 0 strides [8] : tensor<2xvector<8xf32>>, !llvm.ptr
  llvm.return
}

// Elements that stay zero are not carried, here all off the diagonal; what is no tensor is carried on.
// CHECK-LABEL: llvm.func @zeros_stay_out(
// CHECK: %[[R:.*]]:4 = scf.for %{{.*}} iter_args(%{{.*}} = %{{.*}}, %{{.*}} = %{{.*}}, %{{.*}} = %{{.*}}, %[[K:.*]] = %{{.*}}) -> (f32, f32, f32, i64)
// CHECK: %[[K1:.*]] = arith.addi %[[K]], %{{.*}}
// CHECK: scf.yield %{{.*}}, %{{.*}}, %{{.*}}, %[[K1]] : f32, f32, f32, i64
// CHECK: %[[ZERO:.*]] = llvm.mlir.constant(0.000000e+00 : f32)
// CHECK-COUNT-6: llvm.store %[[ZERO]], %{{.*}}
// CHECK: llvm.store %[[R]]#0
// CHECK: llvm.store %[[R]]#1
// CHECK: llvm.store %[[R]]#2
llvm.func @zeros_stay_out(%y: !llvm.ptr, %z: !llvm.ptr, %n: i64) {
  %c0 = arith.constant 0 : i64
  %c1 = arith.constant 1 : i64
  %c = equivariant.coefficients(0, 1, 1) * 0.5 : tensor<1x3x3xf32>
  %0 = equivariant.zero : tensor<1x3x3xf32>
  %1:2 = scf.for %i = %c0 to %n step %c1 iter_args(%sum = %0, %k = %c0) -> (tensor<1x3x3xf32>, i64) : i64 {
    %2 = equivariant.read %y[%i] offset 0 strides [1] : !llvm.ptr -> tensor<3xf32>
    %3 = equivariant.einsum "ijk,j->ijk"(%c, %2) : (tensor<1x3x3xf32>, tensor<3xf32>) -> tensor<1x3x3xf32>
    %4 = equivariant.add %sum, %3 : tensor<1x3x3xf32>
    %5 = arith.addi %k, %c1 : i64
    scf.yield %4, %5 : tensor<1x3x3xf32>, i64
  }
  equivariant.write %1#0 to %z offset 0 strides [9, 3, 1] : tensor<1x3x3xf32>, !llvm.ptr
  llvm.return
}
