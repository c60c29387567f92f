// RUN: espmm-opt %s --verify-roundtrip --mlir-print-op-generic | espmm-opt | FileCheck %s

// CHECK-DAG: #[[X:.*]] = #equivariant.irreps<"8x1o+2x0e", mul_ir>
#x = #equivariant.irreps<"8x1o+2x0e", mul_ir>

// CHECK-LABEL: @block
func.func @block(%x: tensor<26xf32, #x>, %w: tensor<12xf64>) {
  // CHECK: equivariant.block %{{.*}}[0] : tensor<26xf32, #[[X]]> -> tensor<8x3xf32>
  %0 = equivariant.block %x[0] : tensor<26xf32, #x> -> tensor<8x3xf32>
  // CHECK: equivariant.block %{{.*}}[24] : tensor<26xf32, #[[X]]> -> tensor<2x1xf32>
  %1 = equivariant.block %x[24] : tensor<26xf32, #x> -> tensor<2x1xf32>
  // CHECK: equivariant.block %{{.*}}[0] : tensor<12xf64> -> tensor<2x3x2xf64>
  %2 = equivariant.block %w[0] : tensor<12xf64> -> tensor<2x3x2xf64>
  return
}

// CHECK-LABEL: @instances
func.func @instances(%g: !equivariant.graph, %w: tensor<?x48xf32>) -> tensor<?x48xf32> {
  // CHECK: schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_end = 1, instances = 3>
  %r = equivariant.kernel over %g : !equivariant.graph ins(%w at edge : tensor<?x48xf32>) outs(receivers : tensor<?x48xf32>)
      attributes {schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_end = 1, instances = 3>} {
  ^bb0(%we: tensor<48xf32>):
    // CHECK: %[[A:.*]] = equivariant.block %{{.*}}[0] also [16, 40] : tensor<48xf32> -> tensor<8x1xf32>
    %a = equivariant.block %we[0] also [16, 40] : tensor<48xf32> -> tensor<8x1xf32>
    // CHECK: equivariant.assemble [8, 0] also [32, 24, 16, 40](%[[A]], %[[A]]) : (tensor<8x1xf32>, tensor<8x1xf32>) -> tensor<48xf32>
    %b = equivariant.assemble [8, 0] also [32, 24, 16, 40] (%a, %a) : (tensor<8x1xf32>, tensor<8x1xf32>) -> tensor<48xf32>
    equivariant.yield %b : tensor<48xf32>
  }
  return %r : tensor<?x48xf32>
}

// CHECK-LABEL: @coefficients
func.func @coefficients() {
  // CHECK: equivariant.coefficients(1, 2, 3) * 5.000000e-01 : tensor<3x5x7xf32>
  %0 = equivariant.coefficients(1, 2, 3) * 5.0e-1 : tensor<3x5x7xf32>
  // A scale reads back as the same double.
  // CHECK: equivariant.ones : tensor<4xf32>
  %ones = equivariant.ones : tensor<4xf32>
  // CHECK: equivariant.coefficients(0, 0, 0) * 0.30000000000000004 : tensor<1x1x1xf64>
  %1 = equivariant.coefficients(0, 0, 0) * 0.30000000000000004 : tensor<1x1x1xf64>
  return
}

// CHECK-LABEL: @pairs
func.func @pairs(%x: tensor<4x3xf32>) {
  // CHECK: %[[A:.*]] = equivariant.pairs second %{{.*}} : tensor<4x3xf32> -> tensor<6x3xf32>
  %a = equivariant.pairs second %x : tensor<4x3xf32> -> tensor<6x3xf32>
  // CHECK: equivariant.pair_sum first %[[A]] : tensor<6x3xf32> -> tensor<4x3xf32>
  %b = equivariant.pair_sum first %a : tensor<6x3xf32> -> tensor<4x3xf32>
  return
}

// CHECK-LABEL: @einsum
func.func @einsum(%x: tensor<8x3xf32>, %y: tensor<1x3xf32>) {
  // CHECK: equivariant.einsum "ui,vj->uij"(%{{.*}}, %{{.*}}) : (tensor<8x3xf32>, tensor<1x3xf32>) -> tensor<8x3x3xf32>
  %0 = equivariant.einsum "ui,vj->uij" (%x, %y) : (tensor<8x3xf32>, tensor<1x3xf32>) -> tensor<8x3x3xf32>
  // CHECK: equivariant.einsum "uij->"(%{{.*}}) : (tensor<8x3x3xf32>) -> tensor<f32>
  %1 = equivariant.einsum "uij->" (%0) : (tensor<8x3x3xf32>) -> tensor<f32>
  return
}

// CHECK-LABEL: @assemble
func.func @assemble(%a: tensor<8x3xf32>, %b: tensor<2x1xf32>) {
  // CHECK: equivariant.assemble [0, 24, 0](%{{.*}}, %{{.*}}, %{{.*}}) : (tensor<8x3xf32>, tensor<2x1xf32>, tensor<8x3xf32>) -> tensor<26xf32, #[[X]]>
  %0 = equivariant.assemble [0, 24, 0] (%a, %b, %a) : (tensor<8x3xf32>, tensor<2x1xf32>, tensor<8x3xf32>) -> tensor<26xf32, #x>
  // CHECK: equivariant.assemble []() : () -> tensor<26xf32, #[[X]]>
  %1 = equivariant.assemble [] () : () -> tensor<26xf32, #x>
  return
}
