"""Errors name the module of the model that they come from, and nothing is searched for while all goes well."""

from __future__ import annotations

import copy

import espmm
import pytest
import torch
from espmm import every_path_problem, launch, module_paths, program
from espmm.errors import ProblemAssertionError
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
    assert type(caught.value) is ProblemAssertionError
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


# What is traced: the path goes with the program that is recorded, and its errors come from C++.


def spoil(monkeypatch, good: program.Program) -> None:
    """Has a program's string be one that tracers know and the compiler refuses."""
    bad = good.serialize().replace("uvu(", "uvx(")
    monkeypatch.setitem(program._programs, bad, good)
    monkeypatch.setattr(good, "_serialized", bad)


def count_graphs(graphs: list):
    def backend(graph, example):
        graphs.append(graph)
        return graph

    return backend


def test_a_compiled_region(model, inputs, monkeypatch):
    torch._dynamo.reset()
    graphs: list = []
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=count_graphs(graphs))
    compiled(*inputs)
    *others, receivers, senders = inputs
    wrong = senders.index_fill(0, torch.tensor(3, device=senders.device), 6)
    with pytest.raises(IndexError, match=r"layers\.0\.conv: other\[3\] = 6 is out of range"):
        compiled(*others, receivers, wrong)
    # Another name is said of what is traced after it, and has nothing traced again.
    holder = torch.nn.Module()
    holder.inner = compiled
    compiled(*inputs)
    assert len(graphs) == 1
    torch._dynamo.reset()
    spoil(monkeypatch, model.layers[1].conv._program)
    with pytest.raises(ValueError, match=r"inner\.layers\.1\.conv or layers\.1\.conv: the program does not parse"):
        torch.compile(model, fullgraph=True, dynamic=True, backend=count_graphs(graphs))(*inputs)


def test_the_backward_pass_of_a_compiled_region(model, inputs, monkeypatch):
    torch._dynamo.reset()
    good = program.Program.deserialize(model.layers[0].conv._program.serialize())
    spoil(monkeypatch, good.gradient((True, True, True), (True,))[0])
    z = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")(*inputs)
    with pytest.raises(ValueError, match=r"^backward of layers\.2\.conv: the program does not parse"):
        z.square().sum().backward()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_torchscript(model, inputs):
    x, y, weights, *edges = (t.detach() if torch.is_tensor(t) else [w.detach() for w in t] for t in inputs)
    traced = torch.jit.trace(model, (x, y, weights, *edges), check_trace=False)
    short = [weights[0], weights[1][:-1], weights[2]]
    with pytest.raises(RuntimeError, match=r"layers\.1\.conv: expected w of shape \(9, 16\), got \(8, 16\)"):
        traced(x, y, short, *edges)

    conv, model.layers[0].conv = model.layers[0].conv, torch.nn.Identity()  # in one model only

    class Scripted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.ModuleDict({"conv": conv})

        def forward(self, x, y, w, receivers, senders):
            return self.first["conv"](x, y, w, receivers, senders)

    scripted = torch.jit.script(Scripted())
    assert scripted(x, y, weights[0], *edges).shape == (6, CONV.irreps_out.dim)
    with pytest.raises(RuntimeError, match=r"first\.conv: expected w of shape"):
        scripted(x, y, short[1], *edges)


def test_an_exported_program(model, inputs):
    exported = torch.export.export(model, tuple(inputs), strict=False)
    found = [node.kwargs.get("module") for node in exported.graph.nodes if node.target is torch.ops.espmm.run.default]
    assert found == [f"layers.{i}.conv" for i in range(3)]
