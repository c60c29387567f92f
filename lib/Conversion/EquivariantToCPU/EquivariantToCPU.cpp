//===- EquivariantToCPU.cpp - relayout and lane_sum as shuffles -----------===//
#include "espmm/Dialect/Equivariant/Transforms/Passes.h"

namespace espmm::equivariant {
#define GEN_PASS_DEF_CONVERTEQUIVARIANTTOCPU
#include "espmm/Dialect/Equivariant/Transforms/Passes.h.inc"
} // namespace espmm::equivariant

using namespace mlir;
using namespace espmm::equivariant;

namespace {

/// Emits one relayout: block by block.
class RelayoutLowering {
public:
  explicit RelayoutLowering(RelayoutOp op)
      : op(op), builder(op), loc(op.getLoc()), element(op.getElementType()), lanes(op.getVector()),
        vector(VectorType::get({lanes}, element)), alignment(element.getIntOrFloatBitWidth() / 8) {}

  void run() {
    auto pad = [&](int64_t mul) { return (mul + lanes - 1) / lanes * lanes; };
    if (auto block = op.getBlock())
      lowerBlock((*block)[0], (*block)[1], Layout::MulIr, 0, 0, pad((*block)[0]));
    int64_t padded = 0;
    for (auto [b, ir] : llvm::enumerate(op.getIrreps() ? op.getIrreps()->getBlocks() : ArrayRef<MulIrrep>())) {
      if (ir.mul > 0)
        lowerBlock(ir.mul, ir.irDim(), op.getIrreps()->getLayout(), op.getIrreps()->getOffset(b), padded, pad(ir.mul));
      padded += pad(ir.mul) * ir.irDim();
    }
    op.erase();
  }

private:
  void lowerBlock(int64_t mul, int64_t dim, Layout layout, int64_t memory, int64_t component, int64_t stride) {
    int64_t whole = mul / lanes * lanes;
    if (dim == 1 || layout == Layout::IrMul) {
      for (int64_t i = 0; i < dim; ++i)
        copyChannels(mul, memory + i * mul, component + i * stride);
      return;
    }
    if (whole > 0)
      forEachVector(whole, [&](Value channel) {
        op.getScatter() ? interleave(dim, memory, component, stride, channel)
                        : deinterleave(dim, memory, component, stride, channel);
      });
    if (whole < mul)
      copyTail(mul, dim, whole, memory, component, stride);
  }

  void forEachVector(int64_t channels, llvm::function_ref<void(Value)> body) {
    auto loop = scf::ForOp::create(builder, loc, index(0), index(channels), index(lanes));
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    body(loop.getInductionVar());
  }

  /// One component's channels, contiguous on both sides.
  void copyChannels(int64_t mul, int64_t memory, int64_t component) {
    int64_t whole = mul / lanes * lanes;
    if (whole > 0)
      forEachVector(whole, [&](Value channel) {
        if (op.getScatter())
          storeVector(loadVector(op.getSource(), channel, component), op.getTarget(), channel, memory);
        else
          storeVector(loadVector(op.getSource(), channel, memory), op.getTarget(), channel, component);
      });
    if (whole == mul)
      return;
    if (!op.getScatter())
      storeVector(zero(vector), op.getTarget(), index(whole), component);
    for (int64_t u = whole; u < mul; ++u) {
      int64_t from = op.getScatter() ? component + u : memory + u, to = op.getScatter() ? memory + u : component + u;
      copyScalar(from, to);
    }
  }

  /// The last channels of a block, that fill no vector; the padding of component order becomes zero.
  void copyTail(int64_t mul, int64_t dim, int64_t whole, int64_t memory, int64_t component, int64_t stride) {
    for (int64_t i = 0; i < dim; ++i) {
      if (!op.getScatter())
        storeVector(zero(vector), op.getTarget(), index(whole), component + i * stride);
      for (int64_t u = whole; u < mul; ++u) {
        int64_t m = memory + u * dim + i, c = component + i * stride + u;
        op.getScatter() ? copyScalar(c, m) : copyScalar(m, c);
      }
    }
  }

  // dim vectors of [u][i] -> dim vectors of [i][u]. Element (u, i) is at u * dim + i, lane (u * dim + i) % lanes of
  // register (u * dim + i) / lanes: for one i and all u these lanes are distinct if dim is odd, lanes being a power of two.
  void deinterleave(int64_t dim, int64_t memory, int64_t component, int64_t stride, Value channel) {
    SmallVector<Value> registers;
    Value start = mul(channel, dim);
    for (int64_t q = 0; q < dim; ++q)
      registers.push_back(loadVector(op.getSource(), start, memory + q * lanes));
    for (int64_t i = 0; i < dim; ++i) {
      SmallVector<int64_t> places;
      for (int64_t u = 0; u < lanes; ++u)
        places.push_back(u * dim + i);
      storeVector(dim % 2 ? permuteBlend(registers, places) : collect(registers, places), op.getTarget(), channel, component + i * stride);
    }
  }

  /// Lane t of the result is element places[t] of the registers, one after the other; no two of them in the same lane.
  Value permuteBlend(ArrayRef<Value> registers, ArrayRef<int64_t> places) {
    SmallVector<int64_t> source(lanes);
    SmallVector<int32_t> permutation;
    for (int64_t place : places) {
      source[place % lanes] = place / lanes;
      permutation.push_back(place % lanes);
    }
    return shuffle(blend(registers, source), permutation);
  }

  /// The same for any places: register by register.
  Value collect(ArrayRef<Value> registers, ArrayRef<int64_t> places) {
    Value result;
    for (auto [q, reg] : llvm::enumerate(registers)) {
      SmallVector<int32_t> mask;
      bool any = false;
      for (auto [t, place] : llvm::enumerate(places)) {
        bool here = place / lanes == static_cast<int64_t>(q);
        any |= here;
        mask.push_back(here ? lanes + place % lanes : t);
      }
      if (any)
        result = LLVM::ShuffleVectorOp::create(builder, loc, result ? result : reg, reg, mask);
    }
    return result;
  }

  // The inverse: each component is permuted to its lanes, each register blended from the components.
  void interleave(int64_t dim, int64_t memory, int64_t component, int64_t stride, Value channel) {
    if (dim % 2 == 0) {
      SmallVector<Value> components;
      for (int64_t i = 0; i < dim; ++i)
        components.push_back(loadVector(op.getSource(), channel, component + i * stride));
      for (int64_t q = 0; q < dim; ++q) {
        SmallVector<int64_t> places;
        for (int64_t t = q * lanes; t < (q + 1) * lanes; ++t)
          places.push_back(t % dim * lanes + t / dim);
        storeVector(collect(components, places), op.getTarget(), mul(channel, dim), memory + q * lanes);
      }
      return;
    }
    SmallVector<Value> permuted;
    for (int64_t i = 0; i < dim; ++i) {
      SmallVector<int32_t> permutation(lanes);
      for (int64_t u = 0; u < lanes; ++u)
        permutation[(u * dim + i) % lanes] = u;
      permuted.push_back(shuffle(loadVector(op.getSource(), channel, component + i * stride), permutation));
    }
    Value start = mul(channel, dim);
    for (int64_t q = 0; q < dim; ++q) {
      SmallVector<int64_t> source(lanes);
      for (int64_t t = 0; t < lanes; ++t)
        source[t] = (q * lanes + t) % dim;
      storeVector(blend(permuted, source), op.getTarget(), start, memory + q * lanes);
    }
  }

  /// Lane t of registers[source[t]], for each t.
  Value blend(ArrayRef<Value> registers, ArrayRef<int64_t> source) {
    Value result;
    for (auto [q, reg] : llvm::enumerate(registers)) {
      if (!llvm::is_contained(source, static_cast<int64_t>(q)))
        continue;
      if (!result) {
        result = reg;
        continue;
      }
      SmallVector<int32_t> mask;
      for (int64_t t = 0; t < lanes; ++t)
        mask.push_back(source[t] == static_cast<int64_t>(q) ? lanes + t : t);
      result = LLVM::ShuffleVectorOp::create(builder, loc, result, reg, mask);
    }
    return result;
  }

  Value shuffle(Value value, ArrayRef<int32_t> permutation) {
    return LLVM::ShuffleVectorOp::create(builder, loc, value, LLVM::PoisonOp::create(builder, loc, vector), permutation);
  }

  Value index(int64_t value) { return arith::ConstantIntOp::create(builder, loc, value, 64); }
  Value mul(Value a, int64_t b) { return arith::MulIOp::create(builder, loc, a, index(b)); }
  Value zero(Type type) { return LLVM::ZeroOp::create(builder, loc, type); }

  Value address(Value base, Value position, int64_t offset) {
    Value start = LLVM::GEPOp::create(builder, loc, base.getType(), element, base, ArrayRef<LLVM::GEPArg>{position});
    return LLVM::GEPOp::create(builder, loc, base.getType(), element, start,
                               ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(offset)});
  }
  Value loadVector(Value base, Value position, int64_t offset) {
    return LLVM::LoadOp::create(builder, loc, vector, address(base, position, offset), alignment);
  }
  void storeVector(Value value, Value base, Value position, int64_t offset) {
    LLVM::StoreOp::create(builder, loc, value, address(base, position, offset), alignment);
  }
  void copyScalar(int64_t from, int64_t to) {
    Value value = LLVM::LoadOp::create(builder, loc, element, address(op.getSource(), index(0), from), alignment);
    LLVM::StoreOp::create(builder, loc, value, address(op.getTarget(), index(0), to), alignment);
  }

  RelayoutOp op;
  OpBuilder builder;
  Location loc;
  Type element;
  int64_t lanes;
  VectorType vector;
  unsigned alignment;
};

/// Sums over lanes, several vectors at once. Of two vectors whose lanes are to hold different elements, each lane keeps its own and takes
/// the other's from the lane that differs in one bit: half as many vectors are left, and half as much to add in each.
class LaneSumLowering {
public:
  explicit LaneSumLowering(LaneSumOp op)
      : op(op), builder(op), loc(op.getLoc()), lanes(cast<VectorType>(op.getType()).getNumElements()) {}

  void run() {
    SmallVector<Value> values(op.getValues());
    int64_t count = llvm::PowerOf2Ceil(values.size());
    values.resize(count);
    for (int64_t bit = count / 2; bit >= 1; bit /= 2)
      for (int64_t i = 0; i < bit; ++i)
        values[i] = fold(values[i], values[i + bit], bit);
    for (int64_t bit = count; bit < lanes; bit *= 2)
      values[0] = fold(values[0], Value(), bit);
    op.getResult().replaceAllUsesWith(values[0]);
    op.erase();
  }

private:
  /// Lane l of `low`, or of `high` if l has the bit, plus its neighbour's there. What is absent may become anything.
  Value fold(Value low, Value high, int64_t bit) {
    if (!low)
      return low;
    SmallVector<int32_t> own, other;
    for (int64_t l = 0; l < lanes; ++l) {
      int64_t from = high && (l & bit) ? lanes : 0;
      own.push_back(from + l);
      other.push_back(from + (l ^ bit));
    }
    Value kept = high ? shuffle(low, high, own) : low;
    return LLVM::FAddOp::create(builder, loc, kept, shuffle(low, high ? high : low, other));
  }

  Value shuffle(Value a, Value b, ArrayRef<int32_t> permutation) {
    return LLVM::ShuffleVectorOp::create(builder, loc, a, b, permutation);
  }

  LaneSumOp op;
  OpBuilder builder;
  Location loc;
  int64_t lanes;
};

/// Vectors of coefficients, as a table in memory that they are read from. What takes them is the same instruction as with constants of the code
/// generator's own; but that compares each constant with all others, which took 45 s of a gradient with 4,600.
class ConstantTable {
public:
  explicit ConstantTable(ModuleOp module) : module(module), builder(module.getContext()) {}

  void run() {
    llvm::MapVector<VectorType, SmallVector<LLVM::ConstantOp>> byType;
    module.walk([&](LLVM::ConstantOp op) {
      auto values = dyn_cast<DenseFPElementsAttr>(op.getValue());
      if (isa<VectorType>(op.getType()) && values && !values.isSplat())
        byType[cast<VectorType>(op.getType())].push_back(op);
    });
    for (auto &[type, ops] : byType)
      moveToTable(type, ops);
  }

private:
  void moveToTable(VectorType type, ArrayRef<LLVM::ConstantOp> ops) {
    Type scalar = type.getElementType();
    llvm::MapVector<Attribute, int64_t> places;
    SmallVector<APFloat> elements;
    for (LLVM::ConstantOp op : ops)
      if (places.try_emplace(op.getValue(), elements.size()).second)
        llvm::append_range(elements, cast<DenseFPElementsAttr>(op.getValue()).getValues<APFloat>());
    builder.setInsertionPointToStart(module.getBody());
    auto values = DenseElementsAttr::get(RankedTensorType::get({static_cast<int64_t>(elements.size())}, scalar), elements);
    std::string name = ("espmm_coefficients_" + Twine(type.getNumElements()) + "x" + Twine(scalar.getIntOrFloatBitWidth())).str();
    int64_t bytes = type.getNumElements() * scalar.getIntOrFloatBitWidth() / 8;
    auto array = LLVM::LLVMArrayType::get(scalar, elements.size());
    LLVM::GlobalOp::create(builder, module.getLoc(), array, /*isConstant=*/true, LLVM::Linkage::Internal, name, values, bytes);
    auto pointer = LLVM::LLVMPointerType::get(module.getContext());
    for (LLVM::ConstantOp op : ops) {
      builder.setInsertionPoint(op);
      Value table = LLVM::AddressOfOp::create(builder, op.getLoc(), pointer, name);
      Value address = LLVM::GEPOp::create(builder, op.getLoc(), pointer, scalar, table,
                                          ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(places.lookup(op.getValue()))});
      auto load = LLVM::LoadOp::create(builder, op.getLoc(), type, address, bytes);
      load.setInvariant(true);
      op.replaceAllUsesWith(load.getResult());
      op.erase();
    }
  }

  ModuleOp module;
  OpBuilder builder;
};

struct ConvertEquivariantToCPU
    : espmm::equivariant::impl::ConvertEquivariantToCPUBase<ConvertEquivariantToCPU> {
  void runOnOperation() override {
    getOperation().walk([](Operation *op) {
      if (auto relayout = dyn_cast<RelayoutOp>(op))
        RelayoutLowering(relayout).run();
      else if (auto sum = dyn_cast<LaneSumOp>(op))
        LaneSumLowering(sum).run();
    });
    ConstantTable(getOperation()).run();
  }
};

} // namespace
