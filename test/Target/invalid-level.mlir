// RUN: espmm-translate %s --to-llvmir -verify-diagnostics -split-input-file

// A tensor program.
module attributes {equivariant.target = "cpu"} {
  func.func @source(%x: tensor<1x8xf32>, %s: !equivariant.rows) -> tensor<?x8xf32> {
    // expected-error@+1 {{'equivariant.gather' op is not of the last level; run equivariant-to-cpu or equivariant-to-gpu first}}
    %0 = equivariant.gather %x at all of %s : tensor<1x8xf32> -> tensor<?x8xf32> over !equivariant.rows
    return %0 : tensor<?x8xf32>
  }
}

// -----

// A staged program.
module attributes {equivariant.target = "cpu"} {
  llvm.func @staged(%p: !llvm.ptr) {
    // expected-error@+1 {{'equivariant.read' op is not of the last level; run equivariant-to-cpu or equivariant-to-gpu first}}
    %0 = equivariant.read %p offset 0 strides [] : !llvm.ptr -> tensor<f32>
    llvm.return
  }
}

// -----

// Loops are still there.
module attributes {equivariant.target = "cpu"} {
  llvm.func @scalar(%n: i64) {
    // expected-error@+1 {{'scf.for' op is not of the last level; run equivariant-to-cpu or equivariant-to-gpu first}}
    scf.for %i = %n to %n step %n : i64 {
    }
    llvm.return
  }
}

// -----

// expected-error-re@+1 {{expects a processor that LLVM {{[0-9.]+}} knows, got 'sm_999'}}
module attributes {equivariant.target = "cuda:sm_999"} {}
