"""Mode "uuu", whose second input has the channels of the first, alone and beside "uvu"."""

from __future__ import annotations

import espmm
import pytest
import torch
from e3nn import o3
from helpers import check_batch, check_convolution, default_dtype, unshared_problem

PROBLEMS = {
    "weights": ("8x0e+5x1o", "8x0e+5x1o", "8x0e+5x0e+5x1e", [(0, 0, 0, True), (1, 1, 1, True), (1, 1, 2, True)]),
    "no weights": ("40x1o", "40x1o", "40x0e+40x1e+40x2e", [(0, 0, 0, False), (0, 0, 1, False), (0, 0, 2, False)]),
    "some weights": ("33x2e+17x0o", "33x1o+17x3o", "33x1o+33x3o+17x3e", [(0, 0, 0, True), (0, 0, 1, False), (1, 1, 2, True)]),
    "one channel": ("1x1o+2x0e", "1x2e+2x1e", "1x1o+2x1e", [(0, 0, 0, True), (1, 1, 1, True)]),
}


def problem(name: str, dtype: torch.dtype, layout: str) -> espmm.TPProblem:
    *irreps, paths = PROBLEMS[name]
    return unshared_problem((*irreps, [(i1, i2, i3, "uuu", weighted) for i1, i2, i3, weighted in paths]), dtype, layout)


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", PROBLEMS)
def test_batch(name, dtype, layout, device, poisoned):
    check_batch(problem(name, dtype, layout), dtype, device, order=3 if layout == "mul_ir" else 2)


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", PROBLEMS)
def test_convolution(name, dtype, layout, device, poisoned):
    check_convolution(problem(name, dtype, layout), dtype, device)


BESIDE_UVU = (
    "40x1o", "40x1o+0e+2x1o", "40x0e+40x1e+40x2e+40x1o",
    [(0, 0, 0, "uuu", True), (0, 0, 1, "uuu", False), (0, 0, 2, "uuu", True), (0, 1, 3, "uvu", True), (0, 2, 0, "uvu", True)],
)  # fmt: skip


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_beside_uvu(dtype, layout, device, poisoned):
    """y's row has blocks with channels and blocks without."""
    p = unshared_problem(BESIDE_UVU, dtype, layout)
    check_batch(p, dtype, device, order=3)


def test_elementwise_tensor_product(device, poisoned):
    """e3nn's ElementwiseTensorProduct is all "uuu" without weights."""
    with default_dtype(torch.float64):
        theirs = o3.ElementwiseTensorProduct("32x0e+16x1o", "32x0e+8x1e+8x1o")
    p = espmm.TPProblem.from_e3nn(theirs, irrep_dtype="float64", weight_dtype="float64")
    assert p.weight_numel == 0
    x, y = (torch.randn(19, irreps.dim, dtype=torch.float64) for irreps in (theirs.irreps_in1, theirs.irreps_in2))
    ours = espmm.TensorProduct(p)(x.to(device), y.to(device)).cpu()
    torch.testing.assert_close(ours, theirs(x, y), rtol=1e-12, atol=1e-12)
