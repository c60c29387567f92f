// RUN: espmm-opt %s --convert-equivariant-to-cpu | espmm-translate --to-llvmir | FileCheck %s

// Coefficients stay in their table: as constants of the code each would be compared with all others, for minutes in a large product.
// CHECK: @espmm_coefficients_4x32 = internal global [4 x float]
// CHECK-LABEL: define <4 x float> @scale(
// CHECK: %[[READ:.*]] = load <4 x float>, ptr @espmm_coefficients_4x32, align 16, !invariant.load
// CHECK: fmul <4 x float> %{{.*}}, %[[READ]]
module attributes {equivariant.target = "cpu"} {
  llvm.func @scale(%v: vector<4xf32>) -> vector<4xf32> {
    %a = llvm.mlir.constant(dense<[1.0, 2.0, 3.0, 4.0]> : vector<4xf32>) : vector<4xf32>
    %b = llvm.fmul %v, %a : vector<4xf32>
    llvm.return %b : vector<4xf32>
  }
}
