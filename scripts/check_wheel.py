"""Installs a wheel into an empty environment of a Python, and there imports espmm and compiles a convolution with it.

The environment has nothing but the wheel: no torch, no numpy, no LLVM.

Usage: python scripts/check_wheel.py [--python INTERPRETER] WHEEL
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SCRIPT = """
import importlib.util, pathlib, sys
import espmm
assert pathlib.Path(espmm.__file__).is_relative_to(sys.prefix), espmm.__file__
assert importlib.util.find_spec("torch") is None and importlib.util.find_spec("numpy") is None, "not an empty environment"
problem = espmm.named_problem("mace-large")
for target in ("cpu", "cuda:sm_90"):
    kernel = espmm.compile(problem, target, conv=True, grad_order=2)
    code = kernel.assembly if target == "cpu" else kernel.ptx
    print(f"    Python {sys.version.split()[0]}, espmm {espmm.__version__}: mace-large to second order for {target}: {len(code)} bytes of text")
"""


def clean_environment() -> dict[str, str]:
    """Without what would let the checkout, or another installation, be found in place of the wheel."""
    drop = ("PYTHONPATH", "PYTHONHOME", "ESPMM_LIBRARY", "VIRTUAL_ENV")
    return {key: value for key, value in os.environ.items() if key not in drop} | {"ESPMM_CACHE": "0"}


def install(wheel: Path, python: str, folder: Path) -> Path:
    """Makes an environment in `folder` with the wheel and nothing else; gives its interpreter."""
    environment = clean_environment()
    subprocess.run([python, "-m", "venv", str(folder)], check=True, env=environment)
    interpreter = folder / "bin" / "python"
    pip = [str(interpreter), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run([*pip, str(wheel)], check=True, env=environment)
    return interpreter


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("wheel", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            interpreter = install(arguments.wheel.resolve(), arguments.python, Path(folder) / "venv")
            subprocess.run([str(interpreter), "-c", SCRIPT], check=True, cwd=folder, env=clean_environment())
            subprocess.run([str(interpreter.parent / "espmm"), "info"], check=True, cwd=folder, env=clean_environment())
        except subprocess.CalledProcessError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
