"""One program compiled for one target: its IR at every stage, its code, and a call on arrays of any library."""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional, Sequence

from . import _capi
from .arrays import View, empty_like_kind, host_buffer, view
from .background import Once
from .dtypes import ITEMSIZE
from .errors import UnsupportedError
from .faults import explained
from .plan import SIDES, HostPlan
from .program import STAGES, Program, Spec
from .report import report
from .schedules import scheduled


class CompiledProgram:
    """One program for one target, compiled when its code is first needed; callable on arrays (see :meth:`__call__`)."""

    def __init__(self, program: Program, target: str) -> None:
        self.program = scheduled(program, target)
        self.target = target
        self.pipeline = self.program.pipeline(target)
        self._once = Once(lambda: _capi.Executable(program.text, self.pipeline))
        self._loaded: Optional[int] = None  # the last CUDA device that it was loaded on

    @property
    def _executable(self) -> _capi.Executable:
        return self._once.get()

    def compile(self) -> "CompiledProgram":
        """Compiles now, if it has not been yet; otherwise the first thing that needs code does."""
        self._executable  # noqa: B018  computed and kept
        return self

    def load(self, device: int = 0) -> "CompiledProgram":
        """Gets ready to run on a CUDA device (or, compiled for the CPU, here), as the first call would."""
        try:
            self._executable.load(-1 if self.target == "cpu" else device)
            self._loaded = None if self.target == "cpu" else device
        except (RuntimeError, UnsupportedError) as error:
            raise explained(error, self.program, self.target, self.manifest) from None
        return self

    def __repr__(self) -> str:
        return f"CompiledProgram({self.program!r}, {self.target!r})"

    @property
    def manifest(self) -> dict:
        """The manifest (``docs/Architecture.md``, section 3)."""
        return self._executable.manifest

    @property
    def cost(self) -> dict:
        """The compiler's cost model, and what it chose.

        ``bytes_per_edge``, ``gathered_bytes_per_edge``, ``bytes_per_node``, ``multiplications_per_edge`` and
        ``additions_per_edge`` are those of all kernels together (of a row, without a graph); ``scratch_bytes`` says of
        each buffer for what it is (``use``: ``"result 0 by edges"``) and how large (``bytes``, an expression of E edges, R receivers and S senders); ``choices`` says for each kernel in sentences how it works on rows or edges, on channels and on each kind
        of einsum, and why.
        """
        return self.manifest.get("cost", {})

    @property
    def statistics(self) -> dict:
        """Pass statistics: paths, nonzeros, operations before and after."""
        return self.manifest.get("statistics", {})

    @property
    def resources(self) -> dict:
        """The kernels' registers and shared memory.

        Estimates are under ``"kernels"``. Where there is a ptxas, what it says of each kernel is under ``"sass"``
        (``registers``, ``spill_store_bytes``, ``spill_load_bytes``, ``stack_bytes``, ``static_shared_bytes``,
        ``code_bytes``), or why it says nothing under ``"sass_error"``. Once :meth:`load` or a call has brought it to a GPU, what the driver says of
        each kernel there is under ``"device"`` (``registers``, ``local_bytes``, ``static_shared_bytes``).
        """
        result: dict = {"kernels": self.manifest.get("kernels", [])}
        if self.target != "cpu" and "path" in _capi.info()["ptxas"]:
            try:
                result["sass"] = json.loads(self._executable.code("sass_info"))
            except RuntimeError as error:  # a ptxas that is too old for the chip, say
                result["sass_error"] = str(error)
        if self._loaded is not None:
            result["device"] = self._executable.use(self._loaded)
        return result

    def report(self) -> str:
        """The compiler's estimates of each kernel, and what ptxas made of it, side by side as a table."""
        return report(self)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names for :meth:`ir`, in order."""
        return (*STAGES, "llvmir", "assembly" if self.target == "cpu" else "ptx")

    def ir(self, stage: str) -> str:
        """The program's text at a stage, one of :attr:`stages`."""
        if stage not in self.stages:
            raise ValueError(f"expected a stage, one of {', '.join(self.stages)}, got {stage!r}")
        if stage in STAGES:
            return _capi.opt(self.program.text, self.program.pipeline(self.target, until=stage))
        return self._executable.code(stage)

    def repro(self, stage: str = "target", source: str = "source.mlir") -> str:
        """The shell command that gives :meth:`ir` of a stage from the source stage kept in the file ``source``."""
        if stage not in self.stages:
            raise ValueError(f"expected a stage, one of {', '.join(self.stages)}, got {stage!r}")
        return self.program.repro(self.target, stage, source)

    def __call__(
        self,
        *arrays: Any,
        receivers: Any = None,
        senders: Any = None,
        num_receivers: Optional[int] = None,
        plan: "HostPlan | Mapping[str, Any] | None" = None,
        out: Optional[Sequence[Any]] = None,
        scratch: Any = None,
        stream: int = 0,
    ) -> tuple[Any, ...]:
        """Runs the program.

        Args:
            arrays: one for each of ``program.arguments``, contiguous, of shape (rows, width); None where the program does
                not read it. On the host (numpy or anything with DLPack), or all on one CUDA device.
            receivers, senders: edge indices, for a convolution on the host; ``num_receivers`` defaults to the
                number of rows of x. Or
            plan: a :class:`espmm.HostPlan`, or for a GPU the arrays that ``manifest["plan"]`` names, by name, but ``nodes``.
            out: arrays for the results, of the right shapes; made by the library of the first array if not given.
            scratch: for a GPU, an array of at least ``scratch_bytes``, made as ``out`` is if not given.
            stream: for a GPU, the CUstream to launch on.

        Returns:
            The results, in order.
        """
        program = self.program
        if len(arrays) != len(program.arguments):
            names = ", ".join(spec.name for spec in program.arguments)
            raise TypeError(f"expected {len(program.arguments)} arrays ({names}), got {len(arrays)}")
        views: list[Optional[View]] = []
        for i, (spec, array) in enumerate(zip(program.arguments, arrays)):
            views.append(view(array, spec.name) if i in program.used else None)
        device = self._device(views)
        sizes, plan_pointers, keep = self._space(views, device, (receivers, senders), num_receivers, plan)
        for spec, given in zip(program.arguments, views):
            if given is not None:
                _check(spec, given, sizes)

        example = next(array for array, given in zip(arrays, views) if given is not None)
        shapes = [(_rows(spec, sizes), spec.width) for spec in program.results]
        if out is None:
            out = [empty_like_kind(example, shape, spec.dtype) for shape, spec in zip(shapes, program.results)]
        elif len(out) != len(program.results):
            raise TypeError(f"expected out to be {len(program.results)} arrays, got {len(out)}")
        out_views = [view(array, f"out[{i}]") for i, array in enumerate(out)]
        for spec, given in zip(program.results, out_views):
            _check(spec, given, sizes)
            if given.device != device:
                raise ValueError(f"expected out for {spec.name} on {_place(device)}, got {_place(given.device)}")

        need = self._executable.scratch(sizes)
        scratch_pointer = 0
        if need and device < 0:
            scratch_pointer, scratch = host_buffer(need)
        elif need:
            if scratch is None:
                scratch = empty_like_kind(example, (need // 8 + 1,), "float64")
            room = view(scratch, "scratch")
            scratch_pointer, size = room.pointer, 1
            for extent in room.shape:
                size *= extent
            size *= ITEMSIZE.get(room.dtype, 4)
            if size < need:
                raise ValueError(f"expected scratch of at least {need} bytes, got {size}")
        pointers = [0 if given is None else given.pointer for given in views] + plan_pointers
        pointers += [given.pointer for given in out_views]
        try:
            self._executable.launch(device, stream or None, sizes, pointers, scratch_pointer, need)
        except RuntimeError as error:
            raise explained(error, program, self.target, self.manifest) from None
        if device >= 0:
            self._loaded = device
        del keep
        return tuple(out)

    def _device(self, views: Sequence[Optional[View]]) -> int:
        devices = {spec.name: given.device for spec, given in zip(self.program.arguments, views) if given is not None}
        device = next(iter(devices.values()))
        for name, other in devices.items():
            if other != device:
                raise ValueError(
                    f"expected all arrays on one device, got {name} on {_place(other)} and others on {_place(device)}"
                )
        if (device < 0) != (self.target == "cpu"):
            raise ValueError(f"this kernel was compiled for {self.target}, got arrays on {_place(device)}")
        return device

    def _space(
        self, views: Sequence[Optional[View]], device: int, edges: Sequence[Any], num_receivers: Optional[int], plan: Any
    ) -> tuple[Any, list[int], Any]:
        """Sizes, pointers of the plan's arrays, and what keeps them alive."""
        given = [(spec.rows, array.shape[0]) for spec, array in zip(self.program.arguments, views) if array and array.shape]
        rows = dict(given)
        if self.program.space == "rows":
            if plan is not None or any(index is not None for index in edges):
                raise TypeError("this kernel has no graph, got receivers, senders or plan")
            return _capi.Sizes(rows["edges"], 0, 0), [], None
        names = self.manifest["plan"]
        if plan is None:
            if any(index is None for index in edges):
                raise TypeError("expected receivers and senders, or plan, for a convolution")
            if device >= 0:
                raise ValueError("expected plan= for arrays on a GPU, got receivers and senders")
            num_senders = rows.get("senders", num_receivers)
            num_receivers = rows.get("receivers", num_senders) if num_receivers is None else num_receivers
            if num_receivers is None or num_senders is None:
                raise TypeError("expected num_receivers: no array of this program has a row for each node")
            plan = HostPlan(*edges, num_receivers, num_senders)
        if isinstance(plan, HostPlan):
            return plan.sizes, [plan.pointer(name) for name in names], plan
        # Its segments are whole nodes: they are named by their numbers.
        needed = [name for name in names if not name.endswith(".nodes")]
        missing = [name for name in needed if name not in plan]
        if missing:
            raise ValueError(f"expected plan to have {', '.join(needed)}, got no {', '.join(missing)}")
        arrays = {name: view(array, name) for name, array in plan.items() if array is not None and name in needed}
        for side in SIDES:
            if f"{side}.offsets" in arrays:
                rows.setdefault(side, arrays[f"{side}.offsets"].shape[0] - 1)
            if f"{side}.other" in arrays:
                rows.setdefault("edges", arrays[f"{side}.other"].shape[0])
        counts = [rows.get(name, num_receivers) for name in ("edges", *SIDES)]
        if None in counts:
            raise ValueError("expected plan to have the offsets of both sides, or arrays with a row for each node")
        return _capi.Sizes(*counts), [arrays[name].pointer if name in arrays else 0 for name in names], arrays


def _rows(spec: Spec, sizes: Any) -> int:
    return 1 if spec.rows == "all" else sizes[("edges", "receivers", "senders").index(spec.rows)]


def _check(spec: Spec, given: View, sizes: Any) -> None:
    if given.dtype != spec.dtype:
        raise TypeError(f"expected {spec.name} to be {spec.dtype}, got {given.dtype}")
    expected = (_rows(spec, sizes), spec.width)
    if spec.rows == "all" and given.shape == (spec.width,):
        return
    if given.shape != expected:
        raise ValueError(f"expected {spec.name} of shape {expected} ({spec.rows}, width), got {given.shape}")


def _place(device: int) -> str:
    return "the host" if device < 0 else f"CUDA device {device}"
