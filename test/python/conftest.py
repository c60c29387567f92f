"""Fixtures: devices, poisoned buffers, and what to skip without the library or a GPU."""

from __future__ import annotations

import ctypes
import os

# Tests must not meet kernels that an older compiler left on disk.
os.environ.setdefault("ESPMM_CACHE", "0")

from collections.abc import Iterator

import pytest
from espmm import _capi
from hypothesis import HealthCheck, settings

settings.register_profile("espmm", deadline=None, max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck))
settings.load_profile("espmm")

try:
    import torch
except ImportError:
    torch = None

HAS_CUDA = torch is not None and torch.cuda.is_available()
NO_LIBRARY = "libespmm.so is not built; looked for " + ", ".join(map(str, _capi.candidates()))

#: Every test that runs kernels takes this parameter.
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("cuda") and not HAS_CUDA:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_report_header() -> str:
    found = next((path for path in _capi.candidates() if path.is_file()), None)
    return f"libespmm: {found or 'missing'}; CUDA: {'yes' if HAS_CUDA else 'no'}"


@pytest.fixture(scope="session")
def library() -> None:
    """What needs libespmm.so asks for this."""
    if not _capi.is_available():
        pytest.skip(NO_LIBRARY)


@pytest.fixture
def operators(library: None) -> None:
    """torch.ops.espmm, loaded as espmm loads them."""
    from espmm import _torchlib, operators  # noqa: F401

    assert _torchlib.missing is None, _torchlib.missing


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest, library: None) -> str:
    """A device that kernels run on."""
    return request.param


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results and scratch hold NaN before each launch, so that what a kernel does not write is seen."""
    from espmm import launch

    def allocate(shape, dtype, device):
        tensor = torch.empty(shape, dtype=dtype, device=device)
        return tensor.fill_(255) if dtype == torch.uint8 else tensor.fill_(float("nan"))

    monkeypatch.setattr(launch, "allocate", allocate)


@pytest.fixture
def filled_memory(device: str) -> Iterator[None]:
    """What is allocated holds no zeros, whoever allocates it: on the CPU bytes 0xfe, on a GPU NaN in all of torch's tensors.

    For what the operators in C++ allocate, which ``poisoned`` does not reach.
    """
    if device == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)
        assert torch.utils.deterministic.fill_uninitialized_memory and torch.empty(10000, device=device).isnan().all()
        yield
        torch.use_deterministic_algorithms(False)
        return
    mallopt, m_perturb = ctypes.CDLL(None).mallopt, -6
    assert mallopt(m_perturb, 1) == 1
    assert (torch.empty(10000, dtype=torch.uint8) == 0xFE).all()
    yield
    mallopt(m_perturb, 0)
