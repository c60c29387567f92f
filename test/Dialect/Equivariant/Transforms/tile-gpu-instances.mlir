// RUN: espmm-opt %s --equivariant-tile="target=gpu chip=sm_90 tile-registers=1 instances=2" | FileCheck %s
// RUN: espmm-opt %s --equivariant-tile="target=gpu chip=sm_90 tile-registers=1" | FileCheck %s
// RUN: espmm-opt %s --equivariant-tile="target=gpu chip=sm_90 tile-registers=1 instances=1" | FileCheck %s --check-prefix=OFF
// RUN: espmm-opt %s --equivariant-tile="target=gpu chip=sm_90" | FileCheck %s --check-prefix=ONE

// Two are one kernel unless it is said otherwise; where everything is one tile, there is nothing to share.
// OFF-NOT: also
// OFF-NOT: instances
// ONE-NOT: instances

#x = #equivariant.irreps<"32x0o+32x0e", mul_ir>
#x3 = #equivariant.irreps<"32x0o+32x0e+32x0e", mul_ir>
#y = #equivariant.irreps<"1x0e+1x0e", mul_ir>
#z = #equivariant.irreps<"32x0o+32x0e+32x0o+32x0e", mul_ir>

// Two paths that differ in where their blocks are. The one block of y is the same for both.
// CHECK-LABEL: func.func @alike(
// CHECK: equivariant.kernel {{.*}}slab_end = 1, instances = 2, {{.*}}>}
// CHECK-DAG: equivariant.block %{{.*}}[0] also [32] : tensor<64xf32, #{{.*}}> -> tensor<32x1xf32>
// CHECK-DAG: equivariant.block %{{.*}}[0] : tensor<2xf32, #{{.*}}> -> tensor<1x1xf32>
// CHECK-DAG: equivariant.block %{{.*}}[32] also [0] : tensor<64xf32> -> tensor<32x1xf32>
// CHECK: equivariant.assemble [32] also [96](
// CHECK-NOT: equivariant.kernel
// CHECK: return
// OFF-LABEL: func.func @alike(
// OFF-COUNT-2: equivariant.kernel
func.func @alike(%g: !equivariant.graph, %x: tensor<?x64xf32, #x>, %y: tensor<?x2xf32, #y>, %w: tensor<?x64xf32>) -> tensor<?x128xf32, #z> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge, %w at edge : tensor<?x64xf32, #x>, tensor<?x2xf32, #y>, tensor<?x64xf32>) outs(receivers : tensor<?x128xf32, #z>) {
  ^bb0(%xe: tensor<64xf32, #x>, %ye: tensor<2xf32, #y>, %we: tensor<64xf32>):
    %y0 = equivariant.block %ye[0] : tensor<2xf32, #y> -> tensor<1x1xf32>
    %x0 = equivariant.block %xe[0] : tensor<64xf32, #x> -> tensor<32x1xf32>
    %x1 = equivariant.block %xe[32] : tensor<64xf32, #x> -> tensor<32x1xf32>
    %w0 = equivariant.block %we[0] : tensor<64xf32> -> tensor<32x1xf32>
    %w1 = equivariant.block %we[32] : tensor<64xf32> -> tensor<32x1xf32>
    %a = equivariant.einsum "ui,vj->uij"(%x0, %y0) : (tensor<32x1xf32>, tensor<1x1xf32>) -> tensor<32x1x1xf32>
    %b = equivariant.einsum "uij,uv->ui"(%a, %w1) : (tensor<32x1x1xf32>, tensor<32x1xf32>) -> tensor<32x1xf32>
    %c = equivariant.einsum "ui,vj->uij"(%x1, %y0) : (tensor<32x1xf32>, tensor<1x1xf32>) -> tensor<32x1x1xf32>
    %d = equivariant.einsum "uij,uv->ui"(%c, %w0) : (tensor<32x1x1xf32>, tensor<32x1xf32>) -> tensor<32x1xf32>
    %r = equivariant.assemble [32, 96](%b, %d) : (tensor<32x1xf32>, tensor<32x1xf32>) -> tensor<128xf32, #z>
    equivariant.yield %r : tensor<128xf32, #z>
  }
  return %z : tensor<?x128xf32, #z>
}

// Of three that are alike two are instances of one kernel, as was asked for, and one is a kernel of its own.
// CHECK-LABEL: func.func @three(
// CHECK: %[[TWO:.*]] = equivariant.kernel {{.*}}instances = 2
// CHECK: equivariant.assemble [0] also [32](
// CHECK: %[[LAST:.*]] = equivariant.kernel
// CHECK-NOT: instances
// CHECK: equivariant.assemble [64](
// CHECK: equivariant.add %[[TWO]], %[[LAST]]
func.func @three(%g: !equivariant.graph, %x: tensor<?x96xf32, #x3>) -> tensor<?x128xf32, #z> {
  %z = equivariant.kernel over %g : !equivariant.graph ins(%x at senders : tensor<?x96xf32, #x3>) outs(receivers : tensor<?x128xf32, #z>) {
  ^bb0(%xe: tensor<96xf32, #x3>):
    %x0 = equivariant.block %xe[0] : tensor<96xf32, #x3> -> tensor<32x1xf32>
    %x1 = equivariant.block %xe[32] : tensor<96xf32, #x3> -> tensor<32x1xf32>
    %x2 = equivariant.block %xe[64] : tensor<96xf32, #x3> -> tensor<32x1xf32>
    %a = equivariant.einsum "ui->ui"(%x0) : (tensor<32x1xf32>) -> tensor<32x1xf32>
    %b = equivariant.einsum "ui->ui"(%x1) : (tensor<32x1xf32>) -> tensor<32x1xf32>
    %c = equivariant.einsum "ui->ui"(%x2) : (tensor<32x1xf32>) -> tensor<32x1xf32>
    %r = equivariant.assemble [0, 32, 64](%a, %b, %c) : (tensor<32x1xf32>, tensor<32x1xf32>, tensor<32x1xf32>) -> tensor<128xf32, #z>
    equivariant.yield %r : tensor<128xf32, #z>
  }
  return %z : tensor<?x128xf32, #z>
}

// What belongs together may come in any order.
// CHECK-LABEL: func.func @orders(
// CHECK: equivariant.kernel {{.*}}instances = 2
// CHECK: equivariant.assemble [0, 32] also [96, 64](
// CHECK-NOT: equivariant.kernel
// CHECK: return
func.func @orders(%g: !equivariant.graph, %x: tensor<?x64xf32, #x>, %w: tensor<?x64xf32>) -> tensor<?x128xf32, #z> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %w at edge : tensor<?x64xf32, #x>, tensor<?x64xf32>) outs(receivers : tensor<?x128xf32, #z>) {
  ^bb0(%xe: tensor<64xf32, #x>, %we: tensor<64xf32>):
    %x0 = equivariant.block %xe[0] : tensor<64xf32, #x> -> tensor<32x1xf32>
    %x1 = equivariant.block %xe[32] : tensor<64xf32, #x> -> tensor<32x1xf32>
    %w0 = equivariant.block %we[0] : tensor<64xf32> -> tensor<32x1xf32>
    %w1 = equivariant.block %we[32] : tensor<64xf32> -> tensor<32x1xf32>
    %a = equivariant.einsum "ui,uv->ui"(%x0, %w0) : (tensor<32x1xf32>, tensor<32x1xf32>) -> tensor<32x1xf32>
    %b = equivariant.einsum "ui->ui"(%a) : (tensor<32x1xf32>) -> tensor<32x1xf32>
    %c = equivariant.einsum "ui,uv->ui"(%x1, %w1) : (tensor<32x1xf32>, tensor<32x1xf32>) -> tensor<32x1xf32>
    %d = equivariant.einsum "ui->ui"(%c) : (tensor<32x1xf32>) -> tensor<32x1xf32>
    %r = equivariant.assemble [0, 32, 64, 96](%a, %b, %d, %c) : (tensor<32x1xf32>, tensor<32x1xf32>, tensor<32x1xf32>, tensor<32x1xf32>) -> tensor<128xf32, #z>
    equivariant.yield %r : tensor<128xf32, #z>
  }
  return %z : tensor<?x128xf32, #z>
}

// Alike but for a block without channels, which has one place: two kernels.
// CHECK-LABEL: func.func @other_y(
// CHECK-COUNT-2: equivariant.kernel over
// CHECK-NOT: instances
func.func @other_y(%g: !equivariant.graph, %x: tensor<?x64xf32, #x>, %y: tensor<?x2xf32, #y>) -> tensor<?x128xf32, #z> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %y at edge : tensor<?x64xf32, #x>, tensor<?x2xf32, #y>) outs(receivers : tensor<?x128xf32, #z>) {
  ^bb0(%xe: tensor<64xf32, #x>, %ye: tensor<2xf32, #y>):
    %y0 = equivariant.block %ye[0] : tensor<2xf32, #y> -> tensor<1x1xf32>
    %y1 = equivariant.block %ye[1] : tensor<2xf32, #y> -> tensor<1x1xf32>
    %x0 = equivariant.block %xe[0] : tensor<64xf32, #x> -> tensor<32x1xf32>
    %x1 = equivariant.block %xe[32] : tensor<64xf32, #x> -> tensor<32x1xf32>
    %a = equivariant.einsum "ui,vj->ui"(%x0, %y0) : (tensor<32x1xf32>, tensor<1x1xf32>) -> tensor<32x1xf32>
    %b = equivariant.einsum "ui,vj->ui"(%x1, %y1) : (tensor<32x1xf32>, tensor<1x1xf32>) -> tensor<32x1xf32>
    %r = equivariant.assemble [0, 32](%a, %b) : (tensor<32x1xf32>, tensor<32x1xf32>) -> tensor<128xf32, #z>
    equivariant.yield %r : tensor<128xf32, #z>
  }
  return %z : tensor<?x128xf32, #z>
}

// One reads a block of w twice, the other two blocks: each product has its like, but the blocks do not correspond.
// CHECK-LABEL: func.func @not_one_to_one(
// CHECK-COUNT-2: equivariant.kernel over
// CHECK-NOT: instances
func.func @not_one_to_one(%g: !equivariant.graph, %x: tensor<?x64xf32, #x>, %w: tensor<?x96xf32>) -> tensor<?x128xf32, #z> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %w at edge : tensor<?x64xf32, #x>, tensor<?x96xf32>) outs(receivers : tensor<?x128xf32, #z>) {
  ^bb0(%xe: tensor<64xf32, #x>, %we: tensor<96xf32>):
    %x0 = equivariant.block %xe[0] : tensor<64xf32, #x> -> tensor<32x1xf32>
    %x1 = equivariant.block %xe[32] : tensor<64xf32, #x> -> tensor<32x1xf32>
    %w0 = equivariant.block %we[0] : tensor<96xf32> -> tensor<32x1xf32>
    %w1 = equivariant.block %we[32] : tensor<96xf32> -> tensor<32x1xf32>
    %w2 = equivariant.block %we[64] : tensor<96xf32> -> tensor<32x1xf32>
    %a = equivariant.einsum "ui,uv->ui"(%x0, %w0) : (tensor<32x1xf32>, tensor<32x1xf32>) -> tensor<32x1xf32>
    %b = equivariant.einsum "ui,uv->ui"(%a, %w0) : (tensor<32x1xf32>, tensor<32x1xf32>) -> tensor<32x1xf32>
    %c = equivariant.einsum "ui,uv->ui"(%x1, %w1) : (tensor<32x1xf32>, tensor<32x1xf32>) -> tensor<32x1xf32>
    %d = equivariant.einsum "ui,uv->ui"(%c, %w2) : (tensor<32x1xf32>, tensor<32x1xf32>) -> tensor<32x1xf32>
    %r = equivariant.assemble [0, 32, 64, 96](%a, %b, %c, %d) : (tensor<32x1xf32>, tensor<32x1xf32>, tensor<32x1xf32>, tensor<32x1xf32>) -> tensor<128xf32, #z>
    equivariant.yield %r : tensor<128xf32, #z>
  }
  return %z : tensor<?x128xf32, #z>
}

// Two products that one has the sum of, and the other apart.
// CHECK-LABEL: func.func @other_sums(
// CHECK-COUNT-2: equivariant.kernel over
// CHECK-NOT: instances
func.func @other_sums(%g: !equivariant.graph, %x: tensor<?x64xf32, #x>, %w: tensor<?x64xf32>) -> tensor<?x128xf32, #z> {
  %z = equivariant.kernel over %g : !equivariant.graph
      ins(%x at senders, %w at edge : tensor<?x64xf32, #x>, tensor<?x64xf32>) outs(receivers : tensor<?x128xf32, #z>) {
  ^bb0(%xe: tensor<64xf32, #x>, %we: tensor<64xf32>):
    %x0 = equivariant.block %xe[0] : tensor<64xf32, #x> -> tensor<32x1xf32>
    %x1 = equivariant.block %xe[32] : tensor<64xf32, #x> -> tensor<32x1xf32>
    %w0 = equivariant.block %we[0] : tensor<64xf32> -> tensor<32x1xf32>
    %w1 = equivariant.block %we[32] : tensor<64xf32> -> tensor<32x1xf32>
    %a = equivariant.einsum "ui,uv->ui"(%x0, %w0) : (tensor<32x1xf32>, tensor<32x1xf32>) -> tensor<32x1xf32>
    %b = equivariant.einsum "ui,uv->ui"(%a, %w0) : (tensor<32x1xf32>, tensor<32x1xf32>) -> tensor<32x1xf32>
    %c = equivariant.einsum "ui,uv->ui"(%x1, %w1) : (tensor<32x1xf32>, tensor<32x1xf32>) -> tensor<32x1xf32>
    %d = equivariant.einsum "ui,uv->ui"(%c, %w1) : (tensor<32x1xf32>, tensor<32x1xf32>) -> tensor<32x1xf32>
    %r = equivariant.assemble [0, 0, 64, 96](%a, %b, %c, %d) : (tensor<32x1xf32>, tensor<32x1xf32>, tensor<32x1xf32>, tensor<32x1xf32>) -> tensor<128xf32, #z>
    equivariant.yield %r : tensor<128xf32, #z>
  }
  return %z : tensor<?x128xf32, #z>
}
