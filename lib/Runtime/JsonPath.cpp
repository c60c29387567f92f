#include "JsonPath.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"

namespace espmm {

/// What a read beyond a failure looks at.
static const llvm::json::Value nothing = nullptr;

static std::string shortened(const llvm::json::Value &value) {
  std::string text;
  llvm::raw_string_ostream(text) << value;
  constexpr size_t longest = 120;
  return text.size() > longest ? text.substr(0, longest) + "..." : text;
}

llvm::Error manifestError(const llvm::Twine &path, const llvm::Twine &expected, const llvm::json::Value &got) {
  std::string place = path.str();
  return makeError(ESPMM_INVALID, "manifest: " + llvm::Twine(place) + (place.empty() ? "" : ": ") + "expected " +
                                      expected + ", got " + shortened(got));
}

void JsonPath::fail(llvm::Error error) const {
  if (*failure)
    llvm::consumeError(std::move(error));
  else
    *failure = std::move(error);
}

bool JsonPath::has(llvm::StringRef key) const {
  const llvm::json::Object *object = value_->getAsObject();
  return object && object->get(key);
}

JsonPath JsonPath::operator[](llvm::StringRef key) const {
  std::string path = (path_.empty() ? key : path_ + "." + key).str();
  const llvm::json::Object *object = value_->getAsObject();
  const llvm::json::Value *member = object ? object->get(key) : nullptr;
  if (!object)
    expected("an object");
  else if (!member)
    fail(makeError(ESPMM_INVALID, "manifest: " + llvm::Twine(path) + " is missing"));
  return JsonPath(*this, std::move(path), member ? member : &nothing);
}

JsonPath JsonPath::operator[](size_t index) const {
  const llvm::json::Array *array = value_->getAsArray();
  bool there = array && index < array->size();
  if (!there)
    expected("an array of at least " + llvm::Twine(index + 1));
  return JsonPath(*this, path_ + "[" + std::to_string(index) + "]", there ? &(*array)[index] : &nothing);
}

std::vector<JsonPath> JsonPath::elements() const {
  std::vector<JsonPath> result;
  if (const llvm::json::Array *array = value_->getAsArray())
    for (size_t i = 0; i < array->size(); ++i)
      result.push_back((*this)[i]);
  else
    expected("an array");
  return result;
}

std::string JsonPath::string() const {
  if (std::optional<llvm::StringRef> text = value_->getAsString())
    return text->str();
  expected("a string");
  return {};
}

bool JsonPath::boolean() const {
  if (std::optional<bool> flag = value_->getAsBoolean())
    return *flag;
  expected("true or false");
  return false;
}

int64_t JsonPath::integer(int64_t least, int64_t most) const {
  std::optional<int64_t> number = value_->getAsInteger();
  if (number && *number >= least && *number <= most)
    return *number;
  expected("an integer from " + llvm::Twine(least) + " to " + llvm::Twine(most));
  return least;
}

unsigned JsonPath::oneOf(llvm::ArrayRef<llvm::StringRef> names) const {
  if (std::optional<llvm::StringRef> text = value_->getAsString()) {
    const auto *found = llvm::find(names, *text);
    if (found != names.end())
      return found - names.begin();
  }
  expected("one of " + llvm::join(names, ", "));
  return 0;
}

} // namespace espmm
