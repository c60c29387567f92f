"""The benchmark's graphs: lattices against matscipy, degrees, and what the documentation says of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from espmm.bench.graphs import NAMES, ListedGraph, describe, diamond, named_graph, simple_cubic  # noqa: E402

CPU = torch.device("cpu")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "Benchmarks.md"


def by_matscipy(atoms, cutoff: float) -> ListedGraph:
    neighbours = pytest.importorskip("matscipy.neighbours")
    receivers, senders = (torch.as_tensor(index).long() for index in neighbours.neighbour_list("ij", atoms, cutoff))
    return ListedGraph.of("matscipy", len(atoms), receivers, senders)


def assert_same_edges(one: ListedGraph, other: ListedGraph) -> None:
    assert one.nodes == other.nodes and one.edges == other.edges
    assert torch.equal(one.receivers, other.receivers) and torch.equal(one.senders, other.senders)


@pytest.mark.parametrize("cells, cutoff", [(5, 6.0), (1, 4.0), (2, 2.0)])
def test_diamond_is_matscipys(cells, cutoff):
    build = pytest.importorskip("ase.build")
    atoms = build.bulk("C", "diamond", a=3.567, cubic=True) * (cells, cells, cells)
    assert_same_edges(diamond(cells, cutoff), by_matscipy(atoms, cutoff))


@pytest.mark.parametrize("shape", [(3, 4, 5), (23, 25, 40)])
def test_simple_cubic_is_matscipys(shape):
    build = pytest.importorskip("ase.build")
    assert_same_edges(simple_cubic(shape), by_matscipy(build.bulk("Po", "sc", a=1.0) * shape, 1.2))


def test_a_and_b():
    assert describe(named_graph("A")) == {"nodes": 1000, "edges": 158_000, "degrees": [158, 158]}
    assert describe(named_graph("B")) == {"nodes": 23_000, "edges": 138_000, "degrees": [6, 6]}
    assert describe(named_graph("17")) == {"nodes": 17, "edges": 17}


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in ("diamond", "water", "alloy", "protein")] + ["50x7"]
)
def test_sorted_and_repeatable(name):
    graph = named_graph(name)
    receivers, senders = graph.indices(CPU)
    assert receivers.shape == senders.shape == (graph.edges,)
    assert senders.min() >= 0 and senders.max() < graph.nodes and receivers.max() < graph.nodes
    assert bool((torch.diff(receivers * graph.nodes + senders) >= 0).all())
    assert torch.equal(graph.indices(CPU)[1], senders)


@pytest.mark.parametrize("name", ["hub", "powerlaw"])
def test_uneven_at_both_ends(name):
    graph = named_graph(name)
    assert torch.equal(*(torch.bincount(index, minlength=graph.nodes) for index in graph.indices(CPU)))


def test_names_are_documented():
    """The table of docs/Benchmarks.md has every graph, with its true numbers."""
    pytest.importorskip("ase")
    pytest.importorskip("matscipy")
    rows = re.findall(
        r"^\| `(\w+)` \| ([\d,]+) \| ([\d,]+) \| ([\d,]+)(?: to ([\d,]+))? \|", PAGE.read_text(), re.MULTILINE
    )
    found = {name: [int(text.replace(",", "")) for text in numbers if text] for name, *numbers in rows}
    assert set(found) == set(NAMES)
    for name, (nodes, edges, *degrees) in found.items():
        true = describe(named_graph(name))
        assert [nodes, edges, degrees[0], degrees[-1]] == [true["nodes"], true["edges"], *true["degrees"]], name


def test_unknown_name():
    with pytest.raises(ValueError, match="expected A, B, small, .*, NxK such as 500x60, or N, got '0x5'"):
        named_graph("0x5")
