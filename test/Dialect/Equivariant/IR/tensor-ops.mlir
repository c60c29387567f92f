// RUN: espmm-opt %s --verify-roundtrip --mlir-print-op-generic | espmm-opt | FileCheck %s

// CHECK-DAG: #[[X:.*]] = #equivariant.irreps<"8x1o", mul_ir>
#x = #equivariant.irreps<"8x1o", mul_ir>
// CHECK-DAG: #[[Y:.*]] = #equivariant.irreps<"1x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
// CHECK-DAG: #[[Z:.*]] = #equivariant.irreps<"8x0e", ir_mul>
#z = #equivariant.irreps<"8x0e", ir_mul>
// CHECK-DAG: #[[DOT:.*]] = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>
// CHECK-DAG: #[[BARE:.*]] = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) weightless * 0.5]>
#bare = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) weightless * 0.5]>

// CHECK-LABEL: @gather
func.func @gather(%g: !equivariant.graph, %x: tensor<?x24xf32, #x>, %w: tensor<1x8xf64>)
    -> (tensor<?x24xf32, #x>, tensor<?x24xf32, #x>, tensor<?x8xf64>) {
  // CHECK: equivariant.gather %{{.*}} at senders of %{{.*}} : tensor<?x24xf32, #[[X]]> -> tensor<?x24xf32, #[[X]]> over !equivariant.graph
  %0 = equivariant.gather %x at senders of %g : tensor<?x24xf32, #x> -> tensor<?x24xf32, #x> over !equivariant.graph
  // CHECK: equivariant.gather %{{.*}} at receivers of %{{.*}} : tensor<?x24xf32, #[[X]]> -> tensor<?x24xf32, #[[X]]> over !equivariant.graph
  %1 = equivariant.gather %x at receivers of %g : tensor<?x24xf32, #x> -> tensor<?x24xf32, #x> over !equivariant.graph
  // CHECK: equivariant.gather %{{.*}} at all of %{{.*}} : tensor<1x8xf64> -> tensor<?x8xf64> over !equivariant.graph
  %2 = equivariant.gather %w at all of %g : tensor<1x8xf64> -> tensor<?x8xf64> over !equivariant.graph
  return %0, %1, %2 : tensor<?x24xf32, #x>, tensor<?x24xf32, #x>, tensor<?x8xf64>
}

// CHECK-LABEL: @segment_sum
func.func @segment_sum(%g: !equivariant.graph, %x: tensor<?x24xf32, #x>)
    -> (tensor<?x24xf32, #x>, tensor<?x24xf32, #x>, tensor<1x24xf32, #x>) {
  // CHECK: equivariant.segment_sum %{{.*}} at senders of %{{.*}} : tensor<?x24xf32, #[[X]]> -> tensor<?x24xf32, #[[X]]> over !equivariant.graph
  %0 = equivariant.segment_sum %x at senders of %g : tensor<?x24xf32, #x> -> tensor<?x24xf32, #x> over !equivariant.graph
  // CHECK: equivariant.segment_sum %{{.*}} at receivers of %{{.*}} : tensor<?x24xf32, #[[X]]> -> tensor<?x24xf32, #[[X]]> over !equivariant.graph
  %1 = equivariant.segment_sum %x at receivers of %g : tensor<?x24xf32, #x> -> tensor<?x24xf32, #x> over !equivariant.graph
  // CHECK: equivariant.segment_sum %{{.*}} at all of %{{.*}} : tensor<?x24xf32, #[[X]]> -> tensor<1x24xf32, #[[X]]> over !equivariant.graph
  %2 = equivariant.segment_sum %x at all of %g : tensor<?x24xf32, #x> -> tensor<1x24xf32, #x> over !equivariant.graph
  return %0, %1, %2 : tensor<?x24xf32, #x>, tensor<?x24xf32, #x>, tensor<1x24xf32, #x>
}

// CHECK-LABEL: @rows
func.func @rows(%r: !equivariant.rows, %w: tensor<1x8xf32>) -> tensor<1x8xf32> {
  // CHECK: equivariant.gather %{{.*}} at all of %{{.*}} : tensor<1x8xf32> -> tensor<?x8xf32> over !equivariant.rows
  %0 = equivariant.gather %w at all of %r : tensor<1x8xf32> -> tensor<?x8xf32> over !equivariant.rows
  // CHECK: equivariant.segment_sum %{{.*}} at all of %{{.*}} : tensor<?x8xf32> -> tensor<1x8xf32> over !equivariant.rows
  %1 = equivariant.segment_sum %0 at all of %r : tensor<?x8xf32> -> tensor<1x8xf32> over !equivariant.rows
  return %1 : tensor<1x8xf32>
}

// CHECK-LABEL: @contract
func.func @contract(%x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>, %z: tensor<?x8xf32, #z>) {
  // CHECK: equivariant.contract z of #[[DOT]] (x = %{{.*}}, y = %{{.*}}, w = %{{.*}}) : (tensor<?x24xf32, #[[X]]>, tensor<?x3xf32, #[[Y]]>, tensor<?x8xf32>) -> tensor<?x8xf32, #[[Z]]>
  %0 = equivariant.contract z of #dot (x = %x, y = %y, w = %w) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32>) -> tensor<?x8xf32, #z>
  // Bindings may come in any order, and print in one.
  // CHECK: equivariant.contract x of #[[DOT]] (y = %[[Y1:.*]], w = %[[W1:.*]], z = %[[Z1:.*]]) : (tensor<?x3xf32, #[[Y]]>, tensor<?x8xf32>, tensor<?x8xf32, #[[Z]]>) -> tensor<?x24xf32, #[[X]]>
  %1 = equivariant.contract x of #dot (z = %z, w = %w, y = %y) : (tensor<?x8xf32, #z>, tensor<?x8xf32>, tensor<?x3xf32, #y>) -> tensor<?x24xf32, #x>
  // CHECK: equivariant.contract y of #[[DOT]] (x = %{{.*}}, w = %{{.*}}, z = %{{.*}})
  %2 = equivariant.contract y of #dot (x = %x, w = %w, z = %z) : (tensor<?x24xf32, #x>, tensor<?x8xf32>, tensor<?x8xf32, #z>) -> tensor<?x3xf32, #y>
  // CHECK: equivariant.contract w of #[[DOT]] (x = %{{.*}}, y = %{{.*}}, z = %{{.*}}) : {{.*}} -> tensor<?x8xf32>
  %3 = equivariant.contract w of #dot (x = %x, y = %y, z = %z) : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32, #z>) -> tensor<?x8xf32>
  // CHECK: equivariant.contract z of #[[BARE]] (x = %{{.*}}, y = %{{.*}}) {note = "kept"} : (tensor<?x24xf32, #[[X]]>, tensor<?x3xf32, #[[Y]]>) -> tensor<?x8xf32, #[[Z]]>
  %4 = equivariant.contract z of #bare (x = %x, y = %y) {note = "kept"} : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>) -> tensor<?x8xf32, #z>
  return
}

// CHECK-LABEL: @add
func.func @add(%a: tensor<?x8xf64>, %b: tensor<?x8xf64>) -> tensor<?x8xf64> {
  // CHECK: equivariant.add %{{.*}}, %{{.*}} : tensor<?x8xf64>
  %0 = equivariant.add %a, %b : tensor<?x8xf64>
  return %0 : tensor<?x8xf64>
}

// CHECK-LABEL: @convert
func.func @convert(%a: tensor<?x24xbf16, #x>, %b: tensor<8xf32>) -> (tensor<?x24xf32, #x>, tensor<8xf16>) {
  // CHECK: equivariant.convert %{{.*}} : tensor<?x24xbf16, #[[X]]> -> tensor<?x24xf32, #[[X]]>
  %0 = equivariant.convert %a : tensor<?x24xbf16, #x> -> tensor<?x24xf32, #x>
  // CHECK: equivariant.convert %{{.*}} : tensor<8xf32> -> tensor<8xf16>
  %1 = equivariant.convert %b : tensor<8xf32> -> tensor<8xf16>
  return %0, %1 : tensor<?x24xf32, #x>, tensor<8xf16>
}

// CHECK-LABEL: @zeros
func.func @zeros(%x: tensor<?x24xf32, #x>, %row: tensor<24xf32, #x>) -> (tensor<?x8xf64, #z>, tensor<8xf32>) {
  // CHECK: equivariant.zeros like %{{.*}} : tensor<?x24xf32, #[[X]]> -> tensor<?x8xf64, #[[Z]]>
  %0 = equivariant.zeros like %x : tensor<?x24xf32, #x> -> tensor<?x8xf64, #z>
  // CHECK: equivariant.zeros like %{{.*}} : tensor<24xf32, #[[X]]> -> tensor<8xf32>
  %1 = equivariant.zeros like %row : tensor<24xf32, #x> -> tensor<8xf32>
  return %0, %1 : tensor<?x8xf64, #z>, tensor<8xf32>
}
