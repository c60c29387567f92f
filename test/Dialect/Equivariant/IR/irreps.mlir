// RUN: espmm-opt %s --verify-roundtrip --mlir-print-op-generic | espmm-opt | FileCheck %s

// e3nn's notation, with a multiplicity of 1 and spaces left out or not, prints in one way, and as an alias.

// CHECK-DAG: #[[ALL:.*]] = #equivariant.irreps<"128x0e+64x1o+1x11e", mul_ir>
// CHECK-DAG: #[[IR_MUL:.*]] = #equivariant.irreps<"3x2o", ir_mul>
// CHECK-DAG: #[[NO_COPIES:.*]] = #equivariant.irreps<"0x1e", mul_ir>
// CHECK-DAG: #[[EMPTY:.*]] = #equivariant.irreps<"", mul_ir>

// CHECK-LABEL: @several_blocks
// CHECK-SAME: (tensor<?x343xf64, #[[ALL]]>)
func.func private @several_blocks(tensor<?x343xf64, #equivariant.irreps<"128x0e + 64 x 1o+11e", mul_ir>>)

// CHECK-LABEL: @ir_mul
// CHECK-SAME: (tensor<4x15xf32, #[[IR_MUL]]>)
func.func private @ir_mul(tensor<4x15xf32, #equivariant.irreps<"3x2o", ir_mul>>)

// CHECK-LABEL: @multiplicity_zero
// CHECK-SAME: (tensor<?x0xf32, #[[NO_COPIES]]>)
func.func private @multiplicity_zero(tensor<?x0xf32, #equivariant.irreps<"0x1e", mul_ir>>)

// CHECK-LABEL: @empty
// CHECK-SAME: (tensor<?x0xf32, #[[EMPTY]]>)
func.func private @empty(tensor<?x0xf32, #equivariant.irreps<"", mul_ir>>)

// A row, as it appears inside a kernel.
// CHECK-LABEL: @row
// CHECK-SAME: (tensor<15xf32, #[[IR_MUL]]>)
func.func private @row(tensor<15xf32, #equivariant.irreps<"3x2o", ir_mul>>)
