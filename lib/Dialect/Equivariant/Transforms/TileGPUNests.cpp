//===- TileGPUNests.cpp - schedules of kernels with nests -----------------===//
#include "GPUNestTarget.h"
#include "GPURowTiles.h"
#include "NestPlan.h"
#include "SharedRows.h"
#include "Tile.h"

using namespace mlir;
using namespace espmm::equivariant;

namespace {

class NestScheduling {
public:
  NestScheduling(KernelOp kernel, const ScheduleWishes &wishes) : kernel(kernel), wishes(wishes) {}

  /// A warp for a node, or for some rows; or a block for 32 rows at once that share weights, if they have room in its shared memory. Nothing of it is cut.
  LogicalResult run() {
    if (failed(KernelAnalysis(kernel, LoopedAxes::Nests).verify()))
      return failure();
    auto emitError = [&] { return kernel.emitOpError("has no schedule as wished: "); };
    std::optional<TileChoice> tile;
    if (!wishes.rows || wishes.rows == warpSize)
      tile = chooseTile();
    // A tile would hold too much for what is added up.
    if (!tile)
      addUp();
    TileChoice choice = tile ? *tile : chooseRows();
    auto schedule = ScheduleAttr::getChecked(emitError, kernel.getContext(), Target::GPU, chooseGroupSide(kernel), warpSize, /*slab_begin=*/int64_t(0), /*slab_end=*/int64_t(1), /*slabs=*/int64_t(1), /*instances=*/int64_t(1),
                                             choose(wishes.rows, tile ? warpSize : 1), /*tile_rows=*/int64_t(1), choice.numbers.warps, choice.numbers.stages, choose(wishes.registers, choice.registers),
                                             static_cast<int64_t>(choice.numbers.products),
                                             wishes.deterministic);
    if (schedule)
      kernel->setAttr("schedule", schedule);
    return success(schedule != nullptr);
  }

private:
  static int64_t choose(int64_t wish, int64_t own) { return wish ? wish : own; }

  struct TileChoice {
    RowTileNumbers numbers;
    int64_t registers;
  };

  /// The tile that 32 rows take least time in, if they are as many instructions as the busiest warp has between waits, and those of several blocks of a multiprocessor go by together.
  std::optional<TileChoice> chooseTile() {
    constexpr int64_t leastRegisters = 128, mostRegisters = 255, registersOfChip = 1 << 16, bytesOfBlock = 1 << 10, mostStages = 8;
    bool isDouble = getArithmeticType(getStoredElement(kernel.getResult(0))).isF64();
    auto products = static_cast<Products>(wishes.products ? wishes.products : static_cast<int64_t>(isDouble ? Products::OneTerm : Products::ThreeTerms));
    std::optional<TileChoice> best;
    double least = 0;
    for (int64_t warps : wishes.warps ? SmallVector<int64_t>{wishes.warps} : SmallVector<int64_t>{4, 8, 16})
      for (int64_t stages = wishes.stages ? wishes.stages : 2; stages <= (wishes.stages ? wishes.stages : mostStages); ++stages) {
        auto tile = measureRowTile(kernel, {warps, stages, products});
        if (tile && !tile->usesMatrixUnits && products != Products::MultiplyAdds) {
          products = Products::MultiplyAdds;
          tile = measureRowTile(kernel, {warps, stages, products});
        }
        if (!tile)
          return std::nullopt;
        int64_t threads = warps * warpSize, blocks = std::min(wishes.sharedBytes / (tile->bytes + bytesOfBlock), registersOfChip / (leastRegisters * threads));
        double cost = blocks ? double(tile->span) / blocks : 0;
        if (!blocks || (best && cost > 0.98 * least))
          continue;
        least = cost;
        best = TileChoice{{warps, stages, products}, std::min(registersOfChip / (threads * blocks) / 8 * 8, mostRegisters)};
      }
    return best;
  }

  /// For a row of each warp. Loops have many loads under way in registers. Where there are none, what an operation reads and computes at once has to fit, and other warps run while one waits;
  /// code that is long goes by once for each row, and the warps of a block, which begin together, have it read from memory once.
  TileChoice chooseRows() {
    KernelAnalysis nests(kernel, LoopedAxes::Nests);
    NestPlan plan(nests, GPUNestTarget::getLimits());
    bool hasLoops = llvm::any_of(plan.getSteps(), [&](const NestPlan::Step &step) {
      const NestShape &shape = plan.getShape(step.ops.front());
      return shape.blockLetter || !shape.summed.empty();
    });
    int64_t words = cast<RankedTensorType>(kernel.getResultTypes().front()).getElementTypeBitWidth() / 32;
    int64_t live = plan.countLive();
    bool isShort = !hasLoops && live <= 128;
    int64_t registers = isShort ? 64 : hasLoops || live <= 192 ? 128 : 255;
    return {{choose(wishes.warps, hasLoops || isShort ? 4 : 8), choose(wishes.stages, 2), Products::MultiplyAdds}, std::min<int64_t>(registers * words, 255)};
  }

  /// What several operations give to one block of a result is added up first, if they have no sums over loops that would have to end before.
  void addUp() {
    KernelAnalysis nests(kernel, LoopedAxes::Nests);
    NestPlan plan(nests, NestLimits{warpSize});
    auto mayBeAdded = [&](Value value) {
      Operation *op = value.getDefiningOp();
      auto kept = plan.getLoops(value);
      return isa_and_nonnull<EinsumOp, AddOp>(op) && value.hasOneUse() && nests.isNest(op) && llvm::all_of(op->getOperands(), [&](Value operand) {
               return llvm::all_of(plan.getLoops(operand), [&](const auto &entry) { return kept.count(entry.first); });
             });
    };
    for (unsigned r = 0; r < kernel.getNumResults(); ++r) {
      AssembleOp assemble = nests.getAssemble(r);
      SmallVector<int64_t> offsets;
      SmallVector<Value> blocks;
      OpBuilder builder(assemble);
      // By offset, letters and type, where what can be added to is: 3 x 2 channels and 2 x 3 may be those of one block.
      std::map<std::tuple<int64_t, std::string, const void *>, size_t> sums;
      for (auto [offset, value] : llvm::zip(assemble.getOffsets(), assemble.getBlocks())) {
        if (mayBeAdded(value)) {
          auto [sum, isNew] = sums.try_emplace({offset, nests.getLetters(value).str(), value.getType().getAsOpaquePointer()}, blocks.size());
          if (!isNew) {
            blocks[sum->second] = AddOp::create(builder, kernel.getLoc(), blocks[sum->second], value);
            continue;
          }
        }
        offsets.push_back(offset);
        blocks.push_back(value);
      }
      if (blocks.size() == assemble.getBlocks().size())
        continue;
      assemble.getResult().replaceAllUsesWith(AssembleOp::create(builder, kernel.getLoc(), assemble.getType(), offsets, blocks));
      assemble.erase();
    }
  }

  KernelOp kernel;
  ScheduleWishes wishes;
};

} // namespace

LogicalResult espmm::equivariant::scheduleNestsForGPU(KernelOp kernel, const ScheduleWishes &wishes) {
  return NestScheduling(kernel, wishes).run();
}
