"""Errors name the module of the model that they come from, and nothing is searched for while all goes well."""

from __future__ import annotations

import copy

import espmm
import pytest
import torch
from espmm import every_path_problem, launch, module_paths
from helpers import random_edges, random_inputs
from torch.utils.checkpoint import checkpoint

PROBLEM = every_path_problem("4x0e+4x1o", "0e+1o", "4x0e+4x1o", irrep_dtype="float64", weight_dtype="float64")
CONV = every_path_problem("4x0e+4x1o", "0e+1o", "0e+1o", irrep_dtype="float64", weight_dtype="float64")


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = espmm.TensorProductConv(CONV)
        self.linear = torch.nn.Linear(CONV.irreps_out.dim, CONV.irreps_in1.dim, dtype=torch.float64)

    def forward(self, x, y, w, *edges):
        return self.linear(self.conv(x, y, w, *edges))


class Model(torch.nn.Module):
    def __init__(self, layers=3):
        super().__init__()
        self.layers = torch.nn.ModuleList([Layer() for _ in range(layers)])

    def forward(self, x, y, weights, *edges):
        for layer, w in zip(self.layers, weights):
            x = layer(x, y, w, *edges)
        return x


@pytest.fixture
def model(device) -> Model:
    return Model().to(device)


@pytest.fixture
def inputs(device) -> list:
    x, y, w = (t.to(device).requires_grad_() for t in random_inputs(CONV, 9, 6))
    return [x, y, [w, w, w], *(t.to(device) for t in random_edges(6, 9))]


def fail_after(monkeypatch, launches: int) -> None:
    """Lets some launches be, and fails all after them."""
    real, count = launch.Launcher.__call__, [0]

    def launch_or_fail(self, tensors, space):
        count[0] += 1
        if count[0] > launches:
            raise self._explained(RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS (700)"))
        return real(self, tensors, space)

    monkeypatch.setattr(launch.Launcher, "__call__", launch_or_fail)


def test_bad_arguments(model, inputs):
    x, y, (w, *rest), receivers, senders = inputs
    with pytest.raises(ValueError, match=r"^layers\.1\.conv: expected w of shape") as caught:
        model(x, y, [w, w[:, :-1], w], receivers, senders)
    assert type(caught.value) is ValueError
    with pytest.raises(TypeError, match=r"^layers\.2\.conv: expected w to be torch.float64"):
        model(x, y, [w, w, w.float()], receivers, senders)
    with pytest.raises(IndexError, match=r"^layers\.0\.conv: .*edge 3"):
        model(x, y, [w, w, w], receivers, senders.index_fill(0, torch.tensor(3, device=senders.device), 6))


def test_launches_that_fail(model, inputs, monkeypatch):
    model(*inputs)
    fail_after(monkeypatch, 1)
    with pytest.raises(RuntimeError, match=r"^layers\.1\.conv: CUDA_ERROR_ILLEGAL_ADDRESS \(700\)\nin Program") as caught:
        model(*inputs)
    assert str(caught.value).count("layers") == 1 and "its compile is repeated by" in str(caught.value)


def test_out_of_memory_keeps_its_class(model, inputs, monkeypatch):
    def allocate(shape, dtype, where):
        raise torch.cuda.OutOfMemoryError("Tried to allocate 20.00 GiB")

    monkeypatch.setattr(launch, "allocate", allocate)
    with pytest.raises(torch.cuda.OutOfMemoryError, match=r"^layers\.0\.conv: Tried to allocate"):
        model(*inputs)


def test_backward_passes(model, inputs, monkeypatch):
    """The layers' programs have one text; which layer it was is known all the same."""
    z = model(*inputs).square().sum()
    fail_after(monkeypatch, 1)
    with pytest.raises(RuntimeError, match=r"^backward of layers\.1\.conv: CUDA_ERROR"):
        z.backward()
    monkeypatch.undo()
    z = model(*inputs).square().sum()
    (gradient,) = torch.autograd.grad(z, inputs[0], create_graph=True)
    fail_after(monkeypatch, 0)
    with pytest.raises(RuntimeError, match=r"^backward of layers\.\d\.conv: CUDA_ERROR"):
        gradient.square().sum().backward()


def test_a_module_that_nobody_holds_has_no_path(device, inputs):
    x, y, (w, *_), *edges = inputs
    conv = espmm.TensorProductConv(CONV)
    with pytest.raises(ValueError, match="^expected w of shape"):
        conv(x, y, w[:, :-1], *edges)


def test_other_holders(device, inputs):
    x, y, (w, *_), *edges = inputs
    conv = espmm.TensorProductConv(CONV)
    wrapped = torch.nn.Sequential(torch.nn.ModuleDict({"a": Layer(), "b": torch.nn.Identity()}))
    wrapped[0]["a"].conv = conv
    with pytest.raises(ValueError, match=r"^0\.a\.conv: expected w of shape"):
        conv(x, y, w[:, :-1], *edges)
    copied = copy.deepcopy(wrapped)  # another module of the same program, at the same path
    with pytest.raises(ValueError, match=r"^0\.a\.conv: expected w of shape"):
        copied[0]["a"](x, y, w[:, :-1], *edges)
    wrapped[0]["b"] = conv
    with pytest.raises(ValueError, match=r"^0\.a\.conv or 0\.b: expected w of shape"):
        conv(x, y, w[:, :-1], *edges)
    conv.loop = wrapped  # a cycle, which torch's own walks survive too
    assert "0.a.conv" in module_paths.paths([conv])
    del conv.loop


def test_products_and_their_matrices(device):
    class Energy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.product, self.square = espmm.TensorProduct(PROBLEM), espmm.TensorSquare("4x0e+4x1o")

    energy = Energy()
    x, y, w = random_inputs(PROBLEM, 5)
    with pytest.raises(ValueError, match="^product: expected the last axis of x to be 16"):
        energy.product(x[:, :-1], y, w)
    with pytest.raises(ValueError, match="^product: expected the last axis of y to be 4"):
        energy.product.right(y[:, :-1], w)
    with pytest.raises(TypeError, match="^square: expected x to be torch.float32"):
        energy.square(x)


def test_nothing_is_searched_for_while_all_goes_well(model, inputs, monkeypatch):
    def search():
        raise AssertionError("a search")

    monkeypatch.setattr(module_paths, "_living", search)
    model(*inputs).square().sum().backward()
    # Checkpointing leaves the second forward pass by an exception of its own as soon as it has what it needs.
    x, y, (w, *_), *edges = inputs
    z = checkpoint(model.layers[0], x, y, w, *edges, use_reentrant=False)
    z.square().sum().backward()


def test_errors_while_tracing_stay_errors(device, inputs):
    torch._dynamo.reset()
    x, y, (w, *_), *edges = inputs
    compiled = torch.compile(Model(1).to(device), fullgraph=True, backend="eager")
    with pytest.raises(Exception, match="expected w of shape"):
        compiled(x, y, [w[:, :-1]], *edges)
