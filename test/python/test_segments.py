"""Long nodes cut into segments: the plan's arrays, the sum of a node's segments, and products on uneven graphs."""

from __future__ import annotations

import espmm
import pytest
import torch
from espmm.graph import build_side
from espmm.plan import SIDES
from espmm.segments import cut, fold, longest_segment
from helpers import check_against, random_inputs, reference_conv
from hypothesis import given
from hypothesis import strategies as st

PROBLEM = espmm.TPProblem(
    "32x0e+17x1o", "0e+1o", "32x0e+17x0e+32x1o+17x1o",
    [(0, 0, 0, "uvu", True), (1, 1, 1, "uvu", True), (0, 1, 2, "uvu", True), (1, 0, 3, "uvu", True)],
    shared_weights=False, internal_weights=False,
)  # fmt: skip


def uneven_graph(degrees: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    receivers = torch.arange(len(degrees)).repeat_interleave(torch.tensor(degrees))
    receivers = receivers[torch.randperm(len(receivers), generator=generator)]
    return receivers, torch.randint(len(degrees), receivers.shape, generator=generator)


def group(index: torch.Tensor, other: torch.Tensor, nodes: int) -> tuple:
    """Offsets of the nodes, the order of the edges, their other ends."""
    return build_side(index, other, nodes, nodes, SIDES)[:3]


@given(st.lists(st.integers(0, 90), min_size=1, max_size=12), st.integers(1, 40), st.booleans(), st.integers(0, 99))
def test_segments_have_the_edges_of_their_nodes(degrees, limit, is_sorted, seed):
    receivers, senders = uneven_graph(degrees, seed)
    if is_sorted:
        receivers = receivers.sort().values
    segments = cut(*group(receivers, senders, len(degrees)), limit)
    bounds = segments.offsets.tolist()
    assert bounds[0] == 0 and bounds[-1] == len(receivers) and len(bounds) == segments.count + 1
    assert segments.nodes[: len(degrees)].tolist() == list(range(len(degrees)))
    assert segments.count == sum(max(1, -(-d // limit)) for d in degrees)
    assert sorted(segments.order.tolist()) == list(range(len(receivers)))
    assert torch.equal(segments.other, senders[segments.order.long()].int())
    for begin, end, node in zip(bounds, bounds[1:], segments.nodes.tolist()):
        assert end - begin <= limit
        edges = segments.order[begin:end].long()
        assert (receivers[edges] == node).all() and (edges.diff() > 0).all()


def test_a_node_has_the_sum_of_its_segments():
    degrees = [5, 0, 23, 1, 11]
    receivers, senders = uneven_graph(degrees)
    segments = cut(*group(receivers, senders, len(degrees)), limit=4)
    values = torch.randn(len(receivers), 3, dtype=torch.float64)
    owner = torch.arange(segments.count).repeat_interleave(segments.offsets.diff())
    result = torch.zeros(segments.count, 3, dtype=torch.float64).index_add_(0, owner, values[segments.order.long()])
    fold(result, segments)
    expected = torch.zeros(len(degrees), 3, dtype=torch.float64).index_add_(0, receivers, values)
    assert result.shape == expected.shape and not result._is_view()
    torch.testing.assert_close(result, expected)


def test_segments_of_narrow_rows_are_added_in_float32():
    """256 + 1 + 1 + 1 is 256 if each sum is a bfloat16, of which the one after 256 is 258."""
    segments = cut(*group(torch.zeros(8, dtype=torch.int64), torch.zeros(8, dtype=torch.int64), 1), 2)
    result = torch.tensor([[256.0], [1.0], [1.0], [1.0]], dtype=torch.bfloat16)
    fold(result, segments)
    assert result.dtype == torch.bfloat16 and result.tolist() == [[260.0]]  # 259 lies between 258 and 260; 260 is the even one


def test_even_graphs_are_not_cut():
    assert longest_segment(0, 0, 0) is None
    assert longest_segment(158_000, 1000, 158) is None
    assert longest_segment(158_000, 1000, 400) is None
    assert longest_segment(30, 10, 60) is None  # short enough for a warp
    assert longest_segment(20_000, 10_000, 10_000) == 32
    assert longest_segment(158_000, 1000, 10_000) == 237


@pytest.mark.cuda
@pytest.mark.parametrize("deterministic", [False, True], ids=["atomic", "deterministic"])
def test_uneven_graphs(deterministic, poisoned, library):
    """One node with more edges than all others together, some with none; unsorted edges, every order of derivative."""
    degrees = [0, 1, 3000, 2, 0, 1, 70, 1, 0, 40] + [1, 2] * 40
    receivers, senders = uneven_graph(degrees)
    nodes = len(degrees)
    graph = espmm.Graph(receivers.cuda(), senders.cuda(), nodes)
    assert graph.segments("receivers") is not None
    conv = espmm.TensorProductConv(PROBLEM, deterministic=deterministic)
    inputs = random_inputs(PROBLEM, len(receivers), nodes)
    check_against(
        lambda x, y, w: conv(x, y, w, graph),
        reference_conv(PROBLEM, receivers, senders, nodes), inputs, torch.float32, "cuda", order=2,
    )  # fmt: skip
    # Hubs among the senders: gx is summed along their side when deterministic.
    check_against(
        lambda x, y, w: conv(x, y, w, espmm.Graph(senders.cuda(), receivers.cuda(), nodes)),
        reference_conv(PROBLEM, senders, receivers, nodes), inputs, torch.float32, "cuda", order=1,
    )  # fmt: skip


@pytest.mark.cuda
def test_uneven_graphs_give_the_same_bits(library):
    degrees = [0, 5000, 3] + [4] * 50
    receivers, senders = (t.cuda() for t in uneven_graph(degrees))
    conv = espmm.TensorProductConv(PROBLEM, deterministic=True)
    x, y, w = (t.float().cuda().requires_grad_() for t in random_inputs(PROBLEM, len(receivers), len(degrees)))
    graph = espmm.Graph(receivers, senders, len(degrees))

    def run():
        z = conv(x, y, w, graph)
        return (z.detach(), *torch.autograd.grad(z.square().sum(), (x, y, w)))

    first = run()
    for _ in range(5):
        assert all(torch.equal(a, b) for a, b in zip(run(), first))
