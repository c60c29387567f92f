"""What traces programs: torch.compile, export and jit.trace go through the operators."""

from __future__ import annotations

import espmm
import pytest
import torch
import torch._dynamo.testing
from espmm import every_path_problem
from helpers import random_edges, random_inputs, reference_conv, relative_error

pytestmark = [
    pytest.mark.usefixtures("library"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning"),
]

PROBLEM = every_path_problem("4x0e+4x1o", "0e+1o", "0e+1o", irrep_dtype="float64", weight_dtype="float64")


def operands(edges: int, nodes: int, device: str = "cpu"):
    return [t.to(device) for t in (*random_inputs(PROBLEM, edges, nodes), *random_edges(nodes, edges))]


class Model(torch.nn.Module):
    """Energy and forces-like gradient, as a potential computes them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = espmm.TensorProductConv(PROBLEM)

    def forward(self, x, y, w, receivers, senders):
        return self.conv(x, y, w, receivers, senders).pow(2).sum(1)


def test_compile_without_breaks_or_recompiles(device):
    torch._dynamo.reset()
    model = Model()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=counter)
    for edges, nodes in ((12, 5), (30, 9), (7, 6)):
        *inputs, receivers, senders = operands(edges, nodes, device)
        leaves = [t.requires_grad_() for t in inputs]
        got = compiled(*leaves, receivers, senders)
        want = model(*leaves, receivers, senders)
        assert relative_error(got, want) < 1e-12
        for a, b in zip(torch.autograd.grad(got.sum(), leaves), torch.autograd.grad(want.sum(), leaves)):
            assert relative_error(a, b) < 1e-12
    assert counter.frame_count == 1


def test_compile_with_a_graph_made_beforehand(device):
    torch._dynamo.reset()
    conv = espmm.TensorProductConv(PROBLEM)
    compiled = torch.compile(conv, fullgraph=True, dynamic=True, backend="aot_eager")
    for edges, nodes in ((12, 5), (30, 9)):
        x, y, w, receivers, senders = operands(edges, nodes, device)
        graph = espmm.Graph(receivers, senders, nodes)
        y.requires_grad_()
        got, want = compiled(x, y, w, graph), conv(x, y, w, graph)
        assert relative_error(got, want) < 1e-12
        a, b = torch.autograd.grad(got.sum(), y)[0], torch.autograd.grad(want.sum(), y)[0]
        assert relative_error(a, b) < 1e-12


def test_forces_inside_the_compiled_region(device):
    """Training on forces: the gradient is taken inside, the loss is differentiated through it (double backward)."""
    from torch.fx.experimental.proxy_tensor import make_fx

    model = Model()
    x, y, w, receivers, senders = operands(12, 5, device)

    def forces(x, y, w, receivers, senders):
        y = y.detach().requires_grad_()
        return torch.autograd.grad(model(x, y, w, receivers, senders).sum(), y, create_graph=True)[0]

    traced = make_fx(forces)(x, y, w, receivers, senders)
    w = w.requires_grad_()
    got = torch.autograd.grad(traced(x, y, w, receivers, senders).pow(2).sum(), w)[0]
    want = torch.autograd.grad(forces(x, y, w, receivers, senders).pow(2).sum(), w)[0]
    assert relative_error(got, want) < 1e-12


def test_compile_the_batch(device):
    torch._dynamo.reset()
    tp = espmm.TensorProduct(PROBLEM)
    compiled = torch.compile(tp, fullgraph=True, dynamic=True, backend="aot_eager")
    for rows in (5, 8):
        inputs = [t.to(device).requires_grad_() for t in random_inputs(PROBLEM, rows)]
        assert relative_error(compiled(*inputs), tp(*inputs)) < 1e-12


def test_export(device):
    model = Model()
    example = tuple(operands(12, 5, device))
    edges, nodes = torch.export.Dim("edges", min=2), torch.export.Dim("nodes", min=2)
    shapes = ({0: nodes}, {0: edges}, {0: edges}, {0: edges}, {0: edges})
    program = torch.export.export(model, example, dynamic_shapes=shapes)
    other = operands(31, 8, device)
    assert relative_error(program.module()(*other), model(*other)) < 1e-12


def test_jit_trace(device):
    model = Model()
    traced = torch.jit.trace(model, tuple(operands(12, 5, device)), check_trace=False)
    *inputs, receivers, senders = operands(31, 8, device)  # other numbers of edges and nodes
    results = []
    for function in (traced, model):
        leaves = [t.clone().requires_grad_() for t in inputs]
        energy = function(*leaves, receivers, senders)
        results.append([energy, *torch.autograd.grad(energy.sum(), leaves)])
    for got, want in zip(*results):
        assert relative_error(got, want) < 1e-12


def test_fake_tensors_need_no_memory(library):
    from torch._subclasses.fake_tensor import FakeTensorMode

    conv = espmm.TensorProductConv(PROBLEM)
    with FakeTensorMode():
        x, y, w = (
            torch.empty(10**9, 16, dtype=torch.float64),
            torch.empty(7, 4, dtype=torch.float64),
            torch.empty(7, 16, dtype=torch.float64),
        )
        index = torch.empty(7, dtype=torch.int64)
        assert conv(x, y, w, index, index).shape == (10**9, PROBLEM.irreps_out.dim)


def test_operators_are_what_torch_expects_of_them(device):
    receivers, senders = (t.to(device) for t in random_edges(5, 12))
    nodes = torch.empty(5, 0, device=device)
    torch.library.opcheck(
        torch.ops.espmm.plan.default, (receivers, senders, nodes, nodes), test_utils=("test_schema", "test_faketensor")
    )
    program = espmm.forward_program(PROBLEM, conv=True)
    inputs = [t.to(device).requires_grad_() for t in random_inputs(PROBLEM, 12, 5)]
    plan = [
        *torch.ops.espmm.plan(receivers, senders, nodes, nodes),
        *torch.ops.espmm.plan(senders, receivers, nodes, nodes),
    ]
    torch.library.opcheck(torch.ops.espmm.run.default, (program.serialize(), *plan, *inputs))
    (z,) = torch.ops.espmm.run(program.serialize(), *plan, *inputs)
    expected = reference_conv(PROBLEM, receivers.cpu(), senders.cpu(), 5)
    assert relative_error(z, expected(*(t.detach().cpu() for t in inputs))) < 1e-12
