//===- Error.h - errors that carry a status of the C interface -----------===//
#ifndef ESPMM_RUNTIME_ERROR_H
#define ESPMM_RUNTIME_ERROR_H

#include "espmm-c/espmm.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"
#include <string>

namespace espmm {

/// An error whose kind is one of the C interface's, so that it need not be guessed from the text on the way out.
class RuntimeError : public llvm::ErrorInfo<RuntimeError> {
public:
  static char ID;

  RuntimeError(espmm_status status, std::string message) : status_(status), message_(std::move(message)) {}

  espmm_status status() const { return status_; }
  void log(llvm::raw_ostream &os) const override;
  std::error_code convertToErrorCode() const override { return llvm::inconvertibleErrorCode(); }

private:
  espmm_status status_;
  std::string message_;
};

llvm::Error makeError(espmm_status status, const llvm::Twine &message);

/// The same kind of error, with `context` and a colon before its text.
llvm::Error withContext(const llvm::Twine &context, llvm::Error error);

} // namespace espmm

#endif
