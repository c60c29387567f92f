"""The tests of this folder run in an environment of one client each (`make clients`), with espmm on the path."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("ESPMM_CACHE", "0")
warnings.filterwarnings("ignore")

import clients
import pytest
import torch

torch.set_num_threads(1)  # small models: threads would wait for each other most of the time
# Scripted products (e3nn 0.4.4) are specialised to every shape that they meet, which takes longer than these tests use them for.
torch._C._jit_set_profiling_executor(False)
torch._C._jit_set_profiling_mode(False)


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("cuda") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def client():
    return clients.client()


@pytest.fixture(scope="session", params=DEVICES)
def device(request):
    """Where a test's models are."""
    return request.param
