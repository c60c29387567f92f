// RUN: espmm-opt %s --equivariant-narrow -verify-diagnostics

func.func @not_tiled(%s: !equivariant.rows, %w: tensor<?x8xbf16>) -> tensor<?x8xf32> {
  %wc = equivariant.convert %w : tensor<?x8xbf16> -> tensor<?x8xf32>
  // expected-error@+1 {{'equivariant.kernel' op has no schedule; run equivariant-tile first}}
  %z = equivariant.kernel over %s : !equivariant.rows ins(%wc at edge : tensor<?x8xf32>) outs(edge : tensor<?x8xf32>) {
  ^bb0(%we: tensor<8xf32>):
    equivariant.yield %we : tensor<8xf32>
  }
  return %z : tensor<?x8xf32>
}
