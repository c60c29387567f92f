"""espmm.e3nn: products that e3nn 0.6 builds run on espmm; what is not the forward pass stays e3nn's."""

from __future__ import annotations

import copy
import pickle
import warnings

import e3nn
import espmm
import pytest
import torch
from e3nn import nn, o3
from helpers import default_dtype

pytestmark = pytest.mark.skipif(e3nn.__version__.startswith(("0.4", "0.5")), reason="e3nn has no providers")

X, Y = "4x0e+3x1o", "0e+1o+2e"
OUT = "4x0e+4x1o+3x1e"
PATHS = [(0, 0, 0, "uvu", True), (0, 1, 1, "uvu", True), (1, 1, 2, "uvu", False), (1, 1, 0, "uvw", True)]


def pair(build):
    """One of e3nn's own, and the same on espmm with the same weights."""
    with default_dtype(torch.float64):
        theirs = build()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with espmm.e3nn.installed() as record:
                ours = build()
    assert record.taken and not record.declined
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    return theirs, ours


def test_forward_and_gradients(library, launches):
    theirs, ours = pair(lambda: o3.TensorProduct(X, Y, OUT, PATHS, shared_weights=False, internal_weights=False))
    x, y = torch.randn(2, 5, 13, dtype=torch.float64), torch.randn(5, 9, dtype=torch.float64)
    w = torch.randn(2, 5, theirs.weight_numel, dtype=torch.float64)
    inputs = [t.requires_grad_() for t in (x, y, w)]
    results = []
    for tp in (theirs, ours):
        z = tp(*inputs)
        first = torch.autograd.grad(z.square().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        results.append([z, *first, *second])
        assert bool(launches) == (tp is ours)
    for a, b in zip(*results):
        torch.testing.assert_close(b, a, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "build, shapes",
    [
        (lambda: o3.FullyConnectedTensorProduct("3x0e+2x1o", "2x0e+1o", "3x0e+2x1o"), [(6, 9), (6, 5)]),
        (lambda: o3.ElementwiseTensorProduct("3x1o", "3x0e"), [(6, 9), (6, 3)]),
        (lambda: o3.FullTensorProduct("2x1o", "1o+0e"), [(6, 6), (6, 4)]),
        (lambda: o3.TensorSquare("2x0e+2x1o", "3x0e+2x2e"), [(6, 8)]),
        (lambda: nn.Gate("4x0e", [torch.tanh], "2x0e", [torch.sigmoid], "2x1o"), [(6, 12)]),
    ],
)
def test_derived_products(library, launches, build, shapes):
    theirs, ours = pair(build)
    inputs = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    expected = theirs(*inputs)
    assert not launches
    torch.testing.assert_close(ours(*inputs), expected, rtol=1e-12, atol=1e-12)
    assert launches


def test_right_views_and_internal_weights_are_e3nns(library):
    theirs, ours = pair(lambda: o3.FullyConnectedTensorProduct("3x0e+2x1o", "0e+1o", "3x0e+2x1o", compile_right=True))
    y = torch.randn(4, 4, dtype=torch.float64)
    torch.testing.assert_close(ours.right(y), theirs.right(y), rtol=0, atol=0)
    assert type(ours).right is o3.TensorProduct.right and isinstance(ours.weight, torch.nn.Parameter)
    for a, b in zip(ours.weight_views(), theirs.weight_views(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_copies_pickles_and_other_dtypes(library):
    theirs, ours = pair(lambda: o3.FullyConnectedTensorProduct("3x0e+2x1o", "0e+1o", "3x0e+2x1o"))
    x, y = torch.randn(4, 9, dtype=torch.float64), torch.randn(4, 4, dtype=torch.float64)
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert list(other.state_dict()) == list(theirs.state_dict())
        torch.testing.assert_close(other(x, y), theirs(x, y), rtol=1e-12, atol=1e-12)
    half = copy.deepcopy(ours).float()
    assert half(x.float(), y.float()).dtype == torch.float32
    torch.testing.assert_close(half(x.float(), y.float()).double(), theirs(x, y), rtol=1e-5, atol=1e-5)


def test_what_is_declined_is_said():
    with espmm.e3nn.installed() as record:
        with pytest.warns(UserWarning, match="this product stays e3nn's: .*12.*degrees go up to l = 11"):
            o3.TensorProduct("1x12e", "0e", "1x12e", [(0, 0, 0, "uuu", False)])
        before = e3nn.get_optimization_defaults()["jit_mode"]
        e3nn.set_optimization_defaults(jit_mode="script")
        try:
            with pytest.warns(UserWarning, match="e3nn would script it"):
                tp = o3.ElementwiseTensorProduct("3x1o", "3x0e")
        finally:
            e3nn.set_optimization_defaults(jit_mode=before)
        assert isinstance(tp._compiled_main_left_right, torch.jit.ScriptModule)
    assert len(record.declined) == 2 and not record.taken
    assert "0 products of e3nn run on espmm, 2 do not" in str(record)


def test_install_nests_and_ends(library):
    def is_ours() -> bool:
        return hasattr(o3.ElementwiseTensorProduct("3x1o", "3x0e")._compiled_main_left_right, "espmm")

    assert not is_ours()
    record = espmm.e3nn.install()
    with espmm.e3nn.installed() as inner:
        assert inner is record and is_ours()
    assert is_ours()
    espmm.e3nn.uninstall()
    assert not is_ours() and len(record.taken) == 2
    with pytest.raises(RuntimeError, match="espmm.e3nn is not installed"):
        espmm.e3nn.uninstall()


def test_an_older_e3nn_is_refused(monkeypatch):
    from e3nn.o3._tensor_product import _tensor_product

    monkeypatch.delattr(_tensor_product, "_CODEGEN_PROVIDERS_LEFT_RIGHT")
    with pytest.raises(espmm.UnsupportedError, match="expected e3nn 0.6 or later"):
        espmm.e3nn.install()
    with pytest.raises(RuntimeError, match="is not installed"):
        espmm.e3nn.uninstall()
