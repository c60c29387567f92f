//===- NestMatrices.cpp - einsums on matrix units -------------------------===//
//
//   loops over what is neither of the result's rows nor its columns
//     a part's pieces of the result: some tiles of rows and of columns
//       loops over what is summed, a tile's depth at a time
//         each lane its numbers of the factors, computed where they are read: products of tiles
//       each lane its numbers of the sums, to buffers and rows
//
// Which row, column or summand a lane's place in a tile stands for is free. Rows that are worked on side by side lie next to each other in shared memory, those of one number
// after those of another at a distance that is odd: lane 4 b + a has rows 4 b to 4 b + 3 where they are the result's, and 8 a to 8 a + 7 where they are summed, so that a warp's reads are of
// 32 banks. Columns a and a + 4 of eight are the lane's two of a tile of sums, for the same reason.
//
//===----------------------------------------------------------------------===//
#include "Nests.h"

using namespace mlir;
using namespace espmm::equivariant;

namespace {
/// The numbers of a lane in a tile: of the rows and summands of the factors, and of the columns of the sums.
struct Fragment {
  explicit Fragment(Type element) : rows(element.isF64() ? 1 : 2), summed(element.isF64() ? 1 : 2) {}
  int64_t rows, summed, columns = 2;
};
} // namespace

/// A position that may be past the end: what is read there instead, and where it is within.
NestStaging::Position NestStaging::makePosition(Value at, int64_t extent, bool mayBePast) {
  Value isWithin;
  if (mayBePast) {
    isWithin = narrow.less(at, narrow.constant(extent));
    at = narrow.min(at, narrow.constant(extent - 1));
  }
  return {arith::ExtSIOp::create(builder, loc, builder.getI64Type(), at), isWithin};
}

/// Of so many steps, those between which loads are under way together.
static int64_t chooseStepsAtOnce(int64_t steps) {
  if (steps <= 3)
    return std::max<int64_t>(steps, 1);
  return steps % 2 == 0 ? 2 : steps % 3 == 0 ? 3 : 1;
}

void NestStaging::stageMatrix(Operation *op, int64_t first) {
  begin(plan.getShape(op));
  OpBuilder::InsertPoint after = builder.saveInsertionPoint();
  const NestMatrix &matrix = *shape.matrix;
  const MatrixUnits &units = target.limits.units;
  Fragment fragment(target.element);
  auto toNarrow = [&](Value number) { return arith::TruncIOp::create(builder, loc, builder.getI32Type(), number).getResult(); };
  Value ownLane = target.hideNumber(toNarrow(target.getLane(ix.constant(0), lanes, 1))), quarter = narrow.floordiv(ownLane, 4), place = narrow.sub(ownLane, narrow.mul(quarter, 4));
  auto clamp = [&](Value at, char letter, int64_t tile) { return makePosition(at, shape.looped[letter], shape.looped[letter] % tile != 0); };
  SmallVector<char> outerSummed;
  for (auto [letter, extent] : shape.looped)
    if (letter != matrix.row && letter != matrix.column && letter != matrix.summed) {
      if (shape.kept.count(letter))
        enter(letter, {}, /*isShared=*/false);
      else
        outerSummed.push_back(letter);
    }

  // The part's pieces.
  int64_t parts = target.limits.parts, pieces = plan.countPieces(shape), instances = 1 + static_cast<int64_t>(alike.size());
  scf::ForOp ofPieces = loop(instances * pieces, parts, {}, getTurn(first));
  outermost = outermost ? outermost : ofPieces.getOperation();
  int64_t columnPieces = (shape.looped[matrix.column] + units.columns - 1) / units.columns / matrix.columnTiles;
  Value piece = toNarrow(ofPieces.getInductionVar());
  if (instances > 1) {
    instance = narrow.floordiv(piece, pieces);
    piece = narrow.sub(piece, narrow.mul(instance, pieces));
  }
  Value rowPiece = narrow.floordiv(piece, columnPieces), columnPiece = narrow.sub(piece, narrow.mul(rowPiece, columnPieces));

  auto getRow = [&](int64_t tile, int64_t n) {
    Value number = narrow.add(narrow.mul(rowPiece, matrix.rowTiles), tile);
    if (matrix.row == rowLetter)
      return makePosition(narrow.add(narrow.mul(quarter, 4), narrow.add(narrow.mul(number, fragment.rows), n)), lanes, /*mayBePast=*/false);
    return clamp(narrow.add(narrow.add(narrow.mul(number, units.rows), quarter), 8 * n), matrix.row, units.rows);
  };
  auto getFirstColumn = [&](int64_t tile) { return narrow.mul(narrow.add(narrow.mul(columnPiece, matrix.columnTiles), tile), units.columns); };
  // Lane 4 b of a factor has column b, which stands for b / 2, or if it is odd for b / 2 + 4.
  Value half = narrow.floordiv(quarter, 2), factorColumn = narrow.add(half, narrow.mul(narrow.sub(quarter, narrow.mul(half, 2)), 4));
  auto getFactorColumn = [&](int64_t tile) { return clamp(narrow.add(getFirstColumn(tile), factorColumn), matrix.column, units.columns); };
  auto getColumn = [&](int64_t tile, int64_t n) { return clamp(narrow.add(narrow.add(getFirstColumn(tile), place), 4 * n), matrix.column, units.columns); };

  // The sums go through the loops over what is summed.
  int64_t ofTile = fragment.rows * fragment.columns;
  auto makeZeros = [&] {
    SmallVector<Value> zeros;
    for (int64_t n = 0; n < matrix.rowTiles * matrix.columnTiles * ofTile; ++n)
      zeros.push_back(ZeroOp::create(builder, loc, getSmallType(op->getResult(0), false)));
    return zeros;
  };
  SmallVector<Value> sums = makeZeros();
  SmallVector<scf::ForOp> loops;
  for (char letter : outerSummed) {
    loops.push_back(enter(letter, sums, /*isShared=*/false));
    sums = SmallVector<Value>(loops.back().getRegionIterArgs());
  }
  bool sumsRows = matrix.summed == rowLetter;
  auto stageStep = [&](Value step, bool isRest) {
    int64_t depth = shape.looped[matrix.summed], halves = isRest && depth % units.summed <= units.summed / 2 ? 1 : fragment.summed;
    auto getSummand = [&](int64_t n) {
      if (sumsRows)
        return makePosition(narrow.add(narrow.mul(place, 8), narrow.add(step, 4 * n)), lanes, /*mayBePast=*/false);
      return makePosition(narrow.add(narrow.add(narrow.mul(step, units.summed), place), 4 * n), depth, isRest && depth % 4);
    };
    for (const NestMatrix::Product &product : matrix.products) {
      auto compute = [&](Value factor, char letter, const Position &at, int64_t n) {
        Position summand = getSummand(n);
        position[letter] = at.at;
        position[matrix.summed] = summand.at;
        summedMask = summand.isWithin;
        llvm::DenseMap<Value, Value> known;
        Value value = getOperand(factor, known, 0);
        summedMask = Value();
        return value;
      };
      SmallVector<SmallVector<Value>> left, right;
      for (int64_t r = 0; r < matrix.rowTiles; ++r) {
        left.emplace_back();
        for (int64_t n = 0; n < halves; ++n)
          for (int64_t m = 0; m < fragment.rows; ++m)
            left[r].push_back(compute(product.left, matrix.row, getRow(r, m), n));
      }
      for (int64_t c = 0; c < matrix.columnTiles; ++c) {
        right.emplace_back();
        for (int64_t n = 0; n < halves; ++n)
          right[c].push_back(compute(product.right, matrix.column, getFactorColumn(c), n));
      }
      for (int64_t r = 0; r < matrix.rowTiles; ++r)
        for (int64_t c = 0; c < matrix.columnTiles; ++c) {
          auto own = MutableArrayRef(sums).slice((r * matrix.columnTiles + c) * ofTile, ofTile);
          auto added = MatrixProductOp::create(builder, loc, product.subscripts, left[r], right[c], own, units.terms);
          llvm::copy(added.getResults(), own.begin());
        }
    }
  };
  int64_t steps = shape.looped[matrix.summed] / units.summed, atOnce = matrix.rowTiles * matrix.columnTiles > 4 ? 1 : chooseStepsAtOnce(steps);
  auto leave = [&](scf::ForOp loop) {
    scf::YieldOp::create(builder, loc, sums);
    builder.setInsertionPointAfter(loop);
    sums = SmallVector<Value>(loop.getResults());
  };
  if (steps > atOnce) {
    scf::ForOp ofSteps = loop(steps, atOnce, sums);
    sums = SmallVector<Value>(ofSteps.getRegionIterArgs());
    for (int64_t n = 0; n < atOnce; ++n)
      stageStep(narrow.add(toNarrow(ofSteps.getInductionVar()), n), /*isRest=*/false);
    leave(ofSteps);
  } else {
    for (int64_t n = 0; n < steps; ++n)
      stageStep(narrow.constant(n), /*isRest=*/false);
  }
  if (shape.looped[matrix.summed] % units.summed)
    stageStep(narrow.constant(steps), /*isRest=*/true);
  for (scf::ForOp loop : llvm::reverse(loops))
    leave(loop);

  // Each lane writes what it has.
  struct Element {
    Value sum;
    Position row, column;
  };
  SmallVector<Element> elements;
  for (int64_t r = 0, n = 0; r < matrix.rowTiles; ++r)
    for (int64_t c = 0; c < matrix.columnTiles; ++c)
      for (int64_t m = 0; m < fragment.rows; ++m)
        for (int64_t k = 0; k < fragment.columns; ++k)
          elements.push_back({sums[n++], getRow(r, m), getColumn(c, k)});
  position.erase(matrix.summed);
  Value result = op->getResult(0);
  writeResult(result, [&](const NestPlace &to) {
    NestPlace place = to;
    SmallVector<Value> values;
    bool isAtomic = place.accumulate && target.addsInMemory(place.base);
    auto enterElement = [&](const Element &element) {
      position[matrix.row] = element.row.at;
      position[matrix.column] = element.column.at;
      Value row = element.row.isWithin, column = element.column.isWithin;
      elementMask = row && column ? Value(arith::AndIOp::create(builder, loc, row, column)) : row ? row : column;
    };
    for (const Element &element : elements) {
      enterElement(element);
      values.push_back(place.accumulate && !isAtomic ? Value(AddOp::create(builder, loc, read(result, place), element.sum)) : element.sum);
    }
    // All are read before one is written.
    if (place.accumulate && !isAtomic)
      target.separateLanes();
    place.accumulate = isAtomic;
    for (auto [value, element] : llvm::zip(values, elements)) {
      enterElement(element);
      write(value, result, place);
    }
  });
  elementMask = Value();
  builder.restoreInsertionPoint(after);
}
