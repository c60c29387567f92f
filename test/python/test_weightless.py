"""Paths without weights, alone and beside paths that have some, with a second input of several channels."""

from __future__ import annotations

import espmm
import pytest
import torch
from helpers import check_batch, check_convolution, random_edges, random_inputs, reference_conv, relative_error, unshared_problem

PROBLEMS = {
    "none has weights": ("8x0e+5x1o", "0e+1o", "8x0e+5x0e+8x1o", [(0, 0, 0, False), (1, 1, 1, False), (0, 1, 2, False)]),
    "some have weights": ("40x0e+5x1o", "0e+1o", "40x0e+5x0e+40x1o", [(0, 0, 0, False), (1, 1, 1, True), (0, 1, 2, False)]),
    "into one output": ("8x0e+8x1o", "0e+1o", "8x0e", [(0, 0, 0, False), (1, 1, 0, True)]),
    "a sum over y's channels": ("33x0e+5x1o", "4x0e+3x1o", "33x0e+5x0e+33x1o", [(0, 0, 0, False), (1, 1, 1, False), (0, 1, 2, False)]),
    "l = 2 and 3": ("6x2e+17x3o", "2x2e+3o", "6x2e+6x3o+17x1o+17x2e", [(0, 0, 0, False), (0, 1, 1, False), (1, 0, 2, False), (1, 1, 3, True)]),
}


def problem(name: str, dtype: torch.dtype, layout: str) -> espmm.TPProblem:
    *irreps, paths = PROBLEMS[name]
    return unshared_problem((*irreps, [(i1, i2, i3, "uvu", weighted) for i1, i2, i3, weighted in paths]), dtype, layout)


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", PROBLEMS)
def test_batch(name, dtype, layout, device, poisoned):
    check_batch(problem(name, dtype, layout), dtype, device, order=3 if layout == "mul_ir" else 2)


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", PROBLEMS)
def test_convolution(name, dtype, layout, device, poisoned):
    check_convolution(problem(name, dtype, layout), dtype, device, order=3 if (dtype, layout) == (torch.float64, "mul_ir") else 2)


def test_a_convolution_is_given_no_weights_or_empty_ones(device, poisoned):
    p = problem("none has weights", torch.float64, "mul_ir")
    conv, (x, y), (receivers, senders) = espmm.TensorProductConv(p), random_inputs(p, 30, 7), random_edges(7, 30)
    expected = reference_conv(p, receivers, senders, 7)(x, y)
    there = [t.to(device) for t in (receivers, senders)]
    for w in (None, [], torch.zeros(0), torch.zeros(30, 0)):
        w = w.double().to(device) if isinstance(w, torch.Tensor) else w
        assert relative_error(conv(x.to(device), y.to(device), w, *there), expected) < 1e-12
