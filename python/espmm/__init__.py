"""espmm: equivariant tensor products, compiled.

>>> import espmm
>>> problem = espmm.TPProblem("8x0e+8x1o", "0e+1o", "8x1o", [(0, 1, 0, "uvu", True), (1, 0, 0, "uvu", True)],
...                           shared_weights=False, internal_weights=False)
>>> print(problem)
8x0e+8x1o x 1x0e+1x1o -> 8x1o | 2 paths (uvu) | 16 weights | float32 mul_ir

Importing this loads neither the compiler nor torch nor numpy; each comes with the first thing that needs it.
"""

from __future__ import annotations

from .errors import ProblemError, UnsupportedError

__version__ = "0.1.0"

#: Where each name comes from, when it is first asked for.
_HOMES = {
    "Acceleration": "acceleration",
    "CompiledProgram": "compiled",
    "ElementwiseTensorProduct": "derived",
    "FullTensorProduct": "derived",
    "FullyConnectedTensorProduct": "derived",
    "Graph": "graph",
    "HostPlan": "plan",
    "Instruction": "instruction",
    "Irrep": "irreps",
    "Irreps": "irreps",
    "Kernel": "kernel",
    "MulIrrep": "irreps",
    "Program": "program",
    "TPProblem": "problem",
    "Tuning": "tuning",
    "TensorProduct": "modules",
    "TensorProductConv": "modules",
    "TensorSquare": "derived",
    "accelerate": "acceleration",
    "compile": "kernel",
    "every_path": "problems",
    "every_path_problem": "problems",
    "elementwise_problem": "problems",
    "from_e3nn": "derived",
    "full_problem": "problems",
    "fully_connected_problem": "problems",
    "forward_program": "program",
    "get_num_threads": "threads",
    "named_problem": "problems",
    "set_num_threads": "threads",
    "square_problem": "problems",
    "torch_library": "_capi",
    "tune": "tuning",
}

#: Modules that are imported when they are first asked for.
_MODULES = ("compat", "e3nn")

__all__ = ["ProblemError", "UnsupportedError", "__version__", "info", *_HOMES]

TYPE_CHECKING = False  # what type checkers take for True; typing itself costs ten milliseconds
if TYPE_CHECKING:
    from ._capi import torch_library
    from . import compat, e3nn
    from .acceleration import Acceleration, accelerate
    from .compiled import CompiledProgram
    from .derived import ElementwiseTensorProduct, FullTensorProduct, FullyConnectedTensorProduct, TensorSquare, from_e3nn
    from .graph import Graph
    from .instruction import Instruction
    from .irreps import Irrep, Irreps, MulIrrep
    from .kernel import Kernel, compile
    from .modules import TensorProduct, TensorProductConv
    from .plan import HostPlan
    from .problem import TPProblem
    from .problems import (
        elementwise_problem,
        every_path,
        every_path_problem,
        full_problem,
        fully_connected_problem,
        named_problem,
        square_problem,
    )
    from .program import Program, forward_program
    from .threads import get_num_threads, set_num_threads
    from .tuning import Tuning, tune


def info() -> dict:
    """Versions, host, CUDA driver and devices (or why there are none), ptxas, cache folder with the number of schedules that
    :func:`tune` has found, and where the libraries lie."""
    from . import _capi, schedules

    path = next((path for path in _capi.candidates() if path.is_file()), None)
    found = _capi.info()
    if "entries" in found["cache"]:
        found["cache"]["schedules"] = schedules.count()
    try:
        torch_path = _capi.torch_library()
    except ImportError:
        torch_path = None
    return {"espmm": __version__, "library": None if path is None else str(path), "torch_library": torch_path, **found}


def __getattr__(name: str) -> object:
    home = name if name in _MODULES else _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'espmm' has no attribute {name!r}")
    from importlib import import_module

    try:
        module = import_module(f".{home}", __name__)
        value = module if name in _MODULES else getattr(module, name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(
            f"espmm.{name} needs torch, which is not installed (pip install torch)", name="torch"
        ) from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})
