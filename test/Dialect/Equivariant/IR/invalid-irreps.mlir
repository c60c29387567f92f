// RUN: espmm-opt %s -verify-diagnostics -split-input-file

// irreps_c1
// expected-error@+1 {{irreps 8x1o have dimension 24, but the tensor's last dimension is 8}}
func.func private @dimension(tensor<?x8xf32, #equivariant.irreps<"8x1o", mul_ir>>)

// -----

// irreps_c1
// expected-error@+1 {{irreps 8x1o have dimension 24, but the tensor's last dimension is missing}}
func.func private @rank_zero(tensor<f32, #equivariant.irreps<"8x1o", mul_ir>>)

// -----

// irreps_c1
// expected-error@+1 {{irreps 8x1o have dimension 24, but the tensor's last dimension is dynamic}}
func.func private @dynamic(tensor<?x?xf32, #equivariant.irreps<"8x1o", mul_ir>>)

// -----

// irreps_c2
// expected-error@+1 {{invalid irrep '8x1': expected a parity, 'e' or 'o', at the end}}
func.func private @parity(tensor<?x8xf32, #equivariant.irreps<"0e+8x1", mul_ir>>)

// -----

// irreps_c2
// expected-error@+1 {{invalid irrep '-8x1o': expected a multiplicity >= 0 before 'x', got '-8'}}
func.func private @multiplicity(tensor<?x8xf32, #equivariant.irreps<"-8x1o", mul_ir>>)

// -----

// irreps_c2
// expected-error@+1 {{invalid irrep '8xao': expected a degree l >= 0 before the parity, got 'a'}}
func.func private @degree(tensor<?x8xf32, #equivariant.irreps<"8xao", mul_ir>>)

// -----

// irreps_c2
// expected-error@+1 {{invalid irrep '8x12e': expected a degree up to 11, got 12}}
func.func private @large_degree(tensor<?x200xf32, #equivariant.irreps<"8x12e", mul_ir>>)

// -----

// irreps_c2
// expected-error@+1 {{invalid irrep '': expected a parity, 'e' or 'o', at the end}}
func.func private @trailing_plus(tensor<?x8xf32, #equivariant.irreps<"8x0e+", mul_ir>>)

// -----

// irreps_c3
// expected-error@+1 {{irreps '1x0e+715827883x1o' have a dimension of 2^31 or more}}
func.func private @large_dimension(tensor<?x8xf32, #equivariant.irreps<"1x0e+715827883x1o", mul_ir>>)

// -----

// irreps_c3
// expected-error@+1 {{irreps '9223372036854775807x1o' have a dimension of 2^31 or more}}
func.func private @overflow(tensor<?x8xf32, #equivariant.irreps<"9223372036854775807x1o", mul_ir>>)

// -----

// expected-error@+1 {{expected a layout, 'mul_ir' or 'ir_mul', got 'rowmajor'}}
func.func private @layout(tensor<?x8xf32, #equivariant.irreps<"8x0e", rowmajor>>)
