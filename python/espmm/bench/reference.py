"""The yardsticks: e3nn as its users write it, for times; e3nn in float64 in pieces that fit in memory, for errors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache

import torch
from torch import Tensor

from ..irreps import Irreps
from ..problem import TPProblem
from ..problems import DENSE, NAMED, UNEVEN, every_path, fully_connected_problem

# What the float64 reference may take at a time; e3nn's double backward holds some 16 buffers of an output row each.
_REFERENCE_BYTES = {"cpu": 2 << 30, "cuda": 8 << 30}
_BUFFERS = 16


@dataclass(frozen=True)
class Product:
    """A tensor product by name, in the arguments that `o3.TensorProduct` and `TPProblem` share."""

    name: str
    irreps_in1: str
    irreps_in2: str
    irreps_out: str
    instructions: tuple[tuple[int, int, int, str, bool], ...]
    shared_weights: bool = False

    @classmethod
    def named(cls, name: str) -> Product:
        """One of `espmm.problems.NAMED`, `UNEVEN` or `DENSE`, or of the last with "-shared" after it."""
        base = name.removesuffix("-shared")
        if base in DENSE:
            in1, in2, out = DENSE[base]
            instructions = [tuple(ins)[:5] for ins in fully_connected_problem(in1, in2, out).instructions]
            return cls(name, in1, in2, out, tuple(instructions), name != base)
        in1, in2, targets = {**NAMED, **UNEVEN}[name]
        irreps_out, instructions = every_path(in1, in2, targets)
        return cls(name, in1, in2, str(irreps_out), tuple(instructions))

    @property
    def dims(self) -> tuple[int, int, int, int]:
        """Widths of a row of x, y, w and z."""
        problem = self.problem("float32", "mul_ir")
        return problem.irreps_in1.dim, problem.irreps_in2.dim, problem.weight_numel, problem.irreps_out.dim

    def problem(self, dtype: torch.dtype | str, layout: str) -> TPProblem:
        """As espmm takes it."""
        return TPProblem(
            self.irreps_in1,
            self.irreps_in2,
            self.irreps_out,
            self.instructions,
            shared_weights=self.shared_weights,
            internal_weights=False,
            irrep_dtype=dtype,
            weight_dtype=dtype,
            layout=layout,
        )


@dataclass
class Operands:
    """Inputs of all passes: x, y, w; the cotangent gz of z; the cotangents cx, cy, cw of the gradients of x, y, w.

    With a graph, x and cx have a row a sender, gz a row a receiver, the others a row an edge. In a batch
    (`receivers` and `senders` None) all have a row a row. Weights that all rows share, and their cotangent, are one row, of rank 1.
    """

    x: Tensor
    y: Tensor
    w: Tensor
    gz: Tensor
    cx: Tensor
    cy: Tensor
    cw: Tensor
    receivers: Tensor | None
    senders: Tensor | None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name, without the indices."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("receivers", "senders")}

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())


#: What each pass gives, by name: z; gx, gy, gw; dx, dy, dw, dgz (of sum(cx gx) + sum(cy gy) + sum(cw gw)).
PASSES: dict[str, tuple[str, ...]] = {
    "forward": ("z",),
    "backward": ("gx", "gy", "gw"),
    "double backward": ("dx", "dy", "dw", "dgz"),
}


@lru_cache(maxsize=4)  # e3nn generates code for each
def e3nn_module(product: Product, dtype: torch.dtype, device: torch.device) -> torch.nn.Module:
    """`o3.TensorProduct`, built in its dtype: one turned to float64 would keep coefficients of float32."""
    from e3nn import o3

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return o3.TensorProduct(
            product.irreps_in1,
            product.irreps_in2,
            product.irreps_out,
            product.instructions,
            shared_weights=product.shared_weights,
            internal_weights=False,
        ).to(device)
    finally:
        torch.set_default_dtype(before)


class E3nnConv(torch.nn.Module):
    """gather, `o3.TensorProduct`, index_add; without indices the product alone."""

    def __init__(self, tp: torch.nn.Module) -> None:
        super().__init__()
        self.tp = tp

    def forward(
        self, x: Tensor, y: Tensor, w: Tensor, receivers: Tensor | None = None, senders: Tensor | None = None
    ) -> Tensor:
        if receivers is None:
            return self.tp(x, y, w)
        messages = self.tp(x[senders], y, w)
        return messages.new_zeros(x.shape[0], messages.shape[1]).index_add(0, receivers, messages)


def with_layout(tensor: Tensor, irreps: str, source: str, target: str) -> Tensor:
    """Reorders rows [n, dim] from one layout, "mul_ir" or "ir_mul", to the other."""
    if source == target:
        return tensor
    parts = []
    for (mul, ir), block in zip(Irreps(irreps), Irreps(irreps).slices()):
        shape = (mul, ir.dim) if source == "mul_ir" else (ir.dim, mul)
        parts.append(tensor[:, block].unflatten(1, shape).transpose(1, 2).flatten(1))
    return torch.cat(parts, 1)


class _Error:
    """||result - reference|| / ||reference||, the reference coming in pieces."""

    def __init__(self) -> None:
        self.difference = 0.0
        self.reference = 0.0

    def add(self, result: Tensor, reference: Tensor) -> None:
        self.difference += float((result.to(reference.dtype) - reference).square().sum())
        self.reference += float(reference.square().sum())

    @property
    def relative(self) -> float:
        if self.reference == 0.0:
            return 0.0 if self.difference == 0.0 else math.inf
        return math.sqrt(self.difference / self.reference)


def relative_errors(
    product: Product, layout: str, operands: Operands, results: Mapping[str, Tensor]
) -> dict[str, float]:
    """Error of each pass's results against e3nn in float64: the largest over its tensors.

    Args:
        product, layout, operands: what was computed.
        results: by name, those of `PASSES`; passes that have some missing are left out.
    """
    module = e3nn_module(product, torch.float64, operands.x.device)
    rows = max(1, _REFERENCE_BYTES[operands.x.device.type] // (8 * _BUFFERS * sum(product.dims)))
    receivers, senders = operands.receivers, operands.senders
    irreps = {"x": product.irreps_in1, "y": product.irreps_in2, "z": product.irreps_out}
    errors = {name: _Error() for names in PASSES.values() for name in names}

    def convert(tensor: Tensor, side: str) -> Tensor:
        tensor = tensor.double()
        return with_layout(tensor, irreps[side], layout, "mul_ir") if side in irreps else tensor

    # Rows of x and z are summed over all pieces before they are compared; those of edges are compared piece by piece.
    x, gz, cx = convert(operands.x, "x"), convert(operands.gz, "z"), convert(operands.cx, "x")
    summed = {name: torch.zeros_like(like) for name, like in (("z", gz), ("gx", x), ("dx", x), ("dgz", gz))}
    shared = product.shared_weights
    if shared:
        summed |= {name: torch.zeros_like(operands.w, dtype=torch.float64) for name in ("gw", "dw")}
    for start in range(0, operands.y.shape[0], rows):
        piece = slice(start, min(start + rows, operands.y.shape[0]))
        at_receivers = (
            receivers[piece] if receivers is not None else torch.arange(piece.start, piece.stop, device=x.device)
        )
        at_senders = senders[piece] if senders is not None else at_receivers
        inputs = [
            tensor.requires_grad_()
            for tensor in (
                x[at_senders],
                convert(operands.y[piece], "y"),
                convert(operands.w if shared else operands.w[piece], "w"),
                gz[at_receivers],
            )
        ]
        z = module(*inputs[:3])
        first = torch.autograd.grad(z, inputs[:3], inputs[3], create_graph=True)
        cotangents = (cx[at_senders], convert(operands.cy[piece], "y"), convert(operands.cw if shared else operands.cw[piece], "w"))
        second = torch.autograd.grad(first, inputs, cotangents)
        summed["z"].index_add_(0, at_receivers, z.detach())
        summed["gx"].index_add_(0, at_senders, first[0].detach())
        summed["dx"].index_add_(0, at_senders, second[0])
        summed["dgz"].index_add_(0, at_receivers, second[3])
        for name, side, value in (
            ("gy", "y", first[1].detach()),
            ("gw", "w", first[2].detach()),
            ("dy", "y", second[1]),
            ("dw", "w", second[2]),
        ):
            if name in summed:
                summed[name] += value
            elif name in results:
                errors[name].add(convert(results[name][piece], side), value)
    for name, value in summed.items():
        if name in results:
            errors[name].add(convert(results[name], name[-1]), value)
    complete = {title: names for title, names in PASSES.items() if all(name in results for name in names)}
    return {title: _largest(errors[name].relative for name in names) for title, names in complete.items()}


def _largest(errors: Iterable[float]) -> float:
    """The largest, or NaN if one is: max() would drop it."""
    found = list(errors)
    return math.nan if any(math.isnan(error) for error in found) else max(found)
