"""Importing espmm is quick and pulls in nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PYTHON = Path(__file__).resolve().parents[2] / "python"


def run(code: str, **env: str) -> str:
    script = f"import sys; sys.path.insert(0, {str(PYTHON)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={"PATH": "", **env})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_loads_nothing_and_takes_under_50_ms():
    code = """
import time
begin = time.perf_counter(); import espmm; spent = time.perf_counter() - begin
loaded = [name for name in ("torch", "numpy", "e3nn", "ctypes") if name in sys.modules]
mapped = [line for line in open("/proc/self/maps") if "espmm" in line or "cuda" in line]
print(loaded + mapped, spent)
"""
    times = []
    for _ in range(5):
        loaded, _, spent = run(code).rpartition(" ")
        assert loaded == "[]"
        times.append(float(spent))
    assert min(times) < 0.050, times


def test_problems_and_programs_need_neither_torch_nor_numpy_nor_the_library():
    code = """
import espmm
espmm.forward_program(espmm.named_problem("mace-large"), conv=True).vjp((0, 1, 2), (0,)).pipeline("cpu")
print([name for name in ("torch", "numpy", "e3nn") if name in sys.modules])
print([line for line in open("/proc/self/maps") if "libespmm" in line])
"""
    assert run(code) == "[]\n[]"


def test_without_torch_the_modules_say_so():
    code = """
sys.modules["torch"] = None
import espmm
espmm.TPProblem("1o", "1o", "0e", [(0, 0, 0, "uvu", True)])
try:
    espmm.TensorProduct
except ModuleNotFoundError as error:
    print(error)
"""
    assert run(code) == "espmm.TensorProduct needs torch, which is not installed (pip install torch)"


def test_without_the_library_the_error_says_where_it_was_looked_for(tmp_path):
    code = """
import espmm
try:
    espmm.info()
except ImportError as error:
    print(error)
"""
    missing = str(tmp_path / "libespmm.so")
    assert missing in run(code, ESPMM_LIBRARY=missing)
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"not a library")
    assert f"{broken} does not load" in run(code, ESPMM_LIBRARY=str(broken))


def test_names_of_the_package():
    import espmm

    for name in espmm.__all__:
        assert getattr(espmm, name) is not None
        assert name in dir(espmm)
    with pytest.raises(AttributeError, match="no attribute 'Tensorproduct'"):
        espmm.Tensorproduct
