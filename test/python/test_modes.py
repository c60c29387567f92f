"""Every mode of e3nn, alone and beside others: results and derivatives against e3nn."""

from __future__ import annotations

import os

import espmm
import pytest
import torch
from helpers import check_batch, check_convolution, unshared_problem
from hypothesis import given, note, settings
from hypothesis import strategies as st

PROBLEMS = {
    "uvw": (
        "12x0e+7x1o", "6x0e+1x1o", "20x0e+9x1o+17x1e",
        [(0, 0, 0, "uvw", True), (1, 1, 0, "uvw", True), (0, 1, 1, "uvw", True), (1, 0, 1, "uvw", True), (1, 1, 2, "uvw", True)],
    ),
    "uvw into few channels": (
        "12x0e+7x1o", "1x0e+2x1o", "3x0e+1x1o+4x1e", [(0, 0, 0, "uvw", True), (1, 1, 0, "uvw", True), (0, 1, 1, "uvw", True), (1, 1, 2, "uvw", True)],
    ),
    "uvv": ("3x0e+7x1o", "12x0e+1x1o", "12x0e+1x1e+1x1o", [(0, 0, 0, "uvv", True), (1, 1, 1, "uvv", True), (0, 1, 2, "uvv", True)]),
    "uvv without weights": ("3x0e+7x1o", "12x0e+2x1o", "12x0e+2x1e+2x1o", [(0, 0, 0, "uvv", False), (1, 1, 1, "uvv", True), (0, 1, 2, "uvv", False)]),
    "uvu with many of both": (
        "12x0e+7x1o", "6x0e+2x1o+18x1o", "12x0e+7x0e+7x1e", [(0, 0, 0, "uvu", True), (1, 1, 1, "uvu", True), (1, 2, 1, "uvu", True), (1, 2, 2, "uvu", False)],
    ),
    "uuw": ("12x0e+7x1o", "12x0e+7x1o", "20x0e+2x0e+9x1e", [(0, 0, 0, "uuw", True), (1, 1, 1, "uuw", True), (1, 1, 2, "uuw", True)]),
    "uuw without weights": ("12x0e+7x1o", "12x0e+7x1o", "1x0e+2x0e+9x1e", [(0, 0, 0, "uuw", False), (1, 1, 1, "uuw", True), (1, 1, 2, "uuw", True)]),
    "uvuv": ("12x0e+7x1o", "6x0e+2x1o", "72x0e+14x0e+14x1e", [(0, 0, 0, "uvuv", True), (1, 1, 1, "uvuv", True), (1, 1, 2, "uvuv", False)]),
    "uvuv of one": ("12x0e+7x1o", "1x0e+1x1o", "12x0e+7x0e+7x1e", [(0, 0, 0, "uvuv", True), (1, 1, 1, "uvuv", True), (1, 1, 2, "uvuv", False)]),
    "uvuv twice": (
        "17x0o+3x1e", "17x1o+2x2o", "289x1e+6x3o", [(0, 0, 0, "uvuv", True), (0, 0, 0, "uvuv", True), (1, 1, 1, "uvuv", False), (1, 1, 1, "uvuv", True)],
    ),
    "uvuv in two ways": ("2x1o+17x1o", "2x1o+17x1o", "34x1e", [(0, 1, 0, "uvuv", True), (1, 0, 0, "uvuv", True)]),
    "uvuv in two ways, without weights": ("2x0e+3x0e", "2x0e+3x0e", "6x0e", [(1, 0, 0, "uvuv", False), (0, 1, 0, "uvuv", False)]),
    "uvuv of one beside others": (
        "2x0e+1x0e+7x1o", "1x0e+2x0e+7x0e", "2x0e+7x1o",
        [(0, 0, 0, "uvu", False), (0, 0, 0, "uvuv", False), (1, 1, 0, "uvuv", True), (1, 1, 0, "uvv", True), (2, 0, 1, "uvuv", True), (2, 2, 1, "uuu", True)],
    ),
    "uvu<v": ("12x0e+7x1o", "12x0e+7x1o", "66x0e+21x0e+21x1e", [(0, 0, 0, "uvu<v", True), (1, 1, 1, "uvu<v", True), (1, 1, 2, "uvu<v", False)]),
    "u<vw": (
        "12x0e+7x1o+2x2e", "12x0e+7x1o+2x2e", "5x0e+21x0e+4x1e",
        [(0, 0, 0, "u<vw", True), (1, 1, 1, "u<vw", True), (1, 1, 2, "u<vw", True), (2, 2, 2, "u<vw", True)],
    ),
    "l up to 11": (
        "6x11e+5x7o", "2x11e+1x4o", "5x4e+6x11e+3x8o+5x3e", [(0, 0, 0, "uvw", True), (0, 0, 1, "uvu", True), (0, 1, 2, "uvw", True), (1, 1, 3, "uvu", False)],
    ),
    "256 channels": (
        "256x0e+3x1o", "1x0e+2x1o", "256x0e+256x1o+5x1o+3x1e",
        [(0, 0, 0, "uvu", True), (0, 1, 1, "uvu", True), (1, 0, 2, "uvw", True), (0, 1, 2, "uvw", True), (1, 1, 3, "uvu", True)],
    ),
    "256 channels of y": ("3x0e+2x1o", "256x0e+100x1o", "256x0e+4x0e+100x1o", [(0, 0, 0, "uvv", True), (1, 1, 1, "uvw", True), (0, 1, 2, "uvv", True)]),
    "many, repeated, none": (
        "100x0e+0x1o+48x1o+3x0e", "48x0e+17x1o+48x0e", "17x0e+48x0e+17x0e+1x1o",
        [(0, 0, 0, "uvw", True), (3, 2, 2, "uvw", True), (2, 1, 0, "uvw", True), (2, 1, 1, "uvu", False), (1, 1, 0, "uvw", True), (3, 1, 3, "uvw", True)],
    ),
    "a path twice": ("2x0e+5x1o", "3x0e", "6x0e+2x0e+5x1o", [(0, 0, 0, "uvuv", False), (0, 0, 0, "uvuv", False), (0, 0, 1, "uvu", False), (1, 0, 2, "uvw", True), (1, 0, 2, "uvw", True)]),
    "one block by several modes": (
        "12x0e+7x1o", "12x0e+1x1o", "12x0e+9x1o+7x1o+66x0e",
        [(0, 0, 0, "uvw", True), (0, 0, 0, "uuu", True), (0, 0, 0, "uvu", True), (0, 0, 0, "uuw", True), (0, 0, 3, "uvu<v", True), (0, 0, 0, "u<vw", True),
         (0, 1, 1, "uvw", True), (1, 0, 2, "uvu", True), (1, 0, 1, "uvw", True)],
    ),
}  # fmt: skip


def problem(name: str, dtype: torch.dtype, layout: str = "mul_ir") -> espmm.TPProblem:
    return unshared_problem(PROBLEMS[name], dtype, layout)


def order_of(dtype: torch.dtype) -> int:
    """The order up to which derivatives are compared: that of a loss of second derivatives in float64."""
    return 3 if dtype == torch.float64 else 2


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", PROBLEMS)
def test_batch(name, dtype, layout, device, poisoned):
    check_batch(problem(name, dtype, layout), dtype, device, order_of(dtype), rows=19)


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", PROBLEMS)
def test_convolution(name, dtype, layout, device, poisoned):
    check_convolution(problem(name, dtype, layout), dtype, device, order_of(dtype) if layout == "mul_ir" else 2)


MULTIPLICITIES = st.sampled_from([1, 1, 2, 3, 5, 9, 17])


@st.composite
def products(draw) -> tuple:
    """Irreps and instructions of any modes that fit them, every instruction into an output of its own or into one that is there."""
    irreps = [[(draw(MULTIPLICITIES), draw(st.integers(0, 2)), draw(st.sampled_from("eo"))) for _ in range(draw(st.integers(1, 3)))] for _ in range(2)]
    if draw(st.booleans()):
        irreps[1] = irreps[0]
    outputs, instructions = [], []
    for _ in range(draw(st.integers(1, 4))):
        i1, i2 = (draw(st.integers(0, len(blocks) - 1)) for blocks in irreps)
        (m1, l1, p1), (m2, l2, p2) = irreps[0][i1], irreps[1][i2]
        out = (draw(st.integers(abs(l1 - l2), l1 + l2)), "e" if p1 == p2 else "o")
        weighted = draw(st.booleans())
        sizes = {"uvw": draw(MULTIPLICITIES), "uvu": m1, "uvv": m2, "uvuv": m1 * m2}
        if m1 == m2:
            sizes |= {"uuw": draw(MULTIPLICITIES) if weighted else 1, "uuu": m1}
            if m1 > 1:
                sizes |= {"uvu<v": m1 * (m1 - 1) // 2, "u<vw": draw(MULTIPLICITIES)}
        mode = draw(st.sampled_from(sorted(sizes)))
        block = (sizes[mode], *out)
        if block not in outputs or draw(st.booleans()):
            outputs.append(block)
        instructions.append((i1, i2, outputs.index(block), mode, weighted or mode in ("uvw", "u<vw")))
    spell = lambda blocks: "+".join(f"{m}x{l}{p}" for m, l, p in blocks)  # noqa: E731
    return spell(irreps[0]), spell(irreps[1]), spell(outputs), instructions


def check_product(args: tuple, layout: str, conv: bool, order: int, device: str) -> None:
    p = unshared_problem(args, torch.float64, layout)
    note(str(p))
    if conv:
        check_convolution(p, torch.float64, device, order, nodes=5, edges=12)
    else:
        check_batch(p, torch.float64, device, order, rows=12)


RANDOM = given(args=products(), layout=st.sampled_from(["mul_ir", "ir_mul"]), conv=st.booleans(), order=st.sampled_from([2, 2, 3]))


#: `make test-all` takes 2,000, other ones each time.
EXAMPLES = int(os.environ.get("ESPMM_EXAMPLES", "200"))


@settings(max_examples=EXAMPLES, derandomize=EXAMPLES <= 200)
@RANDOM
def test_random_products(args, layout, conv, order, library):
    check_product(args, layout, conv, order, "cpu")


@pytest.mark.cuda
@settings(max_examples=EXAMPLES if EXAMPLES > 200 else 30, derandomize=EXAMPLES <= 200)
@RANDOM
def test_random_products_on_the_gpu(args, layout, conv, order, library):
    check_product(args, layout, conv, order, "cuda")


@pytest.mark.parametrize("conv", [False, True], ids=["batch", "conv"])
def test_what_has_no_room_on_a_stack(conv, library):
    """What is between two operations of an edge then lies in scratch memory."""
    problem = espmm.TPProblem(
        "240x1o", "240x1o", "240x1e", [(0, 0, 0, "uvw", True)], shared_weights=True, internal_weights=False, irrep_dtype=torch.float64, weight_dtype=torch.float64
    )
    uses = [entry["use"] for program in espmm.compile(problem, "cpu", conv=conv, grad_order=1).kernels for entry in program.cost["scratch_bytes"]]
    assert "result 0 being computed, by tasks" in uses
    if conv:
        check_convolution(problem, torch.float64, "cpu", order=1, nodes=5, edges=70)
    else:
        check_batch(problem, torch.float64, "cpu", order=1, rows=70)


def test_what_is_too_large_says_so(library):
    p = unshared_problem(("20000x1e", "20000x1e", "500x1e", [(0, 0, 0, "uvw", True)]), torch.float32)
    with pytest.raises(espmm.UnsupportedError, match=r"needs \d+ bytes for what is between two operations of an edge, more than 67108864, which has no lowering yet; the largest is a 'tensor<20000x500x3xf32>' of instruction uvw\(0, 0, 0\)"):
        espmm.compile(p, "cpu").kernels[0].compile()
