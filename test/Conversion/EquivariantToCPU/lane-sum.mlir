// RUN: espmm-opt %s --convert-equivariant-to-cpu | FileCheck %s

// Three elements, a fourth absent: first lanes with bit 1 keep %c and others %a, and take what the lane that differs in that bit has
// of it; then the same with bit 0; then what is left is added to its other half.
// CHECK-LABEL: llvm.func @three(
// CHECK-SAME: %[[A:.*]]: vector<8xf32>, %[[B:.*]]: vector<8xf32>, %[[C:.*]]: vector<8xf32>)
// CHECK: %[[OWN:.*]] = llvm.shufflevector %[[A]], %[[C]] [0, 1, 10, 11, 4, 5, 14, 15]
// CHECK: %[[OTHERS:.*]] = llvm.shufflevector %[[A]], %[[C]] [2, 3, 8, 9, 6, 7, 12, 13]
// CHECK: %[[AC:.*]] = llvm.fadd %[[OWN]], %[[OTHERS]]
// CHECK: %[[SWAPPED:.*]] = llvm.shufflevector %[[B]], %[[B]] [2, 3, 0, 1, 6, 7, 4, 5]
// CHECK: %[[BB:.*]] = llvm.fadd %[[B]], %[[SWAPPED]]
// CHECK: %[[OWN1:.*]] = llvm.shufflevector %[[AC]], %[[BB]] [0, 9, 2, 11, 4, 13, 6, 15]
// CHECK: %[[OTHERS1:.*]] = llvm.shufflevector %[[AC]], %[[BB]] [1, 8, 3, 10, 5, 12, 7, 14]
// CHECK: %[[ABC:.*]] = llvm.fadd %[[OWN1]], %[[OTHERS1]]
// CHECK: %[[HALF:.*]] = llvm.shufflevector %[[ABC]], %[[ABC]] [4, 5, 6, 7, 0, 1, 2, 3]
// CHECK: %[[SUM:.*]] = llvm.fadd %[[ABC]], %[[HALF]]
// CHECK-NOT: llvm.fadd
// CHECK: llvm.return %[[SUM]]
llvm.func @three(%a: vector<8xf32>, %b: vector<8xf32>, %c: vector<8xf32>) -> vector<8xf32> {
  %s = equivariant.lane_sum %a, %b, %c : vector<8xf32>, vector<8xf32>, vector<8xf32> -> vector<8xf32>
  llvm.return %s : vector<8xf32>
}
