"""The products that e3nn's documentation builds, by the same arguments: values, and gradients of inputs and weights."""

from __future__ import annotations

import espmm
import pytest
import torch
from e3nn import o3
from helpers import check_against, default_dtype

IRREPS = "3x0e + 4x0o + 1e + 2o + 3o"
XAVIER = "5x0e + 10x1o + 1x2e"

EXAMPLES = {
    "cross products, one by one": (("16x1o", "16x1o", "16x1e", [(0, 0, 0, "uuu", False)]), {}),
    "cross products, mixed": (([(16, (1, -1))], [(16, (1, -1))], [(16, (1, 1))], [(0, 0, 0, "uvw", True)]), {}),
    "variances and path weights": (
        ("8x0o + 8x1o", "16x1o", "16x1e", [(0, 0, 0, "uvw", True, 3), (1, 0, 0, "uvw", True, 1)]), {"in2_var": [1 / 16]},
    ),
    "a dot product": ((IRREPS, IRREPS, "0e", [(i, i, 0, "uuw", False) for i in range(5)]), {}),
    "weights that mix y": (
        ("8x0o + 7x1o + 3x2e", "10x0e + 10x1e + 10x2e", "8x0o + 7x1o + 3x2e",
         [(0, 0, 0, "uvu", True), (1, 0, 1, "uvu", True), (1, 1, 1, "uvu", True), (1, 2, 1, "uvu", True), (2, 0, 2, "uvu", True),
          (2, 1, 2, "uvu", True), (2, 2, 2, "uvu", True)]), {},
    ),
    "Xavier initialisation": (
        (XAVIER, XAVIER, XAVIER,
         [(i1, i2, i3, "uvw", True, m1 * m2) for i1, (m1, ir1) in enumerate(o3.Irreps(XAVIER)) for i2, (m2, ir2) in enumerate(o3.Irreps(XAVIER))
          for i3, (_, ir3) in enumerate(o3.Irreps(XAVIER)) if ir3 in ir1 * ir2]), {},
    ),
}  # fmt: skip


def both(name: str) -> tuple[o3.TensorProduct, espmm.TensorProduct]:
    arguments, options = EXAMPLES[name]
    with default_dtype(torch.float64):
        theirs = o3.TensorProduct(*arguments, **options)
    ours = espmm.TensorProduct(espmm.TPProblem(*arguments, **options, irrep_dtype="float64", weight_dtype="float64"))
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name, device, poisoned):
    theirs, ours = both(name)
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(9, irreps.dim, dtype=torch.float64, generator=generator) for irreps in (theirs.irreps_in1, theirs.irreps_in2)]
    if theirs.weight_numel:
        inputs.append(theirs.weight.detach().clone())
    check_against(ours, theirs, inputs, torch.float64, device, order=2)


def test_xavier_initialisation_gives_outputs_of_unit_variance(library):
    """Weights are initialised through their views, as e3nn's documentation does it."""
    torch.manual_seed(0)
    _, ours = both("Xavier initialisation")
    with torch.no_grad():
        for weight in ours.weight_views():
            mul1, mul2, mul = weight.shape
            bound = (6 / (mul1 * mul2 + mul)) ** 0.5
            weight.uniform_(-bound, bound)
    dim = ours.irreps_in1.dim
    variances = ours(torch.randn(1000, dim, dtype=torch.float64), torch.randn(1000, dim, dtype=torch.float64)).var(0)
    assert 1 / 3 < variances.min() and variances.max() < 3
