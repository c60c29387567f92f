//===- Sparsify.cpp - small tensors to scalars ----------------------------===//
#include "espmm/Dialect/Equivariant/Transforms/Passes.h"
#include "espmm/Dialect/Equivariant/Transforms/ScalarGraph.h"
#include "espmm/Dialect/Equivariant/Transforms/Statistics.h"
#include "espmm/Dialect/Equivariant/Transforms/Storage.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/BitVector.h"
#include <map>

namespace espmm::equivariant {
#define GEN_PASS_DEF_EQUIVARIANTSPARSIFY
#include "espmm/Dialect/Equivariant/Transforms/Passes.h.inc"
} // namespace espmm::equivariant

using namespace mlir;
using namespace espmm::equivariant;

namespace {

struct ByPointer {
  bool operator()(Value a, Value b) const { return a.getAsOpaquePointer() < b.getAsOpaquePointer(); }
};

/// Which elements of a tensor may be nonzero, without building anything.
class SupportAnalysis {
public:
  const BitVector &get(Value tensor) {
    if (auto it = supports.find(tensor); it != supports.end())
      return it->second;
    BitVector result = compute(tensor);
    return supports[tensor] = std::move(result);
  }

  /// A loop's argument holds what comes in and what the body adds to it: a fixed point, reached at once for sums.
  void enterLoop(scf::ForOp loop) {
    SmallVector<BlockArgument> arguments(loop.getRegionIterArgs());
    for (auto [argument, init] : llvm::zip(arguments, loop.getInitArgs()))
      if (isa<RankedTensorType>(argument.getType()))
        supports[argument] = BitVector(get(init));
    for (bool changed = true; changed;) {
      changed = false;
      SupportAnalysis body;
      for (BlockArgument argument : arguments)
        if (isa<RankedTensorType>(argument.getType()))
          body.supports[argument] = BitVector(supports[argument]);
      body.outer = this;
      for (auto [argument, yielded] : llvm::zip(arguments, loop.getYieldedValues())) {
        if (!isa<RankedTensorType>(argument.getType()))
          continue;
        BitVector joined = body.get(yielded);
        joined |= supports[argument];
        if (joined != supports[argument]) {
          supports[argument] = joined;
          changed = true;
        }
      }
    }
    for (auto [argument, result] : llvm::zip(arguments, loop.getResults()))
      if (isa<RankedTensorType>(argument.getType()))
        supports[result] = BitVector(supports[argument]);
  }

private:
  BitVector compute(Value tensor) {
    unsigned count = cast<RankedTensorType>(tensor.getType()).getNumElements();
    Operation *op = tensor.getDefiningOp();
    if (outer && (!op || outer->supports.count(tensor)))
      return outer->get(tensor);
    if (auto loop = dyn_cast_or_null<scf::ForOp>(op)) {
      enterLoop(loop);
      return supports[tensor];
    }
    if (isa_and_nonnull<ZeroOp>(op))
      return BitVector(count);
    if (auto add = dyn_cast_or_null<AddOp>(op)) {
      BitVector result = get(add.getLhs());
      result |= get(add.getRhs());
      return result;
    }
    if (auto read = dyn_cast_or_null<ReadOp>(op); read && read.getPacked()) {
      BitVector result(count);
      ArrayRef<int64_t> packed = *read.getPacked();
      for (int64_t n : packed)
        result.set(n);
      return result;
    }
    if (isa_and_nonnull<EinsumOp, RestrictOp, StackOp>(op) || isConstantTensor(op)) {
      // The graph knows; a graph of its own, so that nothing is emitted.
      OpBuilder builder(op->getContext());
      ScalarGraph graph(builder);
      SmallVector<Value> sources;
      for (Value operand : op->getOperands()) {
        // Ready elements stand for whatever may be nonzero.
        const BitVector &support = get(operand);
        SmallVector<Value> scalars(support.size());
        for (unsigned i : support.set_bits())
          scalars[i] = operand;
        graph.bind(operand, scalars);
      }
      const ScalarElements &elements = graph.get(tensor);
      BitVector result(count);
      for (auto [i, element] : llvm::enumerate(elements))
        if (element)
          result.set(i);
      return result;
    }
    return BitVector(count, true);
  }

  // References into it stay valid while it grows.
  std::map<Value, BitVector, ByPointer> supports;
  SupportAnalysis *outer = nullptr;
};

/// Rewrites one function.
class Sparsifier {
public:
  explicit Sparsifier(MLIRContext *context) : builder(context), graph(builder) {}

  void run(Region &region) {
    for (Block &block : region)
      visitBlock(block);
    // They refer to each other across loops: first all references go, then they do.
    for (Operation *op : dead)
      op->dropAllReferences();
    for (Operation *op : llvm::reverse(dead))
      op->erase();
  }

  const ScalarStatistics &getStatistics() const { return graph.statistics; }

private:
  static bool isTensorOp(Operation *op) {
    return isa<ReadOp, WriteOp, EinsumOp, AddOp, RestrictOp, StackOp, ZeroOp>(op) || isConstantTensor(op);
  }

  /// Blocks are runs of tensor operations, ended by anything that may touch memory or holds a region.
  void visitBlock(Block &block) {
    graph.leaveBlock();
    SmallVector<Operation *> ops;
    for (Operation &op : block)
      ops.push_back(&op);
    SmallVector<Operation *> run;
    for (Operation *op : ops) {
      if (isTensorOp(op)) {
        run.push_back(op);
        dead.push_back(op);
        continue;
      }
      if (isMemoryEffectFree(op) && !op->getNumRegions() && !op->hasTrait<OpTrait::IsTerminator>() && !isa<LaneSumOp, MatrixProductOp>(op))
        continue;
      bool isTerminator = op->hasTrait<OpTrait::IsTerminator>();
      endRun(run, op);
      run.clear();
      if (isTerminator)
        continue;
      if (auto loop = dyn_cast<scf::ForOp>(op))
        visitLoop(loop);
      else if (auto sum = dyn_cast<LaneSumOp>(op))
        visitLaneSum(sum);
      else if (auto product = dyn_cast<MatrixProductOp>(op))
        visitMatrixProduct(product);
      else
        for (Region &region : op->getRegions())
          for (Block &inner : region) {
            visitBlock(inner);
            graph.leaveBlock();
          }
    }
  }

  /// Emits a run before `next`: its writes, and what is read after it.
  void endRun(ArrayRef<Operation *> run, Operation *next) {
    builder.setInsertionPoint(next);
    written.clear();
    llvm::SmallPtrSet<Operation *, 32> members(run.begin(), run.end());
    auto yield = dyn_cast<scf::YieldOp>(next);
    if (yield && !isa<scf::ForOp>(yield->getParentOp()))
      yield = nullptr;
    for (Operation *op : run) {
      if (auto write = dyn_cast<WriteOp>(op)) {
        write.getPacked() ? addPackedWrite(write) : addWrite(write);
        continue;
      }
      for (OpOperand &use : op->getResult(0).getUses())
        if (!members.contains(use.getOwner()) && use.getOwner() != yield) {
          // Constants are made where they are used.
          for (ScalarNode *node : graph.get(op->getResult(0)))
            if (node && node->kind != ScalarNode::Kind::Constant)
              graph.addRoot(node);
          break;
        }
    }
    SmallVector<ScalarElements> yielded;
    if (yield)
      for (Value value : yield.getOperands())
        if (isa<RankedTensorType>(value.getType())) {
          yielded.push_back(graph.makeRoots(value));
          for (ScalarNode *node : yielded.back())
            if (node)
              graph.addRoot(node);
        }
    graph.emitRoots();
    if (yield)
      finishYield(yield, yielded);
  }

  void addWrite(WriteOp write) {
    auto type = write.getValue().getType();
    ScalarElements elements = graph.makeRoots(write.getValue());
    SmallVector<int64_t> offsets;
    for (int64_t n = 0; n < type.getNumElements(); ++n) {
      int64_t rest = n, offset = write.getOffset();
      for (int64_t d = type.getRank() - 1; d >= 0; --d) {
        offset += rest % type.getDimSize(d) * write.getStrides()[d];
        rest /= type.getDimSize(d);
      }
      offsets.push_back(offset);
    }
    for (auto [element, offset] : llvm::zip(elements, offsets)) {
      if (!element) {
        if (write.getAccumulate())
          continue;
        element = graph.makeSum(type.getElementType());
        graph.addTerm(element, {0.0});
      }
      // What a run adds to a place that it has written is in one sum with that: it would read what is not there yet. Other writes to one place keep their order.
      bool adds = write.getAccumulate() && !write.getAtomic();
      std::tuple place{write.getBase(), write.getLane(), write.getLaneStride(), offset};
      if (auto known = written.find(place); known != written.end()) {
        auto [sum, mask] = known->second;
        if (adds && sum && mask == write.getMask()) {
          sum->terms.append(element->terms);
          continue;
        }
        graph.emitRoots();
        written.clear();
      }
      written[place] = {write.getAtomic() ? nullptr : element, write.getMask()};
      if (adds) {
        // What is there comes first: the products are then added by multiply-adds.
        ScalarTerm old;
        old.a = graph.makeLoad(asRead(write), type.getElementType(), offset);
        old.a->isWrittenToo = true;
        element->terms.insert(element->terms.begin(), old);
      }
      element->onComplete = [this, write, offset = offset](Value value) { store(write, value, offset); };
      graph.addRoot(element);
    }
  }

  /// Scalars that follow each other in memory, as vectors where they can be computed so.
  void addPackedWrite(WriteOp write) {
    Type scalar = write.getValue().getType().getElementType();
    auto vector = VectorType::get({static_cast<int64_t>(*write.getVector())}, scalar);
    SmallVector<ScalarNode *> elements;
    ArrayRef<int64_t> packed = *write.getPacked();
    for (int64_t n : packed)
      elements.push_back(graph.get(write.getValue())[n]);
    for (size_t first = 0; first < elements.size(); first += vector.getNumElements()) {
      auto part = ArrayRef(elements).slice(first).take_front(vector.getNumElements());
      if (Value lanes = graph.emitLanes(part, vector)) {
        store(write, lanes, write.getOffset() + first);
        continue;
      }
      for (auto [n, element] : llvm::enumerate(part)) {
        ScalarNode *root = graph.makeSum(scalar);
        ScalarTerm term;
        term.scale = 0.0;
        if (element) {
          term.a = element;
          term.scale = 1.0;
        }
        graph.addTerm(root, term);
        root->onComplete = [this, write, offset = write.getOffset() + first + n](Value value) { store(write, value, offset); };
        graph.addRoot(root);
      }
    }
  }

  /// A read of the memory that a write adds to.
  ReadOp asRead(WriteOp write) {
    ReadOp &read = readsOfWrites[write];
    if (!read) {
      OpBuilder::InsertionGuard guard(builder);
      builder.setInsertionPoint(write);
      read = ReadOp::create(builder, write.getLoc(), write.getValue().getType(), write.getBase(), write.getLane(),
                            write.getMask(), write.getOffset(), write.getLaneStride(), write.getStrides());
      dead.push_back(read);
    }
    return read;
  }

  void store(WriteOp write, Value value, int64_t offset) {
    Location loc = write.getLoc();
    auto vector = dyn_cast<VectorType>(value.getType());
    Type scalar = write.getStored().value_or(getScalarType(value.getType()));
    value = roundToStored(builder, loc, value, scalar);
    unsigned alignment = scalar.getIntOrFloatBitWidth() / 8;
    Value address = graph.getAddress(write.getBase(), write.getLane(), write.getLaneStride(), offset, scalar);
    auto storeScalar = [&] {
      if (write.getAtomic())
        LLVM::AtomicRMWOp::create(builder, loc, LLVM::AtomicBinOp::fadd, address, value, LLVM::AtomicOrdering::monotonic);
      else
        LLVM::StoreOp::create(builder, loc, value, address, alignment);
    };
    if (!write.getMask() && !write.getAtomic()) {
      // Only whole, aligned vectors can bypass the caches; who says nontemporal has checked it.
      bool bypass = write.getNontemporal();
      if (vector && bypass)
        alignment *= vector.getNumElements();
      LLVM::StoreOp::create(builder, loc, value, address, alignment, /*isVolatile=*/false, bypass);
    } else if (vector) {
      storeMasked(builder, loc, value, address, write.getMask(), alignment);
    } else if (!write.getMask()) {
      storeScalar();
    } else {
      auto guarded = scf::IfOp::create(builder, loc, write.getMask(), /*withElseRegion=*/false);
      OpBuilder::InsertionGuard guard(builder);
      builder.setInsertionPointToStart(guarded.thenBlock());
      storeScalar();
    }
  }

  // A loop over tensors becomes one over their nonzero elements.
  void visitLoop(scf::ForOp loop) {
    builder.setInsertionPoint(loop);
    support.enterLoop(loop);
    SmallVector<Value> inits;
    for (auto [argument, init] : llvm::zip(loop.getRegionIterArgs(), loop.getInitArgs())) {
      auto type = dyn_cast<RankedTensorType>(init.getType());
      if (!type) {
        inits.push_back(init);
        continue;
      }
      const ScalarElements &elements = graph.get(init);
      for (unsigned i : support.get(argument).set_bits())
        inits.push_back(elements[i] ? elements[i]->value : makeZero(type.getElementType()));
    }
    auto scalarLoop = scf::ForOp::create(builder, loop.getLoc(), loop.getLowerBound(), loop.getUpperBound(),
                                         loop.getStep(), inits);
    scalarLoop->setDiscardableAttrs(loop->getDiscardableAttrDictionary());
    Block *body = scalarLoop.getBody();
    if (inits.empty())
      body->getTerminator()->erase();
    body->getOperations().splice(body->end(), loop.getBody()->getOperations());
    loop.getInductionVar().replaceAllUsesWith(scalarLoop.getInductionVar());

    unsigned next = 0, nextResult = 0;
    for (BlockArgument argument : loop.getRegionIterArgs()) {
      if (isa<RankedTensorType>(argument.getType()))
        bindElements(argument, support.get(argument), scalarLoop.getRegionIterArgs(), next);
      else
        argument.replaceAllUsesWith(scalarLoop.getRegionIterArgs()[next++]);
    }
    for (auto [argument, result] : llvm::zip(loop.getRegionIterArgs(), loop.getResults())) {
      if (isa<RankedTensorType>(result.getType()))
        bindElements(result, support.get(argument), scalarLoop.getResults(), nextResult);
      else
        result.replaceAllUsesWith(scalarLoop.getResult(nextResult++));
    }
    yieldLoops.push_back(loop);
    visitBlock(*body);
    yieldLoops.pop_back();
    graph.leaveBlock();
    dead.push_back(loop);
  }

  template <typename Range>
  void bindElements(Value tensor, const BitVector &nonzero, Range scalars, unsigned &next) {
    SmallVector<Value> elements(nonzero.size());
    for (unsigned i : nonzero.set_bits())
      elements[i] = scalars[next++];
    graph.bind(tensor, elements);
  }

  void finishYield(scf::YieldOp yield, ArrayRef<ScalarElements> tensors) {
    SmallVector<Value> values;
    unsigned tensor = 0;
    scf::ForOp loop = yieldLoops.back();
    for (auto [argument, value] : llvm::zip(loop.getRegionIterArgs(), yield.getOperands())) {
      if (!isa<RankedTensorType>(value.getType())) {
        values.push_back(value);
        continue;
      }
      const ScalarElements &elements = tensors[tensor++];
      for (unsigned i : support.get(argument).set_bits())
        values.push_back(elements[i] ? elements[i]->value
                                     : makeZero(cast<RankedTensorType>(value.getType()).getElementType()));
    }
    builder.setInsertionPoint(yield);
    scf::YieldOp::create(builder, yield.getLoc(), values);
    yield.erase();
  }

  void visitLaneSum(LaneSumOp sum) {
    if (!isa<RankedTensorType>(sum.getValues().front().getType()))
      return;
    builder.setInsertionPoint(sum);
    dead.push_back(sum);
    auto vector = dyn_cast<VectorType>(sum.getType());
    constexpr int64_t warpSize = 32;
    int64_t lanes = vector ? vector.getNumElements() : sum.getAcross() ? 1 : sum.getLanes() ? sum.getLanes() : warpSize;
    SmallVector<Value> elements;
    int64_t next = -sum.getFrom();
    for (Value tensor : sum.getValues())
      for (ScalarNode *node : graph.get(tensor))
        if (int64_t n = next++, stride = sum.getStride(); n >= 0 && n % stride == 0 && n / stride < lanes)
          elements.push_back(node ? node->value : makeZero(sum.getType()));
    auto ofElements = LaneSumOp::create(builder, sum.getLoc(), sum.getType(), elements);
    ofElements.setLanes(sum.getLanes());
    ofElements.setAcross(sum.getAcross());
    sum.getResult().replaceAllUsesWith(ofElements);
  }

  /// A product of matrices for each pair of components that are multiplied and may be nonzero.
  void visitMatrixProduct(MatrixProductOp product) {
    auto type = dyn_cast<RankedTensorType>(product.getSums().front().getType());
    if (!type)
      return;
    builder.setInsertionPoint(product);
    dead.push_back(product);
    auto [leftLetters, rightLetters, sumLetters] = product.getLetters();
    std::map<char, int64_t> extents;
    for (auto [letters, operand] : llvm::zip(product.getLetters(), std::array<Value, 3>{product.getLeft().front(), product.getRight().front(), product.getSums().front()}))
      for (auto [letter, extent] : llvm::zip(letters, cast<RankedTensorType>(operand.getType()).getShape()))
        extents[letter] = extent;
    std::map<char, int64_t> position;
    auto getNumber = [&](StringRef letters) {
      int64_t number = 0;
      for (char letter : letters)
        number = number * extents[letter] + position[letter];
      return number;
    };
    /// An element of each of a matrix's operands; nothing if it is structurally zero in all.
    auto take = [&](OperandRange operands, int64_t number) {
      SmallVector<Value> values;
      for (Value operand : operands)
        values.push_back(getValue(graph.get(operand)[number], type.getElementType()));
      if (llvm::all_of(operands, [&](Value operand) { return !graph.get(operand)[number]; }))
        values.clear();
      return values;
    };
    SmallVector<SmallVector<Value>> sums;
    for (Value sum : product.getSums())
      for (auto [number, node] : llvm::enumerate(graph.get(sum))) {
        sums.resize(std::max(sums.size(), number + 1));
        sums[number].push_back(getValue(node, type.getElementType()));
      }
    int64_t count = 1;
    for (auto [letter, extent] : extents)
      count *= extent;
    for (int64_t n = 0; n < count; ++n) {
      int64_t rest = n;
      for (auto [letter, extent] : llvm::reverse(extents)) {
        position[letter] = rest % extent;
        rest /= extent;
      }
      SmallVector<Value> left = take(product.getLeft(), getNumber(leftLetters)), right = take(product.getRight(), getNumber(rightLetters));
      if (left.empty() || right.empty())
        continue;
      auto &ofNumber = sums[getNumber(sumLetters)];
      ofNumber = MatrixProductOp::create(builder, product.getLoc(), ",->", left, right, ofNumber, product.getTerms()).getResults();
    }
    for (auto [r, result] : llvm::enumerate(product.getResults())) {
      SmallVector<Value> elements;
      for (auto &ofNumber : sums)
        elements.push_back(ofNumber[r]);
      graph.bind(result, elements);
    }
  }

  /// What has been emitted for a node, or a constant.
  Value getValue(ScalarNode *node, Type type) {
    if (!node)
      return makeZero(type);
    if (node->kind != ScalarNode::Kind::Constant)
      return node->value;
    return LLVM::ConstantOp::create(builder, builder.getUnknownLoc(), type, FloatAttr::get(type, node->constant));
  }

  Value makeZero(Type type) {
    Type scalar = type;
    TypedAttr attr;
    if (auto vector = dyn_cast<VectorType>(type)) {
      scalar = vector.getElementType();
      attr = DenseElementsAttr::get(vector, cast<Attribute>(FloatAttr::get(scalar, 0.0)));
    } else {
      attr = FloatAttr::get(scalar, 0.0);
    }
    return LLVM::ConstantOp::create(builder, builder.getUnknownLoc(), type, attr);
  }

  OpBuilder builder;
  ScalarGraph graph;
  SupportAnalysis support;
  SmallVector<Operation *> dead;
  SmallVector<scf::ForOp> yieldLoops;
  llvm::DenseMap<Operation *, ReadOp> readsOfWrites;
  llvm::DenseMap<std::tuple<Value, Value, int64_t, int64_t>, std::pair<ScalarNode *, Value>> written; // of a run: the sum, and the write's mask
};

struct Sparsify : espmm::equivariant::impl::EquivariantSparsifyBase<Sparsify> {
  void runOnOperation() override {
    ScalarStatistics dense, emitted;
    getOperation().walk([&](FunctionOpInterface function) {
      if (function.isExternal())
        return;
      function.walk([&](EinsumOp einsum) { countDense(einsum, dense); });
      function.walk([&](AddOp add) { dense.additions += add.getType().getNumElements(); });
      Sparsifier sparsifier(&getContext());
      sparsifier.run(function.getFunctionBody());
      const ScalarStatistics &counted = sparsifier.getStatistics();
      emitted.multiplications += counted.multiplications;
      emitted.additions += counted.additions;
      emitted.maxLive = std::max(emitted.maxLive, counted.maxLive);
    });
    recordStatistics(getOperation(), "sparsify",
                     {{numDenseMultiplications, "dense_multiplications", dense.multiplications},
                      {numDenseAdditions, "dense_additions", dense.additions},
                      {numMultiplications, "multiplications", emitted.multiplications},
                      {numAdditions, "additions", emitted.additions},
                      {maxLive, "max_live", emitted.maxLive}});
  }

  /// What an einsum would cost if no element were known to be zero.
  static void countDense(EinsumOp einsum, ScalarStatistics &dense) {
    llvm::SmallDenseMap<char, int64_t> extents;
    for (auto [i, operand] : llvm::enumerate(einsum.getOperands_()))
      for (auto [letter, extent] : llvm::zip(einsum.getOperandLetters(i), cast<RankedTensorType>(operand.getType()).getShape()))
        extents[letter] = extent;
    int64_t terms = 1;
    for (auto [letter, extent] : extents)
      terms *= extent;
    if (einsum.getOperands_().size() > 1)
      dense.multiplications += terms;
    dense.additions += terms - einsum.getType().getNumElements();
  }
};

} // namespace
