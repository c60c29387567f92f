#ifndef ESPMM_EQUIVARIANT_DIALECT_TD
#define ESPMM_EQUIVARIANT_DIALECT_TD

include "mlir/IR/OpBase.td"

def Equivariant_Dialect : Dialect {
  let name = "equivariant";
  let cppNamespace = "::espmm::equivariant";
  let summary = "O(3)-equivariant tensor products and their graph convolutions";
  let description = [{
    One op, `equivariant.contract`, says a tensor product and each of its partial contractions: the product
    is linear in x, y, w and z, so the gradient of a contract is a sum of contracts. `gather` and
    `segment_sum` move values between the nodes and the edges of a graph, and are each other's transposes.
    With `add` these are closed under differentiation.

    From `equivariant.kernel` on, a program is a loop over edges (or rows) whose body holds first contracts, then small
    einsums (`equivariant.einsum`), then loops and buffers around them, and at last multiply-adds.
  }];
  let useDefaultAttributePrinterParser = 1;
  let extraClassDeclaration = "void registerAttributes();";
  let useDefaultTypePrinterParser = 1;
}

#endif // ESPMM_EQUIVARIANT_DIALECT_TD
