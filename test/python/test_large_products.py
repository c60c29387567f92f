"""A product of 175 paths: compiled for both targets at every order, and computed."""

from __future__ import annotations

import espmm
import pytest
import torch
from e3nn import o3
from helpers import default_dtype, relative_error

DEGREES = range(7)
NATURAL = [f"{l}{'eo'[l % 2]}" for l in DEGREES]
PROBLEM = espmm.every_path_problem(
    "+".join(f"64x{ir}" for ir in NATURAL), "+".join(NATURAL), "+".join(f"{l}{p}" for l in DEGREES for p in "eo")
)


@pytest.mark.parametrize("target", ["cpu", "cuda:sm_90"])
def test_every_order_compiles(target, library):
    assert len(PROBLEM.instructions) == 175
    kernel = espmm.compile(PROBLEM, target, conv=True, grad_order=2)
    for each in kernel.kernels:
        each.compile()
        assert each.cost["multiplications_per_edge"] > 0


def test_some_paths_against_e3nn(library):
    """Every path of a pair of blocks, by e3nn's Wigner 3j symbols in float64: all of them are computed in one call."""
    generator = torch.Generator().manual_seed(0)
    x, y, w = (torch.randn(2, n, generator=generator) for n in (PROBLEM.irreps_in1.dim, PROBLEM.irreps_in2.dim, PROBLEM.weight_numel))
    z = espmm.TensorProduct(PROBLEM)(x, y, w)
    at1, at2 = o3.Irreps(str(PROBLEM.irreps_in1)).slices(), o3.Irreps(str(PROBLEM.irreps_in2)).slices()
    expected = torch.zeros(2, PROBLEM.irreps_out.dim, dtype=torch.float64)
    out = o3.Irreps(str(PROBLEM.irreps_out))
    with default_dtype(torch.float64):
        for n, path in enumerate(PROBLEM.instructions):
            i1, i2, i3 = path.i_in1, path.i_in2, path.i_out
            l1, l2, l3 = i1, i2, out[i3].ir.l
            a, b = x[:, at1[i1]].double().reshape(2, 64, -1), y[:, at2[i2]].double()
            weights = w[:, 64 * n : 64 * n + 64].double()
            terms = torch.einsum("ijk,rui,rj,ru->ruk", o3.wigner_3j(l1, l2, l3, dtype=torch.float64), a, b, weights)
            expected[:, out.slices()[i3]] += path.path_weight * terms.reshape(2, -1)
    assert relative_error(z, expected) <= 2e-6
