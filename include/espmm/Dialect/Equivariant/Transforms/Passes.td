#ifndef ESPMM_EQUIVARIANT_PASSES_TD
#define ESPMM_EQUIVARIANT_PASSES_TD

include "mlir/Pass/PassBase.td"

def EquivariantDifferentiate : Pass<"equivariant-differentiate", "::mlir::ModuleOp"> {
  let summary = "replace each function by its vector-Jacobian product";
  let description = [{
    The result takes the function's arguments and then the cotangents of the results listed in `cotangents` (an absent
    cotangent is zero), and gives the gradients with respect to the arguments listed in `wrt`. Because contracts, gathers, segment sums and adds
    are closed under differentiation, running the pass n times gives the n-th derivative. What the wanted gradients do not
    need disappears.

    ```mlir
    // before; wrt=1,3 cotangents=0
    func.func @conv(%g, %x, %y, %w) {
      %xe = equivariant.gather %x at senders of %g
      %m = equivariant.contract z of #dot (x = %xe, y = %y, w = %w)
      %z = equivariant.segment_sum %m at receivers of %g
      return %z
    }
    // after
    func.func @conv_vjp(%g, %x, %y, %w, %gz) {
      %ge = equivariant.gather %gz at receivers of %g
      %mx = equivariant.contract x of #dot (y = %y, w = %w, z = %ge)
      %gx = equivariant.segment_sum %mx at senders of %g
      %xe = equivariant.gather %x at senders of %g
      %gw = equivariant.contract w of #dot (x = %xe, y = %y, z = %ge)
      return %gx, %gw
    }
    ```
  }];
  let options = [
    ListOption<"wrt", "wrt", "int64_t", "argument numbers to differentiate with respect to (default: every tensor)">,
    ListOption<"cotangents", "cotangents", "int64_t", "result numbers whose cotangents are given (default: all)">];
  let dependentDialects = ["::espmm::equivariant::EquivariantDialect", "::mlir::func::FuncDialect"];
}

def EquivariantFuse : Pass<"equivariant-fuse", "::mlir::ModuleOp"> {
  let summary = "make one kernel of everything that runs once an edge";
  let description = [{
    Contracts, adds and zeros on edge rows go into the body of an `equivariant.kernel`; gathers become the accesses of its operands,
    segment sums those of its results. Values of edge size that nobody outside asks for exist no more. Only a gather that reads a segment sum starts
    another kernel.

    ```mlir
    // before
    %xe = equivariant.gather %x at senders of %g
    %m = equivariant.contract z of #dot (x = %xe, y = %y, w = %w)
    %z = equivariant.segment_sum %m at receivers of %g
    // after
    %z = equivariant.kernel over %g ins(%x at senders, %y at edge, %w at edge) outs(receivers) {
    ^bb0(%xe, %ye, %we):
      %m = equivariant.contract z of #dot (x = %xe, y = %ye, w = %we)
      equivariant.yield %m
    }
    ```
  }];
  let dependentDialects = ["::espmm::equivariant::EquivariantDialect"];
  let statistics = [Statistic<"numKernels", "kernels", "kernels made">];
}

#endif // ESPMM_EQUIVARIANT_PASSES_TD
