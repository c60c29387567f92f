// RUN: espmm-opt %s --equivariant-stage -verify-diagnostics -split-input-file

#s = #equivariant.schedule<target = cpu, group_by = edge, lanes = 8, slab_begin = 0, slab_end = 0, rows = 16, deterministic = true>
func.func @not_factored(%s: !equivariant.rows, %w: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error@+1 {{'equivariant.kernel' op result 0 is not assembled from blocks; run equivariant-factor first}}
  %z = equivariant.kernel over %s : !equivariant.rows ins(%w at edge : tensor<?x8xf32>) outs(edge : tensor<?x8xf32>) attributes {schedule = #s} {
  ^bb0(%we: tensor<8xf32>):
    equivariant.yield %we : tensor<8xf32>
  }
  return %z : tensor<?x8xf32>
}

// -----

func.func @not_tiled(%s: !equivariant.rows) -> tensor<?x8xf32> {
  // expected-error@+1 {{'equivariant.kernel' op has no schedule; run equivariant-tile first}}
  %z = equivariant.kernel over %s : !equivariant.rows outs(edge : tensor<?x8xf32>) {
    %0 = equivariant.assemble []() : () -> tensor<8xf32>
    equivariant.yield %0 : tensor<8xf32>
  }
  return %z : tensor<?x8xf32>
}

// -----

#s = #equivariant.schedule<target = gpu, group_by = edge, lanes = 32, slab_begin = 0, slab_end = 1, rows = 16>
func.func @sum_of_all(%s: !equivariant.rows) -> tensor<1x8xf32, #equivariant.irreps<"8x0e", mul_ir>> {
  // expected-error@+1 {{'equivariant.kernel' op result 0 is a sum over all rows, which has no lowering yet}}
  %z = equivariant.kernel over %s : !equivariant.rows outs(all : tensor<1x8xf32, #equivariant.irreps<"8x0e", mul_ir>>) attributes {schedule = #s} {
    %0 = equivariant.assemble []() : () -> tensor<8xf32, #equivariant.irreps<"8x0e", mul_ir>>
    equivariant.yield %0 : tensor<8xf32, #equivariant.irreps<"8x0e", mul_ir>>
  }
  return %z : tensor<1x8xf32, #equivariant.irreps<"8x0e", mul_ir>>
}

// -----

func.func @not_fused(%g: !equivariant.graph, %x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error@+1 {{'equivariant.gather' op is outside of a kernel, which has no lowering yet}}
  %0 = equivariant.gather %x at senders of %g : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  return %0 : tensor<?x8xf32>
}

// -----

// expected-error@+1 {{'func.func' op result 0 is an argument, which has no lowering yet}}
func.func @argument(%g: !equivariant.graph, %x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  return %x : tensor<?x8xf32>
}

// -----

func.func @convert_without_kernel(%s: !equivariant.rows, %w: tensor<?x8xbf16>) -> tensor<?x8xf32> {
  // expected-error@+1 {{'equivariant.convert' op converts neither an argument for a kernel nor a kernel's result, which has no lowering yet}}
  %0 = equivariant.convert %w : tensor<?x8xbf16> -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

#s = #equivariant.schedule<target = cpu, group_by = edge, lanes = 8, tile_rows = 8, deterministic = true>
func.func @no_weights_to_share(%s: !equivariant.rows, %x: tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>) -> tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>> {
  // expected-error@+1 {{'equivariant.kernel' op has a schedule with 8 rows side by side, which is for rows of irreps that share weights of loops over several multiplicities, with room for a tile of them}}
  %z = equivariant.kernel over %s : !equivariant.rows ins(%x at edge : tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>) outs(edge : tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>) attributes {schedule = #s} {
  ^bb0(%xe: tensor<8xf32, #equivariant.irreps<"8x0e", mul_ir>>):
    %0 = equivariant.block %xe[0] : tensor<8xf32, #equivariant.irreps<"8x0e", mul_ir>> -> tensor<8x1xf32>
    %1 = equivariant.einsum "ui->ui"(%0) : (tensor<8x1xf32>) -> tensor<8x1xf32>
    %2 = equivariant.assemble [0](%1) : (tensor<8x1xf32>) -> tensor<8xf32, #equivariant.irreps<"8x0e", mul_ir>>
    equivariant.yield %2 : tensor<8xf32, #equivariant.irreps<"8x0e", mul_ir>>
  }
  return %z : tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>
}

// -----

#y = #equivariant.irreps<"1x0e+1x0e", mul_ir>
func.func @instances_without_channels(%s: !equivariant.rows, %y: tensor<?x2xf32, #y>, %w: tensor<?x64xf32>) -> tensor<?x128xf32> {
  // expected-error@+1 {{'equivariant.kernel' op has a block without channels that is elsewhere in another instance, which has no lowering yet}}
  %z = equivariant.kernel over %s : !equivariant.rows ins(%y at edge, %w at edge : tensor<?x2xf32, #y>, tensor<?x64xf32>) outs(edge : tensor<?x128xf32>)
      attributes {schedule = #equivariant.schedule<target = gpu, group_by = edge, lanes = 32, slab_end = 2, instances = 2>} {
  ^bb0(%ye: tensor<2xf32, #y>, %we: tensor<64xf32>):
    %a = equivariant.block %ye[0] also [1] : tensor<2xf32, #y> -> tensor<1x1xf32>
    %b = equivariant.block %we[0] : tensor<64xf32> -> tensor<64x1xf32>
    %c = equivariant.einsum "uv,vj->uv"(%b, %a) : (tensor<64x1xf32>, tensor<1x1xf32>) -> tensor<64x1xf32>
    %0 = equivariant.assemble [0] also [64](%c) : (tensor<64x1xf32>) -> tensor<128xf32>
    equivariant.yield %0 : tensor<128xf32>
  }
  return %z : tensor<?x128xf32>
}

// -----

func.func @instances_at_one_place(%s: !equivariant.rows, %w: tensor<?x128xf32>) -> tensor<?x64xf32> {
  // expected-error@+1 {{'equivariant.kernel' op result 0 is written at 0 by several instances, which has no lowering yet}}
  %z = equivariant.kernel over %s : !equivariant.rows ins(%w at edge : tensor<?x128xf32>) outs(edge : tensor<?x64xf32>)
      attributes {schedule = #equivariant.schedule<target = gpu, group_by = edge, lanes = 32, slab_end = 2, instances = 2>} {
  ^bb0(%we: tensor<128xf32>):
    %a = equivariant.block %we[0] also [64] : tensor<128xf32> -> tensor<64x1xf32>
    %b = equivariant.einsum "uv->uv"(%a) : (tensor<64x1xf32>) -> tensor<64x1xf32>
    %0 = equivariant.assemble [0](%b) : (tensor<64x1xf32>) -> tensor<64xf32>
    equivariant.yield %0 : tensor<64xf32>
  }
  return %z : tensor<?x64xf32>
}

// -----

func.func @instances_of_nests(%s: !equivariant.rows, %x: tensor<?x128xf32, #equivariant.irreps<"64x0e+64x0e", mul_ir>>, %w: tensor<?x2048xf32>) -> tensor<?x32xf32, #equivariant.irreps<"32x0e", mul_ir>> {
  // expected-error@+1 {{'equivariant.kernel' op has several instances of loops over several multiplicities, which have no lowering yet}}
  %z = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %w at edge : tensor<?x128xf32, #equivariant.irreps<"64x0e+64x0e", mul_ir>>, tensor<?x2048xf32>) outs(edge : tensor<?x32xf32, #equivariant.irreps<"32x0e", mul_ir>>)
      attributes {schedule = #equivariant.schedule<target = gpu, group_by = edge, lanes = 32, slab_end = 2, instances = 2>} {
  ^bb0(%xe: tensor<128xf32, #equivariant.irreps<"64x0e+64x0e", mul_ir>>, %we: tensor<2048xf32>):
    %a = equivariant.block %xe[0] also [64] : tensor<128xf32, #equivariant.irreps<"64x0e+64x0e", mul_ir>> -> tensor<64x1xf32>
    %b = equivariant.block %we[0] : tensor<2048xf32> -> tensor<64x32xf32>
    %c = equivariant.einsum "ui,uw->wi"(%a, %b) : (tensor<64x1xf32>, tensor<64x32xf32>) -> tensor<32x1xf32>
    %0 = equivariant.assemble [0](%c) : (tensor<32x1xf32>) -> tensor<32xf32, #equivariant.irreps<"32x0e", mul_ir>>
    equivariant.yield %0 : tensor<32xf32, #equivariant.irreps<"32x0e", mul_ir>>
  }
  return %z : tensor<?x32xf32, #equivariant.irreps<"32x0e", mul_ir>>
}

// -----

// expected-error@+1 {{'func.func' op result 1 is an earlier result too, which has no lowering yet}}
func.func @twice(%s: !equivariant.rows) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %z = equivariant.kernel over %s : !equivariant.rows outs(edge : tensor<?x8xf32>) attributes {schedule = #equivariant.schedule<target = cpu, group_by = edge, lanes = 8>} {
    %0 = equivariant.assemble []() : () -> tensor<8xf32>
    equivariant.yield %0 : tensor<8xf32>
  }
  return %z, %z : tensor<?x8xf32>, tensor<?x8xf32>
}

// -----

func.func @zeros_of_unknown_rows(%g: !equivariant.graph, %w: tensor<?x8xf32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{'equivariant.zeros' op stands for as many rows as a value that no kernel uses, which has no lowering yet}}
  %0 = equivariant.zeros like %w : tensor<?x8xf32> -> tensor<?x4xf32>
  return %0 : tensor<?x4xf32>
}

// -----

#y = #equivariant.irreps<"1x1o", mul_ir>
func.func @no_channels(%s: !equivariant.rows, %y: tensor<?x3xf32, #y>) -> tensor<?x3xf32, #y> {
  // expected-error@+1 {{'equivariant.kernel' op result 0 has a block without channels, which has no lowering yet}}
  %z = equivariant.kernel over %s : !equivariant.rows ins(%y at edge : tensor<?x3xf32, #y>) outs(edge : tensor<?x3xf32, #y>) attributes {schedule = #equivariant.schedule<target = cpu, group_by = edge, lanes = 8>} {
  ^bb0(%ye: tensor<3xf32, #y>):
    %a = equivariant.block %ye[0] : tensor<3xf32, #y> -> tensor<1x3xf32>
    %b = equivariant.einsum "vj->vj"(%a) : (tensor<1x3xf32>) -> tensor<1x3xf32>
    %0 = equivariant.assemble [0](%b) : (tensor<1x3xf32>) -> tensor<3xf32, #y>
    equivariant.yield %0 : tensor<3xf32, #y>
  }
  return %z : tensor<?x3xf32, #y>
}

// -----

// Of the 99 KiB that a block may have on this chip, 16 warps with rings of eight times 64 x (3 + 1) and 3 (of 4) numbers take more.
#x = #equivariant.irreps<"64x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"64x0e", mul_ir>
#s = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_begin = 0, slab_end = 2, slabs = 2, warps = 16, stages = 8>
module attributes {equivariant.target = "cuda:sm_120"} {
  func.func @too_many_rows(%g: !equivariant.graph, %x: tensor<?x192xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x64xf32>) -> tensor<?x64xf32, #z> {
    // expected-error@+1 {{'equivariant.kernel' op needs 133120 bytes of shared memory a block, which has no lowering yet for cuda:sm_120 with 101376; fewer stages or warps need less}}
    %z = equivariant.kernel over %g : !equivariant.graph
        ins(%x at senders, %y at edge, %w at edge : tensor<?x192xf32, #x>, tensor<?x3xf32, #y>, tensor<?x64xf32>)
        outs(receivers : tensor<?x64xf32, #z>) attributes {schedule = #s} {
    ^bb0(%xe: tensor<192xf32, #x>, %ye: tensor<3xf32, #y>, %we: tensor<64xf32>):
      %c = equivariant.coefficients(1, 1, 0) * 0.5 : tensor<3x3x1xf32>
      %0 = equivariant.block %xe[0] : tensor<192xf32, #x> -> tensor<64x3xf32>
      %1 = equivariant.block %ye[0] : tensor<3xf32, #y> -> tensor<1x3xf32>
      %2 = equivariant.block %we[0] : tensor<64xf32> -> tensor<64x1xf32>
      %3 = equivariant.einsum "ijk,vj->vik"(%c, %1) : (tensor<3x3x1xf32>, tensor<1x3xf32>) -> tensor<1x3x1xf32>
      %4 = equivariant.einsum "vik,ui->uvk"(%3, %0) : (tensor<1x3x1xf32>, tensor<64x3xf32>) -> tensor<64x1x1xf32>
      %5 = equivariant.einsum "uvk,uv->uk"(%4, %2) : (tensor<64x1x1xf32>, tensor<64x1xf32>) -> tensor<64x1xf32>
      %6 = equivariant.assemble [0](%5) : (tensor<64x1xf32>) -> tensor<64xf32, #z>
      equivariant.yield %6 : tensor<64xf32, #z>
    }
    return %z : tensor<?x64xf32, #z>
  }
}
