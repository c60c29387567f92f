// RUN: espmm-opt %s --equivariant-sparsify | FileCheck %s

// A product of matrices for each pair of components that is multiplied; what is structurally zero has none, and its sum goes on as it was.
// CHECK-LABEL: llvm.func @components(
// CHECK: %[[A0:.*]] = llvm.load
// CHECK: %[[A2:.*]] = llvm.load
// CHECK: %[[B:.*]] = llvm.load
// CHECK: %[[ZERO:.*]] = llvm.mlir.constant(0.000000e+00 : f64) : f64
// CHECK: %[[C0:.*]]:2 = equivariant.matrix_product ",->" %[[A0]] by %[[B]] into %{{.*}}, %{{.*}} terms 1 : f64 by f64 into f64, f64
// CHECK: %[[C2:.*]]:2 = equivariant.matrix_product ",->" %[[A2]] by %[[B]] into %{{.*}}, %{{.*}} terms 1
// CHECK-NOT: matrix_product
// CHECK: llvm.store %[[C0]]#0
// CHECK: llvm.store %{{.*}}
// CHECK: llvm.store %[[C2]]#0
llvm.func @components(%x: !llvm.ptr, %w: !llvm.ptr, %z: !llvm.ptr) {
  %a = equivariant.read %x offset 0 strides [0] packed [0, 2] : !llvm.ptr -> tensor<3xf64>
  %b = equivariant.read %w offset 0 strides [] : !llvm.ptr -> tensor<f64>
  %c = equivariant.zero : tensor<3xf64>
  %s:2 = equivariant.matrix_product "k,->k" %a by %b into %c, %c terms 1 : tensor<3xf64> by tensor<f64> into tensor<3xf64>, tensor<3xf64>
  equivariant.write %s#0 to %z offset 0 strides [1] : tensor<3xf64>, !llvm.ptr
  llvm.return
}

// Components that are summed are multiplied one after the other; sums go through loops, and are added to memory that nobody waits for.
// CHECK-LABEL: llvm.func @summed(
// CHECK: scf.for {{.*}} iter_args(%[[S0:.*]] = %{{.*}}, %[[S1:.*]] = %{{.*}}) -> (f64, f64)
// CHECK: %[[C0:.*]]:2 = equivariant.matrix_product ",->" %{{.*}} by %{{.*}} into %[[S0]], %[[S1]]
// CHECK: %[[C1:.*]]:2 = equivariant.matrix_product ",->" %{{.*}} by %{{.*}} into %[[C0]]#0, %[[C0]]#1
// CHECK: scf.yield %[[C1]]#0, %[[C1]]#1
// CHECK: llvm.atomicrmw fadd %{{.*}}, %{{.*}} monotonic : !llvm.ptr, f64
llvm.func @summed(%x: !llvm.ptr, %z: !llvm.ptr, %n: i64, %zero: i64, %one: i64) {
  %c = equivariant.zero : tensor<f64>
  %s:2 = scf.for %i = %zero to %n step %one iter_args(%s0 = %c, %s1 = %c) -> (tensor<f64>, tensor<f64>) : i64 {
    %a = equivariant.read %x[%i] offset 0 strides [1] : !llvm.ptr -> tensor<2xf64>
    %t:2 = equivariant.matrix_product "k,k->" %a by %a into %s0, %s1 terms 1 : tensor<2xf64> by tensor<2xf64> into tensor<f64>, tensor<f64>
    scf.yield %t#0, %t#1 : tensor<f64>, tensor<f64>
  }
  equivariant.write %s#0 to %z offset 0 strides [] accumulate atomic : tensor<f64>, !llvm.ptr
  llvm.return
}
