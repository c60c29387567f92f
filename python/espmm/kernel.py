"""Products compiled without torch, at all orders up to one: ``espmm.compile``."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

from .background import together
from .compiled import CompiledProgram
from .problem import TPProblem
from .program import Program, forward_program


def compile(  # noqa: A001  the name that users know
    problem: TPProblem,
    target: str = "cpu",
    conv: bool = False,
    grad_order: int = 0,
    deterministic: bool = False,
    schedule: Optional[Mapping[str, int]] = None,
) -> "Kernel":
    """Compiles a tensor product, and its derivatives up to an order, for a target. Needs no torch and no GPU.

    Order 0 is z = tp(x, y, w). Order n + 1 is the vector-Jacobian product of order n with respect to
    everything that order n reads, given cotangents of everything that it returns:

    ===== ============================== ======================
    order arguments                      results
    ===== ============================== ======================
    0     x, y, w                        z
    1     x, y, w, gz                    dx, dy, dw
    2     x, y, w, gz, gdx, gdy, gdw     dx, dy, dw, dgz
    ===== ============================== ======================

    All orders compile at the same time, each in a thread.

    Args:
        problem: what to compute.
        target: ``"cpu"``, or ``"cuda:sm_90"`` (any compute capability that LLVM knows).
        conv: around the product, take x of each edge's sender and sum over each receiver's edges.
        grad_order: the highest order.
        deterministic: on the GPU, bit-equal results on every run (the CPU's always are).
        schedule: numbers of the GPU's schedules to use in place of what the compiler would choose, or :func:`espmm.tune`
            has found for this chip, such as ``{"warps": 4, "stages": 3, "registers": 168}``; for every order.
            ``k.ir("tiled")`` shows what there is.

    Raises:
        ProblemError: the product has nothing to compute, or the target does not lower it (UnsupportedError).
        ValueError: unknown target or negative order.
    """
    if not isinstance(problem, TPProblem):
        raise TypeError(f"expected problem to be an espmm.TPProblem, got {type(problem).__name__}")
    programs = programs_up_to(problem, conv, grad_order, deterministic, schedule)
    return Kernel(problem, target, together([CompiledProgram(program, target).compile for program in programs]))


def programs_up_to(
    problem: TPProblem,
    conv: bool,
    grad_order: int,
    deterministic: bool = False,
    schedule: Optional[Mapping[str, int]] = None,
) -> list[Program]:
    """The programs of orders 0 to ``grad_order``; see :func:`compile`."""
    if not isinstance(grad_order, int) or grad_order < 0:
        raise ValueError(f"expected grad_order to be an integer >= 0, got {grad_order!r}")
    programs = [forward_program(problem, conv, deterministic, schedule)]
    for _ in range(grad_order):
        last = programs[-1]
        programs.append(last.vjp(sorted(last.used), range(len(last.results))))
    return programs


class Kernel:
    """A tensor product compiled for a target at orders 0 to n.

    ``kernels[i]`` is the :class:`CompiledProgram` of order i (0 the product itself, 1 its gradient, ...). The
    attributes of the kernel are those of its highest order; :meth:`ir` and :meth:`repro` take ``order=``. Calling the
    kernel runs its highest order.
    """

    def __init__(self, problem: TPProblem, target: str, kernels: Sequence[CompiledProgram]) -> None:
        self.problem = problem
        self.target = target
        self.kernels = tuple(kernels)

    def load(self, device: int = 0) -> "Kernel":
        """Gets all orders ready to run on a CUDA device (or, compiled for the CPU, here), each in a thread."""
        together([lambda k=k: k.load(device) for k in self.kernels])
        return self

    def __repr__(self) -> str:
        return f"Kernel({str(self.problem)!r}, {self.target!r}, orders 0 to {len(self.kernels) - 1})"

    def _order(self, order: Optional[int]) -> CompiledProgram:
        if order is None:
            return self.kernels[-1]
        if not 0 <= order < len(self.kernels):
            raise ValueError(f"expected an order from 0 to {len(self.kernels) - 1}, got {order}")
        return self.kernels[order]

    @property
    def stages(self) -> tuple[str, ...]:
        return self.kernels[-1].stages

    def ir(self, stage: str, order: Optional[int] = None) -> str:
        """The text of a stage, of one order."""
        return self._order(order).ir(stage)

    def repro(self, stage: str = "target", order: Optional[int] = None, source: str = "source.mlir") -> str:
        """The espmm-opt command line that gives :meth:`ir` from the source stage kept in a file."""
        return self._order(order).repro(stage, source)

    @property
    def ptx(self) -> str:
        """PTX of the highest order; AttributeError on a target that has none."""
        return self._code("ptx")

    @property
    def assembly(self) -> str:
        """Host assembly of the highest order; AttributeError on a target that has none."""
        return self._code("assembly")

    @property
    def llvmir(self) -> str:
        return self._code("llvmir")

    def _code(self, kind: str) -> str:
        if kind not in self.stages:
            raise AttributeError(f"a kernel for {self.target} has no {kind}, its stages are {', '.join(self.stages)}")
        return self.kernels[-1].ir(kind)

    @property
    def manifest(self) -> dict:
        return self.kernels[-1].manifest

    @property
    def cost(self) -> dict:
        return self.kernels[-1].cost

    @property
    def statistics(self) -> dict:
        return self.kernels[-1].statistics

    @property
    def resources(self) -> dict:
        return self.kernels[-1].resources

    def report(self) -> str:
        """The compiler's estimates of each kernel of all orders, and what ptxas made of it, side by side."""
        return "\n\n".join(f"order {i}\n{k.report()}" for i, k in enumerate(self.kernels))

    def __call__(self, *arrays: Any, **options: Any) -> Any:
        """Runs the highest order; see :meth:`CompiledProgram.__call__`. One result is given bare, several as a tuple."""
        results = self.kernels[-1](*arrays, **options)
        return results[0] if len(results) == 1 else results
