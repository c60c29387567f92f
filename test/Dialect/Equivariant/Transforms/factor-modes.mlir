// RUN: espmm-opt %s --equivariant-factor | FileCheck %s

// What each mode becomes: einsums over the letters of its index map, and nothing that knows of a mode.

// CHECK-LABEL: @uvw(
// CHECK: equivariant.block %{{.*}}[0] : tensor<30xf64> -> tensor<2x3x5xf64>
// CHECK: equivariant.einsum "ijk,ui->ujk"({{.*}} -> tensor<2x3x1xf64>
// CHECK: equivariant.einsum "ujk,vj->uvk"({{.*}} -> tensor<2x3x1xf64>
// CHECK: equivariant.einsum "uvk,uvw->wk"({{.*}} -> tensor<5x1xf64>
// CHECK-NOT: equivariant.{{einsum|contract}}
func.func @uvw(%s: !equivariant.rows, %x: tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, %y: tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, %w: tensor<?x30xf64>) -> tensor<?x5xf64, #equivariant.irreps<"5x0e", mul_ir>> {
  %0 = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %w at edge : tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, tensor<?x30xf64>) outs(edge : tensor<?x5xf64, #equivariant.irreps<"5x0e", mul_ir>>) {
  ^bb0(%xe: tensor<6xf64, #equivariant.irreps<"2x1o", mul_ir>>, %ye: tensor<9xf64, #equivariant.irreps<"3x1o", mul_ir>>, %we: tensor<30xf64>):
    %1 = equivariant.contract z of #equivariant.product<x = "2x1o", y = "3x1o", z = "5x0e", paths = [uvw(0, 0, 0) * 1.0]> (x = %xe, y = %ye, w = %we)
         : (tensor<6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<9xf64, #equivariant.irreps<"3x1o", mul_ir>>, tensor<30xf64>) -> tensor<5xf64, #equivariant.irreps<"5x0e", mul_ir>>
    equivariant.yield %1 : tensor<5xf64, #equivariant.irreps<"5x0e", mul_ir>>
  }
  return %0 : tensor<?x5xf64, #equivariant.irreps<"5x0e", mul_ir>>
}

// CHECK-LABEL: @uvu(
// CHECK: equivariant.block %{{.*}}[0] : tensor<6xf64> -> tensor<2x3xf64>
// CHECK: equivariant.einsum "vj,uv->uj"({{.*}} -> tensor<2x3xf64>
// CHECK: equivariant.einsum "ijk,uj->uik"({{.*}} -> tensor<2x3x1xf64>
// CHECK: equivariant.einsum "uik,ui->uk"({{.*}} -> tensor<2x1xf64>
// CHECK-NOT: equivariant.{{einsum|contract}}
func.func @uvu(%s: !equivariant.rows, %x: tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, %y: tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, %w: tensor<?x6xf64>) -> tensor<?x2xf64, #equivariant.irreps<"2x0e", mul_ir>> {
  %0 = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %w at edge : tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, tensor<?x6xf64>) outs(edge : tensor<?x2xf64, #equivariant.irreps<"2x0e", mul_ir>>) {
  ^bb0(%xe: tensor<6xf64, #equivariant.irreps<"2x1o", mul_ir>>, %ye: tensor<9xf64, #equivariant.irreps<"3x1o", mul_ir>>, %we: tensor<6xf64>):
    %1 = equivariant.contract z of #equivariant.product<x = "2x1o", y = "3x1o", z = "2x0e", paths = [uvu(0, 0, 0) * 1.0]> (x = %xe, y = %ye, w = %we)
         : (tensor<6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<9xf64, #equivariant.irreps<"3x1o", mul_ir>>, tensor<6xf64>) -> tensor<2xf64, #equivariant.irreps<"2x0e", mul_ir>>
    equivariant.yield %1 : tensor<2xf64, #equivariant.irreps<"2x0e", mul_ir>>
  }
  return %0 : tensor<?x2xf64, #equivariant.irreps<"2x0e", mul_ir>>
}

// CHECK-LABEL: @uvv(
// CHECK: equivariant.block %{{.*}}[0] : tensor<6xf64> -> tensor<2x3xf64>
// CHECK: equivariant.einsum "ijk,ui->ujk"({{.*}} -> tensor<2x3x1xf64>
// CHECK: equivariant.einsum "ujk,vj->uvk"({{.*}} -> tensor<2x3x1xf64>
// CHECK: equivariant.einsum "uvk,uv->vk"({{.*}} -> tensor<3x1xf64>
// CHECK-NOT: equivariant.{{einsum|contract}}
func.func @uvv(%s: !equivariant.rows, %x: tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, %y: tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, %w: tensor<?x6xf64>) -> tensor<?x3xf64, #equivariant.irreps<"3x0e", mul_ir>> {
  %0 = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %w at edge : tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, tensor<?x6xf64>) outs(edge : tensor<?x3xf64, #equivariant.irreps<"3x0e", mul_ir>>) {
  ^bb0(%xe: tensor<6xf64, #equivariant.irreps<"2x1o", mul_ir>>, %ye: tensor<9xf64, #equivariant.irreps<"3x1o", mul_ir>>, %we: tensor<6xf64>):
    %1 = equivariant.contract z of #equivariant.product<x = "2x1o", y = "3x1o", z = "3x0e", paths = [uvv(0, 0, 0) * 1.0]> (x = %xe, y = %ye, w = %we)
         : (tensor<6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<9xf64, #equivariant.irreps<"3x1o", mul_ir>>, tensor<6xf64>) -> tensor<3xf64, #equivariant.irreps<"3x0e", mul_ir>>
    equivariant.yield %1 : tensor<3xf64, #equivariant.irreps<"3x0e", mul_ir>>
  }
  return %0 : tensor<?x3xf64, #equivariant.irreps<"3x0e", mul_ir>>
}

// CHECK-LABEL: @uuw(
// CHECK: equivariant.block %{{.*}}[0] : tensor<10xf64> -> tensor<2x5xf64>
// CHECK: equivariant.einsum "ijk,uj->uik"({{.*}} -> tensor<2x3x1xf64>
// CHECK: equivariant.einsum "uik,ui->uk"({{.*}} -> tensor<2x1xf64>
// CHECK: equivariant.einsum "uk,uw->wk"({{.*}} -> tensor<5x1xf64>
// CHECK-NOT: equivariant.{{einsum|contract}}
func.func @uuw(%s: !equivariant.rows, %x: tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, %y: tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, %w: tensor<?x10xf64>) -> tensor<?x5xf64, #equivariant.irreps<"5x0e", mul_ir>> {
  %0 = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %w at edge : tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<?x10xf64>) outs(edge : tensor<?x5xf64, #equivariant.irreps<"5x0e", mul_ir>>) {
  ^bb0(%xe: tensor<6xf64, #equivariant.irreps<"2x1o", mul_ir>>, %ye: tensor<6xf64, #equivariant.irreps<"2x1o", mul_ir>>, %we: tensor<10xf64>):
    %1 = equivariant.contract z of #equivariant.product<x = "2x1o", y = "2x1o", z = "5x0e", paths = [uuw(0, 0, 0) * 1.0]> (x = %xe, y = %ye, w = %we)
         : (tensor<6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<10xf64>) -> tensor<5xf64, #equivariant.irreps<"5x0e", mul_ir>>
    equivariant.yield %1 : tensor<5xf64, #equivariant.irreps<"5x0e", mul_ir>>
  }
  return %0 : tensor<?x5xf64, #equivariant.irreps<"5x0e", mul_ir>>
}

// CHECK-LABEL: @uuu(
// CHECK: equivariant.block %{{.*}}[0] : tensor<2xf64> -> tensor<2xf64>
// CHECK: equivariant.einsum "ijk,uj->uik"({{.*}} -> tensor<2x3x1xf64>
// CHECK: equivariant.einsum "uik,ui->uk"({{.*}} -> tensor<2x1xf64>
// CHECK: equivariant.einsum "uk,u->uk"({{.*}} -> tensor<2x1xf64>
// CHECK-NOT: equivariant.{{einsum|contract}}
func.func @uuu(%s: !equivariant.rows, %x: tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, %y: tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, %w: tensor<?x2xf64>) -> tensor<?x2xf64, #equivariant.irreps<"2x0e", mul_ir>> {
  %0 = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %w at edge : tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<?x2xf64>) outs(edge : tensor<?x2xf64, #equivariant.irreps<"2x0e", mul_ir>>) {
  ^bb0(%xe: tensor<6xf64, #equivariant.irreps<"2x1o", mul_ir>>, %ye: tensor<6xf64, #equivariant.irreps<"2x1o", mul_ir>>, %we: tensor<2xf64>):
    %1 = equivariant.contract z of #equivariant.product<x = "2x1o", y = "2x1o", z = "2x0e", paths = [uuu(0, 0, 0) * 1.0]> (x = %xe, y = %ye, w = %we)
         : (tensor<6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<2xf64>) -> tensor<2xf64, #equivariant.irreps<"2x0e", mul_ir>>
    equivariant.yield %1 : tensor<2xf64, #equivariant.irreps<"2x0e", mul_ir>>
  }
  return %0 : tensor<?x2xf64, #equivariant.irreps<"2x0e", mul_ir>>
}

// CHECK-LABEL: @uvuv(
// CHECK: equivariant.block %{{.*}}[0] : tensor<6xf64> -> tensor<2x3xf64>
// CHECK: equivariant.einsum "ijk,ui->ujk"({{.*}} -> tensor<2x3x1xf64>
// CHECK: equivariant.einsum "ujk,vj->uvk"({{.*}} -> tensor<2x3x1xf64>
// CHECK: equivariant.einsum "uvk,uv->uvk"({{.*}} -> tensor<2x3x1xf64>
// CHECK-NOT: equivariant.{{einsum|contract}}
func.func @uvuv(%s: !equivariant.rows, %x: tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, %y: tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, %w: tensor<?x6xf64>) -> tensor<?x6xf64, #equivariant.irreps<"6x0e", mul_ir>> {
  %0 = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %w at edge : tensor<?x6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<?x9xf64, #equivariant.irreps<"3x1o", mul_ir>>, tensor<?x6xf64>) outs(edge : tensor<?x6xf64, #equivariant.irreps<"6x0e", mul_ir>>) {
  ^bb0(%xe: tensor<6xf64, #equivariant.irreps<"2x1o", mul_ir>>, %ye: tensor<9xf64, #equivariant.irreps<"3x1o", mul_ir>>, %we: tensor<6xf64>):
    %1 = equivariant.contract z of #equivariant.product<x = "2x1o", y = "3x1o", z = "6x0e", paths = [uvuv(0, 0, 0) * 1.0]> (x = %xe, y = %ye, w = %we)
         : (tensor<6xf64, #equivariant.irreps<"2x1o", mul_ir>>, tensor<9xf64, #equivariant.irreps<"3x1o", mul_ir>>, tensor<6xf64>) -> tensor<6xf64, #equivariant.irreps<"6x0e", mul_ir>>
    equivariant.yield %1 : tensor<6xf64, #equivariant.irreps<"6x0e", mul_ir>>
  }
  return %0 : tensor<?x6xf64, #equivariant.irreps<"6x0e", mul_ir>>
}

// CHECK-LABEL: @uvu_lt_v(
// CHECK: equivariant.pairs first
// CHECK: equivariant.pairs second
// CHECK: equivariant.block %{{.*}}[0] : tensor<6xf64> -> tensor<6xf64>
// CHECK: equivariant.einsum "ijk,uj->uik"({{.*}} -> tensor<6x3x1xf64>
// CHECK: equivariant.einsum "uik,ui->uk"({{.*}} -> tensor<6x1xf64>
// CHECK: equivariant.einsum "uk,u->uk"({{.*}} -> tensor<6x1xf64>
// CHECK-NOT: equivariant.{{einsum|contract}}
func.func @uvu_lt_v(%s: !equivariant.rows, %x: tensor<?x12xf64, #equivariant.irreps<"4x1o", mul_ir>>, %y: tensor<?x12xf64, #equivariant.irreps<"4x1o", mul_ir>>, %w: tensor<?x6xf64>) -> tensor<?x6xf64, #equivariant.irreps<"6x0e", mul_ir>> {
  %0 = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %w at edge : tensor<?x12xf64, #equivariant.irreps<"4x1o", mul_ir>>, tensor<?x12xf64, #equivariant.irreps<"4x1o", mul_ir>>, tensor<?x6xf64>) outs(edge : tensor<?x6xf64, #equivariant.irreps<"6x0e", mul_ir>>) {
  ^bb0(%xe: tensor<12xf64, #equivariant.irreps<"4x1o", mul_ir>>, %ye: tensor<12xf64, #equivariant.irreps<"4x1o", mul_ir>>, %we: tensor<6xf64>):
    %1 = equivariant.contract z of #equivariant.product<x = "4x1o", y = "4x1o", z = "6x0e", paths = [uvu_lt_v(0, 0, 0) * 1.0]> (x = %xe, y = %ye, w = %we)
         : (tensor<12xf64, #equivariant.irreps<"4x1o", mul_ir>>, tensor<12xf64, #equivariant.irreps<"4x1o", mul_ir>>, tensor<6xf64>) -> tensor<6xf64, #equivariant.irreps<"6x0e", mul_ir>>
    equivariant.yield %1 : tensor<6xf64, #equivariant.irreps<"6x0e", mul_ir>>
  }
  return %0 : tensor<?x6xf64, #equivariant.irreps<"6x0e", mul_ir>>
}

// CHECK-LABEL: @u_lt_vw(
// CHECK: equivariant.pairs first
// CHECK: equivariant.pairs second
// CHECK: equivariant.block %{{.*}}[0] : tensor<30xf64> -> tensor<6x5xf64>
// CHECK: equivariant.einsum "ijk,uj->uik"({{.*}} -> tensor<6x3x1xf64>
// CHECK: equivariant.einsum "uik,ui->uk"({{.*}} -> tensor<6x1xf64>
// CHECK: equivariant.einsum "uk,uw->wk"({{.*}} -> tensor<5x1xf64>
// CHECK-NOT: equivariant.{{einsum|contract}}
func.func @u_lt_vw(%s: !equivariant.rows, %x: tensor<?x12xf64, #equivariant.irreps<"4x1o", mul_ir>>, %y: tensor<?x12xf64, #equivariant.irreps<"4x1o", mul_ir>>, %w: tensor<?x30xf64>) -> tensor<?x5xf64, #equivariant.irreps<"5x0e", mul_ir>> {
  %0 = equivariant.kernel over %s : !equivariant.rows ins(%x at edge, %y at edge, %w at edge : tensor<?x12xf64, #equivariant.irreps<"4x1o", mul_ir>>, tensor<?x12xf64, #equivariant.irreps<"4x1o", mul_ir>>, tensor<?x30xf64>) outs(edge : tensor<?x5xf64, #equivariant.irreps<"5x0e", mul_ir>>) {
  ^bb0(%xe: tensor<12xf64, #equivariant.irreps<"4x1o", mul_ir>>, %ye: tensor<12xf64, #equivariant.irreps<"4x1o", mul_ir>>, %we: tensor<30xf64>):
    %1 = equivariant.contract z of #equivariant.product<x = "4x1o", y = "4x1o", z = "5x0e", paths = [u_lt_vw(0, 0, 0) * 1.0]> (x = %xe, y = %ye, w = %we)
         : (tensor<12xf64, #equivariant.irreps<"4x1o", mul_ir>>, tensor<12xf64, #equivariant.irreps<"4x1o", mul_ir>>, tensor<30xf64>) -> tensor<5xf64, #equivariant.irreps<"5x0e", mul_ir>>
    equivariant.yield %1 : tensor<5xf64, #equivariant.irreps<"5x0e", mul_ir>>
  }
  return %0 : tensor<?x5xf64, #equivariant.irreps<"5x0e", mul_ir>>
}
