//===- Irreps.cpp - e3nn's notation ---------------------------------------===//
#include "espmm/Dialect/Equivariant/IR/Irreps.h"
#include "llvm/ADT/StringExtras.h"

using namespace espmm::equivariant;

/// irreps_c2
static std::optional<MulIrrep> parseOne(llvm::StringRef term, std::string &error) {
  auto fail = [&](const llvm::Twine &why) {
    error = ("invalid irrep '" + term + "': " + why).str();
    return std::nullopt;
  };
  llvm::StringRef rest = term;
  MulIrrep result{1, 0, 1};
  if (rest.contains('x')) {
    auto [mul, ir] = rest.split('x');
    if (mul.trim().getAsInteger(10, result.mul) || result.mul < 0)
      return fail("expected a multiplicity >= 0 before 'x', got '" + mul.trim() + "'");
    rest = ir.trim();
  }
  if (rest.consume_back("o"))
    result.parity = -1;
  else if (!rest.consume_back("e"))
    return fail("expected a parity, 'e' or 'o', at the end");
  if (rest.getAsInteger(10, result.l) || result.l < 0)
    return fail("expected a degree l >= 0 before the parity, got '" + rest + "'");
  if (result.l > maxL)
    return fail("expected a degree up to " + llvm::Twine(maxL) + ", got " + llvm::Twine(result.l));
  return result;
}

std::optional<llvm::SmallVector<MulIrrep>> espmm::equivariant::parseIrreps(llvm::StringRef text,
                                                                            std::string &error) {
  llvm::SmallVector<MulIrrep> result;
  if (text.trim().empty())
    return result;
  llvm::SmallVector<llvm::StringRef> terms;
  text.split(terms, '+');
  for (llvm::StringRef term : terms) {
    auto irrep = parseOne(term.trim(), error);
    if (!irrep)
      return std::nullopt;
    result.push_back(*irrep);
    // irreps_c3, checked block by block, so that neither a block's dimension nor their sum overflows.
    constexpr int64_t limit = int64_t(1) << 31;
    if (irrep->mul >= limit || irrepsDim(result) >= limit) {
      error = ("irreps '" + text + "' have a dimension of 2^31 or more").str();
      return std::nullopt;
    }
  }
  return result;
}

std::string espmm::equivariant::printIrreps(llvm::ArrayRef<MulIrrep> irreps) {
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::interleave(
      irreps, os,
      [&](const MulIrrep &ir) { os << ir.mul << 'x' << ir.l << (ir.parity == 1 ? 'e' : 'o'); }, "+");
  return text;
}

int64_t espmm::equivariant::irrepsDim(llvm::ArrayRef<MulIrrep> irreps) {
  int64_t dim = 0;
  for (const MulIrrep &ir : irreps)
    dim += ir.dim();
  return dim;
}
