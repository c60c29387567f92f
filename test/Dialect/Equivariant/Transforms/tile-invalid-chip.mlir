// RUN: not espmm-opt %s --equivariant-tile="target=gpu chip=hopper" 2>&1 | FileCheck %s

// CHECK: tile-invalid-chip.mlir:{{.*}} error: chip is sm_NUMBER, got 'hopper'
func.func @f() {
  return
}
