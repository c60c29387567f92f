// RUN: espmm-opt %s -verify-diagnostics -split-input-file

// dialect_c1
// expected-error@+1 {{'builtin.module' op expects 'equivariant.target' to be "cpu" or "cuda:sm_NUMBER", got "gpu"}}
module attributes {equivariant.target = "gpu"} {}

// -----

// dialect_c1
// expected-error@+1 {{'builtin.module' op expects 'equivariant.target' to be "cpu" or "cuda:sm_NUMBER", got "cuda:sm_90ab"}}
module attributes {equivariant.target = "cuda:sm_90ab"} {}

// -----

// dialect_c1
// expected-error@+1 {{'func.func' op has 'equivariant.target', which belongs to a module}}
func.func private @f() attributes {equivariant.target = "cpu"}

// -----

// dialect_c2
// expected-error@+1 {{'builtin.module' op expects 'equivariant.statistics' to be a dictionary of dictionaries of integers, got {paths = 1 : i64}}}
module attributes {equivariant.statistics = {paths = 1}} {}

// -----

llvm.func @kernel(!llvm.ptr, i64)

// dialect_c3
func.func @cost(%n: i64) {
  // expected-error@+1 {{'equivariant.launch' op expects 'equivariant.cost' to be a dictionary of integers, got 3 : i64}}
  equivariant.launch @kernel grid(%n) () {equivariant.cost = 3}
  return
}

// -----

// dialect_c3
// expected-error@+1 {{'builtin.module' op has 'equivariant.cost', which belongs to a launch}}
module attributes {equivariant.cost = {bytes_per_edge = 3}} {}

// -----

llvm.func @kernel(!llvm.ptr, i64)

// dialect_c4
func.func @choices(%n: i64) {
  // expected-error@+1 {{'equivariant.launch' op expects 'equivariant.choices' to be an array of strings, got [3]}}
  equivariant.launch @kernel grid(%n) () {equivariant.choices = [3]}
  return
}

// -----

// dialect_c4
// expected-error@+1 {{'builtin.module' op has 'equivariant.choices', which belongs to a launch}}
module attributes {equivariant.choices = ["rows"]} {}
