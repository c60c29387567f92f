//===- CPUFunction.cpp - host kernels being written -----------------------===//
#include "CPUFunction.h"
#include "espmm/Dialect/Equivariant/Transforms/Storage.h"
#include "KernelAnalysis.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace espmm::equivariant;

//===----------------------------------------------------------------------===//
// ComponentOrder
//===----------------------------------------------------------------------===//

int64_t ComponentOrder::getOffset(size_t block) const {
  int64_t offset = 0;
  for (const MulIrrep &ir : irreps.getBlocks().take_front(block))
    offset += pad(ir.mul) * ir.irDim();
  return offset;
}

bool ComponentOrder::isDirect() const {
  return llvm::all_of(irreps.getBlocks(), [&](const MulIrrep &ir) {
    return ir.mul % vector == 0 && (irreps.getLayout() == Layout::IrMul || ir.irDim() == 1);
  });
}

size_t ComponentOrder::findBlock(int64_t offset, int64_t size) const {
  for (size_t b = 0; b < irreps.getBlocks().size(); ++b)
    if (irreps.getOffset(b) == offset && irreps.getBlocks()[b].dim() == size)
      return b;
  llvm_unreachable("a block op that is no block of its row's irreps");
}

//===----------------------------------------------------------------------===//
// CPUFunction
//===----------------------------------------------------------------------===//

CPUFunction::CPUFunction(HostProgram &host, Operation *source, Type element, StringRef suffix)
    : host(host), builder(source->getParentOfType<func::FuncOp>()), ix(builder, source->getLoc()), loc(source->getLoc()),
      element(element), name(host.getKernelName(suffix)) {
  auto pointer = LLVM::LLVMPointerType::get(source->getContext());
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(source->getContext()), {pointer, builder.getI64Type()});
  function = LLVM::LLVMFuncOp::create(builder, loc, name, type);
  entry = function.addEntryBlock(builder);
  builder.setInsertionPointToStart(entry);
  task = entry->getArgument(1);
}

Value CPUFunction::getArgument(Value hostValue) {
  Value &value = arguments[hostValue];
  if (!value) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(entry);
    unsigned n = operands.size();
    operands.push_back(hostValue);
    Value address = LLVM::GEPOp::create(builder, loc, entry->getArgument(0).getType(), builder.getI64Type(),
                                        entry->getArgument(0), ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(n)});
    value = LLVM::LoadOp::create(builder, loc, hostValue.getType(), address, 8);
  }
  return value;
}

Value CPUFunction::makeEarly(int64_t number) {
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(entry);
  return arith::ConstantIntOp::create(builder, loc, number, 64);
}

Value CPUFunction::allocate(int64_t count) { return allocate(makeEarly(count)); }

Value CPUFunction::allocate(Value count) {
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointAfterValue(count);
  return LLVM::AllocaOp::create(builder, loc, LLVM::LLVMPointerType::get(builder.getContext()), element, count, /*alignment=*/64);
}

scf::ForOp CPUFunction::loop(Value begin, Value end, Value step, ValueRange inits) {
  auto result = scf::ForOp::create(builder, loc, begin, end, step, inits);
  if (inits.empty())
    builder.setInsertionPoint(result.getBody()->getTerminator());
  else
    builder.setInsertionPointToEnd(result.getBody());
  return result;
}

Value CPUFunction::getMask(Value left, int64_t lanes) {
  if (std::optional<int64_t> count = getConstantIntValue(left)) {
    auto mask = llvm::map_to_vector(llvm::seq<int64_t>(0, lanes), [&](int64_t lane) { return lane < *count; });
    return arith::ConstantOp::create(builder, loc, DenseElementsAttr::get(VectorType::get({lanes}, builder.getI1Type()), ArrayRef<bool>(mask)));
  }
  auto type = VectorType::get({lanes}, builder.getI64Type());
  SmallVector<int64_t> iota = llvm::to_vector(llvm::seq<int64_t>(0, lanes));
  Value lane = arith::ConstantOp::create(builder, loc, DenseElementsAttr::get(type, ArrayRef<int64_t>(iota)));
  Value zero = LLVM::ConstantOp::create(builder, loc, builder.getI32Type(), builder.getI32IntegerAttr(0));
  Value poison = LLVM::PoisonOp::create(builder, loc, type);
  Value first = LLVM::InsertElementOp::create(builder, loc, poison, left, zero);
  Value splat = LLVM::ShuffleVectorOp::create(builder, loc, first, poison, SmallVector<int32_t>(lanes, 0));
  return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, lane, splat);
}

std::pair<Value, Value> CPUFunction::addCompensated(Value sum, Value lost, Value value) {
  Value exact = LLVM::FSubOp::create(builder, loc, value, lost);
  Value next = LLVM::FAddOp::create(builder, loc, sum, exact);
  Value added = LLVM::FSubOp::create(builder, loc, next, sum);
  return {next, LLVM::FSubOp::create(builder, loc, added, exact)};
}

void CPUFunction::fillWithZeros(Value buffer, Value count, Type stored) {
  Value zero = LLVM::ConstantOp::create(builder, loc, builder.getI8IntegerAttr(0));
  LLVM::MemsetOp::create(builder, loc, buffer, zero, ix.mul(count, stored.getIntOrFloatBitWidth() / 8),
                         /*isVolatile=*/false);
}

void CPUFunction::launch(Value grid) {
  builder.setInsertionPointToEnd(&function.getBody().back());
  LLVM::ReturnOp::create(builder, loc, ValueRange());
  host.launch(name, grid, operands);
}

//===----------------------------------------------------------------------===//
// Kernels that move rows
//===----------------------------------------------------------------------===//

static constexpr int64_t rowsOfTask = 16;

/// What is computed with for a tensor's elements.
static Type getElementType(Value tensor) { return getArithmeticType(getStoredElement(tensor)); }

/// A loop over a task's rows.
static Value loopOverRows(CPUFunction &f, Value rows) {
  Value first = f.ix.mul(f.task, rowsOfTask), last = f.ix.min(f.ix.add(first, rowsOfTask), f.getArgument(rows));
  return f.loop(first, last, f.ix.constant(1)).getInductionVar();
}

Value espmm::equivariant::launchToComponents(HostProgram &host, KernelOp source, Value tensor, Value rows,
                                             ComponentOrder order) {
  IndexBuilder &h = host.index();
  Type element = getElementType(tensor);
  Value scratch = host.getScratch(h.mul(rows, order.getSize() * element.getIntOrFloatBitWidth() / 8), tensor, "by components");
  CPUFunction f(host, source, element, "_rows");
  Value from = f.getArgument(host.getBuffer(tensor)), to = f.getArgument(scratch);
  Value row = loopOverRows(f, rows);
  RelayoutOp::create(f.builder, f.loc, f.getRowPointer(from, row, getWidth(tensor), getStoredElement(tensor)), f.getRowPointer(to, row, order.getSize()),
                     /*scatter=*/false, order.irreps, DenseI64ArrayAttr(), order.vector, element, getStored(tensor));
  f.launch(h.ceildiv(rows, h.constant(rowsOfTask)));
  return scratch;
}

void espmm::equivariant::launchSumOfCopies(HostProgram &host, KernelOp source, Value result, Value scratch, Value copies,
                                           Value rows, ComponentOrder order) {
  Type element = getElementType(result);
  CPUFunction f(host, source, element, "_sum");
  OpBuilder &builder = f.builder;
  IndexBuilder &ix = f.ix;
  Value count = f.getArgument(copies), base = f.getArgument(scratch), target = f.getArgument(host.getBuffer(result));
  Value numRows = f.getArgument(rows), buffer = f.allocate(order.getSize());
  Value row = loopOverRows(f, rows);
  OpBuilder::InsertPoint afterVectors = builder.saveInsertionPoint();
  auto laneTensor = RankedTensorType::get({}, VectorType::get({order.vector}, element));
  Value channel = f.loop(ix.constant(0), ix.constant(order.getSize()), ix.constant(order.vector)).getInductionVar();
  OpBuilder::InsertPoint afterCopies = builder.saveInsertionPoint();
  auto copyLoop = f.loop(ix.constant(0), count, ix.constant(1), ValueRange{ZeroOp::create(builder, f.loc, laneTensor)});
  Value copy = ix.add(ix.mul(copyLoop.getInductionVar(), numRows), row);
  Value value = ReadOp::create(builder, f.loc, laneTensor, f.getRowPointer(base, copy, order.getSize()), channel, Value(), 0, 1,
                               ArrayRef<int64_t>{});
  scf::YieldOp::create(builder, f.loc, ValueRange{AddOp::create(builder, f.loc, copyLoop.getRegionIterArg(0), value)});
  builder.restoreInsertionPoint(afterCopies);
  builder.setInsertionPointAfter(copyLoop);
  WriteOp::create(builder, f.loc, copyLoop.getResult(0), buffer, channel, Value(), 0, 1, ArrayRef<int64_t>{}, false, false);
  builder.restoreInsertionPoint(afterVectors);
  RelayoutOp::create(builder, f.loc, buffer, f.getRowPointer(target, row, getWidth(result), getStoredElement(result)), /*scatter=*/true, order.irreps,
                     DenseI64ArrayAttr(), order.vector, element, getStored(result));
  IndexBuilder &h = host.index();
  f.launch(h.ceildiv(rows, h.constant(rowsOfTask)));
}

void espmm::equivariant::launchSumOfShares(HostProgram &host, KernelOp source, Value result, Value scratch, Value tasks, int64_t stride,
                                           int64_t rows, int64_t lanes) {
  Type element = getElementType(result);
  CPUFunction f(host, source, element, "_sum");
  OpBuilder &builder = f.builder;
  IndexBuilder &ix = f.ix;
  int64_t width = getWidth(result), ofTask = 64 * lanes;
  Value count = f.getArgument(tasks), base = f.getArgument(scratch), target = f.getArgument(host.getBuffer(result));
  Value first = ix.mul(f.task, ofTask), last = ix.min(ix.add(first, ofTask), ix.constant(width));
  auto vector = VectorType::get({lanes}, element);
  unsigned alignment = element.getIntOrFloatBitWidth() / 8;
  Value at = f.loop(first, last, ix.constant(lanes)).getInductionVar();
  Value mask = width % lanes ? f.getTailMask(at, width, lanes) : Value();
  OpBuilder::InsertPoint afterShares = builder.saveInsertionPoint();
  Value zero = LLVM::ConstantOp::create(builder, f.loc, vector, DenseElementsAttr::get(vector, cast<Attribute>(FloatAttr::get(element, 0.0))));
  auto shares = f.loop(ix.constant(0), count, ix.constant(1), ValueRange{zero, zero});
  Value share = f.getRowPointer(base, shares.getInductionVar(), rows * stride);
  auto load = [&](Value position) { return LLVM::LoadOp::create(builder, f.loc, vector, ix.address(share, position, element), alignment); };
  Value lost = LLVM::FAddOp::create(builder, f.loc, shares.getRegionIterArg(1), load(ix.add(at, stride)));
  auto [sum, next] = f.addCompensated(shares.getRegionIterArg(0), lost, load(at));
  scf::YieldOp::create(builder, f.loc, ValueRange{sum, next});
  builder.restoreInsertionPoint(afterShares);
  builder.setInsertionPointAfter(shares);
  Value address = ix.address(target, at, element);
  if (mask)
    storeMasked(builder, f.loc, shares.getResult(0), address, mask, alignment);
  else
    LLVM::StoreOp::create(builder, f.loc, shares.getResult(0), address, alignment);
  f.launch(host.index().constant((width + ofTask - 1) / ofTask));
}
