"""The autograd layer by itself: launches are answered by the numpy reference, so that no compiler is needed.

What is tested is which programs are run, on what, and what is kept; and that gradients of every order, forward mode,
vmap and the traced operator come out as calculus says.
"""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from espmm import TPProblem, forward_program, launch
from espmm.autograd import run
from espmm.launch import RowSpace
from espmm.operators import TracedSpace
from reference import Graph as ReferenceGraph
from reference import Path, Product, evaluate

PROBLEM = TPProblem(
    "2x0e+2x1o", "1x0e+1x1o", "2x0e+2x1o+2x1e",
    [(0, 0, 0, "uvu", True), (1, 1, 0, "uvu", True), (0, 1, 1, "uvu", True), (1, 1, 2, "uvu", False)],
    shared_weights=False, irrep_dtype="float64", weight_dtype="float64",
)  # fmt: skip


def product_of(problem: TPProblem) -> Product:
    paths = [Path(*ins[:6]) for ins in problem.instructions]
    return Product(str(problem.irreps_in1), str(problem.irreps_in2), str(problem.irreps_out), paths, problem.layout)


@pytest.fixture
def launches(monkeypatch):
    """Answers launches by the reference; gives the list of programs that were launched."""
    programs = []

    def fake_launcher(program, device):
        def call(tensors, space):
            programs.append(program)
            arrays = [t.detach().numpy() if i in program.used else np.full((1, 1), np.nan) for i, t in enumerate(tensors)]
            shared = any(spec.rows == "all" for spec in program.arguments)
            graph = getattr(space, "reference", None)
            results = evaluate(product_of(PROBLEM), program.steps, arrays, graph, shared, rows=space.sizes[0])
            return [torch.from_numpy(result) for result in results]

        return call

    monkeypatch.setattr(launch, "launcher_of", fake_launcher)
    return programs


class FakeGraph:
    """A graph of as many senders as receivers, for the reference."""

    def __init__(self, receivers, senders, nodes):
        self.sizes = (len(receivers), nodes, nodes)
        self.reference = ReferenceGraph(np.array(receivers), np.array(senders), nodes, nodes)


GRAPH = FakeGraph([2, 0, 2, 1], [0, 0, 1, 2], 4)


def inputs(rows=3, nodes=None, shared=False):
    generator = torch.Generator().manual_seed(0)
    product = product_of(PROBLEM)
    counts = {"x": nodes or rows, "y": rows, "w": 1 if shared else rows}
    return [
        torch.randn(counts[s], product.widths[s], generator=generator, dtype=torch.float64, requires_grad=True)
        for s in "xyw"
    ]


@pytest.mark.parametrize("kind", ["batch", "shared", "conv", "conv shared"])
def test_gradcheck_to_the_third_order(launches, kind):
    conv, shared = "conv" in kind, "shared" in kind
    problem = PROBLEM.replace(shared_weights=shared)
    program = forward_program(problem, conv)
    space = GRAPH if conv else RowSpace(3)
    args = inputs(4, 4, shared) if conv else inputs(3, None, shared)

    def function(x, y, w):
        return run(program, space, [x, y, w])[0]

    assert torch.autograd.gradcheck(function, args, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(function, args, check_batched_grad=True)

    def gradient(x, y, w):
        return torch.autograd.grad(function(x, y, w).pow(2).sum(), (x, y, w), create_graph=True)

    assert torch.autograd.gradgradcheck(gradient, args, atol=1e-4)


def test_only_needed_gradients_are_computed(launches):
    program = forward_program(PROBLEM)
    x, y, w = inputs()
    z = run(program, RowSpace(3), [x.detach(), y, w.detach()])[0]
    z.sum().backward()
    assert launches == [program, program.vjp((1,), (0,))]
    assert y.grad is not None and x.grad is None
    # All three require a gradient, but only one is asked for: leaves and, as in a model, results of something else.
    for scale in (lambda t: t, lambda t: 2 * t):
        launches.clear()
        tensors = inputs()
        z = run(program, RowSpace(3), [scale(t) for t in tensors])[0]
        torch.autograd.grad(z.sum(), tensors[1])
        assert launches == [program, program.vjp((1,), (0,))]


def test_without_gradients_there_is_one_launch_and_no_graph(launches):
    program = forward_program(PROBLEM)
    with torch.no_grad():
        assert not run(program, RowSpace(3), inputs())[0].requires_grad
    assert not run(program, RowSpace(3), [t.detach() for t in inputs()])[0].requires_grad
    assert launches == [program, program]


def test_absent_cotangents_are_not_in_the_program(launches):
    program = forward_program(PROBLEM)
    x, y, w = inputs()
    z = run(program, RowSpace(3), [x, y, w])[0]
    gz = torch.ones_like(z, requires_grad=True)
    _, gy, _ = torch.autograd.grad(z, (x, y, w), gz, create_graph=True)
    launches.clear()
    torch.autograd.grad(gy.sum(), (x, gz))
    backward = program.vjp((0, 1, 2), (0,))
    assert launches == [backward.vjp((0, 3), (1,))]


def test_what_backward_does_not_read_is_not_kept(launches):
    program = forward_program(PROBLEM)
    kept = {}
    for needed in "xyw":
        tensors = dict(zip("xyw", inputs()))
        tensors = {name: (t if name == needed else t.detach()).clone() for name, t in tensors.items()}
        z = run(program, RowSpace(3), list(tensors.values()))[0]
        alive = {name: weakref.ref(t) for name, t in tensors.items()}
        del tensors
        gc.collect()
        kept[needed] = {name for name, ref in alive.items() if ref() is not None}
        z.sum().backward()
    # The tensor itself lives on as a node's input only through its own graph, which here is the clone's.
    assert kept == {"x": {"y", "w"}, "y": {"x", "w"}, "w": {"x", "y"}}


def test_a_result_that_does_not_depend_gives_none(launches):
    program = forward_program(PROBLEM).vjp((0,), (0,))
    x, y, w = inputs()
    gz = torch.randn(3, program.arguments[3].width, dtype=torch.float64, requires_grad=True)
    (gx,) = run(program, RowSpace(3), [x, y, w, gz])
    grads = torch.autograd.grad(gx.sum(), (x, y, w, gz), allow_unused=True)
    assert grads[0] is None and all(g is not None for g in grads[1:])


def test_functional_transforms(launches):
    program = forward_program(PROBLEM)
    x, y, w = (t.detach() for t in inputs())

    def function(x, y, w):
        return run(program, RowSpace(x.shape[0]), [x, y, w])[0]

    v = torch.randn_like(y)
    value, tangent = torch.func.jvp(lambda y: function(x, y, w), (y,), (v,))
    torch.testing.assert_close(tangent, function(x, v, w) - function(x, torch.zeros_like(v), w))
    jacobians = torch.func.jacrev(function, argnums=(0, 1, 2))(x, y, w)
    forwards = torch.func.jacfwd(function, argnums=(0, 1, 2))(x, y, w)
    for a, b in zip(jacobians, forwards):
        torch.testing.assert_close(a, b)
    hessian = torch.func.hessian(lambda y: function(x, y, w).pow(2).sum())(y)
    expected = torch.autograd.functional.hessian(lambda y: function(x, y, w).pow(2).sum(), y)
    torch.testing.assert_close(hessian, expected)
    gradient = torch.func.grad(lambda w: function(x, y, w).pow(2).sum())(w)
    assert gradient.shape == w.shape


def test_vmap_folds_a_batch_into_rows(launches):
    program = forward_program(PROBLEM)
    x, y, w = (t.detach() for t in inputs())
    many = torch.randn(3, 5, y.shape[1], dtype=torch.float64)
    result = torch.func.vmap(lambda y: run(program, RowSpace(3), [x, y, w])[0], in_dims=1, out_dims=1)(many)
    assert launches == [program]
    for i in range(5):
        torch.testing.assert_close(result[:, i], run(program, RowSpace(3), [x, many[:, i], w])[0])


def test_vmap_of_a_convolution_and_of_shared_weights(launches):
    x, y, w = (t.detach() for t in inputs(4, 4))
    program = forward_program(PROBLEM, conv=True)
    many = torch.randn(5, *x.shape, dtype=torch.float64)
    result = torch.func.vmap(lambda x: run(program, GRAPH, [x, y, w])[0])(many)
    for i in range(5):
        torch.testing.assert_close(result[i], run(program, GRAPH, [many[i], y, w])[0])

    shared = forward_program(PROBLEM.replace(shared_weights=True))
    weights = torch.randn(5, 1, w.shape[1], dtype=torch.float64)
    result = torch.func.vmap(lambda w: run(shared, RowSpace(4), [x, y, w])[0])(weights)
    for i in range(5):
        torch.testing.assert_close(result[i], run(shared, RowSpace(4), [x, y, weights[i]])[0])
    # Gradients by sample, the other use of vmap.
    samples = torch.func.vmap(
        torch.func.grad(lambda w, x, y: run(shared, RowSpace(4), [x, y, w])[0].sum()), in_dims=(None, 0, None)
    )(weights[0], torch.stack([x, 2 * x]), y)
    torch.testing.assert_close(samples[1], 2 * samples[0])


def test_the_operator_agrees_and_differentiates(launches):
    program = forward_program(PROBLEM)
    args = inputs()

    def eager(x, y, w):
        return run(program, RowSpace(3), [x, y, w])[0]

    def traced(x, y, w):
        return run(program, TracedSpace(), [x, y, w])[0]

    torch.testing.assert_close(traced(*args), eager(*args))
    assert torch.autograd.gradcheck(traced, args)
    assert torch.autograd.gradgradcheck(traced, args)
    torch.library.opcheck(
        torch.ops.espmm.run.default,
        (program.serialize(), *[None] * 8, *args),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


def test_the_operator_checks_what_it_is_given(library):
    program = forward_program(PROBLEM)
    x, y, w = (t.detach() for t in inputs())
    call = torch.ops.espmm.run
    none = [None] * 8
    for arguments, message in [
        ((program.serialize(), *none, x, y), "expected 3 tensors"),
        ((program.serialize(), x, *none[1:], x, y, w), "expected no plan"),
        ((program.serialize(), *none, x, y[:2], w), r"expected y of shape \(3, 4\), got \(2, 4\)"),
        ((program.serialize(), *none, x, y, w.float()), "expected w to be float64"),
        (("func", *none, x, y, w), "expected a serialised program"),
    ]:
        with pytest.raises(ValueError, match=message):
            call(*arguments)


def test_make_fx_sees_the_operator(library):
    from torch.fx.experimental.proxy_tensor import make_fx

    program = forward_program(PROBLEM)
    x, y, w = (t.detach() for t in inputs())

    def function(x, y, w):
        y = y.requires_grad_()
        z = run(program, RowSpace(3), [x, y, w])[0]
        return torch.autograd.grad(z.pow(2).sum(), y)[0]

    traced = make_fx(function)(x, y, w)
    called = [node.target for node in traced.graph.nodes if node.op == "call_function"]
    assert called.count(torch.ops.espmm.run.default) == 2
    torch.testing.assert_close(traced(x, y, w), function(x, y, w))


def test_activation_checkpointing(launches):
    from torch.utils.checkpoint import checkpoint

    program = forward_program(PROBLEM)
    args = inputs()
    plain = torch.autograd.grad(run(program, RowSpace(3), args)[0].pow(2).sum(), args)
    again = checkpoint(lambda *t: run(program, RowSpace(3), t)[0], *args, use_reentrant=False)
    for a, b in zip(plain, torch.autograd.grad(again.pow(2).sum(), args)):
        torch.testing.assert_close(a, b)
