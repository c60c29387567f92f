// RUN: espmm-opt %s --equivariant-sparsify | FileCheck %s

// x . y: the products are added by multiply-adds, on scalars.
// CHECK-LABEL: llvm.func @scalars(
// CHECK-SAME: %[[X:.*]]: !llvm.ptr, %[[Y:.*]]: !llvm.ptr, %[[Z:.*]]: !llvm.ptr)
// CHECK: %[[X0:.*]] = llvm.load %[[X]] {alignment = 4 : i64} : !llvm.ptr -> f32
// CHECK: %[[Y0:.*]] = llvm.load %[[Y]] {alignment = 4 : i64} : !llvm.ptr -> f32
// CHECK: %[[S0:.*]] = llvm.fmul %[[X0]], %[[Y0]] : f32
// CHECK: %[[X1P:.*]] = llvm.getelementptr %[[X]][1] : (!llvm.ptr) -> !llvm.ptr, f32
// CHECK: %[[X1:.*]] = llvm.load %[[X1P]]
// CHECK: %[[Y1P:.*]] = llvm.getelementptr %[[Y]][1]
// CHECK: %[[Y1:.*]] = llvm.load %[[Y1P]]
// CHECK: %[[S1:.*]] = llvm.intr.fma(%[[X1]], %[[Y1]], %[[S0]]) : (f32, f32, f32) -> f32
// CHECK: %[[S2:.*]] = llvm.intr.fma(%{{.*}}, %{{.*}}, %[[S1]])
// CHECK: llvm.store %[[S2]], %[[Z]] {alignment = 4 : i64} : f32, !llvm.ptr
// CHECK-NOT: equivariant
llvm.func @scalars(%x: !llvm.ptr, %y: !llvm.ptr, %z: !llvm.ptr) {
  %0 = equivariant.read %x offset 0 strides [1] : !llvm.ptr -> tensor<3xf32>
  %1 = equivariant.read %y offset 0 strides [1] : !llvm.ptr -> tensor<3xf32>
  %2 = equivariant.einsum "i,i->"(%0, %1) : (tensor<3xf32>, tensor<3xf32>) -> tensor<f32>
  equivariant.write %2 to %z offset 0 strides [] : tensor<f32>, !llvm.ptr
  llvm.return
}

// A scalar meets vectors of channels: it is spread over the lanes, once.
// CHECK-LABEL: llvm.func @vectors(
// CHECK: llvm.load %{{.*}} {alignment = 8 : i64} : !llvm.ptr -> vector<4xf64>
// CHECK: %[[M:.*]] = llvm.load %{{.*}} {alignment = 8 : i64} : !llvm.ptr -> f64
// CHECK: %[[FIRST:.*]] = llvm.insertelement %[[M]], %{{.*}}[%{{.*}} : i32] : vector<4xf64>
// CHECK: %[[SPLAT:.*]] = llvm.shufflevector %[[FIRST]], %{{.*}} [0, 0, 0, 0] : vector<4xf64>
// CHECK: llvm.fmul %{{.*}}, %[[SPLAT]] : vector<4xf64>
// CHECK-NOT: llvm.shufflevector
// CHECK: llvm.fmul %{{.*}}, %[[SPLAT]] : vector<4xf64>
// CHECK-NOT: equivariant
llvm.func @vectors(%x: !llvm.ptr, %m: !llvm.ptr, %z: !llvm.ptr, %c: i64) {
  %0 = equivariant.read %x[%c] offset 0 strides [4] : !llvm.ptr -> tensor<2xvector<4xf64>>
  %1 = equivariant.read %m offset 0 strides [] : !llvm.ptr -> tensor<f64>
  %2 = equivariant.einsum "i,->i"(%0, %1) : (tensor<2xvector<4xf64>>, tensor<f64>) -> tensor<2xvector<4xf64>>
  equivariant.write %2 to %z[%c] offset 0 strides [4] : tensor<2xvector<4xf64>>, !llvm.ptr
  llvm.return
}
