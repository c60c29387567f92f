"""What derivatives and batches of a program are, in terms of running programs; and the operator's rules made of them.

The rules of ``torch.ops.espmm.run`` for autograd, forward mode and vmap are registered here, not by
``torch.library.register_autograd``, whose operators ignore forward-mode tangents: a Jacobian-vector product of what
was traced would be zero.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any, Callable, Optional, Sequence

import torch
from torch._C._functorch import is_legacy_batchedtensor
from torch._functorch.utils import enable_single_level_autograd_function

from .module_paths import of_gradient
from .program import Program

Tensors = Sequence[Optional[torch.Tensor]]
#: (program, index space, tensors) to results.
Run = Callable[[Program, Any, Tensors], Sequence[torch.Tensor]]


def gradients(
    run: Run, program: Program, space: Any, saved: Tensors, needs: tuple[bool, ...], cotangents: Tensors
) -> Tensors:
    """The gradient of each argument where wanted; absent cotangents are not in the program that is run.

    Args:
        saved: the arguments that the gradients read, None for others.
        needs: for each argument, whether its gradient is wanted.
        cotangents: one for each result, or None.
    """
    present = (True,) if len(cotangents) == 1 and cotangents[0] is not None else tuple([cotangent is not None for cotangent in cotangents])
    found = program.gradient(needs, present)
    if found is None:
        return [None] * len(needs)
    gradient, step = found
    given = cotangents if len(step.cotangents) == len(cotangents) else [cotangents[i] for i in step.cotangents]
    tensors = [*saved, *given]
    for tensor in given:  # a batch of calls differs by cotangents at least
        if tensor is not None and is_legacy_batchedtensor(tensor):
            run = functools.partial(_legacy_batch, run)
            break
    values = run(gradient, space, tensors)
    if len(values) == len(needs):
        return values
    result: list[Optional[torch.Tensor]] = [None] * len(needs)
    for i, value in zip(step.wrt, values):
        result[i] = value
    return result


def tangents(run: Run, program: Program, space: Any, tensors: Tensors, given: Tensors) -> list[Optional[torch.Tensor]]:
    """The tangent of each result, None where it is zero; ``given`` has those of the arguments, None where they have none."""
    result: list[Optional[torch.Tensor]] = [None] * len(program.results)
    active = tuple(i for i, tangent in enumerate(given) if tangent is not None)
    found = program.jvp(active)
    if found is not None:
        forward, places = found
        unread: list[Optional[torch.Tensor]] = [None] * len(places)
        for place, value in zip(places, run(forward, space, [*tensors, *unread, *(given[i] for i in active)])):
            result[place] = value
    return result


def batch(
    run: Run,
    rows_space: Callable[[int], Any],
    size: int,
    dims: Sequence[Optional[int]],
    program: Program,
    space: Any,
    tensors: Tensors,
) -> tuple[torch.Tensor, ...]:
    """The results of a batch of calls, along axis 0.

    Without a graph, and unless a one-row tensor differs by call, it is one call on more rows.

    Args:
        rows_space: the index space of a batch of so many rows.
        size: number of calls.
        dims: the batch axis of each tensor, None where all calls share it.
    """
    if _can_fold(program, dims):
        rows, folded = 0, [tensor if i in program.used else None for i, tensor in enumerate(tensors)]
        for i in program.used:
            tensor, dim = tensors[i], dims[i]
            if program.arguments[i].rows == "all":
                continue
            stacked = tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)  # type: ignore[union-attr]
            rows = stacked.shape[1]
            folded[i] = stacked.reshape(size * rows, stacked.shape[2])
        results = run(program, rows_space(size * rows), folded)
        return tuple(result.reshape(size, rows, result.shape[-1]) for result in results)
    each = []
    for i in range(size):
        one = [t if t is None or dim is None else t.select(dim, i) for t, dim in zip(tensors, dims)]
        each.append(run(program, space, one))
    return tuple(torch.stack(results) for results in zip(*each))


def _can_fold(program: Program, dims: Sequence[Optional[int]]) -> bool:
    return (
        program.space == "rows"
        and all(dim is None or spec.rows != "all" for dim, spec in zip(dims, program.arguments))
        and all(spec.rows != "all" for spec in program.results)
    )


#: torch's older vmap has so many levels.
_LEGACY_LEVELS = 63


def _legacy_batch(run: Run, program: Program, space: Any, tensors: Tensors) -> Sequence[torch.Tensor]:
    """``run`` inside ``torch.autograd.grad(is_grads_batched=True)``, whose vmap is an older one than torch.func's."""
    given = [tensor is not None and is_legacy_batchedtensor(tensor) for tensor in tensors]
    level = max(_legacy_level(tensor) for tensor, batched in zip(tensors, given) if batched)  # type: ignore[arg-type]
    plain, dims, size = [], [], 0
    for tensor, batched in zip(tensors, given):
        batched = batched and _has_legacy_level(tensor, level)  # type: ignore[arg-type]
        if batched:
            tensor = torch._remove_batch_dim(tensor, level, 1, 0)
            size = tensor.shape[0]
        plain.append(tensor)
        dims.append(0 if batched else None)
    results = batch(run, _like(space), size, dims, program, space, plain)
    return [torch._add_batch_dim(result, 0, level) for result in results]


def _legacy_level(tensor: torch.Tensor) -> int:
    """The innermost vmap that a tensor is batched by. The thread's own count says nothing: a device's backward pass has a thread of its own."""
    return next(level for level in range(_LEGACY_LEVELS, 0, -1) if _has_legacy_level(tensor, level))


def _has_legacy_level(tensor: torch.Tensor, level: int) -> bool:
    # Of a batch that is not there torch makes one of the size that it is told.
    sizes = [torch._remove_batch_dim(tensor, level, size, 0).shape[0] for size in (1, 2)]
    return sizes[0] == sizes[1]


def _like(space: Any) -> Callable[[int], Any]:
    """The index spaces of batches, of the kind of this one; the operator's is the empty plan."""
    return (lambda rows: space) if isinstance(space, list) else type(space)


class _Rules:
    """The rules of the operator, which takes a program as a string, plan arrays and tensors.

    Args:
        call: the operator on a string, plan arrays and tensors, None where there is none.
        split: its arguments after the string (or something for each of them) as those for plan arrays and those for tensors.
    """

    def __init__(self, call: Callable[..., Sequence[torch.Tensor]], split: Callable[..., tuple]) -> None:
        self.call, self.split = call, split

    def run_of(self, module: str) -> Run:
        """The operator on programs, for a module."""
        return lambda program, plan, tensors: self.call(program.serialize(), plan, tensors, module)

    def autograd(self, program: str, *arguments: Any, module: str = "") -> list[torch.Tensor]:
        plan, tensors = map(list, self.split(*arguments))
        # Forward mode has one level.
        given = [None if tensor is None else torch._VF._unpack_dual(tensor, level=0).tangent for tensor in tensors]
        if any(tangent is not None for tangent in given):
            primals = [None if tensor is None else torch._VF._unpack_dual(tensor, level=0).primal for tensor in tensors]
            parsed = Program.deserialize(program)
            results = self.call(program, plan, primals, module)
            used = [tangent if i in parsed.used else None for i, tangent in enumerate(given)]
            return [
                result if tangent is None else torch._VF._make_dual(result, tangent, level=0)
                for result, tangent in zip(results, tangents(self.run_of(module), parsed, plan, primals, used))
            ]
        if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
            # Under torch.func's transforms this is one level of theirs, and plain autograd is what that level wants.
            with enable_single_level_autograd_function():
                apply = super(torch.autograd.Function, _Operator).apply
                return list(apply(self, module, Program.deserialize(program), len(plan), *plan, *tensors))
        with torch._C._AutoDispatchBelowAutograd():
            return list(self.call(program, plan, tensors, module))

    def vmap(self, info: Any, in_dims: tuple, program: str, *arguments: Any, module: str = "") -> tuple:
        parsed, size = Program.deserialize(program), info.batch_size
        plan, tensors = map(list, self.split(*arguments))
        plan_dims, dims = map(list, self.split(*in_dims[1:]))
        if any(dim is not None for dim in plan_dims):
            each = []
            for i in range(size):
                one, its_plan = (
                    [t if dim is None else t.select(dim, i) for t, dim in zip(*pair)]
                    for pair in ((tensors, dims), (plan, plan_dims))
                )
                each.append(self.call(program, its_plan, one, module))
            results = [torch.stack(column) for column in zip(*each)]
        else:
            results = list(batch(self.run_of(module), lambda rows: plan, size, dims, parsed, plan, tensors))
        return results, [0] * len(results)


class _Operator(torch.autograd.Function):
    """The operator under autograd. Inputs: its rules, module, program, number of plan arrays, these, then the tensors."""

    @staticmethod
    def forward(
        ctx: Any, rules: _Rules, module: str, program: Program, length: int, *arrays: Optional[torch.Tensor]
    ) -> tuple[torch.Tensor, ...]:
        plan, tensors = arrays[:length], arrays[length:]
        ctx.rules, ctx.module, ctx.program, ctx.length = rules, module, program, length
        ctx.set_materialize_grads(False)
        kept = program.kept(ctx.needs_input_grad[4 + length :])
        ctx.save_for_backward(*plan, *[tensor if keep else None for tensor, keep in zip(tensors, kept)])
        with contextlib.ExitStack() as modes:
            if torch._C._are_functorch_transforms_active():  # the levels below this one take derivatives too
                modes.enter_context(torch.enable_grad())
                modes.enter_context(torch.autograd.forward_ad._set_fwd_grad_enabled(True))
            modes.enter_context(torch._C._AutoDispatchBelowAutograd())
            return tuple(rules.run_of(module)(program, list(plan), list(tensors)))

    @staticmethod
    def backward(ctx: Any, *cotangents: Optional[torch.Tensor]) -> tuple:
        plan, saved = list(ctx.saved_tensors[: ctx.length]), ctx.saved_tensors[ctx.length :]
        needs = ctx.needs_input_grad[4 + ctx.length :]
        run = ctx.rules.run_of(of_gradient(ctx.module))
        found = gradients(run, ctx.program, plan, saved, needs, cotangents)
        return None, None, None, None, *[None] * ctx.length, *found


def register(
    library: torch.library.Library, call: Callable[..., Sequence[torch.Tensor]], split: Callable[..., tuple]
) -> None:
    """Gives the operator ``espmm::run`` its rules; see :class:`_Rules`."""
    rules = _Rules(call, split)
    library.impl("run", rules.autograd, "Autograd")
    if hasattr(torch.library, "register_vmap"):  # torch 2.5
        torch.library.register_vmap("espmm::run", rules.vmap, lib=library)


__all__ = ["batch", "gradients", "register", "tangents"]
