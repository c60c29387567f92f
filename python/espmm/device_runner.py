"""Programs measured on a GPU through torch: what :func:`espmm.tune` uses."""

from __future__ import annotations

import statistics
from typing import Any, Optional, Sequence

import torch

from .devices import target_of
from .launch import Launcher, RowSpace, torch_dtype
from .program import Program, Spec

#: Cycles of the device's clock that it sleeps while the host gets ahead: some 3 ms.
_SLEEP = 5_000_000

#: What is timed at a stretch, in seconds.
_STRETCH = 5e-3


class DeviceRunner:
    """Launches programs on random inputs of the shapes of a graph or of a batch.

    Args:
        graph: an :class:`espmm.Graph` on the device. Or
        rows: how many rows.
        device: default: the graph's, or the current GPU.

    Raises:
        ValueError: no GPU.
    """

    def __init__(self, graph: Any, rows: Optional[int], device: Any = None) -> None:
        if device is None:
            device = graph.device if graph is not None else "cuda"
        self.device = torch.device(device)
        if self.device.type != "cuda":
            raise ValueError(f"expected a CUDA device: schedules for the CPU have nothing to tune, got {self.device}")
        if not torch.cuda.is_available():
            raise ValueError("expected a CUDA device, torch sees none")
        if self.device.index is None:
            self.device = torch.device("cuda", torch.cuda.current_device())
        if graph is not None and graph.device != self.device:
            raise ValueError(f"expected a graph on {self.device}, got one on {graph.device}")
        self.space = RowSpace(rows) if graph is None else graph  # type: ignore[arg-type]
        if self.space.sizes[0] == 0:
            raise ValueError("expected a graph with edges, or rows, to measure on")
        self.target = target_of(self.device)
        self._tensors: dict[tuple[int, Spec], torch.Tensor] = {}
        self._launchers: dict[Program, Launcher] = {}

    def prepare(self, program: Program) -> str:
        launcher = self._launcher(program)
        return launcher.executable.code("ptx") + repr(launcher.executable.manifest["steps"])

    def run(self, program: Program) -> Sequence[torch.Tensor]:
        with torch.cuda.device(self.device):
            return self._launcher(program)(self._inputs(program), self.space)

    def error(self, got: torch.Tensor, expected: torch.Tensor) -> float:
        norm = torch.linalg.vector_norm
        scale = float(norm(expected, dtype=torch.float64))
        return float(norm(got - expected, dtype=torch.float64)) / (scale or 1.0)

    def seconds(self, program: Program) -> float:
        """The median of several stretches of launches, behind a sleep, so that the host's time is not in it."""
        launcher, tensors = self._launcher(program), self._inputs(program)
        with torch.cuda.device(self.device):
            once = self._stretch(launcher, tensors, 1)
            launches = max(1, min(100, int(_STRETCH / max(once, 1e-6))))
            return statistics.median(self._stretch(launcher, tensors, launches) for _ in range(5))

    def _stretch(self, launcher: Launcher, tensors: Sequence[Optional[torch.Tensor]], launches: int) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        launcher(tensors, self.space)  # memory is there, caches are as a launch leaves them
        torch.cuda._sleep(_SLEEP)
        begin.record()
        for _ in range(launches):
            launcher(tensors, self.space)
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e-3 / launches

    def _launcher(self, program: Program) -> Launcher:
        # Not the one that modules use: that may go by what was found before.
        found = self._launchers.get(program)
        if found is None:
            found = self._launchers[program] = Launcher(program, self.device, tuned=False)
        return found

    def _inputs(self, program: Program) -> list[Optional[torch.Tensor]]:
        """Random tensors for the arguments that the program reads; the same for every program."""
        sizes = dict(zip(("edges", "receivers", "senders"), self.space.sizes), all=1)
        tensors: list[Optional[torch.Tensor]] = []
        for i, spec in enumerate(program.arguments):
            if i not in program.used:
                tensors.append(None)
                continue
            if (i, spec) not in self._tensors:
                generator = torch.Generator(self.device).manual_seed(i)
                self._tensors[i, spec] = torch.randn(
                    sizes[spec.rows], spec.width, dtype=torch_dtype(spec.dtype), device=self.device, generator=generator
                )
            tensors.append(self._tensors[i, spec])
        return tensors
