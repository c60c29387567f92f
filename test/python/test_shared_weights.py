"""Weights that all rows share, given or the module's own."""

from __future__ import annotations

import contextlib

import espmm
import pytest
import torch
from e3nn import o3
from helpers import (
    check_against,
    check_batch,
    check_convolution,
    default_dtype,
    e3nn_product,
    random_edges,
    random_inputs,
    reference,
    relative_error,
)

PROBLEMS = {
    "uvu": ("40x0e+5x1o", "0e+1o", "40x0e+5x0e+40x1o", [(0, 0, 0, "uvu", True), (1, 1, 1, "uvu", True), (0, 1, 2, "uvu", False)]),
    "uvu with several channels of y": ("17x0e+5x1o", "3x0e+2x1o", "17x0e+5x0e+17x1o", [(0, 0, 0, "uvu", True), (1, 1, 1, "uvu", True), (0, 1, 2, "uvu", True)]),
    "uvw": ("12x0e+7x1o", "6x0e+1x1o", "20x0e+9x1o+3x1e", [(0, 0, 0, "uvw", True), (1, 1, 0, "uvw", True), (0, 1, 1, "uvw", True), (1, 1, 2, "uvw", True)]),
    "others": (
        "12x0e+7x1o", "12x0e+7x1o", "12x0e+20x0e+66x0e+7x1e",
        [(0, 0, 0, "uuu", True), (0, 0, 1, "uuw", True), (0, 0, 2, "uvu<v", True), (1, 1, 1, "u<vw", True), (1, 1, 3, "uvv", True), (0, 0, 0, "uvv", True)],
    ),
}  # fmt: skip


def problem(name: str, dtype: torch.dtype, layout: str = "mul_ir") -> espmm.TPProblem:
    spelled = str(dtype).removeprefix("torch.")
    return espmm.TPProblem(
        *PROBLEMS[name], shared_weights=True, internal_weights=False, irrep_dtype=spelled, weight_dtype=spelled, layout=layout
    )


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("rows", [1, 19, 170])
@pytest.mark.parametrize("name", PROBLEMS)
def test_batch(name, rows, dtype, layout, device, poisoned):
    check_batch(problem(name, dtype, layout), dtype, device, order=3 if rows == 19 and dtype == torch.float64 else 2, rows=rows)


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", PROBLEMS)
def test_convolution(name, dtype, layout, device, poisoned):
    check_convolution(problem(name, dtype, layout), dtype, device, order=3 if (dtype, layout) == (torch.float64, "mul_ir") else 2, edges=290)


def test_internal_weights_of_a_convolution(device, poisoned):
    """A parameter named weight, as e3nn initialises it, that no call is given."""
    p = problem("uvw", torch.float64).replace(internal_weights=True)
    torch.manual_seed(0)
    conv = espmm.TensorProductConv(p)
    torch.manual_seed(0)
    with default_dtype(torch.float64):
        theirs = o3.TensorProduct(*PROBLEMS["uvw"], shared_weights=True, internal_weights=True)
    assert list(conv.state_dict()) == [name for name in theirs.state_dict() if name in ("weight", "output_mask")] and conv.weight.requires_grad
    assert conv.weight.shape == theirs.weight.shape and abs(conv.weight.std().item() - 1) < 0.2
    theirs.load_state_dict(conv.state_dict(), strict=False)
    conv.to(device)
    x, y, _ = random_inputs(p, 90, 11)
    receivers, senders = random_edges(11, 90)
    z = conv(x.to(device), y.to(device), None, receivers.to(device), senders.to(device))
    expected = x.new_zeros(11, p.irreps_out.dim).index_add(0, receivers, theirs(x[senders], y))
    assert relative_error(z, expected) < 1e-12
    ours, want = (torch.autograd.grad(result.square().sum(), module.weight)[0] for result, module in ((z, conv), (expected, theirs)))
    assert relative_error(ours, want) < 1e-12


@pytest.mark.parametrize("conv", [False, True], ids=["batch", "conv"])
def test_no_rows(conv, device, poisoned):
    p = problem("uvw", torch.float32)
    w = torch.randn(p.weight_numel, device=device, requires_grad=True)
    x, y = torch.zeros(3 if conv else 0, p.irreps_in1.dim, device=device), torch.zeros(0, p.irreps_in2.dim, device=device)
    none = torch.zeros(0, dtype=torch.int64, device=device)
    z = espmm.TensorProductConv(p)(x, y, w, none, none) if conv else espmm.TensorProduct(p)(x, y, w)
    (gw,) = torch.autograd.grad(z.sum(), w)
    assert torch.equal(gw, torch.zeros_like(w))


def many_rows(p: espmm.TPProblem) -> tuple[torch.Tensor, ...]:
    """x, y, w and the gradient of z, in float32."""
    rows = 20_000
    return (*(t.float() for t in random_inputs(p, rows)), torch.randn(rows, p.irreps_out.dim, generator=torch.Generator().manual_seed(1)))


def gradient_of_weights(function, x, y, w, gz) -> torch.Tensor:
    weight = w.clone().requires_grad_()
    return torch.autograd.grad(function(x, y, weight), weight, gz)[0]


@pytest.mark.parametrize("conv", [False, True], ids=["batch", "conv"])
def test_a_gradient_over_many_rows_is_as_exact_as_a_pairwise_sum_and_always_the_same(conv, device, poisoned):
    p = problem("uvw", torch.float32)
    x, y, w, gz = many_rows(p)
    module = espmm.TensorProduct(p)
    ours_of = module
    if conv:
        nodes = 400
        receivers, senders = (torch.randint(nodes, (len(x),), generator=torch.Generator().manual_seed(seed)) for seed in (2, 3))
        x, gz, features, of_nodes = x[:nodes][senders], gz[:nodes][receivers], x[:nodes], gz[:nodes]
        graph = espmm.Graph(receivers.to(device), senders.to(device), nodes)
        module = espmm.TensorProductConv(p)
        ours_of = lambda a, b, v: module(a, b, v, graph)  # noqa: E731
    exact = gradient_of_weights(reference(p), *(t.double() for t in (x, y, w, gz)))
    # What e3nn gives for each row in float32, summed pairwise.
    tp = e3nn_product(p).float()
    pairwise = torch.func.vmap(lambda a, b, g: torch.func.vjp(lambda v: tp(a[None], b[None], v)[0], w)[1](g)[0])(x, y, gz)
    while len(pairwise) > 1:
        if len(pairwise) % 2:
            pairwise = torch.cat([pairwise, torch.zeros_like(pairwise[:1])])
        pairwise = pairwise[0::2] + pairwise[1::2]
    inputs = [t.to(device) for t in ((features, y, w, of_nodes) if conv else (x, y, w, gz))]
    ours = gradient_of_weights(ours_of, *inputs)
    # Most of it is what each row's term is rounded by, which is not the same where the term's factors are multiplied in another order.
    assert relative_error(ours.cpu(), exact) <= 1.02 * relative_error(pairwise[0], exact)
    for _ in range(9):
        assert torch.equal(gradient_of_weights(ours_of, *inputs), ours)


def test_a_gradient_over_many_rows_is_the_same_on_any_number_of_threads(library):
    p = problem("uvw", torch.float32)
    module, inputs = espmm.TensorProduct(p), many_rows(p)
    before = espmm.get_num_threads()
    try:
        gradients = []
        for threads in (1, 2, 3):
            espmm.set_num_threads(threads)
            gradients.append(gradient_of_weights(module, *inputs))
    finally:
        espmm.set_num_threads(before)
    assert torch.equal(gradients[0], gradients[1]) and torch.equal(gradients[0], gradients[2])


MATRICES = espmm.fully_connected_problem("20x0e+12x1o", "0e+1o", "24x0e+10x1o", shared_weights=True, internal_weights=False)


@contextlib.contextmanager
def matmul_precision(precision: str):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def test_tf32_is_for_those_who_ask_torch_for_it():
    """A module's program for a GPU, by torch's own setting; one whose schedule says what it multiplies with keeps that."""
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    modules = {
        "float32": espmm.TensorProduct(MATRICES),
        "given": espmm.TensorProduct(MATRICES, schedule={"products": 1}),
        "float64": espmm.TensorProduct(MATRICES.replace(irrep_dtype="float64", weight_dtype="float64")),
        "by row": espmm.TensorProduct(MATRICES.replace(shared_weights=False)),
    }
    schedules = {name: module._program_for(gpu).schedule for name, module in modules.items()}
    assert schedules == {"float32": {}, "given": {"products": 1}, "float64": {}, "by row": {}}
    with matmul_precision("high"):
        tf32 = {name: module._program_for(gpu).schedule for name, module in modules.items()}
        assert tf32 == {**schedules, "float32": {"products": 2}}
        assert modules["float32"]._program_for(cpu).schedule == {}
    assert modules["float32"]._program_for(gpu).schedule == {}


@pytest.mark.cuda
@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
def test_matrices_are_exact_unless_tf32_is_allowed(layout, poisoned, library):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    p = MATRICES.replace(layout=layout)
    for dtype in (torch.float32, torch.float64):
        of_dtype = p.replace(irrep_dtype=dtype, weight_dtype=dtype)
        for products in (1, 3):
            tp = espmm.TensorProduct(of_dtype, schedule={"products": products})
            check_against(tp, reference(of_dtype), random_inputs(of_dtype, 170), dtype, "cuda", order=3)
    x, y, w = random_inputs(p, 170)
    exact = reference(p)(x, y, w)
    module = espmm.TensorProduct(p)
    run = lambda: relative_error(module(*(t.float().cuda() for t in (x, y, w))), exact)  # noqa: E731
    assert run() < 2e-6
    with matmul_precision("high"):
        assert 1e-5 < run() < 1e-3
    assert run() < 2e-6


def test_internal_weights_are_a_parameter_with_e3nns_name(library):
    with default_dtype(torch.float64):
        theirs = o3.FullyConnectedTensorProduct("12x0e+7x1o", "0e+1o", "20x0e+9x1o")
    p = espmm.TPProblem.from_e3nn(theirs, irrep_dtype="float64", weight_dtype="float64")
    ours = espmm.TensorProduct(p)
    assert [name for name, _ in ours.named_parameters()] == ["weight"]
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x, y = (torch.randn(5, irreps.dim, dtype=torch.float64) for irreps in (theirs.irreps_in1, theirs.irreps_in2))
    torch.testing.assert_close(ours(x, y), theirs(x, y), rtol=1e-12, atol=1e-12)
    gz = torch.randn(5, theirs.irreps_out.dim, dtype=torch.float64)
    ours(x, y).backward(gz)
    theirs(x, y).backward(gz)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-12, atol=1e-12)
