"""``espmm.tune``: schedules by measuring.

Coordinate descent from the compiler's own choice, one derivative order at a time.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any, Iterable, Mapping, NamedTuple, Optional, Protocol, Sequence

from .background import together
from .errors import ProblemError
from .problem import TPProblem
from .program import Program, forward_program, registered_programs
from .schedules import store

#: What is tried for each number of a schedule (``program.SCHEDULE`` says what they may be), those that matter most first.
CANDIDATES: Mapping[str, Sequence[int]] = {
    "stages": (2, 3, 4),
    "warps": (1, 2, 4, 8),
    "registers": (96, 128, 168, 255),
    "slabs": (1, 2, 4),
    "tile_registers": (30, 45, 60, 80, 100, 130),
    "instances": (1, 2, 4),
    "group_by": (1, 2),
    "products": (1, 3),
    "rows": (1, 2, 4, 8, 16),
}

#: A schedule has to be faster by this factor to be preferred.
_GAIN = 0.99

#: Relative error (norm) up to which two orders of summation may differ.
_ROUNDING = {"float32": 1e-5, "float64": 1e-12, "bfloat16": 1e-2, "float16": 2e-3}


class Runner(Protocol):
    """What the search is given to measure with; :class:`espmm.device_runner.DeviceRunner` on a GPU."""

    target: str

    def prepare(self, program: Program) -> str:
        """Compiles and loads; gives a text that is the same for programs that are the same code."""

    def run(self, program: Program) -> Sequence[Any]:
        """The results of one launch on inputs that are the same for every schedule."""

    def error(self, got: Any, expected: Any) -> float:
        """The relative error of one result."""

    def seconds(self, program: Program) -> float:
        """What one launch takes."""


class Trial(NamedTuple):
    """One schedule that was tried: its time in seconds, or why it has none."""

    schedule: dict[str, int]
    seconds: Optional[float]
    note: str = ""


class OrderResult(NamedTuple):
    """What was found for one order: the program, times in seconds, and all trials."""

    program: Program
    default_seconds: float
    best_seconds: float
    schedule: dict[str, int]
    trials: list[Trial]


class Tuning:
    """The result of :func:`tune`; prints as a table.

    Attributes:
        orders: an :class:`OrderResult` for each order that there was time for.
        target: such as ``"cuda:sm_90"``.
    """

    def __init__(self, target: str, orders: Sequence[OrderResult]) -> None:
        self.target = target
        self.orders = tuple(orders)

    def __str__(self) -> str:
        rows = [("order", "default", "tuned", "gain", "tried", "schedule")]
        for found in self.orders:
            measured = sum(trial.seconds is not None for trial in found.trials)
            schedule = ", ".join(f"{name}={value}" for name, value in found.schedule.items()) or "the compiler's"
            gain = f"{100 * (1 - found.best_seconds / found.default_seconds):.1f} %"
            times = f"{1e3 * found.default_seconds:.4g} ms", f"{1e3 * found.best_seconds:.4g} ms"
            rows.append((str(found.program.order), *times, gain, str(measured), schedule))
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)

    __repr__ = __str__


def tune(
    problem: TPProblem,
    graph: Any = None,
    rows: Optional[int] = None,
    conv: Optional[bool] = None,
    grad_order: int = 1,
    wrt: Optional[str] = None,
    deterministic: bool = False,
    budget_s: float = 60.0,
    device: Any = None,
    progress: bool = True,
    runner: Optional[Runner] = None,
) -> Tuning:
    """Looks for faster schedules of a product's kernels by measuring them on a GPU, and keeps the fastest.

    What is kept is used from then on, in this process and others, wherever the same program is compiled for the same
    chip and no schedule is given: by modules made later and by :func:`espmm.compile`. ``ESPMM_TUNED=0`` in the
    environment has it ignored; a ``schedule=`` that is given always wins. Each order has a schedule of its own.

    Args:
        problem: the product.
        graph: for a convolution the :class:`espmm.Graph` to measure on, with the sizes and degrees of those to come. Or
        rows: for the product alone, how many rows.
        conv: whether it is the convolution (default: if there is a graph).
        grad_order: the highest order; 0 is the forward pass alone.
        wrt: the inputs whose gradients are asked for, such as ``"yw"`` where x requires none (default: all, ``"xyw"``).
        deterministic: as for :class:`espmm.TensorProductConv`; another program with another schedule.
        budget_s: seconds to spend, about; divided among the orders. Each order measures at least the compiler's own choice.
        device: the GPU (default: the graph's, or the current one).
        progress: print a line for each number of the schedule that was searched, to stderr.
        runner: what compiles, runs and measures in place of the device.

    Raises:
        ValueError: no GPU: the CPU's schedules have nothing to tune; or arguments that do not go together.
        RuntimeError: a schedule gave other results than the compiler's choice, beyond rounding; that is a bug.
    """
    if not isinstance(problem, TPProblem):
        raise TypeError(f"expected problem to be an espmm.TPProblem, got {type(problem).__name__}")
    conv = graph is not None if conv is None else conv
    if runner is None:
        if conv != (graph is not None) or conv == (rows is not None):
            wanted = "graph= for a convolution" if conv else "rows= for a product without a graph"
            raise ValueError(f"expected {wanted}, got graph={graph!r}, rows={rows!r}, conv={conv!r}")
        from .device_runner import DeviceRunner

        runner = DeviceRunner(graph, rows, device)
    if not budget_s > 0:
        raise ValueError(f"expected budget_s to be positive, got {budget_s!r}")
    programs = programs_to_tune(problem, conv, grad_order, wrt, deterministic)
    end = time.monotonic() + budget_s
    found = []
    for i, program in enumerate(programs):
        now = time.monotonic()
        search = _Search(program, runner, now + max(0.0, end - now) / (len(programs) - i), progress)
        result = search.run()
        notes = {"default_s": result.default_seconds, "best_s": result.best_seconds, "tried": len(result.trials)}
        store(program, runner.target, result.schedule, notes)
        _forget(program)
        found.append(result)
    return Tuning(runner.target, found)


def programs_to_tune(problem: TPProblem, conv: bool, grad_order: int, wrt: Optional[str], deterministic: bool) -> list[Program]:
    """The programs that modules launch, by order; the gradients are those of the inputs in ``wrt`` and of all cotangents."""
    if not isinstance(grad_order, int) or grad_order < 0:
        raise ValueError(f"expected grad_order to be an integer >= 0, got {grad_order!r}")
    programs = [forward_program(problem, conv, deterministic)]
    names = [spec.name for spec in programs[0].arguments]
    wanted = names if wrt is None else list(wrt)
    if not wanted or not set(wanted) <= set(names):
        raise ValueError(f"expected wrt to be some of {''.join(names)!r}, got {wrt!r}")
    for _ in range(grad_order):
        last = programs[-1]
        needs = tuple(spec.name in wanted or i >= len(names) for i, spec in enumerate(last.arguments))
        step = last.gradient(needs, (True,) * len(last.results))
        if step is None:
            break
        programs.append(step[0])
    return programs


class _Search:
    """The search for one program."""

    def __init__(self, program: Program, runner: Runner, end: float, progress: bool) -> None:
        self.program = program.with_schedule({})
        self.runner = runner
        self.end = end
        self.progress = progress
        self.trials: list[Trial] = []
        self.times: dict[str, float] = {}  # by code
        self.tried: set[tuple] = set()

    def run(self) -> OrderResult:
        code = self.runner.prepare(self.program)
        self.expected = self.runner.run(self.program)
        default = self.times[code] = self.runner.seconds(self.program)
        self.trials.append(Trial({}, default))
        self.tried.add(())
        best, fastest = {}, default
        improved = True
        while improved and self._has_time():
            improved = False
            for name, values in CANDIDATES.items():
                if name == "products" and not any(spec.rows == "all" for spec in self.program.arguments):
                    continue  # of weights that rows share
                for trial in self._try([{**best, name: value} for value in values]):
                    if trial.seconds is not None and trial.seconds < _GAIN * fastest:
                        best, fastest, improved = trial.schedule, trial.seconds, True
                self._tell(name, fastest / default)
                if not self._has_time():
                    break
        if best:
            # Again, in turns: what was fast once by chance does not stay.
            winner = self.program.with_schedule(best)
            pairs = [(self.runner.seconds(self.program), self.runner.seconds(winner)) for _ in range(3)]
            default, fastest = (statistics.median(times) for times in zip(*pairs))
            if not fastest < _GAIN * default:
                best, fastest = {}, default
        return OrderResult(self.program, default, fastest, best, self.trials)

    def _has_time(self) -> bool:
        return time.monotonic() < self.end

    def _try(self, schedules: Iterable[dict[str, int]]) -> list[Trial]:
        """Measures those schedules that are new; they compile at the same time."""
        fresh = []
        for schedule in schedules:
            program = self.program.with_schedule(schedule)
            mark = tuple(program.schedule.items())
            if mark not in self.tried:
                self.tried.add(mark)
                fresh.append(program)
        codes = together([lambda p=p: self._prepare(p) for p in fresh]) if self._has_time() else []
        trials = []
        for program, (code, note) in zip(fresh, codes):
            seconds = None
            if code is not None and code in self.times:
                note, seconds = "the code of one before", self.times[code]
            elif code is not None and self._has_time():
                self._check(program)
                seconds = self.times[code] = self.runner.seconds(program)
            elif code is not None:
                note = "no time left"
            trials.append(Trial(program.schedule, seconds, note))
        self.trials += trials
        return trials

    def _prepare(self, program: Program) -> tuple[Optional[str], str]:
        """The program's code, or None and why it has none: not every schedule fits a device."""
        try:
            return self.runner.prepare(program), ""
        except (ProblemError, RuntimeError) as error:
            return None, str(error).splitlines()[0]

    def _check(self, program: Program) -> None:
        got = self.runner.run(program)
        for spec, a, b in zip(program.results, got, self.expected):
            error = self.runner.error(a, b)
            if not error <= _ROUNDING[spec.dtype]:
                raise RuntimeError(
                    f"schedule {program.schedule} gives another {spec.name} than the compiler's choice, relative error "
                    f"{error:.2e}: that is a bug of espmm\nin {program!r}\nits compile is repeated by: "
                    f"{program.repro(self.runner.target, 'ptx')}"
                )

    def _tell(self, name: str, ratio: float) -> None:
        if self.progress:
            measured = sum(trial.seconds is not None for trial in self.trials)
            left = max(0.0, self.end - time.monotonic())
            print(
                f"order {self.program.order}: {name}: {measured} schedules measured, the best takes {ratio:.3f} of the "
                f"compiler's time, {left:.0f} s left",
                file=sys.stderr, flush=True,
            )  # fmt: skip


def _forget(program: Program) -> None:
    """Has programs that tracers know by their text compiled anew when they are launched next."""
    known = list(registered_programs())
    while known:
        found = known.pop()
        known += found._vjps.values()
        if found == program:
            for key in [key for key in found.memo if isinstance(key, tuple) and key[0] == "launcher"]:
                found.memo.pop(key, None)
                found.memo.pop(key[1], None)
