"""Programs launched on torch tensors: one compiled form for each device, results and scratch from torch's allocator."""

from __future__ import annotations

import ctypes
import os
from typing import Any, Mapping, Optional, Sequence

import torch

from . import _capi, _torchlib, threads
from .background import Once
from .devices import current_stream, target_of
from .dtypes import ITEMSIZE
from .errors import UnsupportedError
from .faults import explained
from .graph import LaunchPlan
from .program import Program
from .schedules import scheduled
from .segments import fold

#: One tensor for each argument of a program; None for one that it does not read.
Tensors = Sequence[Optional[torch.Tensor]]

#: Where a spec's ``rows`` stands in sizes (E, R, S); -1 is one row.
_ROWS = {"edges": 0, "receivers": 1, "senders": 2, "all": -1}


class RowSpace:
    """The index space of a batch; on the meta device also that of a graph, of which the sizes are enough."""

    # ``words``: where the sizes are, int64, and how many.
    __slots__ = ("sizes", "words")

    def __init__(self, rows: int, receivers: int = 0, senders: int = 0) -> None:
        self.sizes = _capi.Sizes(rows, receivers, senders)
        self.words = (ctypes.addressof(self.sizes), 3)


def result_shapes(program: Program, sizes: Sequence[Any]) -> list[tuple[Any, int]]:
    """The shape of each result; sizes (E, R, S) may be symbolic."""
    return [(1 if spec.rows == "all" else sizes[_ROWS[spec.rows]], spec.width) for spec in program.results]


def torch_dtype(name: str) -> torch.dtype:
    return getattr(torch, name)


class Launcher:
    """A program compiled for a device and loaded on it, and what a launch needs to know of it.

    Args:
        tuned: whether to use a schedule that was found for the program, if it has none of its own.
    """

    __slots__ = ("program", "target", "executable", "device", "index", "align", "plan", "results", "has_scratch", "_scratch", "_reads", "_launch", "_operand")

    def __init__(self, program: Program, device: torch.device, tuned: bool = True) -> None:
        self.target = target_of(device)
        self.index = -1 if device.type == "cpu" else device.index
        self.program, self.executable = _load(scheduled(program, self.target) if tuned else program, self.target, self.index)
        manifest = self.executable.manifest
        reads = {i for i, argument in enumerate(manifest["arguments"]) if argument["used"]}
        if not reads <= program.used or len(manifest["results"]) != len(program.results):
            raise RuntimeError(
                f"the compiled program reads arguments {sorted(reads)} and has {len(manifest['results'])} results, "
                f"expected arguments {sorted(program.used)} and {len(program.results)} results of {program!r}"
            )
        self.device = device
        #: For each argument the alignment in bytes that kernels count on; 0 for one that they do not read.
        self.align = tuple(
            argument.get("align", ITEMSIZE[spec.dtype]) if i in reads else 0
            for i, (argument, spec) in enumerate(zip(manifest["arguments"], program.arguments))
        )
        self.plan = tuple(manifest["plan"])
        self.results = tuple((_ROWS[spec.rows], spec.width, torch_dtype(spec.dtype)) for spec in program.results)
        self.has_scratch = bool(manifest["scratch"])
        self._scratch: tuple[tuple[int, ...], int] = ((), 0)
        #: The arguments that kernels read; None for all of them.
        self._reads = None if all(self.align) else tuple(i for i, align in enumerate(self.align) if align)
        # The operator that launches, and the program for it; None where there is none.
        self._launch = self._operand = None
        if _torchlib.program_of and reads:
            self._launch = _torchlib.launch_operator(len(reads), len(self.results))._op
            self._operand = _torchlib.program_of(self.executable.handle)

    def scratch_bytes(self, sizes: Any) -> int:
        key = tuple(sizes)
        known, count = self._scratch
        if known != key:
            count = self.executable.scratch(sizes)
            self._scratch = (key, count)
        return count

    def __call__(self, tensors: Tensors, space: Any) -> Sequence[torch.Tensor]:
        plan = space.launch_plan(self.plan) if self.plan else None
        results = None
        if self._launch is not None and allocate is _allocate:
            try:  # allocates and launches in C++
                read = tensors if self._reads is None else [tensors[i] for i in self._reads]
                results = self._launch(self._operand, *(plan or space).words, *read)
                if len(self.results) == 1:
                    results = (results,)
            except RuntimeError as error:
                if "allocating a tensor failed" not in str(error):
                    raise self._explained(error) from None
        if results is None:  # no operator, or no memory: of that torch itself tells by an exception of its own class
            results = self._by_ctypes(tensors, space, plan)
        if plan is not None and plan.cut:
            for size, segments in plan.cut:
                for result, (rows, _, _) in zip(results, self.results):
                    if rows == size:
                        fold(result, segments)
        return results

    def _by_ctypes(self, tensors: Tensors, space: Any, plan: Optional[LaunchPlan]) -> list[torch.Tensor]:
        """Allocates by torch and launches through the C interface."""
        sizes, device = plan.sizes if plan else space.sizes, self.device
        scratch_pointer, scratch_bytes, stream = None, 0, None
        try:
            results = [
                allocate((sizes[rows] if rows >= 0 else 1, width), dtype, device) for rows, width, dtype in self.results
            ]
            if self.has_scratch:
                scratch_bytes = self.scratch_bytes(sizes)
                scratch = allocate((scratch_bytes,), torch.uint8, device)
                scratch_pointer = scratch.data_ptr()
        except torch.cuda.OutOfMemoryError as error:
            raise self._explained(error) from None
        pointers, keep = [], []
        for tensor, align in zip(tensors, self.align):
            if not align:
                pointers.append(0)
                continue
            tensor = prepare(tensor, align)  # type: ignore[arg-type]
            keep.append(tensor)
            pointers.append(tensor.data_ptr())
        if plan:
            pointers += plan.pointers
        for result in results:
            pointers.append(result.data_ptr())
        if self.index < 0:
            threads.follow_torch()
        else:
            stream = current_stream(self.index)
        try:
            self.executable.launch(self.index, stream, sizes, pointers, scratch_pointer, scratch_bytes)
        except RuntimeError as error:
            raise self._explained(error) from None
        return results

    def _explained(self, error: Exception) -> Exception:
        return explained(error, self.program, self.target, self.executable.manifest)


#: Schedules for a device whose multiprocessors have less shared memory than the compiler's choice takes.
_SMALLER: Sequence[Mapping[str, int]] = ({"stages": 2}, {"stages": 2, "warps": 2}, {"stages": 2, "warps": 1})


def _load(program: Program, target: str, index: int) -> tuple[Program, _capi.Executable]:
    """A program loaded on a device (-1: the host); by smaller schedules where the compiler's choice does not fit."""
    first: Optional[UnsupportedError] = None
    for wishes in ({}, *(() if program.schedule else _SMALLER)):
        attempt = program.with_schedule({**program.schedule, **wishes})
        executable = None
        try:
            executable = _capi.Executable(attempt.text, attempt.pipeline(target))
            executable.load(index)
            return attempt, executable
        except UnsupportedError as error:
            # Said where it is compiled for a chip, or of a device with less than its chip could have; all else is not lowered by any schedule.
            first = first or explained(error, attempt, target, executable and executable.manifest)
            if "bytes of shared memory" not in str(error):
                break
        except RuntimeError as error:
            raise explained(error, attempt, target, executable and executable.manifest) from None
    raise first  # type: ignore[misc]


def allocate(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Memory for results and scratch; tests put poisoned memory in its place."""
    return torch.empty(shape, dtype=dtype, device=device)


_allocate = allocate


def prepare(tensor: torch.Tensor, align: int) -> torch.Tensor:
    """The tensor as kernels want it: contiguous, aligned, with no pending negation; itself if it is so already."""
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    tensor = tensor.contiguous()
    if tensor.data_ptr() % align:
        tensor = tensor.clone(memory_format=torch.contiguous_format)
    return tensor


#: Whether gradients' programs are compiled ahead of their need.
PREFETCH = os.environ.get("ESPMM_PREFETCH") != "0"


def launcher_of(program: Program, device: torch.device) -> Launcher:
    """The program compiled for a device: compiled now if it is not yet, waited for if another thread is at it."""
    found = program.memo.get(device)
    if found is None:
        found = program.memo[device] = _launcher_once(program, device).get()
    return found


def prefetch(program: Program, device: torch.device) -> None:
    """Begins to compile a program for a device in the background. What goes wrong is raised by who launches it."""
    if PREFETCH and device.type in ("cpu", "cuda"):
        _launcher_once(program, device).begin()


def _launcher_once(program: Program, device: torch.device) -> Once[Launcher]:
    return program.memo.setdefault(("launcher", device), Once(lambda: Launcher(program, device)))


def launch(program: Program, space: Any, tensors: Tensors) -> Sequence[torch.Tensor]:
    """Runs a program on tensors that have been checked; knows nothing of autograd.

    Args:
        space: a :class:`Graph` or :class:`RowSpace`.
        tensors: one for each argument, of shape (rows, width); those that the program does not read may be None.
    """
    device = tensors[program.first_used].device  # type: ignore[union-attr]
    launcher = program.memo.get(device)
    if launcher is not None and space.sizes[0]:
        return launcher(tensors, space)
    if space.sizes[0] == 0 or device.type == "meta":
        # Without edges every result is a sum over nothing.
        return [
            torch.zeros(shape, dtype=torch_dtype(spec.dtype), device=device)
            for shape, spec in zip(result_shapes(program, space.sizes), program.results)
        ]
    return launcher_of(program, device)(tensors, space)
