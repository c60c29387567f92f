//===- ScalarEmission.cpp - sums of products of scalars, emitted ----------===//
#include "espmm/Dialect/Equivariant/Transforms/ScalarGraph.h"
#include "espmm/Dialect/Equivariant/Transforms/Storage.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace espmm::equivariant;

static constexpr unsigned sharedAddressSpace = 3;
/// In multiply-adds since the value's last use.
static constexpr unsigned reloadDistance = 256;

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
    Value &laneAddress = laneAddresses[{base, lane, laneStride, scalar}];
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
  Type scalar = read.getStored().value_or(getScalarType(node->type)), type = getMemoryType(node->type, scalar);
  auto extended = [&](Value loaded) { return extendStored(builder, loc, loaded, node->type, scalar); };
  unsigned alignment = scalar.getIntOrFloatBitWidth() / 8;
  Value address = getAddress(read.getBase(), read.getLane(), read.getLaneStride(), node->offset, scalar);
  Value mask = read.getMask();
  if (!mask)
    return extended(LLVM::LoadOp::create(builder, loc, type, address, alignment * (read.getLane() ? 1 : static_cast<int64_t>(llvm::MinAlign(read.getAligned(), node->offset)))));
  Value zero = type == node->type || !isa<VectorType>(type) ? getConstant(0.0, node->type) : LLVM::ZeroOp::create(builder, loc, type).getResult();
  if (isa<VectorType>(node->type))
    return extended(LLVM::MaskedLoadOp::create(builder, loc, type, address, mask, zero, alignment));
  auto load = [&] { return extended(LLVM::LoadOp::create(builder, loc, type, address, alignment)); };
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
