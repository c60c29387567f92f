// RUN: espmm-opt %s --convert-equivariant-to-gpu="chip=sm_80" | FileCheck %s
// RUN: espmm-opt %s --pass-pipeline='builtin.module(convert-equivariant-to-gpu{chip=sm_80}, llvm.func(convert-scf-to-cf, convert-arith-to-llvm), convert-cf-to-llvm)' | espmm-translate --to-ptx | FileCheck %s --check-prefix=PTX

module attributes {equivariant.target = "cuda:sm_80"} {
// Three terms: each number is what it is rounded to, and the rest, computed once; the smallest product is left out. Small products and large ones are sums of their own, which
// are added as f32 are.
// CHECK-LABEL: llvm.func @three_terms(
// CHECK-SAME: %[[A:.*]]: f32, %[[B:.*]]: f32, %{{.*}}: !llvm.ptr<1>)
// CHECK-DAG: %[[A_HIGH:.*]] = nvvm.convert.float.to.tf32 %[[A]] {rnd = #nvvm.fp_rnd_mode<rna>}
// CHECK-DAG: %[[A_ROUNDED:.*]] = llvm.bitcast %[[A_HIGH]] : i32 to f32
// CHECK-DAG: %[[A_REST:.*]] = llvm.fsub %[[A]], %[[A_ROUNDED]]
// CHECK-DAG: %[[A_LOW:.*]] = llvm.bitcast %[[A_REST]] : f32 to i32
// CHECK-DAG: %[[B_HIGH:.*]] = nvvm.convert.float.to.tf32 %[[B]]
// CHECK: nvvm.mma.sync A[%[[A_LOW]], %[[A_LOW]], %[[A_LOW]], %[[A_LOW]]] B[%[[B_HIGH]], %[[B_HIGH]]] C[%[[ZERO:[^,]*]], %[[ZERO]], %[[ZERO]], %[[ZERO]]]
// CHECK: %[[SMALL:.*]] = nvvm.mma.sync A[%[[A_HIGH]], %[[A_HIGH]], %[[A_HIGH]], %[[A_HIGH]]] B[%[[B_LOW:.*]], %[[B_LOW]]] C[
// CHECK: %[[S0:.*]] = llvm.extractvalue %[[SMALL]][0]
// CHECK: %[[LARGE:.*]] = nvvm.mma.sync A[%[[A_HIGH]], %[[A_HIGH]], %[[A_HIGH]], %[[A_HIGH]]] B[%[[B_HIGH]], %[[B_HIGH]]] C[%[[ZERO]], %[[ZERO]], %[[ZERO]], %[[ZERO]]]
// CHECK: %[[L0:.*]] = llvm.extractvalue %[[LARGE]][0]
// CHECK: %[[BOTH:.*]] = llvm.fadd %[[L0]], %[[S0]]
// CHECK: llvm.fadd %{{.*}}, %[[BOTH]]
// CHECK-NOT: nvvm.mma.sync
// PTX-LABEL: .entry three_terms(
// PTX-COUNT-2: cvt.rna.tf32.f32
// PTX-COUNT-3: mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32
llvm.func @three_terms(%a: f32, %b: f32, %p: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %zero = llvm.mlir.constant(0.0 : f32) : f32
  %c:4 = equivariant.matrix_product ",->" %a, %a, %a, %a by %b, %b into %zero, %zero, %zero, %zero terms 3 : f32, f32, f32, f32 by f32, f32 into f32, f32, f32, f32
  llvm.store %c#0, %p : f32, !llvm.ptr<1>
  llvm.return
}

// CHECK-LABEL: llvm.func @one_term_half_as_deep(
// CHECK: nvvm.mma.sync A[{{.*}}] B[{{.*}}] C[{{.*}}] {{.*}} shape = #nvvm.shape<m = 16, n = 8, k = 4>
// CHECK-NOT: nvvm.mma.sync
// PTX-LABEL: .entry one_term_half_as_deep(
// PTX: mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32
llvm.func @one_term_half_as_deep(%a: f32, %b: f32, %p: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %zero = llvm.mlir.constant(0.0 : f32) : f32
  %c:4 = equivariant.matrix_product ",->" %a, %a by %b into %zero, %zero, %zero, %zero terms 1 : f32, f32 by f32 into f32, f32, f32, f32
  llvm.store %c#1, %p : f32, !llvm.ptr<1>
  llvm.return
}

// CHECK-LABEL: llvm.func @doubles(
// CHECK: nvvm.mma.sync A[%{{.*}}] B[%{{.*}}] C[%{{.*}}, %{{.*}}]
// PTX-LABEL: .entry doubles(
// PTX: mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64
llvm.func @doubles(%a: f64, %b: f64, %p: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %zero = llvm.mlir.constant(0.0 : f64) : f64
  %c:2 = equivariant.matrix_product ",->" %a by %b into %zero, %zero terms 1 : f64 by f64 into f64, f64
  llvm.store %c#1, %p : f64, !llvm.ptr<1>
  llvm.return
}
}
