// RUN: espmm-opt %s --convert-equivariant-to-cpu | FileCheck %s

// Vectors of coefficients come from one table of a module, each once; those of equal elements stay what they are.
// CHECK: llvm.mlir.global internal @espmm_coefficients_4x32(dense<[1.000000e+00, 2.000000e+00, 3.000000e+00, 4.000000e+00, 5.000000e+00, 6.000000e+00, 7.000000e+00, 8.000000e+00]> : tensor<8xf32>) {addr_space = 0 : i32, alignment = 16 : i64} : !llvm.array<8 x f32>
// CHECK-LABEL: @scale
llvm.func @scale(%v: vector<4xf32>) -> vector<4xf32> {
  // CHECK: %[[TABLE:.*]] = llvm.mlir.addressof @espmm_coefficients_4x32
  // CHECK: %[[FIRST:.*]] = llvm.getelementptr %[[TABLE]][0]
  // CHECK: llvm.load %[[FIRST]] invariant {alignment = 16 : i64} : !llvm.ptr -> vector<4xf32>
  %a = llvm.mlir.constant(dense<[1.0, 2.0, 3.0, 4.0]> : vector<4xf32>) : vector<4xf32>
  // CHECK: llvm.getelementptr %{{.*}}[4]
  %b = llvm.mlir.constant(dense<[5.0, 6.0, 7.0, 8.0]> : vector<4xf32>) : vector<4xf32>
  // CHECK: llvm.getelementptr %{{.*}}[0]
  %c = llvm.mlir.constant(dense<[1.0, 2.0, 3.0, 4.0]> : vector<4xf32>) : vector<4xf32>
  // CHECK: llvm.mlir.constant(dense<2.000000e+00> : vector<4xf32>)
  %d = llvm.mlir.constant(dense<2.0> : vector<4xf32>) : vector<4xf32>
  %0 = llvm.fmul %v, %a : vector<4xf32>
  %1 = llvm.fmul %0, %b : vector<4xf32>
  %2 = llvm.fmul %1, %c : vector<4xf32>
  %3 = llvm.fmul %2, %d : vector<4xf32>
  llvm.return %3 : vector<4xf32>
}
