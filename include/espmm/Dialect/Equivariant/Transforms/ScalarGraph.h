//===- ScalarGraph.h - small tensors as sums of products of scalars -*- C++ -*-===//
//
// What `equivariant-sparsify` emits from: each element of each small tensor is a node, a node is a sum of terms, a term a
// product of a constant and at most two nodes. Elements that are structurally zero have no node.
//
// Nodes are emitted on demand, and as soon as one is complete every sum that can use it at once does so: a shared product
// (P[i,j]) is consumed by all of its users before the next is formed, so that few values are live.
//
//===----------------------------------------------------------------------===//
#ifndef ESPMM_DIALECT_EQUIVARIANT_TRANSFORMS_SCALARGRAPH_H
#define ESPMM_DIALECT_EQUIVARIANT_TRANSFORMS_SCALARGRAPH_H

#include "espmm/Dialect/Equivariant/IR/Equivariant.h"
#include "mlir/IR/Builders.h"
#include <deque>
#include <functional>
#include <unordered_map>

namespace espmm::equivariant {

struct ScalarNode;

/// scale * a * b; b, or both, may be absent.
struct ScalarTerm {
  double scale = 1.0;
  ScalarNode *a = nullptr;
  ScalarNode *b = nullptr;
  /// Position in the program of the operation that the term comes from.
  unsigned order = 0;
  bool emitted = false;
};

struct ScalarNode {
  enum class Kind { Constant, Load, Ready, Sum } kind;
  mlir::Type type;
  double constant = 0.0;
  /// Load: the read, and the element's offset from the read's lane address in scalars.
  ReadOp read;
  int64_t offset = 0;
  /// Load: of what the same lane writes next. A lane that the mask leaves out does not read it: another may be writing it.
  bool isWrittenToo = false;
  /// Load: how much had been emitted when it was used last.
  unsigned lastUse = 0;
  llvm::SmallVector<ScalarTerm, 4> terms;
  unsigned numEmitted = 0;
  bool complete = false;
  /// Wanted for itself, not only by other sums.
  bool isRoot = false;
  /// Its terms are known to their operands.
  bool linked = false;
  /// Ready or emitted.
  mlir::Value value;
  llvm::SmallVector<std::pair<ScalarNode *, unsigned>, 4> users;
  /// Terms that still have to read this value.
  unsigned pendingUses = 0;
  /// The run in which it counts as alive.
  unsigned aliveIn = 0;
  /// Called once when a sum is complete.
  std::function<void(mlir::Value)> onComplete;
};

/// One element for each position, row-major; null where structurally zero.
using ScalarElements = llvm::SmallVector<ScalarNode *>;

struct ScalarStatistics {
  int64_t multiplications = 0, additions = 0;
  /// The largest number of values alive at once during one call of emitRoots.
  int64_t maxLive = 0;
};

class ScalarGraph {
public:
  /// A graph that does not emit only counts what it would.
  explicit ScalarGraph(mlir::OpBuilder &builder, bool emits = true) : builder(builder), emits(emits) {}

  /// The elements of a tensor; builds those of the read, einsum, add, zero or coefficients that defines it.
  const ScalarElements &get(mlir::Value tensor);
  /// Says what the elements of a tensor are that is defined elsewhere (a loop's argument or result).
  void bind(mlir::Value tensor, llvm::ArrayRef<mlir::Value> scalars);

  /// New sums with the elements' terms, to be completed by emitRoots. Sums that nobody else reads are not copied but taken.
  ScalarElements makeRoots(mlir::Value tensor);
  void addRoot(ScalarNode *node) {
    node->isRoot = true;
    roots.push_back(node);
  }
  ScalarNode *makeLoad(ReadOp like, mlir::Type type, int64_t offset);
  ScalarNode *makeSum(mlir::Type type) { return make(ScalarNode::Kind::Sum, type); }
  void addTerm(ScalarNode *sum, ScalarTerm term) { sum->terms.push_back(term); }

  /// Emits everything that the roots need at the builder's insertion point.
  void emitRoots();

  /// One vector with a node in each lane (null: zero), emitted at once; null if the nodes are more than sums of constants times
  /// what is in memory.
  mlir::Value emitLanes(llvm::ArrayRef<ScalarNode *> nodes, mlir::VectorType type);

  /// The address of element `offset` of a read's or write's lane.
  mlir::Value getAddress(mlir::Value base, mlir::Value lane, int64_t laneStride, int64_t offset, mlir::Type scalar);
  /// Forgets what was computed for addresses and constants: they may not dominate another block.
  void leaveBlock();

  ScalarStatistics statistics;

private:
  using TermLists = llvm::SmallVector<llvm::SmallVector<ScalarTerm, 4>>;
  ScalarNode *make(ScalarNode::Kind kind, mlir::Type type);
  /// The elements of a tensor if they are known.
  const ScalarElements *find(mlir::Value tensor) const;
  TermLists getTerms(mlir::Value tensor);
  TermLists getEinsumTerms(EinsumOp op);
  void inlineSumsAddedOnce(TermLists &lists, const ScalarElements &inner);
  TermLists getInnerTerms(mlir::Value operand, mlir::Operation *op);
  TermLists getReferences(mlir::Value tensor, mlir::Operation *op);
  ScalarTerm makeTerm(ScalarNode *a, ScalarNode *b, unsigned order);
  unsigned getOrder(mlir::Operation *op);

  void link(ScalarNode *sum);
  void emitTerm(ScalarNode *sum, unsigned index);
  mlir::Value materialize(ScalarNode *node);
  void finish(ScalarNode *sum);
  bool isReady(ScalarNode *node) const;
  bool isCheap(ScalarNode *node) const;
  mlir::Value load(ScalarNode *node);
  mlir::Value accumulate(ScalarNode *sum, const ScalarTerm &term);
  void count(ScalarNode *sum, const ScalarTerm &term);
  mlir::Value getPlaceholder();
  mlir::Value toType(mlir::Value value, mlir::Type type);
  mlir::Value getConstant(double value, mlir::Type type);
  void consume(ScalarNode *node);
  void startLife(ScalarNode *node);
  void endLife(ScalarNode *node);

  mlir::OpBuilder &builder;
  bool emits;
  /// What stands for every value that is not emitted.
  mlir::Value placeholder;
  unsigned run = 1;
  int64_t live = 0;
  unsigned numEmitted = 0;
  std::deque<ScalarNode> nodes;
  // References into it stay valid while it grows.
  std::unordered_map<void *, ScalarElements> elements;
  llvm::DenseMap<mlir::Operation *, unsigned> orders;
  llvm::SmallVector<ScalarNode *> roots;
  llvm::DenseMap<std::tuple<mlir::Value, mlir::Value, int64_t, mlir::Type>, mlir::Value> laneAddresses;
  llvm::DenseMap<std::pair<mlir::Value, mlir::Type>, mlir::Value> splats;
  llvm::DenseMap<std::pair<uint64_t, mlir::Type>, mlir::Value> constants;
};

} // namespace espmm::equivariant

#endif // ESPMM_DIALECT_EQUIVARIANT_TRANSFORMS_SCALARGRAPH_H
