//===- RuntimeTestPtx.h - two kernels for the tests of CUDA --------------===//
#ifndef ESPMM_TEST_UNIT_RUNTIMETESTPTX_H
#define ESPMM_TEST_UNIT_RUNTIMETESTPTX_H

// scale_add(x, z, n, k): z[i] += k * x[i], a thread for each i.
// reverse_block(x, z, n): a block reverses n floats through dynamic shared memory, of which it uses the far end.
static const char *const testPtx = R"(.version 7.0
.target sm_80
.address_size 64

.visible .entry scale_add(
    .param .u64 scale_add_x, .param .u64 scale_add_z, .param .u64 scale_add_n, .param .u64 scale_add_k)
{
  .reg .pred %p<2>;
  .reg .b32 %r<4>;
  .reg .b64 %rd<10>;
  .reg .f32 %f<5>;
  ld.param.u64 %rd1, [scale_add_x];
  ld.param.u64 %rd2, [scale_add_z];
  ld.param.u64 %rd3, [scale_add_n];
  ld.param.u64 %rd4, [scale_add_k];
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %ntid.x;
  mov.u32 %r3, %tid.x;
  cvt.u64.u32 %rd5, %r3;
  mad.wide.u32 %rd6, %r1, %r2, %rd5;
  setp.ge.s64 %p1, %rd6, %rd3;
  @%p1 bra scale_add_done;
  shl.b64 %rd7, %rd6, 2;
  add.s64 %rd8, %rd1, %rd7;
  add.s64 %rd9, %rd2, %rd7;
  ld.global.f32 %f1, [%rd8];
  ld.global.f32 %f2, [%rd9];
  cvt.rn.f32.s64 %f3, %rd4;
  fma.rn.f32 %f4, %f1, %f3, %f2;
  st.global.f32 [%rd9], %f4;
scale_add_done:
  ret;
}

.extern .shared .align 16 .b8 reverse_block_shared[];

.visible .entry reverse_block(
    .param .u64 reverse_block_x, .param .u64 reverse_block_z, .param .u64 reverse_block_n)
{
  .reg .pred %p<2>;
  .reg .b32 %r<8>;
  .reg .b64 %rd<9>;
  .reg .f32 %f<3>;
  ld.param.u64 %rd1, [reverse_block_x];
  ld.param.u64 %rd2, [reverse_block_z];
  ld.param.u64 %rd3, [reverse_block_n];
  cvt.u32.u64 %r1, %rd3;
  mov.u32 %r2, %tid.x;
  setp.ge.u32 %p1, %r2, %r1;
  mov.u32 %r3, reverse_block_shared;
  mov.u32 %r4, %dynamic_smem_size;
  shl.b32 %r5, %r1, 2;
  sub.u32 %r4, %r4, %r5;
  add.u32 %r3, %r3, %r4;
  @%p1 bra reverse_block_wait;
  mul.wide.u32 %rd4, %r2, 4;
  add.s64 %rd5, %rd1, %rd4;
  ld.global.f32 %f1, [%rd5];
  shl.b32 %r6, %r2, 2;
  add.u32 %r6, %r3, %r6;
  st.shared.f32 [%r6], %f1;
reverse_block_wait:
  bar.sync 0;
  @%p1 bra reverse_block_done;
  sub.u32 %r7, %r1, %r2;
  sub.u32 %r7, %r7, 1;
  shl.b32 %r7, %r7, 2;
  add.u32 %r7, %r3, %r7;
  ld.shared.f32 %f2, [%r7];
  add.s64 %rd6, %rd2, %rd4;
  st.global.f32 [%rd6], %f2;
reverse_block_done:
  ret;
}
)";

#endif
