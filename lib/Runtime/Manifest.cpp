#include "espmm/Runtime/Manifest.h"
#include "JsonPath.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/MathExtras.h"

namespace espmm {

static const llvm::StringRef rowsNames[] = {"edges", "receivers", "senders", "all"};
static const llvm::StringRef elementNames[] = {"f32", "f64", "bf16", "f16"};
static const llvm::StringRef planArrayNames[] = {"offsets", "order", "other", "parts", "nodes", "index", "facts"};
static const llvm::StringRef bufferNames[] = {"argument", "plan", "scratch", "result"};

llvm::StringRef rowsName(Rows rows) { return rowsNames[unsigned(rows)]; }

llvm::StringRef elementName(ElementType element) { return elementNames[unsigned(element)]; }

int64_t rowCount(Rows rows, const Sizes &sizes) {
  switch (rows) {
  case Rows::Edges:
    return sizes.edges;
  case Rows::Receivers:
    return sizes.receivers;
  case Rows::Senders:
    return sizes.senders;
  case Rows::All:
    return 1;
  }
  llvm_unreachable("all kinds of rows are listed");
}

namespace {

/// Reads a manifest top down; buffers are known by the time that the steps refer to them.
class Reader {
public:
  explicit Reader(Manifest &manifest) : manifest(manifest) {}
  void read(const JsonPath &root);

private:
  void readTarget(const JsonPath &json);
  TensorInfo readTensor(const JsonPath &json);
  PlanInfo readPlan(const JsonPath &json);
  Step readStep(const JsonPath &json);
  FillStep readFill(const JsonPath &json);
  LaunchStep readLaunch(const JsonPath &json);
  BufferRef readBuffer(const JsonPath &json, BufferRef::Kind kind);
  KernelArgument readArgument(const JsonPath &json);
  Expression readExpression(const JsonPath &json);
  void readBlock(const JsonPath &json, LaunchStep &step);
  unsigned kernelNamed(llvm::StringRef name);

  Manifest &manifest;
  llvm::StringMap<unsigned> kernelIndices;
};

} // namespace

void Reader::read(const JsonPath &root) {
  root["format"].integer(1, 1);
  readTarget(root["target"]);
  const llvm::StringRef spaces[] = {"rows", "graph"};
  manifest.graph = root["space"].oneOf(spaces) == 1;
  for (const JsonPath &json : root["arguments"].elements()) {
    TensorInfo tensor = readTensor(json);
    tensor.name = json["name"].string();
    tensor.used = json["used"].boolean();
    manifest.arguments.push_back(std::move(tensor));
  }
  for (const JsonPath &json : root["results"].elements())
    manifest.results.push_back(readTensor(json));
  for (const JsonPath &json : root["plan"].elements())
    manifest.plan.push_back(readPlan(json));
  for (const JsonPath &json : root["scratch"].elements())
    manifest.scratch.push_back(readExpression(json["bytes"]));
  for (const JsonPath &json : root["steps"].elements())
    manifest.steps.push_back(readStep(json));
}

void Reader::readTarget(const JsonPath &json) {
  manifest.targetName = json.string();
  llvm::StringRef name = manifest.targetName;
  if (name == "cpu" || name.starts_with("cpu:")) {
    manifest.target = TargetKind::Host;
    return;
  }
  manifest.target = TargetKind::Cuda;
  if (name.consume_front("cuda:") && name.starts_with("sm_") && name.size() > 3)
    manifest.chip = name.str();
  else
    json.expected("\"cpu\", \"cpu:NAME\" or \"cuda:sm_NUMBER\"");
}

TensorInfo Reader::readTensor(const JsonPath &json) {
  TensorInfo tensor;
  tensor.element = ElementType(json["dtype"].oneOf(elementNames));
  tensor.rows = Rows(json["rows"].oneOf(rowsNames));
  if (!manifest.graph && (tensor.rows == Rows::Receivers || tensor.rows == Rows::Senders))
    json["rows"].expected("\"edges\" or \"all\" in a batch, which has no sides");
  tensor.width = json["width"].integer(0, std::numeric_limits<int32_t>::max());
  tensor.align = tensor.elementBytes();
  if (json.has("align")) {
    tensor.align = json["align"].integer(1, 4096);
    if (!llvm::isPowerOf2_64(tensor.align))
      json["align"].expected("a power of two");
  }
  return tensor;
}

PlanInfo Reader::readPlan(const JsonPath &json) {
  if (!manifest.graph)
    json.expected("no plan for a batch");
  auto [side, array] = llvm::StringRef(json.value().getAsString().value_or("")).split('.');
  const auto *found = llvm::find(planArrayNames, array);
  if ((side != "receivers" && side != "senders") || found == std::end(planArrayNames)) {
    json.expected("SIDE.ARRAY, the side receivers or senders, the array offsets, order, other, parts, nodes, index or facts");
    return {};
  }
  return {side == "receivers" ? Rows::Receivers : Rows::Senders, PlanArray(found - std::begin(planArrayNames))};
}

Step Reader::readStep(const JsonPath &json) {
  Step step;
  const llvm::StringRef kinds[] = {"fill", "launch"};
  step.kind = Step::Kind(json["op"].oneOf(kinds));
  if (step.kind == Step::Kind::Fill)
    step.fill = readFill(json);
  else
    step.launch = readLaunch(json);
  return step;
}

FillStep Reader::readFill(const JsonPath &json) {
  FillStep step;
  JsonPath buffer = json["buffer"];
  unsigned kind = buffer[0].oneOf(bufferNames);
  step.buffer = readBuffer(buffer, BufferRef::Kind(kind));
  if (step.buffer.kind != BufferRef::Kind::Scratch && step.buffer.kind != BufferRef::Kind::Result)
    buffer.expected("a result or scratch, as programs write nothing else");
  step.bytes = readExpression(json["bytes"]);
  return step;
}

LaunchStep Reader::readLaunch(const JsonPath &json) {
  LaunchStep step;
  step.kernel = json["kernel"].string();
  if (step.kernel.empty())
    json["kernel"].expected("a name");
  step.kernelIndex = kernelNamed(step.kernel);

  JsonPath grid = json["grid"];
  std::vector<JsonPath> dimensions = grid.elements();
  if (dimensions.empty() || dimensions.size() > 3)
    grid.expected("one to three dimensions");
  for (unsigned i = 0; i < 3; ++i)
    step.grid[i] = i < dimensions.size() ? readExpression(dimensions[i]) : Expression(1);

  if (manifest.target == TargetKind::Cuda) {
    readBlock(json, step);
  } else {
    step.rows = Expression(1);
    // A host kernel is given one task number.
    for (unsigned i = 1; i < 3; ++i)
      if (step.grid[i].constant() != 1)
        grid.expected("[tasks] or [tasks, 1, 1] on the cpu");
    for (llvm::StringRef key : {"block", "shared", "rows"})
      if (json.has(key))
        json[key].expected("nothing: it is for cuda targets");
  }
  if (json.has("overlaps") && (step.overlaps = json["overlaps"].boolean())) {
    bool follows = !manifest.steps.empty() && manifest.steps.back().kind == Step::Kind::Launch;
    if (manifest.target != TargetKind::Cuda || !follows)
      json["overlaps"].expected("false: there is no launch before, or none that another could overlap");
  }
  for (const JsonPath &argument : json["args"].elements())
    step.arguments.push_back(readArgument(argument));
  return step;
}

void Reader::readBlock(const JsonPath &json, LaunchStep &step) {
  const int64_t limits[] = {1024, 1024, 64};
  JsonPath block = json["block"];
  unsigned threads = 1;
  for (unsigned i = 0; i < 3; ++i) {
    step.block[i] = block[i].integer(1, limits[i]);
    threads *= step.block[i];
  }
  if (block.elements().size() != 3 || threads > 1024)
    block.expected("three dimensions of together at most 1024 threads");
  step.shared = json["shared"].integer(0, 1 << 20);
  step.rows = json.has("rows") ? readExpression(json["rows"]) : Expression(step.block[1]);
  KernelInfo &kernel = manifest.kernels[step.kernelIndex];
  kernel.shared = std::max(kernel.shared, step.shared);
  kernel.threads = std::max(kernel.threads, threads);
}

BufferRef Reader::readBuffer(const JsonPath &json, BufferRef::Kind kind) {
  const size_t counts[] = {manifest.arguments.size(), manifest.plan.size(), manifest.scratch.size(),
                           manifest.results.size()};
  size_t count = counts[unsigned(kind)];
  if (count == 0 || json.elements().size() != 2) {
    json.expected("[\"" + bufferNames[unsigned(kind)] + "\", index] of a buffer, of which there are " +
                  llvm::Twine(count));
    return {kind, 0};
  }
  return {kind, unsigned(json[1].integer(0, int64_t(count) - 1))};
}

KernelArgument Reader::readArgument(const JsonPath &json) {
  KernelArgument argument;
  const llvm::StringRef kinds[] = {"argument", "plan", "scratch", "result", "size", "const", "expression"};
  unsigned kind = json[0].oneOf(kinds);
  if (kind < std::size(bufferNames)) {
    argument.buffer = readBuffer(json, BufferRef::Kind(kind));
    return argument;
  }
  if (json.elements().size() != 2)
    json.expected("[kind, value]");
  if (kinds[kind] == "size" && !json[1].value().getAsString())
    json[1].expected("one of the symbols E, R, S");
  if (kinds[kind] == "const" && !json[1].value().getAsInteger())
    json[1].expected("an integer");
  argument.value = readExpression(json[1]);
  return argument;
}

Expression Reader::readExpression(const JsonPath &json) {
  llvm::Expected<Expression> expression = Expression::parse(json.value(), json.path());
  if (expression)
    return std::move(*expression);
  json.fail(expression.takeError());
  return Expression();
}

unsigned Reader::kernelNamed(llvm::StringRef name) {
  auto [entry, inserted] = kernelIndices.try_emplace(name, manifest.kernels.size());
  if (inserted)
    manifest.kernels.push_back({name.str(), 0, 1});
  return entry->second;
}

llvm::Expected<Manifest> Manifest::parse(llvm::StringRef text) {
  llvm::Expected<llvm::json::Value> json = llvm::json::parse(text);
  if (!json)
    return makeError(ESPMM_INVALID, "manifest: not JSON: " + llvm::toString(json.takeError()));
  Manifest manifest;
  llvm::Error failure = llvm::Error::success();
  Reader(manifest).read(JsonPath(*json, failure));
  if (failure)
    return std::move(failure);
  return manifest;
}

} // namespace espmm
