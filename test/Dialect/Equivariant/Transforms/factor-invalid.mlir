// RUN: espmm-opt %s --equivariant-factor -verify-diagnostics -split-input-file

func.func @argument(%s: !equivariant.rows, %w: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %z = equivariant.kernel over %s : !equivariant.rows ins(%w at edge : tensor<?x8xf32>) outs(edge : tensor<?x8xf32>) {
  ^bb0(%we: tensor<8xf32>):
    // expected-error@+1 {{'equivariant.yield' op value 0 is not a sum of contracts, which has no lowering yet}}
    equivariant.yield %we : tensor<8xf32>
  }
  return %z : tensor<?x8xf32>
}

// -----

#p = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 1.0]>
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
func.func @computed_row(%s: !equivariant.rows, %x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>) -> tensor<?x8xf32, #z> {
  %z = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %w at edge : tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32>) outs(edge : tensor<?x8xf32, #z>) {
  ^bb0(%xe: tensor<24xf32, #x>, %ye: tensor<3xf32, #y>, %we: tensor<8xf32>):
    %sum = equivariant.add %we, %we : tensor<8xf32>
    // expected-error@+1 {{'equivariant.contract' op works on a computed row, which has no lowering yet}}
    %m = equivariant.contract z of #p (x = %xe, y = %ye, w = %sum) : (tensor<24xf32, #x>, tensor<3xf32, #y>, tensor<8xf32>) -> tensor<8xf32, #z>
    equivariant.yield %m : tensor<8xf32, #z>
  }
  return %z : tensor<?x8xf32, #z>
}
