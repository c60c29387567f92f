#include "espmm/Runtime/Error.h"
#include "espmm/Runtime/LastError.h"
#include "espmm/Runtime/Warning.h"
#include "llvm/Support/raw_ostream.h"
#include <atomic>
#include <cstdio>

namespace espmm {

char RuntimeError::ID = 0;

void RuntimeError::log(llvm::raw_ostream &os) const { os << message_; }

llvm::Error makeError(espmm_status status, const llvm::Twine &message) {
  return llvm::make_error<RuntimeError>(status, message.str());
}

/// Splits an error into its status and text; several joined errors keep the first one's status.
static espmm_status take(llvm::Error error, std::string &text) {
  std::optional<espmm_status> status;
  llvm::handleAllErrors(std::move(error), [&](const llvm::ErrorInfoBase &info) {
    if (!status)
      status = info.isA<RuntimeError>() ? static_cast<const RuntimeError &>(info).status() : ESPMM_INTERNAL;
    if (!text.empty())
      text += "\n";
    text += info.message();
  });
  return status.value_or(ESPMM_OK);
}

llvm::Error withContext(const llvm::Twine &context, llvm::Error error) {
  if (!error)
    return error;
  std::string text;
  espmm_status status = take(std::move(error), text);
  return makeError(status, context + ": " + text);
}

static std::string &lastErrorText() {
  thread_local std::string text;
  return text;
}

void setLastError(std::string text) { lastErrorText() = std::move(text); }

const char *lastError() { return lastErrorText().c_str(); }

espmm_status report(llvm::Error error) {
  if (!error)
    return ESPMM_OK;
  std::string text;
  espmm_status status = take(std::move(error), text);
  setLastError(std::move(text));
  return status;
}

static void printWarning(const char *text) { std::fprintf(stderr, "espmm: warning: %s\n", text); }

static std::atomic<WarningHandler> warningHandler{printWarning};

WarningHandler setWarningHandler(WarningHandler handler) {
  return warningHandler.exchange(handler ? handler : printWarning);
}

void warn(const llvm::Twine &text) { warningHandler.load()(text.str().c_str()); }

} // namespace espmm
