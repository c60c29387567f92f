"""Names of element types: one spelling for torch's, numpy's and our own, without importing either."""

from __future__ import annotations

from typing import Any

from .errors import ProblemError

#: Size in bytes, the IR's name and the array interface's type string of each element type.
ITEMSIZE = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2}
MLIR_NAME = {"float32": "f32", "float64": "f64", "bfloat16": "bf16", "float16": "f16"}
FROM_MLIR = {name: dtype for dtype, name in MLIR_NAME.items()}

#: What is computed with for elements of types that are of storage only.
ARITHMETIC = {"bfloat16": "float32", "float16": "float32"}


def dtype_name(dtype: Any, what: str) -> str:
    """``"float32"``, ``"float64"``, ``"bfloat16"`` or ``"float16"`` for a string, a torch dtype, or a numpy dtype or scalar type.

    Raises:
        ProblemError: ``dtype`` is none of them; the message names the argument ``what``.
    """
    name = (
        dtype if isinstance(dtype, str) else getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype)
    )
    name = name.removeprefix("torch.")
    name = {"float": "float64", "double": "float64", "half": "float16", **FROM_MLIR}.get(name, name)
    if name not in ITEMSIZE:
        raise ProblemError(
            f"expected {what} to be 'float32', 'float64', 'bfloat16' or 'float16' (as a string, torch or numpy dtype), got {dtype!r}"
        )
    return name
