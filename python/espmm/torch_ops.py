"""Run this program on these tensors: one operation for every product and every order of derivative.

Eager calls go through an ``autograd.Function``; what is traced (torch.compile, export, make_fx, jit.trace) goes through
the operator ``torch.ops.espmm.run``, which has a fake and a registered autograd formula. The gradient of either is itself
with the differentiated program.
"""

from __future__ import annotations

from typing import Any, Optional, Sequence

import torch
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd import forward_ad

from .graph import build_side
from .launch import PLAN_NAMES, ListedSpace, RowSpace, launch, result_shapes, torch_dtype
from .plan import PARTS
from .program import Program

Tensors = Sequence[Optional[torch.Tensor]]


def run(program: Program, space: Any, tensors: Tensors) -> Sequence[torch.Tensor]:
    """Runs a program, differentiably.

    Args:
        program: what to compute.
        space: a :class:`Graph` or :class:`RowSpace`; when traced a :class:`TracedSpace`.
        tensors: one for each of the program's arguments, (rows, width), of its dtype; None where it does not read it.

    Returns:
        The results, one for each of the program's results.
    """
    if is_traced(tensors) or isinstance(space, TracedSpace):
        return _run_traced(program, space, tensors)
    if any(t is not None and is_legacy_batchedtensor(t) for t in tensors):
        return _run_batched(program, space, tensors)
    if (
        (torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors))
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    ):
        return _Run.apply(program, space, *tensors)
    return launch(program, space, tensors)


def is_traced(tensors: Tensors) -> bool:
    """Whether a tracer is looking: then only operators count, and tensors may have no memory."""
    return (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch.jit.is_tracing()
        or any(t is not None and _is_symbolic(t) for t in tensors)
    )


def _is_symbolic(tensor: torch.Tensor) -> bool:
    return type(tensor) is not torch.Tensor and hasattr(type(tensor), "__torch_dispatch__") and (
        type(tensor).__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl
        and not isinstance(tensor, torch.nn.Parameter)
    )


# ---- eager ----------------------------------------------------------------------------------------------------------


class _Run(torch.autograd.Function):
    """``run`` for eager tensors. Inputs: program, index space, then the tensors."""

    @staticmethod
    def forward(program: Program, space: Any, *tensors: Optional[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return tuple(launch(program, space, tensors))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        program, space, *tensors = inputs
        ctx.program, ctx.space = program, space
        ctx.given = [tensor is not None for tensor in tensors]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*_needed_by_backward(program, ctx.needs_input_grad[2:], tensors))
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Optional[torch.Tensor]) -> tuple:
        return (None, None, *_gradients(ctx.program, ctx.space, ctx.saved_tensors, _wanted(ctx), cotangents))

    @staticmethod
    def jvp(ctx: Any, _program: None, _space: None, *tangents: Optional[torch.Tensor]) -> tuple:
        program = ctx.program
        active = tuple(i for i, tangent in enumerate(tangents) if tangent is not None)
        found = program.jvp(active)
        result: list[Optional[torch.Tensor]] = [None] * len(program.results)
        if found is not None:
            forward, places = found
            unread: list[Optional[torch.Tensor]] = [None] * len(places)
            tensors = [*ctx.saved_tensors, *unread, *(tangents[i] for i in active)]
            for place, value in zip(places, run(forward, ctx.space, tensors)):
                result[place] = value
        like = next(tangent for tangent in tangents if tangent is not None)
        for i, (shape, spec) in enumerate(zip(result_shapes(program, ctx.space.sizes), program.results)):
            if result[i] is None:
                result[i] = torch.zeros(shape, dtype=torch_dtype(spec.dtype), device=like.device)
        return tuple(result)

    @staticmethod
    def vmap(info: Any, in_dims: tuple, program: Program, space: Any, *tensors: Optional[torch.Tensor]) -> tuple:
        return _vmap(info.batch_size, in_dims, program, space, *tensors)


def _run_batched(program: Program, space: Any, tensors: Tensors) -> Sequence[torch.Tensor]:
    """``run`` inside ``torch.autograd.grad(is_grads_batched=True)``, whose vmap is an older one than torch.func's."""
    level = torch._C._vmapmode_increment_nesting() - 1
    torch._C._vmapmode_decrement_nesting()
    plain, dims, batch = [], [], 0
    for tensor in tensors:
        batched = tensor is not None and is_legacy_batchedtensor(tensor)
        if batched:
            tensor = torch._remove_batch_dim(tensor, level, 1, 0)
            batch = tensor.shape[0]
        plain.append(tensor)
        dims.append(0 if batched else None)
    results, _ = _vmap(batch, (None, None, *dims), program, space, *plain)
    return [torch._add_batch_dim(result, 0, level) for result in results]


def _vmap(batch: int, in_dims: tuple, program: Program, space: Any, *tensors: Optional[torch.Tensor]) -> tuple:
    """The results for a batch of calls, along axis 0, and that axis for each."""
    dims = in_dims[2:]
    if _can_fold(program, dims):
        rows = space.sizes[0]
        folded = []
        for tensor, dim, spec in zip(tensors, dims, program.arguments):
            if tensor is None or spec.rows == "all":
                folded.append(tensor)
                continue
            stacked = tensor.expand(batch, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            folded.append(stacked.reshape(batch * rows, spec.width))
        results = run(program, RowSpace(batch * rows), folded)
        return tuple(result.reshape(batch, rows, result.shape[-1]) for result in results), (0,) * len(results)
    each = []
    for i in range(batch):
        one = [t if t is None or dim is None else t.select(dim, i) for t, dim in zip(tensors, dims)]
        each.append(run(program, space, one))
    return tuple(torch.stack(results) for results in zip(*each)), (0,) * len(program.results)


def _can_fold(program: Program, dims: Sequence[Optional[int]]) -> bool:
    """Whether a batch of calls is one call on more rows: no graph, and no one-row tensor that differs by call."""
    return (
        program.space == "rows"
        and all(dim is None or spec.rows != "all" for dim, spec in zip(dims, program.arguments))
        and all(spec.rows != "all" for spec in program.results)
    )


def _wanted(ctx: Any) -> list[bool]:
    """Which tensors' gradients this backward pass will use.

    ``needs_input_grad`` says which require a gradient; but ``autograd.grad`` with respect to positions, say, has no use for that
    of an embedding, which the engine knows.
    """
    needs = list(ctx.needs_input_grad[2:])
    edges = getattr(ctx, "next_functions", None)
    if edges is None or len(edges) != sum(ctx.given):  # a context of torch.func
        return needs
    nodes = iter(edges)
    for i, given in enumerate(ctx.given):
        node = next(nodes)[0] if given else None
        if needs[i] and node is not None:
            try:
                needs[i] = torch._C._will_engine_execute_node(node)
            except RuntimeError:  # a leaf that autograd.grad asks for
                pass
    return needs


def _needed_by_backward(program: Program, needs: Sequence[bool], tensors: Tensors) -> list[Optional[torch.Tensor]]:
    """The tensors that gradients with respect to the arguments in ``needs`` read; None for the others."""
    step = program.prune([i for i, needed in enumerate(needs) if needed], range(len(program.results)))
    used = program.vjp(*step).used if step is not None else ()
    return [tensor if i in used else None for i, tensor in enumerate(tensors)]


def _gradients(
    program: Program, space: Any, saved: Tensors, needs: Sequence[bool], cotangents: Tensors
) -> list[Optional[torch.Tensor]]:
    """The gradients of a program's arguments where needed; absent cotangents are not in the program that is run."""
    gradients: list[Optional[torch.Tensor]] = [None] * len(needs)
    present = [i for i, cotangent in enumerate(cotangents) if cotangent is not None]
    step = program.prune([i for i, needed in enumerate(needs) if needed], present)
    if step is not None:
        results = run(program.vjp(*step), space, [*saved, *(cotangents[i] for i in step.cotangents)])
        for i, gradient in zip(step.wrt, results):
            gradients[i] = gradient
    return gradients


# ---- traced ---------------------------------------------------------------------------------------------------------


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
        arrays = [space.array(name) for name in PLAN_NAMES]
        empty = arrays[0].new_empty(0)
        return cls([empty if array is None else array for array in arrays])

    @classmethod
    def of_edges(cls, receivers: torch.Tensor, senders: torch.Tensor, nodes: torch.Tensor) -> "TracedSpace":
        """A graph made inside the traced program, by operators.

        Numbers of nodes are given as tensors of as many rows: jit.trace keeps numbers as constants.
        """
        rows = nodes.detach()[:, :0]
        plan = torch.ops.espmm.plan
        return cls([*plan(receivers, senders, rows, rows), *plan(senders, receivers, rows, rows)])


def _run_traced(program: Program, space: Any, tensors: Tensors) -> Sequence[torch.Tensor]:
    space = TracedSpace.of(space)
    example = next(t for t in tensors if t is not None)
    listed = [example.new_empty(0) if t is None else t for t in tensors]
    return torch.ops.espmm.run(program.serialize(), listed, space.plan)


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
            raise ValueError(f"expected {name} to be a contiguous int32 array, got {array.dtype} of shape {tuple(array.shape)}")
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
    return [
        torch.empty(shape, dtype=torch_dtype(spec.dtype), device=device) for shape, spec in zip(shapes, parsed.results)
    ]


def _run_setup(ctx: Any, inputs: tuple, output: Any) -> None:
    program, tensors, plan = inputs
    ctx.program = Program.deserialize(program)
    ctx.set_materialize_grads(False)
    needed = _needed_by_backward(ctx.program, [t.requires_grad for t in tensors], tensors)
    ctx.saved = [t is not None for t in needed]
    ctx.save_for_backward(*(t for t in needed if t is not None), *plan)


def _run_backward(ctx: Any, cotangents: list[Optional[torch.Tensor]]) -> tuple:
    rest = iter(ctx.saved_tensors)
    saved = [next(rest) if present else None for present in ctx.saved]
    space = TracedSpace(list(rest))
    gradients = _gradients(ctx.program, space, saved, ctx.needs_input_grad[1], cotangents)
    return None, gradients, [None] * len(space.plan)


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
torch.library.register_autograd("espmm::run", _run_backward, setup_context=_run_setup, lib=_library)

__all__ = ["RowSpace", "TracedSpace", "is_traced", "run"]
