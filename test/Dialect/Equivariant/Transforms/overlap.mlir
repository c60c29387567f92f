// Fills before a launch are one kernel, which the launch does not wait for: it waits where it may write first.
// RUN: split-file %s %t
// RUN: cat %t/target-90 %t/program | espmm-opt --equivariant-overlap | FileCheck %s --check-prefixes=CHECK,HOPPER
// RUN: cat %t/target-100 %t/program | espmm-opt --equivariant-overlap | FileCheck %s --check-prefixes=CHECK,HOPPER
// RUN: cat %t/target-80 %t/program | espmm-opt --equivariant-overlap | FileCheck %s --check-prefixes=CHECK,AMPERE

// Before sm_90 no launch begins before the last has ended.
// AMPERE-NOT: griddepcontrol

// CHECK-LABEL: func.func @host
// CHECK: %[[N:.*]] = arith.muli %arg0
// CHECK: %[[M:.*]] = arith.muli %arg0
// CHECK-NOT: equivariant.fill
// CHECK: %[[BOTH:.*]] = arith.addi %[[N]], %[[M]] : i64
// CHECK: %[[A_BLOCK:.*]] = arith.constant 4096 : i64
// CHECK: %[[NEEDED:.*]] = arith.ceildivui %[[BOTH]], %[[A_BLOCK]] : i64
// CHECK: %[[MOST:.*]] = arith.constant 528 : i64
// CHECK: %[[BLOCKS:.*]] = arith.minsi %[[NEEDED]], %[[MOST]] : i64
// CHECK: equivariant.launch @espmm_fill_2 grid(%[[BLOCKS]]) block [256, 1, 1] shared 0(%[[BLOCKS]], %arg1, %[[N]], %arg2, %[[M]])
// HOPPER: equivariant.launch @edges grid(%arg0) block [32, 4, 1] shared 0 overlaps(%arg0, %arg1, %arg2)
// AMPERE: equivariant.launch @edges grid(%arg0) block [32, 4, 1] shared 0(%arg0, %arg1, %arg2)
// No fill comes before this one.
// CHECK: equivariant.launch @rows grid(%arg0) block [32, 1, 1] shared 0(%arg0, %arg1)
// CHECK: equivariant.launch @espmm_fill_1
// HOPPER: equivariant.launch @reads grid(%arg0) block [32, 1, 1] shared 0 overlaps(%arg1, %arg2)
// No launch comes after the last.
// CHECK: equivariant.fill %arg2

// What is read, and what is copied to shared memory, does not wait; a loop that adds does, and so does who takes another way.
// CHECK-LABEL: llvm.func @edges
// CHECK: llvm.load
// CHECK-NOT: griddepcontrol
// CHECK: scf.if
// CHECK: equivariant.async_copy
// HOPPER-NEXT: nvvm.griddepcontrol wait
// CHECK-NEXT: scf.for
// CHECK: equivariant.write {{.*}} accumulate
// CHECK: else
// CHECK-NEXT: equivariant.read
// CHECK-NEXT: equivariant.write
// CHECK-NEXT: }
// HOPPER-NEXT: nvvm.griddepcontrol wait
// CHECK-NEXT: llvm.return

// CHECK-LABEL: llvm.func @rows
// CHECK-NOT: griddepcontrol
// CHECK: llvm.return

// Zeros that are read are waited for at once.
// CHECK-LABEL: llvm.func @reads
// HOPPER-NEXT: nvvm.griddepcontrol wait
// CHECK-NEXT: llvm.load
// HOPPER-NOT: griddepcontrol
// CHECK: llvm.return

// Stores of 16 bytes by all threads in turn, and what is left of 2 bytes each.
// CHECK-LABEL: llvm.func @espmm_fill_2(%arg0: i64, %arg1: !llvm.ptr<1>, %arg2: i64, %arg3: !llvm.ptr<1>, %arg4: i64)
// HOPPER-NEXT: nvvm.griddepcontrol launch_dependents
// CHECK: scf.for
// CHECK: llvm.store {{.*}} {alignment = 16 : i64} : vector<4xi32>, !llvm.ptr<1>
// CHECK: scf.if
// CHECK: llvm.store {{.*}} {alignment = 2 : i64} : i16, !llvm.ptr<1>
// CHECK: scf.for
// CHECK: llvm.store {{.*}} : vector<4xi32>, !llvm.ptr<1>
// CHECK: scf.if
// CHECK: llvm.store {{.*}} : i16, !llvm.ptr<1>
// CHECK: llvm.return

//--- target-90
module attributes {equivariant.target = "cuda:sm_90"} {

//--- target-100
module attributes {equivariant.target = "cuda:sm_100a"} {

//--- target-80
module attributes {equivariant.target = "cuda:sm_80"} {

//--- program
  func.func @host(%E: i64, %p: !llvm.ptr, %q: !llvm.ptr) {
    %c32 = arith.constant 32 : i64
    %c6 = arith.constant 6 : i64
    %n = arith.muli %E, %c32 : i64
    equivariant.fill %p, %n : !llvm.ptr
    %m = arith.muli %E, %c6 : i64
    equivariant.fill %q, %m : !llvm.ptr
    equivariant.launch @edges grid(%E) block [32, 4, 1] shared 0 (%E, %p, %q) : i64, !llvm.ptr, !llvm.ptr
    equivariant.launch @rows grid(%E) block [32, 1, 1] shared 0 (%E, %p) : i64, !llvm.ptr
    equivariant.fill %p, %n : !llvm.ptr
    equivariant.launch @reads grid(%E) block [32, 1, 1] shared 0 (%p, %q) : !llvm.ptr, !llvm.ptr
    equivariant.fill %q, %m : !llvm.ptr
    return
  }
  llvm.mlir.global external @espmm_shared() {addr_space = 3 : i32, alignment = 16 : i64} : !llvm.array<0 x i8>
  llvm.func @edges(%n: i64, %p: !llvm.ptr<1>, %q: !llvm.ptr<1>) attributes {nvvm.kernel} {
    %c0 = arith.constant 0 : i64
    %c1 = arith.constant 1 : i64
    %shared = llvm.mlir.addressof @espmm_shared : !llvm.ptr<3>
    %first = llvm.load %p : !llvm.ptr<1> -> i64
    %some = arith.cmpi slt, %c0, %first : i64
    scf.if %some {
      equivariant.async_copy %p to %shared slab %c0 lane %c0 runs [0, 32, 32, 1, 32] width 4 : f32, !llvm.ptr<1>, !llvm.ptr<3>
      scf.for %e = %c0 to %first step %c1 : i64 {
        %v = equivariant.read %shared[%e] offset 0 strides [1] : !llvm.ptr<3> -> tensor<1xf32>
        equivariant.write %v to %q[%e] offset 0 strides [1] accumulate : tensor<1xf32>, !llvm.ptr<1>
      }
    } else {
      %v = equivariant.read %p[%c0] offset 0 strides [1] : !llvm.ptr<1> -> tensor<1xf32>
      equivariant.write %v to %shared[%c0] offset 0 strides [1] : tensor<1xf32>, !llvm.ptr<3>
    }
    llvm.return
  }
  llvm.func @rows(%n: i64, %p: !llvm.ptr<1>) attributes {nvvm.kernel} {
    llvm.return
  }
  llvm.func @reads(%p: !llvm.ptr<1> {llvm.readonly}, %q: !llvm.ptr<1>) attributes {nvvm.kernel} {
    %v = llvm.load %p : !llvm.ptr<1> -> f32
    llvm.store %v, %q : f32, !llvm.ptr<1>
    llvm.return
  }
}
