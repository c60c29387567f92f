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


def test_the_demo_ends_with_an_error_where_results_differ(monkeypatch, capsys):
    """Before it times anything; also where one is not a number."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import carbon_forces
    import carbon_jobs

    right = {"energy": {"e3nn": -42.0, "espmm": -42.0}, "force": 0.5, "force_difference": 1e-14, "gradient": 288.0, "gradient_difference": 1e-13, "parameters": 9}
    assert carbon_forces.differences("float64", right) == []
    cases = {
        "forces differ by 1.0e-08 in float64": {**right, "force_difference": 1e-8},
        "forces differ by nan in float64": {**right, "force_difference": float("nan")},
        "energies differ by 1.0e-05 in float64": {**right, "energy": {"e3nn": -42.0, "espmm": -41.99999}},
        "gradients of the parameters differ by 1.0e-01 in float32": {**right, "gradient_difference": 0.1},
    }
    for message, wrong in cases.items():
        called = []
        monkeypatch.setattr(carbon_jobs, "run", lambda job, **arguments: called.append(job) or (wrong if arguments["dtype"] in message else right))
        assert carbon_forces.main(["--quick", "--device", "cpu"]) == 1
        assert called == ["compare", "compare"] and f"error: {message}" in capsys.readouterr().err
