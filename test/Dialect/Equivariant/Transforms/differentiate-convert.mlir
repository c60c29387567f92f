// RUN: espmm-opt %s --equivariant-differentiate | FileCheck %s

// The gradient is in the type that the argument is stored in, rounded once: what is added is f32.
// CHECK-LABEL: @twice_vjp
// CHECK-SAME: (%{{[^:]+}}: tensor<?x8xbf16>, %[[CT:[^:]+]]: tensor<?x8xf16>) -> tensor<?x8xbf16>
func.func @twice(%a: tensor<?x8xbf16>) -> tensor<?x8xf16> {
  // CHECK-NEXT: %[[C:.*]] = equivariant.convert %[[CT]] : tensor<?x8xf16> -> tensor<?x8xf32>
  // CHECK-NEXT: %[[S:.*]] = equivariant.add %[[C]], %[[C]] : tensor<?x8xf32>
  // CHECK-NEXT: %[[GA:.*]] = equivariant.convert %[[S]] : tensor<?x8xf32> -> tensor<?x8xbf16>
  // CHECK-NEXT: return %[[GA]]
  %0 = equivariant.convert %a : tensor<?x8xbf16> -> tensor<?x8xf32>
  %1 = equivariant.add %0, %0 : tensor<?x8xf32>
  %2 = equivariant.convert %1 : tensor<?x8xf32> -> tensor<?x8xf16>
  return %2 : tensor<?x8xf16>
}
