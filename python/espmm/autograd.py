"""Run this program on these tensors: one operation for every product and every order of derivative.

Eager calls go through an ``autograd.Function`` whose backward runs the differentiated program, through itself again; what is
traced goes through the operator of :mod:`espmm.operators`.
"""

from __future__ import annotations

from typing import Any, Optional, Sequence

import torch
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd import forward_ad

from .launch import RowSpace, Tensors, launch, prefetch, result_shapes, torch_dtype
from .module_paths import name_gradient
from .operators import TracedSpace, is_traced, run_traced
from .program import Program


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
        return run_traced(program, space, tensors)
    if torch._C._are_functorch_transforms_active():
        return _TransformedRun.apply(program, space, *tensors)
    if torch.is_grad_enabled():
        for tensor in tensors:
            if tensor is not None and tensor.requires_grad:
                return _Run.apply(program, space, *[_inner(t) for t in tensors])
    if forward_ad._current_level >= 0:
        return _Run.apply(program, space, *tensors)
    return launch(program, space, tensors)


def _inner(tensor: Optional[torch.Tensor]) -> Optional[torch.Tensor]:
    """The tensor, or an alias of a leaf: of a leaf the engine does not say cheaply whether its gradient is asked for."""
    return tensor.view_as(tensor) if tensor is not None and tensor.requires_grad and tensor.is_leaf else tensor


def _keep(ctx: Any, program: Program, space: Any, tensors: Tensors) -> None:
    """What both functions do besides the launch: note what the derivatives need, and have them compiled meanwhile."""
    ctx.program, ctx.space = program, space
    ctx.set_materialize_grads(False)
    needs = ctx.needs_input_grad[2:]
    kept = program.memo.get(("kept", needs))
    if kept is None:  # nobody has asked for these gradients before
        kept = program.kept(needs)
        found = program.gradient(needs, (True,) * len(program.results))
        if found is not None:
            prefetch(found[0], next(tensors[i].device for i in program.used))  # type: ignore[union-attr]
    ctx.save_for_backward(*[tensor if keep else None for tensor, keep in zip(tensors, kept)])
    ctx.save_for_forward(*tensors)


class _Run(torch.autograd.Function):
    """``run`` for eager tensors. Inputs: program, index space, then the tensors."""

    @staticmethod
    def forward(ctx: Any, program: Program, space: Any, *tensors: Optional[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        _keep(ctx, program, space, tensors)
        ctx.given = [tensor is not None for tensor in tensors]
        return tuple(launch(program, space, tensors))

    @staticmethod
    def backward(ctx: Any, *cotangents: Optional[torch.Tensor]) -> tuple:
        try:
            return _backward(ctx, _wanted(ctx), cotangents)
        except Exception as error:
            name_gradient(error, ctx.program)
            raise

    @staticmethod
    def jvp(ctx: Any, _program: None, _space: None, *tangents: Optional[torch.Tensor]) -> tuple:
        return _jvp(ctx, tangents)


class _TransformedRun(torch.autograd.Function):
    """The same under torch.func's transforms, in the form that they want; it costs twice as much on the host."""

    @staticmethod
    def forward(program: Program, space: Any, *tensors: Optional[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return tuple(launch(program, space, tensors))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        program, space, *tensors = inputs
        _keep(ctx, program, space, tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Optional[torch.Tensor]) -> tuple:
        try:
            return _backward(ctx, ctx.needs_input_grad[2:], cotangents)
        except Exception as error:
            name_gradient(error, ctx.program)
            raise

    @staticmethod
    def jvp(ctx: Any, _program: None, _space: None, *tangents: Optional[torch.Tensor]) -> tuple:
        return _jvp(ctx, tangents)

    @staticmethod
    def vmap(info: Any, in_dims: tuple, program: Program, space: Any, *tensors: Optional[torch.Tensor]) -> tuple:
        results = _vmap(info.batch_size, in_dims[2:], program, space, tensors)
        return results, (0,) * len(results)


def _wanted(ctx: Any) -> tuple[bool, ...]:
    """Which arguments' gradients this backward pass will use.

    ``needs_input_grad`` says which require a gradient; but ``autograd.grad`` with respect to positions, say, has no
    use for that of an embedding, which the engine knows.
    """
    needs = list(ctx.needs_input_grad[2:])
    nodes = iter(ctx.next_functions)  # one for each tensor, None for one that requires no gradient
    for i, given in enumerate(ctx.given):
        node = next(nodes)[0] if given else None
        if node is not None:
            needs[i] = torch._C._will_engine_execute_node(node)
    return tuple(needs)


def _backward(ctx: Any, needs: tuple[bool, ...], cotangents: Tensors) -> tuple:
    """The gradients where wanted; absent cotangents are not in the program that is run."""
    gradients: list[Optional[torch.Tensor]] = [None] * (2 + len(needs))
    found = ctx.program.gradient(needs, tuple([cotangent is not None for cotangent in cotangents]))
    if found is not None:
        program, step = found
        tensors = [*ctx.saved_tensors, *[cotangents[i] for i in step.cotangents]]
        batched = any([tensor is not None and is_legacy_batchedtensor(tensor) for tensor in tensors])
        results = (_run_batched if batched else run)(program, ctx.space, tensors)
        for i, result in zip(step.wrt, results):
            gradients[2 + i] = result
    return tuple(gradients)


def _jvp(ctx: Any, tangents: Tensors) -> tuple:
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
    return [torch._add_batch_dim(result, 0, level) for result in _vmap(batch, dims, program, space, plain)]


def _vmap(
    batch: int, dims: Sequence[Optional[int]], program: Program, space: Any, tensors: Tensors
) -> tuple[torch.Tensor, ...]:
    """The results for a batch of calls, along axis 0; ``dims`` is the batch axis of each tensor."""
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
        return tuple(result.reshape(batch, rows, result.shape[-1]) for result in results)
    each = []
    for i in range(batch):
        one = [t if t is None or dim is None else t.select(dim, i) for t, dim in zip(tensors, dims)]
        each.append(run(program, space, one))
    return tuple(torch.stack(results) for results in zip(*each))


def _can_fold(program: Program, dims: Sequence[Optional[int]]) -> bool:
    """Whether a batch of calls is one call on more rows: no graph, and no one-row tensor that differs by call."""
    return (
        program.space == "rows"
        and all(dim is None or spec.rows != "all" for dim, spec in zip(dims, program.arguments))
        and all(spec.rows != "all" for spec in program.results)
    )
