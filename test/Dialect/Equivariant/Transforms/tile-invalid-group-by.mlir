// RUN: not espmm-opt %s --equivariant-tile="target=gpu chip=sm_90 group-by=3" 2>&1 | FileCheck %s

// CHECK: tile-invalid-group-by.mlir:{{.*}} error: group-by is 1 for receivers or 2 for senders, got 3
func.func @f() {
  return
}
