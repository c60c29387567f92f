// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=cpu vector-bits=256" | FileCheck %s
// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=cpu vector-bits=64" | FileCheck %s --check-prefix=TWO

#p = #equivariant.product<x = "16x0e", y = "1x0e", z = "48x0e", paths = [uvw(0, 0, 0) * 1.0]>
#u = #equivariant.product<x = "16x0e", y = "1x0e", z = "16x0e", paths = [uvu(0, 0, 0) * 1.0]>
#l = #equivariant.product<x = "9000x0e", y = "1x0e", z = "9000x0e", paths = [uvw(0, 0, 0) * 1.0]>
#x = #equivariant.irreps<"16x0e", mul_ir>
#y = #equivariant.irreps<"1x0e", mul_ir>
#z = #equivariant.irreps<"48x0e", mul_ir>
#w = #equivariant.irreps<"9000x0e", mul_ir>

// Rows that share weights of loops over several multiplicities: as many side by side as there are lanes.
// CHECK-LABEL: func.func @shared(
// CHECK: schedule = #equivariant.schedule<target = cpu, group_by = edge, lanes = 8, tile_rows = 8, deterministic = true>
// TWO-LABEL: func.func @shared(
// TWO: lanes = 2, tile_rows = 2,
func.func @shared(%s: !equivariant.rows, %x: tensor<?x16xf32, #x>, %y: tensor<?x1xf32, #y>, %w: tensor<1x768xf32>) -> tensor<?x48xf32, #z> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at all : tensor<?x16xf32, #x>, tensor<?x1xf32, #y>, tensor<1x768xf32>) outs(edge : tensor<?x48xf32, #z>) {
  ^bb0(%xe: tensor<16xf32, #x>, %ye: tensor<1xf32, #y>, %we: tensor<768xf32>):
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (tensor<16xf32, #x>, tensor<1xf32, #y>, tensor<768xf32>) -> tensor<48xf32, #z>
    equivariant.yield %m : tensor<48xf32, #z>
  }
  return %r : tensor<?x48xf32, #z>
}

// Weights by row are read once in any case.
// CHECK-LABEL: func.func @by_row(
// CHECK: schedule = #equivariant.schedule<target = cpu, group_by = edge, lanes = 8, deterministic = true>
func.func @by_row(%s: !equivariant.rows, %x: tensor<?x16xf32, #x>, %y: tensor<?x1xf32, #y>, %w: tensor<?x768xf32>) -> tensor<?x48xf32, #z> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at edge : tensor<?x16xf32, #x>, tensor<?x1xf32, #y>, tensor<?x768xf32>) outs(edge : tensor<?x48xf32, #z>) {
  ^bb0(%xe: tensor<16xf32, #x>, %ye: tensor<1xf32, #y>, %we: tensor<768xf32>):
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (tensor<16xf32, #x>, tensor<1xf32, #y>, tensor<768xf32>) -> tensor<48xf32, #z>
    equivariant.yield %m : tensor<48xf32, #z>
  }
  return %r : tensor<?x48xf32, #z>
}

// One loop over channels has each weight in a lane of its own, and little else to do with it.
// CHECK-LABEL: func.func @channels(
// CHECK: schedule = #equivariant.schedule<target = cpu, group_by = edge, lanes = 8, deterministic = true>
func.func @channels(%s: !equivariant.rows, %x: tensor<?x16xf32, #x>, %y: tensor<?x1xf32, #y>, %w: tensor<1x16xf32>) -> tensor<?x16xf32, #x> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at all : tensor<?x16xf32, #x>, tensor<?x1xf32, #y>, tensor<1x16xf32>) outs(edge : tensor<?x16xf32, #x>) {
  ^bb0(%xe: tensor<16xf32, #x>, %ye: tensor<1xf32, #y>, %we: tensor<16xf32>):
    %m = equivariant.contract z of #u (x = %xe, y = %ye, w = %we) : (tensor<16xf32, #x>, tensor<1xf32, #y>, tensor<16xf32>) -> tensor<16xf32, #x>
    equivariant.yield %m : tensor<16xf32, #x>
  }
  return %r : tensor<?x16xf32, #x>
}

// Edges of nodes come one by one.
// CHECK-LABEL: func.func @convolution(
// CHECK: schedule = #equivariant.schedule<target = cpu, group_by = receivers, lanes = 8, deterministic = true>
func.func @convolution(%g: !equivariant.graph, %x: tensor<?x16xf32, #x>, %y: tensor<?x1xf32, #y>, %w: tensor<1x768xf32>) -> tensor<?x48xf32, #z> {
  %r = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at all : tensor<?x16xf32, #x>, tensor<?x1xf32, #y>, tensor<1x768xf32>) outs(receivers : tensor<?x48xf32, #z>) {
  ^bb0(%xe: tensor<16xf32, #x>, %ye: tensor<1xf32, #y>, %we: tensor<768xf32>):
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (tensor<16xf32, #x>, tensor<1xf32, #y>, tensor<768xf32>) -> tensor<48xf32, #z>
    equivariant.yield %m : tensor<48xf32, #z>
  }
  return %r : tensor<?x48xf32, #z>
}

// A tile of eight rows would take more than 512 KiB; one of two does not.
// CHECK-LABEL: func.func @long_rows(
// CHECK: schedule = #equivariant.schedule<target = cpu, group_by = edge, lanes = 8, deterministic = true>
// TWO-LABEL: func.func @long_rows(
// TWO: lanes = 2, tile_rows = 2,
func.func @long_rows(%s: !equivariant.rows, %x: tensor<?x9000xf32, #w>, %y: tensor<?x1xf32, #y>, %w: tensor<1x81000000xf32>) -> tensor<?x9000xf32, #w> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at all : tensor<?x9000xf32, #w>, tensor<?x1xf32, #y>, tensor<1x81000000xf32>) outs(edge : tensor<?x9000xf32, #w>) {
  ^bb0(%xe: tensor<9000xf32, #w>, %ye: tensor<1xf32, #y>, %we: tensor<81000000xf32>):
    %m = equivariant.contract z of #l (x = %xe, y = %ye, w = %we) : (tensor<9000xf32, #w>, tensor<1xf32, #y>, tensor<81000000xf32>) -> tensor<9000xf32, #w>
    equivariant.yield %m : tensor<9000xf32, #w>
  }
  return %r : tensor<?x9000xf32, #w>
}
