"""PTX of the named problems: ptxas accepts it, and what it says of registers and spills is shown.

The figures are printed as a table at the end (pytest -s or -rP shows it); only what the project promises is asserted.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import espmm
import pytest

PTXAS = shutil.which("ptxas")
pytestmark = pytest.mark.skipif(PTXAS is None, reason="ptxas is not on PATH")

PROBLEMS = ["mace-large", "mace-medium", "nequip-lips", "nequip-aspirin", "nequip-benzene"]


def assemble(ptx: str, chip: str, folder: Path) -> dict[str, tuple[int, int]]:
    """Registers and bytes of spill stores for each kernel of a PTX text; fails where ptxas does."""
    source = folder / "kernels.ptx"
    source.write_text(ptx)
    command = [PTXAS, "-v", f"-arch={chip}", "-o", str(folder / "kernels.cubin"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    report = done.stdout + done.stderr
    kernels = re.findall(r"entry function '(\w+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers", report, re.S)
    assert len(kernels) == ptx.count(".entry "), report
    return {name: (int(registers), int(spills)) for name, spills, registers in kernels}


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("name", PROBLEMS)
def test_named_problems_assemble(name: str, order: int, tmp_path: Path) -> None:
    problem = espmm.named_problem(name)
    kernel = espmm.compile(problem, target="cuda:sm_90", conv=True, grad_order=order)
    kernels = assemble(kernel.ptx, "sm_90", tmp_path)
    for entry, (registers, spills) in kernels.items():
        print(f"{name} order {order} {entry}: {registers} registers, {spills} bytes of spill stores")
        assert registers <= 255
        if order == 0:
            assert spills == 0, f"{name}: {entry} spills {spills} bytes"


@pytest.mark.parametrize("chip", ["sm_80", "sm_89", "sm_90", "sm_100", "sm_120"])
def test_chips(chip: str, tmp_path: Path) -> None:
    problem = espmm.named_problem("mace-medium")
    kernel = espmm.compile(problem, target=f"cuda:{chip}", conv=True, grad_order=1)
    assert assemble(kernel.ptx, chip, tmp_path)
    # The vector form of reductions to memory is there from sm_90 on.
    assert ("red.relaxed.gpu.global.add.v4.f32" in kernel.ptx) == (chip not in ("sm_80", "sm_89"))


def test_an_old_chip_is_refused() -> None:
    with pytest.raises(ValueError, match="sm_80 or later, got 'sm_75'"):
        espmm.compile(espmm.named_problem("mace-medium"), target="cuda:sm_75", conv=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
def test_batches_and_deterministic_sums(dtype: str, layout: str, tmp_path: Path) -> None:
    problem = espmm.TPProblem(
        "17x0e+100x1o", "0e+1o", "17x0e+100x1o+17x1o", [(0, 0, 0, "uvu", True), (1, 0, 1, "uvu", True), (0, 1, 2, "uvu", True)],
        shared_weights=False, internal_weights=False, irrep_dtype=dtype, weight_dtype=dtype, layout=layout,
    )  # fmt: skip
    for conv in (False, True):
        for order in (0, 1, 2):
            kernel = espmm.compile(problem, target="cuda:sm_90", conv=conv, grad_order=order, deterministic=True)
            assert assemble(kernel.ptx, "sm_90", tmp_path)
            # Only sums in memory by atomics come in an order of their own.
            assert not re.search(r"\b(red|atom)\.", kernel.ptx)
