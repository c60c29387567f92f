// RUN: not espmm-opt %s --equivariant-tile="target=tpu" 2>&1 | FileCheck %s

// CHECK: tile-invalid-target.mlir:{{.*}} error: target is cpu or gpu, got 'tpu'
func.func @f() {
  return
}
