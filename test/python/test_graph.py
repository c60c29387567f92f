"""Graphs: the plan's arrays on both devices, what is refused, and the cache behind the caller."""

from __future__ import annotations

import copy
import gc
import pickle

import numpy as np
import pytest
import torch
from espmm import Graph, HostPlan
from espmm import graph as module
from espmm.graph import clear_graph_cache, graph_of
from helpers import random_edges
from hypothesis import given
from hypothesis import strategies as st


def expected_side(index: np.ndarray, other: np.ndarray, nodes: int) -> dict[str, np.ndarray]:
    """A side by its definition in docs/Architecture.md, section 4."""
    order = np.argsort(index, kind="stable")
    return {
        "offsets": np.searchsorted(index[order], np.arange(nodes + 1)),
        "order": order,
        "other": other[order],
    }


def check_side(side, index: np.ndarray, other: np.ndarray, nodes: int) -> None:
    expected = expected_side(index, other, nodes)
    assert all(array is None or array.dtype == torch.int32 for array in side[:4])
    assert side.most is None or side.most == np.diff(expected["offsets"]).max(initial=0)
    np.testing.assert_array_equal(side.offsets.cpu(), expected["offsets"])
    np.testing.assert_array_equal(side.other.cpu(), expected["other"])
    if side.order is None:
        assert (np.diff(index) >= 0).all()
    else:
        np.testing.assert_array_equal(side.order.cpu(), expected["order"])
    parts = side.parts.cpu().numpy()
    assert len(parts) == 65 and parts[0] == 0 and parts[-1] == nodes and (np.diff(parts) >= 0).all()
    if nodes:
        work = np.diff(side.offsets.cpu().numpy()[parts] + parts)
        largest = np.diff(expected["offsets"]).max() + 1
        assert work.max() <= (len(index) + nodes) / 64 + largest + 1


GRAPHS = {
    "unsorted": random_edges(40, 300),
    "int32": random_edges(40, 300, index=torch.int32),
    "sorted by receiver": tuple(t[random_edges(40, 300)[0].argsort(stable=True)] for t in random_edges(40, 300)),
    "one node": (torch.zeros(5, dtype=torch.int64), torch.zeros(5, dtype=torch.int64)),
    "no edges": (torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)),
    "strided": tuple(torch.stack(random_edges(40, 300), 1).unbind(1)),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_sides(name, device):
    receivers, senders = (t.to(device) for t in GRAPHS[name])
    graph = Graph(receivers, senders, 40)
    assert (graph.num_edges, graph.num_receivers, graph.num_senders) == (len(receivers), 40, 40)
    r, s = receivers.cpu().numpy(), senders.cpu().numpy()
    check_side(graph.side("receivers"), r, s, 40)
    check_side(graph.side("senders"), s, r, 40)
    for got, given_ in zip(graph.indices(), (receivers, senders)):
        assert got.dtype == torch.int32 and torch.equal(got, given_.int())
    plan = graph.launch_plan(("receivers.offsets", "receivers.nodes", "receivers.order"))
    assert plan.pointers[:2] == (graph.side("receivers").offsets.data_ptr(), 0)
    assert tuple(plan.sizes) == tuple(graph.sizes) and not plan.cut
    if name == "sorted by receiver":
        assert graph.side("receivers").order is None and plan.pointers[2] == 0


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("edges, nodes", [(0, 300), (1, 300), (1, 20), (500, 300), (20000, 300), (7, 100000)])
@pytest.mark.parametrize("is_sorted", [False, True])
def test_sides_on_a_gpu(edges, nodes, is_sorted, dtype):
    """They are what the host makes."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    receivers, senders = (index.to(dtype) for index in random_edges(nodes, edges))
    if is_sorted:
        receivers = receivers.sort().values
    names = ("receivers", "senders")
    side = module.build_side(receivers.cuda(), senders.cuda(), nodes, nodes, names)
    for a, b in zip(side[:4], module._build_on_host(receivers, senders, nodes, nodes, names)[:4]):
        assert (a is None) == (b is None) and (a is None or torch.equal(a.cpu(), b))
    assert side.most == (0 if edges == 0 else receivers.bincount().max())
    if edges:
        with pytest.raises(IndexError, match=rf"senders\[0\] = {nodes} is out of range"):
            module.build_side(receivers.cuda(), senders.cuda().fill_(nodes), nodes, nodes, names)
        with pytest.raises(IndexError, match=r"receivers\[0\] = -1 is out of range"):
            module.build_side(receivers.cuda().fill_(-1), senders.cuda(), nodes, nodes, names)


def test_the_host_plan_without_torch_is_the_same(library):
    receivers, senders = random_edges(30, 100)
    plan = HostPlan(receivers.numpy(), senders.numpy(), 30, 30)
    for side, (index, other) in {"receivers": (receivers, senders), "senders": (senders, receivers)}.items():
        expected = expected_side(index.numpy(), other.numpy(), 30)
        for part, array in expected.items():
            np.testing.assert_array_equal(plan.array(f"{side}.{part}"), array)
    with pytest.raises(IndexError, match=r"receivers\[1\] = 30 is out of range: edge 1 "):
        HostPlan(np.array([0, 30]), np.array([0, 0]), 30, 30)
    with pytest.raises(TypeError, match="receivers to be int32 or int64, got float64"):
        HostPlan(np.array([0.0]), np.array([0.0]), 30, 30)
    with pytest.raises(ValueError, match="as many receivers as senders, got 2 and 1"):
        HostPlan(np.array([0, 1]), np.array([0]), 30, 30)


def test_different_numbers_of_receivers_and_senders(device):
    receivers, senders = torch.tensor([2, 0], device=device), torch.tensor([6, 6], device=device)
    graph = Graph(receivers, senders, num_receivers=3, num_senders=7)
    check_side(graph.side("receivers"), np.array([2, 0]), np.array([6, 6]), 3)
    check_side(graph.side("senders"), np.array([6, 6]), np.array([2, 0]), 7)
    assert repr(graph).startswith("Graph(2 edges, 3 receivers, 7 senders, ")
    with pytest.raises(ValueError, match="expected a side"):
        graph.side("both")


@pytest.mark.parametrize("index", [torch.int32, torch.int64])
@pytest.mark.parametrize(
    "receivers, senders, message",
    [
        ([0, 5, 9], [0, 0, 0], r"receivers\[1\] = 5 is out of range: edge 1 names a node outside 0 <= receivers < 5"),
        ([0, 1, 9], [0, -1, 0], r"senders\[1\] = -1 is out of range: edge 1 "),
        ([-3, 1, 9], [7, -1, 0], r"receivers\[0\] = -3 is out of range"),
    ],
)
def test_the_first_bad_edge_is_named(receivers, senders, message, index, device):
    receivers, senders = (torch.tensor(t, dtype=index, device=device) for t in (receivers, senders))
    with pytest.raises(IndexError, match=message):
        Graph(receivers, senders, 5)


def test_bad_arguments(library):
    one = torch.zeros(1, dtype=torch.int64)
    for arguments, error, message in [
        ((one.float(), one, 1), TypeError, "expected receivers to be int32 or int64, got torch.float32"),
        ((one, one.bool(), 1), TypeError, "expected senders to be int32 or int64"),
        (([0], one, 1), TypeError, "expected receivers to be a tensor, got list"),
        ((one, torch.zeros(2, dtype=torch.int64), 1), ValueError, "expected as many receivers as senders, got 1 and 2"),
        ((one[None], one, 1), ValueError, r"expected receivers to have one axis \(edges,\), got shape \(1, 1\)"),
        ((one, one), TypeError, "expected num_nodes or num_receivers"),
        ((one, one, -1), ValueError, "expected num_receivers >= 0, got -1"),
        ((one, one, 1.5), TypeError, "expected num_receivers to be an integer, got float"),
        ((one, one, 2**31), ValueError, r"expected fewer than 2\^31 receivers"),
        ((one, one, 0), IndexError, r"receivers\[0\] = 0 is out of range"),
    ]:
        with pytest.raises(error, match=message):
            Graph(*arguments)


def test_the_cache_knows_fresh_views_of_the_same_edges(device):
    clear_graph_cache()
    edges = torch.stack(random_edges(20, 50)).to(device)
    first = graph_of(edges[0], edges[1], 20, 20)
    assert graph_of(edges[0], edges[1], 20, 20) is first
    assert graph_of(edges[1], edges[0], 20, 20) is not first
    assert graph_of(edges[0], edges[1], 21, 21) is not first
    assert graph_of(edges[0, :40], edges[1, :40], 20, 20) is not first
    edges[0, 0] = (edges[0, 0] + 1) % 18
    second = graph_of(edges[0], edges[1], 20, 20)
    assert second is not first
    assert torch.equal(second.indices()[0], edges[0].int())


def test_the_cache_keeps_no_edges_alive_and_survives_recycled_memory(device):
    clear_graph_cache()
    for seed in range(20):
        receivers, senders = (t.to(device) for t in random_edges(20, 50, seed))
        graph = graph_of(receivers, senders, 20, 20)
        assert torch.equal(graph.indices()[0], receivers.int())
        storage = module.StorageWeakRef(receivers.untyped_storage())
        del receivers, senders
        gc.collect()
        assert storage.expired()
    graph_of(*(t.to(device) for t in random_edges(20, 50, 99)), 20, 20)
    assert len(module._cache) == 1


def test_tensors_without_a_version_are_not_cached(device):
    clear_graph_cache()
    with torch.inference_mode():
        receivers, senders = (t.to(device) + 0 for t in random_edges(20, 50))
        assert graph_of(receivers, senders, 20, 20) is not graph_of(receivers, senders, 20, 20)


def test_a_graph_of_the_cache_makes_its_senders_side_after_the_edges_are_gone(device):
    clear_graph_cache()
    receivers, senders = (t.to(device) for t in random_edges(20, 50))
    graph = graph_of(receivers, senders, 20, 20)
    r, s = receivers.cpu().numpy(), senders.cpu().numpy()
    del receivers, senders
    check_side(graph.side("senders"), s, r, 20)


def test_pickles_and_copies(device):
    edges = [torch.tensor([3, 0, 2, 0], device=device), torch.tensor([1, 4, 0, 0], device=device)]
    graph = Graph(*edges, num_receivers=4, num_senders=6)
    again = pickle.loads(pickle.dumps(graph))
    assert (again.num_receivers, again.num_senders, again.device) == (4, 6, graph.device)
    assert all(torch.equal(a.long(), b) for a, b in zip(again.indices(), edges))
    assert copy.deepcopy(graph) is graph
