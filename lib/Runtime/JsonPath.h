//===- JsonPath.h - reading JSON with errors that say where --------------===//
#ifndef ESPMM_LIB_RUNTIME_JSONPATH_H
#define ESPMM_LIB_RUNTIME_JSONPATH_H

#include "espmm/Runtime/Error.h"
#include "llvm/Support/JSON.h"
#include <vector>

namespace espmm {

/// "manifest: PATH: expected WHAT, got VALUE". A long value is cut.
llvm::Error manifestError(const llvm::Twine &path, const llvm::Twine &expected, const llvm::json::Value &got);

/// A value and where it stands: "steps[1].grid". The first failure of any value read from the same root is kept in
/// `failure`, and every read after it gives a default: so a reader says what it wants, and checks once, at its end.
class JsonPath {
public:
  JsonPath(const llvm::json::Value &value, llvm::Error &failure) : value_(&value), failure(&failure) {}

  const llvm::json::Value &value() const { return *value_; }
  const std::string &path() const { return path_; }

  /// The member of an object; having none is a failure.
  JsonPath operator[](llvm::StringRef key) const;
  bool has(llvm::StringRef key) const;
  JsonPath operator[](size_t index) const;

  std::vector<JsonPath> elements() const;
  std::string string() const;
  bool boolean() const;
  int64_t integer(int64_t least, int64_t most) const;

  /// The position of a string in `names`.
  unsigned oneOf(llvm::ArrayRef<llvm::StringRef> names) const;

  void expected(const llvm::Twine &what) const { fail(manifestError(path_, what, *value_)); }
  void fail(llvm::Error error) const;

private:
  JsonPath(const JsonPath &parent, std::string path, const llvm::json::Value *value)
      : value_(value), failure(parent.failure), path_(std::move(path)) {}

  const llvm::json::Value *value_;
  llvm::Error *failure;
  std::string path_;
};

} // namespace espmm

#endif
