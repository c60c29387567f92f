// RUN: espmm-opt %s --verify-roundtrip --mlir-print-op-generic --allow-unregistered-dialect | espmm-opt --allow-unregistered-dialect | FileCheck %s

// CHECK-DAG: #[[MODES:.*]] = #equivariant.product<x = "2x1o", y = "2x1o+3x1o", z = "5x0e+2x1e+3x2e+4x0e+6x0e+1x0e", paths = [uvw(0, 1, 0) * 1.0, uvu(0, 1, 1) * 1.0, uvv(0, 1, 2) * 1.0, uuw(0, 0, 0) * 1.0, uuu(0, 0, 1) * 1.0, uvuv(0, 1, 4) * 1.0, uvu_lt_v(0, 0, 5) * 1.0, u_lt_vw(0, 0, 3) * 1.0]>
// CHECK-DAG: #[[WEIGHTLESS:.*]] = #equivariant.product<x = "2x1o", y = "2x1o+3x1o", z = "2x1e+3x2e+1x0e+6x0e", paths = [uvu(0, 1, 0) weightless * 1.0, uvv(0, 1, 1) weightless * 1.0, uuw(0, 0, 2) weightless * 1.0, uuu(0, 0, 0) weightless * 1.0, uvuv(0, 1, 3) weightless * 1.0, uvu_lt_v(0, 0, 2) weightless * 1.0]>
// CHECK-DAG: #[[COEFFICIENTS:.*]] = #equivariant.product<x = "1x0e", y = "1x0e", z = "1x0e", paths = [uvw(0, 0, 0) * 0.1, uvw(0, 0, 0) * 0.30000000000000004, uvw(0, 0, 0) * -3.0, uvw(0, 0, 0) * 0.0, uvw(0, 0, 0) * 5.0e-324, uvw(0, 0, 0) * 1.7976931348623157e+308]>
// CHECK-DAG: #[[EMPTY:.*]] = #equivariant.product<x = "", y = "", z = "", paths = []>

// CHECK-LABEL: @all_modes
func.func @all_modes() {
  // CHECK: product = #[[MODES]]
  "test.use"() {product = #equivariant.product<x = "2x1o", y = "2x1o + 3x1o", z = "5x0e+2x1e+3x2e+4x0e+6x0e+0e", paths = [
    uvw(0, 1, 0) * 1.0, uvu(0, 1, 1) * 1.0, uvv(0, 1, 2) * 1.0, uuw(0, 0, 0) * 1.0, uuu(0, 0, 1) * 1.0,
    uvuv(0, 1, 4) * 1.0, uvu_lt_v(0, 0, 5) * 1.0, u_lt_vw(0, 0, 3) * 1.0]>} : () -> ()
  return
}

// CHECK-LABEL: @weightless_modes
func.func @weightless_modes() {
  // CHECK: product = #[[WEIGHTLESS]]
  "test.use"() {product = #equivariant.product<x = "2x1o", y = "2x1o+3x1o", z = "2x1e+3x2e+1x0e+6x0e", paths = [
    uvu(0, 1, 0) weightless * 1.0, uvv(0, 1, 1) weightless * 1.0, uuw(0, 0, 2) weightless * 1.0,
    uuu(0, 0, 0) weightless * 1.0, uvuv(0, 1, 3) weightless * 1.0, uvu_lt_v(0, 0, 2) weightless * 1.0]>} : () -> ()
  return
}

// A coefficient reads back as the same double.
// CHECK-LABEL: @coefficients
func.func @coefficients() {
  // CHECK: product = #[[COEFFICIENTS]]
  "test.use"() {product = #equivariant.product<x = "0e", y = "0e", z = "0e", paths = [
    uvw(0, 0, 0) * 0.1, uvw(0, 0, 0) * 0.30000000000000004, uvw(0, 0, 0) * -3.0, uvw(0, 0, 0) * 0.0,
    uvw(0, 0, 0) * 4.9406564584124654e-324, uvw(0, 0, 0) * 1.7976931348623157e+308]>} : () -> ()
  return
}

// CHECK-LABEL: @no_paths
func.func @no_paths() {
  // CHECK: product = #[[EMPTY]]
  "test.use"() {product = #equivariant.product<x = "", y = "", z = "", paths = []>} : () -> ()
  return
}
