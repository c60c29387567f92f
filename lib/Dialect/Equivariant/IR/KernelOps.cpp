//===- KernelOps.cpp - levels 2 and 3: kernels and what they hold ---------===//
#include "espmm/Dialect/Equivariant/IR/Equivariant.h"
#include "espmm/Support/ClebschGordan.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace espmm::equivariant;

/// custom<Access>: an access by its name.
static ParseResult parseAccess(OpAsmParser &parser, AccessAttr &access) {
  StringRef keyword;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&keyword))
    return failure();
  auto value = symbolizeAccess(keyword);
  if (!value)
    return parser.emitError(loc, "expected edge, receivers, senders or all, got '") << keyword << "'";
  access = AccessAttr::get(parser.getContext(), *value);
  return success();
}

static void printAccess(OpAsmPrinter &printer, Operation *, AccessAttr access) {
  printer << stringifyAccess(access.getValue());
}

#define GET_OP_CLASSES
#include "espmm/Dialect/Equivariant/IR/Ops.cpp.inc"

//===----------------------------------------------------------------------===//
// kernel
//===----------------------------------------------------------------------===//

ParseResult KernelOp::parse(OpAsmParser &parser, OperationState &result) {
  OpAsmParser::UnresolvedOperand space;
  Type spaceType;
  SmallVector<OpAsmParser::UnresolvedOperand> inputs;
  SmallVector<Attribute> inputAccess, resultAccess;
  SmallVector<Type> inputTypes, resultTypes;
  if (parser.parseKeyword("over") || parser.parseOperand(space) || parser.parseColonType(spaceType) ||
      parser.resolveOperand(space, spaceType, result.operands))
    return failure();

  auto parseInto = [&](SmallVectorImpl<Attribute> &accesses) -> ParseResult {
    AccessAttr access;
    if (parseAccess(parser, access))
      return failure();
    accesses.push_back(access);
    return success();
  };
  auto parseInput = [&]() -> ParseResult {
    return failure(parser.parseOperand(inputs.emplace_back()) || parser.parseKeyword("at") || parseInto(inputAccess));
  };
  auto parseResult = [&]() { return parseInto(resultAccess); };
  SMLoc loc = parser.getCurrentLocation();
  if (succeeded(parser.parseOptionalKeyword("ins")))
    if (parser.parseLParen() || parser.parseCommaSeparatedList(parseInput) || parser.parseColonTypeList(inputTypes) ||
        parser.parseRParen() || parser.resolveOperands(inputs, inputTypes, loc, result.operands))
      return failure();
  if (succeeded(parser.parseOptionalKeyword("outs")))
    if (parser.parseLParen() || parser.parseCommaSeparatedList(parseResult) ||
        parser.parseColonTypeList(resultTypes) || parser.parseRParen())
      return failure();
  if (parser.parseOptionalAttrDictWithKeyword(result.attributes) || parser.parseRegion(*result.addRegion()))
    return failure();
  ensureTerminator(*result.regions.front(), parser.getBuilder(), result.location);
  auto &properties = result.getOrAddProperties<Properties>();
  properties.input_access = parser.getBuilder().getArrayAttr(inputAccess);
  properties.result_access = parser.getBuilder().getArrayAttr(resultAccess);
  result.addTypes(resultTypes);
  return success();
}

void KernelOp::print(OpAsmPrinter &printer) {
  printer << " over " << getSpace() << " : " << getSpace().getType();
  auto access = [](Attribute a) { return stringifyAccess(cast<AccessAttr>(a).getValue()); };
  if (!getInputs().empty()) {
    printer << " ins(";
    llvm::interleaveComma(llvm::zip(getInputs(), getInputAccess()), printer,
                          [&](auto pair) { printer << std::get<0>(pair) << " at " << access(std::get<1>(pair)); });
    printer << " : " << getInputs().getTypes() << ")";
  }
  if (getNumResults()) {
    printer << " outs(";
    llvm::interleaveComma(getResultAccess(), printer, [&](Attribute a) { printer << access(a); });
    printer << " : " << getResultTypes() << ")";
  }
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(), {"input_access", "result_access"});
  printer << " ";
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/true, /*printBlockTerminators=*/true);
}

LogicalResult KernelOp::verify() {
  // kernel_c1
  if (getInputAccess().size() != getInputs().size() || getResultAccess().size() != getNumResults())
    return emitOpError("expects one access for each operand and each result, got ")
           << getInputAccess().size() << " for " << getInputs().size() << " operands and " << getResultAccess().size()
           << " for " << getNumResults() << " results";
  SmallVector<Attribute> accesses(getInputAccess().begin(), getInputAccess().end());
  llvm::append_range(accesses, getResultAccess());
  SmallVector<Type> types(getInputs().getTypes());
  llvm::append_range(types, getResultTypes());
  bool rows = isa<RowsType>(getSpace().getType());
  for (auto [attribute, type] : llvm::zip(accesses, types)) {
    Access access = cast<AccessAttr>(attribute).getValue();
    if (rows && access != Access::Edge && access != Access::All)
      return emitOpError("expects accesses 'edge' or 'all' over !equivariant.rows, got '")
             << stringifyAccess(access) << "'";
    // kernel_c3
    if (access == Access::All && cast<RankedTensorType>(type).getShape().take_front() != ArrayRef<int64_t>{1})
      return emitOpError("expects one row at 'all', got ") << type;
  }
  return success();
}

/// True if `row` is `tensor` without its first dimension, in the type that is computed with.
static bool isRowOf(Type row, Type tensor) {
  auto r = dyn_cast<RankedTensorType>(row);
  auto t = dyn_cast<RankedTensorType>(tensor);
  return r && t && t.getRank() >= 1 && r.getShape() == t.getShape().drop_front() &&
         r.getElementType() == getArithmeticType(t.getElementType()) && r.getEncoding() == t.getEncoding();
}

LogicalResult KernelOp::verifyRegions() {
  // kernel_c2
  if (getBody().getNumArguments() != getInputs().size())
    return emitOpError("expects ") << getInputs().size() << " block arguments, got " << getBody().getNumArguments();
  for (auto [i, pair] : llvm::enumerate(llvm::zip(getBody().getArgumentTypes(), getInputs().getTypes())))
    if (!isRowOf(std::get<0>(pair), std::get<1>(pair)))
      return emitOpError("expects block argument ")
             << i << " to be a row of " << std::get<1>(pair) << ", got " << std::get<0>(pair);
  auto yield = cast<YieldOp>(getBody().front().getTerminator());
  if (yield.getValues().size() != getNumResults())
    return emitOpError("expects ") << getNumResults() << " yielded values, got " << yield.getValues().size();
  for (auto [i, pair] : llvm::enumerate(llvm::zip(yield.getValues().getTypes(), getResultTypes())))
    if (!isRowOf(std::get<0>(pair), std::get<1>(pair)))
      return emitOpError("expects yielded value ")
             << i << " to be a row of " << std::get<1>(pair) << ", got " << std::get<0>(pair);
  // kernel_c4
  auto schedule = (*this)->getAttrOfType<ScheduleAttr>("schedule");
  size_t further = schedule ? schedule.getInstances() - 1 : 0;
  for (Operation &op : getBody().front()) {
    std::optional<ArrayRef<int64_t>> also;
    size_t blocks = 1;
    if (auto block = dyn_cast<BlockOp>(op))
      also = block.getAlso();
    else if (auto assemble = dyn_cast<AssembleOp>(op))
      std::tie(also, blocks) = std::pair(assemble.getAlso(), assemble.getBlocks().size());
    if (also && also->size() != further * blocks)
      return op.emitOpError("expects ") << further << " further offsets for each block, as its kernel has " << further + 1
                                        << " instances, got " << also->size();
  }
  return success();
}

namespace {
// kernel with unused inputs or results -> kernel without them
struct DropUnused : OpRewritePattern<KernelOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(KernelOp op, PatternRewriter &rewriter) const override {
    SmallVector<unsigned> results, inputs;
    for (OpResult r : op.getResults())
      if (!r.use_empty())
        results.push_back(r.getResultNumber());
    for (BlockArgument a : op.getBody().getArguments())
      if (!a.use_empty())
        inputs.push_back(a.getArgNumber());
    if (results.size() == op.getNumResults() && inputs.size() == op.getInputs().size())
      return rewriter.notifyMatchFailure(op, "everything is used");

    SmallVector<Value> keptInputs;
    SmallVector<Attribute> inputAccess, resultAccess;
    SmallVector<Type> types;
    BitVector dead(op.getInputs().size(), true);
    for (unsigned i : inputs) {
      keptInputs.push_back(op.getInputs()[i]);
      inputAccess.push_back(op.getInputAccessAttr()[i]);
      dead.reset(i);
    }
    for (unsigned r : results) {
      types.push_back(op.getResult(r).getType());
      resultAccess.push_back(op.getResultAccessAttr()[r]);
    }
    auto kept = KernelOp::create(rewriter, op.getLoc(), types, op.getSpace(), keptInputs,
                                 rewriter.getArrayAttr(inputAccess), rewriter.getArrayAttr(resultAccess));
    kept->setDiscardableAttrs(op->getDiscardableAttrDictionary());
    rewriter.inlineRegionBefore(op.getBody(), kept.getBody(), kept.getBody().begin());
    auto yield = cast<YieldOp>(kept.getBody().front().getTerminator());
    SmallVector<Value> yielded;
    for (unsigned r : results)
      yielded.push_back(yield.getValues()[r]);
    rewriter.modifyOpInPlace(yield, [&] { yield.getValuesMutable().assign(yielded); });
    rewriter.modifyOpInPlace(kept, [&] { kept.getBody().front().eraseArguments(dead); });
    SmallVector<Value> replacements(op.getNumResults());
    for (auto [i, r] : llvm::enumerate(results))
      replacements[r] = kept.getResult(i);
    for (auto [from, to] : llvm::zip(op.getResults(), replacements))
      if (to)
        rewriter.replaceAllUsesWith(from, to);
    rewriter.eraseOp(op);
    return success();
  }
};
} // namespace

void KernelOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<DropUnused>(context);
}

//===----------------------------------------------------------------------===//
// block, assemble
//===----------------------------------------------------------------------===//

/// block_c1, assemble_c1
static LogicalResult verifyBlockInRow(Operation *op, RankedTensorType row, RankedTensorType block, int64_t offset) {
  if (row.getRank() != 1)
    return op->emitOpError("expects a row of rank 1, got ") << row;
  if (row.getElementType() != block.getElementType())
    return op->emitOpError("element types differ: ") << row << " and " << block;
  if (offset < 0 || offset + block.getNumElements() > row.getNumElements())
    return op->emitOpError("block of ") << block.getNumElements() << " elements at offset " << offset
                                        << " does not lie within a row of " << row.getNumElements();
  return success();
}

LogicalResult BlockOp::verify() {
  for (int64_t offset : getFurther())
    if (failed(verifyBlockInRow(*this, getRow().getType(), getType(), offset)))
      return failure();
  return verifyBlockInRow(*this, getRow().getType(), getType(), getOffset());
}

ArrayRef<int64_t> AssembleOp::getFurther(unsigned block) {
  ArrayRef<int64_t> all = getAlso().value_or(ArrayRef<int64_t>());
  size_t each = all.empty() ? 0 : all.size() / getBlocks().size();
  return all.slice(block * each, each);
}

LogicalResult AssembleOp::verify() {
  if (getOffsets().size() != getBlocks().size())
    return emitOpError("expects one offset for each block, got ") << getOffsets().size() << " and " << getBlocks().size();
  // assemble_c2
  if (size_t count = getAlso() ? getAlso()->size() : 0; count && (getBlocks().empty() || count % getBlocks().size() != 0))
    return emitOpError("expects as many further offsets for each of ") << getBlocks().size() << " blocks, got " << count;
  for (auto [n, block] : llvm::enumerate(getBlocks()))
    for (int64_t offset : llvm::concat<const int64_t>(getOffsets().slice(n, 1), getFurther(n)))
      if (failed(verifyBlockInRow(*this, getType(), cast<RankedTensorType>(block.getType()), offset)))
        return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// coefficients
//===----------------------------------------------------------------------===//

SmallVector<double> CoefficientsOp::getElements() {
  const UnitClebschGordan &factored = unitClebschGordan(getL1(), getL2(), getL3());
  const std::vector<double> &all = clebschGordan(getL1(), getL2(), getL3());
  SmallVector<double> elements(llvm::ArrayRef(getUnit() ? factored.unit : getScales() ? factored.scale : all));
  double scale = getScale().convertToDouble();
  for (double &element : elements)
    element *= scale;
  return elements;
}

LogicalResult CoefficientsOp::verify() {
  // coefficients_c2
  if (getUnit() && getScales())
    return emitOpError("expects unit or scales, got both");
  // coefficients_c1
  int64_t l1 = getL1(), l2 = getL2(), l3 = getL3();
  auto inRange = [](int64_t l) { return 0 <= l && l <= maxL; };
  if (!inRange(l1) || !inRange(l2) || !inRange(l3) || std::abs(l1 - l2) > l3 || l3 > l1 + l2)
    return emitOpError("no coefficients for (") << l1 << ", " << l2 << ", " << l3 << ")";
  SmallVector<int64_t> shape{2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1};
  if (getScales())
    shape = {2 * l3 + 1};
  if (getType().getShape() != ArrayRef<int64_t>(shape)) {
    InFlightDiagnostic diagnostic = emitOpError("expects shape ");
    llvm::interleave(shape, diagnostic, "x");
    return diagnostic << ", got " << getType();
  }
  return success();
}

// ones_c1
LogicalResult OnesOp::verify() {
  if (!getType().hasStaticShape() || !(getType().getElementType().isF32() || getType().getElementType().isF64()))
    return emitOpError("expects a static tensor of f32 or f64, got ") << getType();
  return success();
}

bool espmm::equivariant::isConstantTensor(Operation *op) { return isa_and_nonnull<CoefficientsOp, OnesOp>(op); }

SmallVector<double> espmm::equivariant::getConstantElements(Operation *op) {
  if (auto coefficients = dyn_cast<CoefficientsOp>(op))
    return coefficients.getElements();
  return SmallVector<double>(cast<OnesOp>(op).getType().getNumElements(), 1.0);
}

//===----------------------------------------------------------------------===//
// pairs, pair_sum
//===----------------------------------------------------------------------===//

static LogicalResult verifyPairs(Operation *op, RankedTensorType channels, RankedTensorType pairs) {
  if (channels.getRank() == 0 || pairs.getRank() != channels.getRank() || channels.getElementType() != pairs.getElementType() ||
      channels.getShape().drop_front() != pairs.getShape().drop_front())
    return op->emitOpError("expects types that differ in their first dimension only, got ") << channels << " and " << pairs;
  int64_t m = channels.getDimSize(0);
  if (pairs.getDimSize(0) != m * (m - 1) / 2)
    return op->emitOpError() << m << " channels have " << m * (m - 1) / 2 << " pairs, got " << pairs.getDimSize(0);
  return success();
}

// pairs_c1, pair_sum_c1
LogicalResult PairsOp::verify() { return verifyPairs(*this, getSource().getType(), getType()); }
LogicalResult PairSumOp::verify() { return verifyPairs(*this, getType(), getSource().getType()); }

//===----------------------------------------------------------------------===//
// einsum
//===----------------------------------------------------------------------===//

StringRef EinsumOp::getOperandLetters(unsigned i) {
  StringRef left = getSubscripts().split("->").first;
  for (; i; --i)
    left = left.split(',').second;
  return left.split(',').first;
}

StringRef EinsumOp::getResultLetters() { return getSubscripts().split("->").second; }

LogicalResult EinsumOp::verify() {
  // einsum_c1
  size_t groups = getSubscripts().split("->").first.count(',') + 1;
  if (!getSubscripts().contains("->") || groups != getOperands_().size())
    return emitOpError("expects one group of letters for each of ") << getOperands_().size() << " operands, then '->' and the result's, got \""
                                                                    << getSubscripts() << "\"";
  llvm::DenseMap<char, int64_t> extents;
  auto check = [&](StringRef letters, RankedTensorType type, bool isResult) -> LogicalResult {
    if (static_cast<int64_t>(letters.size()) != type.getRank())
      return emitOpError("'") << letters << "' names " << letters.size() << " dimensions, got " << type;
    llvm::SmallDenseSet<char> seen;
    for (auto [letter, extent] : llvm::zip(letters, type.getShape())) {
      if (!seen.insert(letter).second)
        return emitOpError("letter '") << Twine(letter) << "' occurs twice in '" << letters << "'";
      // einsum_c2
      auto [it, isNew] = extents.try_emplace(letter, extent);
      if (isNew && isResult)
        return emitOpError("letter '") << Twine(letter) << "' of the result does not occur in an operand";
      if (it->second != extent)
        return emitOpError("letter '") << Twine(letter) << "' has extents " << it->second << " and " << extent;
    }
    return success();
  };
  for (auto [i, operand] : llvm::enumerate(getOperands_()))
    if (failed(check(getOperandLetters(i), cast<RankedTensorType>(operand.getType()), false)))
      return failure();
  return check(getResultLetters(), getType(), true);
}
