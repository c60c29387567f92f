//===- StageConverts.cpp - converts as kernels of their own ---------------===//
#include "CPUFunction.h"
#include "GPUFunction.h"
#include "Stage.h"
#include "espmm/Dialect/Equivariant/Transforms/Storage.h"

using namespace mlir;
using namespace espmm::equivariant;

namespace {

/// Element types of a convert: in memory before and after, and of arithmetic.
struct Elements {
  explicit Elements(ConvertOp convert)
      : from(convert.getSource().getType().getElementType()), to(convert.getType().getElementType()), arithmetic(getArithmeticType(from)) {}
  Type from, to, arithmetic;
};

/// Converts what is at one position: elements of a type.
void convertAt(OpBuilder &builder, IndexBuilder &ix, Location loc, const Elements &elements, Type type, Value from, Value to, Value position) {
  Type narrow = getMemoryType(type, elements.from);
  auto bytes = [](Type element) { return element.getIntOrFloatBitWidth() / 8; };
  Value loaded = LLVM::LoadOp::create(builder, loc, narrow, ix.address(from, position, elements.from), bytes(elements.from));
  Value value = extendStored(builder, loc, loaded, type, elements.from);
  LLVM::StoreOp::create(builder, loc, roundToStored(builder, loc, value, elements.to), ix.address(to, position, elements.to), bytes(elements.to));
}

} // namespace

void espmm::equivariant::stageConvertForCPU(HostProgram &host, ConvertOp convert, int64_t lanes) {
  constexpr int64_t vectorsOfTask = 1024;
  int64_t ofTask = vectorsOfTask * lanes;
  Elements elements(convert);
  Value count = host.countElements(convert);
  CPUFunction f(host, convert, elements.arithmetic, "_convert");
  IndexBuilder &ix = f.ix;
  Value from = f.getArgument(host.getBuffer(convert.getSource())), to = f.getArgument(host.getBuffer(convert.getResult()));
  Value first = ix.mul(f.task, ofTask), last = ix.min(ix.add(first, ofTask), f.getArgument(count));
  Value whole = ix.add(first, ix.mul(ix.floordiv(ix.sub(last, first), lanes), lanes));
  OpBuilder::InsertPoint tail = f.builder.saveInsertionPoint();
  scf::ForOp vectors = f.loop(first, whole, ix.constant(lanes));
  convertAt(f.builder, ix, f.loc, elements, VectorType::get({lanes}, elements.arithmetic), from, to, vectors.getInductionVar());
  f.builder.restoreInsertionPoint(tail);
  f.builder.setInsertionPointAfter(vectors);
  convertAt(f.builder, ix, f.loc, elements, elements.arithmetic, from, to, f.loop(whole, last, ix.constant(1)).getInductionVar());
  f.launch(host.index().ceildiv(count, host.index().constant(ofTask)));
}

// A thread an element.
void espmm::equivariant::stageConvertForGPU(HostProgram &host, ConvertOp convert) {
  Elements elements(convert);
  Value count = host.countElements(convert);
  launchForEachElement(host, convert->getParentOfType<func::FuncOp>(), "_convert", {host.getBuffer(convert.getSource()), host.getBuffer(convert.getResult())}, count,
                       [&](OpBuilder &builder, IndexBuilder &ix, ValueRange arguments, Value position) {
                         convertAt(builder, ix, convert.getLoc(), elements, elements.arithmetic, arguments[0], arguments[1], position);
                       });
}
