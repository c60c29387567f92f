//===- EquivariantToGPU.cpp - copies, sums and matrices of a warp as NVVM -===//
#include "espmm/Dialect/Equivariant/Transforms/Chips.h"
#include "espmm/Dialect/Equivariant/Transforms/Passes.h"
#include "espmm/Dialect/Equivariant/Transforms/Storage.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"

namespace espmm::equivariant {
#define GEN_PASS_DEF_CONVERTEQUIVARIANTTOGPU
#include "espmm/Dialect/Equivariant/Transforms/Passes.h.inc"
} // namespace espmm::equivariant

using namespace mlir;
using namespace espmm::equivariant;

namespace {

constexpr int64_t warpSize = 32;

/// A lane's share of some runs: for each of its pieces the offset in the row, and whether the piece is there.
struct Share {
  SmallVector<Value> offsets;
  SmallVector<Value> present; // null: always
  int64_t pieces = 0;         // of the whole warp
};

/// Rewrites one kernel.
class KernelLowering {
public:
  KernelLowering(LLVM::LLVMFuncOp function, unsigned computeCapability)
      : function(function), builder(function.getContext()), loc(function.getLoc()), computeCapability(computeCapability) {}

  void run() {
    SmallVector<Operation *> ops;
    function.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (isa<AsyncCopyOp, CopyOutOp, LaneSumOp, MatrixProductOp>(op) || isSumInMemory(op))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      builder.setInsertionPoint(op);
      if (auto copy = dyn_cast<AsyncCopyOp>(op))
        lowerAsyncCopy(copy);
      else if (auto copy = dyn_cast<CopyOutOp>(op))
        lowerCopyOut(copy);
      else if (auto sum = dyn_cast<LLVM::AtomicRMWOp>(op))
        addToMemory(sum.getVal(), sum.getPtr(), sum.getType(), 1);
      else if (auto product = dyn_cast<MatrixProductOp>(op))
        lowerMatrixProduct(product);
      else
        lowerLaneSum(cast<LaneSumOp>(op));
      op->erase();
    }
    function.walk([&](LLVM::LoadOp load) {
      if (isHiddenInput(load.getAddr()))
        load.setInvariant(true);
    });
  }

private:
  /// True for what is in an argument that is only read, if that is known no more where a pointer to it went through an assembler's instruction.
  bool isHiddenInput(Value pointer) {
    bool isHidden = false;
    while (Operation *op = pointer.getDefiningOp()) {
      if (!isa<LLVM::GEPOp, LLVM::InlineAsmOp>(op) || op->getNumOperands() == 0)
        return false;
      isHidden |= isa<LLVM::InlineAsmOp>(op);
      pointer = op->getOperand(0);
    }
    auto argument = dyn_cast<BlockArgument>(pointer);
    return isHidden && argument && argument.getOwner() == &function.getBody().front() && function.getArgAttr(argument.getArgNumber(), "llvm.readonly");
  }

  static bool isSumInMemory(Operation *op) {
    auto atomic = dyn_cast<LLVM::AtomicRMWOp>(op);
    return atomic && atomic.getBinOp() == LLVM::AtomicBinOp::fadd && op->use_empty();
  }

  Value i64(int64_t value) { return arith::ConstantIntOp::create(builder, loc, value, 64); }
  Value i32(int64_t value) { return arith::ConstantIntOp::create(builder, loc, value, 32); }
  Value less(Value a, Value b) { return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, a, b); }
  Value gep(Value base, Type element, LLVM::GEPArg index) {
    return LLVM::GEPOp::create(builder, loc, base.getType(), element, base, ArrayRef<LLVM::GEPArg>{index});
  }

  //===-- Shares ---------------------------------------------------------===//

  // The table has a row for each piece of `width` elements: where it is in slab 0, how far it moves per slab, and the number of
  // channels before this slab at which it starts to be past the block's last; of several instances, those of one after another's. A lane reads its rows once,
  // when the kernel starts.
  template <typename CopyOp>
  const Share &getShare(CopyOp op, int64_t threads) {
    Block &block = getLoopBlock(op);
    ArrayRef<int64_t> runs = op.getRuns(), also = op.getAlso().value_or(ArrayRef<int64_t>());
    int64_t width = op.getWidth();
    Value slab = op.getSlab(), lane = op.getLane();
    Share &share = shares[{op.getRunsAttr(), op.getAlsoAttr(), width, lane, &block}];
    if (share.pieces)
      return share;
    SmallVector<int32_t> table;
    bool hasTails = false, moves = false;
    size_t further = also.size() / std::max<size_t>(runs.size() / 5, 1);
    for (size_t instance = 0; instance <= further; ++instance)
      for (size_t r = 0; r < runs.size(); r += 5) {
        auto [offset, stride, count, dim, mul] = std::tuple(runs[r], runs[r + 1], runs[r + 2], runs[r + 3], runs[r + 4]);
        if (instance)
          offset = also[r / 5 * further + instance - 1];
        hasTails |= dim && mul % warpSize != 0;
        moves |= stride != 0;
        for (int64_t t = 0; t < count; t += width) {
          int64_t limit = dim ? mul - (t + width - 1) / dim : std::numeric_limits<int32_t>::max();
          table.append({static_cast<int32_t>(offset + t), static_cast<int32_t>(stride), static_cast<int32_t>(limit), 0});
        }
      }
    share.pieces = table.size() / 4 / (further + 1);

    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPoint(block.findAncestorOpInBlock(*op));
    Value base = LLVM::AddressOfOp::create(builder, loc, getTable(table));
    if (further)
      base = gep(base, builder.getI32Type(), arith::MulIOp::create(builder, loc, op.getInstance(), i64(share.pieces * 4)).getResult());
    Value slab32 = arith::TruncIOp::create(builder, loc, builder.getI32Type(), slab);
    Value firstChannel = arith::MulIOp::create(builder, loc, slab32, i32(warpSize));
    for (int64_t first = 0; first < share.pieces; first += threads) {
      // Past the last piece a lane looks its neighbour's up, and does not use it.
      Value piece = arith::AddIOp::create(builder, loc, lane, i64(first));
      if (share.pieces - first < threads)
        piece = arith::MinSIOp::create(builder, loc, piece, i64(share.pieces - 1));
      Value row = gep(base, builder.getI32Type(), arith::MulIOp::create(builder, loc, piece, i64(4)).getResult());
      auto load = [&](int32_t column) {
        return LLVM::LoadOp::create(builder, loc, builder.getI32Type(), gep(row, builder.getI32Type(), column), 4).getResult();
      };
      Value offset = load(0);
      if (moves)
        offset = arith::AddIOp::create(builder, loc, offset, arith::MulIOp::create(builder, loc, slab32, load(1)));
      share.offsets.push_back(offset);
      share.present.push_back(hasTails ? less(firstChannel, load(2)) : Value());
    }
    return share;
  }

  /// The block with the outermost loop around an op, or beside it: before and after the loop everything is done once.
  Block &getLoopBlock(Operation *op) {
    Block *found = op->getBlock();
    for (Block *block = op->getBlock();; block = block->getParentOp()->getBlock()) {
      if (!block->getOps<scf::ForOp>().empty())
        found = block;
      if (block->getParentOp() == function)
        return *found;
    }
  }

  LLVM::GlobalOp getTable(ArrayRef<int32_t> rows) {
    auto module = function->getParentOfType<ModuleOp>();
    auto values = DenseElementsAttr::get(RankedTensorType::get({static_cast<int64_t>(rows.size())}, builder.getI32Type()), rows);
    for (auto global : module.getOps<LLVM::GlobalOp>())
      if (global.getValueOrNull() == values)
        return global;
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(module.getBody());
    std::string name = "espmm_runs_" + std::to_string(llvm::range_size(module.getOps<LLVM::GlobalOp>()));
    auto type = LLVM::LLVMArrayType::get(builder.getI32Type(), rows.size());
    return LLVM::GlobalOp::create(builder, loc, type, /*isConstant=*/true, LLVM::Linkage::Internal, name, values,
                                  /*alignment=*/16, /*addrSpace=*/1);
  }

  /// Runs `body(n)` for each of a lane's pieces; the last ones are there in some lanes only.
  void forEachPiece(const Share &share, Value lane, int64_t threads, llvm::function_ref<void(int64_t)> body) {
    for (int64_t n = 0; n * threads < share.pieces; ++n) {
      int64_t left = share.pieces - n * threads;
      if (left >= threads) {
        body(n);
        continue;
      }
      auto some = scf::IfOp::create(builder, loc, less(lane, i64(left)), /*withElseRegion=*/false);
      OpBuilder::InsertionGuard guard(builder);
      builder.setInsertionPointToStart(some.thenBlock());
      body(n);
    }
  }

  void lowerAsyncCopy(AsyncCopyOp op) {
    const Share &share = getShare(op, warpSize);
    Type element = op.getElementType();
    int64_t width = op.getWidth(), bytes = width * element.getIntOrFloatBitWidth() / 8;
    Value to = gep(op.getTarget(), element, arith::MulIOp::create(builder, loc, op.getLane(), i64(width)).getResult());
    // Rows that other warps read too may be found in the multiprocessor's own cache.
    bool passesBy = bytes == 16 && op.getOnce();
    auto modifier = passesBy ? NVVM::LoadCacheModifierKind::CG : NVVM::LoadCacheModifierKind::CA;
    forEachPiece(share, op.getLane(), warpSize, [&](int64_t n) {
      Value from = gep(op.getSource(), element, share.offsets[n]);
      Value target = gep(to, element, static_cast<int32_t>(n * warpSize * width));
      Value size;
      if (share.present[n])
        size = arith::SelectOp::create(builder, loc, share.present[n], i32(bytes), i32(0));
      if (op.getOnce()) {
        // No upstream op has the hint.
        std::string text = std::string("cp.async.") + (passesBy ? "cg" : "ca") + ".shared.global.L2::cache_hint [$0], [$1], " +
                           std::to_string(bytes) + (size ? ", $3, $2;" : ", $2;");
        SmallVector<Value> operands{target, from, getOncePolicy()};
        if (size)
          operands.push_back(size);
        emitPTX(text, size ? "l,l,l,r" : "l,l,l", operands);
        return;
      }
      NVVM::CpAsyncOp::create(builder, loc, target, from, builder.getI32IntegerAttr(bytes),
                              NVVM::LoadCacheModifierKindAttr::get(builder.getContext(), modifier), size);
    });
  }

  LLVM::InlineAsmOp emitPTX(StringRef text, StringRef constraints, ValueRange operands, TypeRange results = {}) {
    return LLVM::InlineAsmOp::create(builder, loc, results, operands, text, constraints, /*has_side_effects=*/results.empty(),
                                     /*is_align_stack=*/false, LLVM::tailcallkind::TailCallKind::None, LLVM::AsmDialectAttr(),
                                     ArrayAttr());
  }

  /// The second cache's policy for what is read or written once, made when the kernel starts.
  Value getOncePolicy() {
    if (!oncePolicy) {
      OpBuilder::InsertionGuard guard(builder);
      builder.setInsertionPointToStart(&function.getBody().front());
      oncePolicy = emitPTX("createpolicy.fractional.L2::evict_first.b64 $0, 1.0;", "=l", {}, builder.getI64Type()).getResult(0);
    }
    return oncePolicy;
  }

  void lowerCopyOut(CopyOutOp op) {
    int64_t threads = op.getThreads();
    const Share &share = getShare(op, threads);
    Type element = op.getElementType(), stored = op.getStored().value_or(element);
    int64_t width = op.getWidth();
    Value from = gep(op.getSource(), element, arith::MulIOp::create(builder, loc, op.getLane(), i64(width)).getResult());
    forEachPiece(share, op.getLane(), threads, [&](int64_t n) {
      OpBuilder::InsertionGuard guard(builder);
      if (share.present[n]) {
        auto inside = scf::IfOp::create(builder, loc, share.present[n], /*withElseRegion=*/false);
        builder.setInsertionPointToStart(inside.thenBlock());
      }
      Value to = gep(op.getTarget(), stored, share.offsets[n]);
      Type type = width == 1 ? element : VectorType::get({width}, element);
      unsigned alignment = width * element.getIntOrFloatBitWidth() / 8;
      Value value;
      for (int64_t copy = 0, copies = op.getCopies(); copy < copies; ++copy) {
        Value source = gep(from, element, static_cast<int32_t>(n * threads * width + copy * op.getStride()));
        Value loaded = LLVM::LoadOp::create(builder, loc, type, source, alignment);
        value = value ? LLVM::FAddOp::create(builder, loc, value, loaded).getResult() : loaded;
      }
      if (op.getAtomic()) {
        addToMemory(value, to, element, width);
        return;
      }
      value = roundToStored(builder, loc, value, stored);
      if (op.getOnce())
        storeOnce(value, to, width);
      else
        LLVM::StoreOp::create(builder, loc, value, to, width * stored.getIntOrFloatBitWidth() / 8);
    });
  }

  SmallVector<Value> getElements(Value value, int64_t width) {
    if (width == 1)
      return {value};
    SmallVector<Value> values;
    for (int64_t i = 0; i < width; ++i)
      values.push_back(LLVM::ExtractElementOp::create(builder, loc, value, i32(i)));
    return values;
  }

  /// A store that caches give up first; the backend has none.
  void storeOnce(Value value, Value to, int64_t width) {
    Type element = getScalarType(value.getType());
    if (element.isInteger(16) && width > 1) {
      // Two of them in a register.
      element = builder.getI32Type();
      width /= 2;
      value = LLVM::BitcastOp::create(builder, loc, width == 1 ? element : VectorType::get({width}, element), value);
    }
    SmallVector<Value> operands{to};
    operands.append(getElements(value, width));
    std::string text = "st.global.cs", list = "$1", constraints = "l";
    if (width > 1)
      text += ".v" + std::to_string(width);
    for (int64_t i = 1; i < width; ++i)
      list += ", $" + std::to_string(i + 1);
    for (int64_t i = 0; i < width; ++i)
      constraints += element.isF32() ? ",f" : element.isF64() ? ",d" : element.isInteger(32) ? ",r" : ",h";
    text += element.isF32() ? ".f32 [$0], " : element.isF64() ? ".f64 [$0], " : element.isInteger(32) ? ".b32 [$0], " : ".b16 [$0], ";
    emitPTX(text + (width > 1 ? "{" + list + "};" : list + ";"), constraints, operands);
  }

  /// Sums in memory, several at a time where the chip can.
  void addToMemory(Value value, Value to, Type element, int64_t width) {
    SmallVector<Value> values = getElements(value, width);
    if (width > 1 && element.isF32() && computeCapability >= 90) {
      // No upstream op has the vector form.
      std::string text = "red.relaxed.gpu.global.add.v" + std::to_string(width) + ".f32 [$0], {", constraints = "l";
      SmallVector<Value> operands{to};
      for (int64_t i = 0; i < width; ++i) {
        text += (i ? ", $" : "$") + std::to_string(i + 1);
        constraints += ",f";
        operands.push_back(values[i]);
      }
      emitPTX(text + "};", constraints, operands);
      return;
    }
    // Nor the form without a result: ptxas keeps that of `atom` though nobody reads it, and waits for it.
    for (int64_t i = 0; i < width; ++i)
      emitPTX(element.isF32() ? "red.relaxed.gpu.global.add.f32 [$0], $1;" : "red.relaxed.gpu.global.add.f64 [$0], $1;",
              element.isF32() ? "l,f" : "l,d", {gep(to, element, static_cast<int32_t>(i)), values[i]});
  }

  //===-- Sums over a warp -----------------------------------------------===//

  // Lane t ends with the sum of element t mod n. At each step a lane keeps half of its elements and gives the others to the lane
  // that keeps those; once one is left, the remaining steps add whole values.
  void lowerLaneSum(LaneSumOp op) {
    SmallVector<Value> values(op.getValues());
    Type type = op.getType();
    int64_t count = llvm::PowerOf2Ceil(values.size()), lanes = op.getLanes() ? op.getLanes() : warpSize;
    assert(count <= lanes && "the stage pass makes runs of at most a group of lanes");
    while (static_cast<int64_t>(values.size()) < count)
      values.push_back(arith::ConstantOp::create(builder, loc, FloatAttr::get(type, 0.0)));
    Value lane = NVVM::ThreadIdXOp::create(builder, loc, builder.getI32Type());
    for (int64_t bit = count / 2; bit >= 1; bit /= 2) {
      Value masked = arith::AndIOp::create(builder, loc, lane, i32(bit));
      Value upper = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ne, masked, i32(0));
      SmallVector<Value> kept;
      for (int64_t i = 0; i < bit; ++i) {
        Value keep = arith::SelectOp::create(builder, loc, upper, values[i + bit], values[i]);
        Value give = arith::SelectOp::create(builder, loc, upper, values[i], values[i + bit]);
        kept.push_back(addShuffled(keep, give, bit));
      }
      values = kept;
    }
    for (int64_t bit = op.getAcross() ? lanes : count; bit < (op.getAcross() ? warpSize : lanes); bit *= 2)
      values[0] = addShuffled(values[0], values[0], bit);
    op.getResult().replaceAllUsesWith(values[0]);
  }

  /// value + what the lane `distance` away (by exclusive or) gives.
  Value addShuffled(Value value, Value given, int64_t distance) {
    return LLVM::FAddOp::create(builder, loc, value, shuffle(given, distance));
  }

  Value shuffle(Value value, int64_t distance) {
    auto move = [&](Value word) -> Value {
      return NVVM::ShflOp::create(builder, loc, word.getType(), i32(-1), word, i32(distance), i32(31), NVVM::ShflKind::bfly,
                                  UnitAttr());
    };
    if (value.getType().isF32())
      return move(value);
    // A double goes in two halves.
    Type word = builder.getI32Type(), wide = builder.getI64Type();
    Value bits = LLVM::BitcastOp::create(builder, loc, wide, value);
    Value low = move(arith::TruncIOp::create(builder, loc, word, bits));
    Value high = move(arith::TruncIOp::create(builder, loc, word, arith::ShRUIOp::create(builder, loc, bits, i64(32))));
    Value joined = arith::OrIOp::create(builder, loc, arith::ExtUIOp::create(builder, loc, wide, low),
                                        arith::ShLIOp::create(builder, loc, arith::ExtUIOp::create(builder, loc, wide, high), i64(32)));
    return LLVM::BitcastOp::create(builder, loc, value.getType(), joined);
  }

  //===-- Products of matrices -------------------------------------------===//

  /// A number of f32 as two of tf32: what it is rounded to, and the rest, of which the units take as much.
  struct Parts {
    Value rounded, rest;
  };

  Parts getParts(Value value, bool hasRest) {
    Parts &parts = ofNumbers[value];
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointAfterValue(value);
    if (!parts.rounded)
      parts.rounded = NVVM::ConvertFloatToTF32Op::create(builder, loc, builder.getI32Type(), value, NVVM::FPRoundingMode::RNA);
    if (hasRest && !parts.rest) {
      builder.setInsertionPointAfterValue(parts.rounded);
      Value rounded = LLVM::BitcastOp::create(builder, loc, value.getType(), parts.rounded);
      parts.rest = LLVM::BitcastOp::create(builder, loc, builder.getI32Type(), LLVM::FSubOp::create(builder, loc, value, rounded).getResult());
    }
    return parts;
  }

  void lowerMatrixProduct(MatrixProductOp op) {
    SmallVector<Value> sums(op.getSums());
    Type element = sums.front().getType();
    bool isDouble = element.isF64();
    auto type = LLVM::LLVMStructType::getLiteral(builder.getContext(), SmallVector<Type>(sums.size(), element));
    std::array<NVVM::MMATypes, 2> types{isDouble ? NVVM::MMATypes::f64 : NVVM::MMATypes::tf32, isDouble ? NVVM::MMATypes::f64 : NVVM::MMATypes::tf32};
    std::array<NVVM::MMALayout, 2> layouts{NVVM::MMALayout::row, NVVM::MMALayout::col};
    std::array<int64_t, 3> shape{MatrixProductOp::getRows(element), MatrixProductOp::columns, 4 * static_cast<int64_t>(op.getRight().size())};
    auto add = [&](ValueRange left, ValueRange right, SmallVector<Value> &to) {
      Value product = NVVM::MmaOp::create(builder, loc, type, left, right, to, shape, std::nullopt, std::nullopt, types, layouts);
      for (auto [i, sum] : llvm::enumerate(to))
        sum = LLVM::ExtractValueOp::create(builder, loc, product, ArrayRef<int64_t>{static_cast<int64_t>(i)});
    };
    if (isDouble) {
      add(op.getLeft(), op.getRight(), sums);
    } else {
      bool hasRest = op.getTerms() == 3;
      std::array<SmallVector<Value>, 2> rounded, rest;
      for (auto [f, factor] : llvm::enumerate(std::array<OperandRange, 2>{op.getLeft(), op.getRight()}))
        for (Value value : factor) {
          Parts parts = getParts(value, hasRest);
          rounded[f].push_back(parts.rounded);
          rest[f].push_back(parts.rest);
        }
      if (hasRest) {
        // The units cut off what does not fit a sum, which adds up: sums of several products are rounded ones.
        Value zero = LLVM::ConstantOp::create(builder, loc, element, FloatAttr::get(element, 0.0));
        SmallVector<Value> small(sums.size(), zero), large(sums.size(), zero);
        add(rest[0], rounded[1], small);
        add(rounded[0], rest[1], small);
        add(rounded[0], rounded[1], large);
        for (auto [sum, s, l] : llvm::zip(sums, small, large))
          sum = LLVM::FAddOp::create(builder, loc, sum, LLVM::FAddOp::create(builder, loc, l, s).getResult());
      } else {
        add(rounded[0], rounded[1], sums);
      }
    }
    op.replaceAllUsesWith(sums);
  }

  LLVM::LLVMFuncOp function;
  OpBuilder builder;
  Location loc;
  unsigned computeCapability;
  llvm::DenseMap<Value, Parts> ofNumbers;
  llvm::DenseMap<std::tuple<Attribute, Attribute, int64_t, Value, Block *>, Share> shares;  // by runs, their further offsets, width, lane and where they are known
  Value oncePolicy;
};

struct ConvertEquivariantToGPU : espmm::equivariant::impl::ConvertEquivariantToGPUBase<ConvertEquivariantToGPU> {
  using ConvertEquivariantToGPUBase::ConvertEquivariantToGPUBase;

  void runOnOperation() override {
    std::string name = chip;
    if (auto target = getOperation()->getAttrOfType<StringAttr>(EquivariantDialect::targetAttrName); target && name.empty())
      name = target.getValue().split(':').second.str();
    std::optional<unsigned> computeCapability = getComputeCapability(name);
    if (!computeCapability || *computeCapability < 80) {
      emitError(getOperation().getLoc(), "chip is sm_80 or later, got '") << name << "'";
      return signalPassFailure();
    }
    for (auto function : llvm::to_vector(getOperation().getOps<LLVM::LLVMFuncOp>()))
      if (!function.isExternal())
        KernelLowering(function, *computeCapability).run();
  }
};

} // namespace
