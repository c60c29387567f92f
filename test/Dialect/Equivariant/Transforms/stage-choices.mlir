// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu chip=sm_90" --equivariant-stage | FileCheck %s
// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu chip=sm_90 products=1" --equivariant-stage | FileCheck %s --check-prefix=FMA
// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu chip=sm_90 products=2" --equivariant-stage | FileCheck %s --check-prefix=TF32
// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=gpu chip=sm_90 rows=1" --equivariant-stage | FileCheck %s --check-prefix=WARP
// RUN: espmm-opt %s --equivariant-factor --equivariant-tile="target=cpu vector-bits=256" --equivariant-stage | FileCheck %s --check-prefix=CPU

#p = #equivariant.product<x = "16x0e", y = "1x0e", z = "48x0e", paths = [uvw(0, 0, 0) * 1.0]>
#x = #equivariant.irreps<"16x0e", mul_ir>
#y = #equivariant.irreps<"1x0e", mul_ir>
#z = #equivariant.irreps<"48x0e", mul_ir>

// A launch says how its kernel runs, and why: with weights that rows share,
// CHECK-LABEL: func.func @shared(
// CHECK: equivariant.launch @shared_0 {{.*}}{equivariant.choices = [
// CHECK-SAME: "rows: 32 side by side, one in each lane of the 4 warps of a block, because they share weights, which are then read once for all of them"
// CHECK-SAME: "einsum uvk,uvw->wk: matrix units, rows x w summed over u, each factor as two numbers of tf32, because its result is as exact as that of multiply-adds then; 2 x 3 tiles at once, because warps then have about equal shares"
// FMA-LABEL: func.func @shared(
// FMA: "einsum uvk,uvw->wk: a matrix product in blocks, rows in lanes, because the result has it: nothing is summed over lanes; 12 of w at once, because they read the same summands; 2 of u added at once, because their loads are then under way together"
// TF32-LABEL: func.func @shared(
// TF32: "einsum uvk,uvw->wk: matrix units, rows x w summed over u, because they are faster, and factors may be rounded to tf32;
// WARP-LABEL: func.func @shared(
// WARP: equivariant.launch @shared_0 {{.*}}{equivariant.choices = [
// WARP-SAME: "rows: one at a time, a warp's, because a tile of rows would not fit, is not wished, or has too little to do with a weight"
// WARP-SAME: "einsum uvk,uvw->wk: w in lanes, because the result has it: nothing is summed over lanes; 8 of u added at once, because their loads are then under way together"
// CPU-LABEL: func.func @shared(
// CPU: equivariant.launch @shared_0 {{.*}}{equivariant.choices = [
// CPU-SAME: "rows: 8 side by side, one in each lane, because they share weights, which are then read once for all of them"
// CPU-SAME: "einsum uvk,uvw->wk: a matrix product in blocks, rows in lanes, because the result has it: nothing is summed over lanes; 12 of w at once, because they read the same summands"
func.func @shared(%s: !equivariant.rows, %x: tensor<?x16xf32, #x>, %y: tensor<?x1xf32, #y>, %w: tensor<1x768xf32>) -> tensor<?x48xf32, #z> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%x at edge, %y at edge, %w at all : tensor<?x16xf32, #x>, tensor<?x1xf32, #y>, tensor<1x768xf32>) outs(edge : tensor<?x48xf32, #z>) {
  ^bb0(%xe: tensor<16xf32, #x>, %ye: tensor<1xf32, #y>, %we: tensor<768xf32>):
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %we) : (tensor<16xf32, #x>, tensor<1xf32, #y>, tensor<768xf32>) -> tensor<48xf32, #z>
    equivariant.yield %m : tensor<48xf32, #z>
  }
  return %r : tensor<?x48xf32, #z>
}

// with weights of their own, where what x gets is a sum over w,
// CHECK-LABEL: func.func @own(
// CHECK: equivariant.launch @own_0 {{.*}}{equivariant.choices = [
// CHECK-SAME: "rows: one at a time, a warp's, because each has weights of its own, or none"
// CHECK-SAME: "einsum uvw,wk->uvk: w in lanes, and a sum over these, because the result has nothing else to be there; 16 of u at once, because their sums over lanes are then taken together"
// CPU-LABEL: func.func @own(
// CPU: "einsum uvw,wk->uvk: w in lanes, and a sum over these, {{.*}}; 6 vectors of w one after the other, because what they read lies so in memory"
func.func @own(%s: !equivariant.rows, %y: tensor<?x1xf32, #y>, %w: tensor<?x768xf32>, %gz: tensor<?x48xf32, #z>) -> tensor<?x16xf32, #x> {
  %r = equivariant.kernel over %s : !equivariant.rows
      ins(%y at edge, %w at edge, %gz at edge : tensor<?x1xf32, #y>, tensor<?x768xf32>, tensor<?x48xf32, #z>) outs(edge : tensor<?x16xf32, #x>) {
  ^bb0(%ye: tensor<1xf32, #y>, %we: tensor<768xf32>, %ge: tensor<48xf32, #z>):
    %m = equivariant.contract x of #p (y = %ye, w = %we, z = %ge) : (tensor<1xf32, #y>, tensor<768xf32>, tensor<48xf32, #z>) -> tensor<16xf32, #x>
    equivariant.yield %m : tensor<16xf32, #x>
  }
  return %r : tensor<?x16xf32, #x>
}

#u = #equivariant.product<x = "64x0e", y = "1x0e", z = "64x0e", paths = [uvu(0, 0, 0) * 1.0]>
#c = #equivariant.irreps<"64x0e", mul_ir>

// and where there is one multiplicity only.
// CHECK-LABEL: func.func @channels(
// CHECK: equivariant.launch @channels_0 {{.*}}{equivariant.choices = [
// CHECK-SAME: "edges: those of a node, its receivers' side, one after the other, because sums over them then stay in a warp's registers until the last"
// CHECK-SAME: "channels: u in {{.*}}lanes{{.*}}, because all operations without other multiplicities have it in common"
func.func @channels(%g: !equivariant.graph, %x: tensor<?x64xf32, #c>, %y: tensor<?x1xf32, #y>, %w: tensor<?x64xf32>) -> tensor<?x64xf32, #c> {
  %r = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge : tensor<?x64xf32, #c>, tensor<?x1xf32, #y>, tensor<?x64xf32>) outs(receivers : tensor<?x64xf32, #c>) {
  ^bb0(%xe: tensor<64xf32, #c>, %ye: tensor<1xf32, #y>, %we: tensor<64xf32>):
    %m = equivariant.contract z of #u (x = %xe, y = %ye, w = %we) : (tensor<64xf32, #c>, tensor<1xf32, #y>, tensor<64xf32>) -> tensor<64xf32, #c>
    equivariant.yield %m : tensor<64xf32, #c>
  }
  return %r : tensor<?x64xf32, #c>
}
