//===- Fuse.cpp - tensor programs to kernels ------------------------------===//
#include "espmm/Dialect/Equivariant/Transforms/Passes.h"
#include "espmm/Dialect/Equivariant/Transforms/Statistics.h"
#include "espmm/Dialect/Equivariant/Transforms/Utils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace espmm::equivariant {
#define GEN_PASS_DEF_EQUIVARIANTFUSE
#include "espmm/Dialect/Equivariant/Transforms/Passes.h.inc"
} // namespace espmm::equivariant

using namespace mlir;
using namespace espmm::equivariant;

namespace {

RankedTensorType getRowType(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  return RankedTensorType::get(tensor.getShape().drop_front(), tensor.getElementType(), tensor.getEncoding());
}

/// The kernels of one function. Everything that runs on edge rows is one kernel, unless a gather reads a segment sum: then what
/// depends on it is one level deeper, and each level is a kernel.
class Fusion {
public:
  Fusion(func::FuncOp func) : block(func.getBody().front()) {}

  LogicalResult run() {
    if (block.getNumArguments() && isa<espmm::equivariant::GraphType, RowsType>(block.getArgument(0).getType()))
      space = block.getArgument(0);
    for (Operation &op : block.without_terminator())
      if (failed(classify(&op)))
        return failure();
    if (edgeOps.empty() && sums.empty() && copies.empty())
      return success();
    if (!space)
      return block.getParentOp()->emitOpError("expects argument 0 to be an index space, !equivariant.graph or "
                                              "!equivariant.rows");
    for (unsigned level = 0; level <= deepest; ++level)
      build(level);
    for (Operation *convert : converts)
      convert->moveBefore(block.getTerminator());
    eraseDeadOps(block);
    return success();
  }

  unsigned numKernels = 0;

private:
  static bool isConvertedArgument(Operation *op) { return isa<ConvertOp>(op) && isa<BlockArgument>(op->getOperand(0)); }

  LogicalResult classify(Operation *op) {
    unsigned level = 0;
    for (Value operand : op->getOperands())
      level = std::max(level, levels.lookup(operand));
    auto isReturn = [](Operation *user) { return isa<func::ReturnOp>(user); };
    auto isResult = [](Operation *user) { return isa<func::ReturnOp, ConvertOp>(user); };
    if (auto gather = dyn_cast<GatherOp>(op)) {
      if (failed(verifySpace(op, gather.getSpace())))
        return failure();
      Operation *source = gather.getSource().getDefiningOp();
      if (source && !isa<SegmentSumOp>(source) && !isConvertedArgument(source))
        return op->emitOpError("gathers neither an argument nor a segment sum, but rows that are computed by edge");
      // A node value of level n is complete only after kernel n - 1.
      if (llvm::any_of(op->getUsers(), isResult)) {
        copies.emplace_back(level, gather);
        deepest = std::max(deepest, level);
      }
    } else if (auto sum = dyn_cast<SegmentSumOp>(op)) {
      if (failed(verifySpace(op, sum.getSpace())))
        return failure();
      sums.emplace_back(level, sum);
      deepest = std::max(deepest, level);
      level += 1;
    } else if (auto zeros = dyn_cast<ZerosOp>(op); zeros && isa<BlockArgument>(zeros.getLike()) &&
                                                   llvm::all_of(op->getUsers(), isReturn)) {
      // A gradient that is zero: rows of whatever side its argument is of, not of edges.
    } else if (isConvertedArgument(op)) {
      // Kernels read it as they would the argument.
    } else if (isa<ConvertOp>(op)) {
      if (!llvm::all_of(op->getUsers(), isReturn))
        return op->emitOpError("converts what is computed, and is computed with: that has no lowering yet");
      converts.push_back(op);
    } else if (isa<ContractOp, AddOp, ZerosOp>(op)) {
      // Values at nodes are not computed on by edge; only sums of them could be here.
      for (Value operand : op->getOperands())
        if (operand.getDefiningOp<SegmentSumOp>())
          return op->emitOpError("works on rows of nodes, which has no lowering yet");
      edgeOps.emplace_back(level, op);
      deepest = std::max(deepest, level);
    } else {
      return op->emitOpError("cannot be fused into a kernel");
    }
    for (Value result : op->getResults())
      levels[result] = level;
    return success();
  }

  LogicalResult verifySpace(Operation *op, Value opSpace) {
    if (opSpace != space)
      return op->emitOpError("expects the index space to be argument 0 of the function");
    return success();
  }

  /// The block argument for a value that comes from outside of the kernel.
  Value getArgument(Value outside, Access access) {
    auto [it, isNew] = arguments.try_emplace({outside, access});
    if (isNew) {
      it->second = body->addArgument(getRowType(outside.getType()), outside.getLoc());
      inputs.push_back(outside);
      inputAccess.push_back(AccessAttr::get(outside.getContext(), access));
    }
    return it->second;
  }

  /// The row, inside the kernel, of a value of edge rows.
  Value getRow(Value value) {
    if (Value row = rows.lookupOrNull(value))
      return row;
    if (auto gather = value.getDefiningOp<GatherOp>())
      return getArgument(gather.getSource(), gather.getSide());
    return getArgument(value, Access::Edge);
  }

  void build(unsigned level) {
    OpBuilder builder(block.getTerminator());
    Region region;
    body = &region.emplaceBlock();
    rows.clear();
    arguments.clear();
    inputs.clear();
    inputAccess.clear();

    builder.setInsertionPointToEnd(body);
    for (auto [opLevel, op] : edgeOps) {
      if (opLevel != level)
        continue;
      IRMapping mapping;
      for (Value operand : op->getOperands())
        mapping.map(operand, getRow(operand));
      Operation *row = builder.clone(*op, mapping);
      row->getResult(0).setType(getRowType(op->getResult(0).getType()));
      rows.map(op->getResult(0), row->getResult(0));
    }

    // Results: sums of this level, and edge rows that the return or a deeper kernel reads.
    SmallVector<Value> outside, yielded;
    SmallVector<Attribute> resultAccess;
    for (auto [sumLevel, sum] : sums)
      if (sumLevel == level) {
        outside.push_back(sum.getResult());
        yielded.push_back(getRow(sum.getSource()));
        resultAccess.push_back(AccessAttr::get(sum.getContext(), sum.getSide()));
      }
    for (auto [opLevel, op] : edgeOps)
      if (opLevel == level && llvm::any_of(op->getUsers(), [&](Operation *user) {
            return isa<func::ReturnOp, ConvertOp>(user) || (!isa<SegmentSumOp>(user) && levels.lookup(user->getResult(0)) > level);
          })) {
        outside.push_back(op->getResult(0));
        yielded.push_back(rows.lookup(op->getResult(0)));
        resultAccess.push_back(AccessAttr::get(op->getContext(), Access::Edge));
      }
    for (auto [copyLevel, gather] : copies)
      if (copyLevel == level) {
        outside.push_back(gather.getResult());
        yielded.push_back(getRow(gather.getResult()));
        resultAccess.push_back(AccessAttr::get(gather.getContext(), Access::Edge));
      }
    if (outside.empty())
      return;
    YieldOp::create(builder, block.getTerminator()->getLoc(), yielded);

    builder.setInsertionPoint(block.getTerminator());
    auto kernel = KernelOp::create(builder, block.getParentOp()->getLoc(), ValueRange(outside).getTypes(), space, inputs,
                                   builder.getArrayAttr(inputAccess), builder.getArrayAttr(resultAccess));
    kernel.getBody().takeBody(region);
    for (auto [from, to] : llvm::zip(outside, kernel.getResults()))
      from.replaceAllUsesWith(to);
    ++numKernels;
  }

  Block &block;
  Value space;
  llvm::DenseMap<Value, unsigned> levels;
  SmallVector<std::pair<unsigned, Operation *>> edgeOps;
  SmallVector<std::pair<unsigned, SegmentSumOp>> sums;
  SmallVector<std::pair<unsigned, GatherOp>> copies; // gathers that are results themselves
  SmallVector<Operation *> converts;                 // of results
  unsigned deepest = 0;

  // While a kernel is being built:
  Block *body = nullptr;
  IRMapping rows;
  llvm::MapVector<std::pair<Value, Access>, Value> arguments;
  SmallVector<Value> inputs;
  SmallVector<Attribute> inputAccess;
};

struct Fuse : espmm::equivariant::impl::EquivariantFuseBase<Fuse> {
  void runOnOperation() override {
    int64_t kernels = 0;
    for (auto func : getOperation().getOps<func::FuncOp>()) {
      if (func.isExternal())
        continue;
      if (!func.getBody().hasOneBlock()) {
        func.emitOpError("expects one block to fuse");
        return signalPassFailure();
      }
      // Sums over one side are joined first, and gathered sums split, so that the kernel adds rows and not nodes.
      RewritePatternSet patterns(&getContext());
      AddOp::getCanonicalizationPatterns(patterns, &getContext());
      GatherOp::getCanonicalizationPatterns(patterns, &getContext());
      if (failed(applyPatternsGreedily(func, std::move(patterns))))
        return signalPassFailure();
      Fusion fusion(func);
      if (failed(fusion.run()))
        return signalPassFailure();
      kernels += fusion.numKernels;
    }
    recordStatistics(getOperation(), "fuse", {{numKernels, "kernels", kernels}});
  }
};

} // namespace
