//===- Codegen.cpp - LLVM's back ends in process --------------------------===//
#include "espmm/Target/Codegen.h"
#include "espmm/Dialect/Equivariant/Transforms/Passes.h"
#include "espmm/Dialect/Equivariant/Transforms/Storage.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/CodeGen/Passes.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include <mutex>

using namespace mlir;
using namespace espmm::equivariant;

extern "C" {
void LLVMInitializeNVPTXTargetInfo();
void LLVMInitializeNVPTXTarget();
void LLVMInitializeNVPTXTargetMC();
void LLVMInitializeNVPTXAsmPrinter();
}

static void initializeTargets() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
  });
}

FailureOr<std::string> espmm::getTarget(ModuleOp module) {
  auto target = module->getAttrOfType<StringAttr>(EquivariantDialect::targetAttrName);
  if (!target)
    return emitError(module.getLoc(), "expects a module with '")
           << EquivariantDialect::targetAttrName << "', got none; run equivariant-to-cpu or equivariant-to-gpu first";
  return target.str();
}

/// Device functions are in the LLVM dialect, and nothing of a tensor program is left.
static LogicalResult checkLevel(ModuleOp module) {
  auto isLowered = [](Operation *op) {
    if (op->getParentOfType<LLVM::LLVMFuncOp>())
      return isa<LLVM::LLVMDialect, NVVM::NVVMDialect>(op->getDialect());
    return !isa<KernelOp, GatherOp, SegmentSumOp, ContractOp>(op);
  };
  WalkResult result = module.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (isLowered(op))
      return WalkResult::advance();
    op->emitOpError("is not of the last level; run equivariant-to-cpu or equivariant-to-gpu first");
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}

/// The device functions of a module as LLVM IR; null after an error.
static std::unique_ptr<llvm::Module> translate(ModuleOp module, llvm::LLVMContext &context) {
  if (failed(checkLevel(module)))
    return nullptr;
  OwningOpRef<ModuleOp> device = module.clone();
  for (auto host : llvm::make_early_inc_range(device->getOps<func::FuncOp>()))
    host.erase();
  return translateModuleToLLVMIR(*device, context, "espmm");
}

/// LLVM's passes but machine sinking. Our loops end in a few branches that a lane takes or not; sinking moves each multiply-add whose
/// sum only the next iteration reads past them, to the loop's end, and all that it reads has to stay in registers until there.
class PassesWithoutSinking : public llvm::legacy::PassManager {
public:
  void add(llvm::Pass *pass) override {
    if (pass->getPassID() == &llvm::MachineSinkingLegacyID)
      delete pass;
    else
      PassManager::add(pass);
  }
};

static FailureOr<std::string> emit(ModuleOp source, llvm::Module &module, llvm::TargetMachine &machine, espmm::CodeKind kind) {
  if (kind == espmm::CodeKind::LLVMIR) {
    std::string text;
    llvm::raw_string_ostream os(text);
    module.print(os, nullptr);
    return text;
  }
  llvm::SmallString<0> code;
  llvm::raw_svector_ostream os(code);
  PassesWithoutSinking passes;
  auto type = kind == espmm::CodeKind::Object ? llvm::CodeGenFileType::ObjectFile : llvm::CodeGenFileType::AssemblyFile;
  if (machine.addPassesToEmitFile(passes, os, nullptr, type))
    return emitError(source.getLoc(), "expects a target that LLVM emits files for, got ") << machine.getTargetTriple().str();
  passes.run(module);
  return std::string(code);
}

/// The machine to compile for, which the module is told of; null after an error.
static std::unique_ptr<llvm::TargetMachine> createMachine(ModuleOp source, llvm::Module &module, const llvm::Triple &triple,
                                                          StringRef cpu, StringRef features) {
  initializeTargets();
  std::string error;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target) {
    emitError(source.getLoc()) << error;
    return nullptr;
  }
  // LLVM itself only warns of a processor that it does not know.
  std::unique_ptr<llvm::MCSubtargetInfo> known(target->createMCSubtargetInfo(triple, "", ""));
  if (!known->isCPUStringValid(cpu)) {
    emitError(source.getLoc(), "expects a processor that LLVM " LLVM_VERSION_STRING " knows, got '") << cpu << "'";
    return nullptr;
  }
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard;
  std::unique_ptr<llvm::TargetMachine> machine(target->createTargetMachine(
      triple, cpu, features, options, llvm::Reloc::PIC_, std::nullopt, llvm::CodeGenOptLevel::Default));
  module.setTargetTriple(triple);
  module.setDataLayout(machine->createDataLayout());
  return machine;
}

/// True if something is converted to or from f16.
static bool convertsHalves(ModuleOp module) {
  auto isHalf = [](Type type) { return getScalarType(type).isF16(); };
  WalkResult result = module.walk([&](Operation *op) {
    bool converts = isa<LLVM::FPExtOp, LLVM::FPTruncOp>(op) && (isHalf(op->getOperand(0).getType()) || isHalf(op->getResult(0).getType()));
    return converts ? WalkResult::interrupt() : WalkResult::advance();
  });
  return result.wasInterrupted();
}

static FailureOr<std::string> generateHostCode(ModuleOp module, espmm::CodeKind kind) {
  // There LLVM calls functions that we do not have.
  if (!llvm::sys::getHostCPUFeatures().lookup("f16c") && convertsHalves(module))
    return emitError(module.getLoc(), "float16 on a processor without F16C has no lowering yet");
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> translated = translate(module, context);
  if (!translated)
    return failure();
  std::string features;
  for (auto &feature : llvm::sys::getHostCPUFeatures())
    features += (features.empty() ? "" : ",") + std::string(feature.second ? "+" : "-") + feature.first().str();
  std::unique_ptr<llvm::TargetMachine> machine = createMachine(
      module, *translated, llvm::Triple(llvm::sys::getProcessTriple()), llvm::sys::getHostCPUName(), features);
  if (!machine)
    return failure();
  for (llvm::Function &function : *translated)
    function.addFnAttr("prefer-vector-width", "512");

  // Straight-line code by the thousand: what removes redundant addresses and moves invariants pays, the rest of O2 does not.
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager sccs;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(machine.get());
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(sccs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, sccs, modules);
  llvm::ModulePassManager passes;
  llvm::StringRef pipeline = "function(early-cse<memssa>,simplifycfg)";
  // A multiply-add of AVX-512 takes one number for all lanes from memory. Others want a vector of it: made before a loop and not in it, and read again where registers are few.
  // Of long code registers are not to be given out within a minute then, nor is it put in another order once they are. Of the longest, such as third derivatives of a
  // product of 175 paths, they are given out as the code goes by.
  constexpr unsigned longCode = 1 << 16, longestCode = 1 << 19;
  unsigned instructions = translated->getInstructionCount();
  if (!llvm::sys::getHostCPUFeatures().lookup("avx512f") && instructions <= longCode)
    pipeline = "function(early-cse<memssa>,simplifycfg,loop-mssa(licm))";
  if (instructions > longCode)
    machine->setOptLevel(instructions > longestCode ? llvm::CodeGenOptLevel::None : llvm::CodeGenOptLevel::Less);
  llvm::cantFail(builder.parsePassPipeline(passes, pipeline));
  passes.run(*translated, modules);
  return emit(module, *translated, *machine, kind);
}

static FailureOr<std::string> generateGPUCode(ModuleOp module, StringRef chip, espmm::CodeKind kind) {
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> translated = translate(module, context);
  if (!translated)
    return failure();
  std::unique_ptr<llvm::TargetMachine> machine = createMachine(
      module, *translated, llvm::Triple("nvptx64-nvidia-cuda"), chip,
      chip.starts_with("sm_8") ? "+ptx78" : chip == "sm_90" ? "+ptx81" : ""); // cache policies; vector reductions to memory
  if (!machine)
    return failure();
  return emit(module, *translated, *machine, kind);
}

FailureOr<std::string> espmm::generateCode(ModuleOp module, CodeKind kind) {
  FailureOr<std::string> target = getTarget(module);
  if (failed(target))
    return failure();
  StringRef chip = *target;
  bool isGPU = chip.consume_front("cuda:");
  if (kind != CodeKind::LLVMIR && isGPU != (kind == CodeKind::PTX))
    return emitError(module.getLoc(), "expects a target with ") << (isGPU ? "host code" : "PTX") << ", got " << *target;
  return isGPU ? generateGPUCode(module, chip, kind) : generateHostCode(module, kind);
}
