"""Other libraries' interfaces on espmm's kernels: ``espmm.compat.openequivariance``."""

from __future__ import annotations

from importlib import import_module


def __getattr__(name: str) -> object:
    if name != "openequivariance":
        raise AttributeError(f"module 'espmm.compat' has no attribute {name!r}")
    return import_module(".openequivariance", __name__)


__all__ = ["openequivariance"]
