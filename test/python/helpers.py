"""Products, graphs and references that several test files share."""

from __future__ import annotations

import contextlib
from typing import Callable, Iterator, Sequence

import torch
from e3nn import o3
from espmm import Graph, Irreps, TensorProduct, TensorProductConv, TPProblem

#: Relative error (norm) that counts as right. Of types that are of storage only it is that of rounding once, by at most 2^-8 and 2^-11: 0.41 times that where
#: numbers are many, more where a few that are just above a power of 2 make up the norm.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 0.75 * 2**-8, torch.float16: 0.75 * 2**-11}


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def e3nn_product(problem: TPProblem) -> o3.TensorProduct:
    """e3nn's product in float64, coefficients included, by path weights that give the problem's coefficients."""
    with default_dtype(torch.float64):
        return o3.TensorProduct(
            str(problem.irreps_in1),
            str(problem.irreps_in2),
            str(problem.irreps_out),
            [(*ins[:5], ins.path_weight**2) for ins in problem.instructions],
            irrep_normalization="none",
            path_normalization="none",
            shared_weights=problem.shared_weights,
            internal_weights=False,
        )


def unshared_problem(args: tuple, dtype: torch.dtype, layout: str = "mul_ir") -> TPProblem:
    """A problem from (irreps_in1, irreps_in2, irreps_out, instructions), with weights by row, all of one dtype."""
    name = str(dtype).removeprefix("torch.")
    return TPProblem(*args, shared_weights=False, internal_weights=False, irrep_dtype=name, weight_dtype=name, layout=layout)


def to_mul_ir(array: torch.Tensor, irreps: Irreps) -> torch.Tensor:
    """A tensor in layout ir_mul in e3nn's layout; differentiable."""
    return _turned(array, irreps, lambda block, mul, dim: block.reshape(len(block), dim, mul).transpose(1, 2))


def to_ir_mul(array: torch.Tensor, irreps: Irreps) -> torch.Tensor:
    return _turned(array, irreps, lambda block, mul, dim: block.reshape(len(block), mul, dim).transpose(1, 2))


def _turned(array: torch.Tensor, irreps: Irreps, turn: Callable) -> torch.Tensor:
    parts = [turn(array[:, where], mul, ir.dim).reshape(len(array), -1) for where, (mul, ir) in zip(irreps.slices(), irreps)]
    return torch.cat(parts, 1) if parts else array


def reference(problem: TPProblem) -> Callable[..., torch.Tensor]:
    """tp(x, y, w), or tp(x, y) without weights, by e3nn in float64, in the problem's layout."""
    tp = e3nn_product(problem)
    if problem.layout == "mul_ir":
        return tp
    in1, in2, out = problem.irreps_in1, problem.irreps_in2, problem.irreps_out
    return lambda x, y, *w: to_ir_mul(tp(to_mul_ir(x, in1), to_mul_ir(y, in2), *w), out)


def reference_conv(
    problem: TPProblem, receivers: torch.Tensor, senders: torch.Tensor, nodes: int
) -> Callable[..., torch.Tensor]:
    """conv(x, y, w) by gather, e3nn's product and index_add, in float64."""
    tp = reference(problem)

    def conv(x: torch.Tensor, y: torch.Tensor, *w: torch.Tensor) -> torch.Tensor:
        if len(receivers) == 0:
            return x.new_zeros(nodes, problem.irreps_out.dim)
        messages = tp(x[senders.long()], y, *w)
        return messages.new_zeros(nodes, messages.shape[1]).index_add(0, receivers.long(), messages)

    return conv


def relative_error(got: torch.Tensor, expected: torch.Tensor) -> float:
    got, expected = got.detach().double().cpu(), expected.detach().double().cpu()
    assert got.shape == expected.shape
    assert torch.isfinite(got).all(), "not finite: something was not written"
    scale = expected.norm()
    return float((got - expected).norm() / scale) if scale > 0 else float(got.norm())


def derivatives(
    function: Callable[..., torch.Tensor],
    inputs: Sequence[torch.Tensor],
    order: int,
    seed: int = 7,
    dtype: torch.dtype = torch.float64,
) -> list[torch.Tensor]:
    """The result and all derivatives up to an order, each given random cotangents of all of the order before.

    Cotangents are numbers of ``dtype``. Order n differentiates with respect to the inputs and to every cotangent used so far, as ``espmm.compile`` does.
    """
    generator = torch.Generator().manual_seed(seed)
    variables = list(inputs)
    results = [function(*inputs)]
    everything = list(results)
    for level in range(order):
        cotangents = [
            torch.randn(t.shape, generator=generator, dtype=torch.float64).to(dtype).to(t).requires_grad_(level + 1 < order)
            for t in results
        ]
        results = list(torch.autograd.grad(results, variables, cotangents, create_graph=level + 1 < order))
        variables += cotangents
        everything += results
    return everything


def random_inputs(problem: TPProblem, rows: int, nodes: int | None = None, seed: int = 0) -> list[torch.Tensor]:
    """x, y, w in float64 on the CPU, no w if the product has no weights; x has a row a node for a convolution."""
    generator = torch.Generator().manual_seed(seed)
    weight_rows = (1,) if problem.shared_weights else (rows,)
    shapes = [(rows if nodes is None else nodes, problem.irreps_in1.dim), (rows, problem.irreps_in2.dim)]
    shapes.append(weight_rows[:0] + (problem.weight_numel,) if problem.shared_weights else (rows, problem.weight_numel))
    shapes = shapes if problem.weight_numel else shapes[:2]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def random_edges(
    nodes: int, edges: int, seed: int = 0, index: torch.dtype = torch.int64
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unsorted, asymmetric edges with parallel ones, among all but the last two nodes, which stay isolated."""
    generator = torch.Generator().manual_seed(seed)
    used = max(nodes - 2, 1)
    receivers = torch.randint(used, (edges,), generator=generator)
    senders = torch.randint(used, (edges,), generator=generator) ** 2 % used
    return receivers.to(index), senders.to(index)


def check_against(
    function: Callable[..., torch.Tensor],
    expected: Callable[..., torch.Tensor],
    inputs: Sequence[torch.Tensor],
    dtype: torch.dtype,
    device: str,
    order: int,
) -> None:
    """Compares a function and its derivatives up to an order with a reference on the same numbers, rounded to ``dtype``."""
    rounded = [t.to(dtype) for t in inputs]
    ours = derivatives(function, [t.to(device).requires_grad_() for t in rounded], order, dtype=dtype)
    theirs = derivatives(expected, [t.double().requires_grad_() for t in rounded], order, dtype=dtype)
    assert len(ours) == len(theirs)
    for number, (a, b) in enumerate(zip(ours, theirs)):
        error = relative_error(a, b)
        assert a.dtype == dtype
        if dtype in (torch.bfloat16, torch.float16):
            # What was computed with more digits is the exact result, rounded, in nearly all elements.
            others = int((a.detach().cpu() != b.detach().to(dtype)).sum())
            assert others <= 2 + 0.01 * a.numel(), f"result {number} of order up to {order}: {others} of {a.numel()} elements are not rounded once"
        assert error <= TOLERANCE[dtype], f"result {number} of order up to {order}: relative error {error:.2e}"


def check_batch(problem: TPProblem, dtype: torch.dtype, device: str, order: int, rows: int = 43) -> None:
    """espmm.TensorProduct against e3nn, with derivatives up to an order."""
    check_against(TensorProduct(problem), reference(problem), random_inputs(problem, rows), dtype, device, order)


def check_convolution(
    problem: TPProblem, dtype: torch.dtype, device: str, order: int = 2, nodes: int = 11, edges: int = 90, deterministic: bool = False
) -> None:
    """espmm.TensorProductConv on a random graph against gather, e3nn's product and index_add."""
    receivers, senders = random_edges(nodes, edges)
    conv, graph = TensorProductConv(problem, deterministic=deterministic), Graph(receivers.to(device), senders.to(device), nodes)

    def run(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor | None = None) -> torch.Tensor:
        return conv(x, y, w, graph)

    expected = reference_conv(problem, receivers, senders, nodes)
    check_against(run, expected, random_inputs(problem, edges, nodes), dtype, device, order)
