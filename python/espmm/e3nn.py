"""e3nn 0.6's own products run on espmm: ``espmm.e3nn.install()``, or ``with espmm.e3nn.installed():``.

e3nn asks a list of functions for the code of every ``o3.TensorProduct`` that is built. espmm puts itself first in that list; what
it returns multiplies by espmm's kernels and has the tensors of e3nn's own code under the same names. So weights, their views,
``.right()`` and the ``state_dict`` are e3nn's, and checkpoints load in both directions.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from dataclasses import dataclass, field
from typing import Any, Iterator, Optional

import torch
from torch import fx

from .errors import ProblemError, UnsupportedError
from .modules import TensorProduct
from .problem import TPProblem


@dataclass
class Installation:
    """What happened to the products that were built since.

    Attributes:
        taken: those that run on espmm, as text.
        declined: (product, reason) of those that e3nn's code computes.
    """

    taken: list[str] = field(default_factory=list)
    declined: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{len(self.taken)} products of e3nn run on espmm, {len(self.declined)} do not"]
        return "\n".join(lines + [f"  {product}: {reason}" for product, reason in self.declined])


_lock = threading.Lock()
_installation: Optional[Installation] = None
_depth = 0


def install() -> Installation:
    """Makes every ``e3nn.o3.TensorProduct`` that is built from now on run on espmm; until :func:`uninstall`.

    The products of e3nn's subclasses and of all that uses them too. One that espmm cannot compute, or that e3nn would script
    (its optimization default ``jit_mode="script"``), stays e3nn's, with a warning.

    Returns:
        A record that grows with every product that is built.

    Raises:
        UnsupportedError: e3nn is older than 0.6 (:func:`espmm.from_e3nn` replaces the products of a module that is built).
    """
    global _installation, _depth
    providers = _providers()
    with _lock:
        _depth += 1
        if _installation is None:
            _installation = Installation()
        if _provide not in providers:
            providers.insert(0, _provide)
        return _installation


def uninstall() -> None:
    """Takes back one :func:`install`. Products that were built meanwhile stay as they are.

    Raises:
        RuntimeError: nothing is installed.
    """
    global _installation, _depth
    with _lock:
        if _depth == 0:
            raise RuntimeError("espmm.e3nn is not installed")
        _depth -= 1
        if _depth == 0:
            _providers().remove(_provide)
            _installation = None


@contextlib.contextmanager
def installed() -> Iterator[Installation]:
    """:func:`install` for the products that are built inside a ``with`` statement."""
    record = install()
    try:
        yield record
    finally:
        uninstall()


def _providers() -> list:
    import e3nn
    from e3nn.o3._tensor_product import _tensor_product

    providers = getattr(_tensor_product, "_CODEGEN_PROVIDERS_LEFT_RIGHT", None)
    if providers is None:
        raise UnsupportedError(
            f"expected e3nn 0.6 or later, whose products ask providers for their code, got {e3nn.__version__} "
            "(espmm.from_e3nn replaces the products of a module that is built)"
        )
    return providers


class _Multiply(TensorProduct):
    """The kernel behind one product of e3nn's, which holds what state there is."""

    def __init__(self, problem: TPProblem) -> None:
        super().__init__(problem)
        for name, buffer in list(self.named_buffers(recurse=False)):
            self.register_buffer(name, buffer, persistent=False)

    def forward(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x, y, weight if self._takes_weight else None)


def _provide(
    irreps_in1: Any,
    irreps_in2: Any,
    irreps_out: Any,
    instructions: Any,
    shared_weights: bool = False,
    specialized_code: bool = True,
    optimize_einsums: bool = True,
) -> Optional[fx.GraphModule]:
    """The code of a product, as e3nn asks for it; None if it is to ask the next."""
    import e3nn
    from e3nn.o3._tensor_product._codegen import codegen_tensor_product_left_right

    try:
        if e3nn.get_optimization_defaults().get("jit_mode") == "script":
            raise ProblemError('e3nn would script it: its optimization default jit_mode is "script"')
        dtype = torch.get_default_dtype()
        kernel = _Multiply(
            TPProblem(
                irreps_in1, irreps_in2, irreps_out, instructions,
                shared_weights=shared_weights, internal_weights=False, irrep_dtype=dtype, weight_dtype=dtype,
            )  # fmt: skip
        )
        kernel._check_lowered(kernel.output_mask.device)
    except ProblemError as error:
        product, reason = f"{irreps_in1} x {irreps_in2} -> {irreps_out}", str(error).splitlines()[0]
        warnings.warn(f"this product stays e3nn's: {product}: {reason}", stacklevel=3)
        _record(lambda installation: installation.declined.append((product, reason)))
        return None
    _record(lambda installation: installation.taken.append(str(kernel.problem)))

    graph = fx.Graph()
    inputs = tuple(graph.placeholder(name, torch.Tensor) for name in ("x1", "x2", "w"))
    graph.output(graph.call_module("espmm", inputs), torch.Tensor)
    root = torch.nn.Module()
    root.espmm = kernel
    module = fx.GraphModule(root, graph, class_name="tp_forward")
    # The constants of e3nn's own code, for the state_dict.
    theirs = codegen_tensor_product_left_right(
        irreps_in1, irreps_in2, irreps_out, instructions, shared_weights, specialized_code, False
    )
    for name, buffer in theirs.named_buffers(recurse=False):
        module.register_buffer(name, buffer)
    return module


def _record(note: Any) -> None:
    if _installation is not None:
        note(_installation)


__all__ = ["Installation", "install", "installed", "uninstall"]
