// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu" -split-input-file | FileCheck %s
// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu warps=2 registers=96" -split-input-file | FileCheck %s --check-prefix=WISHED

// Without loops but that over lanes, a kernel's registers are what an operation reads and computes at once. Few: many warps run.

#p = #equivariant.product<x = "1x1o", y = "1x1o", z = "32x0e", paths = [uvw(0, 0, 0) * 1.0]>
#x = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"32x0e", mul_ir>
// CHECK-LABEL: func.func @few(
// CHECK: schedule = #equivariant.schedule<{{.*}}, rows = 1, warps = 4, registers = 64>
// WISHED-LABEL: func.func @few(
// WISHED: schedule = #equivariant.schedule<{{.*}}, rows = 1, warps = 2, registers = 96>
func.func @few(%s: !equivariant.rows, %x: tensor<?x3xf32, #x>, %y: tensor<?x3xf32, #x>, %gz: tensor<?x32xf32, #z>) -> tensor<?x32xf32> {
  %gw = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %gz at edge : tensor<?x3xf32, #x>, tensor<?x3xf32, #x>, tensor<?x32xf32, #z>) outs(edge : tensor<?x32xf32>) {
  ^bb0(%xe: tensor<3xf32, #x>, %ye: tensor<3xf32, #x>, %ge: tensor<32xf32, #z>):
    %m = equivariant.contract w of #p (x = %xe, y = %ye, z = %ge) : (tensor<3xf32, #x>, tensor<3xf32, #x>, tensor<32xf32, #z>) -> tensor<32xf32>
    equivariant.yield %m : tensor<32xf32>
  }
  return %gw : tensor<?x32xf32>
}

// -----

// Many: such code is long, and more warps of a block share what is fetched of it.

#p = #equivariant.product<x = "1x5o", y = "1x6e", z = "32x5o", paths = [uvw(0, 0, 0) * 1.0]>
#x = #equivariant.irreps<"1x5o", mul_ir>
#y = #equivariant.irreps<"1x6e", mul_ir>
#z = #equivariant.irreps<"32x5o", mul_ir>
// CHECK-LABEL: func.func @many(
// CHECK: schedule = #equivariant.schedule<{{.*}}, rows = 1, warps = 8, registers = {{128|255}}>
// WISHED-LABEL: func.func @many(
// WISHED: schedule = #equivariant.schedule<{{.*}}, rows = 1, warps = 2, registers = 96>
func.func @many(%s: !equivariant.rows, %x: tensor<?x11xf32, #x>, %y: tensor<?x13xf32, #y>, %w: tensor<?x32xf32>, %gz: tensor<?x352xf32, #z>) -> (tensor<?x11xf32, #x>, tensor<?x13xf32, #y>) {
  %gx, %gy = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %w at edge, %gz at edge : tensor<?x11xf32, #x>, tensor<?x13xf32, #y>, tensor<?x32xf32>, tensor<?x352xf32, #z>) outs(edge, edge : tensor<?x11xf32, #x>, tensor<?x13xf32, #y>) {
  ^bb0(%xe: tensor<11xf32, #x>, %ye: tensor<13xf32, #y>, %we: tensor<32xf32>, %ge: tensor<352xf32, #z>):
    %m = equivariant.contract x of #p (y = %ye, w = %we, z = %ge) : (tensor<13xf32, #y>, tensor<32xf32>, tensor<352xf32, #z>) -> tensor<11xf32, #x>
    %n = equivariant.contract y of #p (x = %xe, w = %we, z = %ge) : (tensor<11xf32, #x>, tensor<32xf32>, tensor<352xf32, #z>) -> tensor<13xf32, #y>
    equivariant.yield %m, %n : tensor<11xf32, #x>, tensor<13xf32, #y>
  }
  return %gx, %gy : tensor<?x11xf32, #x>, tensor<?x13xf32, #y>
}
