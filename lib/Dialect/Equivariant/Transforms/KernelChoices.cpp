//===- KernelChoices.cpp - what was chosen for a kernel, and why ----------===//
#include "KernelChoices.h"
#include "CPUNests.h"
#include "GPUNestTarget.h"
#include "GPURowTiles.h"
#include <map>

using namespace mlir;
using namespace espmm::equivariant;

namespace {

class Description {
public:
  Description(KernelOp kernel, ScheduleAttr schedule)
      : kernel(kernel), schedule(schedule), isGPU(schedule.getTarget() == Target::GPU),
        isTile(isGPU ? needsNests(kernel) && isRowTileOnGPU(kernel, schedule) : schedule.getTileRows() > 1),
        analysis(kernel, isTile || (isGPU && needsNests(kernel)) ? LoopedAxes::Nests : isGPU ? LoopedAxes::Channels : LoopedAxes::All) {}

  SmallVector<std::string> run() {
    describeRows();
    if (!analysis.getGroups().empty())
      sentences.push_back("channels: u in " + lanes() + ", because all operations without other multiplicities have it in common");
    if (!analysis.getNests().empty())
      describeNests();
    return std::move(sentences);
  }

private:
  std::string lanes() const {
    if (!isGPU)
      return "vectors of " + std::to_string(schedule.getLanes());
    int64_t slabs = schedule.getSlabs();
    return slabs > 1 ? std::to_string(slabs) + " x 32 lanes at once" : "the lanes of a warp";
  }

  /// Who works on what.
  void describeRows() {
    std::string text;
    llvm::raw_string_ostream os(text);
    if (Access side = schedule.getGroupBy(); side != Access::Edge) {
      os << "edges: those of a node, its " << stringifyAccess(side) << "' side, one after the other, because sums over them then stay "
         << (!isGPU ? "in the cache" : needsNests(kernel) ? "in a warp's shared memory" : "in a warp's registers") << " until the last";
    } else if (isTile) {
      os << "rows: " << (isGPU ? 32 : schedule.getTileRows()) << " side by side, one in each lane";
      if (isGPU)
        os << " of the " << schedule.getWarps() << " warps of a block";
      os << ", because they share weights, which are then read once for all of them";
    } else {
      os << "rows: one at a time" << (isGPU ? ", a warp's" : "") << ", because "
         << (!hasRowsAt(kernel, Access::All) ? "each has weights of its own, or none" : "a tile of rows would not fit, is not wished, or has too little to do with a weight");
    }
    sentences.push_back(std::move(text));
  }

  NestLimits getLimits() {
    if (isGPU)
      return isTile ? GPURowTileTarget::getLimits(getArithmeticType(getStoredElement(kernel.getResult(0))), getRowTileNumbers(schedule)) : GPUNestTarget::getLimits();
    return CPUNestTarget::getLimits(VectorType::get({schedule.getLanes()}, getArithmeticType(getStoredElement(kernel.getResult(0)))), schedule.getTileRows());
  }

  void describeNests() {
    NestPlan plan(analysis, getLimits());
    std::map<std::string, int64_t> kinds;
    for (const NestPlan::Step &step : plan.getSteps())
      for (Operation *op : step.getAll())
        if (auto einsum = dyn_cast<EinsumOp>(op)) {
          ++kinds["einsum " + einsum.getSubscripts().str() + ": " + describe(step, op, plan)];
        }
    for (auto &[text, count] : kinds)
      sentences.push_back(text + (count > 1 ? " (" + std::to_string(count) + " times)" : ""));
  }

  static std::string name(char letter) { return letter == rowLetter ? "rows" : std::string(1, letter); }

  std::string describe(const NestMatrix &matrix) {
    std::string text;
    llvm::raw_string_ostream os(text);
    os << "matrix units, " << name(matrix.row) << " x " << name(matrix.column) << " summed over " << name(matrix.summed);
    if (schedule.getProducts() == static_cast<int64_t>(Products::ThreeTerms))
      os << ", each factor as two numbers of tf32, because its result is as exact as that of multiply-adds then";
    else
      os << ", because they are faster" << (getArithmeticType(getStoredElement(kernel.getResult(0))).isF64() ? "" : ", and factors may be rounded to tf32");
    os << "; " << matrix.rowTiles << " x " << matrix.columnTiles << " tiles at once, because warps then have about equal shares";
    return text;
  }

  std::string describe(const NestPlan::Step &step, Operation *op, const NestPlan &plan) {
    if (step.ops.size() > 1)
      return describe(step.loops) + ", in loops with others, because they read the same weights";
    std::string text = describe(plan.getShape(op));
    if (step.loops.vectors > 1)
      text += "; " + std::to_string(step.loops.vectors) + " vectors of " + name(step.loops.laneLetter) + " one after the other, because what they read lies so in memory";
    return text;
  }

  std::string describe(const NestShape &shape) {
    if (shape.matrix)
      return describe(*shape.matrix);
    if (!shape.laneLetter)
      return "without a loop, because nothing of it has a multiplicity that is long";
    std::string text;
    llvm::raw_string_ostream os(text);
    bool isBlocked = shape.block > 1 && !shape.summed.empty();
    if (isBlocked && !shape.sumsLanes)
      os << "a matrix product in blocks, ";
    os << name(shape.laneLetter) << " in lanes, "
       << (shape.sumsLanes ? "and a sum over these, because the result has nothing else to be there" : "because the result has it: nothing is summed over lanes");
    if (shape.groups > 1)
      os << "; " << shape.groups << " positions of " << name(shape.groupLetter) << " side by side, because " << name(shape.laneLetter) << " is not longer than " << 32 / shape.groups;
    if (shape.block > 1)
      os << "; " << shape.block << " of " << name(shape.blockLetter) << " at once, because "
         << (shape.sumsLanes ? "their sums over lanes are then taken together" : isBlocked ? "they read the same summands" : "they have something that is read in common");
    if (shape.unrolling > 1)
      os << "; " << shape.unrolling << " of " << name(shape.unrolledLetter) << " added at once, because their loads are then under way together";
    if (shape.sumsParts)
      os << "; each warp a part of the sum, because all of them wait for it";
    return text;
  }

  KernelOp kernel;
  ScheduleAttr schedule;
  bool isGPU, isTile;
  KernelAnalysis analysis;
  SmallVector<std::string> sentences;
};

} // namespace

SmallVector<std::string> espmm::equivariant::describeChoices(KernelOp kernel, ScheduleAttr schedule) { return Description(kernel, schedule).run(); }
