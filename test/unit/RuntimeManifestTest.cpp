//===- RuntimeManifestTest.cpp - manifests and expressions ---------------===//
#include "RuntimeTest.h"
#include <cstdint>
#include <limits>

using namespace espmm;

static llvm::Expected<Expression> parseExpression(const std::string &text) {
  return Expression::parse(llvm::cantFail(llvm::json::parse(text)), "here");
}

static int64_t evaluate(const std::string &text, Sizes sizes) {
  return llvm::cantFail(llvm::cantFail(parseExpression(text)).evaluate(sizes));
}

static std::string evaluationError(const std::string &text, Sizes sizes) {
  return test::textOf(llvm::cantFail(parseExpression(text)).evaluate(sizes));
}

void testExpressions() {
  Sizes sizes{10, 4, 3};
  CHECK_EQUAL(evaluate("17", sizes), 17);
  CHECK_EQUAL(evaluate("\"E\"", sizes), 10);
  CHECK_EQUAL(evaluate("\"R\"", sizes), 4);
  CHECK_EQUAL(evaluate("\"S\"", sizes), 3);
  CHECK_EQUAL(evaluate(R"(["+", "E", ["*", "R", ["-", "S", 8]]])", sizes), 10 + 4 * (3 - 8));
  CHECK_EQUAL(evaluate(R"(["ceildiv", "E", 4])", sizes), 3);
  CHECK_EQUAL(evaluate(R"(["ceildiv", 12, 4])", sizes), 3);
  CHECK_EQUAL(evaluate(R"(["ceildiv", 0, 4])", sizes), 0);
  CHECK_EQUAL(evaluate(R"(["ceildiv", -7, 4])", sizes), -1);
  CHECK_EQUAL(evaluate(R"(["min", "E", "R"])", sizes), 4);
  CHECK_EQUAL(evaluate(R"(["max", ["min", "E", "R"], "S"])", sizes), 4);
  CHECK_EQUAL(llvm::cantFail(parseExpression(R"(["ceildiv", ["*", "E", ["-", "S", 1]], 32])")).str(),
              "ceildiv((E * (S - 1)), 32)");
  CHECK_EQUAL(*llvm::cantFail(parseExpression(R"(["*", 6, 7])")).constant(), 42);
  CHECK(!llvm::cantFail(parseExpression(R"(["*", 0, "E"])")).constant());

  // What int64 can't hold.
  int64_t most = std::numeric_limits<int64_t>::max();
  CHECK_EQUAL(evaluate(R"(["+", "E", 0])", {most, 0, 0}), most);
  CHECK_CONTAINS(evaluationError(R"(["+", "E", 1])", {most, 0, 0}), "(E + 1) does not fit in 64 bits");
  CHECK_CONTAINS(evaluationError(R"(["*", "E", "E"])", {int64_t(1) << 32, 0, 0}), "E = 4294967296");
  CHECK_CONTAINS(evaluationError(R"(["-", ["-", 0, "E"], 2])", {most, 0, 0}), "does not fit");
  CHECK_CONTAINS(evaluationError(R"(["ceildiv", "E", "R"])", {1, 0, 0}), "divides by zero");

  CHECK_CONTAINS(test::textOf(parseExpression("\"N\"")), "here: expected one of the symbols E, R, S, got \"N\"");
  CHECK_CONTAINS(test::textOf(parseExpression("1.5")), "here: expected an expression");
  CHECK_CONTAINS(test::textOf(parseExpression("18446744073709551615")), "here: expected an expression");
  CHECK_CONTAINS(test::textOf(parseExpression("{}")), "here: expected an expression");
  CHECK_CONTAINS(test::textOf(parseExpression("[]")), "here: expected [operator, a, b], got []");
  CHECK_CONTAINS(test::textOf(parseExpression(R"(["+", 1])")), "here: expected [operator, a, b]");
  CHECK_CONTAINS(test::textOf(parseExpression(R"(["/", 1, 2])")), "here[0]: expected one of the operators");
  CHECK_CONTAINS(test::textOf(parseExpression(R"(["+", 1, ["*", "Q", 2]])")), "here[2][1]: expected one of");

  // As deep as is allowed, on either side, and one deeper.
  for (bool left : {false, true}) {
    std::string deep = "1";
    for (int i = 0; i < 511; ++i)
      deep = left ? "[\"+\", " + deep + ", 1]" : "[\"+\", 1, " + deep + "]";
    CHECK_EQUAL(evaluate(deep, sizes), 512);
    CHECK_CONTAINS(test::textOf(parseExpression("[\"+\", 1, " + deep + "]")), "nested more than 512 deep");
  }
}

static const char *const base = R"({"format": 1, "target": "cuda:sm_90", "space": "graph",
 "arguments": [{"name": "x", "dtype": "f32", "rows": "senders", "width": 24, "used": true},
               {"name": "w", "dtype": "f64", "rows": "edges", "width": 8, "used": false, "align": 16}],
 "results": [{"dtype": "f32", "rows": "receivers", "width": 8}],
 "plan": ["receivers.offsets", "senders.parts"],
 "scratch": [{"bytes": ["*", "S", 96]}],
 "steps": [{"op": "fill", "buffer": ["result", 0], "bytes": ["*", "R", 32]},
           {"op": "launch", "kernel": "conv_0", "grid": [["*", "R", 4], 1, 1], "block": [32, 2, 1], "shared": 6784, "rows": ["min", "R", 2],
            "args": [["argument", 0], ["plan", 1], ["scratch", 0], ["result", 0], ["size", "E"], ["const", -7],
                     ["expression", ["*", "E", 2]]]},
           {"op": "launch", "kernel": "conv_0", "grid": [1], "block": [32, 4, 1], "shared": 16, "args": []}],
 "statistics": {"anything": [1, 2]}, "cost": {"bytes_per_edge": 3.5}, "kernels": [{"name": "conv_0"}]})";

/// The base with `from` replaced by `to` where it first occurs.
static std::string edited(const std::string &from, const std::string &to, std::string text = base) {
  size_t at = text.find(from);
  CHECK(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

void testManifest() {
  Manifest manifest = llvm::cantFail(Manifest::parse(base));
  CHECK(manifest.target == TargetKind::Cuda);
  CHECK_EQUAL(manifest.chip, "sm_90");
  CHECK(manifest.graph);
  CHECK_EQUAL(manifest.numBuffers(), 5u);
  CHECK_EQUAL(manifest.arguments[0].width, 24);
  CHECK_EQUAL(manifest.arguments[0].align, 4);
  CHECK(!manifest.arguments[1].used);
  CHECK_EQUAL(manifest.arguments[1].align, 16);
  CHECK(manifest.arguments[1].element == ElementType::F64);
  Manifest narrow = llvm::cantFail(Manifest::parse(edited("\"f32\"", "\"bf16\"")));
  CHECK(narrow.arguments[0].element == ElementType::BF16);
  CHECK_EQUAL(narrow.arguments[0].elementBytes(), 2);
  CHECK_EQUAL(narrow.arguments[0].align, 2);
  CHECK(manifest.results[0].rows == Rows::Receivers);
  CHECK(manifest.plan[1].side == Rows::Senders && manifest.plan[1].array == PlanArray::Parts);
  CHECK_EQUAL(llvm::cantFail(manifest.scratch[0].evaluate({1, 2, 3})), 288);
  CHECK_EQUAL(manifest.kernels.size(), 1u);
  CHECK_EQUAL(manifest.kernels[0].shared, 6784u);
  CHECK_EQUAL(manifest.kernels[0].threads, 128u);
  const LaunchStep &launch = manifest.steps[1].launch;
  CHECK_EQUAL(launch.block[1], 2u);
  CHECK_EQUAL(llvm::cantFail(launch.rows.evaluate({1, 1, 3})), 1);
  CHECK_EQUAL(llvm::cantFail(manifest.steps[2].launch.rows.evaluate({1, 1, 3})), 4);
  CHECK_EQUAL(launch.arguments.size(), 7u);
  CHECK(launch.arguments[1].buffer->kind == BufferRef::Kind::Plan);
  CHECK_EQUAL(launch.arguments[1].buffer->index, 1u);
  CHECK_EQUAL(llvm::cantFail(launch.arguments[5].value.evaluate({})), -7);
  CHECK(!launch.overlaps);
  CHECK(llvm::cantFail(Manifest::parse(edited("\"shared\": 16", "\"shared\": 16, \"overlaps\": true"))).steps[2].launch.overlaps);
  CHECK_EQUAL(llvm::cantFail(launch.arguments[6].value.evaluate({5, 0, 0})), 10);

  // One thing wrong at a time.
  const char *const wrong[][3] = {
      {"\"format\": 1", "\"format\": 2", "manifest: format: expected an integer from 1 to 1, got 2"},
      {"\"format\": 1, ", "", "manifest: format is missing"},
      {"cuda:sm_90", "tpu", "manifest: target: expected"},
      {"cuda:sm_90", "cuda:90", "manifest: target: expected"},
      {"\"graph\"", "\"mesh\"", "manifest: space: expected one of rows, graph, got \"mesh\""},
      {"\"graph\"", "\"rows\"", "manifest: arguments[0].rows: expected \"edges\" or \"all\" in a batch"},
      {"\"f32\"", "\"f8\"", "manifest: arguments[0].dtype: expected one of f32, f64, bf16, f16, got \"f8\""},
      {"\"senders\"", "\"sender\"", "manifest: arguments[0].rows: expected one of edges, receivers, senders, all"},
      {"\"width\": 24", "\"width\": -1", "manifest: arguments[0].width: expected an integer from 0"},
      {"\"width\": 24", "\"width\": 1e30", "manifest: arguments[0].width: expected an integer from 0"},
      {"\"used\": true", "\"used\": 1", "manifest: arguments[0].used: expected true or false, got 1"},
      {"\"name\": \"x\", ", "", "manifest: arguments[0].name is missing"},
      {"\"align\": 16", "\"align\": 12", "manifest: arguments[1].align: expected a power of two, got 12"},
      {"[{\"dtype\"", "[3, {\"dtype\"", "manifest: results[0]: expected an object, got 3"},
      {"receivers.offsets", "receivers.offset", "manifest: plan[0]: expected SIDE.ARRAY"},
      {"receivers.offsets", "all.offsets", "manifest: plan[0]: expected SIDE.ARRAY"},
      {"[\"*\", \"S\", 96]", "[\"*\", \"S\"]", "manifest: scratch[0].bytes: expected [operator, a, b]"},
      {"\"op\": \"fill\"", "\"op\": \"copy\"", "manifest: steps[0].op: expected one of fill, launch, got \"copy\""},
      {"[\"result\", 0]", "[\"result\", 1]", "manifest: steps[0].buffer[1]: expected an integer from 0 to 0, got 1"},
      {"[\"result\", 0]", "[\"argument\", 0]", "manifest: steps[0].buffer: expected a result or scratch"},
      {"[\"result\", 0]", "[\"result\"]", "manifest: steps[0].buffer: expected [\"result\", index]"},
      {"\"conv_0\"", "\"\"", "manifest: steps[1].kernel: expected a name"},
      {"[[\"*\", \"R\", 4], 1, 1]", "[]", "manifest: steps[1].grid: expected one to three dimensions"},
      {"[[\"*\", \"R\", 4], 1, 1]", "[1, 1, 1, 1]", "manifest: steps[1].grid: expected one to three dimensions"},
      {"[[\"*\", \"R\", 4], 1, 1]", "7", "manifest: steps[1].grid: expected an array, got 7"},
      {"[32, 2, 1]", "[32, 64, 1]", "manifest: steps[1].block: expected three dimensions of together at most 1024"},
      {"[32, 2, 1]", "[32, 2]", "manifest: steps[1].block: expected an array of at least 3"},
      {"[32, 2, 1]", "[32, 0, 1]", "manifest: steps[1].block[1]: expected an integer from 1"},
      {"\"shared\": 6784", "\"shared\": \"E\"", "manifest: steps[1].shared: expected an integer"},
      {"[\"plan\", 1]", "[\"plan\", 2]", "manifest: steps[1].args[1][1]: expected an integer from 0 to 1, got 2"},
      {"[\"plan\", 1]", "[\"plans\", 1]", "manifest: steps[1].args[1][0]: expected one of argument, plan"},
      {"[\"size\", \"E\"]", "[\"size\", 4]", "manifest: steps[1].args[4][1]: expected one of the symbols"},
      {"[\"size\", \"E\"]", "[\"size\", \"T\"]", "manifest: steps[1].args[4][1]: expected one of the symbols"},
      {"[\"const\", -7]", "[\"const\", \"E\"]", "manifest: steps[1].args[5][1]: expected an integer"},
      {"[\"const\", -7]", "[]", "manifest: steps[1].args[5]: expected an array of at least 1, got []"},
      {"\"shared\": 16", "\"shared\": 16, \"overlaps\": 1", "manifest: steps[2].overlaps: expected true or false, got 1"},
      {"\"shared\": 6784", "\"shared\": 6784, \"overlaps\": true", "manifest: steps[1].overlaps: expected false: there is no launch before"},
      {"\"steps\"", "\"stops\"", "manifest: steps is missing"},
      {"{\"format\"", "{{\"format\"", "manifest: not JSON"},
  };
  for (auto &[from, to, message] : wrong) {
    llvm::Expected<Manifest> parsed = Manifest::parse(edited(from, to));
    CHECK(!parsed);
    CHECK_CONTAINS(test::textOf(std::move(parsed)), message);
  }
  CHECK_CONTAINS(test::textOf(Manifest::parse("[]")), "manifest: expected an object, got []");

  // The cpu has no blocks; a batch has no plan.
  std::string cpu = edited("cuda:sm_90", "cpu:znver4");
  CHECK_CONTAINS(test::textOf(Manifest::parse(cpu)), "manifest: steps[1].block: expected nothing");
  cpu = edited("\"block\": [32, 2, 1], \"shared\": 6784, \"rows\": [\"min\", \"R\", 2],", "", cpu);
  cpu = edited("\"block\": [32, 4, 1], \"shared\": 16,", "", cpu);
  CHECK_EQUAL(test::textOf(Manifest::parse(cpu)), "");
  CHECK_CONTAINS(test::textOf(Manifest::parse(edited("4], 1, 1]", "4], 2, 1]", cpu))),
                 "manifest: steps[1].grid: expected [tasks] or [tasks, 1, 1] on the cpu");
  std::string batch = edited("\"graph\"", "\"rows\"");
  batch = edited("\"senders\"", "\"edges\"", batch);
  batch = edited("\"receivers\"", "\"all\"", batch);
  CHECK_CONTAINS(test::textOf(Manifest::parse(batch)), "manifest: plan[0]: expected no plan for a batch");
}
