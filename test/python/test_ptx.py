"""PTX of the named problems for several chips: ptxas accepts it, and what it says of registers and spills is shown.

The figures are printed as a table at the end (pytest -s or -rP shows it); only what the project promises is asserted.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import espmm
import pytest
from espmm.problems import NAMED, named_problem

PTXAS = shutil.which("ptxas")
pytestmark = pytest.mark.skipif(PTXAS is None, reason="ptxas is not on PATH")


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


#: Bytes of shared memory that a block may have, by chip.
SHARED = {"sm_80": 163 << 10, "sm_90": 227 << 10, "sm_100": 227 << 10, "sm_120": 99 << 10}

#: What a thread may spill, in bytes, where docs/Rationale.md, "How a warp spends its time on the GPU", says why.
FEW = 128


@pytest.mark.parametrize("chip", SHARED)
def test_named_problems_assemble(chip: str) -> None:
    """Problems of all orders, with and without a graph: ptxas takes them, blocks fit, and spills are few."""
    for name in NAMED if chip == "sm_90" else ["mace-large", "mace-medium", "nequip-lips"]:
        for conv in (True, False):
            kernel = espmm.compile(named_problem(name), target=f"cuda:{chip}", conv=conv, grad_order=2)
            for order, compiled in enumerate(kernel.kernels):
                launches = {step["kernel"]: step for step in compiled.manifest["steps"] if step["op"] == "launch"}
                found = compiled.resources["sass"]
                assert {made["name"] for made in found} == set(launches)
                for made in found:
                    what = f"{chip} {name} {'graph' if conv else 'rows'} order {order} {made['name']}"
                    spills = made["spill_store_bytes"]
                    print(f"{what}: {made['registers']} registers, {spills} bytes spilled")
                    assert made["static_shared_bytes"] + launches[made["name"]]["shared"] <= SHARED[chip], what
                    assert 16 <= made["registers"] <= 255 and made["code_bytes"] > 0, what
                    assert spills <= FEW, what
                    if (chip, name, conv) == ("sm_90", "mace-large", True):
                        assert spills == 0, what


@pytest.mark.parametrize("chip, dtype", [*((chip, "bfloat16") for chip in SHARED), ("sm_80", "float16"), ("sm_90", "float16")])
def test_narrow_types_assemble(chip: str, dtype: str) -> None:
    """The rows are half as long; registers are in their bounds, spills few, and shared memory is at most 2 % more than that of float32."""
    for name in ("mace-large", "nequip-lips"):
        for conv in (True, False):
            kernel = espmm.compile(named_problem(name, irrep_dtype=dtype), target=f"cuda:{chip}", conv=conv, grad_order=2)
            wide = espmm.compile(named_problem(name), target=f"cuda:{chip}", conv=conv, grad_order=2)
            for order, (compiled, other) in enumerate(zip(kernel.kernels, wide.kernels)):
                what = f"{chip} {name} {'graph' if conv else 'rows'} order {order}"
                launches = {step["kernel"]: step["shared"] for step in compiled.manifest["steps"] if step["op"] == "launch"}
                most = max(step["shared"] for step in other.manifest["steps"] if step["op"] == "launch")
                print(f"{what}: {max(launches.values())} bytes of shared memory, of float32 {most}")
                assert max(launches.values()) <= 1.02 * most, what
                assert compiled.cost["bytes_per_node"] * 2 == other.cost["bytes_per_node"], what
                # Few of them are read or added to as float32: y's, that can't be copied, and its gradient.
                assert 0.5 <= compiled.cost["bytes_per_edge"] / other.cost["bytes_per_edge"] <= 0.53, what
                for made in compiled.resources["sass"]:
                    print(f"{what} {made['name']}: {made['registers']} registers, {made['spill_store_bytes']} bytes spilled")
                    assert made["spill_store_bytes"] <= FEW and made["registers"] <= 255, what


@pytest.mark.parametrize("chip", ["sm_80", "sm_89", "sm_90", "sm_100", "sm_120"])
def test_chips(chip: str, tmp_path: Path) -> None:
    problem = espmm.named_problem("mace-medium")
    kernel = espmm.compile(problem, target=f"cuda:{chip}", conv=True, grad_order=1)
    # Kernels assemble together, as other programs would do it, and apart, as the runtime does.
    together = assemble(kernel.ptx, chip, tmp_path)
    apart = {made["name"]: (made["registers"], made["spill_store_bytes"]) for made in kernel.resources["sass"]}
    assert together == apart
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


@pytest.mark.parametrize("chip", SHARED)
@pytest.mark.parametrize("conv", [True, False], ids=["graph", "rows"])
def test_instances_assemble(conv: bool, chip: str) -> None:
    """Both parities of each irrep in one body: half the code, as many blocks on a multiprocessor, and spills are few."""
    blocks = lambda made: 65536 // ((made["registers"] + 7) // 8 * 8 * 128)
    for name in ("nequip-lips", "nequip-benzene") if (chip, conv) == ("sm_90", True) else ("nequip-lips",):
        kernels = [
            espmm.compile(named_problem(name), target=f"cuda:{chip}", conv=conv, grad_order=2, schedule={"instances": n}).kernels for n in (1, 2)
        ]
        for order, (apart, shared) in enumerate(zip(*kernels)):
            what = f"{chip} {name} {'graph' if conv else 'rows'} order {order}"
            if apart.ir("tiled").count("equivariant.kernel over") == 1:
                assert shared.ir("ptx") == apart.ir("ptx"), what
                continue
            (made,), (before,) = ([m for m in c.resources["sass"] if m["name"].endswith("_0")] for c in (shared, apart))
            print(f"{what}: {made['registers']} registers, {made['spill_store_bytes']} bytes spilled, {made['code_bytes']} bytes of {before['code_bytes']}")
            assert made["spill_store_bytes"] <= FEW and blocks(made) >= blocks(before), what
            assert made["code_bytes"] <= 0.6 * before["code_bytes"], what
