"""Names of element types: one spelling for torch's, numpy's and our own, without importing either."""

from __future__ import annotations

from typing import Any

from .errors import ProblemError

#: Size in bytes, the IR's name and the array interface's type string of each element type.
ITEMSIZE = {"float32": 4, "float64": 8}
MLIR_NAME = {"float32": "f32", "float64": "f64"}
FROM_MLIR = {name: dtype for dtype, name in MLIR_NAME.items()}


def dtype_name(dtype: Any, what: str) -> str:
    """``"float32"`` or ``"float64"`` for a string, a torch dtype, or a numpy dtype or scalar type.

    Raises:
        ProblemError: ``dtype`` is neither; the message names the argument ``what``.
    """
    name = (
        dtype if isinstance(dtype, str) else getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype)
    )
    name = {"torch.float": "float32", "torch.double": "float64", "float": "float64", "f32": "float32", "f64": "float64"}.get(
        name, name.removeprefix("torch.")
    )
    if name not in ITEMSIZE:
        raise ProblemError(
            f"expected {what} to be 'float32' or 'float64' (as a string, torch or numpy dtype), got {dtype!r}"
        )
    return name
