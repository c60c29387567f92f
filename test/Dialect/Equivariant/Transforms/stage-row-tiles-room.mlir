// RUN: espmm-opt %s --pass-pipeline='builtin.module(equivariant-differentiate{wrt=1,2,3 cotangents=0},equivariant-differentiate{wrt=1,2,3,4 cotangents=0,1,2},equivariant-to-gpu{chip=sm_90 until=staged})' | FileCheck %s --check-prefixes=ROOM,CHECK
// RUN: espmm-opt %s --pass-pipeline='builtin.module(equivariant-differentiate{wrt=1,2,3 cotangents=0},equivariant-differentiate{wrt=1,2,3,4 cotangents=0,1,2},equivariant-to-gpu{chip=sm_90 warps=16 stages=2 until=staged})' | FileCheck %s --check-prefixes=LEAST,CHECK

// The second derivative of a product of single channels: nearly every operation is one warp's, and they wait for each other. Rows leave no room for a second
// block on a multiprocessor, so that buffers may take what is left: by less waiting, and all warps that there may be.
// ROOM: equivariant.launch @tp_vjp_vjp_0 grid({{.*}}) block [32, 16, 1] shared 164736(
// LEAST: equivariant.launch @tp_vjp_vjp_0 grid({{.*}}) block [32, 16, 1] shared 129344(
// CHECK-LABEL: llvm.func @tp_vjp_vjp_0
// ROOM-COUNT-9: nvvm.barrier
// LEAST-COUNT-37: nvvm.barrier
// CHECK-NOT: nvvm.barrier
// CHECK-LABEL: llvm.func @tp_vjp_vjp_1_sum
#irreps = #equivariant.irreps<"1x0e+1x1o+1x2e+1x3o", mul_ir>
#irreps1 = #equivariant.irreps<"64x0e+24x1e+24x1o+16x2e+16x2o", mul_ir>
#product = #equivariant.product<x = "1x0e+1x1o+1x2e+1x3o", y = "1x0e+1x1o+1x2e+1x3o", z = "64x0e+24x1e+24x1o+16x2e+16x2o", paths = [uvw(0, 0, 0) * 0.5, uvw(0, 1, 2) * 0.7071067811865476, uvw(0, 2, 3) * 0.8451542547285166, uvw(1, 0, 2) * 0.7071067811865476, uvw(1, 1, 0) * 0.5, uvw(1, 1, 1) * 1.0, uvw(1, 1, 3) * 0.8451542547285166, uvw(1, 2, 2) * 0.7071067811865476, uvw(1, 2, 4) * 1.118033988749895, uvw(1, 3, 3) * 0.8451542547285166, uvw(2, 0, 3) * 0.8451542547285166, uvw(2, 1, 2) * 0.7071067811865476, uvw(2, 1, 4) * 1.118033988749895, uvw(2, 2, 0) * 0.5, uvw(2, 2, 1) * 1.0, uvw(2, 2, 3) * 0.8451542547285166, uvw(2, 3, 2) * 0.7071067811865476, uvw(2, 3, 4) * 1.118033988749895, uvw(3, 1, 3) * 0.8451542547285166, uvw(3, 2, 2) * 0.7071067811865476, uvw(3, 2, 4) * 1.118033988749895, uvw(3, 3, 0) * 0.5, uvw(3, 3, 1) * 1.0, uvw(3, 3, 3) * 0.8451542547285166]>
func.func @tp(%arg0: !equivariant.rows, %arg1: tensor<?x16xf32, #irreps>, %arg2: tensor<?x16xf32, #irreps>, %arg3: tensor<1x648xf32>) -> tensor<?x368xf32, #irreps1> {
  %0 = equivariant.gather %arg3 at all of %arg0 : tensor<1x648xf32> -> tensor<?x648xf32> over !equivariant.rows
  %1 = equivariant.contract z of #product (x = %arg1, y = %arg2, w = %0) : (tensor<?x16xf32, #irreps>, tensor<?x16xf32, #irreps>, tensor<?x648xf32>) -> tensor<?x368xf32, #irreps1>
  return %1 : tensor<?x368xf32, #irreps1>
}
