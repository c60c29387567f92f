"""What the tests of all folders share."""

from __future__ import annotations

import pytest


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list:
    """The launches of programs since, each as its launcher."""
    from espmm import launch

    counted: list = []
    original = launch.Launcher.__call__
    monkeypatch.setattr(launch.Launcher, "__call__", lambda self, *args: counted.append(self) or original(self, *args))
    return counted
