//===- Manifest.cpp - the host function as JSON ---------------------------===//
#include "espmm/Dialect/Equivariant/Transforms/Passes.h"
#include "espmm/Target/Codegen.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace espmm::equivariant;
namespace json = llvm::json;

namespace {

class ManifestWriter {
public:
  ManifestWriter(func::FuncOp host, StringRef target) : host(host), target(target) {}

  llvm::Expected<std::string> write() {
    describeArguments();
    json::Array steps;
    std::string failure;
    for (Operation &op : host.getBody().front()) {
      if (auto scratch = dyn_cast<ScratchOp>(op)) {
        references[scratch.getBuffer()] = json::Array{"scratch", static_cast<int64_t>(scratches.size())};
        scratches.push_back(json::Object{{"bytes", expression(scratch.getBytes())}});
      } else if (auto fill = dyn_cast<FillOp>(op)) {
        steps.push_back(json::Object{{"op", "fill"}, {"buffer", reference(fill.getBuffer())}, {"bytes", expression(fill.getBytes())}});
      } else if (auto launch = dyn_cast<LaunchOp>(op)) {
        steps.push_back(writeLaunch(launch));
      }
    }
    json::Object manifest{{"format", 1},
                          {"target", target},
                          {"space", isGraph ? "graph" : "rows"},
                          {"arguments", std::move(arguments)},
                          {"results", std::move(results)},
                          {"plan", std::move(plan)},
                          {"scratch", std::move(scratches)},
                          {"steps", std::move(steps)}};
    if (!error.empty())
      return llvm::createStringError(error);
    std::string text;
    llvm::raw_string_ostream(text) << json::Value(std::move(manifest));
    return text;
  }

private:
  void describeArguments() {
    for (BlockArgument argument : host.getArguments()) {
      auto attribute = [&](StringRef name) {
        return host.getArgAttr(argument.getArgNumber(), ("equivariant." + name).str());
      };
      StringRef role = cast<StringAttr>(attribute("role")).getValue();
      StringRef name = cast<StringAttr>(attribute("name")).getValue();
      if (role == "size") {
        references[argument] = json::Array{"size", name};
        continue;
      }
      json::Array &list = role == "plan" ? plan : role == "result" ? results : arguments;
      references[argument] = json::Array{role, static_cast<int64_t>(list.size())};
      if (role == "plan") {
        isGraph = true;
        list.push_back(name);
        continue;
      }
      json::Object tensor{{"dtype", cast<TypeAttr>(attribute("dtype")).getValue().isF64() ? "f64" : "f32"},
                          {"rows", cast<StringAttr>(attribute("rows")).getValue()},
                          {"width", cast<IntegerAttr>(attribute("width")).getInt()}};
      if (auto align = dyn_cast_or_null<IntegerAttr>(attribute("align")))
        tensor["align"] = align.getInt();
      if (role == "argument") {
        tensor["name"] = name;
        tensor["used"] = cast<BoolAttr>(attribute("used")).getValue();
      }
      list.push_back(std::move(tensor));
    }
  }

  json::Object writeLaunch(LaunchOp launch) {
    json::Array operands;
    for (Value operand : launch.getOperands_()) {
      if (isa<LLVM::LLVMPointerType>(operand.getType()) || references.count(operand))
        operands.push_back(reference(operand));
      else
        operands.push_back(json::Array{"expression", expression(operand)});
    }
    json::Object step{{"op", "launch"},
                      {"kernel", launch.getKernel()},
                      {"grid", json::Array{expression(launch.getGrid()), 1, 1}},
                      {"args", std::move(operands)}};
    if (auto block = launch.getBlock()) {
      step["block"] = json::Array{(*block)[0], (*block)[1], (*block)[2]};
      step["shared"] = static_cast<int64_t>(launch.getShared().value_or(0));
    }
    return step;
  }

  json::Value reference(Value value) {
    auto it = references.find(value);
    if (it == references.end()) {
      error = "the host function uses a pointer that is neither a buffer nor scratch";
      return nullptr;
    }
    return *it->second;
  }

  json::Value expression(Value value) {
    if (auto argument = dyn_cast<BlockArgument>(value))
      return cast<StringAttr>(host.getArgAttr(argument.getArgNumber(), "equivariant.name")).getValue();
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
      error = ("the host function computes a size by " + op->getName().getStringRef() + ", which a manifest cannot say").str();
      return nullptr;
    }
    return json::Array{name, expression(op->getOperand(0)), expression(op->getOperand(1))};
  }

  func::FuncOp host;
  StringRef target;
  llvm::DenseMap<Value, std::optional<json::Value>> references;
  json::Array arguments, results, plan, scratches;
  bool isGraph = false;
  std::string error;
};

} // namespace

llvm::Expected<std::string> espmm::writeManifest(ModuleOp module, StringRef target) {
  auto hosts = llvm::to_vector(module.getOps<func::FuncOp>());
  if (hosts.size() != 1)
    return llvm::createStringError("expected one function in the program, got " + std::to_string(hosts.size()));
  return ManifestWriter(hosts.front(), target).write();
}
