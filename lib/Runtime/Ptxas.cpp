//===- Ptxas.cpp - assembling PTX in a process of its own ----------------===//
#include "espmm/Runtime/Assembler.h"
#include "espmm/Runtime/Error.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Object/ELF.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdlib>

namespace espmm::cuda {

namespace fs = llvm::sys::fs;

llvm::Expected<std::string> findPtxas() {
  // Whoever names one means that one.
  if (const char *named = std::getenv("ESPMM_PTXAS"); named && *named) {
    if (fs::can_execute(named))
      return std::string(named);
    return makeError(ESPMM_INVALID, llvm::Twine("ESPMM_PTXAS names ") + named + ", which is not a program");
  }
  llvm::SmallString<128> path;
  for (const char *variable : {"CUDA_HOME", "CUDA_PATH"}) {
    const char *folder = std::getenv(variable);
    if (!folder || !*folder)
      continue;
    path = folder;
    llvm::sys::path::append(path, "bin", "ptxas");
    if (fs::can_execute(path))
      return path.str().str();
  }
  if (llvm::ErrorOr<std::string> found = llvm::sys::findProgramByName("ptxas"))
    return *found;
  path = "/usr/local/cuda/bin/ptxas";
  if (fs::can_execute(path))
    return path.str().str();
  return makeError(ESPMM_NO_DEVICE, "no ptxas in CUDA_HOME, on PATH or in /usr/local/cuda (ESPMM_PTXAS can name one)");
}

namespace {

/// A file that is removed at the end.
class TemporaryFile {
public:
  llvm::Error create(llvm::StringRef suffix, llvm::StringRef content = "") {
    int descriptor = -1;
    if (std::error_code error = fs::createTemporaryFile("espmm", suffix, descriptor, path_))
      return makeError(ESPMM_INTERNAL, "can't create a temporary file: " + error.message());
    remover.setFile(path_);
    llvm::raw_fd_ostream os(descriptor, /*shouldClose=*/true);
    os << content;
    os.close();
    std::error_code error = os.error();
    os.clear_error();
    if (error)
      return makeError(ESPMM_INTERNAL, "can't write " + path_ + ": " + error.message());
    return llvm::Error::success();
  }
  llvm::StringRef path() const { return path_; }
  llvm::Expected<std::string> read() const {
    auto file = llvm::MemoryBuffer::getFile(path_, /*IsText=*/false, /*RequiresNullTerminator=*/false,
                                            /*IsVolatile=*/true);
    if (!file)
      return makeError(ESPMM_INTERNAL, "can't read " + path_ + ": " + file.getError().message());
    return (*file)->getBuffer().str();
  }

private:
  llvm::SmallString<128> path_;
  llvm::FileRemover remover;
};

} // namespace

/// Runs a program to its end and gives what it printed.
static llvm::Expected<std::string> runProgram(llvm::StringRef program, llvm::ArrayRef<llvm::StringRef> arguments) {
  TemporaryFile log;
  if (llvm::Error error = log.create("log"))
    return error;
  llvm::SmallVector<llvm::StringRef> command = {program};
  command.append(arguments.begin(), arguments.end());
  std::optional<llvm::StringRef> redirects[] = {llvm::StringRef(""), log.path(), log.path()};
  std::string failure;
  int status = llvm::sys::ExecuteAndWait(program, command, std::nullopt, redirects, 0, 0, &failure);
  llvm::Expected<std::string> text = log.read();
  if (!text || status == 0)
    return text;
  return makeError(ESPMM_INTERNAL, llvm::join(command, " ") + " failed (" +
                                       (failure.empty() ? "exit status " + std::to_string(status) : failure) +
                                       "):\n" + *text);
}

llvm::Expected<std::string> ptxasVersion(llvm::StringRef ptxas) {
  llvm::Expected<std::string> text = runProgram(ptxas, {"--version"});
  if (!text)
    return text.takeError();
  // "Cuda compilation tools, release 13.0, V13.0.88"
  llvm::StringRef release = llvm::StringRef(*text).split("release ").second;
  if (release.empty())
    return makeError(ESPMM_INTERNAL, ptxas + " --version names no release: " + *text);
  return release.take_until([](char c) { return c == ',' || c == '\n'; }).str();
}

llvm::Expected<Cubin> assembleWithPtxas(llvm::StringRef ptx, llvm::StringRef chip) {
  llvm::Expected<std::string> ptxas = findPtxas();
  if (!ptxas)
    return withContext("assembling PTX for " + chip, ptxas.takeError());
  TemporaryFile source, output;
  if (llvm::Error error = source.create("ptx", ptx))
    return error;
  if (llvm::Error error = output.create("cubin"))
    return error;
  std::string target = ("-arch=" + chip).str();
  llvm::Expected<std::string> log =
      runProgram(*ptxas, {"-v", "-O3", target, source.path(), "-o", output.path()});
  if (!log)
    return log.takeError();
  llvm::Expected<std::string> code = output.read();
  if (!code)
    return code.takeError();
  return Cubin{"", std::move(*code), std::move(*log)};
}

/// The number before ` unit` in "320 bytes stack frame, 8 bytes spill stores", or 0.
static int numberBefore(llvm::StringRef line, llvm::StringRef unit) {
  size_t at = line.find((" " + unit).str());
  if (at == llvm::StringRef::npos)
    return 0;
  llvm::StringRef head = line.take_front(at);
  llvm::StringRef digits = head.take_back(head.size() - (head.find_last_not_of("0123456789") + 1));
  int number = 0;
  return digits.getAsInteger(10, number) ? 0 : number;
}

std::vector<KernelResources> parseAssemblerLog(llvm::StringRef log) {
  std::vector<KernelResources> kernels;
  llvm::SmallVector<llvm::StringRef> lines;
  log.split(lines, '\n');
  bool inFunction = false; // the properties of a device function that is no kernel are listed too
  for (llvm::StringRef line : lines) {
    if (line.contains("Compiling entry function")) {
      kernels.emplace_back();
      kernels.back().kernel = line.split('\'').second.split('\'').first.str();
      inFunction = true;
      continue;
    }
    if (line.contains("Function properties for"))
      inFunction = !kernels.empty() && line.rtrim().ends_with(" " + kernels.back().kernel);
    if (kernels.empty() || !inFunction)
      continue;
    KernelResources &kernel = kernels.back();
    if (line.contains("bytes stack frame")) {
      kernel.stack = numberBefore(line, "bytes stack frame");
      kernel.spillStores = numberBefore(line, "bytes spill stores");
      kernel.spillLoads = numberBefore(line, "bytes spill loads");
    } else if (line.contains(" Used ")) {
      kernel.registers = numberBefore(line, "registers");
      kernel.shared = numberBefore(line, "bytes smem");
    }
  }
  return kernels;
}

int64_t codeBytes(llvm::StringRef cubin, llvm::StringRef kernel) {
  auto file = llvm::object::ELFFile<llvm::object::ELF64LE>::create(cubin);
  if (!file)
    return llvm::consumeError(file.takeError()), 0;
  auto sections = file->sections();
  if (!sections)
    return llvm::consumeError(sections.takeError()), 0;
  for (const auto &section : *sections) {
    llvm::Expected<llvm::StringRef> name = file->getSectionName(section);
    if (!name)
      return llvm::consumeError(name.takeError()), 0;
    if (*name == (".text." + kernel).str())
      return int64_t(section.sh_size);
  }
  return 0;
}

} // namespace espmm::cuda
