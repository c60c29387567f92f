"""The operators ``torch.ops.espmm.run`` and ``torch.ops.espmm.plan``: what tracers see.

torch.compile, export, make_fx and jit.trace record these; they have fakes and a registered autograd formula, and take
everything as tensors, sizes too. A program travels as a string.
"""

from __future__ import annotations

from typing import Any, Optional, Sequence

import torch

from . import transforms
from .graph import build_side
from .launch import PLAN_NAMES, ListedSpace, RowSpace, Tensors, launch, result_shapes, torch_dtype
from .plan import PARTS
from .program import Program

_PLAIN = (torch.Tensor, torch.nn.Parameter, type(None))


def is_traced(tensors: Tensors) -> bool:
    """Whether a tracer is looking: then only operators count, and tensors may have no memory."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0 or torch.jit.is_tracing():
        return True
    for tensor in tensors:
        if type(tensor) not in _PLAIN and _is_symbolic(tensor):
            return True
    return False


def _is_symbolic(tensor: Optional[torch.Tensor]) -> bool:
    """Whether this is a tensor of a class that interprets operators, such as FakeTensor."""
    return type(tensor).__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl


class TracedSpace:
    """An index space as tensors only: the plan's arrays, or none for a batch. Sizes follow from shapes."""

    __slots__ = ("plan",)

    def __init__(self, plan: Sequence[torch.Tensor] = ()) -> None:
        self.plan = list(plan)

    @classmethod
    def of(cls, space: Any) -> "TracedSpace":
        if isinstance(space, TracedSpace):
            return space
        if isinstance(space, RowSpace):
            return cls()
        receivers, senders = space.built_side("receivers"), space.built_side("senders")
        if senders is None:
            index, other = space.indices()[::-1]
            senders = torch.ops.espmm.plan(
                index, other, index.new_empty(space.num_senders, 0), index.new_empty(space.num_receivers, 0)
            )
        empty = receivers.offsets[:0]
        return cls([empty if array is None else array for array in (*receivers[:4], *senders[:4])])

    @classmethod
    def of_edges(cls, receivers: torch.Tensor, senders: torch.Tensor, nodes: torch.Tensor) -> "TracedSpace":
        """A graph made inside the traced program, by operators.

        Numbers of nodes are given as tensors of as many rows: jit.trace keeps numbers as constants.
        """
        rows = nodes.detach()[:, :0]
        plan = torch.ops.espmm.plan
        return cls([*plan(receivers, senders, rows, rows), *plan(senders, receivers, rows, rows)])


def run_traced(program: Program, space: Any, tensors: Tensors) -> Sequence[torch.Tensor]:
    return _call(program.serialize(), TracedSpace.of(space).plan, tensors)


def _call(program: str, plan: Sequence[torch.Tensor], tensors: Tensors) -> Sequence[torch.Tensor]:
    """The operator; it takes empty tensors for those that are not there."""
    example = next(t for t in tensors if t is not None)
    return torch.ops.espmm.run(program, [example.new_empty(0) if t is None else t for t in tensors], list(plan))


def _sizes(program: Program, tensors: Sequence[torch.Tensor], plan: Sequence[torch.Tensor]) -> list[Any]:
    """(E, R, S), which may be symbolic, from the shapes of the plan or of a tensor with a row for each edge."""
    if program.space == "graph":
        offsets, _, other, _, sender_offsets = plan[:5]
        return [other.shape[0], offsets.shape[0] - 1, sender_offsets.shape[0] - 1]
    return [next(tensors[i].shape[0] for i in sorted(program.used) if program.arguments[i].rows == "edges"), 0, 0]


def _check_run(program: Program, tensors: Sequence[Any], plan: Sequence[Any]) -> None:
    """What the operator checks: it can be called by anyone."""
    if len(tensors) != len(program.arguments):
        raise ValueError(f"expected {len(program.arguments)} tensors for {program!r}, got {len(tensors)}")
    expected = len(PLAN_NAMES) if program.space == "graph" else 0
    if len(plan) != expected:
        raise ValueError(f"expected {expected} plan arrays for {program!r}, got {len(plan)}")
    for name, array in zip(PLAN_NAMES, plan):
        if array.dtype != torch.int32 or array.ndim != 1 or not array.is_contiguous():
            raise ValueError(
                f"expected {name} to be a contiguous int32 array, got {array.dtype} of shape {tuple(array.shape)}"
            )
    rows = dict(zip(("edges", "receivers", "senders"), _sizes(program, tensors, plan)), all=1)
    device = tensors[min(program.used)].device
    for i in sorted(program.used):
        spec, tensor = program.arguments[i], tensors[i]
        if tensor.dtype != torch_dtype(spec.dtype):
            raise TypeError(f"expected {spec.name} to be {spec.dtype}, got {tensor.dtype}")
        if tensor.ndim != 2 or tensor.shape[1] != spec.width or tensor.shape[0] != rows[spec.rows]:
            raise ValueError(f"expected {spec.name} of shape ({rows[spec.rows]}, {spec.width}), got {tuple(tensor.shape)}")
        if tensor.device != device:
            raise ValueError(f"expected all tensors on {device}, got {spec.name} on {tensor.device}")


def _run_op(program: str, tensors: list[torch.Tensor], plan: list[torch.Tensor]) -> list[torch.Tensor]:
    parsed = Program.deserialize(program)
    _check_run(parsed, tensors, plan)
    return launch(parsed, ListedSpace(_sizes(parsed, tensors, plan), plan), tensors)


def _run_fake(program: str, tensors: list[torch.Tensor], plan: list[torch.Tensor]) -> list[torch.Tensor]:
    parsed = Program.deserialize(program)
    device = tensors[min(parsed.used)].device
    shapes = result_shapes(parsed, _sizes(parsed, tensors, plan))
    return [torch.empty(shape, dtype=torch_dtype(spec.dtype), device=device) for shape, spec in zip(shapes, parsed.results)]


def _plan_op(index: torch.Tensor, other: torch.Tensor, nodes: torch.Tensor, others: torch.Tensor) -> list[torch.Tensor]:
    side = build_side(index, other, nodes.shape[0], others.shape[0], ("index", "other"))
    order = side.order
    if order is None:
        order = torch.arange(index.shape[0], dtype=torch.int32, device=index.device)
    return [side.offsets, order, side.other, side.parts]


def _plan_fake(index: torch.Tensor, other: torch.Tensor, nodes: torch.Tensor, others: torch.Tensor) -> list[torch.Tensor]:
    edges = index.shape[0]
    return [index.new_empty(length, dtype=torch.int32) for length in (nodes.shape[0] + 1, edges, edges, PARTS + 1)]


_library = torch.library.Library("espmm", "DEF")
_library.define("run(str program, Tensor[] tensors, Tensor[] plan) -> Tensor[]")
_library.define("plan(Tensor index, Tensor other, Tensor nodes, Tensor others) -> Tensor[]")
for _key in ("CPU", "CUDA"):
    _library.impl("run", _run_op, _key)
    _library.impl("plan", _plan_op, _key)
torch.library.register_fake("espmm::run", _run_fake, lib=_library)
torch.library.register_fake("espmm::plan", _plan_fake, lib=_library)
transforms.register(_library, _call, lambda tensors, plan: (plan, tensors))
