"""OpenEquivariance 0.7's public names on espmm's kernels: ``espmm.compat.openequivariance.install()``.

After that ``import openequivariance`` finds this module, so that programs with a switch for OpenEquivariance use espmm with no change:
MACE's ``enable_oeq``, NequIP's ``enable_OpenEquivariance``, SevenNet's ``SEVENNET_ENABLE_OEQ=1``. Names, arguments and defaults are
those of OpenEquivariance; where it has a GPU only, this has the CPU too.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any, Optional

import numpy as np
import torch

from .. import _capi, modules, problem
from ..errors import ProblemError, UnsupportedError
from ..instruction import Instruction
from ..irreps import Irrep, Irreps, MulIrrep

_MulIr = MulIrrep

#: The release whose interface this is.
__version__ = "0.7.0"

# What its extension says of itself.
BUILT_EXTENSION, BUILT_EXTENSION_ERROR = True, None
LINKED_LIBPYTHON, LINKED_LIBPYTHON_ERROR = True, None
USE_PRECOMPILED_EXTENSION = True

#: Modules that look for OpenEquivariance when they are imported, and what they note.
_LOOKED = {"mace.modules.wrapper_ops": "OEQ_AVAILABLE", "sevenn.nn.oeq_helper": "_OEQ_AVAILABLE"}


def install() -> None:
    """Makes ``import openequivariance`` find this module, in this process.

    To be called before MACE or SevenNet are imported: they look for OpenEquivariance once. A warning says where that is too late.

    Raises:
        RuntimeError: the real OpenEquivariance has been imported.
    """
    here = sys.modules[__name__]
    found = sys.modules.get("openequivariance")
    if found is not None and found is not here:
        raise RuntimeError(f"openequivariance is imported already, from {getattr(found, '__file__', None)}")
    sys.modules["openequivariance"] = here
    late = [name for name, flag in _LOOKED.items() if getattr(sys.modules.get(name), flag, True) is False]
    if late:
        warnings.warn(f"imported before this, and without OpenEquivariance: {', '.join(late)}", stacklevel=2)


def uninstall() -> None:
    """Takes :func:`install` back."""
    if sys.modules.get("openequivariance") is sys.modules[__name__]:
        del sys.modules["openequivariance"]


class TPProblem(problem.TPProblem):
    """The description of a product, with OpenEquivariance's arguments: those of ``e3nn.o3.TensorProduct``, dtypes, label, layout.

    Raises:
        ProblemError: as :class:`espmm.TPProblem`, and for internal weights, which OpenEquivariance has not.
    """

    __slots__ = ("label",)
    label: str

    def __init__(
        self,
        irreps_in1: Any,
        irreps_in2: Any,
        irreps_out: Any,
        instructions: Any,
        in1_var: Optional[list[float]] = None,
        in2_var: Optional[list[float]] = None,
        out_var: Optional[list[float]] = None,
        irrep_normalization: str = "component",
        path_normalization: str = "element",
        internal_weights: Optional[bool] = False,
        shared_weights: Optional[bool] = None,
        label: Optional[str] = None,
        irrep_dtype: Any = np.float32,
        weight_dtype: Any = np.float32,
        layout: str = "mul_ir",
    ) -> None:
        if internal_weights:
            raise ProblemError("expected internal_weights = False, as in OpenEquivariance, got True")
        super().__init__(
            irreps_in1, irreps_in2, irreps_out, instructions, in1_var, in2_var, out_var, irrep_normalization, path_normalization,
            internal_weights=False, shared_weights=shared_weights, irrep_dtype=irrep_dtype, weight_dtype=weight_dtype, layout=layout,
        )  # fmt: skip
        object.__setattr__(self, "label", label or "")

    def clone(self) -> "TPProblem":
        """The problem itself: it is a value."""
        return self

    def __reduce__(self) -> tuple:
        return _restore, (self.label, *self._value())


def _restore(label: str, *value: Any) -> TPProblem:
    restored = TPProblem.__new__(TPProblem)
    restored._freeze(value[:3], *value[3:])
    object.__setattr__(restored, "label", label)
    return restored


class _Stateless:
    """What both modules share: no entry in the ``state_dict``, and e3nn's order of weights."""

    input_args: dict[str, Any]

    def _leave_state(self, **arguments: Any) -> None:
        self.input_args = arguments
        for name, buffer in list(self.named_buffers(recurse=False)):  # type: ignore[attr-defined]
            self.register_buffer(name, buffer, persistent=False)  # type: ignore[attr-defined]

    def reorder_weights_from_e3nn(self, weights: Any, has_batch_dim: bool = True) -> Any:
        """The weights as they are: espmm's order is e3nn's."""
        return weights

    def reorder_weights_to_e3nn(self, weights: Any, has_batch_dim: bool = True) -> Any:
        """The weights as they are: espmm's order is e3nn's."""
        return weights


class TensorProduct(_Stateless, modules.TensorProduct):
    """A product, row by row.

    Args:
        problem: what to compute.
        torch_op, use_opaque: accepted and ignored.
    """

    def __init__(self, problem: problem.TPProblem, torch_op: bool = True, use_opaque: bool = False) -> None:
        super().__init__(problem)
        self._leave_state(problem=problem, torch_op=torch_op, use_opaque=use_opaque)

    def forward(self, x: torch.Tensor, y: torch.Tensor, W: Optional[torch.Tensor] = None) -> torch.Tensor:  # type: ignore[override]
        """x (rows, irreps_in1.dim), y (rows, irreps_in2.dim), W (rows, weight_numel) or (weight_numel,) to (rows, irreps_out.dim)."""
        return super().forward(x, y, W)

    @staticmethod
    def name() -> str:
        return "espmm"


class TensorProductConv(_Stateless, modules.TensorProductConv):
    """A product and the sum over edges as one kernel.

    Args:
        problem: what to compute.
        deterministic: bit-equal results on every run; ``sender_perm`` is not needed for it.
        kahan: False; sums are not compensated.
        torch_op, use_opaque: accepted and ignored.

    Raises:
        UnsupportedError: kahan is True.
    """

    def __init__(
        self,
        problem: problem.TPProblem,
        *,
        deterministic: bool = False,
        kahan: bool = False,
        torch_op: bool = True,
        use_opaque: bool = False,
    ) -> None:
        if kahan:
            raise UnsupportedError("expected kahan = False: espmm's sums are not compensated")
        super().__init__(problem, deterministic=deterministic)
        self._leave_state(
            problem=problem, deterministic=deterministic, kahan=kahan, torch_op=torch_op, use_opaque=use_opaque
        )

    def __setattr__(self, name: str, value: Any) -> None:
        # MACE puts a function of its own in the place of forward, which does not survive torch.save: forward does the same.
        if name not in ("forward", "original_forward"):
            super().__setattr__(name, value)

    def forward(  # type: ignore[override]
        self,
        X: torch.Tensor,
        Y: torch.Tensor,
        W: torch.Tensor,
        rows: torch.Tensor,
        cols: Optional[torch.Tensor] = None,
        sender_perm: Optional[torch.Tensor] = None,
    ) -> torch.Tensor:
        """z[rows] += tp(X[cols], Y, W).

        Args:
            X: (nodes, irreps_in1.dim). Y: (edges, irreps_in2.dim). W: (edges, weight_numel), or (weight_numel,) if shared.
            rows, cols: (edges,) int32 or int64, receivers and senders, in any order. Or, without cols, rows is MACE's
                ``edge_index``, (2, edges): senders, receivers.
            sender_perm: not needed, and ignored.

        Returns:
            (nodes, irreps_out.dim).
        """
        if cols is not None:
            return super().forward(X, Y, W, rows, cols)
        into, back = getattr(self, "layout_transpose_in", None), getattr(self, "layout_transpose_out", None)
        z = super().forward(X if into is None else into(X), Y, W, rows[1], rows[0])
        return z if back is None else back(z)

    @staticmethod
    def name() -> str:
        return "espmm"


def torch_to_oeq_dtype(torch_dtype: torch.dtype) -> type:
    """numpy's type for torch.float32 or torch.float64.

    Raises:
        ValueError: another dtype.
    """
    if torch_dtype == torch.float32:
        return np.float32
    if torch_dtype == torch.float64:
        return np.float64
    raise ValueError(f"expected torch.float32 or torch.float64, got {torch_dtype}")


def transpose_irreps(array: torch.Tensor, irreps: Any, src_layout: str, dst_layout: str) -> torch.Tensor:
    """Features (..., irreps.dim) from one layout into another, ``"mul_ir"`` or ``"ir_mul"``; a copy, differentiable.

    Raises:
        TypeError: not a tensor. ValueError: another layout, or a last axis that is not irreps.dim.
    """
    for name, layout in (("src_layout", src_layout), ("dst_layout", dst_layout)):
        if layout not in problem.LAYOUTS:
            raise ValueError(f"expected {name} to be 'mul_ir' or 'ir_mul', got {layout!r}")
    if not isinstance(array, torch.Tensor):
        raise TypeError(f"expected array to be a tensor, got {type(array).__name__}")
    blocks = Irreps(irreps)
    if array.shape[-1:] != (blocks.dim,):
        raise ValueError(f"expected the last axis to be {blocks.dim}, the dimension of {blocks}, got {tuple(array.shape)}")
    if src_layout == dst_layout:
        return array.clone()
    lead, pieces = array.shape[:-1], []
    for block, piece in zip(blocks, array.split([block.dim for block in blocks], dim=-1)):
        sizes = (block.mul, block.ir.dim) if src_layout == "mul_ir" else (block.ir.dim, block.mul)
        pieces.append(piece.reshape(*lead, *sizes).transpose(-1, -2).reshape(*lead, block.dim))
    return torch.cat(pieces, dim=-1) if pieces else array.clone()


def torch_ext_so_path() -> Optional[str]:
    """The library that C++ programs load for the operators; None if there is none."""
    try:
        return _capi.torch_library()
    except ImportError:
        return None


def _check_package_editable() -> bool:
    return False


class jax:
    """OpenEquivariance's part for JAX, which espmm has not."""

    @staticmethod
    def TensorProduct(*args: Any, **arguments: Any) -> Any:
        raise UnsupportedError("espmm has no interface to JAX")

    TensorProductConv = TensorProduct


__all__ = [
    "Irreps",
    "TPProblem",
    "TensorProduct",
    "TensorProductConv",
    "_check_package_editable",
    "jax",
    "torch_ext_so_path",
    "torch_to_oeq_dtype",
    "transpose_irreps",
]
