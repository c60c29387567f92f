//===- CompilerCAPI.cpp - the functions of espmm.h that compile -----------===//
#include "espmm-c/espmm.h"
#include "espmm/InitAll.h"
#include "espmm/Pipelines/Pipelines.h"
#include "espmm/Runtime/Assembler.h"
#include "espmm/Runtime/Executable.h"
#include "espmm/Runtime/ForkGate.h"
#include "espmm/Runtime/LastError.h"
#include "espmm/Runtime/ProgramText.h"
#include "espmm/Support/ClebschGordan.h"
#include "espmm/Target/Codegen.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/Support/JSON.h"
#include "llvm/TargetParser/Host.h"
#include <cstring>

using namespace mlir;
using namespace espmm;

namespace {

/// A module and the context it lives in. Contexts are not shared: compiles run side by side. Diagnostics become the text of
/// errors, with line and column where there are any.
class Compilation {
public:
  Compilation() : os(diagnostics) {
    registerAllPasses();
    DialectRegistry registry;
    registerAllDialects(registry);
    context.emplace(registry, MLIRContext::Threading::DISABLED);
    context->loadAllAvailableDialects();
    context->getDiagEngine().registerHandler([this](Diagnostic &diagnostic) {
      if (diagnostic.getSeverity() != DiagnosticSeverity::Error)
        return;
      if (auto file = dyn_cast<FileLineColLoc>(diagnostic.getLocation()))
        os << (diagnostics.empty() ? "" : "\n") << "line " << file.getLine() << ", column " << file.getColumn() << ": ";
      os << diagnostic.str();
    });
  }

  /// Parses, and runs a pipeline.
  llvm::Error run(llvm::StringRef ir, llvm::StringRef pipeline) {
    module = parseSourceString<ModuleOp>(ir, &*context);
    if (!module)
      return makeError(ESPMM_INVALID, "the program does not parse: " + diagnostics);
    PassManager manager(&*context);
    if (failed(parsePassPipeline(pipeline, manager, os)))
      return makeError(ESPMM_INVALID, "the pipeline '" + pipeline + "' is not valid: " + diagnostics);
    if (failed(manager.run(*module))) {
      bool unsupported = llvm::StringRef(diagnostics).contains("no lowering yet");
      return makeError(unsupported ? ESPMM_UNSUPPORTED : ESPMM_INVALID, diagnostics);
    }
    return llvm::Error::success();
  }

  ModuleOp getModule() { return *module; }

  llvm::Expected<std::string> get(FailureOr<std::string> text) {
    if (failed(text))
      return makeError(ESPMM_INVALID, diagnostics);
    return std::move(*text);
  }
  llvm::Expected<std::string> getTarget() { return get(espmm::getTarget(*module)); }
  llvm::Expected<std::string> getManifest() { return get(writeManifest(*module)); }
  llvm::Expected<std::string> getCode(CodeKind kind) { return get(generateCode(*module, kind)); }

private:
  std::string diagnostics;
  llvm::raw_string_ostream os;
  std::optional<MLIRContext> context;
  OwningOpRef<ModuleOp> module;
};

/// A program's code for the target that its pipeline names, from scratch.
llvm::Expected<Blobs> compileBlobs(llvm::StringRef ir, llvm::StringRef pipeline) {
  Compilation compilation;
  if (llvm::Error error = compilation.run(ir, pipeline))
    return std::move(error);
  auto target = compilation.getTarget();
  if (!target)
    return target.takeError();
  auto manifest = compilation.getManifest();
  if (!manifest)
    return manifest.takeError();
  bool isHost = *target == "cpu";
  auto code = compilation.getCode(isHost ? CodeKind::Object : CodeKind::PTX);
  if (!code)
    return code.takeError();
  Blobs blobs;
  blobs["manifest"] = *manifest;
  blobs[isHost ? "object" : "ptx"] = *code;
  blobs["source"] = ir.str();
  blobs["pipeline"] = pipeline.str();
  return blobs;
}

std::string getCompilerKey() {
  std::string key = std::string(espmm_version()) + " " + espmm_llvm_version() + " " ESPMM_BUILD_ID;
  return key;
}

/// The executables of this process, by cache key. What several threads ask for at a time is made by one of them, while the
/// others wait.
class MemoryCache {
public:
  using Made = llvm::Expected<std::shared_ptr<Executable>>;

  Made get(const std::string &key, llvm::function_ref<Made()> make) {
    Entry &entry = find(key);
    std::lock_guard<std::mutex> lock(entry.making);
    if (!entry.executable) {
      Made made = make();
      if (!made)
        return made.takeError(); // who asks next tries again
      entry.executable = std::move(*made);
    }
    return entry.executable;
  }

private:
  struct Entry {
    std::mutex making;
    std::shared_ptr<Executable> executable;
  };

  Entry &find(const std::string &key) {
    std::lock_guard<std::mutex> lock(mutex);
    return entries[key]; // stays where it is
  }

  std::mutex mutex;
  std::map<std::string, Entry> entries;
};

llvm::Expected<std::shared_ptr<Executable>> createExecutable(Blobs blobs) {
  std::string manifest = blobs["manifest"];
  return Executable::create(std::move(manifest), std::move(blobs));
}

/// From the disk cache, or compiled and put there.
llvm::Expected<std::shared_ptr<Executable>> findOrCompile(const std::string &key, llvm::StringRef ir, llvm::StringRef pipeline) {
  DiskCache disk = DiskCache::fromEnvironment();
  if (std::optional<Blobs> blobs = disk.get(key)) {
    auto executable = createExecutable(std::move(*blobs));
    if (executable)
      return executable;
    disk.reject(key, "holds no program (" + llvm::toString(executable.takeError()) + ")");
  }
  auto blobs = disk.makeOnce(key, [&] { return compileBlobs(ir, pipeline); });
  if (!blobs)
    return blobs.takeError();
  return createExecutable(std::move(*blobs));
}

llvm::Expected<std::shared_ptr<Executable>> compile(llvm::StringRef ir, llvm::StringRef pipeline) {
  static MemoryCache &memory = *new MemoryCache;
  // Host code is for this machine; no pipeline makes any without naming a conversion to it.
  std::string machine = pipeline.contains("to-cpu") ? llvm::sys::getHostCPUName().str() + " " + std::to_string(getHostVectorBits()) : "";
  std::string key = cacheKey({getCompilerKey(), machine, pipeline, ir});
  return memory.get(key, [&] { return findOrCompile(key, ir, pipeline); });
}

/// The target that code for a device is compiled for.
llvm::Expected<std::string> targetOf(int device) {
  if (device == hostDevice)
    return std::string("cpu");
  llvm::Expected<cuda::Device &> found = cuda::Device::get(device);
  if (!found)
    return found.takeError();
  if (found->major < 8)
    return makeError(ESPMM_UNSUPPORTED, "expected a GPU of compute capability 8.0 or later, got " + llvm::Twine(found->major) + "." +
                                            llvm::Twine(found->minor) + " of " + found->str());
  return "cuda:" + found->chip();
}

/// An error that says how its compile is repeated.
llvm::Error withCommand(llvm::Error error, const std::string &pipeline, bool isHost) {
  espmm_status status = report(std::move(error));
  return makeError(status, llvm::Twine(lastError()) + "\nits compile is repeated by: espmm-opt source.mlir --pass-pipeline='builtin.module(" +
                               pipeline + ")' | espmm-translate --to-" + (isHost ? "assembly" : "ptx") +
                               "\nwhere source.mlir holds the program's string");
}

/// A program compiled and loaded; `text` is the string that it was read from.
llvm::Expected<std::shared_ptr<Executable>> loadProgram(const ProgramText &program, llvm::StringRef text, int device) {
  llvm::Expected<std::string> target = targetOf(device);
  if (!target)
    return target.takeError();
  bool isHost = device == hostDevice;
  Schedule schedule = program.schedule;
  if (schedule.empty() && !isHost)
    if (std::optional<Schedule> tuned = tunedSchedule(text, *target, DiskCache::fromEnvironment().folder()))
      schedule = *tuned;
  // Where the compiler's choice does not fit a device whose multiprocessors have less shared memory.
  std::vector<Schedule> schedules = {schedule};
  if (schedule.empty())
    schedules.insert(schedules.end(), {{{"stages", 2}}, {{"warps", 2}, {"stages", 2}}, {{"warps", 1}, {"stages", 2}}});
  llvm::Error first = llvm::Error::success();
  for (const Schedule &attempt : schedules) {
    std::string pipeline = program.pipeline(*target, attempt);
    auto executable = compile(program.module, pipeline);
    llvm::Error error = executable ? (*executable)->load(device) : executable.takeError();
    if (!error) {
      llvm::consumeError(std::move(first));
      return *executable;
    }
    bool tooLarge = false;
    error = llvm::handleErrors(std::move(error), [&](std::unique_ptr<RuntimeError> info) {
      tooLarge = info->status() == ESPMM_UNSUPPORTED && llvm::StringRef(info->message()).contains("bytes of shared memory");
      return llvm::Error(std::move(info));
    });
    error = withCommand(std::move(error), pipeline, isHost);
    if (first)
      llvm::consumeError(std::move(error));
    else
      first = std::move(error);
    if (!tooLarge)
      break;
  }
  return std::move(first);
}

/// What ptxas says of each kernel of a program for CUDA, as JSON.
llvm::Expected<std::string> describeAssembly(const Executable &executable) {
  auto cubins = cuda::cubinsFor(*executable.blob("ptx"), executable.manifest().chip);
  if (!cubins)
    return cubins.takeError();
  llvm::json::Array kernels;
  for (const cuda::Cubin &cubin : *cubins)
    for (const cuda::KernelResources &kernel : cuda::parseAssemblerLog(cubin.log))
      kernels.push_back(llvm::json::Object{{"name", kernel.kernel},
                                           {"registers", kernel.registers},
                                           {"spill_store_bytes", kernel.spillStores},
                                           {"spill_load_bytes", kernel.spillLoads},
                                           {"stack_bytes", kernel.stack},
                                           {"static_shared_bytes", kernel.shared},
                                           {"code_bytes", cuda::codeBytes(cubin.code, kernel.kernel)}});
  std::string text;
  llvm::raw_string_ostream(text) << llvm::json::Value(std::move(kernels));
  return text;
}

espmm_status giveText(const std::string &text, char **out) {
  *out = strdup(text.c_str());
  return *out ? ESPMM_OK : report(makeError(ESPMM_INTERNAL, "out of memory"));
}

espmm_status nullArgument(const char *function) {
  return report(makeError(ESPMM_INVALID, llvm::Twine(function) + ": an argument is a null pointer"));
}

} // namespace

extern "C" {

espmm_status espmm_opt(const char *ir, const char *pipeline, char **out) {
  if (!ir || !pipeline || !out)
    return nullArgument("espmm_opt");
  ForkGate gate;
  Compilation compilation;
  if (llvm::Error error = compilation.run(ir, pipeline))
    return report(std::move(error));
  std::string text;
  llvm::raw_string_ostream os(text);
  compilation.getModule().print(os);
  os << "\n";
  return giveText(text, out);
}

espmm_status espmm_compile(const char *ir, const char *pipeline, espmm_executable **out) {
  if (!ir || !pipeline || !out)
    return nullArgument("espmm_compile");
  ForkGate gate;
  auto executable = compile(ir, pipeline);
  if (!executable)
    return report(executable.takeError());
  *out = new espmm_executable{std::move(*executable)};
  return ESPMM_OK;
}

espmm_status espmm_program_load(const char *program, int device, espmm_executable **out) {
  if (!program || !out)
    return nullArgument("espmm_program_load");
  ForkGate gate;
  llvm::Expected<ProgramText> parsed = ProgramText::parse(program);
  if (!parsed)
    return report(parsed.takeError());
  auto executable = loadProgram(*parsed, program, device);
  if (!executable)
    return report(executable.takeError());
  *out = new espmm_executable{std::move(*executable), std::move(parsed->arguments)};
  return ESPMM_OK;
}

espmm_status espmm_executable_code(const espmm_executable *exe, const char *kind, char **out) {
  if (!exe || !kind || !out)
    return nullArgument("espmm_executable_code");
  ForkGate gate;
  const Executable &executable = *exe->executable;
  llvm::StringRef name(kind);
  bool isHost = executable.manifest().target == TargetKind::Host;
  if (!isHost && name == "ptx")
    return giveText(*executable.blob("ptx"), out);
  if (!isHost && name == "sass_info") {
    auto text = describeAssembly(executable);
    return text ? giveText(*text, out) : report(text.takeError());
  }
  if (name == "llvmir" || (isHost && name == "assembly")) {
    // Not kept: made again from the source that is.
    Compilation compilation;
    if (llvm::Error error = compilation.run(*executable.blob("source"), *executable.blob("pipeline")))
      return report(std::move(error));
    auto code = compilation.getCode(name == "llvmir" ? CodeKind::LLVMIR : CodeKind::Assembly);
    if (!code)
      return report(code.takeError());
    return giveText(*code, out);
  }
  return report(makeError(ESPMM_INVALID, "no code of kind '" + name + "' for target " + executable.manifest().targetName));
}

espmm_status espmm_clebsch_gordan(int l1, int l2, int l3, double *out) {
  if (!out)
    return nullArgument("espmm_clebsch_gordan");
  constexpr int maxL = 11;
  auto inRange = [](int l) { return 0 <= l && l <= maxL; };
  if (!inRange(l1) || !inRange(l2) || !inRange(l3) || std::abs(l1 - l2) > l3 || l3 > l1 + l2)
    return report(makeError(ESPMM_INVALID, "no Clebsch-Gordan coefficients for (" + llvm::Twine(l1) + ", " + llvm::Twine(l2) + ", " +
                                               llvm::Twine(l3) + "): expected 0 <= l <= 11 and |l1 - l2| <= l3 <= l1 + l2"));
  const std::vector<double> &values = clebschGordan(l1, l2, l3);
  std::copy(values.begin(), values.end(), out);
  return ESPMM_OK;
}

} // extern "C"
