// RUN: not espmm-opt %s --equivariant-tile="vector-bits=100" 2>&1 | FileCheck %s

// CHECK: tile-invalid-vector.mlir:{{.*}} error: vector-bits is a power of two of at least 64, got 100
func.func @f() {
  return
}
