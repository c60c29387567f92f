#include "espmm/Runtime/ProgramText.h"
#include "CacheFolder.h"
#include "espmm/Runtime/Error.h"
#include "espmm/Runtime/Info.h"
#include "espmm/Runtime/Warning.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SHA256.h"
#include <cstdlib>
#include <set>

namespace espmm {

static constexpr llvm::StringLiteral header = "// espmm-program ";
static constexpr int scheduleFormat = 1;

/// The names and ranges of python/espmm/program.py, SCHEDULE.
struct ScheduleNumber {
  llvm::StringLiteral name, option;
  int64_t least, most;
};
static constexpr ScheduleNumber scheduleNumbers[] = {
    {"rows", "rows", 1, (1 << 20) - 1},
    {"warps", "warps", 1, 16},
    {"stages", "stages", 2, 8},
    {"registers", "registers", 32, 255},
    {"slabs", "slabs", 1, 8},
    {"tile_registers", "tile-registers", 1, (1 << 16) - 1},
    {"instances", "instances", 1, 16},
    {"group_by", "group-by", 1, 2},
    {"products", "products", 1, 3},
};

/// Reads {"warps": 2, ...}; fails on a name or a number that no schedule has.
static bool readSchedule(const llvm::json::Value &json, Schedule &schedule, llvm::json::Path path) {
  const llvm::json::Object *object = json.getAsObject();
  if (!object) {
    path.report("expected object");
    return false;
  }
  size_t known = 0;
  for (const ScheduleNumber &number : scheduleNumbers) {
    const llvm::json::Value *value = object->get(number.name);
    if (!value)
      continue;
    std::optional<int64_t> integer = value->getAsInteger();
    bool valid = integer && *integer >= number.least && *integer <= number.most && (number.name != "warps" || llvm::isPowerOf2_64(*integer));
    if (!valid) {
      path.field(number.name).report("expected a number that a schedule can have");
      return false;
    }
    schedule.emplace_back(number.option.str(), *integer);
    ++known;
  }
  if (known != object->size())
    path.report("expected the numbers of a schedule");
  return known == object->size();
}

static bool fromJSON(const llvm::json::Value &json, ProgramText::Derivative &step, llvm::json::Path path) {
  std::vector<std::vector<int64_t>> pair;
  if (!llvm::json::fromJSON(json, pair, path))
    return false;
  if (pair.size() != 2 || pair[0].empty() || pair[1].empty()) {
    path.report("expected [arguments, results]");
    return false;
  }
  step = {std::move(pair[0]), std::move(pair[1])};
  return true;
}

/// A tensor as [name, dtype, rows, width], of which messages need the name.
static bool readNames(const llvm::json::Object &header, llvm::StringRef key, std::vector<std::string> &names, llvm::json::Path path) {
  const llvm::json::Array *tensors = header.getArray(key);
  if (!tensors) {
    path.field(key).report("expected array");
    return false;
  }
  for (size_t i = 0; i < tensors->size(); ++i) {
    const llvm::json::Array *tensor = (*tensors)[i].getAsArray();
    if (!tensor || tensor->empty() || !tensor->front().getAsString()) {
      path.field(key).index(i).report("expected [name, dtype, rows, width]");
      return false;
    }
    names.push_back(tensor->front().getAsString()->str());
  }
  return true;
}

using Terms = std::vector<std::vector<int64_t>>;

/// The terms of the gradients: <cotangents, results> differentiated by each argument.
static std::vector<Terms> differentiated(const std::vector<Terms> &terms, const ProgramText::Derivative &step, int64_t numArguments) {
  std::vector<Terms> gradients;
  for (int64_t argument : step.wrt) {
    std::set<std::vector<int64_t>> found;
    for (auto [i, result] : llvm::enumerate(step.cotangents))
      for (std::vector<int64_t> term : terms[result]) {
        auto place = llvm::find(term, argument);
        if (place == term.end())
          continue;
        term.erase(place);
        term.push_back(numArguments + int64_t(i)); // the greatest
        found.insert(std::move(term));
      }
    gradients.emplace_back(found.begin(), found.end());
  }
  return gradients;
}

/// Follows the derivative steps: the arguments that they add, the terms that they leave. Numbers that no argument or result has are a failure.
static bool takeSteps(ProgramText &program, std::vector<std::string> results, llvm::json::Path path) {
  bool valid = program.terms.size() == results.size();
  for (const Terms &terms : program.terms)
    for (const std::vector<int64_t> &term : terms)
      valid &= llvm::all_of(term, [&](int64_t i) { return i >= 0 && size_t(i) < program.arguments.size(); });
  if (!valid) {
    path.report("expected terms for each result, of the program's arguments");
    return false;
  }
  for (const ProgramText::Derivative &step : program.steps) {
    std::vector<std::string> gradients, cotangents;
    for (int64_t i : step.wrt)
      if (i >= 0 && size_t(i) < program.arguments.size())
        gradients.push_back("d" + program.arguments[i]);
    for (int64_t i : step.cotangents)
      if (i >= 0 && size_t(i) < results.size())
        cotangents.push_back("g" + results[i]);
    if (gradients.size() != step.wrt.size() || cotangents.size() != step.cotangents.size()) {
      path.report("expected numbers of the program's arguments and results");
      return false;
    }
    program.terms = differentiated(program.terms, step, int64_t(program.arguments.size()));
    program.arguments.insert(program.arguments.end(), cotangents.begin(), cotangents.end());
    results = std::move(gradients);
  }
  return true;
}

static bool readHeader(const llvm::json::Value &json, ProgramText &program, llvm::json::Path path) {
  llvm::json::ObjectMapper map(json, path);
  int64_t version = 0;
  if (!map || !map.map("version", version) || !map.map("terms", program.terms) || !map.map("steps", program.steps) ||
      !map.map("deterministic", program.deterministic))
    return false;
  if (version != 1) {
    path.field("version").report("expected 1");
    return false;
  }
  const llvm::json::Value *schedule = json.getAsObject()->get("schedule");
  if (!schedule) {
    path.field("schedule").report("missing value");
    return false;
  }
  std::vector<std::string> results;
  const llvm::json::Object &header = *json.getAsObject();
  return readSchedule(*schedule, program.schedule, path.field("schedule")) && readNames(header, "arguments", program.arguments, path) &&
         readNames(header, "results", results, path) && takeSteps(program, std::move(results), path.field("steps"));
}

llvm::Expected<ProgramText> ProgramText::parse(llvm::StringRef program) {
  auto failure = [program](const llvm::Twine &why) {
    return makeError(ESPMM_INVALID, "expected a serialised program, ending with '" + header + "' and JSON, got '" +
                                        program.take_back(80) + "' (" + why + ")");
  };
  size_t comment = program.rfind(header);
  if (comment == llvm::StringRef::npos)
    return failure("no such comment");
  llvm::Expected<llvm::json::Value> json = llvm::json::parse(program.drop_front(comment + header.size()));
  if (!json)
    return failure(llvm::toString(json.takeError()));
  ProgramText result;
  llvm::json::Path::Root root("header");
  if (!readHeader(*json, result, root))
    return failure(llvm::toString(root.getError()));
  result.module = program.take_front(comment).str();
  llvm::replace(result.module, '\t', '\n');
  return result;
}

std::string ProgramText::pipeline(llvm::StringRef target, const Schedule &schedule) const {
  auto list = [](llvm::ArrayRef<int64_t> numbers, int64_t first) {
    return llvm::join(llvm::map_range(numbers, [first](int64_t n) { return std::to_string(n + first); }), ",");
  };
  std::string text;
  for (const Derivative &step : steps)
    text += "equivariant-differentiate{wrt=" + list(step.wrt, 1) + " cotangents=" + list(step.cotangents, 0) + "},";
  if (!target.consume_front("cuda:"))
    return text + "equivariant-to-cpu";
  text += "equivariant-to-gpu{chip=" + target.str() + " deterministic=" + (deterministic ? "true" : "false");
  for (auto &[name, value] : schedule)
    text += " " + name + "=" + std::to_string(value);
  return text + "}";
}

std::optional<ProgramText::Derivative> pruned(const ProgramText &program, llvm::ArrayRef<int64_t> wrt, llvm::ArrayRef<int64_t> cotangents) {
  auto reads = [&](int64_t result, int64_t argument) {
    return llvm::any_of(program.terms[result], [argument](const std::vector<int64_t> &term) { return llvm::is_contained(term, argument); });
  };
  ProgramText::Derivative step;
  for (int64_t argument : wrt)
    if (llvm::any_of(cotangents, [&](int64_t result) { return reads(result, argument); }))
      step.wrt.push_back(argument);
  for (int64_t result : cotangents)
    if (llvm::any_of(step.wrt, [&](int64_t argument) { return reads(result, argument); }))
      step.cotangents.push_back(result);
  if (step.wrt.empty())
    return std::nullopt;
  return step;
}

llvm::Expected<std::string> derivative(llvm::StringRef program, const ProgramText::Derivative &step) {
  // By the text, so that all else stays as it is, in Python's order.
  llvm::StringRef key = "\"steps\":[";
  size_t end = program.rfind(key);
  if (end == llvm::StringRef::npos)
    return makeError(ESPMM_INVALID, "expected a program's canonical string, got '" + program.take_back(80) + "'");
  end += key.size();
  bool isFirst = program[end] == ']';
  for (int depth = 1; end < program.size(); ++end) {
    depth += program[end] == '[' ? 1 : program[end] == ']' ? -1 : 0;
    if (depth == 0)
      break;
  }
  auto list = [](llvm::ArrayRef<int64_t> numbers) {
    return "[" + llvm::join(llvm::map_range(numbers, [](int64_t n) { return std::to_string(n); }), ",") + "]";
  };
  return (program.take_front(end) + (isFirst ? "" : ",") + "[" + list(step.wrt) + "," + list(step.cotangents) + "]" + program.drop_front(end)).str();
}

std::string tunedScheduleKey(llvm::StringRef program, llvm::StringRef target) {
  llvm::SHA256 hasher;
  hasher.update((llvm::Twine(scheduleFormat) + "\n" + versionString() + "\n" + target + "\n").str());
  hasher.update(program);
  return llvm::toHex(hasher.final(), /*LowerCase=*/true);
}

std::optional<Schedule> tunedSchedule(llvm::StringRef program, llvm::StringRef target, llvm::StringRef folder) {
  const char *wish = std::getenv("ESPMM_TUNED");
  if (folder.empty() || (wish && llvm::StringRef(wish) == "0"))
    return std::nullopt;
  std::string why, name = tunedScheduleKey(program, target) + ".schedule.json";
  llvm::SmallString<128> file(folder);
  llvm::sys::path::append(file, name);
  // Who compiles warns of a folder that can't be trusted.
  std::optional<CacheFolder> trusted = CacheFolder::open(folder.str(), /*make=*/false, why);
  if (!trusted)
    return std::nullopt;
  std::optional<std::string> text = trusted->read(name, /*notesUse=*/false, why);
  if (!text) {
    if (!why.empty())
      warn("the schedule " + file + " can't be read (" + why + "); it is ignored");
    return std::nullopt;
  }
  auto damaged = [&file](llvm::Error error) {
    warn("the schedule " + file + " is damaged (" + llvm::toString(std::move(error)) + "); it is ignored");
    return std::nullopt;
  };
  llvm::Expected<llvm::json::Value> json = llvm::json::parse(*text);
  if (!json)
    return damaged(json.takeError());
  llvm::json::Path::Root root("schedule file");
  llvm::json::ObjectMapper map(*json, root);
  int64_t format = 0;
  const llvm::json::Object *object = json->getAsObject();
  if (!map || !map.map("format", format) || format != scheduleFormat || !object->get("schedule"))
    return damaged(makeError(ESPMM_INVALID, "expected format " + llvm::Twine(scheduleFormat) + " and a schedule"));
  Schedule schedule;
  if (!readSchedule(*object->get("schedule"), schedule, llvm::json::Path(root).field("schedule")))
    return damaged(root.getError());
  return schedule;
}

} // namespace espmm
