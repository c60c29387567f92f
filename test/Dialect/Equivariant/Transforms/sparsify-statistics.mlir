// RUN: espmm-opt %s --equivariant-sparsify -mlir-pass-statistics 2>&1 | FileCheck %s

// Before: 27 products for M, each added, and 9 with x. After: 6 products for M, 2 of them in each of 3 sums with x.
// Alive at most, at the end of the second sum: two elements of y that the third needs, three of x, an element of M, and the sum.
// CHECK: equivariant.statistics = {sparsify = {additions = 3 : i64, dense_additions = 24 : i64, dense_multiplications = 36 : i64, max_live = 7 : i64, multiplications = 12 : i64}}
// CHECK: equivariant-sparsify
// CHECK-NEXT: (S) 36 dense_multiplications
// CHECK-NEXT: (S) 24 dense_additions
// CHECK-NEXT: (S) 12 multiplications
// CHECK-NEXT: (S) 3 additions
// CHECK-NEXT: (S) 7 max_live
llvm.func @matrix(%x: !llvm.ptr, %y: !llvm.ptr, %z: !llvm.ptr) {
  %c = equivariant.coefficients(1, 1, 1) * 0.5 : tensor<3x3x3xf32>
  %0 = equivariant.read %y offset 0 strides [1] : !llvm.ptr -> tensor<3xf32>
  %1 = equivariant.read %x offset 0 strides [1] : !llvm.ptr -> tensor<3xf32>
  %2 = equivariant.einsum "ijk,j->ik"(%c, %0) : (tensor<3x3x3xf32>, tensor<3xf32>) -> tensor<3x3xf32>
  %3 = equivariant.einsum "ik,i->k"(%2, %1) : (tensor<3x3xf32>, tensor<3xf32>) -> tensor<3xf32>
  equivariant.write %3 to %z offset 0 strides [1] : tensor<3xf32>, !llvm.ptr
  llvm.return
}
