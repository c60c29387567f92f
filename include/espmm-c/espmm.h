/* The C interface of libespmm: compile a program, launch it, ask about it.
 *
 * Every function that can fail returns an espmm_status; the text of the calling thread's last error is
 * espmm_last_error(). All functions may be called from any thread. Executables are immutable.
 */
#ifndef ESPMM_C_ESPMM_H
#define ESPMM_C_ESPMM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define ESPMM_EXPORT
#else
#define ESPMM_EXPORT __attribute__((visibility("default")))
#endif

typedef enum espmm_status {
  ESPMM_OK = 0,
  ESPMM_INVALID = 1,     /* the caller's argument is wrong: unparsable IR, unknown target, wrong sizes */
  ESPMM_UNSUPPORTED = 2, /* well-formed, but not lowered on this target yet */
  ESPMM_NO_DEVICE = 3,   /* no libcuda, no such device */
  ESPMM_OUT_OF_RANGE = 4,/* an index outside its range; see espmm_plan_build */
  ESPMM_INTERNAL = 5     /* a failure of ours, the driver's or the system's */
} espmm_status;

typedef struct espmm_executable espmm_executable;

/* "0.1.0"; and the LLVM version it was built with. */
ESPMM_EXPORT const char *espmm_version(void);
ESPMM_EXPORT const char *espmm_llvm_version(void);
ESPMM_EXPORT const char *espmm_last_error(void);
ESPMM_EXPORT void espmm_free(char *text);

/* Runs a pass pipeline (as espmm-opt's --pass-pipeline, without the outer builtin.module(...)) over a
 * module and gives the module after it as text. */
ESPMM_EXPORT espmm_status espmm_opt(const char *ir, const char *pipeline, char **out);

/* Compiles a level-0 module. `pipeline` as in docs/Architecture.md, section 2; it names the target. Looks in the
 * memory and disk caches first. The executable is owned by the caller (reference counted inside). */
ESPMM_EXPORT espmm_status espmm_compile(const char *ir, const char *pipeline, espmm_executable **out);
ESPMM_EXPORT void espmm_executable_release(espmm_executable *exe);

/* The manifest (docs/Architecture.md, section 3), valid as long as the executable. */
ESPMM_EXPORT const char *espmm_executable_manifest(const espmm_executable *exe);
/* kind: "ptx" for CUDA, "assembly" for the CPU, "llvmir" for both; "sass_info" is what ptxas,
 * where there is one, says of each kernel: a JSON list of objects with "name", "registers", "spill_store_bytes", "spill_load_bytes",
 * "stack_bytes", "static_shared_bytes" and "code_bytes" (an instruction has 16). */
ESPMM_EXPORT espmm_status espmm_executable_code(const espmm_executable *exe, const char *kind, char **out);

/* Gets ready to run on `device` (-1: the host): links host code, or loads the cubin into the device's primary context. Done
 * by the first launch if not before. */
ESPMM_EXPORT espmm_status espmm_executable_load(espmm_executable *exe, int device);
/* What the kernels take of a CUDA device, as its driver says; loads them if they are not: a JSON list of objects with "name", "registers" and "local_bytes" of a
 * thread, and "static_shared_bytes" of a block. */
ESPMM_EXPORT espmm_status espmm_executable_use(espmm_executable *exe, int device, char **out);

/* Compiles a program in the canonical form in which espmm's Python writes it (docs/Architecture.md, section 6) for `device`, and loads it
 * there; with the schedule that espmm.tune kept for it, and with smaller schedules where the compiler's choice does not fit the device.
 * ESPMM_UNSUPPORTED on a GPU before compute capability 8.0. */
ESPMM_EXPORT espmm_status espmm_program_load(const char *program, int device, espmm_executable **out);

/* The program of the gradients that a backward pass asks for, as a string. `needs` says of each argument whether its gradient is wanted, `present` of each
 * result whether it has a cotangent; both are reduced to what the program has to do with: an argument on which none of these results
 * depends is left out, and a result that depends on none of these arguments. The program takes this program's arguments, then the
 * cotangents of the results that are left, and gives the gradients of the arguments that are left. *out is null if none is. *num_arguments
 * is the length of `needs`, at least the number of the program's arguments, which it becomes. */
ESPMM_EXPORT espmm_status espmm_program_gradient(const char *program, int *needs, size_t *num_arguments, int *present, size_t num_results,
                                                 char **out);

/* What a program takes and gives, as its manifest says. */
typedef enum espmm_rows { ESPMM_EDGES = 0, ESPMM_RECEIVERS = 1, ESPMM_SENDERS = 2, ESPMM_ALL = 3 } espmm_rows;
typedef enum espmm_plan_array {
  ESPMM_OFFSETS = 0,
  ESPMM_ORDER = 1, /* may be null: the edges are sorted */
  ESPMM_OTHER = 2,
  ESPMM_PARTS = 3,
  ESPMM_NODES = 4 /* may be null: a segment is a node */
} espmm_plan_array;
typedef struct espmm_tensor {
  const char *name;  /* of an argument, valid as long as the executable; "" for a result */
  const char *dtype; /* "f32", "f64", "bf16" or "f16" */
  espmm_rows rows;   /* how many rows: E, R, S or one */
  int64_t width;
  int64_t align;     /* what its address has to be a multiple of, in bytes */
  int used;          /* 0: a launch may leave it null */
} espmm_tensor;
typedef struct espmm_signature {
  int graph; /* 1: a convolution; 0: the rows of a batch, and no plan */
  size_t arguments, plan_arrays, results;
} espmm_signature;
ESPMM_EXPORT espmm_status espmm_executable_signature(const espmm_executable *exe, espmm_signature *signature);
ESPMM_EXPORT espmm_status espmm_executable_argument(const espmm_executable *exe, size_t i, espmm_tensor *tensor);
ESPMM_EXPORT espmm_status espmm_executable_result(const espmm_executable *exe, size_t i, espmm_tensor *tensor);
ESPMM_EXPORT espmm_status espmm_executable_plan(const espmm_executable *exe, size_t i, espmm_rows *side, espmm_plan_array *array);

/* Bytes of scratch a launch needs for sizes = {E, R, S}. */
ESPMM_EXPORT espmm_status espmm_executable_scratch(const espmm_executable *exe, const int64_t sizes[3], int64_t *bytes);

/* Runs the program. buffers: the manifest's arguments, then its plan arrays, then its results, as data
 * pointers (an argument that is not used may be null). Arguments and results lie at multiples of the manifest's "align" bytes, which is
 * at most 64, or of their elements' size if it has none. device -1 runs on the host, and returns when done; a CUDA
 * device launches on `stream` (a CUstream) of its primary context and returns at once. Allocates nothing. */
ESPMM_EXPORT espmm_status espmm_launch(espmm_executable *exe, int device, void *stream, const int64_t sizes[3],
                                       void *const *buffers, size_t num_buffers, void *scratch, int64_t scratch_bytes);

/* Builds one side of a plan on the host. index, other: E indices of index_bits (32 or 64) bits. offsets has
 * num_nodes + 1 elements, order and other_out E, parts 65. *sorted is set to 1, and order left untouched, if the edges are sorted by
 * index already. An index outside [0, num_nodes), or of other outside [0, num_other), is ESPMM_OUT_OF_RANGE and *bad_edge names the first. */
ESPMM_EXPORT espmm_status espmm_plan_build(const void *index, const void *other, int index_bits, int64_t num_edges,
                                           int64_t num_nodes, int64_t num_other, int32_t *offsets, int32_t *order,
                                           int32_t *other_out, int32_t *parts, int *sorted, int64_t *bad_edge);

/* Threads for host kernels (default: the hardware's, or torch's where it is torch that launches). */
ESPMM_EXPORT void espmm_set_num_threads(int threads);
ESPMM_EXPORT int espmm_get_num_threads(void);
/* The same as espmm_set_num_threads, unless that was called before: for frameworks, whose own number host kernels go by. */
ESPMM_EXPORT void espmm_follow_num_threads(int threads);

/* JSON: version, llvm, host cpu and vector width, CUDA driver and devices (or why there are none), ptxas, cache folder and
 * state, with what this process has found there and what it had to make. */
ESPMM_EXPORT espmm_status espmm_info(char **out);

/* The disk cache (docs/DiskCache.md) as JSON: "folder" (null if it is off), "limit_bytes", and "entries", each read and checked: "name",
 * "bytes", "used" (seconds since 1970, to the minute), and either "problem", why it would not be used, or "kind" ("program" or "cubin"), "target", "kernels"
 * and, of a program, "product". ESPMM_INVALID if the folder is not this user's alone. */
ESPMM_EXPORT espmm_status espmm_cache_list(char **out);
/* Removes all compiled code from it; gives how many files. Processes that run keep what they have loaded. */
ESPMM_EXPORT espmm_status espmm_cache_clear(int *removed);

/* real Clebsch-Gordan tensor (e3nn's wigner_3j), row-major [2 l1 + 1][2 l2 + 1][2 l3 + 1] doubles. */
ESPMM_EXPORT espmm_status espmm_clebsch_gordan(int l1, int l2, int l3, double *out);

#ifdef __cplusplus
}
#endif
#endif
