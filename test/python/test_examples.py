"""The examples run, in small; the demo is run by test/readme, dynamics with SevenNet by test/clients."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_training_a_potential(library, tmp_path):
    command = [sys.executable, "examples/train_potential.py", "--structures", "2", "--epochs", "5", "--batch", "1", "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--output", tmp_path / "plot.png"], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    before, after = re.findall(r"energy ([\d.e+]+) meV an atom", done.stdout)
    assert float(after) < float(before)
    assert "10/10" in done.stderr and (tmp_path / "plot.png").stat().st_size > 10_000


def test_a_kernel_loaded_from_cpp(library, tmp_path):
    """What the head of the example says: the program from Python, the rest without. e3nn says what comes out."""
    import e3nn.o3
    import torch
    from espmm import _capi

    head = (ROOT / "examples/load_kernel.cpp").read_text().split("#include")[0].replace("// ", "").replace("//", "")
    script = "\n".join(line[4:] for line in head.splitlines() if line.startswith("    ") and "c++" not in line and "./" not in line)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    folder = next(path for path in _capi.candidates() if path.is_file()).parent
    compiler = shutil.which("c++") or shutil.which("clang++-22")
    command = [compiler, "-std=c++17", f"-I{ROOT}/include", str(ROOT / "examples/load_kernel.cpp"), f"-L{folder}", "-lespmm"]
    subprocess.run([*command, f"-Wl,-rpath,{folder}", "-o", tmp_path / "load_kernel"], check=True)
    done = subprocess.run([tmp_path / "load_kernel", "product.mlir"], cwd=tmp_path, capture_output=True, text=True, check=True)
    got = torch.tensor([[float(number) for number in line.split()] for line in done.stdout.splitlines()])

    instructions = [(0, 0, 0, "uvu", True), (1, 1, 0, "uvu", True)]
    tp = e3nn.o3.TensorProduct("2x0e+2x1o", "0e+1o", "2x0e", instructions, shared_weights=False, internal_weights=False)
    x, y, w = (torch.arange(1, 2 * width + 1).reshape(2, width) / 10 for width in (8, 4, 4))
    assert (got - tp(x.flip(0), y, w)).abs().max() < 1e-6
