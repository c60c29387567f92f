//===- LoopsToBranches.cpp - scf's loops and branches as blocks -----------===//
#include "espmm/Dialect/Equivariant/Transforms/Passes.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Rewrite/PatternApplicator.h"

namespace espmm::equivariant {
#define GEN_PASS_DEF_CONVERTLOOPSTOBRANCHES
#include "espmm/Dialect/Equivariant/Transforms/Passes.h.inc"
} // namespace espmm::equivariant

using namespace mlir;

namespace {

struct ConvertLoopsToBranches : espmm::equivariant::impl::ConvertLoopsToBranchesBase<ConvertLoopsToBranches> {
  LogicalResult initialize(MLIRContext *context) override {
    RewritePatternSet set(context);
    populateSCFToControlFlowConversionPatterns(set);
    patterns = std::make_shared<FrozenRewritePatternSet>(std::move(set));
    return success();
  }

  void runOnOperation() override {
    SmallVector<Operation *> ops;
    getOperation()->walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (op->getNumRegions() && isa_and_nonnull<scf::SCFDialect>(op->getDialect()))
        ops.push_back(op);
    });
    PatternApplicator applicator(*patterns);
    applicator.applyDefaultCostModel();
    PatternRewriter rewriter(&getContext());
    for (Operation *op : llvm::reverse(ops)) {
      rewriter.setInsertionPoint(op);
      if (failed(applicator.matchAndRewrite(op, rewriter))) {
        op->emitOpError("has no lowering to branches");
        return signalPassFailure();
      }
    }
  }

  std::shared_ptr<FrozenRewritePatternSet> patterns;
};

} // namespace
