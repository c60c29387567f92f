//===- Statistics.cpp - what passes count ---------------------------------===//
#include "espmm/Dialect/Equivariant/Transforms/Statistics.h"
#include "espmm/Dialect/Equivariant/IR/Equivariant.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace espmm::equivariant;

static thread_local StatisticsReport *currentReport = nullptr;

StatisticsReport::StatisticsReport() { currentReport = this; }
StatisticsReport::~StatisticsReport() { currentReport = nullptr; }

void espmm::equivariant::recordStatistics(ModuleOp module, StringRef name, ArrayRef<Count> counts) {
  Builder builder(module.getContext());
  NamedAttrList entry;
  for (const Count &count : counts) {
    count.statistic = static_cast<unsigned>(count.value);
    entry.set(count.name, builder.getI64IntegerAttr(count.value));
  }
  NamedAttrList all(module->getAttrOfType<DictionaryAttr>(EquivariantDialect::statisticsAttrName));
  all.set(name, entry.getDictionary(module.getContext()));
  module->setAttr(EquivariantDialect::statisticsAttrName, all.getDictionary(module.getContext()));

#if !LLVM_ENABLE_STATS
  if (!currentReport)
    return;
  llvm::raw_string_ostream os(currentReport->text);
  os << "equivariant-" << name << "\n";
  for (const Count &count : counts)
    os << "  (S) " << count.value << " " << count.name << "\n";
#endif
}
