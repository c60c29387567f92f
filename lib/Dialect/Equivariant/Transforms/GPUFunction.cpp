//===- GPUFunction.cpp - device kernels being written ---------------------===//
#include "GPUFunction.h"
#include "SharedRows.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace espmm::equivariant;

/// What a multiprocessor has, of every chip since sm_80.
static constexpr int64_t registersOfMultiprocessor = 65536;

GPUFunction::GPUFunction(HostProgram &host, KernelOp source, int64_t warps, StringRef suffix)
    : host(host), builder(source->getParentOfType<func::FuncOp>()), ix(builder, source.getLoc()), loc(source.getLoc()),
      global(LLVM::LLVMPointerType::get(source.getContext(), 1)), shared(LLVM::LLVMPointerType::get(source.getContext(), 3)),
      warps(warps), name(host.getKernelName(suffix)) {
  auto module = source->getParentOfType<ModuleOp>();
  if (!module.lookupSymbol("espmm_shared")) {
    auto array = LLVM::LLVMArrayType::get(builder.getI8Type(), 0);
    LLVM::GlobalOp::create(builder, loc, array, /*isConstant=*/false, LLVM::Linkage::External, "espmm_shared", Attribute(),
                           /*alignment=*/16, /*addrSpace=*/3);
  }
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(source.getContext()), {});
  function = LLVM::LLVMFuncOp::create(builder, loc, name, type);
  entry = builder.createBlock(&function.getBody());
  builder.setInsertionPointToStart(entry);
  Type i32 = builder.getI32Type(), i64 = builder.getI64Type();
  lane = arith::ExtUIOp::create(builder, loc, i64, NVVM::ThreadIdXOp::create(builder, loc, i32));
  // Addresses in shared memory begin with a register of the lane's own: ptxas 13.0 gives asynchronous copies that have a cache policy
  // a uniform register besides, which no multiprocessor executes.
  Value y = NVVM::ThreadIdYOp::create(builder, loc, i32);
  row = arith::ExtUIOp::create(builder, loc, i64, y);
  warp = ix.constant(0);
  thread = lane;
  if (warps > 1) {
    // Through a shuffle, so that the assembler knows that all lanes have the same, and keeps what follows from it in uniform registers.
    auto constant = [&](int32_t value) { return LLVM::ConstantOp::create(builder, loc, i32, builder.getI32IntegerAttr(value)); };
    Value same = NVVM::ShflOp::create(builder, loc, i32, constant(-1), y, constant(0), constant(31), NVVM::ShflKind::idx, UnitAttr());
    warp = arith::ExtUIOp::create(builder, loc, i64, same);
    thread = ix.add(ix.mul(warp, warpSize), lane);
  }
  block = arith::ExtUIOp::create(builder, loc, i64, NVVM::BlockIdXOp::create(builder, loc, i32));
  sharedBase = LLVM::AddressOfOp::create(builder, loc, shared, "espmm_shared");
}

Value GPUFunction::getArgument(Value hostValue, bool readOnly) {
  Value &value = arguments[hostValue];
  if (!value) {
    operands.push_back(hostValue);
    value = entry->addArgument(isa<LLVM::LLVMPointerType>(hostValue.getType()) ? Type(global) : hostValue.getType(), loc);
    readOnlyArguments.push_back(readOnly);
  }
  return value;
}

scf::IfOp GPUFunction::guard(Value condition, TypeRange types) {
  auto op = scf::IfOp::create(builder, loc, types, condition, /*withElseRegion=*/!types.empty());
  builder.setInsertionPointToStart(op.thenBlock());
  return op;
}

void GPUFunction::syncWarp() {
  Value all = LLVM::ConstantOp::create(builder, loc, builder.getI32Type(), builder.getI32IntegerAttr(-1));
  NVVM::SyncWarpOp::create(builder, loc, all);
}

void GPUFunction::syncBlock() { NVVM::BarrierOp::create(builder, loc); }

std::pair<Value, Value> GPUFunction::addCompensated(Value sum, Value lost, Value value) {
  Value exact = LLVM::FSubOp::create(builder, loc, value, lost);
  Value total = LLVM::FAddOp::create(builder, loc, sum, exact);
  Value added = LLVM::FSubOp::create(builder, loc, total, sum);
  return {total, LLVM::FSubOp::create(builder, loc, added, exact)};
}

void GPUFunction::launch(Value grid, Value rows, int64_t sharedBytes, int64_t registers) {
  builder.setInsertionPointToEnd(entry);
  LLVM::ReturnOp::create(builder, loc, ValueRange());
  SmallVector<Type> types(entry->getArgumentTypes());
  function.setFunctionType(LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(function.getContext()), types));
  function->setAttr("nvvm.kernel", builder.getUnitAttr());
  function->setAttr("nvvm.maxntid", builder.getDenseI32ArrayAttr({warpSize, static_cast<int32_t>(warps), 1}));
  if (registers) {
    // Registers are given to a warp in units of 8 a thread.
    int64_t blocks = registersOfMultiprocessor / ((registers + 7) / 8 * 8 * warpSize * warps);
    function->setAttr("nvvm.minctasm", builder.getI32IntegerAttr(std::max<int64_t>(blocks, 1)));
  }
  for (auto [i, type] : llvm::enumerate(types))
    if (isa<LLVM::LLVMPointerType>(type)) {
      function.setArgAttr(i, "llvm.noalias", builder.getUnitAttr());
      if (readOnlyArguments[i])
        function.setArgAttr(i, "llvm.readonly", builder.getUnitAttr());
    }
  host.launch(name, grid, operands, std::array<int64_t, 3>{warpSize, warps, 1}, sharedBytes, rows);
}

FlatKernel espmm::equivariant::beginFlatKernel(OpBuilder &builder, IndexBuilder &ix, StringRef name, ArrayRef<Type> arguments) {
  Type i32 = builder.getI32Type(), i64 = builder.getI64Type();
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(builder.getContext()), arguments);
  auto function = LLVM::LLVMFuncOp::create(builder, ix.loc, name, type);
  function->setAttr("nvvm.kernel", builder.getUnitAttr());
  function->setAttr("nvvm.maxntid", builder.getDenseI32ArrayAttr({FlatKernel::threads, 1, 1}));
  builder.setInsertionPointToStart(function.addEntryBlock(builder));
  Value block = arith::ExtUIOp::create(builder, ix.loc, i64, NVVM::BlockIdXOp::create(builder, ix.loc, i32));
  Value thread = arith::ExtUIOp::create(builder, ix.loc, i64, NVVM::ThreadIdXOp::create(builder, ix.loc, i32));
  return {function, ix.add(ix.mul(block, FlatKernel::threads), thread)};
}

void espmm::equivariant::launchForEachElement(HostProgram &host, func::FuncOp source, StringRef suffix, std::array<Value, 2> buffers, Value count,
                                              llvm::function_ref<void(OpBuilder &, IndexBuilder &, ValueRange, Value)> body) {
  Location loc = source.getLoc();
  OpBuilder builder(source);
  IndexBuilder ix(builder, loc), &h = host.index();
  Type global = LLVM::LLVMPointerType::get(source.getContext(), 1);
  std::string name = host.getKernelName(suffix);
  auto [function, position] = beginFlatKernel(builder, ix, name, {global, global, builder.getI64Type()});
  Block &entry = function.getBody().front();
  auto inside = scf::IfOp::create(builder, loc, ix.less(position, entry.getArgument(2)), /*withElseRegion=*/false);
  LLVM::ReturnOp::create(builder, loc, ValueRange());
  builder.setInsertionPointToStart(inside.thenBlock());
  body(builder, ix, entry.getArguments(), position);
  host.launch(name, h.ceildiv(count, h.constant(FlatKernel::threads)), {buffers[0], buffers[1], count}, std::array<int64_t, 3>{FlatKernel::threads, 1, 1});
}
