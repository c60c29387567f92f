// RUN: espmm-opt %s --equivariant-stage | FileCheck %s

#g = #equivariant.irreps<"64x0e+64x0o+64x0e+64x0e+64x0o+64x0e", mul_ir>
#two = #equivariant.irreps<"64x0e+64x0o", mul_ir>
#y = #equivariant.irreps<"1x0e", mul_ir>

// Three instances of two slabs: a node's edges have six warps. The node's row is read where the instance's blocks are: these move by 64 from each to the next, those by
// nothing regular. What passes through shared memory lies there at the same place in each of them; only the copies know.
// CHECK-LABEL: func.func @gradient(
// CHECK-NOT: equivariant.fill
// CHECK: equivariant.launch @gradient_0
// CHECK-LABEL: llvm.func @gradient_0(
// CHECK: %[[UNIT:.*]] = arith.remui %{{.*}}, %c6_i64 : i64
// CHECK: %[[INSTANCE:.*]] = arith.divui %[[UNIT]], %c2_i64{{.*}} : i64
// CHECK: %[[BEFORE:.*]] = arith.muli %[[INSTANCE]], %c2_i64{{.*}} : i64
// CHECK: %[[SLAB:.*]] = arith.subi %[[UNIT]], %[[BEFORE]] : i64
// CHECK: arith.divui %{{.*}}, %c6_i64 : i64
// CHECK: %[[SHIFT:.*]] = arith.muli %[[INSTANCE]], %c64_i64{{.*}} : i64
// CHECK: %[[ROW:.*]] = llvm.getelementptr %[[NODE:.*]][%[[SHIFT]]] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, f32
// CHECK: equivariant.read %[[ROW]][%{{.*}}] offset 0
// CHECK: %[[IS_SECOND:.*]] = arith.cmpi eq, %[[INSTANCE]], %c1_i64{{.*}} : i64
// CHECK: %[[OF_SECOND:.*]] = arith.select %[[IS_SECOND]], %c128_i64{{.*}}, %c0_i64{{.*}} : i64
// CHECK: %[[IS_THIRD:.*]] = arith.cmpi eq, %[[INSTANCE]], %c2_i64{{.*}} : i64
// CHECK: %[[OTHER_SHIFT:.*]] = arith.select %[[IS_THIRD]], %c64_i64{{.*}}, %[[OF_SECOND]] : i64
// CHECK: %[[OTHER_ROW:.*]] = llvm.getelementptr %[[NODE]][%[[OTHER_SHIFT]]]
// CHECK: equivariant.read %[[OTHER_ROW]][%{{.*}}] offset 192
// CHECK: equivariant.async_copy {{.*}} slab %[[SLAB]] lane %{{.*}} runs [0, 32, 32, 1, 64] also [128, 64] instance %[[INSTANCE]] width 4
// CHECK: scf.for
// CHECK: equivariant.read %{{.*}} offset 0
// CHECK: equivariant.copy_out {{.*}} slab %[[SLAB]] lane %{{.*}} runs [0, 32, 32, 1, 64] also [64, 128] instance %[[INSTANCE]] width 4
func.func @gradient(%s: !equivariant.graph, %g: tensor<?x384xf32, #g>, %w: tensor<?x192xf32>) -> tensor<?x192xf32> {
  %r = equivariant.kernel over %s : !equivariant.graph ins(%g at receivers, %w at edge : tensor<?x384xf32, #g>, tensor<?x192xf32>) outs(edge : tensor<?x192xf32>)
      attributes {schedule = #equivariant.schedule<target = gpu, group_by = receivers, lanes = 32, slab_end = 2, instances = 3>} {
  ^bb0(%ge: tensor<384xf32, #g>, %we: tensor<192xf32>):
    %a = equivariant.block %ge[0] also [64, 128] : tensor<384xf32, #g> -> tensor<64x1xf32>
    %b = equivariant.block %ge[192] also [320, 256] : tensor<384xf32, #g> -> tensor<64x1xf32>
    %c = equivariant.block %we[0] also [128, 64] : tensor<192xf32> -> tensor<64x1xf32>
    %p = equivariant.einsum "ui,ui->ui"(%a, %b) : (tensor<64x1xf32>, tensor<64x1xf32>) -> tensor<64x1xf32>
    %q = equivariant.einsum "ui,uv->uv"(%p, %c) : (tensor<64x1xf32>, tensor<64x1xf32>) -> tensor<64x1xf32>
    %row = equivariant.assemble [0] also [64, 128](%q) : (tensor<64x1xf32>) -> tensor<192xf32>
    equivariant.yield %row : tensor<192xf32>
  }
  return %r : tensor<?x192xf32>
}

// A row that is the same for both is copied without a word of instances. A sum over channels is shared by the slabs of both instances: four copies of it.
// Of the other row half is written by nobody.
// CHECK-LABEL: func.func @fixed(
// CHECK-SAME: %[[SMALL:[^ ]*]]: !llvm.ptr {{{[^}]*}}equivariant.name = "result0"{{[^}]*}}}, %[[ROW:[^ ]*]]: !llvm.ptr
// CHECK-NOT: equivariant.fill %[[SMALL]]
// CHECK: equivariant.fill %[[ROW]]
// CHECK: %[[COPIES:.*]] = equivariant.scratch
// CHECK: equivariant.fill %[[COPIES]]
// CHECK-LABEL: llvm.func @fixed_0(
// CHECK: %[[UNIT:.*]] = arith.remui %{{.*}}, %c4_i64 : i64
// CHECK-DAG: equivariant.async_copy {{.*}} runs [0, 0, 1, 0, 0] width 1 : f32
// CHECK-DAG: equivariant.async_copy {{.*}} runs [64, 32, 32, 1, 64] also [0] instance %{{.*}} width 4
// CHECK: arith.muli %[[UNIT]], %[[EDGES:.*]] : i64
// CHECK: %[[SUM:.*]] = equivariant.lane_sum
// CHECK: llvm.store %[[SUM]]
// CHECK: equivariant.copy_out {{.*}} runs [0, 32, 32, 1, 64] also [128] instance %{{.*}} width 4
// CHECK-LABEL: llvm.func @fixed_1_sum(
// CHECK-COUNT-4: llvm.load
// CHECK-NOT: llvm.load
func.func @fixed(%s: !equivariant.graph, %y: tensor<?x1xf32, #y>, %w: tensor<?x128xf32>) -> (tensor<?x1xf32, #y>, tensor<?x256xf32>) {
  %r:2 = equivariant.kernel over %s : !equivariant.graph ins(%y at edge, %w at edge : tensor<?x1xf32, #y>, tensor<?x128xf32>) outs(edge, edge : tensor<?x1xf32, #y>, tensor<?x256xf32>)
      attributes {schedule = #equivariant.schedule<target = gpu, group_by = edge, lanes = 32, slab_end = 2, instances = 2, deterministic = true>} {
  ^bb0(%ye: tensor<1xf32, #y>, %we: tensor<128xf32>):
    %a = equivariant.block %ye[0] : tensor<1xf32, #y> -> tensor<1x1xf32>
    %b = equivariant.block %we[64] also [0] : tensor<128xf32> -> tensor<64x1xf32>
    %p = equivariant.einsum "uv,vj->uv"(%b, %a) : (tensor<64x1xf32>, tensor<1x1xf32>) -> tensor<64x1xf32>
    %q = equivariant.einsum "uv,vj->vj"(%b, %a) : (tensor<64x1xf32>, tensor<1x1xf32>) -> tensor<1x1xf32>
    %small = equivariant.assemble [0](%q) : (tensor<1x1xf32>) -> tensor<1xf32, #y>
    %row = equivariant.assemble [0] also [128](%p) : (tensor<64x1xf32>) -> tensor<256xf32>
    equivariant.yield %small, %row : tensor<1xf32, #y>, tensor<256xf32>
  }
  return %r#0, %r#1 : tensor<?x1xf32, #y>, tensor<?x256xf32>
}

// Blocks that the second instance has at an odd place are copied one element at a time by both.
// CHECK-LABEL: llvm.func @odd_0(
// CHECK: equivariant.async_copy {{.*}} runs [0, 32, 32, 1, 64] also [65] instance %{{.*}} width 1
func.func @odd(%s: !equivariant.rows, %w: tensor<?x132xf32>) -> tensor<?x128xf32> {
  %r = equivariant.kernel over %s : !equivariant.rows ins(%w at edge : tensor<?x132xf32>) outs(edge : tensor<?x128xf32>)
      attributes {schedule = #equivariant.schedule<target = gpu, group_by = edge, lanes = 32, slab_end = 2, instances = 2>} {
  ^bb0(%we: tensor<132xf32>):
    %a = equivariant.block %we[0] also [65] : tensor<132xf32> -> tensor<64x1xf32>
    %b = equivariant.einsum "uv->uv"(%a) : (tensor<64x1xf32>) -> tensor<64x1xf32>
    %row = equivariant.assemble [0] also [64](%b) : (tensor<64x1xf32>) -> tensor<128xf32>
    equivariant.yield %row : tensor<128xf32>
  }
  return %r : tensor<?x128xf32>
}
