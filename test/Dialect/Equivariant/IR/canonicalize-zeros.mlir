// RUN: espmm-opt %s --canonicalize | FileCheck %s

#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>

// CHECK-LABEL: @add_of_zeros
// CHECK-SAME: %[[A:[^:]+]]: tensor<?x8xf32>, %[[B:[^:]+]]: tensor<?x3xf32>)
func.func @add_of_zeros(%a: tensor<?x8xf32>, %b: tensor<?x3xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK-NEXT: return %[[A]], %[[A]]
  %zeros = equivariant.zeros like %b : tensor<?x3xf32> -> tensor<?x8xf32>
  %0 = equivariant.add %a, %zeros : tensor<?x8xf32>
  %1 = equivariant.add %zeros, %a : tensor<?x8xf32>
  return %0, %1 : tensor<?x8xf32>, tensor<?x8xf32>
}

// Zeros stay zeros when they are gathered and summed.
// CHECK-LABEL: @add_of_moved_zeros
// CHECK-SAME: %[[A:[^:]+]]: tensor<?x8xf32>, %[[W:[^:]+]]: tensor<1x8xf32>, %[[B:[^:]+]]: tensor<?x8xf32>)
func.func @add_of_moved_zeros(%g: !equivariant.graph, %a: tensor<?x8xf32>, %w: tensor<1x8xf32>, %b: tensor<?x8xf32>)
    -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK-NEXT: return %[[A]], %[[B]]
  %zeros = equivariant.zeros like %w : tensor<1x8xf32> -> tensor<1x8xf32>
  %edges = equivariant.gather %zeros at all of %g : tensor<1x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  %nodes = equivariant.segment_sum %edges at senders of %g : tensor<?x8xf32> -> tensor<?x8xf32> over !equivariant.graph
  %0 = equivariant.add %a, %edges : tensor<?x8xf32>
  %1 = equivariant.add %nodes, %b : tensor<?x8xf32>
  return %0, %1 : tensor<?x8xf32>, tensor<?x8xf32>
}

// The rows are those of an operand that is there anyway.
// CHECK-LABEL: @contract_of_zeros
// CHECK-SAME: %[[X:[^:]+]]: tensor<?x24xf32, #[[XI:.*]]>, %{{.*}}: tensor<?x3xf32
func.func @contract_of_zeros(%x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>) -> tensor<?x8xf32, #z> {
  // CHECK-NEXT: %[[ZEROS:.*]] = equivariant.zeros like %[[X]] : tensor<?x24xf32, #[[XI]]> -> tensor<?x8xf32, #{{.*}}>
  // CHECK-NEXT: return %[[ZEROS]]
  %w = equivariant.zeros like %y : tensor<?x3xf32, #y> -> tensor<?x8xf32>
  %0 = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32>) -> tensor<?x8xf32, #z>
  return %0 : tensor<?x8xf32, #z>
}

// CHECK-LABEL: @contract_of_gathered_zeros
// CHECK-SAME: %{{.*}}: !equivariant.graph, %{{.*}}: tensor<1x24xf32, #{{.*}}>, %[[Y:[^:]+]]: tensor<?x3xf32, #[[YI:.*]]>, %{{.*}}: tensor<?x8xf32>)
func.func @contract_of_gathered_zeros(%g: !equivariant.graph, %x: tensor<1x24xf32, #x>, %y: tensor<?x3xf32, #y>,
                                      %w: tensor<?x8xf32>) -> tensor<?x8xf32, #z> {
  // CHECK-NEXT: %[[ZEROS:.*]] = equivariant.zeros like %[[Y]]
  // CHECK-NEXT: return %[[ZEROS]]
  %zeros = equivariant.zeros like %x : tensor<1x24xf32, #x> -> tensor<1x24xf32, #x>
  %xe = equivariant.gather %zeros at all of %g : tensor<1x24xf32, #x> -> tensor<?x24xf32, #x> over !equivariant.graph
  %0 = equivariant.contract z of #dot (x = %xe, y = %y, w = %w) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32>) -> tensor<?x8xf32, #z>
  return %0 : tensor<?x8xf32, #z>
}

// One zero makes a chain of products vanish.
// CHECK-LABEL: @chain
// CHECK-SAME: %[[X:[^:]+]]: tensor<?x24xf32
func.func @chain(%x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>, %a: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: return %{{.*}} : tensor<?x8xf32>
  %zeros = equivariant.zeros like %w : tensor<?x8xf32> -> tensor<?x8xf32>
  %z = equivariant.contract z of #dot (x = %x, y = %y, w = %zeros) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32>) -> tensor<?x8xf32, #z>
  %gw = equivariant.contract w of #dot (x = %x, y = %y, z = %z) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32, #z>) -> tensor<?x8xf32>
  %0 = equivariant.add %gw, %a : tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// Nothing is computed only for its number of rows.
// CHECK-LABEL: @zeros_like_a_result
// CHECK-SAME: %[[X:[^:]+]]: tensor<?x24xf32
func.func @zeros_like_a_result(%x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>) -> tensor<?x5xf32> {
  // CHECK-NEXT: %[[ZEROS:.*]] = equivariant.zeros like %[[X]]
  // CHECK-NEXT: return %[[ZEROS]]
  %z = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32>) -> tensor<?x8xf32, #z>
  %sum = equivariant.add %z, %z : tensor<?x8xf32, #z>
  %0 = equivariant.zeros like %sum : tensor<?x8xf32, #z> -> tensor<?x5xf32>
  return %0 : tensor<?x5xf32>
}

// Zeros need no converting, nor do rows that only say how many there are.
// CHECK-LABEL: @convert_of_zeros
// CHECK-SAME: %[[A:[^:]+]]: tensor<?x8xbf16>)
func.func @convert_of_zeros(%a: tensor<?x8xbf16>) -> tensor<?x3xf16> {
  // CHECK-NEXT: %[[ZEROS:.*]] = equivariant.zeros like %[[A]] : tensor<?x8xbf16> -> tensor<?x3xf16>
  // CHECK-NEXT: return %[[ZEROS]]
  %0 = equivariant.convert %a : tensor<?x8xbf16> -> tensor<?x8xf32>
  %1 = equivariant.zeros like %0 : tensor<?x8xf32> -> tensor<?x3xf32>
  %2 = equivariant.convert %1 : tensor<?x3xf32> -> tensor<?x3xf16>
  return %2 : tensor<?x3xf16>
}
