//===- SlabSchedule.cpp - the numbers of a schedule of slabs --------------===//
#include "SlabSchedule.h"
#include "KernelCost.h"
#include "SharedRows.h"
#include <set>

using namespace mlir;
using namespace espmm::equivariant;

SlabSchedule::SlabSchedule(KernelOp kernel, Access side, const SlabRange &range, const ScheduleWishes &wishes)
    : kernel(kernel), side(side), range(range), wishes(wishes) {
  auto isHeld = [&](unsigned i) { return isGrouped(kernel.getInputAccess(i)); };
  int64_t own = llvm::any_of(llvm::seq<unsigned>(0, kernel.getInputs().size()), isHeld) ? 2 : 3;
  schedule = make(wishes.stages ? wishes.stages : own, wishes.registers);
  if (schedule && !wishes.stages)
    schedule = make(chooseStages(own), wishes.registers);
}

ScheduleAttr SlabSchedule::get() {
  return schedule && !wishes.registers ? make(schedule.getStages(), chooseRegisters()) : schedule;
}

ScheduleAttr SlabSchedule::make(int64_t stages, int64_t registers) {
  auto choose = [](int64_t wish, int64_t own) { return wish ? wish : own; };
  auto emitError = [&] { return kernel.emitOpError("has no schedule as wished: "); };
  return ScheduleAttr::getChecked(emitError, kernel.getContext(), Target::GPU, side, warpSize, range.begin, range.end, range.slabs, range.instances,
                                  choose(wishes.rows, 2), /*tile_rows=*/int64_t(1), choose(wishes.warps, side == Access::Edge ? 1 : 4), stages, registers,
                                  /*products=*/int64_t(1), wishes.deterministic);
}

int64_t SlabSchedule::chooseStages(int64_t own) {
  constexpr int64_t bytesUnderWay = 6144, mostStages = 4;
  int64_t bytes = countCopiedBytes();
  return side == Access::Edge || !bytes ? own : std::max(own, std::min(mostStages, bytesUnderWay / bytes));
}

int64_t SlabSchedule::countCopiedBytes() {
  KernelAnalysis edge(kernel);
  int64_t bits = 0;
  for (BlockOp block : kernel.getBody().getOps<BlockOp>()) {
    unsigned i = cast<BlockArgument>(block.getRow()).getArgNumber();
    if (!edge.hasChannels(block.getResult()) || isGrouped(kernel.getInputAccess(i)))
      continue;
    Value tensor = kernel.getInputs()[i];
    if (auto convert = tensor.getDefiningOp<ConvertOp>())
      tensor = convert.getSource();
    int64_t mul = block.getType().getDimSize(0), elements = block.getType().getNumElements() / mul * schedule.getLaneChannels(mul);
    bits += elements * warpSize * getStoredElement(tensor).getIntOrFloatBitWidth();
  }
  return bits / 8;
}

int64_t SlabSchedule::chooseRegisters() {
  int64_t wanted = countRegisters();
  return wanted <= 128 ? 128 : wanted <= 168 ? 168 : 255;
}

int64_t SlabSchedule::countRegisters() {
  // Beside the values that are alive at once ptxas takes a few for addresses and indices (most of those it keeps in uniform registers), and for what it
  // loads early of each channel.
  int64_t wanted = estimateCost(kernel, schedule).registers + 12 * schedule.getSlabs() * (isDouble() ? 3 : 1);
  // Without rows in registers everything comes from shared memory, and ptxas loads much of it early: besides the sums of an edge and
  // its features there are about 45 products and addresses.
  if (side == Access::Edge)
    wanted = std::max(wanted + 23, countEdgeRegisters() + (isDouble() ? 90 : 45)) + 2 * countNarrowPieces();
  return wanted;
}

int64_t SlabSchedule::countNarrowPieces() {
  KernelAnalysis edge(kernel);
  auto [inputs, results] = planSharedRows(edge, schedule);
  int64_t bytes = isDouble() ? 8 : 4, widest = 16 / bytes, pieces = 0;
  for (const RowLayout &layout : llvm::concat<RowLayout>(inputs, results)) {
    auto count = [&](int64_t width) { return llvm::divideCeil(layout.size, width * warpSize); };
    pieces += count(std::min(layout.width, widest)) - count(widest);
  }
  return pieces;
}

int64_t SlabSchedule::countEdgeRegisters() {
  KernelAnalysis edge(kernel);
  auto getWords = [&](Value value, bool channels) {
    auto type = cast<RankedTensorType>(value.getType());
    int64_t mul = type.getDimSize(0), words = type.getNumElements() * type.getElementTypeBitWidth() / 32;
    return channels ? words / mul * schedule.getLaneChannels(mul) : words;
  };
  int64_t words = 0;
  for (BlockOp block : kernel.getBody().getOps<BlockOp>())
    if (edge.hasChannels(block.getResult()) && block.getRow().getType().getEncoding() &&
        !isGrouped(kernel.getInputAccess(cast<BlockArgument>(block.getRow()).getArgNumber())))
      words += getWords(block.getResult(), true);
  std::set<std::pair<unsigned, int64_t>> counted;
  for (const Contribution &c : edge.getContributions())
    if (!isGrouped(kernel.getResultAccess(c.result)) && kernel.getResult(c.result).getType() &&
        cast<RankedTensorType>(kernel.getResult(c.result).getType()).getEncoding() && counted.insert({c.result, c.offset}).second)
      words += getWords(c.value, edge.hasChannels(c.value));
  return words;
}
