//===- Differentiate.cpp - vector-Jacobian products -----------------------===//
#include "espmm/Dialect/Equivariant/Transforms/Passes.h"
#include "espmm/Dialect/Equivariant/Transforms/Utils.h"
#include "llvm/ADT/TypeSwitch.h"

namespace espmm::equivariant {
#define GEN_PASS_DEF_EQUIVARIANTDIFFERENTIATE
#include "espmm/Dialect/Equivariant/Transforms/Passes.h.inc"
} // namespace espmm::equivariant

using namespace mlir;
using namespace espmm::equivariant;

namespace {

/// The reverse sweep over one block: cotangents flow from uses to definitions.
class ReverseSweep {
public:
  explicit ReverseSweep(OpBuilder &builder) : builder(builder) {}

  void accumulate(Value primal, Value cotangent) {
    Value &sum = cotangents[primal];
    sum = sum ? AddOp::create(builder, primal.getLoc(), sum, cotangent).getResult() : cotangent;
  }

  Value get(Value primal) const { return cotangents.lookup(primal); }

  LogicalResult visit(Operation *op) {
    if (llvm::none_of(op->getResults(), [&](Value result) { return get(result); }))
      return success();
    Value ct = get(op->getResult(0));
    return TypeSwitch<Operation *, LogicalResult>(op)
        .Case([&](AddOp add) {
          accumulate(add.getLhs(), ct);
          accumulate(add.getRhs(), ct);
          return success();
        })
        .Case([](ZerosOp) { return success(); })
        // convert^T = convert back
        .Case([&](ConvertOp convert) {
          accumulate(convert.getSource(), ConvertOp::create(builder, op->getLoc(), convert.getSource().getType(), ct));
          return success();
        })
        // gather^T = segment_sum
        .Case([&](GatherOp gather) {
          accumulate(gather.getSource(), SegmentSumOp::create(builder, op->getLoc(), gather.getSource().getType(), ct,
                                                              gather.getSpace(), gather.getSide()));
          return success();
        })
        // segment_sum^T = gather
        .Case([&](SegmentSumOp sum) {
          accumulate(sum.getSource(), GatherOp::create(builder, op->getLoc(), sum.getSource().getType(), ct,
                                                       sum.getSpace(), sum.getSide()));
          return success();
        })
        .Case([&](ContractOp contract) {
          visitContract(contract, ct);
          return success();
        })
        .Default([](Operation *other) { return other->emitOpError("cannot be differentiated"); });
  }

private:
  // contract s (t = a, ...) -> contract t (s = ct, ...) for each bound slot t
  void visitContract(ContractOp op, Value ct) {
    constexpr Slot slots[] = {Slot::X, Slot::Y, Slot::W, Slot::Z};
    for (Slot t : slots) {
      Value primal = op.getBound(t);
      if (!primal)
        continue;
      SmallVector<Value> bound;
      for (Slot s : slots)
        bound.push_back(s == op.getSlot() ? ct : s == t ? Value() : op.getBound(s));
      accumulate(primal, ContractOp::create(builder, op.getLoc(), primal.getType(), t, op.getProduct(), bound));
    }
  }

  OpBuilder &builder;
  llvm::DenseMap<Value, Value> cotangents;
};

struct Differentiate : espmm::equivariant::impl::EquivariantDifferentiateBase<Differentiate> {
  using EquivariantDifferentiateBase::EquivariantDifferentiateBase;

  void runOnOperation() override {
    for (auto func : llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>()))
      if (failed(differentiate(func)))
        return signalPassFailure();
  }

  LogicalResult differentiate(func::FuncOp func) {
    auto ret = func.getBody().hasOneBlock() ? dyn_cast<func::ReturnOp>(func.getBody().front().getTerminator())
                                            : func::ReturnOp();
    if (!ret)
      return func.emitOpError("expects one block that returns to differentiate");
    Block &block = func.getBody().front();

    SmallVector<int64_t> results(cotangents.begin(), cotangents.end());
    if (results.empty())
      llvm::append_range(results, llvm::seq<int64_t>(0, ret.getNumOperands()));
    SmallVector<int64_t> arguments(wrt.begin(), wrt.end());
    unsigned numArguments = block.getNumArguments();
    if (arguments.empty())
      for (BlockArgument arg : block.getArguments())
        if (isa<RankedTensorType>(arg.getType()))
          arguments.push_back(arg.getArgNumber());
    for (int64_t r : results)
      if (r < 0 || r >= ret.getNumOperands() || !isa<RankedTensorType>(ret.getOperand(r).getType()))
        return func.emitOpError("expects cotangents to list tensor results, got ")
               << r << " of " << ret.getNumOperands() << " results";
    for (int64_t a : arguments)
      if (a < 0 || a >= numArguments || !isa<RankedTensorType>(block.getArgument(a).getType()))
        return func.emitOpError("expects wrt to list tensor arguments, got ")
               << a << " of " << numArguments << " arguments";

    OpBuilder builder(ret);
    ReverseSweep sweep(builder);
    for (int64_t r : results) {
      Value primal = ret.getOperand(r);
      sweep.accumulate(primal, block.addArgument(primal.getType(), primal.getLoc()));
    }
    SmallVector<Operation *> primalOps;
    for (Operation &op : block.without_terminator())
      primalOps.push_back(&op);
    for (Operation *op : llvm::reverse(primalOps))
      if (failed(sweep.visit(op)))
        return failure();

    SmallVector<Value> gradients;
    for (int64_t a : arguments) {
      Value argument = block.getArgument(a), gradient = sweep.get(argument);
      gradients.push_back(gradient ? gradient : ZerosOp::create(builder, func.getLoc(), argument.getType(), argument));
    }
    ret.getOperandsMutable().assign(gradients);
    // What was said of the results does not hold of the gradients.
    func.removeResAttrsAttr();
    func.setType(builder.getFunctionType(block.getArgumentTypes(), ValueRange(gradients).getTypes()));
    func.setName((func.getName() + "_vjp").str());

    eraseDeadOps(block);
    return success();
  }
};

} // namespace
