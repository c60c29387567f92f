// RUN: espmm-opt %s --equivariant-tile="target=cpu" -verify-diagnostics -split-input-file

// expected-error@+1 {{the module was tiled for "cuda:sm_90", got target "cpu"}}
module attributes {equivariant.target = "cuda:sm_90"} {}

// -----

func.func @schedule_of_another_target(%s: !equivariant.rows, %w: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error@+1 {{'equivariant.kernel' op has a schedule for gpu, got target cpu}}
  %z = equivariant.kernel over %s : !equivariant.rows ins(%w at edge : tensor<?x8xf32>) outs(edge : tensor<?x8xf32>)
      attributes {schedule = #equivariant.schedule<target = gpu, group_by = edge, lanes = 32, slab_begin = 0, slab_end = 1, rows = 16, deterministic = true>} {
  ^bb0(%we: tensor<8xf32>):
    equivariant.yield %we : tensor<8xf32>
  }
  return %z : tensor<?x8xf32>
}
