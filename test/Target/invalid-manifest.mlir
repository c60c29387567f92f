// RUN: espmm-translate %s --to-manifest -verify-diagnostics -split-input-file

// expected-error@+1 {{expects a module with 'equivariant.target', got none; run equivariant-to-cpu or equivariant-to-gpu first}}
module {}

// -----

// expected-error@+1 {{expects one function in a program, got 2}}
module attributes {equivariant.target = "cpu"} {
  func.func @a() { return }
  func.func @b() { return }
}

// -----

module attributes {equivariant.target = "cpu"} {
  // expected-error@+1 {{expects argument 0 of a host function to have 'equivariant.role'}}
  func.func @no_role(%x: !llvm.ptr) { return }
}

// -----

module attributes {equivariant.target = "cpu"} {
  // expected-error@+1 {{expects argument 0 of a host function to have 'equivariant.width'}}
  func.func @no_width(%x: !llvm.ptr {equivariant.role = "argument", equivariant.name = "x", equivariant.dtype = f32, equivariant.rows = "edges"}) { return }
}

// -----

module attributes {equivariant.target = "cpu"} {
  // expected-error@+1 {{expects 'equivariant.role' of argument 0 to be size, argument, plan or result, got "constant"}}
  func.func @unknown_role(%x: !llvm.ptr {equivariant.role = "constant", equivariant.name = "x"}) { return }
}

// -----

module attributes {equivariant.target = "cpu"} {
  func.func @host(%E: i64 {equivariant.role = "size", equivariant.name = "E"}, %R: i64 {equivariant.role = "size", equivariant.name = "R"}, %S: i64 {equivariant.role = "size", equivariant.name = "S"},
                     %p: !llvm.ptr {equivariant.role = "result", equivariant.name = "result0", equivariant.dtype = f32, equivariant.rows = "edges", equivariant.width = 8, equivariant.used = true}) {
    %0 = arith.divui %E, %R : i64
    // expected-error@-1 {{'arith.divui' op is nothing that a manifest can say of a size: expected a sum, difference, product, ceildivui, minsi or maxsi}}
    equivariant.fill %p, %0 : !llvm.ptr
    return
  }
}

// -----

module attributes {equivariant.target = "cpu"} {
  func.func @host(%E: i64 {equivariant.role = "size", equivariant.name = "E"}, %R: i64 {equivariant.role = "size", equivariant.name = "R"}, %S: i64 {equivariant.role = "size", equivariant.name = "S"},
                     %p: !llvm.ptr {equivariant.role = "result", equivariant.name = "result0", equivariant.dtype = f32, equivariant.rows = "edges", equivariant.width = 8, equivariant.used = true}) {
    %0 = llvm.mlir.zero : !llvm.ptr
    // expected-error@-1 {{'llvm.mlir.zero' op is nothing that a host function does: expected scratch, fill, launch, or sizes}}
    equivariant.fill %0, %E : !llvm.ptr
    return
  }
}

// -----

module attributes {equivariant.target = "cpu"} {
  func.func @host(%E: i64 {equivariant.role = "size", equivariant.name = "E"}, %R: i64 {equivariant.role = "size", equivariant.name = "R"}, %S: i64 {equivariant.role = "size", equivariant.name = "S"},
                     %p: !llvm.ptr {equivariant.role = "result", equivariant.name = "result0", equivariant.dtype = f32, equivariant.rows = "edges", equivariant.width = 8, equivariant.used = true}) {
    %c = arith.cmpi slt, %E, %R : i64
    // expected-error@+1 {{'scf.if' op is nothing that a host function does: expected scratch, fill, launch, or sizes}}
    scf.if %c {
      equivariant.fill %p, %E : !llvm.ptr
    }
    return
  }
}

// -----

module attributes {equivariant.target = "cpu"} {
  // expected-error@+1 {{expects one block in a host function}}
  func.func @two_blocks() {
    return
  ^bb1:
    return
  }
}

// -----

module attributes {equivariant.target = "cpu"} {
  func.func @host(%E: i64 {equivariant.role = "size", equivariant.name = "E"}, %R: i64 {equivariant.role = "size", equivariant.name = "R"}, %S: i64 {equivariant.role = "size", equivariant.name = "S"},
                     %p: !llvm.ptr {equivariant.role = "result", equivariant.name = "result0", equivariant.dtype = f32, equivariant.rows = "edges", equivariant.width = 8, equivariant.used = true}) {
    %c = arith.constant true
    %0 = arith.select %c, %p, %p : !llvm.ptr
    // expected-error@+1 {{'equivariant.fill' op uses a pointer that is neither an argument of the host function nor scratch}}
    equivariant.fill %0, %E : !llvm.ptr
    return
  }
}
