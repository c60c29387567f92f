"""Memory: inputs, outputs, gradients and the plan are all there is, and a little."""

from __future__ import annotations

import espmm
import pytest
import torch
from espmm import _capi
from espmm.kernel import programs_up_to
from espmm.problems import NAMED, named_problem
from helpers import random_edges

MORE = 64 << 20


@pytest.mark.parametrize("name", NAMED)
def test_scratch_is_small(name, library):
    """1000 nodes with 158 neighbours each; what a launch asks for besides its arguments and results."""
    for order, program in enumerate(programs_up_to(named_problem(name), True, 2)):
        executable = _capi.Executable(program.text, program.pipeline("cuda:sm_90"))
        scratch = executable.scratch(_capi.Sizes(158_000, 1000, 1000))
        assert scratch <= MORE, f"order {order}: {scratch >> 20} MiB"


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["mace-large", "nequip-lips"])
def test_peak_of_forward_and_backward(name, library):
    problem = named_problem(name)
    nodes, edges = 1000, 40_000
    conv = espmm.TensorProductConv(problem)
    graph = espmm.Graph(*(t.cuda() for t in random_edges(nodes, edges)), nodes)
    graph.side("senders")
    shapes = ((nodes, problem.irreps_in1.dim), (edges, problem.irreps_in2.dim), (edges, problem.weight_numel))
    inputs = [torch.randn(shape, device="cuda", requires_grad=True) for shape in shapes]
    gz = torch.randn(nodes, problem.irreps_out.dim, device="cuda")
    messages = 4 * edges * problem.irreps_out.dim
    assert messages > MORE, "the graph is too small for the test to tell"
    for turn in range(2):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        z = conv(*inputs, graph)
        gradients = torch.autograd.grad(z, inputs, gz)
        torch.cuda.synchronize()
        more = torch.cuda.max_memory_allocated() - before
        kept = sum(t.numel() * t.element_size() for t in (z, *gradients))
        print(f"{name}: {more >> 20} MiB, of which outputs and gradients {kept >> 20} MiB")
        assert more - kept <= MORE, f"turn {turn}: {(more - kept) >> 20} MiB besides outputs and gradients"
        del z, gradients
