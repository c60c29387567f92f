// RUN: espmm-opt %s --convert-equivariant-to-cpu --canonicalize | FileCheck %s

// CHECK-LABEL: llvm.func @gather(
// CHECK: %[[BITS:.*]] = llvm.load %{{.*}} {alignment = 2 : i64} : !llvm.ptr -> vector<8xi16>
// CHECK: llvm.zext %[[BITS]] : vector<8xi16> to vector<8xi32>
// CHECK: llvm.store %{{.*}} {alignment = 4 : i64} : vector<8xf32>
// The ninth channel.
// CHECK: llvm.getelementptr %{{.*}}[8] : (!llvm.ptr) -> !llvm.ptr, bf16
// CHECK: llvm.load %{{.*}} {alignment = 2 : i64} : !llvm.ptr -> i16
// CHECK: llvm.store %{{.*}} {alignment = 4 : i64} : f32
llvm.func @gather(%row: !llvm.ptr, %buffer: !llvm.ptr) {
  equivariant.relayout gather %row to %buffer of #equivariant.irreps<"9x0e", mul_ir> vector 8 as bf16 : f32, !llvm.ptr, !llvm.ptr
  llvm.return
}

// To the nearest, of two to the even one; what is no number stays none.
// CHECK-LABEL: llvm.func @scatter(
// CHECK: %[[V:.*]] = llvm.load %{{.*}} {alignment = 4 : i64} : !llvm.ptr -> vector<8xf32>
// CHECK: %[[BITS:.*]] = llvm.bitcast %[[V]] : vector<8xf32> to vector<8xi32>
// CHECK: %[[HIGH:.*]] = llvm.lshr %[[BITS]], %{{.*}}
// CHECK: %[[ODD:.*]] = llvm.and %[[HIGH]], %{{.*}}
// CHECK: %[[UP:.*]] = llvm.add %[[ODD]], %{{.*}}
// CHECK: %[[SUM:.*]] = llvm.add %[[BITS]], %[[UP]]
// CHECK: %[[ROUNDED:.*]] = llvm.lshr %[[SUM]], %{{.*}}
// CHECK: %[[QUIET:.*]] = llvm.or %{{.*}}, %{{.*}}
// CHECK: %[[NONE:.*]] = llvm.fcmp "uno" %[[V]], %[[V]]
// CHECK: %[[CHOSEN:.*]] = llvm.select %[[NONE]], %[[QUIET]], %[[ROUNDED]]
// CHECK: %[[HALF:.*]] = llvm.trunc %[[CHOSEN]] : vector<8xi32> to vector<8xi16>
// CHECK: llvm.store %[[HALF]], %{{.*}} {alignment = 2 : i64} : vector<8xi16>
// CHECK-NOT: bf16
// CHECK: llvm.return
llvm.func @scatter(%row: !llvm.ptr, %buffer: !llvm.ptr) {
  equivariant.relayout scatter %buffer to %row of #equivariant.irreps<"8x0e", mul_ir> vector 8 as bf16 : f32, !llvm.ptr, !llvm.ptr
  llvm.return
}

// CHECK-LABEL: llvm.func @scatter_f16(
// CHECK: %[[HALF:.*]] = llvm.fptrunc %{{.*}} : vector<8xf32> to vector<8xf16>
// CHECK: %[[BITS:.*]] = llvm.bitcast %[[HALF]] : vector<8xf16> to vector<8xi16>
// CHECK: llvm.store %[[BITS]], %{{.*}} {alignment = 2 : i64} : vector<8xi16>
llvm.func @scatter_f16(%row: !llvm.ptr, %buffer: !llvm.ptr) {
  equivariant.relayout scatter %buffer to %row of #equivariant.irreps<"8x0e", mul_ir> vector 8 as f16 : f32, !llvm.ptr, !llvm.ptr
  llvm.return
}
