// RUN: espmm-opt %s --equivariant-differentiate | FileCheck %s

// CHECK-LABEL: @add_vjp
// CHECK-SAME: (%{{[^:]+}}: tensor<?x8xf32>, %{{[^:]+}}: tensor<?x8xf32>, %[[CT:[^:]+]]: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>)
func.func @add(%a: tensor<?x8xf32>, %b: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: return %[[CT]], %[[CT]]
  %0 = equivariant.add %a, %b : tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// CHECK-LABEL: @twice_vjp
// CHECK-SAME: (%{{[^:]+}}: tensor<?x8xf32>, %[[CT:[^:]+]]: tensor<?x8xf32>)
func.func @twice(%a: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: %[[GA:.*]] = equivariant.add %[[CT]], %[[CT]]
  // CHECK-NEXT: return %[[GA]]
  %0 = equivariant.add %a, %a : tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// Zeros have no gradient to pass on.
// CHECK-LABEL: @zeros_vjp
// CHECK-SAME: (%[[A:[^:]+]]: tensor<?x3xf32>, %{{[^:]+}}: tensor<?x8xf32>, %[[CT:[^:]+]]: tensor<?x8xf32>)
func.func @zeros(%a: tensor<?x3xf32>, %b: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: %[[GA:.*]] = equivariant.zeros like %[[A]] : tensor<?x3xf32> -> tensor<?x3xf32>
  // CHECK-NEXT: return %[[GA]], %[[CT]]
  %zeros = equivariant.zeros like %a : tensor<?x3xf32> -> tensor<?x8xf32>
  %0 = equivariant.add %zeros, %b : tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// A value that is a result and has users gets a cotangent from both.
// CHECK-LABEL: @result_with_users_vjp
// CHECK-SAME: (%[[A:[^:]+]]: tensor<?x8xf32>, %[[C0:[^:]+]]: tensor<?x8xf32>, %[[C1:[^:]+]]: tensor<?x8xf32>)
func.func @result_with_users(%a: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK-NEXT: %[[S0:.*]] = equivariant.add %[[C0]], %[[C1]]
  // CHECK-NEXT: %[[S1:.*]] = equivariant.add %[[S0]], %[[C1]]
  // CHECK-NEXT: %[[GA:.*]] = equivariant.add %[[S1]], %[[S1]]
  // CHECK-NEXT: return %[[GA]]
  %0 = equivariant.add %a, %a : tensor<?x8xf32>
  %1 = equivariant.add %0, %0 : tensor<?x8xf32>
  return %0, %1 : tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: @same_result_twice_vjp
// CHECK-SAME: (%{{[^:]+}}: tensor<?x8xf32>, %[[C0:[^:]+]]: tensor<?x8xf32>, %[[C1:[^:]+]]: tensor<?x8xf32>)
func.func @same_result_twice(%a: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK-NEXT: %[[GA:.*]] = equivariant.add %[[C0]], %[[C1]]
  // CHECK-NEXT: return %[[GA]]
  return %a, %a : tensor<?x8xf32>, tensor<?x8xf32>
}
