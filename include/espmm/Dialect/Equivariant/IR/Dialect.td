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

    Attributes that ops of any dialect may have:
    - `equivariant.target`, of a module from the schedule on: what it is compiled for, `"cpu"` or `"cuda:sm_90"`.
    - `equivariant.statistics`, of a module: by pass, what was counted.
    - `equivariant.cost`, of a launch: what the kernel costs for an edge and a node, and its registers.
    - `equivariant.choices`, of a launch: how the kernel runs, and why.

    Constraints:
    - (dialect_c1) `equivariant.target` is `"cpu"` or `"cuda:sm_NUMBER"`, and a module's.
    - (dialect_c2) `equivariant.statistics` is a dictionary of dictionaries of integers, and a module's.
    - (dialect_c3) `equivariant.cost` is a dictionary of integers, and an `equivariant.launch`'s.
    - (dialect_c4) `equivariant.choices` is an array of strings, and an `equivariant.launch`'s.
  }];
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let extraClassDeclaration = [{
    void registerAttributes();

    /// Of a module, from tile on: what it is compiled for, "cpu" or "cuda:sm_NUMBER".
    static constexpr ::llvm::StringLiteral targetAttrName = "equivariant.target";
    /// Of a module: by pass, what was counted.
    static constexpr ::llvm::StringLiteral statisticsAttrName = "equivariant.statistics";
    /// Of a launch: what the kernel costs.
    static constexpr ::llvm::StringLiteral costAttrName = "equivariant.cost";
    /// Of a launch: how the kernel runs, and why.
    static constexpr ::llvm::StringLiteral choicesAttrName = "equivariant.choices";

    /// True for "cpu", and for "cuda:sm_NUMBER" with a letter after it or not.
    static bool isTargetName(::llvm::StringRef name);
  }];
  let useDefaultTypePrinterParser = 1;
}

#endif // ESPMM_EQUIVARIANT_DIALECT_TD
