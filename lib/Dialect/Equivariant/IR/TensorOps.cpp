//===- TensorOps.cpp - level 0: syntax and constraints --------------------===//
#include "espmm/Dialect/Equivariant/IR/Equivariant.h"
#include "mlir/IR/OpImplementation.h"

using namespace mlir;
using namespace espmm::equivariant;

//===----------------------------------------------------------------------===//
// gather, segment_sum
//===----------------------------------------------------------------------===//

/// What gather and segment_sum have in common: a side of a space, and tensors that differ in rows only. `nodes` is the
/// one of the two whose rows belong to the side.
static LogicalResult verifyMove(Operation *op, Value space, Access side, RankedTensorType source,
                                RankedTensorType result, RankedTensorType nodes) {
  // gather_c1, segment_sum_c1
  if (side == Access::Edge)
    return op->emitOpError("expects a side of the index space, got 'edge'");
  if (isa<RowsType>(space.getType()) && side != Access::All)
    return op->emitOpError("expects side 'all' on !equivariant.rows, got '") << stringifyAccess(side) << "'";
  // gather_c2, segment_sum_c2
  if (source.getRank() < 1 || source.getRank() != result.getRank() ||
      source.getShape().drop_front() != result.getShape().drop_front() ||
      source.getElementType() != result.getElementType() || source.getEncoding() != result.getEncoding())
    return op->emitOpError("operand and result may differ in their number of rows only, got ")
           << source << " and " << result;
  // gather_c3, segment_sum_c3
  if (side == Access::All && nodes.getDimSize(0) != 1)
    return op->emitOpError("expects one row at 'all', got ") << nodes;
  return success();
}

LogicalResult GatherOp::verify() {
  RankedTensorType source = getSource().getType();
  return verifyMove(*this, getSpace(), getSide(), source, getType(), /*nodes=*/source);
}

LogicalResult SegmentSumOp::verify() {
  return verifyMove(*this, getSpace(), getSide(), getSource().getType(), getType(), /*nodes=*/getType());
}

//===----------------------------------------------------------------------===//
// zeros
//===----------------------------------------------------------------------===//

LogicalResult ZerosOp::verify() {
  RankedTensorType like = getLike().getType(), result = getType();
  // zeros_c1
  if (like.getRank() != result.getRank())
    return emitOpError("expects a result of rank ") << like.getRank() << " as its operand's, got " << result;
  if (result.getRank() > 1 && like.getDimSize(0) != result.getDimSize(0))
    return emitOpError("expects as many rows as its operand has, got ") << like << " and " << result;
  // zeros_c2
  if (ShapedType::isDynamicShape(result.getShape().drop_front(result.getRank() > 1 ? 1 : 0)))
    return emitOpError("expects static dimensions but for the rows, got ") << result;
  return success();
}

//===----------------------------------------------------------------------===//
// convert
//===----------------------------------------------------------------------===//

LogicalResult ConvertOp::verify() {
  RankedTensorType source = getSource().getType(), result = getType();
  // convert_c1
  if (source.getShape() != result.getShape() || source.getEncoding() != result.getEncoding())
    return emitOpError("operand and result may differ in their element types only, got ") << source << " and " << result;
  // convert_c2
  Type from = source.getElementType(), to = result.getElementType();
  if (!(isNarrow(from) && to.isF32()) && !(isNarrow(to) && from.isF32()))
    return emitOpError("expects elements of f32 on one side, and of bf16 or f16 on the other, got ") << from << " and " << to;
  return success();
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

/// contract_c2 to contract_c5 for one slot.
static LogicalResult verifySlot(ContractOp op, Slot slot, RankedTensorType type) {
  ProductAttr product = op.getProduct();
  auto name = stringifySlot(slot);
  RankedTensorType result = op.getType();
  // contract_c4
  if (type.getRank() != result.getRank() || (type.getRank() != 1 && type.getRank() != 2))
    return op.emitOpError("expects tensors of rank 2, or of rank 1 inside a kernel, got ")
           << type << " for " << name << " and the result " << result;
  if (type.getElementType() != result.getElementType())
    return op.emitOpError("expects one element type, got ") << type << " for " << name << " and the result " << result;
  // contract_c5
  if (type.getRank() == 2 && type.getDimSize(0) != result.getDimSize(0))
    return op.emitOpError("expects one number of rows, got ") << type << " for " << name << " and the result " << result;
  // contract_c2
  if (type.getShape().back() != product.getDim(slot))
    return op.emitOpError("expects dimension ") << product.getDim(slot) << " for " << name << ", got " << type;
  // contract_c3
  if (slot == Slot::W) {
    if (type.getEncoding())
      return op.emitOpError("expects weights without an encoding, got ") << type;
    return success();
  }
  auto irreps = dyn_cast_or_null<IrrepsAttr>(type.getEncoding());
  if (!irreps || irreps.getBlocks() != product.getIrreps(slot))
    return op.emitOpError("expects irreps ") << printIrreps(product.getIrreps(slot)) << " for " << name << ", got " << type;
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
        return emitOpError("expects ") << stringifySlot(s) << " unbound, because it is the result";
      if (!exists)
        return emitOpError("contracts to w, but the product has no weights");
      if (failed(verifySlot(*this, s, getType())))
        return failure();
      continue;
    }
    if (exists && !bound)
      return emitOpError("expects ") << stringifySlot(s) << " to be bound";
    if (!exists && bound)
      return emitOpError("expects w unbound, because the product has no weights");
    if (bound && failed(verifySlot(*this, s, cast<RankedTensorType>(bound.getType()))))
      return failure();
  }
  return success();
}
