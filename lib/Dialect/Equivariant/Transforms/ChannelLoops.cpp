//===- ChannelLoops.cpp - which einsums share a loop over channels --------===//
#include "ChannelLoops.h"
#include "llvm/ADT/SetVector.h"
#include <map>

using namespace mlir;
using namespace espmm::equivariant;

//===----------------------------------------------------------------------===//
// SupportOfValues
//===----------------------------------------------------------------------===//

const llvm::BitVector &SupportOfValues::get(Value value) {
  if (auto it = supports.find(value); it != supports.end())
    return *it->second;
  auto computed = std::make_unique<llvm::BitVector>(compute(value));
  return *(supports[value] = std::move(computed));
}

llvm::BitVector SupportOfValues::compute(Value value) {
  Operation *op = value.getDefiningOp();
  if (auto einsum = dyn_cast_or_null<EinsumOp>(op))
    return computeEinsum(einsum);
  if (auto add = dyn_cast_or_null<AddOp>(op)) {
    llvm::BitVector result = get(add.getLhs());
    result |= get(add.getRhs());
    return result;
  }
  if (isConstantTensor(op)) {
    SmallVector<double> values = getConstantElements(op);
    llvm::BitVector result(values.size());
    for (auto [n, c] : llvm::enumerate(values))
      if (c != 0.0)
        result.set(n);
    return result;
  }
  // A block: its users say whether the first dimension is the channel axis.
  auto type = cast<RankedTensorType>(value.getType());
  int64_t count = type.getNumElements();
  for (OpOperand &use : value.getUses())
    if (auto einsum = dyn_cast<EinsumOp>(use.getOwner());
        einsum && einsum.getOperandLetters(use.getOperandNumber()).contains('u')) {
      count /= type.getDimSize(0);
      break;
    }
  return llvm::BitVector(count, true);
}

llvm::BitVector SupportOfValues::computeEinsum(EinsumOp op) {
  std::string letters;
  SmallVector<int64_t> extents;
  for (auto [o, operand] : llvm::enumerate(op.getOperands_()))
    for (auto [letter, extent] : llvm::zip(op.getOperandLetters(o), cast<RankedTensorType>(operand.getType()).getShape()))
      if (letter != 'u' && letters.find(letter) == std::string::npos) {
        letters += letter;
        extents.push_back(extent);
      }
  SmallVector<int64_t> index(letters.size(), 0);
  auto getPlace = [&](StringRef group) {
    int64_t place = 0;
    for (char letter : group)
      if (letter != 'u') {
        size_t d = letters.find(letter);
        place = place * extents[d] + index[d];
      }
    return place;
  };
  int64_t size = 1;
  for (char letter : op.getResultLetters())
    if (letter != 'u')
      size *= extents[letters.find(letter)];
  llvm::BitVector result(size);
  int64_t total = ShapedType::getNumElements(extents);
  for (int64_t n = 0; n < total; ++n) {
    int64_t rest = n;
    for (int64_t d = static_cast<int64_t>(extents.size()) - 1; d >= 0; --d) {
      index[d] = rest % extents[d];
      rest /= extents[d];
    }
    bool isNonzero = true;
    for (auto [o, operand] : llvm::enumerate(op.getOperands_()))
      isNonzero = isNonzero && get(operand).test(getPlace(op.getOperandLetters(o)));
    if (isNonzero)
      result.set(getPlace(op.getResultLetters()));
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

namespace {

class Planner {
public:
  Planner(const KernelAnalysis &analysis, SupportOfValues &support, int64_t registers)
      : analysis(analysis), support(support), registers(registers) {
    for (const Contribution &c : analysis.getContributions())
      contributed.insert(c.value);
    KernelOp kernel = analysis.kernel;
    for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
      if (kernel.getInputAccess(i) == Access::Edge)
        widest = std::max(widest, getWidth(kernel.getInputs()[i]));
  }

  std::vector<ChannelLoop> run() {
    std::vector<ChannelLoop> parts, loops;
    for (ArrayRef<Operation *> group : analysis.getGroups())
      for (ChannelLoop &cluster : clusterRoots(group))
        llvm::append_range(parts, split(cluster));
    // An edge's weights are then read from begin to end, as processors expect, and so are their gradients written.
    llvm::stable_sort(parts, [&](const ChannelLoop &a, const ChannelLoop &b) { return findFirst(a) < findFirst(b); });
    for (ChannelLoop &part : parts) {
      if (!loops.empty() && shareTraffic(loops.back(), part) && !overlaps(loops.back(), part)) {
        ChannelLoop merged = merge(loops.back(), part);
        if (estimateLive(merged) <= mergedLive()) {
          loops.back() = std::move(merged);
          continue;
        }
      }
      loops.push_back(std::move(part));
    }
    return loops;
  }

private:
  // Blocks that are read once need no register of their own: a multiply-add takes one operand from memory.
  int64_t mergedLive() const { return registers * 3 / 2; }
  int64_t maxAccumulators() const { return registers - registers / 4; }

  /// True if an operation is a sum of products, so that computing it in several loops would not pay.
  static bool isCostly(Operation *op) {
    auto einsum = dyn_cast<EinsumOp>(op);
    for (unsigned o = 0; einsum && o < einsum.getOperands_().size(); ++o)
      for (auto [letter, extent] : llvm::zip(einsum.getOperandLetters(o), cast<RankedTensorType>(einsum.getOperands_()[o].getType()).getShape()))
        if (letter != 'u' && extent > 1 && !einsum.getResultLetters().contains(letter))
          return true;
    return false;
  }

  /// A loop for each value that a group gives, those together that need the same sums of products.
  std::vector<ChannelLoop> clusterRoots(ArrayRef<Operation *> group) {
    std::vector<ChannelLoop> clusters;
    for (Operation *op : group) {
      bool isSum = !analysis.hasChannels(op->getResult(0));
      if (!isSum && !contributed.contains(op->getResult(0)))
        continue;
      ChannelLoop cluster;
      cluster.ops = getNeeded(group, {op->getResult(0)});
      if (isSum)
        cluster.sums.push_back({op, std::nullopt});
      else
        cluster.stored.push_back(op->getResult(0));
      auto sharesCost = [&](const ChannelLoop &other) {
        return llvm::any_of(cluster.ops, [&](Operation *needed) {
          return analysis.hasChannels(needed->getResult(0)) && isCostly(needed) && llvm::is_contained(other.ops, needed);
        });
      };
      for (auto it = clusters.begin(); it != clusters.end();)
        if (sharesCost(*it)) {
          cluster = merge(*it, cluster);
          it = clusters.erase(it);
        } else {
          ++it;
        }
      clusters.push_back(std::move(cluster));
    }
    return clusters;
  }

  /// Values that are live in a loop at the same time, at worst.
  int64_t estimateLive(const ChannelLoop &loop) {
    llvm::SetVector<Value> values;
    llvm::SmallDenseSet<Value> matrices;
    for (Operation *op : loop.ops) {
      for (Value operand : op->getOperands())
        if (analysis.hasChannels(operand) || !matrices.insert(operand).second)
          values.insert(operand);
      values.insert(op->getResult(0));
    }
    int64_t live = 0;
    for (Value value : values)
      live += support.count(value);
    return live;
  }

  llvm::SetVector<Value> getBlocks(const ChannelLoop &loop) {
    llvm::SetVector<Value> result;
    for (Operation *op : loop.ops)
      for (Value operand : op->getOperands())
        if (analysis.hasChannels(operand) && operand.getDefiningOp<BlockOp>())
          result.insert(operand);
    return result;
  }

  /// The places that a loop adds to, with the elements there for one channel.
  std::map<std::pair<unsigned, int64_t>, int64_t> getPlaces(const ChannelLoop &loop) {
    std::map<std::pair<unsigned, int64_t>, int64_t> result;
    for (const Contribution &c : analysis.getContributions())
      if (llvm::is_contained(loop.stored, c.value))
        result[{c.result, c.offset}] = support.count(c.value);
    return result;
  }

  /// Where the first of a loop's weights lies; of other tensors that each edge has a row of, where those are no shorter.
  int64_t findFirst(const ChannelLoop &loop) {
    int64_t first = std::numeric_limits<int64_t>::max();
    auto look = [&](Value tensor, Access access, int64_t offset) {
      if (access == Access::Edge && getWidth(tensor) == widest)
        first = std::min(first, offset);
    };
    KernelOp kernel = analysis.kernel;
    for (Value value : getBlocks(loop)) {
      auto block = value.getDefiningOp<BlockOp>();
      unsigned i = cast<BlockArgument>(block.getRow()).getArgNumber();
      look(kernel.getInputs()[i], kernel.getInputAccess(i), block.getOffset());
    }
    for (auto [place, count] : getPlaces(loop))
      look(kernel.getResult(place.first), kernel.getResultAccess(place.first), place.second);
    return first;
  }

  /// At least a quarter of what one of them moves is moved by the other too: blocks that it reads, places that it reads and writes.
  bool shareTraffic(const ChannelLoop &a, const ChannelLoop &b) {
    llvm::SetVector<Value> ofA = getBlocks(a), ofB = getBlocks(b);
    int64_t countA = 0, countB = 0, both = 0;
    for (Value block : ofA)
      countA += support.count(block);
    for (Value block : ofB) {
      countB += support.count(block);
      both += ofA.contains(block) ? support.count(block) : 0;
    }
    auto placesOfA = getPlaces(a);
    for (auto [place, count] : placesOfA)
      countA += 2 * count;
    for (auto [place, count] : getPlaces(b)) {
      countB += 2 * count;
      both += placesOfA.count(place) ? 2 * count : 0;
    }
    return 4 * both >= std::min(countA, countB);
  }

  /// Two boxes of one sum have a loop each.
  static bool overlaps(const ChannelLoop &a, const ChannelLoop &b) {
    return llvm::any_of(a.sums, [&](const ChannelLoop::Sum &s) {
      return llvm::any_of(b.sums, [&](const ChannelLoop::Sum &t) { return s.op == t.op; });
    });
  }

  static ChannelLoop merge(const ChannelLoop &a, const ChannelLoop &b) {
    ChannelLoop result = a;
    llvm::SetVector<Operation *> ops(a.ops.begin(), a.ops.end());
    ops.insert(b.ops.begin(), b.ops.end());
    result.ops = ops.takeVector();
    llvm::stable_sort(result.ops, [](Operation *x, Operation *y) { return x->isBeforeInBlock(y); });
    result.stored.append(b.stored);
    result.sums.append(b.sums);
    return result;
  }

  /// What a value needs of a loop's operations, in program order.
  SmallVector<Operation *> getNeeded(ArrayRef<Operation *> ops, ArrayRef<Value> wanted) {
    llvm::SmallPtrSet<Operation *, 16> needed;
    for (Value value : wanted)
      needed.insert(value.getDefiningOp());
    for (Operation *op : llvm::reverse(ops))
      if (needed.contains(op))
        for (Value operand : op->getOperands())
          if (Operation *producer = operand.getDefiningOp())
            needed.insert(producer);
    SmallVector<Operation *> result;
    llvm::copy_if(ops, std::back_inserter(result), [&](Operation *op) { return needed.contains(op); });
    return result;
  }

  /// Sums with too many elements leave the loop that stores and get loops of their own.
  std::vector<ChannelLoop> split(const ChannelLoop &loop) {
    if (loop.sums.empty() || estimateLive(loop) <= mergedLive())
      return {loop};
    std::vector<ChannelLoop> result;
    if (!loop.stored.empty()) {
      ChannelLoop &storing = result.emplace_back();
      storing.stored = loop.stored;
      storing.ops = getNeeded(loop.ops, loop.stored);
    }
    for (const ChannelLoop::Sum &sum : loop.sums) {
      SmallVector<Operation *> ops = getNeeded(loop.ops, {sum.op->getResult(0)});
      if (support.count(sum.op->getResult(0)) <= maxAccumulators())
        result.push_back({ops, {}, {sum}});
      else
        for (Box &box : cut(sum.op))
          result.push_back({ops, {}, {{sum.op, box}}});
    }
    return result;
  }

  /// Boxes of at most so many elements as fit, such that reading and computing the operands again costs least.
  SmallVector<Box> cut(Operation *op) {
    auto einsum = dyn_cast<EinsumOp>(op);
    std::string letters = einsum ? einsum.getResultLetters().str() : std::string();
    SmallVector<int64_t> shape(cast<RankedTensorType>(op->getResult(0).getType()).getShape());
    SmallVector<int64_t> best, sizes(shape.size(), 1);
    double bestCost = 0;
    int64_t total = ShapedType::getNumElements(shape);
    for (int64_t n = 0; n < total; ++n) {
      int64_t rest = n;
      for (int64_t d = static_cast<int64_t>(shape.size()) - 1; d >= 0; --d) {
        sizes[d] = rest % shape[d] + 1;
        rest /= shape[d];
      }
      if (ShapedType::getNumElements(sizes) > maxAccumulators())
        continue;
      double boxes = 1, cost = 0;
      for (auto [size, extent] : llvm::zip(sizes, shape))
        boxes *= static_cast<double>((extent + size - 1) / size);
      for (unsigned o = 0; einsum && o < einsum.getOperands_().size(); ++o) {
        Value operand = einsum.getOperands_()[o];
        double part = operand.getDefiningOp<BlockOp>() ? 1.0 : 2.0;
        for (char letter : einsum.getOperandLetters(o))
          if (size_t d = letters.find(letter); d != std::string::npos)
            part *= static_cast<double>(sizes[d]);
        cost += part;
      }
      cost = boxes * (cost + 2.0);
      if (best.empty() || cost < bestCost) {
        best = sizes;
        bestCost = cost;
      }
    }
    SmallVector<Box> boxes;
    SmallVector<int64_t> counts;
    for (auto [size, extent] : llvm::zip(best, shape))
      counts.push_back((extent + size - 1) / size);
    int64_t numBoxes = ShapedType::getNumElements(counts);
    for (int64_t n = 0; n < numBoxes; ++n) {
      Box &box = boxes.emplace_back();
      box.offsets.resize(shape.size());
      box.sizes.resize(shape.size());
      int64_t rest = n;
      for (int64_t d = static_cast<int64_t>(shape.size()) - 1; d >= 0; --d) {
        box.offsets[d] = rest % counts[d] * best[d];
        box.sizes[d] = std::min(best[d], shape[d] - box.offsets[d]);
        rest /= counts[d];
      }
    }
    return boxes;
  }

  const KernelAnalysis &analysis;
  SupportOfValues &support;
  int64_t registers, widest = 0; // of rows that each edge has
  llvm::DenseSet<Value> contributed;
};

} // namespace

std::vector<ChannelLoop> espmm::equivariant::planChannelLoops(const KernelAnalysis &analysis, SupportOfValues &support,
                                                              int64_t registers) {
  return Planner(analysis, support, registers).run();
}
