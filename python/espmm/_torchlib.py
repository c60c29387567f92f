"""Loads ``libespmm_torch.so``, with which espmm's operators come into torch."""

from __future__ import annotations

from typing import Any, Optional

import torch

from . import _capi


def _load() -> Optional[ImportError]:
    try:
        path = _capi.torch_library()
        _capi.library()  # first, so that it is this libespmm.so that the other library finds
    except ImportError as error:
        return error
    try:
        torch.ops.load_library(path)
    except OSError as error:
        return ImportError(f"{path} does not load with torch {torch.__version__}, expected 2.10 or later: {error}")
    return None


#: Why there are no operators; None if there are.
missing = _load()

#: ``_program`` (``lib/Torch/Operators.cpp``): a compiled program as ``_launch`` takes it.
program_of: Any = None if missing else torch.ops.espmm._program.default


def launch_operator(tensors: int, results: int) -> Any:
    """``_launch`` for programs that read so many tensors: a launch in less than half the time that it takes through ctypes.

    It takes the program, where the words are and how many, and the tensors; of several results it gives a tuple.
    """
    torch.ops.espmm._define_launch(tensors, results)
    return getattr(torch.ops.espmm._launch, f"of{tensors}to{results}")


def operators() -> Any:
    """``torch.ops.espmm``.

    Raises:
        ImportError: the library is not there, or does not load with this torch.
    """
    if missing is not None:
        raise ImportError(f"what is traced (torch.compile, export, jit) needs espmm's operators for torch: {missing}") from missing
    return torch.ops.espmm
