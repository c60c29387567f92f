//===- Codegen.cpp - LLVM's back ends in process --------------------------===//
#include "espmm/Target/Codegen.h"
#include "espmm/Dialect/Equivariant/Transforms/Passes.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include <mutex>

using namespace mlir;

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

/// The device functions of a module as LLVM IR.
static llvm::Expected<std::unique_ptr<llvm::Module>> translate(ModuleOp module, llvm::LLVMContext &context) {
  OwningOpRef<ModuleOp> device = module.clone();
  for (auto host : llvm::make_early_inc_range(device->getOps<func::FuncOp>()))
    host.erase();
  std::unique_ptr<llvm::Module> result = translateModuleToLLVMIR(*device, context, "espmm");
  if (!result)
    return llvm::createStringError("the module could not be translated to LLVM IR");
  return result;
}

static llvm::Expected<std::string> generate(llvm::Module &module, llvm::TargetMachine &machine, espmm::CodeKind kind) {
  if (kind == espmm::CodeKind::LLVMIR) {
    std::string text;
    llvm::raw_string_ostream os(text);
    module.print(os, nullptr);
    return text;
  }
  llvm::SmallString<0> code;
  llvm::raw_svector_ostream os(code);
  llvm::legacy::PassManager passes;
  auto type = kind == espmm::CodeKind::Object ? llvm::CodeGenFileType::ObjectFile : llvm::CodeGenFileType::AssemblyFile;
  if (machine.addPassesToEmitFile(passes, os, nullptr, type))
    return llvm::createStringError("the target cannot emit this kind of file");
  passes.run(module);
  return std::string(code);
}

static llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
createMachine(llvm::Module &module, const llvm::Triple &triple, StringRef cpu, StringRef features) {
  initializeTargets();
  std::string error;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return llvm::createStringError(error);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard;
  std::unique_ptr<llvm::TargetMachine> machine(target->createTargetMachine(
      triple, cpu, features, options, llvm::Reloc::PIC_, std::nullopt, llvm::CodeGenOptLevel::Default));
  module.setTargetTriple(triple);
  module.setDataLayout(machine->createDataLayout());
  return machine;
}

llvm::Expected<std::string> espmm::generateHostCode(ModuleOp module, CodeKind kind) {
  llvm::LLVMContext context;
  auto translated = translate(module, context);
  if (!translated)
    return translated.takeError();
  std::string features;
  for (auto &feature : llvm::sys::getHostCPUFeatures())
    features += (features.empty() ? "" : ",") + std::string(feature.second ? "+" : "-") + feature.first().str();
  auto machine = createMachine(**translated, llvm::Triple(llvm::sys::getProcessTriple()), llvm::sys::getHostCPUName(), features);
  if (!machine)
    return machine.takeError();
  for (llvm::Function &function : **translated)
    function.addFnAttr("prefer-vector-width", "512");

  // Straight-line code by the thousand: what removes redundant addresses and moves invariants pays, the rest of O2 does not.
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager sccs;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(machine->get());
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(sccs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, sccs, modules);
  llvm::ModulePassManager passes;
  if (llvm::Error error = builder.parsePassPipeline(
          passes, "function(early-cse<memssa>,instcombine,simplifycfg,loop-mssa(licm),early-cse)"))
    return std::move(error);
  passes.run(**translated, modules);
  return generate(**translated, **machine, kind);
}

llvm::Expected<std::string> espmm::generatePTX(ModuleOp module, StringRef chip, CodeKind kind) {
  llvm::LLVMContext context;
  auto translated = translate(module, context);
  if (!translated)
    return translated.takeError();
  auto machine = createMachine(**translated, llvm::Triple("nvptx64-nvidia-cuda"), chip,
                               chip == "sm_90" ? "+ptx81" : ""); // vector reductions to memory; newer chips imply it
  if (!machine)
    return machine.takeError();
  return generate(**translated, **machine, kind);
}
