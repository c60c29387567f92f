// RUN: espmm-opt %s --verify-roundtrip | FileCheck %s

// CHECK: module attributes {equivariant.statistics = {factor = {paths = 1 : i64}}, equivariant.target = "cuda:sm_90a"}
module attributes {equivariant.target = "cuda:sm_90a", equivariant.statistics = {factor = {paths = 1}}} {
  llvm.func @kernel(!llvm.ptr, i64)
  // CHECK-LABEL: @cost
  func.func @cost(%n: i64) {
    // CHECK: equivariant.launch @kernel grid(%{{.*}})(%{{.*}}) {equivariant.choices = ["rows: one at a time"], equivariant.cost = {bytes_per_edge = 44 : i64}} : i64
    equivariant.launch @kernel grid(%n) (%n) {equivariant.cost = {bytes_per_edge = 44}, equivariant.choices = ["rows: one at a time"]} : i64
    return
  }
}
