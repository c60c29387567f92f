//===- TensorOps.cpp - level 0: gather, segment_sum, contract, add --------===//
#include "espmm/Dialect/Equivariant/IR/Equivariant.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace espmm::equivariant;

//===----------------------------------------------------------------------===//
// gather, segment_sum
//===----------------------------------------------------------------------===//

/// What gather and segment_sum have in common: a side of a space, and tensors that differ in rows only.
static LogicalResult verifyMove(Operation *op, Value space, Access side, RankedTensorType source,
                                RankedTensorType result) {
  // gather_c1, segment_sum_c1
  if (side == Access::Edge)
    return op->emitOpError("expects a side of the graph, got 'edge'");
  if (isa<RowsType>(space.getType()) && side != Access::All)
    return op->emitOpError("on !equivariant.rows the only side is 'all', got '") << stringifyAccess(side) << "'";
  // gather_c2, segment_sum_c2
  if (source.getRank() < 1 || source.getRank() != result.getRank() ||
      source.getShape().drop_front() != result.getShape().drop_front() ||
      source.getElementType() != result.getElementType() || source.getEncoding() != result.getEncoding())
    return op->emitOpError("operand and result may differ in their number of rows only, got ")
           << source << " and " << result;
  return success();
}

LogicalResult GatherOp::verify() {
  return verifyMove(*this, getSpace(), getSide(), getSource().getType(), getType());
}

LogicalResult SegmentSumOp::verify() {
  return verifyMove(*this, getSpace(), getSide(), getSource().getType(), getType());
}

static bool isZero(Value value) { return value && value.getDefiningOp<ZerosOp>(); }

namespace {
// gather(0) -> 0 cannot keep its row count from the source, so zeros are stopped one step later, at contract and add.
// segment_sum(a) + segment_sum(b) -> segment_sum(a + b)
struct JoinSegmentSums : OpRewritePattern<AddOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(AddOp op, PatternRewriter &rewriter) const override {
    auto a = op.getLhs().getDefiningOp<SegmentSumOp>();
    auto b = op.getRhs().getDefiningOp<SegmentSumOp>();
    if (!a || !b || a.getSide() != b.getSide() || a.getSpace() != b.getSpace())
      return rewriter.notifyMatchFailure(op, "not two sums at one side of one graph");
    if (a.getSource().getType() != b.getSource().getType())
      return rewriter.notifyMatchFailure(op, "the summands have different types");
    Value sum = AddOp::create(rewriter, op.getLoc(), a.getSource(), b.getSource());
    rewriter.replaceOpWithNewOp<SegmentSumOp>(op, op.getType(), sum, a.getSpace(), a.getSide());
    return success();
  }
};

// contract(.. 0 ..) -> 0
struct ContractOfZero : OpRewritePattern<ContractOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ContractOp op, PatternRewriter &rewriter) const override {
    if (llvm::none_of(op->getOperands(), isZero))
      return rewriter.notifyMatchFailure(op, "no operand is zero");
    for (Value operand : op->getOperands())
      if (operand.getType() == op.getType()) {
        rewriter.replaceOpWithNewOp<ZerosOp>(op, op.getType(), operand);
        return success();
      }
    return rewriter.notifyMatchFailure(op, "no operand has the result's type to take the zeros' shape from");
  }
};

// contract without paths -> 0
// paths of weight 0 or into a block of multiplicity 0 add nothing and are dropped (weightless products only: a
// weighted path's weights keep their place in w).
struct DropDeadPaths : OpRewritePattern<ContractOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ContractOp op, PatternRewriter &rewriter) const override {
    ProductAttr product = op.getProduct();
    if (product.isWeighted())
      return rewriter.notifyMatchFailure(op, "weights keep their places");
    SmallVector<Path> live;
    for (const Path &p : product.getPaths())
      if (p.coefficient != 0.0 && product.getX()[p.i1].mul && product.getY()[p.i2].mul && product.getZ()[p.i3].mul)
        live.push_back(p);
    if (live.size() == product.getPaths().size())
      return rewriter.notifyMatchFailure(op, "every path contributes");
    rewriter.modifyOpInPlace(op, [&] {
      op.setProductAttr(ProductAttr::get(op.getContext(), product.getX(), product.getY(), product.getZ(), live));
    });
    return success();
  }
};
} // namespace

void GatherOp::getCanonicalizationPatterns(RewritePatternSet &, MLIRContext *) {}
void SegmentSumOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<JoinSegmentSums>(context);
}
void ContractOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<ContractOfZero, DropDeadPaths>(context);
}

//===----------------------------------------------------------------------===//
// add
//===----------------------------------------------------------------------===//

// a + 0 -> a
OpFoldResult AddOp::fold(FoldAdaptor) {
  if (isZero(getRhs()))
    return getLhs();
  if (isZero(getLhs()))
    return getRhs();
  return {};
}

//===----------------------------------------------------------------------===//
// contract
//===----------------------------------------------------------------------===//

void ContractOp::build(OpBuilder &, OperationState &state, Type type, Slot slot, ProductAttr product,
                       ArrayRef<Value> bound) {
  SmallVector<int32_t, 4> segments;
  for (Value value : bound) {
    segments.push_back(value ? 1 : 0);
    if (value)
      state.addOperands(value);
  }
  auto &properties = state.getOrAddProperties<Properties>();
  properties.slot = SlotAttr::get(product.getContext(), slot);
  properties.product = product;
  llvm::copy(segments, properties.operandSegmentSizes.begin());
  state.addTypes(type);
}

Value ContractOp::getBound(Slot slot) {
  switch (slot) {
  case Slot::X: return getX();
  case Slot::Y: return getY();
  case Slot::W: return getW();
  case Slot::Z: return getZ();
  }
  llvm_unreachable("unknown slot");
}

static constexpr Slot allSlots[] = {Slot::X, Slot::Y, Slot::W, Slot::Z};

ParseResult ContractOp::parse(OpAsmParser &parser, OperationState &result) {
  StringRef keyword;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&keyword))
    return failure();
  auto slot = symbolizeSlot(keyword);
  if (!slot)
    return parser.emitError(loc, "expected a slot, x, y, w or z, got '") << keyword << "'";
  ProductAttr product;
  if (parser.parseKeyword("of") || parser.parseAttribute(product))
    return failure();

  SmallVector<std::pair<Slot, OpAsmParser::UnresolvedOperand>> named;
  auto parseBinding = [&]() -> ParseResult {
    SMLoc nameLoc = parser.getCurrentLocation();
    StringRef name;
    OpAsmParser::UnresolvedOperand operand;
    if (parser.parseKeyword(&name))
      return failure();
    auto s = symbolizeSlot(name);
    if (!s)
      return parser.emitError(nameLoc, "expected a slot, x, y, w or z, got '") << name << "'";
    for (auto &other : named)
      if (other.first == *s)
        return parser.emitError(nameLoc, "slot '") << name << "' is bound twice";
    if (parser.parseEqual() || parser.parseOperand(operand))
      return failure();
    named.emplace_back(*s, operand);
    return success();
  };
  FunctionType type;
  SMLoc typeLoc;
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Paren, parseBinding) ||
      parser.parseOptionalAttrDict(result.attributes) || parser.parseColon())
    return failure();
  typeLoc = parser.getCurrentLocation();
  if (parser.parseType(type))
    return failure();
  if (type.getNumInputs() != named.size() || type.getNumResults() != 1)
    return parser.emitError(typeLoc, "expected ") << named.size() << " operand types and one result type";

  auto &properties = result.getOrAddProperties<Properties>();
  properties.slot = SlotAttr::get(parser.getContext(), *slot);
  properties.product = product;
  for (auto [i, s] : llvm::enumerate(allSlots)) {
    properties.operandSegmentSizes[i] = 0;
    for (auto [binding, t] : llvm::zip(named, type.getInputs()))
      if (binding.first == s) {
        properties.operandSegmentSizes[i] = 1;
        if (parser.resolveOperand(binding.second, t, result.operands))
          return failure();
      }
  }
  result.addTypes(type.getResults());
  return success();
}

void ContractOp::print(OpAsmPrinter &printer) {
  printer << " " << stringifySlot(getSlot()) << " of " << getProduct() << " (";
  bool first = true;
  for (Slot s : allSlots)
    if (Value value = getBound(s)) {
      printer << (first ? "" : ", ") << stringifySlot(s) << " = " << value;
      first = false;
    }
  printer << ")";
  printer.printOptionalAttrDict((*this)->getAttrs(), {"slot", "product", "operandSegmentSizes"});
  printer << " : ";
  printer.printFunctionalType(*this);
}

/// contract_c2, contract_c3, contract_c4 for one slot.
static LogicalResult verifySlot(ContractOp op, Slot slot, RankedTensorType type) {
  ProductAttr product = op.getProduct();
  auto name = stringifySlot(slot);
  if (type.getRank() != op.getType().getRank() || (type.getRank() != 1 && type.getRank() != 2))
    return op.emitOpError("all tensors have rank 2, or rank 1 inside a kernel, got ") << type << " for " << name;
  if (type.getElementType() != op.getType().getElementType() || !type.getElementType().isF32() == !type.getElementType().isF64())
    return op.emitOpError("element types must be all f32 or all f64, got ") << type << " for " << name;
  if (type.getShape().back() != product.getDim(slot))
    return op.emitOpError("slot ") << name << " has dimension " << product.getDim(slot) << ", got " << type;
  auto irreps = dyn_cast_or_null<IrrepsAttr>(type.getEncoding());
  if (slot == Slot::W) {
    if (type.getEncoding())
      return op.emitOpError("weights have no encoding, got ") << type;
    return success();
  }
  if (!irreps || irreps.getBlocks() != product.getIrreps(slot))
    return op.emitOpError("slot ") << name << " has irreps " << printIrreps(product.getIrreps(slot)) << ", got " << type;
  return success();
}

LogicalResult ContractOp::verify() {
  bool weighted = getProduct().isWeighted();
  for (Slot s : allSlots) {
    bool exists = s != Slot::W || weighted;
    Value bound = getBound(s);
    // contract_c1
    if (s == getSlot()) {
      if (bound)
        return emitOpError("slot ") << stringifySlot(s) << " is the result and cannot be bound";
      if (!exists)
        return emitOpError("the product has no weights to contract to");
      if (failed(verifySlot(*this, s, getType())))
        return failure();
      continue;
    }
    if (exists && !bound)
      return emitOpError("slot ") << stringifySlot(s) << " is not bound";
    if (!exists && bound)
      return emitOpError("the product has no weights, but w is bound");
    if (bound && failed(verifySlot(*this, s, cast<RankedTensorType>(bound.getType()))))
      return failure();
  }
  return success();
}
