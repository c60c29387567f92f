// RUN: espmm-opt %s -verify-diagnostics -split-input-file

// schedule_c1
// expected-error@+1 {{expected lanes to be a power of two, got 12}}
#s = #equivariant.schedule<target = cpu, group_by = edge, lanes = 12, slab_begin = 0, slab_end = 0, rows = 16, deterministic = true>
module attributes {test.schedule = #s} {}

// -----

// schedule_c2
// expected-error@+1 {{expected rows >= 1 and registers from 0 to 255, got 0 and 0}}
#s = #equivariant.schedule<target = cpu, group_by = edge, lanes = 8, slab_begin = 0, slab_end = 0, rows = 0, deterministic = true>
module attributes {test.schedule = #s} {}

// -----

// schedule_c3
// expected-error@+1 {{expected 0 <= slab_begin <= slab_end, got 4 and 2}}
#s = #equivariant.schedule<target = gpu, group_by = edge, lanes = 32, slab_begin = 4, slab_end = 2, rows = 16, registers = 255, deterministic = false>
module attributes {test.schedule = #s} {}

// -----

// schedule_c4
// expected-error@+1 {{expected warps to be 1, 2, 4, 8 or 16 and stages from 2 to 8, got 3 and 2}}
#s = #equivariant.schedule<target = gpu, group_by = edge, lanes = 32, slab_end = 1, warps = 3>
module attributes {test.schedule = #s} {}

// -----

// schedule_c5
// expected-error@+1 {{expected slabs to divide the number of slabs from slab_begin to slab_end, got 2 for 3}}
#s = #equivariant.schedule<target = gpu, group_by = edge, lanes = 32, slab_begin = 1, slab_end = 4, slabs = 2>
module attributes {test.schedule = #s} {}

// -----

// schedule_c6
// expected-error@+1 {{expected tile_rows to be 1, or as many as lanes where edges are not grouped, got 4}}
#s = #equivariant.schedule<target = cpu, group_by = edge, lanes = 8, tile_rows = 4>
module attributes {test.schedule = #s} {}

// -----

// schedule_c7
// expected-error@+1 {{expected at least one instance, and no more on the CPU, got 0}}
#s = #equivariant.schedule<target = gpu, group_by = edge, lanes = 32, slab_end = 1, instances = 0>
module attributes {test.schedule = #s} {}

// -----

// schedule_c6
// expected-error@+1 {{expected tile_rows to be 1, or as many as lanes where edges are not grouped, got 8}}
#s = #equivariant.schedule<target = cpu, group_by = receivers, lanes = 8, tile_rows = 8>
module attributes {test.schedule = #s} {}

// -----

// schedule_c7
// expected-error@+1 {{expected at least one instance, and no more on the CPU, got 2}}
#s = #equivariant.schedule<target = cpu, group_by = edge, lanes = 8, instances = 2>
module attributes {test.schedule = #s} {}

// -----

// schedule_c8
// expected-error@+1 {{expected products from 1 to 3, 1 on the CPU, got 4}}
#s = #equivariant.schedule<target = gpu, group_by = edge, lanes = 32, slab_end = 1, rows = 32, products = 4>
module attributes {test.schedule = #s} {}

// -----

// schedule_c8
// expected-error@+1 {{expected products from 1 to 3, 1 on the CPU, got 3}}
#s = #equivariant.schedule<target = cpu, group_by = edge, lanes = 8, products = 3>
module attributes {test.schedule = #s} {}
