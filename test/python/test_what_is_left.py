"""No product of e3nn's is left with no word: from_e3nn, accelerate and the hook say what stays e3nn's, and why."""

from __future__ import annotations

import io
import re
import warnings

import e3nn
import espmm
import pytest
import torch
from e3nn import o3
from e3nn.util import jit
from espmm.acceleration import _replace_products
from espmm.acceleration.fused import FusedConvolution, PlainProduct
from helpers import default_dtype

PRODUCT = ("2x0e+1o", "0e+1o", "0e+1o")

#: More bytes between two operations of an edge than the CPU's code keeps there.
LARGE = ("20000x1e", "20000x1e", "500x1e", [(0, 0, 0, "uvw", True)])
TOO_LARGE = r"needs \d+ bytes for what is between two operations of an edge, more than 67108864"


def product() -> o3.FullyConnectedTensorProduct:
    return o3.FullyConnectedTensorProduct(*PRODUCT)


def large() -> o3.TensorProduct:
    """Its weights, of which it has none itself, would take 800 GB; so would those that e3nn tries orders of its einsums on."""
    return o3.TensorProduct(*LARGE, shared_weights=False, internal_weights=False, _optimize_einsums=False)


def loaded(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    file = io.BytesIO()
    torch.jit.save(module, file)
    file.seek(0)
    return torch.jit.load(file)


def inputs(rows: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, 5, generator=generator), torch.randn(rows, 4, generator=generator)


class Own(o3.FullyConnectedTensorProduct):
    def forward(self, x, y, weight=None):
        return 2 * super().forward(x, y, weight)


class Pair(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tp = product()

    def forward(self, xy):
        return self.tp(*xy)


SCRIPTED = {
    "scripted": lambda: jit.script(product()),
    "traced": lambda: torch.jit.trace(product(), inputs()),
    "loaded": lambda: loaded(jit.script(product())),
    "of a class of its own": lambda: torch.jit.trace(Own(*PRODUCT), inputs()),
}


@pytest.mark.parametrize("case", SCRIPTED)
@pytest.mark.parametrize("place", ["alone", "inside", "inside another"])
def test_torchscript_is_named(case, place, library):
    scripted = SCRIPTED[case]()
    module, path = scripted, scripted.original_name
    if place != "alone":
        path = "0.0" if place == "inside another" else "0"
        module = torch.nn.Sequential(torch.nn.Sequential(scripted) if place == "inside another" else scripted, product())
    message = f"1 tensor products are e3nn's still: {path}: its {scripted.original_name} is TorchScript, which cannot be replaced"
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$"):
        copy = espmm.from_e3nn(module)
    torch.testing.assert_close((copy if place == "alone" else copy.get_submodule(path))(*inputs()), scripted(*inputs()), rtol=0, atol=0)
    assert place == "alone" or isinstance(copy[1], espmm.TensorProduct)
    with pytest.raises(espmm.ProblemError, match=f"cannot be replaced: {re.escape(path)}: its"):
        espmm.from_e3nn(module, strict=True)


def test_all_products_of_a_scripted_model_are_named(library):
    model = jit.script(torch.nn.ModuleDict({"a": product(), "b": torch.nn.ModuleList([product()])}))
    with pytest.warns(UserWarning, match="^2 tensor products are e3nn's still: a: its .* is TorchScript.*; b.0: its .* is TorchScript"):
        espmm.from_e3nn(model)


def test_scripts_that_hold_no_product_are_no_products():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        espmm.from_e3nn(torch.nn.Sequential(torch.jit.script(torch.nn.Linear(1, 1)), jit.script(o3.Linear("0e", "0e"))), strict=True)


def test_e3nns_experimental_products_are_named(library):
    experimental = pytest.importorskip("e3nn.o3.experimental")
    kinds = (experimental.FullTensorProductv2, experimental.ElementwiseTensorProductv2)
    net = torch.nn.ModuleList([kind(o3.Irreps("1o"), o3.Irreps("1o")) for kind in kinds] + [product()])
    with pytest.warns(UserWarning, match="^2 tensor products .* 0: e3nn's experimental FullTensorProduct is no .*; 1: e3nn's experimental Elem"):
        copy = espmm.from_e3nn(net)
    assert isinstance(copy[2], espmm.TensorProduct)


def test_reduced_products_are_replaced_inside(library, launches):
    """e3nn 0.6 has plain products in them; those of 0.4.4 are TorchScript (test/clients/test_mace.py)."""
    with default_dtype(torch.float64):
        theirs = o3.ReducedTensorProducts("ij=-ji", i="2x1o+0e")
        x, y = torch.randn(2, 3, 7)
    ours = espmm.from_e3nn(theirs, strict=True)
    expected = theirs(x, y)
    assert not launches
    torch.testing.assert_close(ours(x, y), expected, rtol=1e-12, atol=1e-12)
    assert launches and not any(isinstance(module, o3.TensorProduct) for module in ours.modules())


@pytest.mark.parametrize("wraps", ["product", "model"])
def test_what_torch_compile_has_wrapped_runs_on_espmm(wraps, library):
    torch._dynamo.reset()
    codes = []

    def backend(module, _):
        codes.append(module.code)
        return module

    theirs = torch.compile(product() if wraps == "product" else torch.nn.Sequential(Pair()), backend=backend)
    ours = espmm.from_e3nn(theirs, strict=True)
    arguments = inputs() if wraps == "product" else (inputs(),)
    torch.testing.assert_close(ours(*arguments), theirs(*arguments), rtol=1e-5, atol=1e-5)
    assert "espmm.run" in codes[0] and not any("espmm" in code for code in codes[1:])


def test_what_the_cpu_does_not_lower_is_left(library):
    net = torch.nn.ModuleDict({"small": product(), "large": large()})
    with pytest.warns(UserWarning, match=f"^1 tensor products are e3nn's still: large: .*{TOO_LARGE}"):
        copy = espmm.from_e3nn(net)
    assert type(copy.large) is o3.TensorProduct and isinstance(copy.small, espmm.TensorProduct)
    with pytest.raises(espmm.ProblemError, match=f"cannot be replaced: large: .*{TOO_LARGE}"):
        espmm.from_e3nn(net, strict=True)


def test_a_product_of_nothing_is_replaced(library):
    ours = espmm.from_e3nn(o3.TensorProduct("0x0e+1o", "0e", "0x0e+1o", [(0, 0, 0, "uuu", False)]), strict=True)
    assert not ours(torch.ones(2, 3), torch.ones(2, 1)).any()


def test_nothing_is_compiled_to_know(library, launches, monkeypatch):
    """On the CPU only passes run: a copy costs a small part of its first call."""
    monkeypatch.setattr("espmm._capi.Executable", None)
    assert isinstance(espmm.from_e3nn(product(), strict=True), espmm.TensorProduct)


@pytest.mark.skipif(e3nn.__version__.startswith(("0.4", "0.5")), reason="e3nn has no providers")
def test_the_hook_declines_what_the_cpu_does_not_lower(library):
    with espmm.e3nn.installed() as record:
        with pytest.warns(UserWarning, match=f"this product stays e3nn's: 20000x1e x 20000x1e -> 500x1e: .*{TOO_LARGE}"):
            tp = large()
        product()
    assert len(record.declined) == len(record.taken) == 1 and not hasattr(tp._compiled_main_left_right, "espmm")


def test_products_in_place_are_checked_too(library):
    for kind in (PlainProduct, FusedConvolution):
        with pytest.raises(espmm.UnsupportedError, match=TOO_LARGE):
            kind(large())


def test_accelerate_reports_the_products_that_it_leaves(library):
    """All products beside the convolutions, but those that have no paths."""
    model = torch.nn.ModuleDict(
        {
            "plain": product(),
            "square": o3.TensorSquare("2x0e+1o"),
            "own": Own(*PRODUCT),
            "scripted": jit.script(product()),
            "nothing": o3.TensorProduct("0e", "0e", "0e", []),
            "square of nothing": Own("0e", "0e", "1o"),
            "linear": o3.Linear("0e", "0e"),
        }
    )
    replaced, left = {}, {}
    _replace_products(torch.nn.ModuleList([model]), "models.1.", replaced, left)
    assert list(replaced) == ["models.1.plain", "models.1.linear"] and type(model.plain) is PlainProduct
    assert left == {
        "models.1.square": "TensorSquare has a forward of its own",
        "models.1.own": "Own has a forward of its own",
        "models.1.scripted": "its FullyConnectedTensorProduct is TorchScript, which cannot be replaced",
    }
