// RUN: not espmm-opt %s --equivariant-tile="target=gpu chip=sm_90 products=4" 2>&1 | FileCheck %s

// CHECK: tile-invalid-products.mlir:{{.*}} error: products is 1 for multiply-adds, 2 for matrix units or 3 for them with three terms, got 4
func.func @f() {
  return
}
