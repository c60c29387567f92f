//===- HostCode.cpp - an object file, linked into this process -----------===//
//
// JITLink is driven directly: one finished object needs neither ORC's sessions nor a target machine, and is linked in
// about a millisecond.
//
#include "espmm/Runtime/HostCode.h"
#include "espmm/Runtime/Error.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ExecutionEngine/JITLink/JITLink.h"
#include "llvm/ExecutionEngine/JITLink/JITLinkMemoryManager.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"
#include <cstring>
#include <dlfcn.h>

namespace espmm {

using namespace llvm::jitlink;

struct HostCode::Impl {
  std::unique_ptr<InProcessMemoryManager> memory;
  std::optional<JITLinkMemoryManager::FinalizedAlloc> code;
  llvm::StringMap<void *> symbols;

  ~Impl() {
    if (code)
      llvm::consumeError(memory->deallocate(std::move(*code)));
  }
};

namespace {

/// What a compiler may call on its own account is named here, so that it is found however the process was linked.
void *processSymbol(llvm::StringRef name) {
  const std::pair<llvm::StringRef, void *> known[] = {
      {"memcpy", reinterpret_cast<void *>(&std::memcpy)},
      {"memmove", reinterpret_cast<void *>(&std::memmove)},
      {"memset", reinterpret_cast<void *>(&std::memset)},
      {"memcmp", reinterpret_cast<void *>(&std::memcmp)},
  };
  for (auto &[symbol, address] : known)
    if (symbol == name)
      return address;
  return dlsym(RTLD_DEFAULT, name.str().c_str());
}

/// Answers JITLink's questions at once, so that link() has succeeded or failed when it returns.
class LinkContext : public JITLinkContext {
public:
  LinkContext(JITLinkMemoryManager &memory, llvm::StringMap<void *> &symbols,
              std::optional<JITLinkMemoryManager::FinalizedAlloc> &code, llvm::Error &failure)
      : JITLinkContext(nullptr), memory(memory), symbols(symbols), code(code), failure(failure) {}

  JITLinkMemoryManager &getMemoryManager() override { return memory; }

  void notifyFailed(llvm::Error error) override { failure = llvm::joinErrors(std::move(failure), std::move(error)); }

  void lookup(const LookupMap &wanted, std::unique_ptr<JITLinkAsyncLookupContinuation> continuation) override {
    AsyncLookupResult found;
    std::string missing;
    for (auto &[name, flags] : wanted) {
      void *address = processSymbol(*name);
      if (!address && flags == SymbolLookupFlags::RequiredSymbol)
        missing += (missing.empty() ? "" : ", ") + (*name).str();
      found[name] = {llvm::orc::ExecutorAddr::fromPtr(address), llvm::JITSymbolFlags::Exported};
    }
    if (missing.empty())
      continuation->run(std::move(found));
    else
      continuation->run(makeError(ESPMM_INTERNAL, "host code needs symbols that this process lacks: " + missing));
  }

  llvm::Error notifyResolved(LinkGraph &graph) override {
    for (Symbol *symbol : graph.defined_symbols())
      if (symbol->hasName() && symbol->getScope() != Scope::Local)
        symbols[*symbol->getName()] = symbol->getAddress().toPtr<void *>();
    return llvm::Error::success();
  }

  void notifyFinalized(JITLinkMemoryManager::FinalizedAlloc allocation) override { code = std::move(allocation); }

private:
  JITLinkMemoryManager &memory;
  llvm::StringMap<void *> &symbols;
  std::optional<JITLinkMemoryManager::FinalizedAlloc> &code;
  llvm::Error &failure;
};

} // namespace

HostCode::HostCode(std::unique_ptr<Impl> impl) : impl(std::move(impl)) {}
HostCode::~HostCode() = default;

llvm::Expected<std::unique_ptr<HostCode>> HostCode::link(llvm::StringRef object) {
  auto impl = std::make_unique<Impl>();
  auto memory = InProcessMemoryManager::Create();
  if (!memory)
    return withContext("linking host code", memory.takeError());
  impl->memory = std::move(*memory);

  // Held here too: the names in use outlive the graph by the moment it takes to leave the last callback.
  auto names = std::make_shared<llvm::orc::SymbolStringPool>();
  auto graph = createLinkGraphFromObject(llvm::MemoryBufferRef(object, "host code"), names);
  if (!graph)
    return withContext("linking host code", graph.takeError());
  llvm::Triple host(llvm::sys::getProcessTriple());
  if ((*graph)->getTargetTriple().getArch() != host.getArch())
    return makeError(ESPMM_INVALID, "linking host code: the object is for " +
                                        (*graph)->getTargetTriple().getArchName() + ", this machine is " +
                                        host.getArchName());

  llvm::Error failure = llvm::Error::success();
  llvm::jitlink::link(std::move(*graph), std::make_unique<LinkContext>(*impl->memory, impl->symbols, impl->code, failure));
  if (failure)
    return withContext("linking host code", std::move(failure));
  return std::unique_ptr<HostCode>(new HostCode(std::move(impl)));
}

llvm::Expected<void *> HostCode::lookup(llvm::StringRef symbol) const {
  auto found = impl->symbols.find(symbol);
  if (found == impl->symbols.end())
    return makeError(ESPMM_INVALID, "the object defines no function " + symbol);
  return found->second;
}

} // namespace espmm
