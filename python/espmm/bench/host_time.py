"""Microseconds of the host for an eager call, forward and backward, on a system so small that kernels take next to none.

The last rows are of an `autograd.Function` that only allocates its results: what torch itself takes for as many tensors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch

from ..graph import Graph
from ..modules import TensorProduct, TensorProductConv
from ..problems import every_path_problem
from .measure import Setting

NODES, EDGES = 4, 8
#: Calls between two looks at the clock: few, so that some of the rounds meet nobody else on the processor.
_CALLS = 20


class _Nothing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, *tensors):
        ctx.save_for_backward(*tensors)
        return torch.empty_like(z)

    @staticmethod
    def backward(ctx, cotangent):
        return None, *map(torch.empty_like, ctx.saved_tensors)


def calls(setting: Setting) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is measured, by name. Leaves are parameters, say; inside of a model a layer's tensors are results of others."""
    dtype = str(setting.dtype).removeprefix("torch.")
    options = {"layout": setting.layout, "irrep_dtype": dtype, "weight_dtype": dtype}
    problem = every_path_problem("4x0e+4x1o", "0e+1o", "4x0e+4x1o", **options)
    conv = TensorProductConv(problem, setting.deterministic).to(setting.device)
    product = TensorProduct(problem).to(setting.device)
    generator = torch.Generator().manual_seed(0)

    def random(rows: int, width: int) -> torch.Tensor:
        return torch.randn(rows, width, generator=generator).to(setting.device, setting.dtype)

    in1, in2, out = problem.irreps_in1.dim, problem.irreps_in2.dim, problem.irreps_out.dim
    x, y, w, z = random(NODES, in1), random(EDGES, in2), random(EDGES, problem.weight_numel), random(NODES, out)
    x_by_row, z_by_row = random(EDGES, in1), random(EDGES, out)
    receivers, senders = torch.randint(NODES, (2, EDGES), generator=generator).to(setting.device)
    graph = Graph(receivers, senders, NODES)
    graph.side("senders")
    leaves = [t.requires_grad_() for t in (x, y, w)]
    inner = [t * 1 for t in leaves]
    by_row = [x_by_row.requires_grad_() * 1, *inner[1:]]

    def gradients(
        forward: Callable[..., torch.Tensor], tensors: list[torch.Tensor], cotangent: torch.Tensor
    ) -> Callable[[], object]:
        return lambda: torch.autograd.grad(forward(*tensors), tensors, cotangent)

    def of_edges(*tensors: torch.Tensor) -> torch.Tensor:
        return conv(*tensors, receivers, senders)

    def of_graph(*tensors: torch.Tensor) -> torch.Tensor:
        return conv(*tensors, graph)

    def of_torch(*tensors: torch.Tensor) -> torch.Tensor:
        return _Nothing.apply(z, *tensors)

    @torch.no_grad()
    def no_gradients() -> None:
        of_edges(*inner)

    yield "conv, no gradients", no_gradients
    yield "conv, forward", lambda: of_edges(*inner)
    yield "conv, forward and backward", gradients(of_edges, inner, z)
    yield "conv by a Graph, forward and backward", gradients(of_graph, inner, z)
    yield "conv on leaves, forward and backward", gradients(of_edges, leaves, z)
    yield "product, forward and backward", gradients(product, by_row, z_by_row)
    yield "torch alone, forward", lambda: of_torch(*inner)
    yield "torch alone, forward and backward", gradients(of_torch, inner, z)
    yield "torch alone on leaves, forward and backward", gradients(of_torch, leaves, z)


def measure_all(setting: Setting) -> list[dict[str, object]]:
    """For each call `us`, the least of many rounds: what the host takes when it is not interrupted."""
    from tqdm import tqdm

    figures: list[dict[str, object]] = []
    for name, call in tqdm(list(calls(setting)), desc="host", unit="call", leave=False):
        for _ in range(3 * _CALLS):
            call()  # compiles
        figures.append({"call": name, "us": 1e6 * _least(call, setting)})
    return figures


def _least(call: Callable[[], object], setting: Setting) -> float:
    """Seconds a call; kernels are waited for between rounds only."""
    least, end = float("inf"), time.perf_counter() + setting.budget_s
    while True:
        if setting.device.type == "cuda":
            torch.cuda.synchronize(setting.device)
        before = time.perf_counter()
        for _ in range(_CALLS):
            call()
        now = time.perf_counter()
        least = min(least, (now - before) / _CALLS)
        if now >= end:
            return least
