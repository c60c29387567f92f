//===- ScalarGraph.cpp - small tensors as sums of products of scalars -----===//
#include "espmm/Dialect/Equivariant/Transforms/ScalarGraph.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace espmm::equivariant;

static Type getElementType(Value tensor) { return cast<RankedTensorType>(tensor.getType()).getElementType(); }

//===----------------------------------------------------------------------===//
// Building
//===----------------------------------------------------------------------===//

ScalarNode *ScalarGraph::make(ScalarNode::Kind kind, Type type) {
  ScalarNode &node = nodes.emplace_back();
  node.kind = kind;
  node.type = type;
  return &node;
}

unsigned ScalarGraph::getOrder(Operation *op) {
  auto number = [&](Operation *op) { return orders.try_emplace(op, orders.size()).first->second; };
  if (!orders.contains(op))
    for (Operation &other : *op->getBlock())
      number(&other);
  return number(op);
}

void ScalarGraph::bind(Value tensor, ArrayRef<Value> scalars) {
  ScalarElements &result = elements[tensor.getAsOpaquePointer()];
  result.clear();
  for (Value scalar : scalars) {
    ScalarNode *node = nullptr;
    if (scalar) {
      node = make(ScalarNode::Kind::Ready, scalar.getType());
      node->value = scalar;
    }
    result.push_back(node);
  }
}

ScalarNode *ScalarGraph::makeLoad(ReadOp like, Type type, int64_t offset) {
  ScalarNode *node = make(ScalarNode::Kind::Load, type);
  node->read = like;
  node->offset = offset;
  return node;
}

/// Calls `visit(position, offset)` for each element, row-major, with its offset under `strides`.
static void forEachElement(ArrayRef<int64_t> shape, ArrayRef<int64_t> strides,
                           llvm::function_ref<void(int64_t, int64_t)> visit) {
  int64_t count = ShapedType::getNumElements(shape);
  for (int64_t n = 0; n < count; ++n) {
    int64_t rest = n, offset = 0;
    for (int64_t d = static_cast<int64_t>(shape.size()) - 1; d >= 0; --d) {
      offset += rest % shape[d] * strides[d];
      rest /= shape[d];
    }
    visit(n, offset);
  }
}

const ScalarElements &ScalarGraph::get(Value tensor) {
  if (auto it = elements.find(tensor.getAsOpaquePointer()); it != elements.end())
    return it->second;
  auto type = cast<RankedTensorType>(tensor.getType());
  ScalarElements result(type.getNumElements(), nullptr);
  Operation *op = tensor.getDefiningOp();
  if (auto read = dyn_cast<ReadOp>(op); read && read.getPacked()) {
    for (auto [place, n] : llvm::enumerate(*read.getPacked()))
      result[n] = makeLoad(read, type.getElementType(), read.getOffset() + place);
  } else if (read) {
    forEachElement(type.getShape(), read.getStrides(), [&](int64_t n, int64_t offset) {
      result[n] = makeLoad(read, type.getElementType(), read.getOffset() + offset);
    });
  } else if (isConstantTensor(op)) {
    for (auto [n, value] : llvm::enumerate(getConstantElements(op)))
      if (value != 0.0) {
        result[n] = make(ScalarNode::Kind::Constant, type.getElementType());
        // As it will be emitted: a product that rounds to 1 costs nothing.
        result[n]->constant = type.getElementType().isF32() ? static_cast<float>(value) : value;
        result[n]->complete = true;
      }
  } else if (auto stack = dyn_cast<StackOp>(op)) {
    result.clear();
    for (Value part : stack.getValues())
      llvm::append_range(result, get(part));
  } else if (!isa<ZeroOp>(op)) {
    TermLists lists = getTerms(tensor);
    for (auto [n, terms] : llvm::enumerate(lists))
      if (!terms.empty()) {
        result[n] = makeSum(type.getElementType());
        result[n]->terms.assign(terms.begin(), terms.end());
        link(result[n]);
      }
  }
  return elements[tensor.getAsOpaquePointer()] = std::move(result);
}

/// A sum that is one other value, or its negative, is that value: its sign goes into the term that uses it. One that is a single
/// product of two values is not formed to be added: a multiply-add takes the two.
ScalarTerm ScalarGraph::makeTerm(ScalarNode *a, ScalarNode *b, unsigned order) {
  ScalarTerm term;
  term.order = order;
  for (ScalarNode *node : {a, b}) {
    if (!node)
      continue;
    while (node->kind == ScalarNode::Kind::Sum && node->terms.size() == 1 && !node->terms[0].b && node->terms[0].a &&
           std::abs(node->terms[0].scale) == 1.0) {
      term.scale *= node->terms[0].scale;
      node = node->terms[0].a;
    }
    if (node->kind == ScalarNode::Kind::Constant)
      term.scale *= node->constant;
    else
      (term.a ? term.b : term.a) = node;
  }
  if (term.a && !term.b && term.a->kind == ScalarNode::Kind::Sum && term.a->terms.size() == 1 && term.a->numEmitted == 0) {
    const ScalarTerm &product = term.a->terms[0];
    if (product.b && std::abs(term.scale * product.scale) == 1.0) {
      term.scale *= product.scale;
      term.b = product.b;
      term.a = product.a;
    }
  }
  return term;
}

ScalarGraph::TermLists ScalarGraph::getEinsumTerms(EinsumOp op) {
  StringRef resultLetters = op.getResultLetters();
  auto resultType = op.getType();
  TermLists lists(resultType.getNumElements());
  unsigned order = getOrder(op);
  unsigned numOperands = op.getOperands_().size();

  // Odometer over all letters, operand 0's first; a zero element of operand 0 skips the rest.
  SmallVector<char> letters;
  SmallVector<int64_t> extents;
  for (unsigned o = 0; o < numOperands; ++o)
    for (auto [letter, extent] : llvm::zip(op.getOperandLetters(o),
                                           cast<RankedTensorType>(op.getOperands_()[o].getType()).getShape()))
      if (!llvm::is_contained(letters, letter)) {
        letters.push_back(letter);
        extents.push_back(extent);
      }
  auto getStrides = [&](StringRef group, ArrayRef<int64_t> shape) {
    SmallVector<int64_t> strides(letters.size(), 0);
    int64_t stride = 1;
    for (int64_t d = static_cast<int64_t>(group.size()) - 1; d >= 0; --d) {
      strides[llvm::find(letters, group[d]) - letters.begin()] = stride;
      stride *= shape[d];
    }
    return strides;
  };
  SmallVector<SmallVector<int64_t>> strides;
  SmallVector<const ScalarElements *> operands;
  for (unsigned o = 0; o < numOperands; ++o)
    get(op.getOperands_()[o]);
  for (unsigned o = 0; o < numOperands; ++o) {
    Value operand = op.getOperands_()[o];
    strides.push_back(getStrides(op.getOperandLetters(o), cast<RankedTensorType>(operand.getType()).getShape()));
    operands.push_back(&elements.find(operand.getAsOpaquePointer())->second);
  }
  SmallVector<int64_t> resultStrides = getStrides(resultLetters, resultType.getShape());

  SmallVector<int64_t> index(letters.size(), 0);
  int64_t total = ShapedType::getNumElements(extents);
  int64_t inner = 1;
  for (size_t d = op.getOperandLetters(0).size(); d < extents.size(); ++d)
    inner *= extents[d];
  auto dot = [&](ArrayRef<int64_t> s) {
    int64_t sum = 0;
    for (auto [i, stride] : llvm::zip(index, s))
      sum += i * stride;
    return sum;
  };
  for (int64_t n = 0; n < total; ++n) {
    int64_t rest = n;
    for (int64_t d = static_cast<int64_t>(extents.size()) - 1; d >= 0; --d) {
      index[d] = rest % extents[d];
      rest /= extents[d];
    }
    ScalarNode *a = (*operands[0])[dot(strides[0])];
    if (!a) {
      n += inner - 1 - n % inner;
      continue;
    }
    ScalarNode *b = nullptr;
    if (numOperands == 2 && !(b = (*operands[1])[dot(strides[1])]))
      continue;
    lists[dot(resultStrides)].push_back(makeTerm(a, b, order));
  }
  for (Value operand : op.getOperands_())
    if (operand.hasOneUse() && isa_and_nonnull<EinsumOp, AddOp>(operand.getDefiningOp()))
      inlineSumsAddedOnce(lists, elements.find(operand.getAsOpaquePointer())->second);
  return lists;
}

/// Of the elements of a tensor that only these sums read, those that are added once, to one of them, are not formed: their terms are
/// added instead.
void ScalarGraph::inlineSumsAddedOnce(TermLists &lists, const ScalarElements &inner) {
  llvm::SmallDenseSet<ScalarNode *> candidates;
  for (ScalarNode *node : inner)
    if (node && node->kind == ScalarNode::Kind::Sum && node->numEmitted == 0)
      candidates.insert(node);
  llvm::SmallDenseMap<ScalarNode *, unsigned> uses;
  for (auto &terms : lists)
    for (const ScalarTerm &term : terms)
      for (ScalarNode *node : {term.a, term.b})
        ++uses[node];
  for (auto &terms : lists) {
    llvm::SmallVector<ScalarTerm, 4> flat;
    for (const ScalarTerm &term : terms) {
      bool isAdded = term.a && !term.b && std::abs(term.scale) == 1.0;
      if (!isAdded || uses.lookup(term.a) != 1 || !candidates.contains(term.a)) {
        flat.push_back(term);
        continue;
      }
      for (ScalarTerm part : term.a->terms) {
        part.scale *= term.scale;
        part.order = term.order;
        flat.push_back(part);
      }
    }
    terms = std::move(flat);
  }
}

/// The terms of each element, sums of sums flattened where nobody else reads the inner sum.
ScalarGraph::TermLists ScalarGraph::getTerms(Value tensor) {
  Operation *op = tensor.getDefiningOp();
  bool isKnown = elements.count(tensor.getAsOpaquePointer());
  if (!isKnown)
    if (auto einsum = dyn_cast_or_null<EinsumOp>(op))
      return getEinsumTerms(einsum);
  if (auto add = dyn_cast_or_null<AddOp>(op); add && !isKnown) {
    TermLists lists(cast<RankedTensorType>(tensor.getType()).getNumElements());
    for (Value operand : {add.getLhs(), add.getRhs()}) {
      TermLists inner = getInnerTerms(operand, op);
      for (auto [list, terms] : llvm::zip(lists, inner))
        list.append(terms);
    }
    return lists;
  }
  if (auto restrict = dyn_cast_or_null<RestrictOp>(op); restrict && !isKnown) {
    TermLists lists = getInnerTerms(restrict.getSource(), op);
    auto shape = restrict.getType().getShape();
    for (int64_t n = 0; n < static_cast<int64_t>(lists.size()); ++n) {
      int64_t rest = n;
      for (int64_t d = static_cast<int64_t>(shape.size()) - 1; d >= 0; --d) {
        int64_t place = rest % shape[d] - restrict.getOffsets()[d];
        rest /= shape[d];
        if (place < 0 || place >= restrict.getSizes()[d])
          lists[n].clear();
      }
    }
    return lists;
  }
  return getReferences(tensor, op);
}

/// An operand's terms, if it is a sum that nobody else reads; else the operand's elements, each one term.
ScalarGraph::TermLists ScalarGraph::getInnerTerms(Value operand, Operation *op) {
  if (operand.hasOneUse() && isa_and_nonnull<EinsumOp, AddOp, RestrictOp>(operand.getDefiningOp()) &&
      !elements.count(operand.getAsOpaquePointer()))
    return getTerms(operand);
  return getReferences(operand, op);
}

ScalarGraph::TermLists ScalarGraph::getReferences(Value tensor, Operation *op) {
  TermLists lists;
  for (ScalarNode *node : get(tensor)) {
    auto &terms = lists.emplace_back();
    if (node)
      terms.push_back(makeTerm(node, nullptr, op ? getOrder(op) : 0));
  }
  return lists;
}

const ScalarElements *ScalarGraph::find(Value tensor) const {
  auto it = elements.find(tensor.getAsOpaquePointer());
  return it == elements.end() ? nullptr : &it->second;
}

ScalarElements ScalarGraph::makeRoots(Value tensor) {
  // A tensor that others read too is computed once, and its elements are roots themselves.
  TermLists lists = getInnerTerms(tensor, tensor.getDefiningOp());
  ScalarElements result;
  for (auto &terms : lists) {
    ScalarNode *node = nullptr;
    if (!terms.empty()) {
      node = makeSum(getElementType(tensor));
      node->terms.assign(terms.begin(), terms.end());
      // A product that others read too is formed.
      if (const ScalarElements *known = find(tensor); known && node->terms.size() == 1 && node->terms[0].b) {
        node->terms[0].a = (*known)[result.size()];
        node->terms[0].b = nullptr;
        node->terms[0].scale = 1.0;
      }
    }
    result.push_back(node);
  }
  return result;
}

void ScalarGraph::link(ScalarNode *sum) {
  if (std::exchange(sum->linked, true))
    return;
  for (auto [index, term] : llvm::enumerate(sum->terms))
    for (ScalarNode *operand : {term.a, term.b})
      if (operand) {
        ++operand->pendingUses;
        // What is there before a run starts is alive until its last use in the run.
        if (operand->value)
          startLife(operand);
        if (operand->kind == ScalarNode::Kind::Sum)
          operand->users.emplace_back(sum, index);
      }
}
