#include "espmm/Runtime/Expression.h"
#include "espmm/Runtime/Error.h"
#include "JsonPath.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/MathExtras.h"
#include <algorithm>

namespace espmm {

llvm::Error Expression::append(const llvm::json::Value &value, const llvm::Twine &path, unsigned depth) {
  if (std::optional<int64_t> number = value.getAsInteger()) {
    terms.push_back({Op::Constant, *number});
    return llvm::Error::success();
  }
  if (std::optional<llvm::StringRef> symbol = value.getAsString()) {
    Op op = llvm::StringSwitch<Op>(*symbol)
                .Case("E", Op::Edges)
                .Case("R", Op::Receivers)
                .Case("S", Op::Senders)
                .Default(Op::Constant);
    if (op == Op::Constant)
      return manifestError(path, "one of the symbols E, R, S", value);
    terms.push_back({op, 0});
    return llvm::Error::success();
  }
  const llvm::json::Array *call = value.getAsArray();
  if (!call)
    return manifestError(path, "an expression: an integer, a symbol or [operator, a, b]", value);
  std::optional<llvm::StringRef> name = call->empty() ? std::nullopt : call->front().getAsString();
  if (!name || call->size() != 3)
    return manifestError(path, "[operator, a, b]", value);
  Op op = llvm::StringSwitch<Op>(*name)
              .Case("+", Op::Add)
              .Case("-", Op::Subtract)
              .Case("*", Op::Multiply)
              .Case("ceildiv", Op::CeilDiv)
              .Case("min", Op::Min)
              .Case("max", Op::Max)
              .Default(Op::Constant);
  if (op == Op::Constant)
    return manifestError(path + "[0]", "one of the operators + - * ceildiv min max", call->front());
  if (depth + 1 >= maxDepth)
    return makeError(ESPMM_INVALID, "manifest: " + path + ": the expression is nested more than " +
                                        llvm::Twine(maxDepth) + " deep");
  // The value of `a` waits on the stack while `b` is computed.
  if (llvm::Error error = append((*call)[1], path + "[1]", depth + 1))
    return error;
  if (llvm::Error error = append((*call)[2], path + "[2]", depth + 1))
    return error;
  terms.push_back({op, 0});
  return llvm::Error::success();
}

llvm::Expected<Expression> Expression::parse(const llvm::json::Value &value, llvm::StringRef path) {
  Expression expression;
  expression.terms.clear();
  if (llvm::Error error = expression.append(value, path, 0))
    return error;
  return expression;
}

/// False where the result does not exist in int64.
bool Expression::apply(Op op, int64_t a, int64_t b, int64_t &result) {
  switch (op) {
  case Op::Add:
    return !llvm::AddOverflow(a, b, result);
  case Op::Subtract:
    return !llvm::SubOverflow(a, b, result);
  case Op::Multiply:
    return !llvm::MulOverflow(a, b, result);
  case Op::CeilDiv:
    if (b <= 0)
      return false;
    result = a / b + (a % b > 0);
    return true;
  case Op::Min:
    result = std::min(a, b);
    return true;
  case Op::Max:
    result = std::max(a, b);
    return true;
  default:
    return false;
  }
}

llvm::Expected<int64_t> Expression::evaluate(const Sizes &sizes) const {
  int64_t stack[maxDepth + 1];
  unsigned top = 0;
  for (const Term &term : terms) {
    switch (term.op) {
    case Op::Constant:
      stack[top++] = term.value;
      break;
    case Op::Edges:
      stack[top++] = sizes.edges;
      break;
    case Op::Receivers:
      stack[top++] = sizes.receivers;
      break;
    case Op::Senders:
      stack[top++] = sizes.senders;
      break;
    default:
      --top;
      if (!apply(term.op, stack[top - 1], stack[top], stack[top - 1]))
        return makeError(ESPMM_INVALID, str() + (term.op == Op::CeilDiv ? " divides by zero or less"
                                                                        : " does not fit in 64 bits") +
                                            " for E = " + llvm::Twine(sizes.edges) + ", R = " +
                                            llvm::Twine(sizes.receivers) + ", S = " + llvm::Twine(sizes.senders));
    }
  }
  return stack[0];
}

std::optional<int64_t> Expression::constant() const {
  for (const Term &term : terms)
    if (term.op == Op::Edges || term.op == Op::Receivers || term.op == Op::Senders)
      return std::nullopt;
  llvm::Expected<int64_t> value = evaluate(Sizes());
  if (!value) {
    llvm::consumeError(value.takeError());
    return std::nullopt;
  }
  return *value;
}

std::string Expression::str() const {
  llvm::SmallVector<std::string, 8> stack;
  for (const Term &term : terms) {
    switch (term.op) {
    case Op::Constant:
      stack.push_back(std::to_string(term.value));
      continue;
    case Op::Edges:
      stack.push_back("E");
      continue;
    case Op::Receivers:
      stack.push_back("R");
      continue;
    case Op::Senders:
      stack.push_back("S");
      continue;
    default:
      break;
    }
    std::string b = stack.pop_back_val();
    std::string a = stack.pop_back_val();
    if (term.op == Op::Add || term.op == Op::Subtract || term.op == Op::Multiply)
      stack.push_back("(" + a + (term.op == Op::Add ? " + " : term.op == Op::Subtract ? " - " : " * ") + b + ")");
    else
      stack.push_back((term.op == Op::CeilDiv ? "ceildiv(" : term.op == Op::Min ? "min(" : "max(") + a + ", " + b + ")");
  }
  return stack.back();
}

} // namespace espmm
