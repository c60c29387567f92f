"""Run this program on these tensors: one operation for every product and every order of derivative.

Eager calls go through an ``autograd.Function`` whose backward runs the differentiated program, through itself again; what is
traced goes through the operator of :mod:`espmm.operators`.
"""

from __future__ import annotations

from typing import Any, Optional, Sequence

import torch
from torch._C._functorch import unwrap_if_dead
from torch.autograd import forward_ad

from . import transforms
from .launch import RowSpace, Tensors, launch, prefetch, result_shapes, torch_dtype
from .module_paths import name_gradient
from .operators import TracedSpace, is_traced, run_traced
from .program import Program

_is_grad_enabled = torch.is_grad_enabled
_is_transformed = torch._C._are_functorch_transforms_active
_will_be_executed = torch._C._will_engine_execute_node


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
    return run_eager(program, space, tensors)


def run_eager(program: Program, space: Any, tensors: Tensors) -> Sequence[torch.Tensor]:
    """:func:`run` where no tracer is looking."""
    if _is_transformed():
        return _TransformedRun.apply(program, space, *tensors)
    if _is_grad_enabled():
        for tensor in tensors:
            if tensor is not None and tensor.requires_grad:
                return _apply(program, space, *_inner(tensors))
    if forward_ad._current_level >= 0:
        return _Run.apply(program, space, *tensors)
    return launch(program, space, tensors)


def _inner(tensors: Tensors) -> Tensors:
    """The tensors, and of leaves aliases: of a leaf the engine does not say cheaply whether its gradient is asked for."""
    inner: list[Optional[torch.Tensor]] = []
    for tensor in tensors:
        if tensor is not None:
            tensor = unwrap_if_dead(tensor)  # one that torch.func's transforms have left behind
            if tensor.is_leaf and tensor.requires_grad:
                tensor = tensor[...]  # the alias whose derivative costs least
        inner.append(tensor)
    return inner


def _keep(ctx: Any, program: Program, tensors: Tensors) -> None:
    """Notes what the derivatives need, and has them compiled meanwhile."""
    needs = ctx.needs_input_grad
    dropped = program.memo.get(needs)
    if dropped is None:  # nobody has asked for these gradients before
        dropped = program.memo[needs] = tuple([i for i, keep in enumerate(program.kept(needs[2:])) if not keep])
        found = program.gradient(needs[2:], (True,) * len(program.results))
        if found is not None:
            prefetch(found[0], next(tensors[i].device for i in program.used))  # type: ignore[union-attr]
    if dropped:
        tensors = [None if i in dropped else tensor for i, tensor in enumerate(tensors)]
    ctx.save_for_backward(*tensors)


class _Run(torch.autograd.Function):
    """``run`` for eager tensors. Inputs: program, index space, then the tensors."""

    @staticmethod
    def forward(ctx: Any, program: Program, space: Any, *tensors: Optional[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        ctx.program, ctx.space = program, space
        ctx.set_materialize_grads(False)
        _keep(ctx, program, tensors)
        if forward_ad._current_level >= 0:
            ctx.save_for_forward(*tensors)
        # The program may read fewer than all: then it says which are not there.
        ctx.absent = None if len(program.used) == len(tensors) else [i for i, tensor in enumerate(tensors) if tensor is None]
        return tuple(launch(program, space, tensors))

    @staticmethod
    def backward(ctx: Any, *cotangents: Optional[torch.Tensor]) -> tuple:
        try:
            return (None, None, *transforms.gradients(run, ctx.program, ctx.space, ctx.saved_tensors, _wanted(ctx), cotangents))
        except Exception as error:
            name_gradient(error, ctx.program)
            raise

    @staticmethod
    def jvp(ctx: Any, _program: None, _space: None, *tangents: Optional[torch.Tensor]) -> tuple:
        return _jvp(ctx, tangents)


#: ``_Run.apply`` without what it does besides for torch.func's transforms, which are seen to before.
_apply = super(torch.autograd.Function, _Run).apply


class _TransformedRun(torch.autograd.Function):
    """The same under torch.func's transforms, in the form that they want; it costs twice as much on the host."""

    @staticmethod
    def forward(program: Program, space: Any, *tensors: Optional[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return tuple(launch(program, space, tensors))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        program, space, *tensors = inputs
        ctx.program, ctx.space = program, space
        ctx.set_materialize_grads(False)
        _keep(ctx, program, tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Optional[torch.Tensor]) -> tuple:
        try:
            needs = ctx.needs_input_grad[2:]
            return (None, None, *transforms.gradients(run, ctx.program, ctx.space, ctx.saved_tensors, needs, cotangents))
        except Exception as error:
            name_gradient(error, ctx.program)
            raise

    @staticmethod
    def jvp(ctx: Any, _program: None, _space: None, *tangents: Optional[torch.Tensor]) -> tuple:
        return _jvp(ctx, tangents)

    @staticmethod
    def vmap(info: Any, in_dims: tuple, program: Program, space: Any, *tensors: Optional[torch.Tensor]) -> tuple:
        results = transforms.batch(run, RowSpace, info.batch_size, in_dims[2:], program, space, tensors)
        return results, (0,) * len(results)


def _wanted(ctx: Any) -> tuple[bool, ...]:
    """Which arguments' gradients this backward pass will use.

    ``needs_input_grad`` says which require a gradient; but ``autograd.grad`` with respect to positions, say, has no
    use for that of an embedding, which the engine knows.
    """
    # One node for each tensor, None for one that requires no gradient.
    needs = [node is not None and _will_be_executed(node) for node, _ in ctx.next_functions]
    if ctx.absent:
        for i in ctx.absent:
            needs.insert(i, False)
    return tuple(needs)


def _jvp(ctx: Any, tangents: Tensors) -> tuple:
    program = ctx.program
    result = transforms.tangents(run, program, ctx.space, ctx.saved_tensors, tangents)
    like = next(tangent for tangent in tangents if tangent is not None)
    for i, (shape, spec) in enumerate(zip(result_shapes(program, ctx.space.sizes), program.results)):
        if result[i] is None:
            result[i] = torch.zeros(shape, dtype=torch_dtype(spec.dtype), device=like.device)
    return tuple(result)
