//===- Expression.h - sizes of a launch, as the manifest writes them -----===//
#ifndef ESPMM_RUNTIME_EXPRESSION_H
#define ESPMM_RUNTIME_EXPRESSION_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include <cstdint>
#include <optional>
#include <string>

namespace espmm {

/// The sizes that an expression may depend on. In a batch, edges are its rows.
struct Sizes {
  int64_t edges = 0;
  int64_t receivers = 0;
  int64_t senders = 0;
};

/// An integer, a symbol (E, R, S) or ["+"|"-"|"*"|"ceildiv"|"min"|"max", a, b], evaluated in int64.
class Expression {
public:
  /// The constant 0.
  Expression() : Expression(0) {}
  explicit Expression(int64_t constant) { terms.push_back({Op::Constant, constant}); }

  /// `path` says in errors where in the manifest the value stands.
  static llvm::Expected<Expression> parse(const llvm::json::Value &value, llvm::StringRef path);

  /// Fails on overflow and on division by anything but a positive number. Allocates only in order to fail.
  llvm::Expected<int64_t> evaluate(const Sizes &sizes) const;

  /// The value, where no symbol occurs.
  std::optional<int64_t> constant() const;

  /// As one would write it: "ceildiv(E * 4, 32)".
  std::string str() const;

private:
  enum class Op : uint8_t { Constant, Edges, Receivers, Senders, Add, Subtract, Multiply, CeilDiv, Min, Max };
  struct Term {
    Op op;
    int64_t value; // of a Constant
  };

  /// Evaluation keeps its stack in a fixed array; parse() refuses what would not fit. A launch's number of blocks is a sum with a term for each tile.
  static constexpr unsigned maxDepth = 512;

  static bool apply(Op op, int64_t a, int64_t b, int64_t &result);
  llvm::Error append(const llvm::json::Value &value, const llvm::Twine &path, unsigned depth);

  llvm::SmallVector<Term, 4> terms; // postfix
};

} // namespace espmm

#endif
