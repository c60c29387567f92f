//===- Warning.h - what goes wrong without failing the call --------------===//
#ifndef ESPMM_RUNTIME_WARNING_H
#define ESPMM_RUNTIME_WARNING_H

#include "llvm/ADT/Twine.h"

namespace espmm {

using WarningHandler = void (*)(const char *text);

/// Where warnings go; null is the default: "espmm: warning: TEXT" on stderr. Returns the handler before.
WarningHandler setWarningHandler(WarningHandler handler);

void warn(const llvm::Twine &text);

} // namespace espmm

#endif
