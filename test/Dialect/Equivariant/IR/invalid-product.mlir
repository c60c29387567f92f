// RUN: espmm-opt %s -verify-diagnostics -split-input-file

// product_c1
// expected-error@+1 {{path 1: block 1 of x is out of range, x has 1 blocks}}
#p = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 1.0, uvu(1, 0, 0) * 1.0]>

// -----

// product_c1
// expected-error@+1 {{path 0: block -1 of y is out of range, y has 1 blocks}}
#p = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, -1, 0) * 1.0]>

// -----

// product_c1
// expected-error@+1 {{path 0: block 0 of z is out of range, z has 0 blocks}}
#p = #equivariant.product<x = "8x1o", y = "1x1o", z = "", paths = [uvu(0, 0, 0) * 1.0]>

// -----

// product_c2
// expected-error@+1 {{path 0: 8x3e is not in the product of 8x1o and 1x1o}}
#p = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x3e", paths = [uvu(0, 0, 0) * 1.0]>

// -----

// product_c2
// expected-error@+1 {{path 0: 8x0e is not in the product of 8x2e and 1x1e}}
#p = #equivariant.product<x = "8x2e", y = "1x1e", z = "8x0e", paths = [uvu(0, 0, 0) * 1.0]>

// -----

// product_c2
// expected-error@+1 {{path 0: 8x0o is not in the product of 8x1o and 1x1o}}
#p = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0o", paths = [uvu(0, 0, 0) * 1.0]>

// -----

// product_c3
// expected-error@+1 {{path 0: mode uvu needs equal multiplicities in x and z, got multiplicities 8, 1 and 4}}
#p = #equivariant.product<x = "8x0e", y = "0e", z = "4x0e", paths = [uvu(0, 0, 0) * 1.0]>

// -----

// product_c3
// expected-error@+1 {{path 0: mode uvv needs equal multiplicities in y and z, got multiplicities 8, 1 and 8}}
#p = #equivariant.product<x = "8x0e", y = "0e", z = "8x0e", paths = [uvv(0, 0, 0) * 1.0]>

// -----

// product_c3
// expected-error@+1 {{path 0: mode uuw needs equal multiplicities in x and y, got multiplicities 8, 1 and 8}}
#p = #equivariant.product<x = "8x0e", y = "0e", z = "8x0e", paths = [uuw(0, 0, 0) * 1.0]>

// -----

// product_c3
// expected-error@+1 {{path 0: mode uuu needs equal multiplicities, got multiplicities 8, 8 and 1}}
#p = #equivariant.product<x = "8x0e", y = "8x0e", z = "0e", paths = [uuu(0, 0, 0) * 1.0]>

// -----

// product_c3
// expected-error@+1 {{path 0: mode uvuv needs the product of x's and y's multiplicities in z, got multiplicities 8, 2 and 8}}
#p = #equivariant.product<x = "8x0e", y = "2x0e", z = "8x0e", paths = [uvuv(0, 0, 0) * 1.0]>

// -----

// product_c3
// expected-error@+1 {{path 0: mode uvu_lt_v needs equal multiplicities m in x and y, and m(m-1)/2 in z, got multiplicities 4, 4 and 4}}
#p = #equivariant.product<x = "4x0e", y = "4x0e", z = "4x0e", paths = [uvu_lt_v(0, 0, 0) * 1.0]>

// -----

// product_c3
// expected-error@+1 {{path 0: mode u_lt_vw needs equal multiplicities in x and y, got multiplicities 4, 2 and 4}}
#p = #equivariant.product<x = "4x0e", y = "2x0e", z = "4x0e", paths = [u_lt_vw(0, 0, 0) * 1.0]>

// -----

// product_c4
// expected-error@+1 {{path 1: expected all paths to have weights, or none; weighted and weightless paths are separate products}}
#p = #equivariant.product<x = "8x0e", y = "0e", z = "8x0e", paths = [uvu(0, 0, 0) * 1.0, uvu(0, 0, 0) weightless * 1.0]>

// -----

// product_c5
// expected-error@+1 {{path 0: mode uvw needs a weight, got multiplicities 8, 1 and 8}}
#p = #equivariant.product<x = "8x0e", y = "0e", z = "8x0e", paths = [uvw(0, 0, 0) weightless * 1.0]>

// -----

// product_c5
// expected-error@+1 {{path 0: mode u_lt_vw needs a weight, got multiplicities 8, 8 and 8}}
#p = #equivariant.product<x = "8x0e", y = "8x0e", z = "8x0e", paths = [u_lt_vw(0, 0, 0) weightless * 1.0]>

// -----

// product_c5
// expected-error@+1 {{path 0: mode uuw needs a weight, or multiplicity 1 in z, got multiplicities 8, 8 and 2}}
#p = #equivariant.product<x = "8x0e", y = "8x0e", z = "2x0e", paths = [uuw(0, 0, 0) weightless * 1.0]>

// -----

// product_c6
// expected-error@+1 {{path 0: expected a finite coefficient, got INF}}
#p = #equivariant.product<x = "8x0e", y = "0e", z = "8x0e", paths = [uvu(0, 0, 0) * 1.0e400]>

// -----

// product_c7
// expected-error@+1 {{path 1: expected less than 2^63 weights in all}}
#p = #equivariant.product<x = "2000000x0e", y = "2000000x0e", z = "2000000x0e", paths = [uvw(0, 0, 0) * 1.0, uvw(0, 0, 0) * 1.0]>

// -----

// expected-error@+1 {{expected a mode, uvw, uvu, uvv, uuw, uuu, uvuv, uvu_lt_v or u_lt_vw, got 'uwu'}}
#p = #equivariant.product<x = "8x0e", y = "0e", z = "8x0e", paths = [uwu(0, 0, 0) * 1.0]>

// -----

// expected-error@+1 {{expected 'y'}}
#p = #equivariant.product<x = "8x0e", z = "8x0e", paths = []>
