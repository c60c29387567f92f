// RUN: espmm-opt %s --canonicalize | FileCheck %s

#x = #equivariant.irreps<"2x0e+2x1o+0x1o", mul_ir>
#y = #equivariant.irreps<"0e+1o", mul_ir>
#z = #equivariant.irreps<"2x0e+2x1o+0x1o", mul_ir>

// CHECK-DAG: #[[LIVE:.*]] = #equivariant.product<x = "2x0e+2x1o+0x1o", y = "1x0e+1x1o", z = "2x0e+2x1o+0x1o", paths = [uvu(0, 0, 0) weightless * 1.0]>
#weightless = #equivariant.product<x = "2x0e+2x1o+0x1o", y = "0e+1o", z = "2x0e+2x1o+0x1o", paths = [
  uvu(0, 0, 0) weightless * 1.0, uvu(1, 1, 0) weightless * 0.0, uvu(2, 0, 2) weightless * 1.0]>

// The weights of the paths that remain keep their places.
// CHECK-DAG: #[[PLACES:.*]] = #equivariant.product<x = "2x0e+2x1o+0x1o", y = "1x0e+1x1o", z = "2x0e+2x1o+0x1o", paths = [uvu(0, 1, 1) * 0.0, uvu(0, 0, 0) * 1.0]>
#first = #equivariant.product<x = "2x0e+2x1o+0x1o", y = "0e+1o", z = "2x0e+2x1o+0x1o", paths = [
  uvu(0, 1, 1) * 1.0, uvw(2, 1, 0) * 1.0, uvu(0, 0, 0) * 1.0]>
// CHECK-DAG: #[[UNREAD:.*]] = #equivariant.product<x = "2x0e+2x1o+0x1o", y = "1x0e+1x1o", z = "2x0e+2x1o+0x1o", paths = [uvu(0, 0, 0) weightless * 1.0, uvu(1, 1, 0) weightless * 1.0]>
#both = #equivariant.product<x = "2x0e+2x1o+0x1o", y = "0e+1o", z = "2x0e+2x1o+0x1o", paths = [
  uvu(0, 0, 0) weightless * 1.0, uvu(1, 1, 0) weightless * 1.0, uvu(0, 1, 1) weightless * 1.0]>
// CHECK-DAG: #[[ALL:.*]] = #equivariant.product<x = "2x0e+2x1o+0x1o", y = "1x0e+1x1o", z = "2x0e+2x1o+0x1o", paths = [uvu(0, 0, 0) weightless * 1.0, uvu(1, 1, 0) weightless * 1.0, uvu(0, 1, 1) weightless * 1.0]>
// Reads block 0 of its x only.
#scalars = #equivariant.product<x = "2x0e+2x1o+0x1o", y = "0e+1o", z = "2x0e+2x1o+0x1o", paths = [uvu(0, 0, 0) weightless * 1.0]>
#nothing = #equivariant.product<x = "2x0e+2x1o+0x1o", y = "0e+1o", z = "2x0e+2x1o+0x1o", paths = [uvu(0, 0, 0) * 0.0]>

!x = tensor<?x8xf32, #x>
!y = tensor<?x4xf32, #y>
!z = tensor<?x8xf32, #z>

// CHECK-LABEL: @coefficient_or_multiplicity_zero
func.func @coefficient_or_multiplicity_zero(%x: !x, %y: !y) -> !z {
  // CHECK-NEXT: %[[Z:.*]] = equivariant.contract z of #[[LIVE]] (x = %{{.*}}, y = %{{.*}})
  // CHECK-NEXT: return %[[Z]]
  %0 = equivariant.contract z of #weightless (x = %x, y = %y) : (!x, !y) -> !z
  return %0 : !z
}

// CHECK-LABEL: @unread_block
func.func @unread_block(%g: !equivariant.graph, %x: !x, %y: !y, %y2: !y) -> !z {
  // CHECK-NEXT: equivariant.contract z of #[[UNREAD]]
  %0 = equivariant.contract z of #both (x = %x, y = %y) : (!x, !y) -> !z
  %1 = equivariant.segment_sum %0 at receivers of %g : !z -> !z over !equivariant.graph
  %2 = equivariant.gather %1 at senders of %g : !z -> !z over !equivariant.graph
  %3 = equivariant.contract z of #scalars (x = %2, y = %y2) : (!z, !y) -> !z
  return %3 : !z
}

// CHECK-LABEL: @unread_block_with_weights
func.func @unread_block_with_weights(%x: !x, %y: !y, %w: tensor<?x4xf32>) -> !z {
  // CHECK-NEXT: equivariant.contract z of #[[PLACES]] (x = %{{.*}}, y = %{{.*}}, w = %{{.*}})
  %0 = equivariant.contract z of #first (x = %x, y = %y, w = %w) : (!x, !y, tensor<?x4xf32>) -> !z
  %1 = equivariant.contract z of #scalars (x = %0, y = %y) : (!z, !y) -> !z
  return %1 : !z
}

// A value that leaves is read whole.
// CHECK-LABEL: @returned
func.func @returned(%x: !x, %y: !y) -> (!z, !z) {
  // CHECK-NEXT: equivariant.contract z of #[[ALL]]
  %0 = equivariant.contract z of #both (x = %x, y = %y) : (!x, !y) -> !z
  %1 = equivariant.contract z of #scalars (x = %0, y = %y) : (!z, !y) -> !z
  return %0, %1 : !z, !z
}

// CHECK-LABEL: @no_path_contributes
// CHECK-SAME: %[[X:[^:]+]]: tensor<?x8xf32
func.func @no_path_contributes(%x: !x, %y: !y, %w: tensor<?x2xf32>) -> !z {
  // CHECK-NEXT: %[[ZEROS:.*]] = equivariant.zeros like %[[X]]
  // CHECK-NEXT: return %[[ZEROS]]
  %0 = equivariant.contract z of #nothing (x = %x, y = %y, w = %w) : (!x, !y, tensor<?x2xf32>) -> !z
  return %0 : !z
}

// CHECK-LABEL: @gradient_of_unused_weights
func.func @gradient_of_unused_weights(%x: !x, %y: !y, %z: !z) -> tensor<?x2xf32> {
  // CHECK-NEXT: equivariant.zeros like %{{.*}} : {{.*}} -> tensor<?x2xf32>
  %0 = equivariant.contract w of #nothing (x = %x, y = %y, z = %z) : (!x, !y, !z) -> tensor<?x2xf32>
  return %0 : tensor<?x2xf32>
}
