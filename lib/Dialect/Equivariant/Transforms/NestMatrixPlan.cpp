//===- NestMatrixPlan.cpp - which einsums are products of matrices --------===//
//
// An einsum of two factors is one if it sums over a letter that both have, and its result has a letter that only the one has and a letter that only the other has. Rows that are
// worked on side by side are such a letter too: what is given for each of them, weights times a row's numbers, has them in the result, gradients of weights that all rows share sum over them.
// Sums of such einsums, added before or after they are summed, are products of longer matrices.
//
//===----------------------------------------------------------------------===//
#include "NestPlan.h"

using namespace mlir;
using namespace espmm::equivariant;

bool NestPlan::collectProducts(Operation *op, const NestShape &shape, SmallVectorImpl<EinsumOp> &products) const {
  auto einsum = dyn_cast<EinsumOp>(op);
  if (einsum && einsum.getOperands_().size() == 2) {
    products.push_back(einsum);
    return true;
  }
  // What is between has to leave components as they are.
  if (einsum && shape.dropLooped(einsum.getOperandLetters(0)) != shape.dropLooped(einsum.getResultLetters()))
    return false;
  return (einsum || isa<AddOp>(op)) && llvm::all_of(op->getOperands(), [&](Value operand) {
           Operation *producer = operand.getDefiningOp();
           return analysis.isNest(producer) && isInlined(producer) && collectProducts(producer, shape, products);
         });
}

std::optional<NestMatrix> NestPlan::makeMatrix(Operation *op, const NestShape &shape) const {
  SmallVector<EinsumOp> products;
  if (!limits.units.rows || !shape.looped.count(rowLetter) || !collectProducts(op, shape, products))
    return std::nullopt;
  NestMatrix matrix;
  auto getExtent = [&](char letter) { return shape.looped.at(letter); };
  /// Rows if they are one of the letters, else the longest.
  auto choose = [&](llvm::function_ref<bool(char)> mayBe) {
    char chosen = 0;
    for (auto [letter, extent] : shape.looped)
      if (mayBe(letter) && (!chosen || letter == rowLetter || extent > getExtent(chosen)))
        chosen = letter;
    return chosen;
  };
  for (EinsumOp product : products) {
    Value left = product.getOperands_()[0], right = product.getOperands_()[1];
    bool isTurned = false;
    std::map<char, int64_t> ofLeft = getLoops(left), ofRight = getLoops(right);
    // The rows that are worked on side by side are the result's; else its rows are what comes first.
    if (shape.kept.count(rowLetter) && ofRight.count(rowLetter)) {
      std::swap(left, right);
      std::swap(ofLeft, ofRight);
      isTurned = true;
    }
    NestMatrix own;
    own.row = choose([&](char letter) { return ofLeft.count(letter) && !ofRight.count(letter) && shape.kept.count(letter); });
    own.column = choose([&](char letter) { return ofRight.count(letter) && !ofLeft.count(letter) && shape.kept.count(letter); });
    own.summed = choose([&](char letter) { return ofLeft.count(letter) && ofRight.count(letter) && !shape.kept.count(letter); });
    if (!own.row || !own.column || !own.summed || (own.row != rowLetter && own.summed != rowLetter))
      return std::nullopt;
    if (matrix.row && (own.row != matrix.row || own.column != matrix.column || own.summed != matrix.summed))
      return std::nullopt;
    matrix.row = own.row;
    matrix.column = own.column;
    matrix.summed = own.summed;
    std::array<std::string, 2> letters{shape.dropLooped(product.getOperandLetters(0)), shape.dropLooped(product.getOperandLetters(1))};
    matrix.products.push_back({left, right, letters[isTurned] + "," + letters[!isTurned] + "->" + shape.dropLooped(product.getResultLetters())});
  }
  // The sum over all rows is to be as exact as one in pairs: two numbers of tf32 have a bit less than one of f32, which is too few.
  if (limits.units.terms > 1 && matrix.summed == rowLetter)
    return std::nullopt;
  chooseTiles(matrix, shape, std::max<int64_t>(countElements(op->getResult(0), shape.looped), 1));
  return matrix;
}

std::array<int64_t, 2> NestPlan::countTiles(const NestMatrix &matrix, const NestShape &shape) const {
  auto count = [&](char letter, int64_t tile) { return (shape.looped.at(letter) + tile - 1) / tile; };
  return {count(matrix.row, limits.units.rows), count(matrix.column, limits.units.columns)};
}

/// What it takes to know where a piece is, in instructions.
static constexpr int64_t ofPlace = 40;

/// What a step of a piece costs for each component, in instructions: a lane reads numbers of tiles of both factors and takes them apart; products take the units longer than others.
int64_t NestPlan::countStep(int64_t rowTiles, int64_t columnTiles) const {
  constexpr int64_t ofAddress = 2, ofProduct = 3;
  const MatrixUnits &units = limits.units;
  auto ofTile = [&](int64_t tile) { return tile * units.summed / limits.lanes * units.ofNumber + ofAddress; };
  return rowTiles * ofTile(units.rows) + columnTiles * ofTile(units.columns) + rowTiles * columnTiles * units.terms * ofProduct;
}

int64_t NestPlan::countComponents(const NestMatrix &matrix, const NestShape &shape, int64_t elements) const {
  int64_t count = 0;
  for (const NestMatrix::Product &product : matrix.products)
    count += std::max({elements, countElements(product.left, shape.looped), countElements(product.right, shape.looped)});
  return count;
}

void NestPlan::chooseTiles(NestMatrix &matrix, const NestShape &shape, int64_t elements) const {
  constexpr int64_t mostLive = 56;
  auto [rows, columns] = countTiles(matrix, shape);
  int64_t components = countComponents(matrix, shape, elements), half = limits.units.summed / 2, steps = (shape.looped.at(matrix.summed) + half - 1) / half;
  int64_t sumsOfTile = limits.units.rows * limits.units.columns / limits.lanes * elements, least = std::numeric_limits<int64_t>::max();
  for (int64_t rowTiles = 1; rowTiles <= rows; ++rowTiles)
    for (int64_t columnTiles = 1; columnTiles <= columns; ++columnTiles) {
      int64_t numbers = (rowTiles * limits.units.rows + columnTiles * limits.units.columns) * limits.units.summed / limits.lanes * components * (limits.units.terms == 3 ? 2 : 1);
      if (rows % rowTiles || columns % columnTiles || (rowTiles * columnTiles * sumsOfTile + numbers > mostLive && rowTiles * columnTiles > 1))
        continue;
      int64_t pieces = rows / rowTiles * (columns / columnTiles);
      // Operations of which none waits for another share out their pieces together: what all do counts, and the longest share of this one as much.
      int64_t work = steps * countStep(rowTiles, columnTiles) * components / 2 + ofPlace, cost = pieces * work + (pieces + limits.parts - 1) / limits.parts * work;
      if (cost < least) {
        least = cost;
        matrix.rowTiles = rowTiles;
        matrix.columnTiles = columnTiles;
      }
    }
}

int64_t NestPlan::countPieces(const NestShape &shape) const {
  auto [rows, columns] = countTiles(*shape.matrix, shape);
  return rows / shape.matrix->rowTiles * (columns / shape.matrix->columnTiles);
}

int64_t NestPlan::countPieceWork(Operation *op, const NestShape &shape) const {
  constexpr int64_t ofWrite = 6;
  const NestMatrix &matrix = *shape.matrix;
  int64_t half = limits.units.summed / 2, steps = (shape.looped.at(matrix.summed) + half - 1) / half, outer = 1;
  for (auto [letter, extent] : shape.looped)
    if (letter != matrix.row && letter != matrix.column && letter != matrix.summed)
      outer *= extent;
  int64_t elements = std::max<int64_t>(countElements(op->getResult(0), shape.looped), 1);
  int64_t ofStep = countComponents(matrix, shape, elements) * countStep(matrix.rowTiles, matrix.columnTiles);
  int64_t ofTile = limits.units.rows * limits.units.columns / limits.lanes * elements;
  return outer * (steps * ofStep / 2 + matrix.rowTiles * matrix.columnTiles * ofTile * ofWrite + ofPlace);
}
