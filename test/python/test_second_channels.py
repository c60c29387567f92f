"""Weights for several channels of the second input."""

from __future__ import annotations

import espmm
import pytest
import torch
from helpers import check_batch, check_convolution, unshared_problem

PROBLEMS = {
    "one path": ("40x0e", "2x0e", "40x0e", [(0, 0, 0)]),
    "as many as lanes": ("19x1o", "16x1o", "19x0e+19x1e", [(0, 0, 0), (0, 0, 1)]),
    "odd and even": ("8x0e+5x1o", "4x0e+3x1o", "8x0e+5x0e+8x1o", [(0, 0, 0), (1, 1, 1), (0, 1, 2)]),
    "beside one channel": ("17x1o+32x0e", "1x1o+6x0e", "17x0e+32x1o+17x1o", [(0, 0, 0), (1, 0, 1), (0, 1, 2)]),
    "into one output": ("8x0e+8x1o", "3x0e+2x1o", "8x0e", [(0, 0, 0), (1, 1, 0)]),
}


def problem(name: str, dtype: torch.dtype, layout: str = "mul_ir") -> espmm.TPProblem:
    *irreps, paths = PROBLEMS[name]
    return unshared_problem((*irreps, [(i1, i2, i3, "uvu", True) for i1, i2, i3 in paths]), dtype, layout)


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", PROBLEMS)
def test_batch(name, dtype, layout, device, poisoned):
    check_batch(problem(name, dtype, layout), dtype, device, order=3 if layout == "mul_ir" else 2)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", PROBLEMS)
def test_convolution(name, dtype, deterministic, device, poisoned):
    check_convolution(problem(name, dtype), dtype, device, deterministic=deterministic)
