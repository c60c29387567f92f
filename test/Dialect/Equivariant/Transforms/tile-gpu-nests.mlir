// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu" -split-input-file | FileCheck %s

#p = #equivariant.product<x = "8x1o", y = "2x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"2x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
// CHECK-LABEL: func.func @read_weights(
func.func @read_weights(%s: !equivariant.rows, %x: tensor<?x24xf32, #x>, %y: tensor<?x6xf32, #y>, %w: tensor<?x16xf32>) -> tensor<?x8xf32, #z> {
  // Weights of several channels of y are read a stride apart: loops of their own, and nothing is cut.
  // CHECK: equivariant.kernel {{.*}}schedule = #equivariant.schedule<target = gpu, group_by = edge, lanes = 32, slab_end = 1, rows = 1, warps = 4, registers = {{[0-9]+}}>
  // CHECK-NOT: equivariant.kernel
  %z = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %w at edge : tensor<?x24xf32, #x>, tensor<?x6xf32, #y>, tensor<?x16xf32>) outs(edge : tensor<?x8xf32, #z>) {
  ^bb0(%xe: tensor<24xf32, #x>, %ye: tensor<6xf32, #y>, %we: tensor<16xf32>):
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (tensor<24xf32, #x>, tensor<6xf32, #y>, tensor<16xf32>) -> tensor<8xf32, #z>
    equivariant.yield %m : tensor<8xf32, #z>
  }
  return %z : tensor<?x8xf32, #z>
}

// -----

#p = #equivariant.product<x = "8x1o", y = "2x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"2x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
// CHECK-LABEL: func.func @write_weights(
func.func @write_weights(%s: !equivariant.rows, %x: tensor<?x24xf32, #x>, %y: tensor<?x6xf32, #y>, %gz: tensor<?x8xf32, #z>) -> tensor<?x16xf32> {
  // So are they written.
  // CHECK: equivariant.kernel {{.*}}schedule = #equivariant.schedule<target = gpu, group_by = edge, lanes = 32, slab_end = 1, rows = 1, warps = 4, registers = {{[0-9]+}}>
  // CHECK-NOT: equivariant.kernel
  %gw = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %gz at edge : tensor<?x24xf32, #x>, tensor<?x6xf32, #y>, tensor<?x8xf32, #z>) outs(edge : tensor<?x16xf32>) {
  ^bb0(%xe: tensor<24xf32, #x>, %ye: tensor<6xf32, #y>, %ge: tensor<8xf32, #z>):
    %m = equivariant.contract w of #p (x = %xe, y = %ye, z = %ge) : (tensor<24xf32, #x>, tensor<6xf32, #y>, tensor<8xf32, #z>) -> tensor<16xf32>
    equivariant.yield %m : tensor<16xf32>
  }
  return %gw : tensor<?x16xf32>
}

// -----

#p = #equivariant.product<x = "8x1o", y = "8x1o+1x0e", z = "8x0e+8x1o", paths = [uuu(0, 0, 0) * 0.5, uvu(0, 1, 1) * 0.5]>
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"8x1o+1x0e", mul_ir>
#z = #equivariant.irreps<"8x0e+8x1o", mul_ir>
// CHECK-LABEL: func.func @mixed_row(
func.func @mixed_row(%s: !equivariant.rows, %x: tensor<?x24xf32, #x>, %y: tensor<?x25xf32, #y>, %w: tensor<?x16xf32>) -> tensor<?x32xf32, #z> {
  // Rows with blocks of channels beside blocks without, read.
  // CHECK: equivariant.kernel {{.*}}schedule = #equivariant.schedule<target = gpu, group_by = edge, lanes = 32, slab_end = 1, rows = 1, warps = 4, registers = {{[0-9]+}}>
  // CHECK-NOT: equivariant.kernel
  %z = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %w at edge : tensor<?x24xf32, #x>, tensor<?x25xf32, #y>, tensor<?x16xf32>) outs(edge : tensor<?x32xf32, #z>) {
  ^bb0(%xe: tensor<24xf32, #x>, %ye: tensor<25xf32, #y>, %we: tensor<16xf32>):
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (tensor<24xf32, #x>, tensor<25xf32, #y>, tensor<16xf32>) -> tensor<32xf32, #z>
    equivariant.yield %m : tensor<32xf32, #z>
  }
  return %z : tensor<?x32xf32, #z>
}

// -----

#p = #equivariant.product<x = "8x1o", y = "8x1o+1x0e", z = "8x0e+8x1o", paths = [uuu(0, 0, 0) * 0.5, uvu(0, 1, 1) * 0.5]>
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"8x1o+1x0e", mul_ir>
#z = #equivariant.irreps<"8x0e+8x1o", mul_ir>
// CHECK-LABEL: func.func @mixed_gradient(
func.func @mixed_gradient(%s: !equivariant.rows, %x: tensor<?x24xf32, #x>, %w: tensor<?x16xf32>, %gz: tensor<?x32xf32, #z>) -> tensor<?x25xf32, #y> {
  // Such a row, written.
  // CHECK: equivariant.kernel {{.*}}schedule = #equivariant.schedule<target = gpu, group_by = edge, lanes = 32, slab_end = 1, rows = 1, warps = 4, registers = {{[0-9]+}}>
  // CHECK-NOT: equivariant.kernel
  %gy = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %w at edge, %gz at edge : tensor<?x24xf32, #x>, tensor<?x16xf32>, tensor<?x32xf32, #z>) outs(edge : tensor<?x25xf32, #y>) {
  ^bb0(%xe: tensor<24xf32, #x>, %we: tensor<16xf32>, %ge: tensor<32xf32, #z>):
    %m = equivariant.contract y of #p (x = %xe, w = %we, z = %ge) : (tensor<24xf32, #x>, tensor<16xf32>, tensor<32xf32, #z>) -> tensor<25xf32, #y>
    equivariant.yield %m : tensor<25xf32, #y>
  }
  return %gy : tensor<?x25xf32, #y>
}
