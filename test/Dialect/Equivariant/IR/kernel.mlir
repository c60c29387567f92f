// RUN: espmm-opt %s --verify-roundtrip --mlir-print-op-generic | espmm-opt | FileCheck %s

// CHECK-DAG: #[[X:.*]] = #equivariant.irreps<"8x1o", mul_ir>
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
#dot = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.5]>

// CHECK-LABEL: @graph
// CHECK-SAME: %[[G:[^:]+]]: !equivariant.graph, %[[SX:[^:]+]]: tensor<?x24xf32, #[[X]]>, %[[EY:[^:]+]]: tensor<?x3xf32, #{{.*}}>, %[[AW:[^:]+]]: tensor<1x8xf32>, %[[RZ:[^:]+]]: tensor<?x8xf32, #{{.*}}>)
func.func @graph(%g: !equivariant.graph, %x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<1x8xf32>,
                 %gz: tensor<?x8xf32, #z>) -> (tensor<?x24xf32, #x>, tensor<1x8xf32>, tensor<?x3xf32, #y>) {
  // CHECK: equivariant.kernel over %[[G]] : !equivariant.graph
  // CHECK-SAME: ins(%[[SX]] at senders, %[[EY]] at edge, %[[AW]] at all, %[[RZ]] at receivers : tensor<?x24xf32, #[[X]]>,
  // CHECK-SAME: outs(senders, all, edge : tensor<?x24xf32, #[[X]]>, tensor<1x8xf32>, tensor<?x3xf32, #{{.*}}>) {
  %r:3 = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at all, %gz at receivers
          : tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<1x8xf32>, tensor<?x8xf32, #z>)
      outs(senders, all, edge : tensor<?x24xf32, #x>, tensor<1x8xf32>, tensor<?x3xf32, #y>) {
  // CHECK-NEXT: ^bb0(%{{.*}}: tensor<24xf32, #[[X]]>, %[[YE:.*]]: tensor<3xf32, #{{.*}}>, %{{.*}}: tensor<8xf32>, %{{.*}}: tensor<8xf32, #{{.*}}>):
  ^bb0(%xe: tensor<24xf32, #x>, %ye: tensor<3xf32, #y>, %we: tensor<8xf32>, %ze: tensor<8xf32, #z>):
    // CHECK: equivariant.contract x of #product (y = %[[YE]], w = %{{.*}}, z = %{{.*}}) : (tensor<3xf32, #{{.*}}>, tensor<8xf32>, tensor<8xf32, #{{.*}}>) -> tensor<24xf32, #[[X]]>
    %0 = equivariant.contract x of #dot (y = %ye, w = %we, z = %ze) : (tensor<3xf32, #y>, tensor<8xf32>, tensor<8xf32, #z>) -> tensor<24xf32, #x>
    %1 = equivariant.contract w of #dot (x = %xe, y = %ye, z = %ze) : (tensor<24xf32, #x>, tensor<3xf32, #y>, tensor<8xf32, #z>) -> tensor<8xf32>
    // CHECK: equivariant.yield %{{.*}}, %{{.*}}, %[[YE]] : tensor<24xf32, #[[X]]>, tensor<8xf32>, tensor<3xf32, #{{.*}}>
    equivariant.yield %0, %1, %ye : tensor<24xf32, #x>, tensor<8xf32>, tensor<3xf32, #y>
  }
  return %r#0, %r#1, %r#2 : tensor<?x24xf32, #x>, tensor<1x8xf32>, tensor<?x3xf32, #y>
}

// CHECK-LABEL: @rows
func.func @rows(%r: !equivariant.rows, %a: tensor<?x8xf64>) -> tensor<1x8xf64> {
  // CHECK: equivariant.kernel over %{{.*}} : !equivariant.rows ins(%{{.*}} at edge : tensor<?x8xf64>) outs(all : tensor<1x8xf64>) {
  %0 = equivariant.kernel over %r : !equivariant.rows ins(%a at edge : tensor<?x8xf64>) outs(all : tensor<1x8xf64>) {
  ^bb0(%row: tensor<8xf64>):
    equivariant.yield %row : tensor<8xf64>
  }
  return %0 : tensor<1x8xf64>
}

// CHECK-LABEL: @attributes
func.func @attributes(%r: !equivariant.rows, %a: tensor<?x8xf64>) -> tensor<?x8xf64> {
  // CHECK: outs(edge : tensor<?x8xf64>) attributes {note = "kept"} {
  %0 = equivariant.kernel over %r : !equivariant.rows ins(%a at edge : tensor<?x8xf64>) outs(edge : tensor<?x8xf64>) attributes {note = "kept"} {
  ^bb0(%row: tensor<8xf64>):
    equivariant.yield %row : tensor<8xf64>
  }
  return %0 : tensor<?x8xf64>
}

// CHECK-LABEL: @neither_ins_nor_outs
func.func @neither_ins_nor_outs(%g: !equivariant.graph) {
  // CHECK: equivariant.kernel over %{{.*}} : !equivariant.graph {
  // CHECK-NEXT: equivariant.yield
  equivariant.kernel over %g : !equivariant.graph {
  }
  return
}
