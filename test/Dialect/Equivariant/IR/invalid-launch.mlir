// RUN: espmm-opt %s -verify-diagnostics -split-input-file

llvm.func @kernel(!llvm.ptr, i64)

// launch_c1
func.func @operands(%n: i64, %v: f32) {
  // expected-error@+1 {{'equivariant.launch' op expects operands of 64 bits, pointers or i64, got 'f32'}}
  equivariant.launch @kernel grid(%n) (%v) : f32
  return
}

// -----

llvm.func @kernel(i64)

// launch_c2
func.func @block_without_shared(%n: i64) {
  // expected-error@+1 {{'equivariant.launch' op expects block and shared together, or neither of them}}
  equivariant.launch @kernel grid(%n) block [32, 1, 1] (%n) : i64
  return
}

// -----

llvm.func @kernel(i64)

// launch_c2
func.func @block_too_large(%n: i64) {
  // expected-error@+1 {{'equivariant.launch' op expects a block of three dimensions of together at most 1024 threads, and shared >= 0, got array<i64: 32, 64, 1> and 0}}
  equivariant.launch @kernel grid(%n) block [32, 64, 1] shared 0 (%n) : i64
  return
}

// -----

// launch_c3
func.func @no_kernel(%n: i64) {
  // expected-error@+1 {{'equivariant.launch' op expects a device function @kernel in the module, got none}}
  equivariant.launch @kernel grid(%n) (%n) : i64
  return
}

// -----

func.func private @kernel(!llvm.ptr, i64)

// launch_c3
func.func @host_function(%n: i64) {
  // expected-error@+1 {{'equivariant.launch' op expects a device function @kernel in the module, got none}}
  equivariant.launch @kernel grid(%n) (%n) : i64
  return
}

// -----

llvm.func @kernel(!llvm.ptr<1>, i64)

// launch_c4
func.func @number_of_operands(%n: i64) {
  // expected-error@+1 {{'equivariant.launch' op expects 2 operands for @kernel, got 1}}
  equivariant.launch @kernel grid(%n) block [32, 1, 1] shared 0 (%n) : i64
  return
}

// -----

llvm.func @kernel(i64, i64)

// launch_c4
func.func @no_task(%n: i64) {
  // expected-error@+1 {{'equivariant.launch' op expects @kernel to take its arguments' array and a task, a pointer and an i64, got '!llvm.func<void (i64, i64)>'}}
  equivariant.launch @kernel grid(%n) (%n, %n) : i64, i64
  return
}

// -----

llvm.func @kernel(i64)

// launch_c5
func.func @rows_of_no_block(%n: i64) {
  // expected-error@+1 {{'equivariant.launch' op expects rows with a block, and shared memory that its rows have equal parts of, multiples of 16 bytes}}
  equivariant.launch @kernel grid(%n) rows(%n) (%n) : i64
  return
}

// -----

llvm.func @kernel(i64)

// launch_c5
func.func @unequal_rows(%n: i64) {
  // expected-error@+1 {{'equivariant.launch' op expects rows with a block, and shared memory that its rows have equal parts of, multiples of 16 bytes}}
  equivariant.launch @kernel grid(%n) block [32, 4, 1] shared 1040 rows(%n) (%n) : i64
  return
}

// -----

llvm.func @kernel(i64)

// launch_c6
func.func @overlaps_nothing(%n: i64) {
  // expected-error@+1 {{'equivariant.launch' op expects what overlaps to have a block, and to follow a launch}}
  equivariant.launch @kernel grid(%n) block [32, 4, 1] shared 0 overlaps(%n) : i64
  return
}

// -----

llvm.func @kernel(i64)

// launch_c6
func.func @overlaps_a_fill(%n: i64, %p: !llvm.ptr) {
  equivariant.launch @kernel grid(%n) block [32, 4, 1] shared 0 (%n) : i64
  equivariant.fill %p, %n : !llvm.ptr
  // expected-error@+1 {{'equivariant.launch' op expects what overlaps to have a block, and to follow a launch}}
  equivariant.launch @kernel grid(%n) block [32, 4, 1] shared 0 overlaps(%n) : i64
  return
}

// -----

llvm.func @kernel(!llvm.ptr, i64)

// launch_c6
func.func @overlaps_tasks(%n: i64) {
  equivariant.launch @kernel grid(%n) (%n) : i64
  // expected-error@+1 {{'equivariant.launch' op expects what overlaps to have a block, and to follow a launch}}
  equivariant.launch @kernel grid(%n) overlaps(%n) : i64
  return
}
