// RUN: espmm-opt %s --verify-roundtrip --mlir-print-op-generic --allow-unregistered-dialect | espmm-opt --allow-unregistered-dialect | FileCheck %s

// CHECK-LABEL: @index_spaces
// CHECK-SAME: (!equivariant.graph, !equivariant.rows)
func.func private @index_spaces(!equivariant.graph, !equivariant.rows)

// CHECK-LABEL: @slots
func.func @slots() {
  // CHECK: slots = [#equivariant<slot x>, #equivariant<slot y>, #equivariant<slot w>, #equivariant<slot z>]
  "test.use"() {slots = [#equivariant<slot x>, #equivariant<slot y>, #equivariant<slot w>, #equivariant<slot z>]} : () -> ()
  return
}

// CHECK-LABEL: @accesses
func.func @accesses() {
  // CHECK: accesses = [#equivariant<access edge>, #equivariant<access receivers>, #equivariant<access senders>, #equivariant<access all>]
  "test.use"() {accesses = [#equivariant<access edge>, #equivariant<access receivers>, #equivariant<access senders>,
                            #equivariant<access all>]} : () -> ()
  return
}
