//===- Overlap.cpp - zeros that are written while a kernel begins ---------===//
#include "espmm/Dialect/Equivariant/Transforms/Chips.h"
#include "GPUFunction.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace espmm::equivariant {
#define GEN_PASS_DEF_EQUIVARIANTOVERLAP
#include "espmm/Dialect/Equivariant/Transforms/Passes.h.inc"
} // namespace espmm::equivariant

using namespace mlir;
using namespace espmm::equivariant;

namespace {

/// What a thread stores at once.
constexpr int64_t bytesOfStore = 16;
/// Four of these blocks on each of an H100's multiprocessors: all of them run at once, so that none keeps a dependent kernel waiting for its beginning.
constexpr int64_t mostBlocks = 528;

/// The kernel that fills so many buffers with zeros: its arguments are its number of blocks, then of each buffer address and bytes.
class FillKernel {
public:
  FillKernel(ModuleOp module, unsigned buffers, bool overlaps) : name("espmm_fill_" + std::to_string(buffers)), builder(module.getContext()), ix(builder, module.getLoc()) {
    if (module.lookupSymbol(name))
      return;
    builder.setInsertionPointToEnd(module.getBody());
    Type global = LLVM::LLVMPointerType::get(module.getContext(), 1), i64 = builder.getI64Type();
    SmallVector<Type> types{i64};
    for (unsigned i = 0; i < buffers; ++i)
      types.append({global, i64});
    auto [function, thread] = beginFlatKernel(builder, ix, name, types);
    if (overlaps) {
      OpBuilder::InsertionGuard insertion(builder);
      builder.setInsertionPointToStart(&function.getBody().front());
      NVVM::GriddepcontrolOp::create(builder, ix.loc, NVVM::GridDepActionKind::launch_dependents);
    }
    Value threads = ix.mul(function.getArgument(0), FlatKernel::threads);
    for (unsigned i = 0; i < buffers; ++i)
      fill(function.getArgument(1 + 2 * i), function.getArgument(2 + 2 * i), thread, threads);
    LLVM::ReturnOp::create(builder, ix.loc, ValueRange());
  }

  const std::string name;

private:
  /// Whole stores by all threads in turn; what is left, less than one store and of elements of 2 bytes at least, by the first.
  void fill(Value buffer, Value bytes, Value thread, Value threads) {
    Value stores = ix.floordiv(bytes, bytesOfStore), whole = ix.mul(stores, bytesOfStore);
    auto loop = scf::ForOp::create(builder, ix.loc, thread, stores, threads);
    storeZeros(loop.getBody(), buffer, loop.getInductionVar(), VectorType::get({4}, builder.getI32Type()), bytesOfStore);
    Value end = ix.address(buffer, whole, builder.getI8Type());
    auto rest = scf::IfOp::create(builder, ix.loc, ix.less(thread, ix.floordiv(ix.sub(bytes, whole), 2)), /*withElseRegion=*/false);
    storeZeros(rest.thenBlock(), end, thread, builder.getI16Type(), 2);
  }

  void storeZeros(Block *block, Value buffer, Value index, Type type, int64_t bytes) {
    OpBuilder::InsertionGuard insertion(builder);
    builder.setInsertionPointToStart(block);
    LLVM::StoreOp::create(builder, ix.loc, LLVM::ZeroOp::create(builder, ix.loc, type), ix.address(buffer, index, type), bytes);
  }

  OpBuilder builder;
  IndexBuilder ix;
};

bool isGlobal(Type type) {
  auto pointer = dyn_cast<LLVM::LLVMPointerType>(type);
  return pointer && pointer.getAddressSpace() == 1;
}

/// True if an operation, or one inside it, may write global memory: only through an address that it is given.
bool writesGlobal(Operation *op) {
  return op
      ->walk([](Operation *inner) {
        // What asynchronous copies write is shared memory.
        if (isMemoryEffectFree(inner) || isa<AsyncCopyOp>(inner) || llvm::none_of(inner->getOperandTypes(), isGlobal))
          return WalkResult::advance();
        auto effects = dyn_cast<MemoryEffectOpInterface>(inner);
        return effects && effects.onlyHasEffect<MemoryEffects::Read>() ? WalkResult::advance() : WalkResult::interrupt();
      })
      .wasInterrupted();
}

/// Waits before what may write global memory first, outside of loops. Returns whether every thread has waited at the block's end.
bool waitBeforeWrites(OpBuilder &builder, Block &block) {
  for (Operation &op : llvm::make_early_inc_range(block)) {
    if (!writesGlobal(&op))
      continue;
    if (auto branch = dyn_cast<scf::IfOp>(op)) {
      bool inThen = waitBeforeWrites(builder, *branch.thenBlock());
      bool inElse = branch.elseBlock() && waitBeforeWrites(builder, *branch.elseBlock());
      if (inThen && inElse)
        return true;
      continue;
    }
    builder.setInsertionPoint(&op);
    NVVM::GriddepcontrolOp::create(builder, op.getLoc(), NVVM::GridDepActionKind::wait);
    return true;
  }
  return false;
}

struct Overlap : espmm::equivariant::impl::EquivariantOverlapBase<Overlap> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto target = module->getAttrOfType<StringAttr>(EquivariantDialect::targetAttrName);
    for (auto host : module.getOps<func::FuncOp>()) {
      SmallVector<FillOp> fills;
      for (Operation &op : llvm::make_early_inc_range(host.getOps())) {
        if (auto fill = dyn_cast<FillOp>(op))
          fills.push_back(fill);
        auto launch = dyn_cast<LaunchOp>(op);
        if (!launch)
          continue;
        if (!fills.empty() && launch.getBlock())
          launchFills(fills, launch, target && hasDependentLaunches(target.getValue().split(':').second));
        fills.clear();
      }
    }
  }

  void launchFills(ArrayRef<FillOp> fills, LaunchOp launch, bool overlaps) {
    auto module = getOperation();
    FillKernel kernel(module, fills.size(), overlaps);
    OpBuilder builder(launch);
    IndexBuilder ix(builder, launch.getLoc());
    Value bytes;
    for (FillOp fill : fills)
      bytes = bytes ? ix.add(bytes, fill.getBytes()) : fill.getBytes();
    Value blocks = ix.min(ix.ceildiv(bytes, ix.constant(FlatKernel::threads * bytesOfStore)), ix.constant(mostBlocks));
    SmallVector<Value> operands{blocks}, filled;
    for (FillOp fill : fills) {
      filled.push_back(fill.getBuffer());
      operands.append({fill.getBuffer(), fill.getBytes()});
      HostProgram::requireAlignment(fill.getBuffer(), bytesOfStore);
      fill.erase();
    }
    LaunchOp::create(builder, launch.getLoc(), FlatSymbolRefAttr::get(builder.getContext(), kernel.name), blocks, /*rows=*/Value(), operands,
                     builder.getDenseI64ArrayAttr({int64_t(FlatKernel::threads), 1, 1}), builder.getI64IntegerAttr(0), /*overlaps=*/UnitAttr());
    if (!overlaps)
      return;
    launch.setOverlapsAttr(builder.getUnitAttr());
    auto function = module.lookupSymbol<LLVM::LLVMFuncOp>(launch.getKernel());
    Block &entry = function.getBody().front();
    for (auto [i, operand] : llvm::enumerate(launch.getOperands_()))
      if (llvm::is_contained(filled, operand) && function.getArgAttr(i, "llvm.readonly")) {
        builder.setInsertionPointToStart(&entry);
        NVVM::GriddepcontrolOp::create(builder, function.getLoc(), NVVM::GridDepActionKind::wait);
        return;
      }
    if (waitBeforeWrites(builder, entry))
      return;
    // Whoever has nothing to write ends no earlier either: whatever comes after the kernel comes after the zeros.
    builder.setInsertionPoint(entry.getTerminator());
    NVVM::GriddepcontrolOp::create(builder, function.getLoc(), NVVM::GridDepActionKind::wait);
  }
};

} // namespace
