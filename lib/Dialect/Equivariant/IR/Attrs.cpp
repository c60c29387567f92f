//===- Attrs.cpp - irreps and products: syntax and constraints ------------===//
#include "espmm/Dialect/Equivariant/IR/Equivariant.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"
#include <charconv>
#include <cmath>

using namespace mlir;
using namespace espmm::equivariant;

#define GET_ATTRDEF_CLASSES
#include "espmm/Dialect/Equivariant/IR/Attrs.cpp.inc"

void EquivariantDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "espmm/Dialect/Equivariant/IR/Attrs.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// IrrepsAttr
//===----------------------------------------------------------------------===//

static FailureOr<SmallVector<MulIrrep>> parseIrrepsString(AsmParser &parser) {
  std::string text, error;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseString(&text))
    return failure();
  auto irreps = parseIrreps(text, error);
  if (!irreps)
    return parser.emitError(loc, error);
  return *irreps;
}

Attribute IrrepsAttr::parse(AsmParser &parser, Type) {
  if (parser.parseLess())
    return {};
  auto blocks = parseIrrepsString(parser);
  StringRef keyword;
  if (failed(blocks) || parser.parseComma())
    return {};
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&keyword))
    return {};
  auto layout = symbolizeLayout(keyword);
  if (!layout) {
    parser.emitError(loc, "expected a layout, 'mul_ir' or 'ir_mul', got '") << keyword << "'";
    return {};
  }
  if (parser.parseGreater())
    return {};
  return IrrepsAttr::get(parser.getContext(), *blocks, *layout);
}

void IrrepsAttr::print(AsmPrinter &printer) const {
  printer << "<\"" << printIrreps(getBlocks()) << "\", " << stringifyLayout(getLayout()) << ">";
}

LogicalResult IrrepsAttr::verifyEncoding(ArrayRef<int64_t> shape, Type elementType,
                                         function_ref<InFlightDiagnostic()> emitError) const {
  // irreps_c1
  if (shape.empty() || shape.back() != getDim())
    return emitError() << "irreps " << printIrreps(getBlocks()) << " have dimension " << getDim()
                       << ", but the tensor's last dimension is "
                       << (shape.empty()                           ? "missing"
                           : ShapedType::isDynamic(shape.back()) ? "dynamic"
                                                                   : std::to_string(shape.back()));
  return success();
}

int64_t IrrepsAttr::getDim() const { return irrepsDim(getBlocks()); }

int64_t IrrepsAttr::getOffset(size_t block) const { return irrepsDim(getBlocks().take_front(block)); }

//===----------------------------------------------------------------------===//
// Index maps
//===----------------------------------------------------------------------===//

IndexMap espmm::equivariant::getIndexMap(Mode mode) {
  switch (mode) {
  case Mode::UVW: return {"u", "v", "uvw", "w", false};
  case Mode::UVU: return {"u", "v", "uv", "u", false};
  case Mode::UVV: return {"u", "v", "uv", "v", false};
  case Mode::UUW: return {"u", "u", "uw", "w", false};
  case Mode::UUU: return {"u", "u", "u", "u", false};
  case Mode::UVUV: return {"u", "v", "uv", "uv", false};
  case Mode::UVUltV: return {"u", "v", "uv", "uv", true};
  case Mode::UltVW: return {"u", "v", "uvw", "w", true};
  }
  llvm_unreachable("unknown mode");
}

//===----------------------------------------------------------------------===//
// ProductAttr
//===----------------------------------------------------------------------===//

ArrayRef<MulIrrep> ProductAttr::getIrreps(Slot slot) const {
  switch (slot) {
  case Slot::X: return getX();
  case Slot::Y: return getY();
  case Slot::Z: return getZ();
  case Slot::W: return {};
  }
  llvm_unreachable("unknown slot");
}

bool ProductAttr::isWeighted() const { return !getPaths().empty() && getPaths().front().weighted; }

int64_t ProductAttr::getDim(Slot slot) const {
  return slot == Slot::W ? getWeightNumel() : irrepsDim(getIrreps(slot));
}

/// Extent of a multiplicity index in a path.
static int64_t getMultiplicity(const Path &path, char index, ArrayRef<MulIrrep> x, ArrayRef<MulIrrep> y,
                               ArrayRef<MulIrrep> z) {
  IndexMap map = getIndexMap(path.mode);
  if (map.x.contains(index))
    return x[path.i1].mul;
  if (map.y.contains(index))
    return y[path.i2].mul;
  return z[path.i3].mul;
}

int64_t ProductAttr::getExtent(const Path &path, char index) const {
  return getMultiplicity(path, index, getX(), getY(), getZ());
}

/// Elements of a group of multiplicity indices; a triangle u < v counts its pairs.
static int64_t getGroupSize(ProductAttr product, const Path &path, StringRef indices) {
  IndexMap map = getIndexMap(path.mode);
  int64_t size = 1;
  if (map.triangular && indices.starts_with("uv")) {
    int64_t m = product.getExtent(path, 'u');
    size = m * (m - 1) / 2;
    indices = indices.drop_front(2);
  }
  for (char index : indices)
    size *= product.getExtent(path, index);
  return size;
}

int64_t ProductAttr::getWeightSize(const Path &path) const {
  return path.weighted ? getGroupSize(*this, path, getIndexMap(path.mode).w) : 0;
}

int64_t ProductAttr::getWeightOffset(size_t path) const {
  int64_t offset = 0;
  for (const Path &p : getPaths().take_front(path))
    offset += getWeightSize(p);
  return offset;
}

int64_t ProductAttr::getWeightNumel() const { return getWeightOffset(getPaths().size()); }

static FailureOr<Path> parsePath(AsmParser &parser) {
  Path path{};
  StringRef keyword;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&keyword))
    return failure();
  auto mode = symbolizeMode(keyword);
  if (!mode)
    return parser.emitError(loc, "expected a mode, uvw, uvu, uvv, uuw, uuu, uvuv, uvu_lt_v or u_lt_vw, got '")
           << keyword << "'";
  path.mode = *mode;
  if (parser.parseLParen() || parser.parseInteger(path.i1) || parser.parseComma() ||
      parser.parseInteger(path.i2) || parser.parseComma() || parser.parseInteger(path.i3) ||
      parser.parseRParen())
    return failure();
  path.weighted = failed(parser.parseOptionalKeyword("weightless"));
  if (parser.parseStar() || parser.parseFloat(path.coefficient))
    return failure();
  return path;
}

Attribute ProductAttr::parse(AsmParser &parser, Type) {
  SmallVector<MulIrrep> irreps[3];
  SmallVector<Path> paths;
  if (parser.parseLess())
    return {};
  const char *const names[] = {"x", "y", "z"};
  for (auto [i, name] : llvm::enumerate(names)) {
    if (parser.parseKeyword(name) || parser.parseEqual())
      return {};
    auto parsed = parseIrrepsString(parser);
    if (failed(parsed) || parser.parseComma())
      return {};
    irreps[i] = *parsed;
  }
  auto parseOne = [&]() -> ParseResult {
    auto path = parsePath(parser);
    if (failed(path))
      return failure();
    paths.push_back(*path);
    return success();
  };
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword("paths") || parser.parseEqual() ||
      parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseOne) || parser.parseGreater())
    return {};
  return ProductAttr::getChecked([&] { return parser.emitError(loc); }, parser.getContext(), irreps[0],
                                 irreps[1], irreps[2], paths);
}

/// The shortest text that reads back as the same (finite) double, whatever the locale.
static std::string printDouble(double value) {
  char text[40];
  std::string s(text, std::to_chars(text, std::end(text), value).ptr);
  // The parser wants a point in a float literal.
  if (s.find('.') == std::string::npos)
    s.insert(std::min(s.find('e'), s.size()), ".0");
  return s;
}

void ProductAttr::print(AsmPrinter &printer) const {
  printer << "<x = \"" << printIrreps(getX()) << "\", y = \"" << printIrreps(getY()) << "\", z = \""
          << printIrreps(getZ()) << "\", paths = [";
  llvm::interleaveComma(getPaths(), printer, [&](const Path &p) {
    printer << stringifyMode(p.mode) << "(" << p.i1 << ", " << p.i2 << ", " << p.i3 << ")"
            << (p.weighted ? "" : " weightless") << " * " << printDouble(p.coefficient);
  });
  printer << "]>";
}

/// product_c3, product_c5
static LogicalResult verifyMode(function_ref<InFlightDiagnostic()> emitPathError, const Path &p, int64_t m1,
                                int64_t m2, int64_t m3) {
  auto require = [&](bool holds, const Twine &what) -> LogicalResult {
    if (holds)
      return success();
    return emitPathError() << "mode " << stringifyMode(p.mode) << " needs " << what.str()
                           << ", got multiplicities " << m1 << ", " << m2 << " and " << m3;
  };
  switch (p.mode) {
  case Mode::UVW: return require(p.weighted, "a weight");
  case Mode::UVU: return require(m1 == m3, "equal multiplicities in x and z");
  case Mode::UVV: return require(m2 == m3, "equal multiplicities in y and z");
  case Mode::UUW:
    if (failed(require(m1 == m2, "equal multiplicities in x and y")))
      return failure();
    return require(p.weighted || m3 == 1, "a weight, or multiplicity 1 in z");
  case Mode::UUU: return require(m1 == m2 && m2 == m3, "equal multiplicities");
  case Mode::UVUV: return require(m1 * m2 == m3, "the product of x's and y's multiplicities in z");
  case Mode::UVUltV:
    return require(m1 == m2 && m1 * (m1 - 1) / 2 == m3, "equal multiplicities m in x and y, and m(m-1)/2 in z");
  case Mode::UltVW:
    if (failed(require(m1 == m2, "equal multiplicities in x and y")))
      return failure();
    return require(p.weighted, "a weight");
  }
  llvm_unreachable("unknown mode");
}

/// product_c7
static LogicalResult verifyNumWeights(function_ref<InFlightDiagnostic()> emitError, ArrayRef<MulIrrep> x,
                                      ArrayRef<MulIrrep> y, ArrayRef<MulIrrep> z, ArrayRef<Path> paths) {
  int64_t total = 0;
  for (auto [n, p] : llvm::enumerate(paths)) {
    // Without the triangles' discount: that is never needed for a product that fits a memory.
    int64_t size = p.weighted;
    bool overflow = false;
    for (char index : getIndexMap(p.mode).w)
      overflow |= llvm::MulOverflow(size, getMultiplicity(p, index, x, y, z), size);
    if (overflow || llvm::AddOverflow(total, size, total))
      return emitError() << "path " << n << ": expected less than 2^63 weights in all";
  }
  return success();
}

LogicalResult ProductAttr::verify(function_ref<InFlightDiagnostic()> emitError, ArrayRef<MulIrrep> x,
                                  ArrayRef<MulIrrep> y, ArrayRef<MulIrrep> z, ArrayRef<Path> paths) {
  for (auto [n, p] : llvm::enumerate(paths)) {
    auto emitPathError = [&, n = n]() { return emitError() << "path " << n << ": "; };
    // product_c1
    for (auto [index, irreps, name] : {std::tuple(p.i1, x, "x"), {p.i2, y, "y"}, {p.i3, z, "z"}})
      if (index < 0 || index >= static_cast<int64_t>(irreps.size()))
        return emitPathError() << "block " << index << " of " << name << " is out of range, " << name << " has "
                               << irreps.size() << " blocks";
    const MulIrrep &a = x[p.i1], &b = y[p.i2], &c = z[p.i3];
    // product_c2
    if (std::abs(a.l - b.l) > c.l || c.l > a.l + b.l || a.parity * b.parity != c.parity)
      return emitPathError() << printIrreps(c) << " is not in the product of " << printIrreps(a) << " and "
                             << printIrreps(b);
    if (failed(verifyMode(emitPathError, p, a.mul, b.mul, c.mul)))
      return failure();
    // product_c4
    if (p.weighted != paths.front().weighted)
      return emitPathError() << "expected all paths to have weights, or none; weighted and weightless paths are "
                                "separate products";
    // product_c6
    if (!std::isfinite(p.coefficient))
      return emitPathError() << "expected a finite coefficient, got " << p.coefficient;
  }
  return verifyNumWeights(emitError, x, y, z, paths);
}

//===----------------------------------------------------------------------===//
// ScheduleAttr
//===----------------------------------------------------------------------===//

LogicalResult ScheduleAttr::verify(function_ref<InFlightDiagnostic()> emitError, Target target, Access groupBy, int64_t lanes, int64_t slabBegin,
                                   int64_t slabEnd, int64_t slabs, int64_t instances, int64_t rows, int64_t tileRows, int64_t warps, int64_t stages,
                                   int64_t registers, int64_t products, bool) {
  // schedule_c1
  if (lanes <= 0 || !llvm::isPowerOf2_64(lanes))
    return emitError() << "expected lanes to be a power of two, got " << lanes;
  // schedule_c2
  if (rows < 1 || registers < 0 || registers > 255)
    return emitError() << "expected rows >= 1 and registers from 0 to 255, got " << rows << " and " << registers;
  // schedule_c3
  if (slabBegin < 0 || slabEnd < slabBegin)
    return emitError() << "expected 0 <= slab_begin <= slab_end, got " << slabBegin << " and " << slabEnd;
  // schedule_c4
  if (warps < 1 || warps > 16 || !llvm::isPowerOf2_64(warps) || stages < 2 || stages > 8)
    return emitError() << "expected warps to be 1, 2, 4, 8 or 16 and stages from 2 to 8, got " << warps << " and " << stages;
  // schedule_c5
  if (slabs < 1 || (slabEnd - slabBegin) % slabs != 0)
    return emitError() << "expected slabs to divide the number of slabs from slab_begin to slab_end, got " << slabs << " for "
                       << slabEnd - slabBegin;
  // schedule_c6
  if (tileRows != 1 && (tileRows != lanes || groupBy != Access::Edge))
    return emitError() << "expected tile_rows to be 1, or as many as lanes where edges are not grouped, got " << tileRows;
  // schedule_c7
  if (instances < 1 || (instances > 1 && target == Target::CPU))
    return emitError() << "expected at least one instance, and no more on the CPU, got " << instances;
  // schedule_c8
  if (products < 1 || products > 3 || (products > 1 && target == Target::CPU))
    return emitError() << "expected products from 1 to 3, 1 on the CPU, got " << products;
  return success();
}

int64_t ScheduleAttr::getLaneChannels(int64_t multiplicity) const {
  // Warps that do the same have the same slabs but for where those begin.
  if (getSlabUnits() != 1)
    return getSlabs();
  int64_t own = (multiplicity + getLanes() - 1) / getLanes() - getSlabBegin();
  return std::clamp<int64_t>(own, 1, getSlabs());
}

SmallVector<int64_t> ScheduleAttr::getLaneShape(ArrayRef<int64_t> block) const {
  SmallVector<int64_t> shape(block.drop_front());
  if (int64_t channels = getLaneChannels(block.front()); channels > 1)
    shape.insert(shape.begin(), channels);
  return shape;
}
