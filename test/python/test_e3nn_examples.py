"""The products that e3nn's documentation builds, by the same arguments: values, and derivatives by inputs and weights."""

from __future__ import annotations

import espmm
import pytest
import torch
from e3nn import nn, o3
from helpers import check_against, default_dtype

IRREPS = "3x0e + 4x0o + 1e + 2o + 3o"
XAVIER = "5x0e + 10x1o + 1x2e"

#: The docstring of o3.TensorProduct: (arguments, options).
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


HARMONICS = {lmax: o3.Irreps.spherical_harmonics(lmax) for lmax in (2, 3)}
FEATURES = "10x0e + 5x1o + 2x2e"
GATED = "64x0e + 24x1e + 24x1o + 16x2e + 16x2o"
GATE = nn.Gate("16x0e + 16x0o", [torch.relu, torch.abs], "8x0e + 8x0o + 8x0e + 8x0o", [torch.relu, torch.tanh] * 2, "16x1o + 16x1e")
BY_ROW = {"shared_weights": False}

#: Other classes' docstrings, the README, and the pages of the documentation: (class, arguments, options).
PAGES = {
    "README: a vector with itself": ("FullTensorProduct", ("0e + 1o", "0e + 1o"), {}),
    "index: full": ("FullTensorProduct", ("2x1o", "0e + 1e"), {}),
    "o3: full": ("FullTensorProduct", ("2x0e + 3x1o", "5x0e + 7x1e"), {}),
    "o3: fully connected": ("FullyConnectedTensorProduct", ("5x0e + 5x1e", "6x0e + 4x1e", "15x0e + 3x1e"), {}),
    "o3: elementwise": ("ElementwiseTensorProduct", ("5x0e + 5x1e", "4x0e + 6x1e"), {}),
    "o3: elementwise scalars": ("ElementwiseTensorProduct", ("5x1o + 5x1e", "10x1e", ["0e", "0o"]), {}),
    "convolution": ("FullyConnectedTensorProduct", ("10x0e + 10x1e", HARMONICS[2], "20x0e + 10x1e"), BY_ROW),
    "transformer: keys": ("FullyConnectedTensorProduct", (FEATURES, HARMONICS[3], "12x0e + 3x1o"), BY_ROW),
    "transformer: values": ("FullyConnectedTensorProduct", (FEATURES, HARMONICS[3], "14x0e + 6x1o"), BY_ROW),
    "transformer: queries with keys": ("FullyConnectedTensorProduct", ("11x0e + 4x1o", "12x0e + 3x1o", "0e"), {}),
    "equivariance": ("FullyConnectedTensorProduct", ("2x0e + 3x1o", "2x0e + 3x1o", "2x1o"), {}),
    "tetris, a polynomial: first": ("FullyConnectedTensorProduct", (HARMONICS[3], HARMONICS[3], GATED), {}),
    "tetris, a polynomial: second": ("FullyConnectedTensorProduct", (GATED, HARMONICS[3], "0o + 6x0e"), {}),
    "tetris, gates: first": ("FullyConnectedTensorProduct", (HARMONICS[3], HARMONICS[3], GATE.irreps_in), {"internal_weights": False, **BY_ROW}),
    "tetris, gates: second": ("FullyConnectedTensorProduct", (GATE.irreps_out, HARMONICS[3], "0o + 6x0e"), {"internal_weights": False, **BY_ROW}),
}  # fmt: skip

DOUBLE = {"irrep_dtype": "float64", "weight_dtype": "float64"}


def both(name: str) -> tuple[o3.TensorProduct, espmm.TensorProduct]:
    kind, arguments, options = PAGES[name] if name in PAGES else ("TensorProduct", *EXAMPLES[name])
    with default_dtype(torch.float64):
        theirs = getattr(o3, kind)(*arguments, **options)
    if kind == "TensorProduct":
        ours = espmm.TensorProduct(espmm.TPProblem(*arguments, **options, **DOUBLE))
    else:
        ours = getattr(espmm, kind)(*arguments, **options, **DOUBLE)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


@pytest.mark.parametrize("name", [*EXAMPLES, *PAGES])
def test_example(name, device, poisoned):
    theirs, ours = both(name)
    for side in ("irreps_in1", "irreps_in2", "irreps_out"):
        assert str(getattr(ours, side)) == str(getattr(theirs, side))
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(9, irreps.dim, dtype=torch.float64, generator=generator) for irreps in (theirs.irreps_in1, theirs.irreps_in2)]
    if theirs.internal_weights:
        inputs.append(theirs.weight.detach().clone())
    elif theirs.weight_numel:
        inputs.append(torch.randn(9, theirs.weight_numel, dtype=torch.float64, generator=generator))
    check_against(ours, theirs, inputs, torch.float64, device, order=2)


@pytest.mark.parametrize("irreps", ["17x1o", "2x0e + 1x1o"])
def test_norm(irreps, device, poisoned):
    """e3nn's Norm around espmm's product: its docstring's, and that of the page on TorchScript."""
    with default_dtype(torch.float64):
        theirs = o3.Norm(irreps)
    ours = espmm.from_e3nn(theirs).to(device)
    assert isinstance(ours.tp, espmm.TensorProduct)
    x = torch.randn(9, theirs.irreps_in.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    check_against(ours, theirs, [x], torch.float64, device, order=2)


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
