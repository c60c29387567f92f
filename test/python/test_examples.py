"""The examples run, in small; the demo is run by test/readme, dynamics with SevenNet by test/clients."""

from __future__ import annotations

import os
import re
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
