// RUN: espmm-opt %s --equivariant-sparsify | FileCheck %s

// What is there comes first, so that products are added to it by multiply-adds.
// CHECK-LABEL: llvm.func @accumulate(
// CHECK: %[[OLD:.*]] = llvm.load %[[Z:[^ ]*]] {alignment = 4 : i64} : !llvm.ptr -> f32
// CHECK: %[[FIRST:.*]] = llvm.intr.fma(%{{.*}}, %{{.*}}, %[[OLD]])
// CHECK: %[[SECOND:.*]] = llvm.intr.fma(%{{.*}}, %{{.*}}, %[[FIRST]])
// CHECK: llvm.store %[[SECOND]], %[[Z]]
llvm.func @accumulate(%x: !llvm.ptr, %y: !llvm.ptr, %z: !llvm.ptr) {
  %0 = equivariant.read %x offset 0 strides [1] : !llvm.ptr -> tensor<2xf32>
  %1 = equivariant.read %y offset 0 strides [1] : !llvm.ptr -> tensor<2xf32>
  %2 = equivariant.einsum "i,i->"(%0, %1) : (tensor<2xf32>, tensor<2xf32>) -> tensor<f32>
  equivariant.write %2 to %z offset 0 strides [] accumulate : tensor<f32>, !llvm.ptr
  llvm.return
}

// Two writes that add to one place are one sum: it is read once and written once.
// CHECK-LABEL: llvm.func @same_place(
// CHECK: %[[FROM:.*]] = llvm.getelementptr %[[Z:.*]][2]
// CHECK: %[[OLD:.*]] = llvm.load %[[FROM]]
// CHECK: %[[FIRST:.*]] = llvm.fadd %[[OLD]], %{{.*}}
// CHECK: %[[SECOND:.*]] = llvm.fadd %[[FIRST]], %{{.*}}
// CHECK: %[[TO:.*]] = llvm.getelementptr %[[Z]][2]
// CHECK: llvm.store %[[SECOND]], %[[TO]]
// CHECK-NOT: llvm.store
// CHECK: llvm.return
llvm.func @same_place(%x: !llvm.ptr, %y: !llvm.ptr, %z: !llvm.ptr) {
  %0 = equivariant.read %x offset 0 strides [] : !llvm.ptr -> tensor<f32>
  %1 = equivariant.read %y offset 0 strides [] : !llvm.ptr -> tensor<f32>
  equivariant.write %0 to %z offset 2 strides [] accumulate : tensor<f32>, !llvm.ptr
  equivariant.write %1 to %z offset 2 strides [] accumulate : tensor<f32>, !llvm.ptr
  llvm.return
}

// Adding a zero touches nothing.
// CHECK-LABEL: llvm.func @nothing(
// CHECK-NEXT: llvm.return
llvm.func @nothing(%z: !llvm.ptr) {
  %0 = equivariant.zero : tensor<3xf32>
  equivariant.write %0 to %z offset 0 strides [1] accumulate : tensor<3xf32>, !llvm.ptr
  llvm.return
}

// A lane that the mask leaves out reads nothing either: it may be given the place of another lane, which writes there.
// CHECK-LABEL: llvm.func @masked(
// CHECK-SAME: %[[MASK:[^ ]*]]: i1
// CHECK: %[[OLD:.*]] = scf.if %[[MASK]] -> (f32) {
// CHECK-NEXT: %[[THERE:.*]] = llvm.load
// CHECK-NEXT: scf.yield %[[THERE]]
// CHECK-NEXT: } else {
// CHECK: %[[SUM:.*]] = llvm.fadd %[[OLD]], %{{.*}}
// CHECK: scf.if %[[MASK]] {
// CHECK-NEXT: llvm.store %[[SUM]]
llvm.func @masked(%x: !llvm.ptr, %lane: i64, %z: !llvm.ptr, %mask: i1) {
  %0 = equivariant.read %x offset 0 strides [] : !llvm.ptr -> tensor<f32>
  equivariant.write %0 to %z[%lane] mask %mask : i1 offset 0 strides [] accumulate : tensor<f32>, !llvm.ptr
  llvm.return
}

// So are a write that adds to nothing and one that adds to that.
// CHECK-LABEL: llvm.func @written_before(
// CHECK: %[[A:.*]] = llvm.load %{{.*}}
// CHECK: %[[B:.*]] = llvm.load %{{.*}}
// CHECK: %[[SUM:.*]] = llvm.fadd %[[A]], %[[B]]
// CHECK: llvm.store %[[SUM]], %{{.*}}
// CHECK-NOT: llvm.store
// CHECK: llvm.return
llvm.func @written_before(%x: !llvm.ptr, %y: !llvm.ptr, %z: !llvm.ptr) {
  %0 = equivariant.read %x offset 0 strides [] : !llvm.ptr -> tensor<f32>
  %1 = equivariant.read %y offset 0 strides [] : !llvm.ptr -> tensor<f32>
  equivariant.write %0 to %z offset 2 strides [] : tensor<f32>, !llvm.ptr
  equivariant.write %1 to %z offset 2 strides [] accumulate : tensor<f32>, !llvm.ptr
  llvm.return
}

// Where lanes of the two differ, they keep their order.
// CHECK-LABEL: llvm.func @written_before_by_others(
// CHECK: %[[A:.*]] = llvm.load %{{.*}}
// CHECK: scf.if %[[M:.*]] {
// CHECK-NEXT: llvm.store %[[A]], %{{.*}}
// CHECK: scf.if %[[N:.*]] -> (f32) {
// CHECK-NEXT: %[[OLD:.*]] = llvm.load %{{.*}}
// CHECK: scf.if %[[N]] {
// CHECK-NEXT: llvm.store
// CHECK: llvm.return
llvm.func @written_before_by_others(%x: !llvm.ptr, %y: !llvm.ptr, %z: !llvm.ptr, %m: i1, %n: i1) {
  %0 = equivariant.read %x offset 0 strides [] : !llvm.ptr -> tensor<f32>
  %1 = equivariant.read %y offset 0 strides [] : !llvm.ptr -> tensor<f32>
  equivariant.write %0 to %z mask %m : i1 offset 2 strides [] : tensor<f32>, !llvm.ptr
  equivariant.write %1 to %z mask %n : i1 offset 2 strides [] accumulate : tensor<f32>, !llvm.ptr
  llvm.return
}
