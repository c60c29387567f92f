"""PTX of the benchmark's problems for several chips: ptxas accepts it, and spills what :data:`SPILLS` has, no more.

Registers are printed (pytest -s or -rP shows them); what is spilled is written to build/test-reports/spills.txt, which `make test` shows.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

import espmm
import pytest
from espmm.bench import suite_problems
from espmm.bench.reference import Product
from espmm.problems import named_problem

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

#: Bytes that a thread may spill, by chip, problem, dtype, whose rows and order of derivative; all others may spill none. docs/Rationale.md, "How a warp spends its
#: time on the GPU", says why it is better than more registers. The numbers are those of ptxas 13.0; of another release's they are not known.
SPILLS = {
    "sm_90 nequip-benzene float32 conv 0": 8,
    "sm_90 uneven float32 conv 1": 12,
    "sm_90 uneven float32 batch 0": 20,
    "sm_90 uneven float32 batch 1": 108,
    "sm_90 diffdock-L1 float32 batch 1": 8,
    "sm_90 diffdock-L2 float32 batch 1": 44,
    "sm_90 tetris-1 float32 batch 1": 12,
    "sm_90 diffdock-L1-shared float32 batch 0": 8,
    "sm_90 diffdock-L1-shared float32 batch 1": 20,
    "sm_90 diffdock-L1-shared float32 batch 2": 24,
    "sm_90 diffdock-L2-shared float32 batch 0": 8,
    "sm_90 diffdock-L2-shared float32 batch 1": 16,
    "sm_90 diffdock-L2-shared float32 batch 2": 12,
    "sm_90 nequip-benzene float64 conv 2": 84,
    "sm_90 mace-large float64 batch 2": 24,
    "sm_90 nequip-benzene float64 batch 2": 1424,
    "sm_90 uneven float64 batch 2": 12,
}
REPORT = Path(os.environ.get("BUILD_DIR", Path(__file__).parents[2] / "build")) / "test-reports" / "spills.txt"


def check_spills(what: str, made: dict) -> None:
    """Compares what a kernel of a program spills with the table, and notes it, in place of what the report has of it."""
    spills, allowed = made["spill_store_bytes"], SPILLS.get(what, 0)
    title = f"{what}, {made['name']}:"
    print(f"{title} {made['registers']} registers, {spills} bytes spilled")
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    with REPORT.open("a+") as file:  # of all of pytest's processes
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        lines = [line for line in file.read().splitlines() if line and not line.startswith(title)]
        if spills:
            lines.append(f"{title} {spills} bytes, {allowed} allowed")
        file.truncate(0)
        file.write("".join(f"{line}\n" for line in sorted(lines)))
    if "release 13.0" in ptxas_version():
        assert spills <= allowed, f"{title} {spills} bytes spilled"


@functools.cache
def ptxas_version() -> str:
    return subprocess.run([PTXAS, "--version"], capture_output=True, text=True, check=True).stdout


def check_program(what: str, chip: str, compiled: espmm.CompiledProgram) -> None:
    """What ptxas makes of the kernels: blocks fit, and spills are as expected."""
    launches = {step["kernel"]: step for step in compiled.manifest["steps"] if step["op"] == "launch"}
    found = compiled.resources["sass"]
    assert {made["name"] for made in found} == set(launches)
    for made in found:
        assert made["static_shared_bytes"] + launches[made["name"]]["shared"] <= SHARED[chip], what
        assert 8 <= made["registers"] <= 255 and made["code_bytes"] > 0, what
        check_spills(what, made)


#: What the benchmark measures: suites conv, batch and uneven in both types, modes in float32; and some for other chips.
ASSEMBLED = [
    *(("sm_90", name, dtype) for name in suite_problems("conv") + suite_problems("uneven") for dtype in ("float32", "float64")),
    *(("sm_90", name, "float32") for name in suite_problems("modes")),
    *((chip, name, "float32") for chip in SHARED if chip != "sm_90" for name in ("mace-large", "mace-medium", "nequip-lips")),
]


@pytest.mark.parametrize("chip, name, dtype", ASSEMBLED)
def test_problems_of_the_benchmark_assemble(chip: str, name: str, dtype: str) -> None:
    """All orders, with and without a graph: ptxas takes them, blocks fit, and spill what the table has."""
    problem = Product.named(name).problem(dtype, "mul_ir")
    for conv in (False,) if name in suite_problems("modes") else (True, False):
        kernel = espmm.compile(problem, target=f"cuda:{chip}", conv=conv, grad_order=2)
        for order, compiled in enumerate(kernel.kernels):
            check_program(f"{chip} {name} {dtype} {'conv' if conv else 'batch'} {order}", chip, compiled)


def test_a_deterministic_convolution_assembles() -> None:
    kernel = espmm.compile(named_problem("mace-large"), target="cuda:sm_90", conv=True, grad_order=2, deterministic=True)
    for order, compiled in enumerate(kernel.kernels):
        check_program(f"sm_90 mace-large float32 deterministic conv {order}", "sm_90", compiled)


@pytest.mark.parametrize("chip, dtype", [*((chip, "bfloat16") for chip in SHARED), ("sm_80", "float16"), ("sm_90", "float16")])
def test_narrow_types_assemble(chip: str, dtype: str) -> None:
    """The rows are half as long; registers and spills are in their bounds, and shared memory is at most 2 % more than that of float32."""
    for name in ("mace-large", "nequip-lips"):
        for conv in (True, False):
            kernel = espmm.compile(named_problem(name, irrep_dtype=dtype), target=f"cuda:{chip}", conv=conv, grad_order=2)
            wide = espmm.compile(named_problem(name), target=f"cuda:{chip}", conv=conv, grad_order=2)
            for order, (compiled, other) in enumerate(zip(kernel.kernels, wide.kernels)):
                what = f"{chip} {name} {dtype} {'conv' if conv else 'batch'} {order}"
                launches = {step["kernel"]: step["shared"] for step in compiled.manifest["steps"] if step["op"] == "launch"}
                most = max(step["shared"] for step in other.manifest["steps"] if step["op"] == "launch")
                print(f"{what}: {max(launches.values())} bytes of shared memory, of float32 {most}")
                assert max(launches.values()) <= 1.02 * most, what
                assert compiled.cost["bytes_per_node"] * 2 == other.cost["bytes_per_node"], what
                # Few of them are read or added to as float32: y's, that can't be copied, and its gradient.
                assert 0.5 <= compiled.cost["bytes_per_edge"] / other.cost["bytes_per_edge"] <= 0.53, what
                for made in compiled.resources["sass"]:
                    assert made["registers"] <= 255, what
                    check_spills(what, made)


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
    """Both parities of each irrep in one body: half the code, as many blocks on a multiprocessor, and no more spills than by default."""
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
            assert made["spill_store_bytes"] <= SPILLS.get(f"sm_90 {name} float32 {'conv' if conv else 'batch'} {order}", 0), what
            assert blocks(made) >= blocks(before), what
            assert made["code_bytes"] <= 0.6 * before["code_bytes"], what
