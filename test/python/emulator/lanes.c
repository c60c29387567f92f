// Runs a device kernel on the host, a thread after another: each is a coroutine that goes on until it waits for the others.
//
// What a kernel calls of a GPU is here under the name that gpu_emulator.py gives it. Shared memory begins as NaN; an asynchronous copy arrives when its group is waited for,
// and not before.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { LANES = 32, MAX_THREADS = 1024, STACK = 1 << 16, MAX_COPIES = 4096 };

typedef struct { int waiting, generation; } Barrier;
typedef struct { char *to; const char *from; int bytes, valid, group; } Copy;
typedef struct {
  ucontext_t context;
  int x, y, done, waited, groups, copies;
  Copy queue[MAX_COPIES];
} Thread;

_Alignas(16) char espmm_shared[1 << 18];
static Thread threads[MAX_THREADS];
static ucontext_t scheduler;
static Barrier warps[LANES], whole;
static uint64_t exchange[MAX_THREADS];
static int count, current, block_x;
static void (*entry)(void **);
static void **arguments;
typedef int Launch(void (*kernel)(void **), void **words, int64_t grid, int width, int rows);
static struct { Launch *launch; void (*kernel)(void **); void **words; int64_t grid; int width, rows; } before;
static int overlaps, unwaited;

static void yield(void) { swapcontext(&threads[current].context, &scheduler); }

static void wait_at(Barrier *barrier, int members) {
  int generation = barrier->generation;
  if (++barrier->waiting == members) {
    barrier->waiting = 0;
    ++barrier->generation;
    return;
  }
  while (barrier->generation == generation)
    yield();
}

int32_t emu_tid_x(void) { return threads[current].x; }
int32_t emu_tid_y(void) { return threads[current].y; }
int32_t emu_ctaid_x(void) { return block_x; }
void emu_bar_warp(int32_t mask) {
  if (mask != -1) {
    fprintf(stderr, "a barrier of some lanes\n");
    abort();
  }
  wait_at(&warps[current / LANES], LANES);
}
void emu_bar_block(int32_t barrier) { wait_at(&whole, count); }

static uint64_t shuffle(uint64_t value, int from) {
  int first = current / LANES * LANES;
  exchange[current] = value;
  wait_at(&warps[current / LANES], LANES);
  uint64_t result = exchange[first + from];
  wait_at(&warps[current / LANES], LANES);
  return result;
}
int32_t emu_shfl_idx_i32(int32_t mask, int32_t value, int32_t lane, int32_t clamp) { return (int32_t)shuffle((uint32_t)value, lane & 31); }
int32_t emu_shfl_bfly_i32(int32_t mask, int32_t value, int32_t bits, int32_t clamp) {
  return (int32_t)shuffle((uint32_t)value, current % LANES ^ bits);
}
float emu_shfl_bfly_f32(int32_t mask, float value, int32_t bits, int32_t clamp) {
  uint32_t word;
  memcpy(&word, &value, 4);
  word = (uint32_t)shuffle(word, current % LANES ^ bits);
  memcpy(&value, &word, 4);
  return value;
}

/// Rounded to a mantissa of 10 bits, ties away from zero.
int32_t emu_f2tf32(float value) {
  uint32_t word;
  memcpy(&word, &value, 4);
  return (int32_t)((word + 0x1000) & 0xffffe000);
}

/// sums += left x right: each lane's fragments of matrices of doubles, 8 x 4, 4 x 8 and 8 x 8, or of tf32, 16 x 8, 8 x 8 and 16 x 8 (or half as
/// deep), of whose words the units see the upper 19 bits.
void emu_mma(const void *left, const void *right, void *sums, int32_t is_double, int32_t halves) {
  static double all_left[LANES][LANES][4], all_right[LANES][LANES][2];
  int warp = current / LANES, lane = current % LANES, b = lane / 4, a = lane % 4, parts = is_double ? 1 : 2;
  for (int n = 0; n < halves * parts; ++n) {
    uint32_t word = is_double ? 0 : ((const uint32_t *)left)[n] & 0xffffe000;
    float number;
    memcpy(&number, &word, 4);
    all_left[warp][lane][n] = is_double ? ((const double *)left)[n] : number;
  }
  for (int n = 0; n < halves; ++n) {
    uint32_t word = is_double ? 0 : ((const uint32_t *)right)[n] & 0xffffe000;
    float number;
    memcpy(&number, &word, 4);
    all_right[warp][lane][n] = is_double ? ((const double *)right)[n] : number;
  }
  wait_at(&warps[warp], LANES);
  for (int m = 0; m < parts; ++m)
    for (int column = 2 * a; column < 2 * a + 2; ++column) {
      double sum = 0;
      for (int k = 0; k < 4 * halves; ++k)
        sum += all_left[warp][4 * b + k % 4][k / 4 * parts + m] * all_right[warp][4 * column + k % 4][k / 4];
      int n = 2 * m + column - 2 * a;
      if (is_double)
        ((double *)sums)[n] += sum;
      else
        ((float *)sums)[n] = (float)(((float *)sums)[n] + sum);
    }
  wait_at(&warps[warp], LANES);
}

void emu_copy(char *to, const char *from, int32_t bytes, int32_t valid) {
  Thread *thread = &threads[current];
  if (thread->copies == MAX_COPIES || (uintptr_t)to % bytes || (valid && (uintptr_t)from % bytes)) {
    fprintf(stderr, "an asynchronous copy that is misaligned, or one too many\n");
    abort();
  }
  thread->queue[thread->copies++] = (Copy){to, from, bytes, valid, thread->groups};
}
void emu_commit(void) { ++threads[current].groups; }
void emu_wait(int32_t pending) {
  Thread *thread = &threads[current];
  int kept = 0;
  for (int n = 0; n < thread->copies; ++n) {
    Copy *copy = &thread->queue[n];
    if (copy->group >= thread->groups - pending) {
      thread->queue[kept++] = *copy;
      continue;
    }
    memset(copy->to, 0, copy->bytes);
    memcpy(copy->to, copy->from, copy->valid);
  }
  thread->copies = kept;
}

void emu_launch_dependents(void) {}
/// What is launched next overlaps this launch, by another copy of this library, which is run when the first thread waits for it.
void emu_overlap(Launch *launch, void (*kernel)(void **), void **words, int64_t grid, int width, int rows) {
  before.launch = launch, before.kernel = kernel, before.words = words, before.grid = grid, before.width = width, before.rows = rows;
}
void emu_wait_for_grid(void) {
  Launch *launch = before.launch;
  before.launch = 0;
  threads[current].waited = 1;
  if (launch && launch(before.kernel, before.words, before.grid, before.width, before.rows))
    abort();
}

static void start(void) {
  entry(arguments);
  unwaited += overlaps && !threads[current].waited;
  threads[current].done = 1;
  swapcontext(&threads[current].context, &scheduler);
}

/// One launch of grid blocks of (width, rows) threads. Returns 0; 1 if threads wait for others that have ended; 2 if some have ended without waiting for
/// the launch that this one overlaps.
int emu_launch(void (*kernel)(void **), void **words, int64_t grid, int width, int rows) {
  static char *stacks;
  if (!stacks)
    stacks = malloc((size_t)MAX_THREADS * STACK);
  entry = kernel;
  arguments = words;
  overlaps = before.launch != 0, unwaited = 0;
  count = width * rows;
  for (int64_t block = 0; block < grid; ++block) {
    block_x = (int)block;
    memset(espmm_shared, 0xff, sizeof espmm_shared);
    memset(warps, 0, sizeof warps);
    memset(&whole, 0, sizeof whole);
    for (int t = 0; t < count; ++t) {
      Thread *thread = &threads[t];
      thread->x = t % width, thread->y = t / width;
      thread->done = thread->waited = thread->groups = thread->copies = 0;
      getcontext(&thread->context);
      thread->context.uc_stack.ss_sp = stacks + (size_t)t * STACK;
      thread->context.uc_stack.ss_size = STACK;
      thread->context.uc_link = &scheduler;
      makecontext(&thread->context, start, 0);
    }
    for (int left = count, idle = 0; left; ) {
      int before = left, generations = whole.generation;
      for (int w = 0; w * LANES < count; ++w)
        generations += warps[w].generation;
      for (current = 0; current < count; ++current) {
        if (threads[current].done)
          continue;
        swapcontext(&scheduler, &threads[current].context);
        left -= threads[current].done;
      }
      int after = whole.generation;
      for (int w = 0; w * LANES < count; ++w)
        after += warps[w].generation;
      idle = left == before && after == generations ? idle + 1 : 0;
      if (idle > 2)
        return 1;
    }
  }
  return unwaited ? 2 : 0;
}

// Stores that pass the caches by, and additions to memory, of several numbers at once.
#define VECTOR(type, name)                                                                                                                  \
  void emu_store_1_##name(type *to, type a) { to[0] = a; }                                                                                  \
  void emu_store_2_##name(type *to, type a, type b) { to[0] = a, to[1] = b; }                                                               \
  void emu_store_4_##name(type *to, type a, type b, type c, type d) { to[0] = a, to[1] = b, to[2] = c, to[3] = d; }                         \
  void emu_add_1_##name(type *to, type a) { to[0] += a; }                                                                                   \
  void emu_add_2_##name(type *to, type a, type b) { to[0] += a, to[1] += b; }                                                               \
  void emu_add_4_##name(type *to, type a, type b, type c, type d) { to[0] += a, to[1] += b, to[2] += c, to[3] += d; }
VECTOR(float, f32)
VECTOR(double, f64)
#undef VECTOR

void emu_store_1_b16(uint16_t *to, uint16_t a) { to[0] = a; }
void emu_store_1_b32(uint32_t *to, uint32_t a) { to[0] = a; }
void emu_store_2_b32(uint32_t *to, uint32_t a, uint32_t b) { to[0] = a, to[1] = b; }

/// What the host's compiler calls for `cvt.rn.bf16.f32`, which not every host's library has: to the nearest, of two to the even one; what is no
/// number to one pattern. It returns a __bf16, which lies where the lower half of a float does.
float __truncsfbf2(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  bits = value != value ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  memcpy(&value, &bits, 4);
  return value;
}
