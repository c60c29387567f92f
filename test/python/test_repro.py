"""What ``--repro`` prints gives, byte for byte, what ``--emit`` prints without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from espmm.__main__ import main
from espmm.program import STAGES

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "build" / "bin"

#: A product of two paths with its gradient; a batch in double precision and e3nn's other layout; a named problem.
COMPILES = {
    "gradient": ["--in1", "5x0e+8x1o", "--in2", "0e+1o", "--out", "5x1o+8x0e", "--every-path", "--conv", "--order", "1"],
    "batch": ["--in1", "4x1o", "--in2", "1o", "--out", "4x1e", "--every-path", "--dtype", "float64", "--layout", "ir_mul"],
    "named": ["mace-medium", "--conv", "--order", "2"],
}
#: By target, what comes after the stages of the IR.
TARGETS = {"cpu": ("llvmir", "assembly"), "cuda:sm_90": ("llvmir", "ptx")}


@pytest.fixture(scope="module")
def tools(library):
    for name in ("espmm-opt", "espmm-translate"):
        if not (TOOLS / name).exists():
            pytest.skip(f"{TOOLS / name} is not built")
    return {**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"}


def printed(capsys, *argv: str) -> str:
    assert main(["compile", *argv]) == 0
    return capsys.readouterr().out


def run(command: str, directory: Path, environment: dict) -> str:
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=directory, env=environment)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", COMPILES)
def test_every_stage(name, target, tools, tmp_path, capsys):
    arguments = [*COMPILES[name], "--target", target]
    source = printed(capsys, *arguments, "--emit", "source")
    (tmp_path / "source.mlir").write_text(source)
    texts = {}
    for stage in (*STAGES, *TARGETS[target]):
        texts[stage] = printed(capsys, *arguments, "--emit", stage)
        command = printed(capsys, *arguments, "--emit", stage, "--repro")
        assert run(command, tmp_path, tools) == texts[stage], command
    # Each stage is another text, but that an order of 0 has nothing to differentiate.
    order = arguments[arguments.index("--order") + 1] if "--order" in arguments else "0"
    assert len(set(texts.values())) == len(texts) - (order == "0")


def test_in_a_process_of_its_own(tools, tmp_path):
    """The command as a user types it, its output in a file."""
    python = [sys.executable, "-m", "espmm", "compile", *COMPILES["gradient"]]
    environment = {**tools, "PYTHONPATH": str(ROOT / "python")}
    subprocess.run([*python, "--emit", "source", "-o", str(tmp_path / "source.mlir")], check=True, env=environment)
    subprocess.run([*python, "--emit", "scalar", "-o", str(tmp_path / "scalar.mlir")], check=True, env=environment)
    command = subprocess.run([*python, "--emit", "scalar", "--repro"], check=True, env=environment, capture_output=True, text=True).stdout
    assert run(command, tmp_path, tools) == (tmp_path / "scalar.mlir").read_text()


def test_stages_continue_each_other(tools, tmp_path, capsys):
    """A stage's text is what the next pass is given: passes run one at a time end where the pipeline ends."""
    arguments = [*COMPILES["gradient"], "--target", "cuda:sm_90"]
    (tmp_path / "tiled.mlir").write_text(printed(capsys, *arguments, "--emit", "tiled"))
    got = run("espmm-opt tiled.mlir --equivariant-stage --equivariant-overlap --equivariant-sparsify", tmp_path, tools)
    assert got == printed(capsys, *arguments, "--emit", "scalar")
