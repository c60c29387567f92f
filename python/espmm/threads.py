"""How many threads host kernels use: torch's number where torch is there, unless the user says otherwise."""

from __future__ import annotations

import operator
import sys

from . import _capi


def set_num_threads(threads: int) -> None:
    """Sets the number of threads of host kernels, from now on whatever torch's number is.

    Raises:
        TypeError, ValueError: not an integer, or less than 1.
    """
    threads = operator.index(threads)
    if threads < 1:
        raise ValueError(f"expected at least 1 thread, got {threads}")
    _capi.set_num_threads(threads)


def get_num_threads() -> int:
    """The number of threads of host kernels."""
    if "torch" in sys.modules:
        follow_torch()
    return _capi.get_num_threads()


def follow_torch() -> None:
    """Takes over torch's number of threads, if the user has not chosen one."""
    _capi.follow_num_threads(sys.modules["torch"].get_num_threads())
