"""e3nn's derived products, views of weights, `right`, and copies of e3nn modules: all against e3nn."""

from __future__ import annotations

import warnings

import espmm
import pytest
import torch
from e3nn import nn, o3
from helpers import check_against, default_dtype, random_inputs

DOUBLE = {"irrep_dtype": "float64", "weight_dtype": "float64"}

CASES = {
    "fully connected": ("FullyConnectedTensorProduct", ("5x0e+3x1o", "0e+2x1o", "4x0e+3x1o+1e"), {}),
    "fully connected, norm, path": (
        "FullyConnectedTensorProduct", ("5x0e+3x1o", "0e+2x1o", "4x0e+3x1o+1e"), {"irrep_normalization": "norm", "path_normalization": "path"},
    ),
    "elementwise": ("ElementwiseTensorProduct", ("5x1o+5x1e", "10x1e"), {}),
    "elementwise, cut and filtered": ("ElementwiseTensorProduct", ("3x1o+2x1o+4x2e+0x0e+1x0e", "2x0e+8x1e"), {"filter_ir_out": ["0e", "1o", "1e", "2e"]}),
    "full": ("FullTensorProduct", ("3x1o+2x0e", "2x1e+1x0o"), {}),
    "full, filtered": ("FullTensorProduct", ("3x1o+2x0e", "2x1e+1x0o"), {"filter_ir_out": ["0o", "1o"], "irrep_normalization": "norm"}),
    "square": ("TensorSquare", ("4x0e+3x1o+1x2e",), {}),
    "square, norm": ("TensorSquare", ("4x0e+3x1o",), {"irrep_normalization": "norm"}),
    "square, filtered, not normalised": ("TensorSquare", ("4x0e+3x1o",), {"irrep_normalization": "none", "filter_ir_out": ["0e", "2e"]}),
    "square into irreps": ("TensorSquare", ("4x0e+3x1o+1x2e", "5x0e+2x1o+3x2e+2x1e"), {}),
    "square into irreps, norm": ("TensorSquare", ("4x0e+3x1o+1x2e", "5x0e+2x1o+3x2e+2x1e"), {"irrep_normalization": "norm"}),
}  # fmt: skip


def both(name: str) -> tuple[o3.TensorProduct, espmm.TensorProduct]:
    kind, irreps, arguments = CASES[name]
    with default_dtype(torch.float64):
        theirs = getattr(o3, kind)(*irreps, **arguments)
    return theirs, getattr(espmm, kind)(*irreps, **arguments, **DOUBLE)


def check_load(theirs: torch.nn.Module, ours: torch.nn.Module) -> None:
    """Loads espmm's state into e3nn's module: it lacks only constants of e3nn's own code."""
    found = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not found.unexpected_keys and all("_compiled_main_" in key for key in found.missing_keys)


def assert_same(got: torch.Tensor, expected: torch.Tensor, device: str, tolerance: float = 1e-12) -> None:
    """What espmm has computed on a device, against what e3nn has on the host."""
    assert got.device.type == device
    torch.testing.assert_close(got.cpu(), expected, rtol=tolerance, atol=tolerance)


def inputs_of(tp: o3.TensorProduct, rows: int = 7) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    widths = [tp.irreps_in1.dim] if isinstance(tp, o3.TensorSquare) else [tp.irreps_in1.dim, tp.irreps_in2.dim]
    return [torch.randn(rows, width, dtype=torch.float64, generator=generator) for width in widths]


@pytest.mark.parametrize("name", CASES)
def test_the_same_instructions(name):
    theirs, ours = both(name)
    for side in ("irreps_in1", "irreps_in2", "irreps_out"):
        assert str(getattr(ours, side)) == str(getattr(theirs, side))
    assert len(ours.instructions) == len(theirs.instructions)
    for a, b in zip(ours.instructions, theirs.instructions):
        assert tuple(a)[:5] == tuple(b)[:5] and tuple(a.path_shape) == tuple(b.path_shape)
        assert a.path_weight == pytest.approx(b.path_weight, rel=1e-14)
    assert ours.weight_numel == theirs.weight_numel


@pytest.mark.parametrize("name", CASES)
def test_the_same_values_with_e3nns_state(name, poisoned, device):
    theirs, ours = both(name)
    ours.to(device).load_state_dict(theirs.state_dict())
    inputs = inputs_of(theirs)
    there = [t.to(device) for t in inputs]
    assert_same(ours(*there), theirs(*inputs), device)
    with pytest.raises(RuntimeError, match='Unexpected key.*"other"'):
        ours.load_state_dict({**theirs.state_dict(), "other": torch.zeros(1)})
    with torch.no_grad():
        ours.weight.mul_(2)
    check_load(theirs, ours)
    assert_same(ours(*there), theirs(*inputs), device)


@pytest.mark.parametrize("name", CASES)
def test_the_same_derivatives(name, poisoned, device):
    """Up to order 3, by inputs and weights; a square's by its one input."""
    theirs, ours = both(name)
    inputs = inputs_of(theirs)
    if theirs.weight_numel:
        inputs.append(theirs.weight.detach().clone())
    check_against(ours.to(device), theirs, inputs, torch.float64, device, order=3)


def test_bad_arguments():
    with pytest.raises(AssertionError, match="as many irreps, got '5x1o' with 5 and '4x1o' with 4"):
        espmm.ElementwiseTensorProduct("5x1o", "4x1o")
    with pytest.raises(ValueError, match="filter_ir_out to be irreps, got \\['x'\\]"):
        espmm.FullTensorProduct("5x1o", "4x1o", ["x"])
    with pytest.raises(ValueError, match="irreps_out or filter_ir_out, got both"):
        espmm.TensorSquare("5x1o", "4x0e", ["0e"])
    with pytest.raises(AssertionError, match="'component', 'norm' or 'none', got 'other'"):
        espmm.TensorSquare("5x1o", irrep_normalization="other")


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)], ids=str)
@pytest.mark.parametrize("shared", [False, True], ids=["unshared", "shared"])
def test_right(shared, lead, poisoned, device):
    arguments = ("5x0e+3x1o", "0e+2x1o", "4x0e+3x1o+1e")
    with default_dtype(torch.float64):
        theirs = o3.FullyConnectedTensorProduct(*arguments, shared_weights=shared, internal_weights=False, compile_right=True)
    ours = espmm.FullyConnectedTensorProduct(*arguments, shared_weights=shared, internal_weights=False, **DOUBLE)
    y = torch.randn(*lead, theirs.irreps_in2.dim, dtype=torch.float64)
    w = torch.randn(*(() if shared else lead), theirs.weight_numel, dtype=torch.float64)
    if not shared and not lead:
        w, y = w[None], y[None]
    x = torch.randn(*y.shape[:-1], theirs.irreps_in1.dim, dtype=torch.float64)
    there = [t.to(device) for t in (x, y, w)]
    check_against(ours.right, theirs.right, (y, w), torch.float64, device, order=2)
    got = ours.right(*there[1:])
    assert_same(got, theirs.right(y, w), device)
    assert_same(ours(*there), torch.einsum("...ik,...i->...k", got.cpu(), x), device)


@pytest.mark.parametrize("arguments", [("1x0e+1x1o",), ("1x0e+1x1o", "4x0e+1x1o+2x2e")], ids=["all", "some"])
def test_right_of_a_square(arguments, poisoned, device):
    """Of the product that a square is of one tensor with itself, with respect to the first."""
    with default_dtype(torch.float64):
        theirs = o3.TensorSquare(*arguments, compile_right=True)
    ours = espmm.TensorSquare(*arguments, **DOUBLE)
    if theirs.weight_numel:
        ours.load_state_dict({"weight": theirs.weight, "output_mask": theirs.output_mask})
    ours.to(device)
    y = torch.randn(6, theirs.irreps_in2.dim, dtype=torch.float64)
    check_against(ours.right, theirs.right, (y,), torch.float64, device, order=1)


MIXED = ("4x0e+2x1o", "0e+3x1o", "4x0e+2x1o+2x0e", [(0, 0, 0, "uvu", False), (1, 0, 1, "uvu", True), (1, 1, 2, "uvu", True)])


def test_views_of_weights():
    ours = espmm.TensorProduct(espmm.TPProblem(*MIXED, **DOUBLE))
    with default_dtype(torch.float64):
        theirs = o3.TensorProduct(*MIXED)
    check_load(theirs, ours)
    for mine, other in zip(ours.weight_views(yield_instruction=True), theirs.weight_views(yield_instruction=True)):
        assert mine[0] == other[0] and tuple(mine[1])[:4] == tuple(other[1])[:4]
        assert torch.equal(mine[2], other[2])
    views = list(ours.weight_views())
    assert [tuple(view.shape) for view in views] == [(2, 1), (2, 3)]
    # e3nn counts weights of instructions that have none: its views are right only before those.
    for position, view in zip((1, 2), views):
        assert torch.equal(ours.weight_view_for_instruction(position), view)
    with torch.no_grad():
        ours.weight_view_for_instruction(2).zero_()
    assert torch.equal(ours.weight[2:], torch.zeros(6, dtype=torch.float64))
    given = torch.randn(5, 8)
    assert ours.weight_view_for_instruction(2, given).shape == (5, 2, 3)
    with pytest.raises(ValueError, match="instruction 0 has no weights"):
        ours.weight_view_for_instruction(0)
    with pytest.raises(ValueError, match=r"expected weight of shape \(..., 8\), got \(7,\)"):
        ours.weight_view_for_instruction(1, torch.randn(7))


class Own(o3.TensorProduct):
    def forward(self, x, y, weight=None):
        return 2 * super().forward(x, y, weight)


class Net(torch.nn.Module):
    """A product in each of several places, one in two of them."""

    def __init__(self, own: bool = False) -> None:
        super().__init__()
        self.tp = o3.FullyConnectedTensorProduct("4x0e+2x1o", "0e+1o", "4x0e+2x1o+3x0e+2x0e")
        self.gate = nn.Gate("4x0e", [torch.tanh], "2x0e", [torch.sigmoid], "2x1o")
        self.layers = torch.nn.ModuleList([o3.TensorSquare("4x0e+2x1o", "3x0e"), o3.Linear("3x0e", "2x0e")])
        self.again = self.layers[0]
        if own:
            self.own = Own(*MIXED)

    def forward(self, x, y):
        z = self.tp(x, y)
        s, v, g = z[..., :4], z[..., 4:10], z[..., 13:15]
        h = self.gate(torch.cat([s, g, v], dim=-1))
        return self.layers[1](self.layers[0](h)) + self.again(h)[..., :2]


def test_a_module_with_its_products_replaced(poisoned, device):
    with default_dtype(torch.float64):
        net = Net()
        x, y = torch.randn(6, 10), torch.randn(6, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copy = espmm.from_e3nn(net).to(device)
    assert isinstance(net.tp, o3.TensorProduct)
    kinds = [type(m).__name__ for m in copy.modules() if isinstance(m, espmm.TensorProduct)]
    assert sorted(kinds) == ["TensorProduct", "TensorProduct", "TensorSquare"]
    assert not any(isinstance(m, o3.TensorProduct) for m in copy.modules())
    assert copy.again is copy.layers[0]
    assert set(copy.state_dict()) >= {key for key in net.state_dict() if "weight" in key}
    found, expected = copy(x.to(device), y.to(device)), net(x, y)
    assert_same(found, expected, device)
    found.square().sum().backward()
    expected.square().sum().backward()
    for (_, a), (_, b) in zip(sorted(copy.named_parameters()), sorted(net.named_parameters()), strict=True):
        assert_same(a.grad, b.grad, device, 1e-11)
    copy.load_state_dict(net.state_dict())
    check_load(net, copy)


def test_what_cannot_be_replaced_is_named(library):
    with default_dtype(torch.float64):
        net = Net(own=True)
    with pytest.warns(UserWarning, match="1 tensor products are e3nn's still: own: Own has a forward of its own"):
        copy = espmm.from_e3nn(net)
    assert type(copy.own) is Own and isinstance(copy.tp, espmm.TensorProduct)
    with pytest.raises(espmm.ProblemError, match="1 tensor products cannot be replaced: own: Own has a forward of its own"):
        espmm.from_e3nn(net, strict=True)
    with pytest.raises(TypeError, match="expected a torch.nn.Module, got str"):
        espmm.from_e3nn("net")


def test_products_that_do_more_than_their_class_says(library):
    """A forward of one product, hooks, parametrizations, and products that are no children: all are left, and named."""
    net = torch.nn.Module()
    for name in ("own", "hooked", "before", "parametrized", "plain"):
        setattr(net, name, o3.FullyConnectedTensorProduct("2x0e+1o", "0e+1o", "2x0e"))
    net.own.forward = lambda x, y: torch.zeros(1)
    net.hooked.register_forward_hook(lambda module, arguments, z: 2 * z)
    net.before.register_forward_pre_hook(lambda module, arguments: None)
    torch.nn.utils.parametrizations.weight_norm(net.parametrized)
    net.loose, net.named = [o3.FullTensorProduct("1o", "1o")], {"a": o3.FullTensorProduct("1o", "1o")}
    with pytest.warns(UserWarning, match="6 tensor products are e3nn's still") as caught:
        copy = espmm.from_e3nn(net)
    text = str(caught[0].message)
    for reason in (
        "own: this FullyConnectedTensorProduct has a forward of its own", "hooked: this FullyConnectedTensorProduct has hooks",
        "before: this FullyConnectedTensorProduct has hooks", "parametrized: this Parametrized", "loose[0]: this FullTensorProduct is not a child of its module",
        "named['a']: this FullTensorProduct is not a child of its module",
    ):  # fmt: skip
        assert reason in text, (reason, text)
    assert type(copy.plain) is espmm.TensorProduct
    x, y = torch.randn(3, 5), torch.randn(3, 4)
    for name in ("own", "hooked", "before", "parametrized", "plain"):
        torch.testing.assert_close(getattr(copy, name)(x, y), getattr(net, name)(x, y))


def test_a_single_product(device):
    with default_dtype(torch.float64):
        tp = o3.FullTensorProduct("3x1o+2x0e", "2x1e+1x0o")
        x, y = torch.randn(6, 11), torch.randn(6, 7)
    ours = espmm.from_e3nn(tp).to(device)
    assert isinstance(ours, espmm.TensorProduct)
    assert_same(ours(x.to(device), y.to(device)), tp(x, y), device)
    assert random_inputs(ours.problem, 3)[0].shape == (3, 11)
