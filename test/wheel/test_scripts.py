"""The scripts behind make, where what they need is missing: they name it and stop."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def commands(tmp_path: Path):
    """Writes commands that stand before all others in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def write(**bodies: str) -> dict[str, str]:
        for name, body in bodies.items():
            path = folder / name.replace("_", "-")
            path.write_text(f"#!/bin/sh\n{body}\n")
            path.chmod(0o755)
        return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}

    return write


def run(script: str, *arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run(["bash", ROOT / "scripts" / script, *arguments], env=environment, capture_output=True, text=True, timeout=120)


def test_without_root_rights_missing_packages_are_named(commands, tmp_path):
    installed = "case $* in *mlir-22-tools*|*cmake*) ;; *) printf installed ;; esac"
    touched = tmp_path / "touched"
    environment = commands(dpkg_query=installed, apt_get=f"touch {touched}", apt_cache=f"touch {touched}", id="echo 1000", sudo="exit 1")
    result = run("bootstrap.sh", environment=environment)
    assert result.returncode == 1 and not touched.exists()
    assert "these Debian packages are missing, and installing them takes root rights, which this user has not: cmake mlir-22-tools\n" in result.stderr
    assert "apt-get install --no-install-recommends cmake mlir-22-tools" in result.stderr


def test_on_another_system_all_packages_are_named(commands, tmp_path):
    # A PATH of what the script itself takes, and no more.
    environment = commands()
    folder = tmp_path / "bin"
    for name in ("bash", "dirname", "nproc"):
        (folder / name).symlink_to(next(Path(place, name) for place in ("/usr/bin", "/bin") if Path(place, name).exists()))
    result = subprocess.run([folder / "bash", ROOT / "scripts/bootstrap.sh"], env={**environment, "PATH": str(folder)}, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1
    assert "this is no Debian (no dpkg-query, no apt-get); what is needed, by its names there:" in result.stderr and "libmlir-22-dev" in result.stderr


def test_a_wheel_for_a_python_that_is_not_there(commands):
    environment = commands(pyenv="exit 1")
    environment.pop("PYTHON312", None)
    result = run("wheel.sh", "3.12", environment=environment)
    assert result.returncode == 1
    assert "no CPython 3.12: pyenv has none (pyenv install 3.12), and PYTHON312=/path/to/python3.12 is not set" in result.stderr
    result = run("wheel.sh", "3.12", environment={**environment, "PYTHON312": "/bin/sh"})
    assert result.returncode == 1 and "/bin/sh is no CPython 3.12" in result.stderr
