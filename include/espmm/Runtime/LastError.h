//===- LastError.h - the calling thread's last error ---------------------===//
//
// Shared by both halves of the C interface: whichever function fails leaves its text here.
//
#ifndef ESPMM_RUNTIME_LASTERROR_H
#define ESPMM_RUNTIME_LASTERROR_H

#include "espmm/Runtime/Error.h"

namespace espmm {

/// Stores the text that espmm_last_error() gives to this thread.
void setLastError(std::string text);

/// "" before the first error. Valid until this thread's next error.
const char *lastError();

/// Stores a failure's text and gives its status (ESPMM_INTERNAL where it carries none). A success is ESPMM_OK and
/// leaves the last error alone.
espmm_status report(llvm::Error error);

} // namespace espmm

#endif
