//===- TensorCanonicalization.cpp - level 0: folds and rewrites -----------===//
#include "espmm/Dialect/Equivariant/IR/Equivariant.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/BitVector.h"

using namespace mlir;
using namespace espmm::equivariant;

/// True if every element of `value` is zero. Looks through convert, gather and segment_sum: the latter two cannot be zeros themselves,
/// because nothing at hand may have as many rows as their result.
static bool isZero(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (isa<ZerosOp>(op))
      return true;
    if (!isa<ConvertOp, GatherOp, SegmentSumOp>(op))
      return false;
    value = op->getOperand(0);
  }
  return false;
}

//===----------------------------------------------------------------------===//
// add, zeros, gather
//===----------------------------------------------------------------------===//

// a + 0 -> a
OpFoldResult AddOp::fold(FoldAdaptor) {
  if (isZero(getRhs()))
    return getLhs();
  if (isZero(getLhs()))
    return getRhs();
  return {};
}

namespace {
// segment_sum(a) + segment_sum(b) -> segment_sum(a + b)
struct JoinSegmentSums : OpRewritePattern<AddOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(AddOp op, PatternRewriter &rewriter) const override {
    auto a = op.getLhs().getDefiningOp<SegmentSumOp>();
    auto b = op.getRhs().getDefiningOp<SegmentSumOp>();
    if (!a || !b || a.getSide() != b.getSide() || a.getSpace() != b.getSpace())
      return rewriter.notifyMatchFailure(op, "not two sums at one side of one index space");
    if (a.getSource().getType() != b.getSource().getType())
      return rewriter.notifyMatchFailure(op, "the summands have different types");
    Value sum = AddOp::create(rewriter, op.getLoc(), a.getSource(), b.getSource());
    rewriter.replaceOpWithNewOp<SegmentSumOp>(op, op.getType(), sum, a.getSpace(), a.getSide());
    return success();
  }
};

// gather(a + b) -> gather(a) + gather(b): values at nodes are only gathered and summed to, never computed on.
struct GatherOfAdd : OpRewritePattern<GatherOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(GatherOp op, PatternRewriter &rewriter) const override {
    auto add = op.getSource().getDefiningOp<AddOp>();
    if (!add)
      return rewriter.notifyMatchFailure(op, "does not gather a sum");
    auto gather = [&](Value summand) {
      return GatherOp::create(rewriter, op.getLoc(), op.getType(), summand, op.getSpace(), op.getSide());
    };
    Value lhs = gather(add.getLhs()), rhs = gather(add.getRhs());
    rewriter.replaceOpWithNewOp<AddOp>(op, lhs, rhs);
    return success();
  }
};

// zeros like f(a) -> zeros like a, where f keeps the number of rows: so that f is not kept alive for its rows.
struct ZerosLikeOperand : OpRewritePattern<ZerosOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ZerosOp op, PatternRewriter &rewriter) const override {
    Operation *like = op.getLike().getDefiningOp();
    if (!like || !isa<AddOp, ContractOp, ConvertOp, ZerosOp>(like))
      return rewriter.notifyMatchFailure(op, "its operand is not computed row by row");
    rewriter.modifyOpInPlace(op, [&] { op.getLikeMutable().assign(like->getOperand(0)); });
    return success();
  }
};

// convert(0) -> 0
struct ConvertOfZeros : OpRewritePattern<ConvertOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ConvertOp op, PatternRewriter &rewriter) const override {
    auto zeros = op.getSource().getDefiningOp<ZerosOp>();
    if (!zeros)
      return rewriter.notifyMatchFailure(op, "does not convert zeros");
    rewriter.replaceOpWithNewOp<ZerosOp>(op, op.getType(), zeros.getLike());
    return success();
  }
};

//===----------------------------------------------------------------------===//
// contract
//===----------------------------------------------------------------------===//

constexpr Slot allSlots[] = {Slot::X, Slot::Y, Slot::W, Slot::Z};

bool hasElements(ProductAttr product, const Path &path) {
  return product.getX()[path.i1].mul && product.getY()[path.i2].mul && product.getZ()[path.i3].mul;
}

bool contributes(ProductAttr product, const Path &path) {
  return path.coefficient != 0.0 && hasElements(product, path);
}

// contract(.. 0 ..) -> 0
// contract of a product without a path that contributes -> 0
struct ContractOfZero : OpRewritePattern<ContractOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ContractOp op, PatternRewriter &rewriter) const override {
    ProductAttr product = op.getProduct();
    bool noPath = llvm::none_of(product.getPaths(), [&](const Path &p) { return contributes(product, p); });
    if (!noPath && llvm::none_of(op->getOperands(), isZero))
      return rewriter.notifyMatchFailure(op, "no operand is zero");
    // The rows come from an operand that is there anyway, if one is.
    Value like = op->getOperand(0);
    for (Value operand : op->getOperands())
      if (!isZero(operand)) {
        like = operand;
        break;
      }
    rewriter.replaceOpWithNewOp<ZerosOp>(op, op.getType(), like);
    return success();
  }
};

/// Marks the blocks of `value` that something may look at. Knows contracts, and the ops that pass blocks on; any other
/// use looks at all of them.
void markReadBlocks(Value value, BitVector &read, llvm::SmallDenseSet<Value> &visited) {
  if (!visited.insert(value).second)
    return;
  for (Operation *user : value.getUsers()) {
    if (auto contract = dyn_cast<ContractOp>(user)) {
      ProductAttr product = contract.getProduct();
      for (Slot slot : allSlots)
        if (slot != Slot::W && contract.getBound(slot) == value)
          for (const Path &p : product.getPaths())
            if (contributes(product, p))
              read.set(p.getBlock(slot));
    } else if (isa<AddOp, ConvertOp, GatherOp, SegmentSumOp>(user)) {
      markReadBlocks(user->getResult(0), read, visited);
    } else if (!isa<ZerosOp>(user)) {
      read.set();
    }
  }
}

// A path into a block of multiplicity 0, or of coefficient 0, or into a block of the result that nobody reads, adds
// nothing. It is dropped; where it has weights it only gets coefficient 0, because the weights of the other paths keep
// their places in w.
struct DropDeadPaths : OpRewritePattern<ContractOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ContractOp op, PatternRewriter &rewriter) const override {
    ProductAttr product = op.getProduct();
    Slot slot = op.getSlot();
    BitVector read(product.getIrreps(slot).size());
    llvm::SmallDenseSet<Value> visited;
    if (slot != Slot::W)
      markReadBlocks(op.getResult(), read, visited);

    SmallVector<Path> live;
    for (Path p : product.getPaths()) {
      if (!contributes(product, p) || (slot != Slot::W && !read.test(p.getBlock(slot))))
        p.coefficient = 0.0;
      if (contributes(product, p) || product.getWeightSize(p) > 0)
        live.push_back(p);
    }
    if (ArrayRef<Path>(live) == product.getPaths())
      return rewriter.notifyMatchFailure(op, "every path contributes");
    if (live.empty() && product.isWeighted())
      return rewriter.notifyMatchFailure(op, "a product without paths has no weights, but w is bound");
    rewriter.modifyOpInPlace(op, [&] {
      op.setProductAttr(ProductAttr::get(op.getContext(), product.getX(), product.getY(), product.getZ(), live));
    });
    return success();
  }
};
} // namespace

void AddOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<JoinSegmentSums>(context);
}
void ZerosOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<ZerosLikeOperand>(context);
}
void ConvertOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<ConvertOfZeros>(context);
}
void GatherOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<GatherOfAdd>(context);
}
void ContractOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<ContractOfZero, DropDeadPaths>(context);
}
