//===- HostProgram.cpp - the host function of a staged program ------------===//
#include "HostProgram.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "KernelAnalysis.h"
#include "espmm/Dialect/Equivariant/Transforms/Utils.h"
#include <set>

using namespace mlir;
using namespace espmm::equivariant;

//===----------------------------------------------------------------------===//
// IndexBuilder
//===----------------------------------------------------------------------===//

static std::optional<int64_t> getConstant(Value value) {
  if (auto op = value.getDefiningOp<arith::ConstantIntOp>())
    return op.value();
  return std::nullopt;
}

Value IndexBuilder::constant(int64_t value) { return arith::ConstantIntOp::create(builder, loc, value, bits); }

Value IndexBuilder::add(Value a, Value b) {
  auto ca = getConstant(a), cb = getConstant(b);
  if (ca && cb)
    return constant(*ca + *cb);
  if (ca && *ca == 0)
    return b;
  if (cb && *cb == 0)
    return a;
  return arith::AddIOp::create(builder, loc, a, b);
}

Value IndexBuilder::sub(Value a, Value b) {
  auto ca = getConstant(a), cb = getConstant(b);
  if (ca && cb)
    return constant(*ca - *cb);
  if (cb && *cb == 0)
    return a;
  return arith::SubIOp::create(builder, loc, a, b);
}

Value IndexBuilder::mul(Value a, Value b) {
  auto ca = getConstant(a), cb = getConstant(b);
  if (ca && cb)
    return constant(*ca * *cb);
  if (ca && *ca == 1)
    return b;
  if (cb && *cb == 1)
    return a;
  return arith::MulIOp::create(builder, loc, a, b);
}

Value IndexBuilder::floordiv(Value a, int64_t b) {
  return b == 1 ? a : arith::DivUIOp::create(builder, loc, a, constant(b)).getResult();
}

Value IndexBuilder::ceildiv(Value a, Value b) {
  if (getConstant(b) == 1)
    return a;
  return arith::CeilDivUIOp::create(builder, loc, a, b);
}

Value IndexBuilder::min(Value a, Value b) { return arith::MinSIOp::create(builder, loc, a, b); }
Value IndexBuilder::max(Value a, Value b) { return arith::MaxSIOp::create(builder, loc, a, b); }

Value IndexBuilder::isMore(Value a, Value b) { return ceildiv(max(sub(a, b), constant(0)), add(a, 1)); }

Value IndexBuilder::less(Value a, Value b) {
  return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, a, b);
}

Value IndexBuilder::address(Value base, Value index, Type element) {
  if (getConstant(index) == 0)
    return base;
  return LLVM::GEPOp::create(builder, loc, base.getType(), element, base, ArrayRef<LLVM::GEPArg>{index});
}

Value IndexBuilder::loadIndex(Value base, Value index) {
  Type i32 = builder.getI32Type();
  Value narrow = LLVM::LoadOp::create(builder, loc, i32, address(base, index, i32), 4);
  return arith::ExtSIOp::create(builder, loc, builder.getI64Type(), narrow);
}

Value IndexBuilder::loadIndexIfAny(Value base, Value index) {
  Value isAbsent = LLVM::ICmpOp::create(builder, loc, LLVM::ICmpPredicate::eq, base, LLVM::ZeroOp::create(builder, loc, base.getType()));
  auto choice = scf::IfOp::create(builder, loc, builder.getI64Type(), isAbsent, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard insertion(builder);
  builder.setInsertionPointToStart(choice.thenBlock());
  scf::YieldOp::create(builder, loc, index);
  builder.setInsertionPointToStart(choice.elseBlock());
  scf::YieldOp::create(builder, loc, loadIndex(base, index));
  return choice.getResult(0);
}

//===----------------------------------------------------------------------===//
// HostProgram
//===----------------------------------------------------------------------===//

/// The rows of an argument or result are known from how kernels use it.
static std::optional<Access> findAccess(Value tensor) {
  for (OpOperand &use : tensor.getUses())
    if (auto kernel = dyn_cast<KernelOp>(use.getOwner()); kernel && use.getOperandNumber() > 0)
      return kernel.getInputAccess(use.getOperandNumber() - 1);
  if (isa<BlockArgument>(tensor))
    for (Operation *user : tensor.getUsers())
      if (auto convert = dyn_cast<ConvertOp>(user))
        if (auto access = findAccess(convert.getResult()))
          return access;
  // Zeros are all that is made of it. Without a graph there are edges only, and what all of them share.
  if (auto argument = dyn_cast<BlockArgument>(tensor); argument && !tensor.use_empty())
    if (llvm::any_of(argument.getOwner()->getArgumentTypes(), llvm::IsaPred<RowsType>))
      return cast<RankedTensorType>(tensor.getType()).isDynamicDim(0) ? Access::Edge : Access::All;
  if (auto kernel = tensor.getDefiningOp<KernelOp>())
    return kernel.getResultAccess(cast<OpResult>(tensor).getResultNumber());
  if (auto add = tensor.getDefiningOp<AddOp>())
    return findAccess(add.getLhs());
  if (auto convert = tensor.getDefiningOp<ConvertOp>(); convert && convert.getSource().getDefiningOp())
    return findAccess(convert.getSource());
  if (auto zeros = tensor.getDefiningOp<ZerosOp>())
    return findAccess(zeros.getLike());
  return std::nullopt;
}

static StringRef getRowsName(std::optional<Access> access) {
  return !access || *access == Access::Edge ? "edges" : stringifyAccess(*access);
}

static DictionaryAttr describe(OpBuilder &builder, StringRef role, StringRef name, Value tensor) {
  auto type = cast<RankedTensorType>(tensor.getType());
  auto access = findAccess(tensor);
  return builder.getDictionaryAttr(
      {builder.getNamedAttr("equivariant.role", builder.getStringAttr(role)),
       builder.getNamedAttr("equivariant.name", builder.getStringAttr(name)),
       builder.getNamedAttr("equivariant.dtype", TypeAttr::get(type.getElementType())),
       builder.getNamedAttr("equivariant.rows", builder.getStringAttr(getRowsName(access))),
       builder.getNamedAttr("equivariant.width", builder.getI64IntegerAttr(type.getShape().back())),
       builder.getNamedAttr("equivariant.used", builder.getBoolAttr(access.has_value()))});
}

HostProgram::HostProgram(func::FuncOp source)
    : source(source), builder(source), indices(builder, source.getLoc()),
      pointer(LLVM::LLVMPointerType::get(source.getContext())) {
  SmallVector<Type> types(3, builder.getI64Type());
  SmallVector<DictionaryAttr> attributes;
  for (StringRef size : {"E", "R", "S"})
    attributes.push_back(builder.getDictionaryAttr({
        builder.getNamedAttr("equivariant.role", builder.getStringAttr("size")),
        builder.getNamedAttr("equivariant.name", builder.getStringAttr(size))}));
  SmallVector<Value> tensors;
  for (BlockArgument argument : source.getArguments()) {
    if (!isa<RankedTensorType>(argument.getType()))
      continue;
    std::string name = "arg" + std::to_string(numArguments++);
    if (auto given = source.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "equivariant.name"))
      name = given.str();
    types.push_back(pointer);
    attributes.push_back(describe(builder, "argument", name, argument));
    tensors.push_back(argument);
  }
  auto ret = cast<func::ReturnOp>(source.getBody().front().getTerminator());
  for (Value result : ret.getOperands()) {
    types.push_back(pointer);
    attributes.push_back(describe(builder, "result", "result" + std::to_string(numResults++), result));
    tensors.push_back(result);
  }
  host = func::FuncOp::create(builder, source.getLoc(), (source.getName() + "_host").str(),
                              builder.getFunctionType(types, {}));
  host.setAllArgAttrs(attributes);
  Block *block = host.addEntryBlock();
  for (auto [i, tensor] : llvm::enumerate(tensors))
    buffers[tensor] = block->getArgument(3 + i);
  builder.setInsertionPointToStart(block);
}

Value HostProgram::getRows(Access access) {
  switch (access) {
  case Access::Edge: return getSize(E);
  case Access::Receivers: return getSize(R);
  case Access::Senders: return getSize(S);
  case Access::All: return indices.constant(1);
  }
  llvm_unreachable("unknown access");
}

Value HostProgram::getBuffer(Value tensor) {
  Value &buffer = buffers[tensor];
  if (!buffer) {
    // A value between two kernels.
    auto type = cast<RankedTensorType>(tensor.getType());
    int64_t bytes = type.getShape().back() * type.getElementTypeBitWidth() / 8;
    Access rows = *findAccess(tensor);
    buffer = getScratch(indices.mul(getRows(rows), bytes), tensor, rows == Access::Edge ? "by edges" : "by " + stringifyAccess(rows));
  }
  return buffer;
}

Value HostProgram::getSum(Value result) {
  while (result.hasOneUse())
    if (auto add = dyn_cast<AddOp>(*result.getUsers().begin()))
      result = add.getResult();
    else
      break;
  return result;
}

std::pair<Value, int64_t> HostProgram::reserveCopies(Value kernelResult, int64_t count) {
  Value sum = getSum(kernelResult);
  Copies &entry = copies[sum];
  if (!entry.scratch) {
    for (auto kernel : source.getOps<KernelOp>())
      if (llvm::any_of(kernel.getResults(), [&](Value r) { return getSum(r) == sum; })) {
        auto schedule = kernel->getAttrOfType<ScheduleAttr>("schedule");
        entry.total += schedule.getNumUnits();
      }
    auto type = cast<RankedTensorType>(sum.getType());
    int64_t rowBytes = type.getShape().back() * type.getElementTypeBitWidth() / 8;
    Value bytes = indices.mul(getRows(*findAccess(sum)), rowBytes * entry.total);
    entry.scratch = getScratch(bytes, sum, "in parts of its channels");
    fill(entry.scratch, bytes);
  }
  int64_t first = entry.next;
  entry.next += count;
  return {entry.scratch, first};
}

void HostProgram::zeroDestinations() {
  struct Coverage {
    Value result;
    bool isAdded = false;
    std::set<int64_t> offsets;
    int64_t elements = 0;
  };
  llvm::MapVector<Value, Coverage> destinations;
  for (auto kernel : source.getOps<KernelOp>()) {
    KernelAnalysis analysis(kernel);
    bool isNest = needsNests(kernel);
    Access side = chooseGroupSide(kernel);
    for (OpResult result : kernel.getResults()) {
      Coverage &coverage = destinations[getDestination(result)];
      coverage.result = result;
      Access access = kernel.getResultAccess(result.getResultNumber());
      coverage.isAdded |= access != Access::Edge && access != Access::All && access != side;
    }
    for (const Contribution &c : analysis.getContributions()) {
      Coverage &coverage = destinations[getDestination(kernel.getResult(c.result))];
      // Sums over channels are added to by every slab, or summed from copies into all of the row.
      bool isPart = !analysis.hasChannels(c.value) && !isNest;
      bool isCopied = isPart && kernel->getAttrOfType<ScheduleAttr>("schedule").getDeterministic();
      if (isCopied)
        coverage.elements = std::numeric_limits<int64_t>::max() / 2;
      coverage.isAdded |= isPart && !isCopied;
      SmallVector<int64_t> offsets{c.offset};
      llvm::append_range(offsets, c.further);
      for (int64_t offset : offsets)
        if (coverage.offsets.insert(offset).second)
          coverage.elements += cast<RankedTensorType>(c.value.getType()).getNumElements();
    }
  }
  for (auto &[buffer, coverage] : destinations) {
    auto type = cast<RankedTensorType>(coverage.result.getType());
    int64_t width = type.getShape().back();
    if (coverage.isAdded || coverage.elements < width)
      fill(buffer, indices.mul(getRows(*findAccess(coverage.result)), width * type.getElementTypeBitWidth() / 8));
  }
}

Value HostProgram::getPlan(Access side, StringRef array) {
  std::string name = (stringifyAccess(side) + "." + array).str();
  for (auto &[known, argument] : plan)
    if (known == name)
      return host.getArgument(argument);
  // Plan arrays stand between the arguments and the results.
  unsigned position = 3 + numArguments + plan.size();
  auto attributes = builder.getDictionaryAttr({
      builder.getNamedAttr("equivariant.role", builder.getStringAttr("plan")),
      builder.getNamedAttr("equivariant.name", builder.getStringAttr(name))});
  (void)host.insertArgument(position, pointer, attributes, source.getLoc());
  plan.emplace_back(name, position);
  return host.getArgument(position);
}

/// What people know a tensor by: an argument or a result of the program, or the result that a value between kernels becomes.
static std::string describe(func::FuncOp function, Value tensor) {
  if (auto argument = dyn_cast<BlockArgument>(tensor)) {
    auto name = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "equivariant.name");
    return name ? name.str() : "argument " + std::to_string(argument.getArgNumber());
  }
  while (tensor.hasOneUse()) {
    OpOperand &use = *tensor.use_begin();
    if (isa<func::ReturnOp>(use.getOwner()))
      return "result " + std::to_string(use.getOperandNumber());
    if (use.getOwner()->getNumResults() != 1)
      break;
    tensor = use.getOwner()->getResult(0);
  }
  return "a value between kernels";
}

Value HostProgram::getScratch(Value bytes, Value tensor, const Twine &use) {
  return ScratchOp::create(builder, source.getLoc(), pointer, bytes, builder.getStringAttr(describe(source, tensor) + " " + use));
}

void HostProgram::requireAlignment(Value buffer, int64_t bytes) {
  auto argument = dyn_cast<BlockArgument>(buffer);
  if (!argument)
    return;
  auto host = cast<func::FuncOp>(argument.getOwner()->getParentOp());
  auto known = host.getArgAttrOfType<IntegerAttr>(argument.getArgNumber(), "equivariant.align");
  if (!known || known.getInt() < bytes)
    host.setArgAttr(argument.getArgNumber(), "equivariant.align", Builder(host.getContext()).getI64IntegerAttr(bytes));
}

Value HostProgram::countElements(ConvertOp convert) {
  return indices.mul(getRows(*findAccess(convert.getResult())), convert.getType().getShape().back());
}

void HostProgram::fill(Value buffer, Value bytes) { FillOp::create(builder, source.getLoc(), buffer, bytes); }

void HostProgram::launch(StringRef kernel, Value grid, ValueRange operands,
                         std::optional<std::array<int64_t, 3>> block, int64_t shared, Value rows) {
  auto op = LaunchOp::create(builder, source.getLoc(), FlatSymbolRefAttr::get(builder.getContext(), kernel), grid, rows, operands,
                             block ? builder.getDenseI64ArrayAttr(*block) : DenseI64ArrayAttr(),
                             block ? builder.getI64IntegerAttr(shared) : IntegerAttr(), /*overlaps=*/UnitAttr());
  if (DictionaryAttr found = attributesOf.lookup(kernel))
    op->setDiscardableAttrs(found);
}

std::string HostProgram::getKernelName(StringRef suffix) {
  std::string name = (source.getName() + "_" + Twine(numKernels++) + suffix).str();
  if (suffix.empty())
    attributesOf[name] = attributes;
  return name;
}

LogicalResult HostProgram::verify(func::FuncOp source) {
  llvm::SmallDenseSet<Value> returned;
  for (auto [r, value] : llvm::enumerate(source.getBody().front().getTerminator()->getOperands())) {
    if (isa<BlockArgument>(value))
      return source.emitOpError("result ") << r << " is an argument, which has no lowering yet";
    if (!returned.insert(value).second)
      return source.emitOpError("result ") << r << " is an earlier result too, which has no lowering yet";
  }
  for (Operation &op : source.getBody().front().without_terminator()) {
    bool isSum = isa<AddOp>(op) && findAccess(op.getResult(0));
    if (auto zeros = dyn_cast<ZerosOp>(op); zeros && !findAccess(zeros.getResult()))
      return op.emitOpError("stands for as many rows as a value that no kernel uses, which has no lowering yet");
    if (auto convert = dyn_cast<ConvertOp>(op)) {
      bool isOfArgument = isa<BlockArgument>(convert.getSource());
      bool isOfResult = llvm::all_of(op.getUsers(), [](Operation *user) { return isa<func::ReturnOp>(user); });
      if (isOfArgument == isOfResult || !findAccess(convert.getResult()))
        return op.emitOpError("converts neither an argument for a kernel nor a kernel's result, which has no lowering yet");
      continue;
    }
    if (!isa<KernelOp, ZerosOp>(op) && !isSum)
      return op.emitOpError("is outside of a kernel, which has no lowering yet");
  }
  return success();
}

void HostProgram::finish() {
  for (auto zeros : source.getOps<ZerosOp>())
    if (auto type = cast<RankedTensorType>(zeros.getType()); buffers.count(zeros.getResult()))
      fill(buffers[zeros.getResult()],
           indices.mul(getRows(*findAccess(zeros.getResult())), type.getShape().back() * type.getElementTypeBitWidth() / 8));
  func::ReturnOp::create(builder, source.getLoc());
  std::string name = source.getName().str();
  source.erase();
  host.setName(name);
}
