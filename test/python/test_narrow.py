"""bfloat16 and float16 as types of storage: each result and gradient is e3nn's in float64 on the same numbers, rounded once."""

from __future__ import annotations

import espmm
import pytest
import test_modes
import test_shared_weights
import torch
from espmm import ProblemError, TPProblem, every_path_problem, launch
from helpers import (
    TOLERANCE, check_batch, check_convolution, derivatives, random_edges, random_inputs, reference, reference_conv, relative_error,
)  # fmt: skip

NARROW = [torch.bfloat16, torch.float16]

SLABS = {
    "whole vectors": ("64x0e+32x1o+32x2e", "0e+1o+2e+3o", "0e+1o+2e"),
    "tails": ("40x0e+6x1o+18x2e", "1o+0e+2e", "0e+1o+2e"),
    "odd rows": ("17x0e+5x1o+1x2e", "0e+1o+2e", "0e+1o+2e"),
}


def slabs(name: str, dtype: torch.dtype, layout: str = "mul_ir") -> TPProblem:
    return every_path_problem(*SLABS[name], irrep_dtype=dtype, weight_dtype=dtype, layout=layout)


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("name", SLABS)
def test_batch(name, dtype, layout, device, poisoned):
    check_batch(slabs(name, dtype, layout), dtype, device, order=2)


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("name", SLABS)
def test_convolution(name, dtype, layout, device, poisoned):
    check_convolution(slabs(name, dtype, layout), dtype, device)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_third_derivatives(dtype, device, poisoned):
    check_batch(slabs("tails", dtype), dtype, device, order=3)
    check_convolution(slabs("tails", dtype), dtype, device, order=3)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_sums_in_a_fixed_order(dtype, device, poisoned):
    check_convolution(slabs("tails", dtype), dtype, device, deterministic=True)


@pytest.mark.parametrize("conv", [False, True], ids=["batch", "conv"])
@pytest.mark.parametrize("name", test_modes.PROBLEMS)
def test_every_mode(name, conv, device, poisoned):
    dtype = NARROW[conv]
    p = test_modes.problem(name, dtype, "ir_mul" if conv else "mul_ir")
    check_convolution(p, dtype, device) if conv else check_batch(p, dtype, device, order=2, rows=19)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("name", test_shared_weights.PROBLEMS)
def test_shared_weights_of(name, dtype, device, poisoned):
    p = test_shared_weights.problem(name, dtype)
    check_batch(p, dtype, device, order=2, rows=170)
    check_convolution(p, dtype, device, edges=290)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_a_gradient_that_many_rows_share(dtype, device):
    """The sum over 20,000 rows is one of float32: in the type of storage it would lose nearly all of them."""
    p = test_shared_weights.problem("uvu", dtype)
    x, y, w = (t.to(dtype) for t in random_inputs(p, 20_000))
    x, y = x.abs(), y.abs()
    gz = torch.rand(20_000, p.irreps_out.dim, generator=torch.Generator().manual_seed(1)).to(dtype)
    gz = gz / 4096 if dtype == torch.float16 else gz
    w.requires_grad_()
    (got,) = torch.autograd.grad(espmm.TensorProduct(p)(x.to(device), y.to(device), w.to(device)), w, gz.to(device))
    exact = w.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(reference(p)(x.double(), y.double(), exact), exact, gz.double())
    assert relative_error(got, expected) <= TOLERANCE[dtype]


def test_weights_may_be_of_another_type(device, poisoned):
    p = every_path_problem(*SLABS["tails"], irrep_dtype="bfloat16", weight_dtype="float32")
    receivers, senders = random_edges(11, 90)
    dtypes = (torch.bfloat16, torch.bfloat16, torch.float32)
    rounded = [t.to(dtype) for t, dtype in zip(random_inputs(p, 90, 11), dtypes)]
    graph = espmm.Graph(receivers.to(device), senders.to(device), 11)
    conv = espmm.TensorProductConv(p)
    ours = derivatives(lambda *args: conv(*args, graph), [t.to(device).requires_grad_() for t in rounded], 1, dtype=torch.bfloat16)
    theirs = derivatives(reference_conv(p, receivers, senders, 11), [t.double().requires_grad_() for t in rounded], 1, dtype=torch.bfloat16)
    assert [t.dtype for t in ours] == [torch.bfloat16, *dtypes]
    for a, b in zip(ours, theirs):
        assert relative_error(a, b) <= TOLERANCE[a.dtype]


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_numbers_at_the_ends_of_the_range(dtype, device):
    """What is too large for the type of storage is infinite there and not before; what is small is not flushed; what is no number stays none."""
    p = every_path_problem("32x0e", "0e", "0e", irrep_dtype=dtype, weight_dtype=dtype)
    info, product = torch.finfo(dtype), espmm.TensorProduct(p)
    assert p.instructions[0].path_weight == 1.0

    def run(x: float, y: float, w: float) -> torch.Tensor:
        rows = [torch.full((3, n), value, dtype=dtype, device=device) for n, value in zip((32, 1, 32), (x, y, w))]
        z = product(*rows)
        assert torch.equal(z.view(torch.int16), z.view(torch.int16)[:1, :1].expand_as(z))
        return z[0, 0]

    assert run(info.max, 2.0, 1.0) == float("inf")
    assert run(-info.max, 2.0, 1.0) == -float("inf")
    assert run(info.max, 2.0, 0.5) == info.max  # float32 in between: float16 would have overflowed there
    assert run(float("inf"), 1.0, 1.0) == float("inf")
    assert torch.isnan(run(float("nan"), 1.0, 1.0)) and torch.isnan(run(float("inf"), 0.0, 1.0))
    smallest = info.smallest_normal * info.eps
    assert run(smallest, 1.0, 1.0) == smallest and run(1.0, smallest, 1.0) == smallest and run(info.smallest_normal, 0.5, 1.0) == info.smallest_normal / 2
    # Of two that are as near, the even one.
    assert run(1.0 + info.eps, 1.0, 1.0) == 1.0 + info.eps
    assert run(1.0 + info.eps, 1.5, 1.0) == (torch.tensor(1.5 * (1 + info.eps), dtype=torch.float64).to(dtype))


def test_a_node_with_very_many_edges(device, poisoned):
    """A GPU cuts its edges into segments, whose sums are rounded, and their sum again."""
    p = every_path_problem("32x0e+32x1o", "0e+1o", "0e+1o", irrep_dtype="bfloat16")
    receivers = torch.cat([torch.zeros(2000, dtype=torch.int64), torch.arange(50)])
    senders = torch.arange(2050) % 50
    rounded = [t.bfloat16() for t in random_inputs(p, 2050, 50)]
    got = espmm.TensorProductConv(p)(*(t.to(device) for t in rounded), receivers.to(device), senders.to(device))
    assert relative_error(got, reference_conv(p, receivers, senders, 50)(*(t.double() for t in rounded))) <= 2 * TOLERANCE[torch.bfloat16]


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_modules_follow_and_keep_the_dtype(dtype, device):
    module = espmm.TensorProduct(TPProblem("8x0e+8x1o", "1x0e+1x1o", "8x0e+8x1o", [(0, 0, 0, "uvw", True), (1, 1, 0, "uvw", True), (0, 1, 1, "uvw", True)])).to(device)
    module.to(dtype)
    name = str(dtype).removeprefix("torch.")
    assert module.problem.irrep_dtype == module.problem.weight_dtype == name and module.weight.dtype == dtype
    x, y = (torch.randn(5, n, device=device).to(dtype).requires_grad_() for n in (32, 4))
    z = module(x, y)
    z.sum().backward()
    assert {t.dtype for t in (z, x.grad, y.grad, module.weight.grad)} == {dtype}
    with pytest.raises(TypeError, match=f"expected x to be {dtype}"):
        module(x.float(), y)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_compiled_by_torch(dtype, operators):
    p = slabs("tails", dtype)
    x, y, w = (t.to(dtype).requires_grad_() for t in random_inputs(p, 12))
    product = espmm.TensorProduct(p)
    expected = product(x, y, w)
    got = torch.compile(product, fullgraph=True, backend="aot_eager")(x, y, w)
    assert got.dtype == dtype and torch.equal(got, expected)
    assert torch.equal(*(torch.autograd.grad(z.float().square().sum(), x)[0] for z in (got, expected)))


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_arrays_without_torch_modules(dtype, library):
    p = slabs("tails", dtype)
    x, y, w = (t.to(dtype) for t in random_inputs(p, 12))
    kernel = espmm.compile(p)
    assert torch.equal(kernel(x, y, w), espmm.TensorProduct(p)(x, y, w))
    with pytest.raises(TypeError, match=f"expected x to be {str(dtype)[6:]}, got float32"):
        kernel(x.float(), y, w)


@pytest.mark.parametrize("given", ["float8_e4m3fn", "int8", torch.float8_e5m2, "bf8"])
def test_other_types_are_refused(given):
    with pytest.raises(ProblemError, match="expected irrep_dtype to be 'float32', 'float64', 'bfloat16' or 'float16'"):
        every_path_problem("2x0e", "0e", "0e", irrep_dtype=given)


def test_types_that_are_computed_with_differently_do_not_mix(library):
    p = every_path_problem("2x0e", "0e", "0e", irrep_dtype="bfloat16", weight_dtype="float64")
    with pytest.raises(ProblemError, match="both computed with in float32, got weight_dtype = float64 and irrep_dtype = bfloat16"):
        espmm.TensorProduct(p)


@pytest.mark.parametrize("dtype", [*NARROW, torch.float32], ids=str)
def test_nothing_is_written_behind_a_result(dtype, device, monkeypatch):
    """Vectors' last stores are masked, of 16-bit numbers too: after each buffer lies what no kernel writes."""
    buffers = []

    def allocate(shape, dtype, device):
        size = torch.Size(shape).numel()
        buffer = torch.empty(size + 64, dtype=dtype, device=device)
        buffer.view(torch.uint8).fill_(0x5A)
        buffers.append(buffer[size:].view(torch.uint8))
        return buffer[:size].view(shape)

    monkeypatch.setattr(launch, "allocate", allocate)
    for irreps in ("17x0e+5x1o+1x2e", "1x0e+1x1o", "33x1o+1x0e"):
        for layout in ("mul_ir", "ir_mul"):
            p = every_path_problem(irreps, "0e+1o", "0e+1o+2e", irrep_dtype=dtype, weight_dtype=dtype, layout=layout)
            x, y, w = (t.to(device, dtype).requires_grad_() for t in random_inputs(p, 19, 7))
            edges = [t.to(device) for t in random_edges(7, 19)]
            for z in (espmm.TensorProductConv(p)(x, y, w, *edges), espmm.TensorProduct(p)(x[edges[1]], y, w)):
                gradients = torch.autograd.grad(z.square().sum(), (x, y, w), create_graph=True)
                torch.autograd.grad(sum(g.square().sum() for g in gradients), (x, y, w))
    assert len(buffers) > 60 and all((b == 0x5A).all() for b in buffers)
