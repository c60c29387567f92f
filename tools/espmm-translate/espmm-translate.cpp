//===- espmm-translate.cpp - code of a program at the last level ----------===//
#include "espmm/Dialect/Equivariant/IR/Equivariant.h"
#include "espmm/InitAll.h"
#include "espmm/Target/Codegen.h"
#include "mlir/Tools/mlir-translate/MlirTranslateMain.h"
#include "mlir/Tools/mlir-translate/Translation.h"
#include "llvm/Support/CommandLine.h"

using namespace mlir;
using espmm::CodeKind;
using espmm::equivariant::EquivariantDialect;

static llvm::cl::opt<std::string> target("target", llvm::cl::value_desc("cpu or cuda:sm_NUMBER"),
                                         llvm::cl::desc("generate code for this target, not for the one that the module names"));

static LogicalResult print(FailureOr<std::string> text, raw_ostream &os) {
  if (failed(text))
    return failure();
  os << *text;
  return success();
}

/// --to-NAME: what `generate` makes of a module.
static void add(StringRef name, StringRef description, std::function<FailureOr<std::string>(ModuleOp)> generate) {
  TranslateFromMLIRRegistration registration(
      name, description,
      [generate](ModuleOp module, raw_ostream &os) {
        if (target.getNumOccurrences() && !EquivariantDialect::isTargetName(target))
          return LogicalResult(emitError(module.getLoc(), "--target is cpu or cuda:sm_NUMBER, got '") << target << "'");
        if (target.getNumOccurrences())
          module->setAttr(EquivariantDialect::targetAttrName, StringAttr::get(module.getContext(), target));
        return print(generate(module), os);
      },
      espmm::registerAllDialects);
}

int main(int argc, char **argv) {
  add("to-ptx", "PTX of a program for a GPU", [](ModuleOp m) { return generateCode(m, CodeKind::PTX); });
  add("to-assembly", "assembly of a program for this machine", [](ModuleOp m) { return generateCode(m, CodeKind::Assembly); });
  add("to-llvmir", "LLVM IR of a program for any target", [](ModuleOp m) { return generateCode(m, CodeKind::LLVMIR); });
  add("to-manifest", "what the runtime is told of a program, as JSON", [](ModuleOp m) { return espmm::writeManifest(m); });
  return failed(mlirTranslateMain(argc, argv, "espmm's translations of the last level to code\n"));
}
