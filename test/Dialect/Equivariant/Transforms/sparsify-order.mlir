// RUN: espmm-opt %s --equivariant-sparsify | FileCheck %s

// P[i] = x_i y is used by both results as soon as it is there, before the next P[i] is formed: few values are alive.
// CHECK-LABEL: llvm.func @consume_first(
// CHECK: %[[Y:.*]] = llvm.load %{{[^ ]*}} {
// CHECK: %[[P0:.*]] = llvm.fmul {{.*}}
// CHECK: %[[A0:.*]] = llvm.fmul %[[P0]], %{{.*}}
// CHECK: %[[B0:.*]] = llvm.fmul %[[P0]], %{{.*}}
// CHECK: %[[P1:.*]] = llvm.fmul
// CHECK: %[[A1:.*]] = llvm.intr.fma(%[[P1]], %{{.*}}, %[[A0]])
// CHECK: %[[B1:.*]] = llvm.intr.fma(%[[P1]], %{{.*}}, %[[B0]])
// CHECK: %[[P2:.*]] = llvm.fmul
// CHECK: %[[A2:.*]] = llvm.intr.fma(%[[P2]], %{{.*}}, %[[A1]])
// CHECK: llvm.store %[[A2]]
// CHECK: %[[B2:.*]] = llvm.intr.fma(%[[P2]], %{{.*}}, %[[B1]])
// CHECK: llvm.store %[[B2]]
llvm.func @consume_first(%x: !llvm.ptr, %y: !llvm.ptr, %a: !llvm.ptr, %b: !llvm.ptr, %z: !llvm.ptr) {
  %0 = equivariant.read %y offset 0 strides [] : !llvm.ptr -> tensor<f32>
  %1 = equivariant.read %x offset 0 strides [1] : !llvm.ptr -> tensor<3xf32>
  %2 = equivariant.read %a offset 0 strides [1] : !llvm.ptr -> tensor<3xf32>
  %3 = equivariant.read %b offset 0 strides [1] : !llvm.ptr -> tensor<3xf32>
  %p = equivariant.einsum ",i->i"(%0, %1) : (tensor<f32>, tensor<3xf32>) -> tensor<3xf32>
  %4 = equivariant.einsum "i,i->"(%p, %2) : (tensor<3xf32>, tensor<3xf32>) -> tensor<f32>
  %5 = equivariant.einsum "i,i->"(%p, %3) : (tensor<3xf32>, tensor<3xf32>) -> tensor<f32>
  equivariant.write %4 to %z offset 0 strides [] : tensor<f32>, !llvm.ptr
  equivariant.write %5 to %z offset 1 strides [] : tensor<f32>, !llvm.ptr
  llvm.return
}

// What a loop sums is added where the program has it, not at the loop's end: all that one path gives (a store, a share of the sum)
// comes before the next path. And it is added to what is there: the first product too is a multiply-add.
// CHECK-LABEL: llvm.func @path_by_path(
// CHECK: scf.for {{.*}} iter_args(%[[SUM:.*]] = %{{.*}}) -> (f32)
// CHECK: %[[P:.*]] = llvm.fmul
// CHECK: llvm.store %[[P]]
// CHECK: %[[WITH_P:.*]] = llvm.intr.fma(%[[P]], %{{.*}}, %[[SUM]])
// CHECK: %[[Q:.*]] = llvm.fmul
// CHECK: llvm.store %[[Q]]
// CHECK: %[[WITH_Q:.*]] = llvm.intr.fma(%[[Q]], %{{.*}}, %[[WITH_P]])
// CHECK: scf.yield %[[WITH_Q]]
llvm.func @path_by_path(%x: !llvm.ptr, %y: !llvm.ptr, %g: !llvm.ptr, %z: !llvm.ptr, %n: i64) {
  %c0 = arith.constant 0 : i64
  %c1 = arith.constant 1 : i64
  %zero = equivariant.zero : tensor<f32>
  %r = scf.for %e = %c0 to %n step %c1 iter_args(%s = %zero) -> (tensor<f32>) : i64 {
    %0 = equivariant.read %x offset 0 strides [] : !llvm.ptr -> tensor<f32>
    %1 = equivariant.read %y offset 0 strides [] : !llvm.ptr -> tensor<f32>
    %2 = equivariant.read %x offset 1 strides [] : !llvm.ptr -> tensor<f32>
    %3 = equivariant.read %g offset 0 strides [] : !llvm.ptr -> tensor<f32>
    %p = equivariant.einsum ",->"(%0, %1) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %pg = equivariant.einsum ",->"(%p, %3) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %q = equivariant.einsum ",->"(%2, %1) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %qg = equivariant.einsum ",->"(%q, %3) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %4 = equivariant.add %pg, %qg : tensor<f32>
    equivariant.write %p to %z offset 0 strides [] : tensor<f32>, !llvm.ptr
    equivariant.write %q to %z offset 1 strides [] : tensor<f32>, !llvm.ptr
    %5 = equivariant.add %s, %4 : tensor<f32>
    scf.yield %5 : tensor<f32>
  }
  equivariant.write %r to %z offset 2 strides [] : tensor<f32>, !llvm.ptr
  llvm.return
}
