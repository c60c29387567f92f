//===- Manifest.cpp - the host function as JSON ---------------------------===//
#include "espmm/Dialect/Equivariant/Transforms/Passes.h"
#include "espmm/Target/Codegen.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace espmm::equivariant;
namespace json = llvm::json;

namespace {

/// "f32"
std::string getElementName(Type element) {
  std::string name;
  llvm::raw_string_ostream(name) << element;
  return name;
}

class ManifestWriter {
public:
  ManifestWriter(func::FuncOp host, StringRef target) : host(host), target(target) {}

  FailureOr<std::string> write() {
    if (!host.getBody().hasOneBlock())
      return emitError(host.getLoc(), "expects one block in a host function");
    for (BlockArgument argument : host.getArguments())
      if (failed(describeArgument(argument)))
        return failure();
    for (Operation &op : host.getBody().front())
      if (failed(addStep(op)))
        return failure();
    cost["scratch_bytes"] = std::move(scratchBytes);
    cost["choices"] = std::move(chosen);
    json::Object manifest{{"format", 1},
                          {"target", target},
                          {"space", isGraph ? "graph" : "rows"},
                          {"arguments", std::move(arguments)},
                          {"results", std::move(results)},
                          {"plan", std::move(plan)},
                          {"scratch", std::move(scratches)},
                          {"steps", std::move(steps)},
                          {"statistics", describeStatistics()},
                          {"cost", std::move(cost)},
                          {"kernels", std::move(kernels)}};
    std::string text;
    llvm::raw_string_ostream(text) << json::Value(std::move(manifest));
    return text;
  }

private:
  //===-- Arguments ------------------------------------------------------===//

  /// An attribute `equivariant.NAME` of an argument; an error if it is not there or of another kind.
  template <typename T>
  T getAttribute(BlockArgument argument, StringRef name) {
    auto result = host.getArgAttrOfType<T>(argument.getArgNumber(), ("equivariant." + name).str());
    if (!result)
      emitError(host.getLoc(), "expects argument ") << argument.getArgNumber() << " of a host function to have 'equivariant." << name << "'";
    return result;
  }

  LogicalResult describeArgument(BlockArgument argument) {
    auto role = getAttribute<StringAttr>(argument, "role");
    auto name = role ? getAttribute<StringAttr>(argument, "name") : nullptr;
    if (!name)
      return failure();
    if (role == "size") {
      references[argument] = json::Array{"size", name.getValue()};
      return success();
    }
    json::Array *list = llvm::StringSwitch<json::Array *>(role.getValue())
                            .Case("plan", &plan)
                            .Case("argument", &arguments)
                            .Case("result", &results)
                            .Default(nullptr);
    if (!list)
      return emitError(host.getLoc(), "expects 'equivariant.role' of argument ")
             << argument.getArgNumber() << " to be size, argument, plan or result, got " << role;
    references[argument] = json::Array{role.getValue(), static_cast<int64_t>(list->size())};
    if (role == "plan") {
      isGraph = true;
      list->push_back(name.getValue());
      return success();
    }
    auto dtype = getAttribute<TypeAttr>(argument, "dtype");
    auto rows = dtype ? getAttribute<StringAttr>(argument, "rows") : nullptr;
    auto width = rows ? getAttribute<IntegerAttr>(argument, "width") : nullptr;
    auto used = width ? getAttribute<BoolAttr>(argument, "used") : nullptr;
    if (!used)
      return failure();
    json::Object tensor{{"dtype", getElementName(dtype.getValue())}, {"rows", rows.getValue()}, {"width", width.getInt()}};
    if (auto align = host.getArgAttrOfType<IntegerAttr>(argument.getArgNumber(), "equivariant.align"))
      tensor["align"] = align.getInt();
    if (role == "argument") {
      tensor["name"] = name.getValue();
      tensor["used"] = used.getValue();
    }
    list->push_back(std::move(tensor));
    return success();
  }

  //===-- Steps ----------------------------------------------------------===//

  LogicalResult addStep(Operation &op) {
    if (auto scratch = dyn_cast<ScratchOp>(op)) {
      auto bytes = expression(scratch.getBytes());
      if (!bytes)
        return failure();
      references[scratch.getBuffer()] = json::Array{"scratch", static_cast<int64_t>(scratches.size())};
      scratchBytes.push_back(json::Object{{"use", scratch.getUse()}, {"bytes", *bytes}});
      scratches.push_back(json::Object{{"bytes", std::move(*bytes)}});
    } else if (auto fill = dyn_cast<FillOp>(op)) {
      auto buffer = reference(fill.getBuffer(), op);
      auto bytes = buffer ? expression(fill.getBytes()) : std::nullopt;
      if (!bytes)
        return failure();
      steps.push_back(json::Object{{"op", "fill"}, {"buffer", std::move(*buffer)}, {"bytes", std::move(*bytes)}});
    } else if (auto launch = dyn_cast<LaunchOp>(op)) {
      return addLaunch(launch);
    } else if (!isa<arith::ArithDialect>(op.getDialect()) && !isa<func::ReturnOp>(op)) {
      return op.emitOpError("is nothing that a host function does: expected scratch, fill, launch, or sizes");
    }
    return success();
  }

  LogicalResult addLaunch(LaunchOp launch) {
    auto grid = expression(launch.getGrid());
    if (!grid)
      return failure();
    json::Array operands;
    for (Value operand : launch.getOperands_()) {
      bool isReference = isa<LLVM::LLVMPointerType>(operand.getType()) || references.count(operand);
      auto value = isReference ? reference(operand, *launch) : expression(operand);
      if (!value)
        return failure();
      operands.push_back(isReference ? std::move(*value) : json::Array{"expression", std::move(*value)});
    }
    json::Object step{{"op", "launch"},
                      {"kernel", launch.getKernel()},
                      {"grid", json::Array{std::move(*grid), 1, 1}},
                      {"args", std::move(operands)}};
    if (auto block = launch.getBlock()) {
      step["block"] = json::Array(*block);
      step["shared"] = static_cast<int64_t>(launch.getShared().value_or(0));
    }
    if (Value rows = launch.getRows()) {
      auto value = expression(rows);
      if (!value)
        return failure();
      step["rows"] = std::move(*value);
    }
    if (launch.getOverlaps())
      step["overlaps"] = true;
    steps.push_back(std::move(step));
    describeKernel(launch);
    return success();
  }

  /// A kernel's own figures, and the program's: what its kernels cost for an edge and a node together.
  void describeKernel(LaunchOp launch) {
    if (!kernelNames.insert(launch.getKernel()).second)
      return;
    json::Object kernel{{"name", launch.getKernel()}};
    if (auto figures = launch->getAttrOfType<DictionaryAttr>(EquivariantDialect::costAttrName))
      for (NamedAttribute figure : figures) {
        StringRef name = figure.getName();
        int64_t value = cast<IntegerAttr>(figure.getValue()).getInt();
        kernel[name] = value;
        if (name.ends_with("_per_edge") || name.ends_with("_per_node"))
          cost[name] = cost.getInteger(name).value_or(0) + value;
      }
    if (auto choices = launch->getAttrOfType<ArrayAttr>(EquivariantDialect::choicesAttrName)) {
      json::Array sentences;
      for (auto sentence : choices.getAsRange<StringAttr>())
        sentences.push_back(sentence.getValue());
      chosen[launch.getKernel()] = std::move(sentences);
    }
    kernels.push_back(std::move(kernel));
  }

  std::optional<json::Value> reference(Value value, Operation &user) {
    auto it = references.find(value);
    if (it != references.end())
      return *it->second;
    user.emitOpError("uses a pointer that is neither an argument of the host function nor scratch");
    return std::nullopt;
  }

  std::optional<json::Value> expression(Value value) {
    if (auto argument = dyn_cast<BlockArgument>(value))
      return getAttribute<StringAttr>(argument, "name").getValue();
    Operation *op = value.getDefiningOp();
    if (auto constant = dyn_cast<arith::ConstantIntOp>(op))
      return constant.value();
    StringRef name = isa<arith::AddIOp>(op)         ? "+"
                     : isa<arith::SubIOp>(op)       ? "-"
                     : isa<arith::MulIOp>(op)       ? "*"
                     : isa<arith::CeilDivUIOp>(op)  ? "ceildiv"
                     : isa<arith::MinSIOp>(op)      ? "min"
                     : isa<arith::MaxSIOp>(op)      ? "max"
                                                    : "";
    if (name.empty()) {
      op->emitOpError("is nothing that a manifest can say of a size: expected a sum, difference, product, ceildivui, minsi or maxsi");
      return std::nullopt;
    }
    auto lhs = expression(op->getOperand(0));
    auto rhs = lhs ? expression(op->getOperand(1)) : std::nullopt;
    if (!rhs)
      return std::nullopt;
    return json::Array{name, std::move(*lhs), std::move(*rhs)};
  }

  //===-- Figures --------------------------------------------------------===//

  json::Object describeStatistics() {
    json::Object passes;
    auto all = host->getParentOfType<ModuleOp>()->getAttrOfType<DictionaryAttr>(EquivariantDialect::statisticsAttrName);
    for (NamedAttribute pass : all ? all : DictionaryAttr::get(host.getContext())) {
      json::Object counts;
      for (NamedAttribute count : cast<DictionaryAttr>(pass.getValue()))
        counts[count.getName().getValue()] = cast<IntegerAttr>(count.getValue()).getInt();
      passes[pass.getName().getValue()] = std::move(counts);
    }
    return passes;
  }

  func::FuncOp host;
  StringRef target;
  llvm::DenseMap<Value, std::optional<json::Value>> references;
  json::Array arguments, results, plan, scratches, scratchBytes, steps, kernels;
  json::Object cost, chosen; // the second by kernel
  llvm::StringSet<> kernelNames;
  bool isGraph = false;
};

} // namespace

FailureOr<std::string> espmm::writeManifest(ModuleOp module) {
  FailureOr<std::string> target = getTarget(module);
  if (failed(target))
    return failure();
  auto hosts = llvm::to_vector(module.getOps<func::FuncOp>());
  if (hosts.size() != 1)
    return emitError(module.getLoc(), "expects one function in a program, got ") << hosts.size();
  return ManifestWriter(hosts.front(), *target).write();
}
