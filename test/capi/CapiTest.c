/* A C program over libespmm: compiles the dot product 8x1o . 1x1o -> 8x0e as a graph convolution for the host, launches it and its
 * gradient, and compares with loops over the definition. Also: what a caller does wrong is a status and a text. */
#include "espmm-c/espmm.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

static void check(int condition, const char *what) {
  if (condition)
    return;
  fprintf(stderr, "failed: %s (last error: %s)\n", what, espmm_last_error());
  ++failures;
}

static const char *program =
    "#p = #equivariant.product<x = \"8x1o\", y = \"1x1o\", z = \"8x0e\", paths = [uvu(0, 0, 0) * 0.75]>\n"
    "#x = #equivariant.irreps<\"8x1o\", mul_ir>\n"
    "#y = #equivariant.irreps<\"1x1o\", mul_ir>\n"
    "#z = #equivariant.irreps<\"8x0e\", mul_ir>\n"
    "func.func @conv(%g: !equivariant.graph, %x: tensor<?x24xf64, #x>, %y: tensor<?x3xf64, #y>, %w: tensor<?x8xf64>)\n"
    "    -> tensor<?x8xf64, #z> {\n"
    "  %xe = equivariant.gather %x at senders of %g : tensor<?x24xf64, #x> -> tensor<?x24xf64, #x> over !equivariant.graph\n"
    "  %m = equivariant.contract z of #p (x = %xe, y = %y, w = %w)\n"
    "       : (tensor<?x24xf64, #x>, tensor<?x3xf64, #y>, tensor<?x8xf64>) -> tensor<?x8xf64, #z>\n"
    "  %z = equivariant.segment_sum %m at receivers of %g : tensor<?x8xf64, #z> -> tensor<?x8xf64, #z> over !equivariant.graph\n"
    "  return %z : tensor<?x8xf64, #z>\n"
    "}\n";

enum { nodes = 5, edges = 11, channels = 8 };
static const int64_t receivers[edges] = {3, 0, 3, 1, 4, 4, 0, 3, 1, 1, 0};
static const int64_t senders[edges] = {1, 2, 0, 0, 4, 3, 1, 2, 2, 0, 4};

/* No manifest asks for more than 64 bytes. */
static _Alignas(64) double x[nodes * channels * 3], y[edges * 3], w[edges * channels], gz[nodes * channels];
static _Alignas(64) double z[nodes * channels], gw[edges * channels];
static int32_t offsets[nodes + 1], order[edges], other[edges], parts[65];

static void launch(const char *pipeline, void **buffers, size_t count) {
  espmm_executable *exe = NULL;
  const int64_t sizes[3] = {edges, nodes, nodes};
  int64_t bytes = -1;
  check(espmm_compile(program, pipeline, &exe) == ESPMM_OK, "espmm_compile");
  if (!exe)
    return;
  check(strstr(espmm_executable_manifest(exe), "\"target\"") != NULL, "the manifest names the target");
  check(espmm_executable_load(exe, -1) == ESPMM_OK, "espmm_executable_load");
  check(espmm_executable_scratch(exe, sizes, &bytes) == ESPMM_OK && bytes >= 0, "espmm_executable_scratch");
  void *scratch = malloc((size_t)bytes + 1);
  check(espmm_launch(exe, -1, NULL, sizes, buffers, count, scratch, bytes) == ESPMM_OK, "espmm_launch");
  check(espmm_launch(exe, -1, NULL, sizes, buffers, count - 1, scratch, bytes) == ESPMM_INVALID, "a buffer too few");
  char *code = NULL;
  check(espmm_executable_code(exe, "assembly", &code) == ESPMM_OK && strlen(code) > 100, "the assembly");
  espmm_free(code);
  free(scratch);
  espmm_executable_release(exe);
}

/* A program by its string: what it takes and gives, and its launch as the gradient of the weights. */
static void check_program(void) {
  const char *header = "// espmm-program {\"version\":1,\"space\":\"graph\",\"arguments\":[[\"x\",\"float64\",\"senders\",24],[\"y\",\"float64\","
                       "\"edges\",3],[\"w\",\"float64\",\"edges\",8]],\"results\":[[\"z\",\"float64\",\"receivers\",8]],\"terms\":[[[0,1,2]]],"
                       "\"steps\":[[[2],[0]]],\"deterministic\":false,\"schedule\":{}}";
  char text[4096];
  snprintf(text, sizeof text, "%s%s", program, header);
  espmm_executable *exe = NULL;
  check(espmm_program_load(text, -1, &exe) == ESPMM_OK, "espmm_program_load");
  if (!exe)
    return;
  espmm_signature signature;
  espmm_tensor tensor;
  espmm_rows side;
  espmm_plan_array array;
  check(espmm_executable_signature(exe, &signature) == ESPMM_OK && signature.graph && signature.arguments == 4 && signature.plan_arrays == 4 &&
            signature.results == 1,
        "espmm_executable_signature");
  check(espmm_executable_argument(exe, 3, &tensor) == ESPMM_OK && !strcmp(tensor.name, "gz") && !strcmp(tensor.dtype, "f64") &&
            tensor.rows == ESPMM_RECEIVERS && tensor.width == 8 && tensor.used,
        "the cotangent");
  check(espmm_executable_argument(exe, 2, &tensor) == ESPMM_OK && !strcmp(tensor.name, "w") && !tensor.used, "the weights are not used");
  check(espmm_executable_result(exe, 0, &tensor) == ESPMM_OK && tensor.rows == ESPMM_EDGES && tensor.width == 8, "the result");
  check(espmm_executable_result(exe, 1, &tensor) == ESPMM_INVALID, "there is one result");
  check(espmm_executable_plan(exe, 2, &side, &array) == ESPMM_OK && side == ESPMM_RECEIVERS && array == ESPMM_OTHER, "a plan array");
  check(espmm_executable_plan(exe, 4, &side, &array) == ESPMM_INVALID, "there are four plan arrays");
  espmm_executable_release(exe);

  check(espmm_program_load(program, -1, &exe) == ESPMM_INVALID && strstr(espmm_last_error(), "expected a serialised program"), "no header");
  text[strlen(program) + strlen("// espmm-program ")] = '[';
  check(espmm_program_load(text, -1, &exe) == ESPMM_INVALID, "a header that is not JSON");
  check(espmm_program_load(text, 99, &exe) != ESPMM_OK, "no such device");

  espmm_follow_num_threads(3);
  check(espmm_get_num_threads() == 3, "the number that another has");
  espmm_set_num_threads(2);
  espmm_follow_num_threads(5);
  check(espmm_get_num_threads() == 2, "what is set stays");
}

int main(void) {
  srand(7);
  double *inputs[] = {x, y, w, gz};
  const size_t counts[] = {nodes * channels * 3, edges * 3, edges * channels, nodes * channels};
  for (int i = 0; i < 4; ++i)
    for (size_t n = 0; n < counts[i]; ++n)
      inputs[i][n] = rand() / (double)RAND_MAX - 0.5;

  int sorted = -1;
  int64_t bad = -1;
  check(espmm_plan_build(receivers, senders, 64, edges, nodes, nodes, offsets, order, other, parts, &sorted, &bad) == ESPMM_OK,
        "espmm_plan_build");
  check(sorted == 0, "these edges are not sorted");

  /* (1o x 1o -> 0e) is the dot product over sqrt(3). */
  double expected[nodes * channels] = {0}, expected_gw[edges * channels];
  for (int e = 0; e < edges; ++e)
    for (int u = 0; u < channels; ++u) {
      double dot = 0;
      for (int i = 0; i < 3; ++i)
        dot += x[(senders[e] * channels + u) * 3 + i] * y[e * 3 + i];
      dot *= 0.75 / sqrt(3.0);
      expected[receivers[e] * channels + u] += w[e * channels + u] * dot;
      expected_gw[e * channels + u] = gz[receivers[e] * channels + u] * dot;
    }

  void *forward[] = {x, y, w, offsets, order, other, parts, z};
  memset(z, 0xff, sizeof z);
  launch("equivariant-to-cpu", forward, 8);
  for (int n = 0; n < nodes * channels; ++n)
    check(fabs(z[n] - expected[n]) < 1e-14, "the convolution");

  void *backward[] = {x, y, NULL, gz, offsets, order, other, parts, gw};
  memset(gw, 0xff, sizeof gw);
  launch("equivariant-differentiate{wrt=3 cotangents=0},equivariant-to-cpu", backward, 9);
  for (int n = 0; n < edges * channels; ++n)
    check(fabs(gw[n] - expected_gw[n]) < 1e-14, "the gradient of the weights");

  check_program();

  espmm_executable *exe = NULL;
  check(espmm_compile("func.func @f(", "equivariant-to-cpu", &exe) == ESPMM_INVALID && strstr(espmm_last_error(), "line 1"),
        "a program that does not parse");
  check(espmm_compile(program, "no-such-pass", &exe) == ESPMM_INVALID, "an unknown pipeline");
  check(espmm_compile(NULL, "equivariant-to-cpu", &exe) == ESPMM_INVALID, "a null program");
  const int64_t outside[edges] = {0, 1, 2, 9};
  check(espmm_plan_build(outside, senders, 64, 4, nodes, nodes, offsets, order, other, parts, &sorted, &bad) == ESPMM_OUT_OF_RANGE &&
            bad == 3,
        "an index out of range names its edge");
  double cg[9];
  check(espmm_clebsch_gordan(1, 1, 0, cg) == ESPMM_OK && fabs(cg[0] - 1 / sqrt(3.0)) < 1e-15, "Clebsch-Gordan coefficients");
  check(espmm_clebsch_gordan(1, 1, 3, cg) == ESPMM_INVALID, "no coefficients for (1, 1, 3)");
  if (failures == 0)
    puts("all checks of the C interface passed");
  return failures != 0;
}
