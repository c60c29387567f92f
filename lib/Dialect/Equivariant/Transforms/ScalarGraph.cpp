//===- ScalarGraph.cpp - small tensors as sums of products of scalars -----===//
#include "espmm/Dialect/Equivariant/Transforms/ScalarGraph.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace espmm::equivariant;

static constexpr unsigned sharedAddressSpace = 3;
/// In multiply-adds since the value's last use.
static constexpr unsigned reloadDistance = 256;

static Type getElementType(Value tensor) { return cast<RankedTensorType>(tensor.getType()).getElementType(); }

static Type getScalarType(Type type) {
  auto vector = dyn_cast<VectorType>(type);
  return vector ? vector.getElementType() : type;
}

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

//===----------------------------------------------------------------------===//
// Emission
//===----------------------------------------------------------------------===//

/// What is there already, such as what a loop has summed before.
static bool isThere(const ScalarTerm &term) { return term.a && !term.b && term.a->kind == ScalarNode::Kind::Ready; }

void ScalarGraph::emitRoots() {
  for (ScalarNode *root : roots) {
    if (!root->linked)
      std::stable_partition(root->terms.begin(), root->terms.end(), isThere);
    link(root);
  }
  // The operations' order in the program, not the roots', decides: all that one path gives before the next path.
  SmallVector<std::tuple<unsigned, ScalarNode *, unsigned>> work;
  for (ScalarNode *root : roots) {
    if (root->kind != ScalarNode::Kind::Sum || root->complete) {
      materialize(root);
      continue;
    }
    for (auto [index, term] : llvm::enumerate(root->terms))
      work.emplace_back(term.order, root, index);
  }
  llvm::stable_sort(work, [](const auto &a, const auto &b) { return std::get<0>(a) < std::get<0>(b); });
  for (auto [order, root, index] : work)
    emitTerm(root, index);
  roots.clear();
  ++run;
  live = 0;
}

Value ScalarGraph::emitLanes(ArrayRef<ScalarNode *> nodes, VectorType type) {
  llvm::MapVector<ScalarNode *, SmallVector<double>> columns;
  for (auto [lane, node] : llvm::enumerate(nodes)) {
    if (!node)
      continue;
    ScalarTerm itself;
    itself.a = node;
    for (const ScalarTerm &term : node->kind == ScalarNode::Kind::Sum ? ArrayRef<ScalarTerm>(node->terms) : ArrayRef(itself)) {
      if (!term.a || term.b || (term.a->kind != ScalarNode::Kind::Load && term.a->kind != ScalarNode::Kind::Ready))
        return Value();
      auto &column = columns[term.a];
      column.resize(type.getNumElements());
      column[lane] += term.scale;
    }
  }
  Location loc = builder.getUnknownLoc();
  Value sum;
  for (auto &[node, column] : columns) {
    SmallVector<Attribute> constants;
    for (double constant : column)
      constants.push_back(FloatAttr::get(type.getElementType(), constant));
    Value factors = LLVM::ConstantOp::create(builder, loc, type, DenseElementsAttr::get(type, constants));
    Value value = toType(materialize(node), type);
    ++statistics.multiplications;
    statistics.additions += sum ? 1 : 0;
    sum = sum ? LLVM::FMAOp::create(builder, loc, value, factors, sum).getResult()
              : LLVM::FMulOp::create(builder, loc, value, factors).getResult();
  }
  return sum;
}

bool ScalarGraph::isReady(ScalarNode *node) const {
  return !node || node->kind != ScalarNode::Kind::Sum || node->complete;
}

bool ScalarGraph::isCheap(ScalarNode *node) const {
  return llvm::all_of(node->terms, [&](const ScalarTerm &t) { return t.emitted || (isReady(t.a) && isReady(t.b)); });
}

Value ScalarGraph::materialize(ScalarNode *node) {
  if (node->kind == ScalarNode::Kind::Constant)
    return emits ? getConstant(node->constant, node->type) : getPlaceholder();
  if (node->kind == ScalarNode::Kind::Load) {
    // From shared memory a value is read again rather than kept in a register for long.
    auto base = node->read ? dyn_cast<LLVM::LLVMPointerType>(node->read.getBase().getType()) : nullptr;
    bool isStale = base && base.getAddressSpace() == sharedAddressSpace && numEmitted - node->lastUse > reloadDistance;
    if (!node->value || isStale) {
      startLife(node);
      node->value = emits ? load(node) : getPlaceholder();
    }
    node->lastUse = numEmitted;
  }
  if (node->kind == ScalarNode::Kind::Sum)
    for (unsigned i = 0; i < node->terms.size(); ++i)
      emitTerm(node, i);
  return node->value;
}

void ScalarGraph::consume(ScalarNode *node) {
  if (node && --node->pendingUses == 0)
    endLife(node);
}

Value ScalarGraph::getPlaceholder() {
  if (!placeholder)
    placeholder = LLVM::PoisonOp::create(builder, builder.getUnknownLoc(), builder.getF32Type());
  return placeholder;
}

void ScalarGraph::startLife(ScalarNode *node) {
  if (node->aliveIn == run)
    return;
  node->aliveIn = run;
  statistics.maxLive = std::max(statistics.maxLive, ++live);
}

void ScalarGraph::endLife(ScalarNode *node) {
  if (node->aliveIn != run)
    return;
  node->aliveIn = 0;
  --live;
}

void ScalarGraph::emitTerm(ScalarNode *sum, unsigned index) {
  // Computing an operand may already have pushed it into this term.
  for (ScalarNode *operand : {sum->terms[index].a, sum->terms[index].b}) {
    if (sum->terms[index].emitted)
      return;
    if (operand)
      materialize(operand);
  }
  // Products are added to what is there already, by multiply-adds.
  if (index > 0 && sum->numEmitted == 0 && isThere(sum->terms[0]))
    emitTerm(sum, 0);
  ScalarTerm &term = sum->terms[index];
  if (term.emitted)
    return;
  term.emitted = true;
  startLife(sum);
  count(sum, term);
  sum->value = emits ? accumulate(sum, term) : getPlaceholder();
  consume(term.a);
  consume(term.b);
  if (++sum->numEmitted == sum->terms.size())
    finish(sum);
}

void ScalarGraph::finish(ScalarNode *sum) {
  sum->complete = true;
  if (sum->onComplete) {
    sum->onComplete(sum->value);
    if (sum->pendingUses == 0)
      endLife(sum);
  }
  for (auto [user, index] : sum->users) {
    // Nobody wants a sum whose terms others have taken over.
    if (user->pendingUses == 0 && !user->isRoot)
      continue;
    ScalarTerm &term = user->terms[index];
    if (term.emitted)
      continue;
    ScalarNode *other = term.a == sum ? term.b : term.a;
    if (isReady(other) || isCheap(other))
      emitTerm(user, index);
  }
}

/// Counts a term as `accumulate` emits it: a multiply-add is one of each.
void ScalarGraph::count(ScalarNode *sum, const ScalarTerm &term) {
  bool isScaled = term.a && std::abs(term.scale) != 1.0;
  statistics.multiplications += (term.b && isScaled) + (term.b || isScaled);
  statistics.additions += sum->numEmitted > 0;
}

Value ScalarGraph::accumulate(ScalarNode *sum, const ScalarTerm &term) {
  Location loc = builder.getUnknownLoc();
  Type type = sum->type;
  Value acc = sum->value;
  double scale = term.scale;
  ++numEmitted;
  if (!term.a) {
    Value constant = getConstant(scale, type);
    return acc ? LLVM::FAddOp::create(builder, loc, acc, constant).getResult() : constant;
  }
  Value a = materialize(term.a), b = term.b ? materialize(term.b) : Value();
  if (b && scale != 1.0 && scale != -1.0) {
    // The constant goes to the factor of the smaller type.
    if (isa<VectorType>(a.getType()) && !isa<VectorType>(b.getType()))
      std::swap(a, b);
    a = LLVM::FMulOp::create(builder, loc, a, getConstant(scale, a.getType()));
    scale = 1.0;
  }
  if (!b && scale != 1.0 && scale != -1.0) {
    b = getConstant(scale, type);
    scale = 1.0;
  }
  a = toType(a, type);
  if (!b) {
    if (!acc)
      return scale == 1.0 ? a : LLVM::FNegOp::create(builder, loc, a).getResult();
    return scale == 1.0 ? LLVM::FAddOp::create(builder, loc, acc, a).getResult()
                        : LLVM::FSubOp::create(builder, loc, acc, a).getResult();
  }
  b = toType(b, type);
  if (scale == -1.0)
    a = LLVM::FNegOp::create(builder, loc, a);
  if (!acc)
    return LLVM::FMulOp::create(builder, loc, a, b);
  return LLVM::FMAOp::create(builder, loc, a, b, acc);
}

Value ScalarGraph::toType(Value value, Type type) {
  auto vector = dyn_cast<VectorType>(type);
  if (!vector || isa<VectorType>(value.getType()))
    return value;
  Value &splat = splats[{value, type}];
  if (!splat) {
    Location loc = builder.getUnknownLoc();
    Value zero = LLVM::ConstantOp::create(builder, loc, builder.getI32Type(), builder.getI32IntegerAttr(0));
    Value undef = LLVM::PoisonOp::create(builder, loc, type);
    Value first = LLVM::InsertElementOp::create(builder, loc, undef, value, zero);
    splat = LLVM::ShuffleVectorOp::create(builder, loc, first, undef,
                                          SmallVector<int32_t>(vector.getNumElements(), 0));
  }
  return splat;
}

Value ScalarGraph::getConstant(double value, Type type) {
  Value &constant = constants[{llvm::bit_cast<uint64_t>(value), type}];
  if (!constant) {
    TypedAttr attr = FloatAttr::get(getScalarType(type), value);
    if (auto vector = dyn_cast<VectorType>(type))
      attr = DenseElementsAttr::get(vector, cast<Attribute>(attr));
    constant = LLVM::ConstantOp::create(builder, builder.getUnknownLoc(), type, attr);
  }
  return constant;
}

Value ScalarGraph::getAddress(Value base, Value lane, int64_t laneStride, int64_t offset, Type scalar) {
  Location loc = builder.getUnknownLoc();
  Value address = base;
  if (lane) {
    Value &laneAddress = laneAddresses[{base, lane, laneStride}];
    if (!laneAddress) {
      Value index = lane;
      if (laneStride != 1) {
        Value stride = LLVM::ConstantOp::create(builder, loc, lane.getType(), builder.getI64IntegerAttr(laneStride));
        index = LLVM::MulOp::create(builder, loc, lane, stride);
      }
      laneAddress = LLVM::GEPOp::create(builder, loc, base.getType(), scalar, base, ArrayRef<LLVM::GEPArg>{index});
    }
    address = laneAddress;
  }
  if (offset == 0)
    return address;
  return LLVM::GEPOp::create(builder, loc, base.getType(), scalar, address,
                             ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(offset)});
}

void ScalarGraph::leaveBlock() {
  laneAddresses.clear();
  splats.clear();
  constants.clear();
}

Value ScalarGraph::load(ScalarNode *node) {
  ReadOp read = node->read;
  Location loc = read.getLoc();
  Type scalar = getScalarType(node->type);
  unsigned alignment = scalar.getIntOrFloatBitWidth() / 8;
  Value address = getAddress(read.getBase(), read.getLane(), read.getLaneStride(), node->offset, scalar);
  Value mask = read.getMask();
  if (!mask)
    return LLVM::LoadOp::create(builder, loc, node->type, address, alignment * (read.getLane() ? 1 : static_cast<int64_t>(llvm::MinAlign(read.getAligned(), node->offset))));
  Value zero = getConstant(0.0, node->type);
  if (isa<VectorType>(node->type))
    return LLVM::MaskedLoadOp::create(builder, loc, node->type, address, mask, zero, alignment);
  auto load = [&]() -> Value { return LLVM::LoadOp::create(builder, loc, node->type, address, alignment); };
  if (!node->isWrittenToo)
    return LLVM::SelectOp::create(builder, loc, mask, load(), zero);
  auto guarded = scf::IfOp::create(builder, loc, node->type, mask, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard insertion(builder);
  builder.setInsertionPointToStart(guarded.thenBlock());
  scf::YieldOp::create(builder, loc, load());
  builder.setInsertionPointToStart(guarded.elseBlock());
  scf::YieldOp::create(builder, loc, zero);
  return guarded.getResult(0);
}
