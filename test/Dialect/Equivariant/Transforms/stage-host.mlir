// RUN: espmm-opt %s --equivariant-stage | FileCheck %s

// The sizes, the arguments, the plan's arrays, the results; a launch over 64 parts of the nodes.
// CHECK-LABEL: func.func @conv(
// CHECK-SAME: %{{.*}}: i64 {equivariant.name = "E", equivariant.role = "size"}
// CHECK-SAME: %{{.*}}: i64 {equivariant.name = "R", equivariant.role = "size"}
// CHECK-SAME: %{{.*}}: i64 {equivariant.name = "S", equivariant.role = "size"}
// CHECK-SAME: %[[X:[^ ]*]]: !llvm.ptr {equivariant.dtype = f32, equivariant.name = "arg0", equivariant.role = "argument", equivariant.rows = "senders", equivariant.used = true, equivariant.width = 24 : i64}
// CHECK-SAME: %[[Y:[^ ]*]]: !llvm.ptr {equivariant.dtype = f32, equivariant.name = "arg1", equivariant.role = "argument", equivariant.rows = "edges", equivariant.used = true, equivariant.width = 3 : i64}
// CHECK-SAME: %[[W:[^ ]*]]: !llvm.ptr {equivariant.dtype = f32, equivariant.name = "weights", equivariant.role = "argument", equivariant.rows = "edges", equivariant.used = true, equivariant.width = 8 : i64}
// CHECK-SAME: %{{[^ ]*}}: !llvm.ptr {equivariant.dtype = f32, equivariant.name = "arg3", equivariant.role = "argument", {{.*}}equivariant.used = false, equivariant.width = 5 : i64}
// CHECK-SAME: %[[OFFSETS:[^ ]*]]: !llvm.ptr {equivariant.name = "receivers.offsets", equivariant.role = "plan"}
// CHECK-SAME: {equivariant.name = "receivers.order", equivariant.role = "plan"}
// CHECK-SAME: {equivariant.name = "receivers.other", equivariant.role = "plan"}
// CHECK-SAME: {equivariant.name = "receivers.parts", equivariant.role = "plan"}
// CHECK-SAME: %[[Z:[^ ]*]]: !llvm.ptr {{{.*}}equivariant.name = "result0", equivariant.role = "result", equivariant.rows = "receivers", equivariant.used = true, equivariant.width = 8 : i64}
// CHECK: %[[PARTS:.*]] = arith.constant 64 : i64
// CHECK: equivariant.launch @conv_0 grid(%[[PARTS]])({{.*}}) {equivariant.choices = ["edges: those of a node, its receivers' side, one after the other, because sums over them then stay in the cache until the last", "channels: u in vectors of {{.*}}"], equivariant.cost = {additions_per_edge = {{[0-9]+}} : i64, bytes_per_edge = 44 : i64, bytes_per_node = 32 : i64, gathered_bytes_per_edge = 96 : i64, multiplications_per_edge = {{[0-9]+}} : i64, registers_estimate = {{[0-9]+}} : i64}}
// CHECK: return
func.func @conv(%g: !equivariant.graph, %x: tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, %y: tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %w: tensor<?x8xf32> {equivariant.name = "weights"}, %unused: tensor<?x5xf32>) -> tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge : tensor<?x24xf32, #equivariant.irreps<"8x1o", mul_ir>>, tensor<?x3xf32, #equivariant.irreps<"1x1o", mul_ir>>, tensor<?x8xf32>)
      outs(receivers : tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>) attributes {schedule = #equivariant.schedule<target = cpu, group_by = receivers, lanes = 8, slab_begin = 0, slab_end = 0, rows = 16, deterministic = true>} {
  ^bb0(%xe: tensor<24xf32, #equivariant.irreps<"8x1o", mul_ir>>, %ye: tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>>, %we: tensor<8xf32>):
    %c = equivariant.coefficients(1, 1, 0) * 0.5 : tensor<3x3x1xf32>
    %0 = equivariant.block %xe[0] : tensor<24xf32, #equivariant.irreps<"8x1o", mul_ir>> -> tensor<8x3xf32>
    %1 = equivariant.block %ye[0] : tensor<3xf32, #equivariant.irreps<"1x1o", mul_ir>> -> tensor<1x3xf32>
    %2 = equivariant.block %we[0] : tensor<8xf32> -> tensor<8x1xf32>
    %3 = equivariant.einsum "ijk,vj->vik"(%c, %1) : (tensor<3x3x1xf32>, tensor<1x3xf32>) -> tensor<1x3x1xf32>
    %4 = equivariant.einsum "vik,ui->uvk"(%3, %0) : (tensor<1x3x1xf32>, tensor<8x3xf32>) -> tensor<8x1x1xf32>
    %5 = equivariant.einsum "uvk,uv->uk"(%4, %2) : (tensor<8x1x1xf32>, tensor<8x1xf32>) -> tensor<8x1xf32>
    %6 = equivariant.assemble [0](%5) : (tensor<8x1xf32>) -> tensor<8xf32, #equivariant.irreps<"8x0e", mul_ir>>
    equivariant.yield %6 : tensor<8xf32, #equivariant.irreps<"8x0e", mul_ir>>
  }
  return %z : tensor<?x8xf32, #equivariant.irreps<"8x0e", mul_ir>>
}
