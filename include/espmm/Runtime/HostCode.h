//===- HostCode.h - an object file, linked into this process -------------===//
#ifndef ESPMM_RUNTIME_HOSTCODE_H
#define ESPMM_RUNTIME_HOSTCODE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>

namespace espmm {

/// Machine code in memory, callable for as long as this object lives.
class HostCode {
public:
  /// `object`: the bytes of an ELF relocatable file for this machine's architecture, position independent. Symbols
  /// it does not define are looked up in the process (memcpy and the like).
  static llvm::Expected<std::unique_ptr<HostCode>> link(llvm::StringRef object);
  ~HostCode();

  /// The address of a global symbol that the object defines.
  llvm::Expected<void *> lookup(llvm::StringRef symbol) const;

private:
  struct Impl;
  explicit HostCode(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl;
};

} // namespace espmm

#endif
