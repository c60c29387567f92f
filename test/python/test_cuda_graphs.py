"""Streams and CUDA graphs: whole training steps are captured and replayed, and nothing waits for the device."""

from __future__ import annotations

import espmm
import pytest
import torch
from espmm import every_path_problem
from helpers import random_edges, random_inputs, relative_error

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("library")]

#: Channels that no slab divides, so that there are tiles and rests of all kinds.
PROBLEM = every_path_problem("40x0e+33x1o", "0e+1o", "0e+1o", irrep_dtype="float64", weight_dtype="float64")
EDGES, NODES = 900, 70


class Step:
    """Forward, backward and double backward of a convolution, on tensors that stay where they are."""

    def __init__(self, deterministic: bool = False, problem=PROBLEM) -> None:
        self.conv = espmm.TensorProductConv(problem, deterministic=deterministic)
        self.graph = espmm.Graph(*(t.cuda() for t in random_edges(NODES, EDGES)), NODES)
        self.graph.side("senders")
        z = torch.zeros(NODES, problem.irreps_out.dim, dtype=torch.float64)
        self.tensors = [t.cuda().requires_grad_() for t in (*random_inputs(problem, EDGES, NODES), z)]
        self.fill(0)

    def fill(self, seed: int) -> None:
        """New values, by copies on the current stream."""
        generator = torch.Generator("cuda").manual_seed(seed)
        with torch.no_grad():
            for tensor in self.tensors:
                tensor.copy_(torch.randn(tensor.shape, dtype=tensor.dtype, device="cuda", generator=generator))

    def __call__(self) -> list[torch.Tensor]:
        x, y, w, gz = self.tensors
        z = self.conv(x, y, w, self.graph)
        first = torch.autograd.grad(z, (x, y, w), gz, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), (x, y, w, gz))
        return [z, *first, *second]


def assert_same(got: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    assert len(got) == len(expected) == 8
    for a, b in zip(got, expected):
        assert relative_error(a, b) < 1e-12


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_step_is_captured_and_replayed(deterministic):
    step = Step(deterministic)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        results = step()
    for seed in (1, 2, 3):
        step.fill(seed)
        for result in results:
            result.detach().fill_(float("nan"))
        captured.replay()
        assert_same(results, step())
        if deterministic:
            once = [result.detach().clone() for result in results]
            captured.replay()
            assert all(torch.equal(a, b) for a, b in zip(results, once))


def test_a_program_is_met_first_while_capturing():
    """No launch before: it compiles, and loads, while the stream is being captured."""
    step = Step(problem=PROBLEM.replace(layout="ir_mul"))
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured), torch.no_grad():
        z = step.conv(*step.tensors[:3], step.graph)
    step.fill(5)
    captured.replay()
    assert relative_error(z, step.conv(*step.tensors[:3], step.graph)) < 1e-12


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_step_stays_on_its_stream(deterministic):
    """Inputs come late on another stream; whatever ran on the legacy stream would see the old ones."""
    step = Step(deterministic)
    step()
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)
        step.fill(7)
        results = step()
    stream.synchronize()
    torch.cuda.synchronize()
    assert_same(results, step())


def test_nothing_waits_for_the_device():
    step = Step()
    step()
    torch.cuda.synchronize()
    torch.cuda._sleep(400_000_000)  # some 0.2 s
    asleep = torch.cuda.Event()
    asleep.record()
    torch.cuda.set_sync_debug_mode("error")
    try:
        results = step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert not asleep.query(), "the host has waited for the device"
    torch.cuda.synchronize()
    assert_same(results, step())
