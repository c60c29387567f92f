//===- Factor.cpp - contracts to shared small einsums ---------------------===//
#include "espmm/Dialect/Equivariant/Transforms/Passes.h"
#include "espmm/Dialect/Equivariant/Transforms/Statistics.h"
#include "espmm/Dialect/Equivariant/Transforms/Utils.h"
#include "espmm/Support/ClebschGordan.h"
#include "espmm/Support/Factorization.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"
#include <map>

namespace espmm::equivariant {
#define GEN_PASS_DEF_EQUIVARIANTFACTOR
#include "espmm/Dialect/Equivariant/Transforms/Passes.h.inc"
} // namespace espmm::equivariant

using namespace mlir;
using namespace espmm::equivariant;
namespace factor = espmm::factor;

namespace {

/// Multiplicity letters come first, then component letters: the order of the dimensions of every block and einsum.
std::string canonicalOrder(StringRef letters) {
  std::string result;
  for (char c : StringRef("uvwijk"))
    if (letters.contains(c))
      result += c;
  return result;
}

/// The multiplicity letters of a slot under a path. A pair u < v is one letter: what x and y have of pairs is taken from their blocks. Of z's two letters
/// one of extent 1 is left out, so that the block is that of other modes, with which it is added.
std::string getMultiplicities(ProductAttr product, const Path &path, Slot slot) {
  IndexMap map = getIndexMap(path.mode);
  StringRef letters = map[slot];
  if (!map.triangular && slot == Slot::Z && letters.size() == 2)
    return (product.getExtent(path, letters[1]) == 1 ? letters.take_front() : product.getExtent(path, letters[0]) == 1 ? letters.drop_front() : letters).str();
  if (!map.triangular)
    return letters.str();
  return letters == "v" ? "u" : letters.starts_with("uv") ? ("u" + letters.drop_front(2)).str() : letters.str();
}

bool takesPairs(const Path &path, Slot slot) { return getIndexMap(path.mode).triangular && (slot == Slot::X || slot == Slot::Y); }

/// The letters of a slot's block under a path.
std::string getLetters(ProductAttr product, const Path &path, Slot slot) {
  std::string letters = getMultiplicities(product, path, slot);
  if (slot != Slot::W)
    letters += slot == Slot::X ? 'i' : slot == Slot::Y ? 'j' : 'k';
  return letters;
}

constexpr Slot allSlots[] = {Slot::X, Slot::Y, Slot::W, Slot::Z};

/// Rewrites the body of one kernel.
class KernelFactoring {
public:
  KernelFactoring(KernelOp kernel, factor::CostModel cost, bool unitCoefficients)
      : kernel(kernel), yield(cast<YieldOp>(kernel.getBody().front().getTerminator())), builder(yield), cost(cost),
        unitCoefficients(unitCoefficients), loc(kernel.getLoc()) {}

  LogicalResult run() {
    SmallVector<Value> yielded(yield.getValues());
    for (auto [r, value] : llvm::enumerate(yielded))
      if (failed(collect(value, r)))
        return failure();

    results.resize(yielded.size());
    for (auto &[product, contracts] : products)
      for (unsigned p : order(product))
        if (failed(factorPath(product, p, contracts)))
          return failure();

    SmallVector<Value> rows;
    for (auto [value, result] : llvm::zip(yielded, results))
      rows.push_back(AssembleOp::create(builder, kernel.getLoc(), value.getType(), result.offsets, result.blocks));
    yield.getValuesMutable().assign(rows);
    eraseDeadOps(kernel.getBody().front());
    return success();
  }

  int64_t numPaths = 0, numNonzeros = 0, numMultiplications = 0, numChannelFree = 0;

private:
  struct Contribution {
    unsigned result;
    ContractOp contract;
  };
  struct Result {
    SmallVector<int64_t> offsets;
    SmallVector<Value> blocks;
  };

  /// Finds the contracts whose sum is a yielded value.
  LogicalResult collect(Value value, unsigned result) {
    Operation *op = value.getDefiningOp();
    if (auto add = dyn_cast_or_null<AddOp>(op)) {
      if (failed(collect(add.getLhs(), result)))
        return failure();
      return collect(add.getRhs(), result);
    }
    if (isa_and_nonnull<ZerosOp>(op))
      return success();
    auto contract = dyn_cast_or_null<ContractOp>(op);
    if (!contract)
      return yield.emitOpError("value ") << result << " is not a sum of contracts, which has no lowering yet";
    for (Value operand : contract->getOperands())
      if (!isa<BlockArgument>(operand))
        return contract.emitOpError("works on a computed row, which has no lowering yet");
    products[contract.getProduct()].push_back({result, contract});
    return success();
  }

  /// Paths of a product, those that share their blocks of x and then of y next to each other.
  static SmallVector<unsigned> order(ProductAttr product) {
    auto paths = product.getPaths();
    SmallVector<unsigned> result = llvm::to_vector(llvm::seq<unsigned>(0, paths.size()));
    llvm::stable_sort(result, [&](unsigned a, unsigned b) {
      return std::tie(paths[a].i1, paths[a].i2) < std::tie(paths[b].i1, paths[b].i2);
    });
    return result;
  }

  /// The block of a slot's row that a path works on.
  Value getBlock(Value row, ProductAttr product, unsigned p, Slot slot) {
    int64_t offset;
    auto type = getBlockType(product, p, slot, offset);
    auto [it, isNew] = blocks.try_emplace({row.getAsOpaquePointer(), offset, type.getAsOpaquePointer(), getLetters(product, product.getPaths()[p], slot)});
    if (isNew)
      it->second = BlockOp::create(builder, kernel.getLoc(), type, row, offset);
    return it->second;
  }

  RankedTensorType getBlockType(ProductAttr product, unsigned p, Slot slot, int64_t &offset) {
    const Path &path = product.getPaths()[p];
    SmallVector<int64_t> shape;
    for (char letter : getMultiplicities(product, path, slot))
      shape.push_back(takesPairs(path, slot) ? product.getExtent(path, letter) : getExtent(product, path, letter));
    if (slot == Slot::W) {
      offset = product.getWeightOffset(p);
    } else {
      ArrayRef<MulIrrep> irreps = product.getIrreps(slot);
      int64_t i = slot == Slot::X ? path.i1 : slot == Slot::Y ? path.i2 : path.i3;
      offset = irrepsDim(irreps.take_front(i));
      shape.push_back(irreps[i].irDim());
    }
    return RankedTensorType::get(shape, elementType);
  }

  static int64_t getExtent(ProductAttr product, const Path &path, char letter) {
    int64_t extent = product.getExtent(path, letter);
    return letter == 'u' && getIndexMap(path.mode).triangular ? extent * (extent - 1) / 2 : extent;
  }

  LogicalResult factorPath(ProductAttr product, unsigned p, SmallVectorImpl<Contribution> &contracts) {
    const Path &path = product.getPaths()[p];
    int l1 = product.getX()[path.i1].l, l2 = product.getY()[path.i2].l, l3 = product.getZ()[path.i3].l;
    elementType = contracts.front().contract.getType().getElementType();
    ++numPaths;
    std::string name = ("instruction " + stringifyMode(path.mode) + "(" + Twine(path.i1) + ", " + Twine(path.i2) + ", " + Twine(path.i3) + ")").str();
    loc = NameLoc::get(builder.getStringAttr(name), kernel.getLoc());
    if (llvm::any_of(getMultiplicities(product, path, Slot::W), [&](char letter) { return getExtent(product, path, letter) == 0; }))
      return success();

    // How many paths have the same blocks of x and y, or the same coefficients and block of y, as operands.
    auto countPaths = [&](auto &&same) { return static_cast<int>(llvm::count_if(product.getPaths(), same)); };
    int samePair = countPaths([&](const Path &q) { return q.i1 == path.i1 && q.i2 == path.i2; });
    int sameY = countPaths([&](const Path &q) { return q.i2 == path.i2; });
    int sameMatrix = countPaths([&](const Path &q) {
      return q.i2 == path.i2 && product.getX()[q.i1].l == l1 && product.getZ()[q.i3].l == l3 &&
             (unitCoefficients || q.coefficient == path.coefficient);
    });

    // With its block of z to itself, a path can have that block scaled.
    bool isUnit = unitCoefficients && countPaths([&](const Path &q) { return q.i3 == path.i3; }) == 1;
    Value scales = isUnit ? getCoefficients(l1, l2, l3, path.coefficient, Part::Scales) : Value();

    // The leaves: the coefficients, and each block that a contract is given.
    factor::Problem problem;
    problem.cost = cost;
    problem.extents = {{'i', 2 * l1 + 1}, {'j', 2 * l2 + 1}, {'k', 2 * l3 + 1}};
    for (Slot slot : allSlots)
      for (char letter : getMultiplicities(product, path, slot))
        if (letter != 'u')
          problem.extents[letter] = static_cast<int>(getExtent(product, path, letter));
    SmallVector<Value> values;
    problem.leaves.push_back({"ijk", getSupport(l1, l2, l3), sameMatrix, ""});
    numNonzeros += problem.leaves.front().support->size();
    values.push_back(isUnit ? getCoefficients(l1, l2, l3, 1.0, Part::Unit) : getCoefficients(l1, l2, l3, path.coefficient, Part::All));
    auto scale = [&](Value z) {
      std::string letters = getLetters(product, path, Slot::Z);
      return getEinsum({letters, "k"}, letters, {z, scales});
    };
    auto getLeaf = [&](Value row, Slot slot) -> int {
      Value block = getBlock(row, product, p, slot);
      if (isUnit && slot == Slot::Z)
        block = scale(block);
      if (takesPairs(path, slot))
        block = getPairs(block, slot == Slot::X ? Member::First : Member::Second);
      if (auto it = llvm::find(values, block); it != values.end())
        return static_cast<int>(it - values.begin());
      int shared = slot == Slot::X ? samePair : slot == Slot::Y ? sameY : 1;
      problem.leaves.push_back({getLetters(product, path, slot), std::nullopt, shared, ""});
      values.push_back(block);
      return static_cast<int>(values.size() - 1);
    };

    // What spreads a value over an index of the output that none of its factors has.
    auto getOnes = [&](char letter) -> int {
      for (auto [n, value] : llvm::enumerate(values))
        if (value.getDefiningOp<OnesOp>() && problem.leaves[n].indices[0] == letter)
          return static_cast<int>(n);
      problem.leaves.push_back({std::string(1, letter), std::nullopt, 1, ""});
      values.push_back(OnesOp::create(builder, kernel.getLoc(), RankedTensorType::get({getExtent(product, path, letter)}, elementType)));
      return static_cast<int>(values.size() - 1);
    };

    // The outputs: per result the sum of its contracts.
    llvm::MapVector<unsigned, Slot> wanted;
    for (Contribution &c : contracts)
      wanted.insert({c.result, c.contract.getSlot()});
    for (auto [result, slot] : wanted) {
      factor::Output output;
      output.indices = getLetters(product, path, slot);
      for (Contribution &c : contracts) {
        if (c.result != result)
          continue;
        factor::Term term{0};
        for (Slot s : allSlots)
          if (Value row = c.contract.getBound(s))
            term.push_back(getLeaf(row, s));
        for (char letter : output.indices)
          if (llvm::none_of(term, [&](int leaf) { return StringRef(problem.leaves[leaf].indices).contains(letter); }))
            term.push_back(getOnes(letter));
        output.terms.push_back(term);
      }
      problem.outputs.push_back(std::move(output));
    }

    std::string error;
    auto plan = factor::factorize(problem, &error);
    if (!plan)
      return kernel.emitOpError("instruction ") << p << " cannot be factored: " << error;
    factor::Analysis analysis = factor::analyze(problem, *plan);
    numMultiplications += analysis.multiplications;
    numChannelFree += analysis.channelFreeMultiplications;

    SmallVector<Value> nodes = emit(problem, *plan, values);
    for (auto [pair, node] : llvm::zip(wanted, plan->outputs)) {
      int64_t offset;
      auto type = getBlockType(product, p, pair.second, offset);
      Value block = nodes[node];
      if (isUnit && pair.second == Slot::Z)
        block = scale(block);
      if (takesPairs(path, pair.second))
        block = PairSumOp::create(builder, loc, type, pair.second == Slot::X ? Member::First : Member::Second, block);
      assert(block.getType() == type && "a plan's output has its block's shape");
      results[pair.first].offsets.push_back(offset);
      results[pair.first].blocks.push_back(block);
    }
    return success();
  }

  Value getPairs(Value block, Member member) {
    Value &pairs = pairsOf[{block, static_cast<int>(member)}];
    if (!pairs) {
      auto type = cast<RankedTensorType>(block.getType());
      SmallVector<int64_t> shape(type.getShape());
      shape[0] = shape[0] * (shape[0] - 1) / 2;
      pairs = PairsOp::create(builder, loc, RankedTensorType::get(shape, elementType), member, block);
    }
    return pairs;
  }

  enum class Part { All, Unit, Scales };

  Value getCoefficients(int l1, int l2, int l3, double scale, Part part) {
    auto [it, isNew] = coefficients.try_emplace({{l1, l2, l3, static_cast<int>(part)}, llvm::bit_cast<int64_t>(scale)});
    if (isNew) {
      SmallVector<int64_t> shape{2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1};
      if (part == Part::Scales)
        shape = {2 * l3 + 1};
      auto flag = [&](Part which) { return part == which ? builder.getUnitAttr() : UnitAttr(); };
      it->second = CoefficientsOp::create(builder, kernel.getLoc(), RankedTensorType::get(shape, elementType),
                                          builder.getI64IntegerAttr(l1), builder.getI64IntegerAttr(l2), builder.getI64IntegerAttr(l3),
                                          builder.getF64FloatAttr(scale), flag(Part::Unit), flag(Part::Scales));
    }
    return it->second;
  }

  static std::vector<std::vector<int>> getSupport(int l1, int l2, int l3) {
    const std::vector<double> &values = espmm::clebschGordan(l1, l2, l3);
    std::vector<std::vector<int>> support;
    size_t n = 0;
    for (int i = 0; i <= 2 * l1; ++i)
      for (int j = 0; j <= 2 * l2; ++j)
        for (int k = 0; k <= 2 * l3; ++k)
          if (values[n++] != 0.0)
            support.push_back({i, j, k});
    return support;
  }

  /// The plan as ops; equal ones are made once, also across paths.
  SmallVector<Value> emit(const factor::Problem &problem, const factor::Plan &plan, ArrayRef<Value> leaves) {
    SmallVector<Value> values;
    SmallVector<std::string> letters;
    for (const factor::Node &node : plan.nodes) {
      if (node.kind == factor::Node::Kind::Leaf) {
        values.push_back(leaves[node.leaf]);
        letters.push_back(problem.leaves[node.leaf].indices);
        continue;
      }
      std::string result = canonicalOrder(node.indices);
      SmallVector<Value> operands;
      SmallVector<std::string> groups;
      for (int operand : node.operands) {
        operands.push_back(values[operand]);
        groups.push_back(letters[operand]);
      }
      if (node.kind == factor::Node::Kind::Sum) {
        // Sums are elementwise; what a sum adds over besides is a unary einsum after it.
        Value sum = operands.front();
        for (Value operand : ArrayRef(operands).drop_front())
          sum = getAdd(sum, operand);
        values.push_back(result == groups.front() ? sum : getEinsum({groups.front()}, result, {sum}));
      } else {
        values.push_back(getEinsum(groups, result, operands));
      }
      letters.push_back(result);
    }
    return values;
  }

  Value getAdd(Value a, Value b) {
    auto [it, isNew] = sums.try_emplace({a, b});
    if (isNew)
      it->second = AddOp::create(builder, loc, a, b);
    return it->second;
  }

  Value getEinsum(ArrayRef<std::string> groups, StringRef result, ArrayRef<Value> operands) {
    std::string subscripts = llvm::join(groups, ",") + "->" + result.str();
    SmallVector<Value, 2> key(operands);
    key.resize(2);
    auto [it, isNew] = einsums[subscripts].try_emplace({key[0], key[1]});
    if (!isNew)
      return it->second;
    llvm::SmallDenseMap<char, int64_t> extents;
    for (auto [group, operand] : llvm::zip(groups, operands))
      for (auto [letter, extent] : llvm::zip(group, cast<RankedTensorType>(operand.getType()).getShape()))
        extents[letter] = extent;
    SmallVector<int64_t> shape;
    for (char letter : result)
      shape.push_back(extents.lookup(letter));
    it->second = EinsumOp::create(builder, loc, RankedTensorType::get(shape, elementType),
                                  builder.getStringAttr(subscripts), operands);
    return it->second;
  }

  KernelOp kernel;
  YieldOp yield;
  OpBuilder builder;
  factor::CostModel cost;
  bool unitCoefficients;
  Location loc; // names the instruction that is factored: the first of those that have an operation in common
  Type elementType;
  llvm::MapVector<ProductAttr, SmallVector<Contribution>> products;
  SmallVector<Result> results;
  std::map<std::pair<std::array<int, 4>, int64_t>, Value> coefficients;
  /// By row, offset, type and letters.
  std::map<std::tuple<const void *, int64_t, const void *, std::string>, Value> blocks;
  llvm::DenseMap<std::pair<Value, int>, Value> pairsOf;
  llvm::DenseMap<std::pair<Value, Value>, Value> sums;
  std::map<std::string, llvm::DenseMap<std::pair<Value, Value>, Value>> einsums;
};

struct Factor : espmm::equivariant::impl::EquivariantFactorBase<Factor> {
  using EquivariantFactorBase::EquivariantFactorBase;

  void runOnOperation() override {
    int64_t paths = 0, nonzeros = 0, multiplications = 0, channelFree = 0;
    WalkResult result = getOperation().walk([&](KernelOp kernel) {
      KernelFactoring factoring(kernel, {channelFreeCost, channelSumCost}, unitCoefficients);
      if (failed(factoring.run()))
        return WalkResult::interrupt();
      paths += factoring.numPaths;
      nonzeros += factoring.numNonzeros;
      multiplications += factoring.numMultiplications;
      channelFree += factoring.numChannelFree;
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      return signalPassFailure();
    recordStatistics(getOperation(), "factor",
                     {{numPaths, "paths", paths},
                      {numNonzeros, "nonzeros", nonzeros},
                      {numMultiplications, "multiplications", multiplications},
                      {numChannelFree, "channel_free_multiplications", channelFree}});
  }
};

} // namespace
