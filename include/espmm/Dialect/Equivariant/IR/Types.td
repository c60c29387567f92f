#ifndef ESPMM_EQUIVARIANT_TYPES_TD
#define ESPMM_EQUIVARIANT_TYPES_TD

include "espmm/Dialect/Equivariant/IR/Dialect.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinTypeInterfaces.td"
include "mlir/IR/CommonTypeConstraints.td"

class Equivariant_Type<string name, string typeMnemonic> : TypeDef<Equivariant_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def Equivariant_GraphType : Equivariant_Type<"Graph", "graph"> {
  let summary = "a graph: edges, each with a receiver and a sender";
  let description = "The index space of a convolution. Its sides are `receivers`, `senders` and `all`.";
}

def Equivariant_RowsType : Equivariant_Type<"Rows", "rows"> {
  let summary = "the rows of a batch";
  let description = "The index space of a product without a graph. Its one side is `all`.";
}

def Equivariant_Space : AnyTypeOf<[Equivariant_GraphType, Equivariant_RowsType],
                                  "an index space (`!equivariant.graph` or `!equivariant.rows`)">;

/// What flows between the ops: features (with irreps as their encoding) and weights.
def Equivariant_Tensor : RankedTensorOf<[F32, F64]>;

/// The same as it lies in memory; elements of bf16 and f16 are computed with in f32.
def Equivariant_StoredTensor : RankedTensorOf<[F32, F64, BF16, F16]>;

#endif // ESPMM_EQUIVARIANT_TYPES_TD
