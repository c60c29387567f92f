//===- EquivariantToCPU.cpp - relayout, transpose, lane_sum as shuffles ===//
#include "espmm/Dialect/Equivariant/Transforms/Passes.h"
#include "espmm/Dialect/Equivariant/Transforms/Storage.h"

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
        vector(VectorType::get({lanes}, element)), sourceType(op.getScatter() ? element : op.getStored().value_or(element)),
        targetType(op.getScatter() ? op.getStored().value_or(element) : element) {}

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
          storeVector(loadVector(channel, component), channel, memory);
        else
          storeVector(loadVector(channel, memory), channel, component);
      });
    if (whole == mul)
      return;
    if (!op.getScatter())
      storeVector(zero(vector), index(whole), component);
    for (int64_t u = whole; u < mul; ++u) {
      int64_t from = op.getScatter() ? component + u : memory + u, to = op.getScatter() ? memory + u : component + u;
      copyScalar(from, to);
    }
  }

  /// The last channels of a block, that fill no vector; the padding of component order becomes zero.
  void copyTail(int64_t mul, int64_t dim, int64_t whole, int64_t memory, int64_t component, int64_t stride) {
    for (int64_t i = 0; i < dim; ++i) {
      if (!op.getScatter())
        storeVector(zero(vector), index(whole), component + i * stride);
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
      registers.push_back(loadVector(start, memory + q * lanes));
    for (int64_t i = 0; i < dim; ++i) {
      SmallVector<int64_t> places;
      for (int64_t u = 0; u < lanes; ++u)
        places.push_back(u * dim + i);
      storeVector(dim % 2 ? permuteBlend(registers, places) : collect(registers, places), channel, component + i * stride);
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
        components.push_back(loadVector(channel, component + i * stride));
      for (int64_t q = 0; q < dim; ++q) {
        SmallVector<int64_t> places;
        for (int64_t t = q * lanes; t < (q + 1) * lanes; ++t)
          places.push_back(t % dim * lanes + t / dim);
        storeVector(collect(components, places), mul(channel, dim), memory + q * lanes);
      }
      return;
    }
    SmallVector<Value> permuted;
    for (int64_t i = 0; i < dim; ++i) {
      SmallVector<int32_t> permutation(lanes);
      for (int64_t u = 0; u < lanes; ++u)
        permutation[(u * dim + i) % lanes] = u;
      permuted.push_back(shuffle(loadVector(channel, component + i * stride), permutation));
    }
    Value start = mul(channel, dim);
    for (int64_t q = 0; q < dim; ++q) {
      SmallVector<int64_t> source(lanes);
      for (int64_t t = 0; t < lanes; ++t)
        source[t] = (q * lanes + t) % dim;
      storeVector(blend(permuted, source), start, memory + q * lanes);
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

  Value address(Value base, Value position, int64_t offset, Type stored) {
    Value start = LLVM::GEPOp::create(builder, loc, base.getType(), stored, base, ArrayRef<LLVM::GEPArg>{position});
    return LLVM::GEPOp::create(builder, loc, base.getType(), stored, start,
                               ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(offset)});
  }
  /// From the source, and to the target, of which either may be stored in another type.
  Value load(Type type, Value position, int64_t offset) {
    Value loaded = LLVM::LoadOp::create(builder, loc, getMemoryType(type, sourceType), address(op.getSource(), position, offset, sourceType),
                                        sourceType.getIntOrFloatBitWidth() / 8);
    return extendStored(builder, loc, loaded, type, sourceType);
  }
  void store(Value value, Value position, int64_t offset) {
    Value rounded = roundToStored(builder, loc, value, targetType);
    LLVM::StoreOp::create(builder, loc, rounded, address(op.getTarget(), position, offset, targetType), targetType.getIntOrFloatBitWidth() / 8);
  }
  Value loadVector(Value position, int64_t offset) { return load(vector, position, offset); }
  void storeVector(Value value, Value position, int64_t offset) { store(value, position, offset); }
  void copyScalar(int64_t from, int64_t to) { store(load(element, index(0), from), index(0), to); }

  RelayoutOp op;
  OpBuilder builder;
  Location loc;
  Type element;
  int64_t lanes;
  VectorType vector;
  Type sourceType, targetType;
};

/// Matrices in squares of as many rows and columns as a vector has elements. There is one function of a module for all that have the same types.
class TransposeLowering {
public:
  explicit TransposeLowering(ModuleOp module) : module(module), builder(module.getContext()), loc(module.getLoc()) {}

  void lower(TransposeOp op) {
    std::string name;
    llvm::raw_string_ostream(name) << "espmm_transpose_" << op.getVector() << "x" << op.getSourceType() << "_" << op.getTargetType();
    auto function = module.lookupSymbol<LLVM::LLVMFuncOp>(name);
    if (!function)
      function = makeFunction(name, op);
    builder.setInsertionPoint(op);
    SmallVector<Value> operands{op.getSource(), op.getTarget()};
    for (int64_t size : {static_cast<int64_t>(op.getSourceStride()), static_cast<int64_t>(op.getTargetStride()), op.getBlock()[0], op.getBlock()[1]})
      operands.push_back(index(size));
    LLVM::CallOp::create(builder, op.getLoc(), function, operands);
    op.erase();
  }

private:
  LLVM::LLVMFuncOp makeFunction(StringRef name, TransposeOp op) {
    lanes = op.getVector();
    sourceType = op.getSourceType();
    targetType = op.getTargetType();
    vector = VectorType::get({lanes}, getArithmeticType(sourceType));
    Type pointer = op.getSource().getType(), size = builder.getI64Type();
    builder.setInsertionPointToEnd(module.getBody());
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(builder.getContext()), {pointer, pointer, size, size, size, size});
    auto function = LLVM::LLVMFuncOp::create(builder, loc, name, type, LLVM::Linkage::Internal);
    Block *entry = function.addEntryBlock(builder);
    builder.setInsertionPointToStart(entry);
    Value source = entry->getArgument(0), target = entry->getArgument(1), sourceStride = entry->getArgument(2), targetStride = entry->getArgument(3);
    Value rows = entry->getArgument(4), columns = entry->getArgument(5);
    // Where there is a square, what is left over begins so much earlier that it is one too.
    auto outer = enter(rows);
    Value row = atMost(outer.getInductionVar(), rows);
    Value column = atMost(enter(columns).getInductionVar(), columns);
    Value rowsLeft = arith::SubIOp::create(builder, loc, rows, row), columnsLeft = arith::SubIOp::create(builder, loc, columns, column);
    Value from = address(source, row, sourceStride, column, sourceType), to = address(target, column, targetStride, row, targetType);
    Value least = arith::MinSIOp::create(builder, loc, rowsLeft, columnsLeft);
    Value isWhole = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::sge, least, index(lanes));
    auto branches = scf::IfOp::create(builder, loc, isWhole, /*withElseRegion=*/true);
    builder.setInsertionPointToStart(branches.thenBlock());
    transpose(from, sourceStride, Value(), Value(), to, targetStride);
    builder.setInsertionPointToStart(branches.elseBlock());
    transpose(from, sourceStride, rowsLeft, columnsLeft, to, targetStride);
    builder.setInsertionPointAfter(outer);
    LLVM::ReturnOp::create(builder, loc, ValueRange());
    return function;
  }

  scf::ForOp enter(Value extent) {
    auto loop = scf::ForOp::create(builder, loc, index(0), extent, index(lanes));
    builder.setInsertionPointToStart(loop.getBody());
    return loop;
  }

  /// A position, unless less than a square is left from there to the end of at least one.
  Value atMost(Value position, Value extent) {
    Value last = arith::MaxSIOp::create(builder, loc, arith::SubIOp::create(builder, loc, extent, index(lanes)), index(0));
    return arith::MinSIOp::create(builder, loc, position, last);
  }

  /// A square, or what there is of it: so many rows and columns.
  void transpose(Value from, Value fromStride, Value rows, Value columns, Value to, Value toStride) {
    // Instructions move elements within groups of 128 bits.
    int64_t group = std::min<int64_t>(128 / vector.getElementTypeBitWidth(), lanes);
    SmallVector<Value> lines{from}, values(lanes);
    while (static_cast<int64_t>(lines.size()) < lanes)
      lines.push_back(next(lines.back(), fromStride, sourceType));
    if (!rows && lanes == 2 * group) {
      // Of two groups the second comes from memory at once.
      auto half = VectorType::get({group}, vector.getElementType());
      for (int64_t r = 0; r < group; ++r)
        for (int64_t first : {int64_t(0), group}) {
          auto loadHalf = [&](Value line) { return load(first ? next(line, index(first), sourceType) : line, Value(), half); };
          Value low = loadHalf(lines[r]), high = loadHalf(lines[r + group]);
          values[r + first] = LLVM::ShuffleVectorOp::create(builder, loc, low, high, llvm::to_vector(llvm::seq<int32_t>(0, lanes)));
        }
    } else {
      for (int64_t r = 0; r < lanes; ++r)
        values[r] = load(lines[r], getMask(r, rows, columns), vector);
      // Halves change places, then halves of these.
      for (int64_t bit = lanes / 2; bit >= group; bit /= 2)
        for (int64_t n = 0; n < lanes; ++n)
          if (!(n & bit))
            exchange(values[n], values[n + bit], bit);
    }
    for (int64_t first = 0; first < lanes; first += group)
      llvm::copy(transposeGroups(ArrayRef(values).slice(first, group), group, 1), values.begin() + first);
    for (int64_t c = 0; c < lanes; ++c, to = next(to, toStride, targetType))
      store(values[c], to, getMask(c, columns, rows));
  }

  /// Of two vectors, the elements of the first whose number has a bit, and those of the second whose number has it not.
  void exchange(Value &first, Value &second, int64_t bit) {
    SmallVector<int32_t> ofFirst, ofSecond;
    for (int64_t l = 0; l < lanes; ++l) {
      ofFirst.push_back(l & bit ? lanes + l - bit : l);
      ofSecond.push_back(l & bit ? lanes + l : l + bit);
    }
    Value low = LLVM::ShuffleVectorOp::create(builder, loc, first, second, ofFirst);
    second = LLVM::ShuffleVectorOp::create(builder, loc, first, second, ofSecond);
    first = low;
  }

  /// Of as many vectors as a group has elements, in which units of some are together: in each group.
  SmallVector<Value> transposeGroups(ArrayRef<Value> values, int64_t group, int64_t unit) {
    if (values.size() == 1)
      return {values.front()};
    SmallVector<Value> result;
    for (int64_t begin : {int64_t(0), group / 2}) {
      // A half of each group of two vectors, unit by unit in turn.
      SmallVector<int32_t> mask;
      for (int64_t l = 0; l < lanes; ++l) {
        int64_t inGroup = l % group, turn = inGroup / unit;
        mask.push_back(l - inGroup + begin + turn / 2 * unit + inGroup % unit + turn % 2 * lanes);
      }
      SmallVector<Value> halves;
      for (size_t n = 0; n < values.size(); n += 2)
        halves.push_back(LLVM::ShuffleVectorOp::create(builder, loc, values[n], values[n + 1], mask));
      result.append(transposeGroups(halves, group, 2 * unit));
    }
    return result;
  }

  /// The elements of a line that there are, none if there is no such line; null if all of both are there.
  Value getMask(int64_t line, Value lines, Value elements) {
    if (!lines)
      return Value();
    Value isThere = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, index(line), lines);
    Value count = arith::TruncIOp::create(builder, loc, builder.getI32Type(), arith::SelectOp::create(builder, loc, isThere, elements, index(0)));
    auto type = VectorType::get({lanes}, builder.getI32Type());
    Value lane = arith::ConstantOp::create(builder, loc, DenseElementsAttr::get(type, ArrayRef<int32_t>(llvm::to_vector(llvm::seq<int32_t>(0, lanes)))));
    Value zero = LLVM::ConstantOp::create(builder, loc, builder.getI32Type(), builder.getI32IntegerAttr(0)), poison = LLVM::PoisonOp::create(builder, loc, type);
    Value first = LLVM::InsertElementOp::create(builder, loc, poison, count, zero);
    Value splat = LLVM::ShuffleVectorOp::create(builder, loc, first, poison, SmallVector<int32_t>(lanes, 0));
    return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, lane, splat);
  }

  Value load(Value from, Value mask, VectorType type) {
    Type inMemory = getMemoryType(type, sourceType);
    unsigned alignment = sourceType.getIntOrFloatBitWidth() / 8;
    Value loaded = mask ? LLVM::MaskedLoadOp::create(builder, loc, inMemory, from, mask, LLVM::ZeroOp::create(builder, loc, inMemory), alignment).getResult()
                        : LLVM::LoadOp::create(builder, loc, inMemory, from, alignment).getResult();
    return extendStored(builder, loc, loaded, type, sourceType);
  }

  void store(Value value, Value to, Value mask) {
    Value rounded = roundToStored(builder, loc, value, targetType);
    unsigned alignment = targetType.getIntOrFloatBitWidth() / 8;
    if (mask)
      storeMasked(builder, loc, rounded, to, mask, alignment);
    else
      LLVM::StoreOp::create(builder, loc, rounded, to, alignment);
  }

  Value address(Value base, Value line, Value stride, Value place, Type element) {
    Value at = arith::AddIOp::create(builder, loc, arith::MulIOp::create(builder, loc, line, stride), place);
    return next(base, at, element);
  }
  Value next(Value pointer, Value count, Type element) {
    return LLVM::GEPOp::create(builder, loc, pointer.getType(), element, pointer, ArrayRef<LLVM::GEPArg>{count});
  }
  Value index(int64_t value) { return arith::ConstantIntOp::create(builder, loc, value, 64); }

  ModuleOp module;
  OpBuilder builder;
  Location loc;
  int64_t lanes = 0;
  Type sourceType, targetType;
  VectorType vector;
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
/// generator's own; but that compares each constant with all others, of a gradient with 5,500 for 70 of 100 s.
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
    // Not a constant to LLVM, which would read it at compile time.
    LLVM::GlobalOp::create(builder, module.getLoc(), array, /*isConstant=*/false, LLVM::Linkage::Internal, name, values, bytes);
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

/// To bf16, as integers: processors that have an instruction for it take what is not normal for zero, and others have none.
class RoundingLowering {
public:
  explicit RoundingLowering(LLVM::FPTruncOp op) : op(op), builder(op), loc(op.getLoc()), word(withScalar(builder.getI32Type())) {}

  void run() {
    Value bits = LLVM::BitcastOp::create(builder, loc, word, op.getArg());
    Value isOdd = LLVM::AndOp::create(builder, loc, shift(bits), constant(1));
    Value up = LLVM::AddOp::create(builder, loc, isOdd, constant(0x7fff));
    Value rounded = shift(LLVM::AddOp::create(builder, loc, bits, up));
    // What is no number stays none.
    Value quiet = LLVM::OrOp::create(builder, loc, shift(bits), constant(0x40));
    Value isNone = LLVM::FCmpOp::create(builder, loc, LLVM::FCmpPredicate::uno, op.getArg(), op.getArg());
    Value chosen = LLVM::SelectOp::create(builder, loc, isNone, quiet, rounded);
    Value half = LLVM::TruncOp::create(builder, loc, withScalar(builder.getI16Type()), chosen);
    op.getResult().replaceAllUsesWith(LLVM::BitcastOp::create(builder, loc, op.getType(), half));
    op.erase();
  }

private:
  Type withScalar(Type scalar) {
    auto vector = dyn_cast<VectorType>(op.getType());
    return vector ? Type(VectorType::get(vector.getShape(), scalar)) : scalar;
  }
  Value constant(int32_t value) {
    TypedAttr attr = builder.getI32IntegerAttr(value);
    if (auto vector = dyn_cast<VectorType>(word))
      attr = DenseElementsAttr::get(vector, cast<Attribute>(attr));
    return LLVM::ConstantOp::create(builder, loc, word, attr);
  }
  Value shift(Value bits) { return LLVM::LShrOp::create(builder, loc, bits, constant(16)); }

  LLVM::FPTruncOp op;
  OpBuilder builder;
  Location loc;
  Type word;
};

struct ConvertEquivariantToCPU
    : espmm::equivariant::impl::ConvertEquivariantToCPUBase<ConvertEquivariantToCPU> {
  void runOnOperation() override {
    TransposeLowering transposes(getOperation());
    SmallVector<TransposeOp> matrices;
    getOperation().walk([&](TransposeOp op) { matrices.push_back(op); });
    for (TransposeOp op : matrices)
      transposes.lower(op);
    getOperation().walk([](Operation *op) {
      if (auto relayout = dyn_cast<RelayoutOp>(op))
        RelayoutLowering(relayout).run();
      else if (auto sum = dyn_cast<LaneSumOp>(op))
        LaneSumLowering(sum).run();
    });
    getOperation().walk([](LLVM::FPTruncOp op) {
      if (getScalarType(op.getType()).isBF16())
        RoundingLowering(op).run();
    });
    ConstantTable(getOperation()).run();
  }
};

} // namespace
