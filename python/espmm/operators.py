"""The operators ``torch.ops.espmm.run`` and ``torch.ops.espmm.plan``: what tracers see.

torch.compile, export, make_fx and jit.trace record these. They take everything as tensors, sizes too, and a program as a string.
They are registered in C++ (``lib/Torch``), so that what was traced runs without Python; shapes for tracers and, by :mod:`espmm.transforms`, the rules
of derivatives, which PyTorch's stable ABI has no place for, are registered here. Their errors are a ``ValueError`` (also for a wrong dtype: the ABI knows no
``TypeError``), an ``IndexError`` for an index out of range, or a ``RuntimeError``.
"""

from __future__ import annotations

from typing import Any, Optional, Sequence

import torch

from . import _torchlib, transforms
from .errors import UnsupportedError
from .launch import RowSpace, Tensors, result_shapes, torch_dtype
from .plan import PARTS
from .program import Program

#: A program without a graph has none of the plan's arrays: offsets, order, other and parts, by receivers and by senders.
_NO_PLAN = (None,) * 8
#: As many as the operator has room for (``lib/Torch/Operators.h``).
_MOST_TENSORS = 20

#: Classes of tensors that interpret no operators, and None's.
PLAIN = (torch.Tensor, torch.nn.Parameter, type(None))


_dispatch_modes = torch._C._len_torch_dispatch_stack
_is_jit_tracing = torch._C._is_tracing
_PROXIES = torch._C._TorchDispatchModeKey.PROXY  # of make_fx and torch.export


def is_tracing() -> bool:
    """Whether a tracer is looking at all that is done."""
    return torch.compiler.is_compiling() or _dispatch_modes() > 0 or _is_jit_tracing()


def is_recorded() -> bool:
    """Whether what is done now becomes a program that will run elsewhere."""
    return torch.compiler.is_compiling() or _is_jit_tracing() or torch._C._get_dispatch_mode(_PROXIES) is not None


def is_traced(tensors: Tensors) -> bool:
    """Whether a tracer is looking, at everything or at these: then only operators count, and tensors may have no memory."""
    if torch.compiler.is_compiling() or _dispatch_modes() > 0 or _is_jit_tracing():  # is_tracing, without a call
        return True
    for tensor in tensors:
        if type(tensor) not in PLAIN and _is_symbolic(tensor):
            return True
    return False


def _is_symbolic(tensor: Optional[torch.Tensor]) -> bool:
    """Whether this is a tensor of a class that interprets operators, such as FakeTensor."""
    return type(tensor).__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl


class TracedSpace:
    """An index space as tensors only: the plan's arrays, or none for a batch. Sizes follow from shapes.

    ``module`` is what errors of programs on it begin with, the path of a module in a model, or "".
    """

    __slots__ = ("plan", "module")

    def __init__(self, plan: Sequence[torch.Tensor] = (), module: str = "") -> None:
        self.plan = list(plan)
        self.module = module

    @classmethod
    def of(cls, space: Any, module: str = "") -> "TracedSpace":
        if isinstance(space, TracedSpace):
            return space
        if isinstance(space, RowSpace):
            return cls(module=module)
        receivers, senders = space.built_side("receivers"), space.built_side("senders")
        if senders is None:
            index, other = space.indices()[::-1]
            senders = _torchlib.operators().plan(
                index, other, index.new_empty(space.num_senders, 0), index.new_empty(space.num_receivers, 0), **_named(module)
            )
        empty = receivers.offsets[:0]
        return cls([empty if array is None else array for array in (*receivers[:4], *senders[:4])], module)

    @classmethod
    def of_edges(cls, receivers: torch.Tensor, senders: torch.Tensor, nodes: torch.Tensor, module: str = "") -> "TracedSpace":
        """A graph made inside the traced program, by operators.

        Numbers of nodes are given as tensors of as many rows: jit.trace keeps numbers as constants.
        """
        rows = nodes.detach()[:, :0]
        plan, named = _torchlib.operators().plan, _named(module)
        return cls([*plan(receivers, senders, rows, rows, **named), *plan(senders, receivers, rows, rows, **named)], module)


def run_traced(program: Program, space: Any, tensors: Tensors) -> Sequence[torch.Tensor]:
    traced = TracedSpace.of(space)
    return _call(program.serialize(), traced.plan, tensors, traced.module)


def _call(program: str, plan: Tensors, tensors: Tensors, module: str = "") -> Sequence[torch.Tensor]:
    """The operator.

    Args:
        module: what its errors begin with, the path of a module in a model.

    Raises:
        UnsupportedError: more tensors than it has room for.
    """
    if len(tensors) > _MOST_TENSORS:
        raise UnsupportedError(f"expected at most {_MOST_TENSORS} tensors in a derivative that is traced, got {len(tensors)}")
    return _torchlib.operators().run(program, *(plan or _NO_PLAN), *tensors, **_named(module))


def _named(module: str) -> dict[str, str]:
    return {"module": module} if module else {}


def _split(*arguments: Any) -> tuple[Sequence[Any], Sequence[Any]]:
    """The operator's arguments after the program (or something for each of them): those for the plan's arrays, those for tensors."""
    return arguments[: len(_NO_PLAN)], arguments[len(_NO_PLAN) :]


def _sizes(program: Program, plan: Sequence[torch.Tensor], tensors: Tensors) -> list[Any]:
    """(E, R, S), which may be symbolic, from the shapes of the plan or of a tensor with a row for each edge."""
    if program.space == "graph":
        offsets, _, other, _, sender_offsets = plan[:5]
        return [other.shape[0], offsets.shape[0] - 1, sender_offsets.shape[0] - 1]
    by_edge = (tensors[i] for i in sorted(program.used) if program.arguments[i].rows == "edges")
    return [next(by_edge).shape[0], 0, 0]  # type: ignore[union-attr]


def _run_fake(program: str, *arguments: Optional[torch.Tensor], module: str = "") -> list[torch.Tensor]:
    parsed = Program.deserialize(program)
    plan, tensors = _split(*arguments)
    device = tensors[min(parsed.used)].device  # type: ignore[union-attr]
    shapes = result_shapes(parsed, _sizes(parsed, plan, tensors))  # type: ignore[arg-type]
    return [torch.empty(shape, dtype=torch_dtype(spec.dtype), device=device) for shape, spec in zip(shapes, parsed.results)]


def _plan_fake(
    index: torch.Tensor, other: torch.Tensor, nodes: torch.Tensor, others: torch.Tensor, *, module: str = ""
) -> tuple[torch.Tensor, ...]:
    edges = index.shape[0]
    return tuple(index.new_empty(length, dtype=torch.int32) for length in (nodes.shape[0] + 1, edges, edges, PARTS + 1))


_library = torch.library.Library("espmm", "FRAGMENT")
if _torchlib.missing is None:
    torch.library.register_fake("espmm::run", _run_fake, lib=_library)
    torch.library.register_fake("espmm::plan", _plan_fake, lib=_library)
    transforms.register(_library, _call, _split)
