//===- Dialect.cpp - the equivariant dialect ------------------------------===//
#include "espmm/Dialect/Equivariant/IR/Equivariant.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace espmm::equivariant;

#include "espmm/Dialect/Equivariant/IR/Dialect.cpp.inc"
#include "espmm/Dialect/Equivariant/IR/Enums.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "espmm/Dialect/Equivariant/IR/Types.cpp.inc"

void EquivariantDialect::initialize() {
  registerAttributes();
  addTypes<
#define GET_TYPEDEF_LIST
#include "espmm/Dialect/Equivariant/IR/Types.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "espmm/Dialect/Equivariant/IR/Ops.cpp.inc"
      >();
}

bool EquivariantDialect::isTargetName(StringRef name) {
  if (name == "cpu")
    return true;
  if (!name.consume_front("cuda:sm_"))
    return false;
  StringRef number = name.take_while(llvm::isDigit);
  return !number.empty() && (name.size() == number.size() || (name.size() == number.size() + 1 && llvm::isAlpha(name.back())));
}

static bool isDictionaryOfIntegers(Attribute attribute) {
  auto dictionary = dyn_cast<DictionaryAttr>(attribute);
  return dictionary && llvm::all_of(dictionary, [](NamedAttribute entry) { return isa<IntegerAttr>(entry.getValue()); });
}

LogicalResult EquivariantDialect::verifyOperationAttribute(Operation *op, NamedAttribute attribute) {
  StringRef name = attribute.getName();
  Attribute value = attribute.getValue();
  // dialect_c1
  if (name == targetAttrName) {
    auto text = dyn_cast<StringAttr>(value);
    if (!text || !isTargetName(text.getValue()))
      return op->emitOpError("expects '") << name << "' to be \"cpu\" or \"cuda:sm_NUMBER\", got " << value;
  }
  // dialect_c2
  if (name == statisticsAttrName) {
    auto passes = dyn_cast<DictionaryAttr>(value);
    if (!passes || !llvm::all_of(passes, [](NamedAttribute pass) { return isDictionaryOfIntegers(pass.getValue()); }))
      return op->emitOpError("expects '") << name << "' to be a dictionary of dictionaries of integers, got " << value;
  }
  if ((name == targetAttrName || name == statisticsAttrName) && !isa<ModuleOp>(op))
    return op->emitOpError("has '") << name << "', which belongs to a module";
  // dialect_c3
  if (name == costAttrName) {
    if (!isDictionaryOfIntegers(value))
      return op->emitOpError("expects '") << name << "' to be a dictionary of integers, got " << value;
    if (!isa<LaunchOp>(op))
      return op->emitOpError("has '") << name << "', which belongs to a launch";
  }
  // dialect_c4
  if (name == choicesAttrName) {
    auto sentences = dyn_cast<ArrayAttr>(value);
    if (!sentences || !llvm::all_of(sentences, llvm::IsaPred<StringAttr>))
      return op->emitOpError("expects '") << name << "' to be an array of strings, got " << value;
    if (!isa<LaunchOp>(op))
      return op->emitOpError("has '") << name << "', which belongs to a launch";
  }
  return success();
}
