// RUN: espmm-opt %s --convert-equivariant-to-gpu="chip=sm_90" --canonicalize --cse | FileCheck %s

// Three elements, a fourth of zeros: lane t keeps those whose bit 1 is its own, then bit 0, and gives the others to the lane that
// keeps them; the last three steps add whole values.
// CHECK-LABEL: llvm.func @three(
// CHECK-SAME: %[[A:.*]]: f32, %[[B:.*]]: f32, %[[C:.*]]: f32,
// CHECK-DAG: %[[ZERO:.*]] = arith.constant 0.000000e+00 : f32
// CHECK-DAG: %[[TWO:.*]] = arith.constant 2 : i32
// CHECK-DAG: %[[ONE:.*]] = arith.constant 1 : i32
// CHECK-DAG: %[[FOUR:.*]] = arith.constant 4 : i32
// CHECK-DAG: %[[EIGHT:.*]] = arith.constant 8 : i32
// CHECK-DAG: %[[SIXTEEN:.*]] = arith.constant 16 : i32
// CHECK: %[[LANE:.*]] = nvvm.read.ptx.sreg.tid.x
// CHECK: %[[BIT:.*]] = arith.andi %[[LANE]], %[[TWO]]
// CHECK: %[[UPPER:.*]] = arith.cmpi ne, %[[BIT]]
// CHECK: %[[KEPT:.*]] = arith.select %[[UPPER]], %[[C]], %[[A]]
// CHECK: %[[GIVEN:.*]] = arith.select %[[UPPER]], %[[A]], %[[C]]
// CHECK: %[[TAKEN:.*]] = nvvm.shfl.sync bfly %{{.*}}, %[[GIVEN]], %[[TWO]], %{{.*}} : f32 -> f32
// CHECK: llvm.fadd %[[KEPT]], %[[TAKEN]]
// CHECK: arith.select %[[UPPER]], %[[ZERO]], %[[B]]
// CHECK: nvvm.shfl.sync bfly %{{.*}}, %{{.*}}, %[[TWO]]
// CHECK: arith.andi %[[LANE]], %[[ONE]]
// CHECK: nvvm.shfl.sync bfly %{{.*}}, %{{.*}}, %[[ONE]]
// CHECK: nvvm.shfl.sync bfly %{{.*}}, %{{.*}}, %[[FOUR]]
// CHECK: nvvm.shfl.sync bfly %{{.*}}, %{{.*}}, %[[EIGHT]]
// CHECK: %[[LAST:.*]] = nvvm.shfl.sync bfly %{{.*}}, %[[BEFORE:.*]], %[[SIXTEEN]]
// CHECK: %[[SUM:.*]] = llvm.fadd %[[BEFORE]], %[[LAST]]
// CHECK-NOT: nvvm.shfl
// CHECK: llvm.store %[[SUM]]
llvm.func @three(%a: f32, %b: f32, %c: f32, %p: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %s = equivariant.lane_sum %a, %b, %c : f32, f32, f32 -> f32
  llvm.store %s, %p : f32, !llvm.ptr<1>
  llvm.return
}

// A double goes in two halves.
// CHECK-LABEL: llvm.func @double(
// CHECK-COUNT-10: nvvm.shfl.sync bfly {{.*}} : i32 -> i32
// CHECK-NOT: nvvm.shfl
// CHECK: llvm.return
llvm.func @double(%a: f64, %p: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %s = equivariant.lane_sum %a : f64 -> f64
  llvm.store %s, %p : f64, !llvm.ptr<1>
  llvm.return
}
