"""Graphs to convolve on: lattices made here, structures made by ase, uneven ones. All are the same on every machine.

Edges are sorted by receiver, and by sender within a receiver, as some peers require.

    A          carbon diamond, 5 x 5 x 5 cubic cells: 1000 nodes with 158 neighbours within 6 A
    B          a simple cubic lattice of 23 x 25 x 40 nodes with their 6 nearest neighbours
    small      64 nodes with 40 neighbours each, senders at random
    hub        as many nodes and edges as A: one node has 10,000 edges, the others from 1 to 295, senders at random
    powerlaw   as many nodes and edges as A: degrees fall off as rank^(-2/3) (an exponent of 2.5), senders at random
    diamond    A, but from ase and matscipy
    water      512 molecules, 1 g/cm3, periodic, cutoff 5 A
    alloy      2048 atoms of a disordered fcc alloy, rattled, periodic, cutoff 5 A
    protein    21,000 atoms, a small solvated protein's number: a free droplet of 7000 water molecules, cutoff 4 A
    NxK        N nodes with K neighbours each, senders at random
    N          no graph: a batch of N rows

The last four of the named ones need ase and matscipy. Water is not equilibrated: molecules stand on a jittered grid at
random orientations, which has the density and the uneven degrees of the liquid, but not its correlations.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

_SEED = 0
_LATTICE_CONSTANT = 3.567  # of diamond, in A
_DIAMOND_BASIS = (
    (0.0, 0.0, 0.0), (0.25, 0.25, 0.25), (0.0, 0.5, 0.5), (0.25, 0.75, 0.75),
    (0.5, 0.0, 0.5), (0.75, 0.25, 0.75), (0.5, 0.5, 0.0), (0.75, 0.75, 0.25),
)  # fmt: skip
_MOLECULE_VOLUME = 29.9  # of water at 1 g/cm3, in A^3


@dataclass(frozen=True)
class GraphSize:
    """`nodes` receivers with `neighbours` edges each, senders at random; without neighbours, a batch of rows."""

    name: str
    nodes: int
    neighbours: int | None

    @property
    def edges(self) -> int:
        return self.nodes * (1 if self.neighbours is None else self.neighbours)

    @property
    def is_batch(self) -> bool:
        return self.neighbours is None

    def indices(self, device: torch.device) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """receivers and senders, (E,) int64."""
        if self.neighbours is None:
            return None, None
        receivers = torch.arange(self.nodes).repeat_interleave(self.neighbours)
        shape = (self.nodes, self.neighbours)
        senders = torch.randint(self.nodes, shape, generator=_generator()).sort(1).values.flatten()
        return receivers.to(device), senders.to(device)


@dataclass(frozen=True, eq=False)
class ListedGraph:
    """A graph by its edges, (E,) int64 on the host, sorted."""

    name: str
    nodes: int
    receivers: Tensor
    senders: Tensor

    is_batch = False

    @classmethod
    def of(cls, name: str, nodes: int, receivers: Tensor, senders: Tensor) -> ListedGraph:
        """From edges in any order."""
        order = torch.argsort(receivers * nodes + senders)
        return cls(name, nodes, receivers[order], senders[order])

    @property
    def edges(self) -> int:
        return self.receivers.shape[0]

    def indices(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """receivers and senders, (E,) int64."""
        return self.receivers.to(device), self.senders.to(device)


BenchGraph = GraphSize | ListedGraph


def describe(graph: BenchGraph) -> dict[str, int | list[int]]:
    """What is recorded of a graph: nodes, edges, the smallest and the largest number of a node's edges."""
    receivers, _ = graph.indices(torch.device("cpu"))
    found: dict[str, int | list[int]] = {"nodes": graph.nodes, "edges": graph.edges}
    if receivers is not None:
        degrees = torch.bincount(receivers, minlength=graph.nodes)
        found["degrees"] = [int(degrees.min()), int(degrees.max())]
    return found


def named_graph(text: str) -> BenchGraph:
    """A name of this page, NxK or N.

    Raises:
        ValueError: it is none of them.
        ImportError: it needs ase and matscipy, which are not installed.
    """
    if text in _NAMED:
        return _built(text)
    match = re.fullmatch(r"([1-9]\d*)(?:x(\d+))?", text)
    if match is None:
        raise ValueError(f"expected {', '.join(NAMES)}, NxK such as 500x60, or N, got {text!r}")
    nodes, neighbours = match.groups()
    if neighbours is None:
        return GraphSize(f"{nodes} rows", int(nodes), None)
    return GraphSize(text, int(nodes), int(neighbours))


def simple_cubic(shape: tuple[int, int, int], name: str = "cubic") -> ListedGraph:
    """A periodic simple cubic lattice of nearest neighbours; node (i, j, k) is number (i J + j) K + k."""
    nodes = torch.arange(shape[0] * shape[1] * shape[2]).view(shape)
    senders = torch.stack([nodes.roll(step, axis) for axis in range(3) for step in (1, -1)], -1)
    receivers = nodes.unsqueeze(-1).expand_as(senders)
    return ListedGraph.of(name, nodes.numel(), receivers.flatten(), senders.flatten())


def diamond(cells: int = 5, cutoff: float = 6.0, name: str = "diamond") -> ListedGraph:
    """Carbon diamond, cells x cells x cells cubic cells of 8 atoms, periodic; neighbours within the cutoff (A).

    Atoms are numbered as ase does: by cell, and in a cell by basis. An atom that meets an image of itself is its own
    neighbour.
    """
    basis = torch.tensor(_DIAMOND_BASIS, dtype=torch.float64)
    reach = int(cutoff / _LATTICE_CONSTANT) + 1
    steps = torch.tensor(list(itertools.product(range(-reach, reach + 1), repeat=3)))
    # offset[s, a, b]: from atom a of a cell to atom b of the cell that is step s away.
    offset = _LATTICE_CONSTANT * (steps[:, None, None] + basis[None, None] - basis[None, :, None])
    distance = offset.norm(dim=-1)
    step, here, there = torch.nonzero((distance < cutoff) & (distance > 1e-6), as_tuple=True)

    cell = torch.tensor(list(itertools.product(range(cells), repeat=3)))
    place = torch.tensor([cells * cells, cells, 1])
    receivers = (cell @ place)[:, None] * len(basis) + here
    senders = ((cell[:, None] + steps[step]).remainder(cells) @ place) * len(basis) + there
    return ListedGraph.of(name, len(basis) * cells**3, receivers.flatten(), senders.flatten())


def hub(nodes: int = 1000, edges: int = 158_000, largest: int = 10_000) -> ListedGraph:
    """One node with `largest` edges, the others with degrees that rise evenly from 1; see `_configuration`."""
    rest = nodes - 1
    top = 2 * (edges - largest) / rest - 1
    degrees = torch.linspace(1, top, rest, dtype=torch.float64).floor().long()
    # What rounding left out: one more edge for each of the last.
    degrees[rest - (edges - largest - int(degrees.sum())) :] += 1
    degrees = torch.cat([degrees, torch.tensor([largest])])
    return _configuration("hub", degrees)


def powerlaw(nodes: int = 1000, edges: int = 158_000, exponent: float = 2.5) -> ListedGraph:
    """Degrees whose distribution falls off as degree^-exponent, `edges` in all; see `_configuration`."""
    weights = torch.arange(1, nodes + 1, dtype=torch.float64) ** (-1 / (exponent - 1))
    degrees = (edges * weights / weights.sum()).floor().long().clamp(min=1)
    degrees[: edges - int(degrees.sum())] += 1
    return _configuration("powerlaw", degrees)


def _configuration(name: str, degrees: Tensor) -> ListedGraph:
    """Nodes with these numbers of edges, as receivers and as senders, numbered and joined at random."""
    generator = _generator()
    degrees = degrees[torch.randperm(len(degrees), generator=generator)]
    receivers = torch.arange(len(degrees)).repeat_interleave(degrees)
    senders = receivers[torch.randperm(len(receivers), generator=generator)]
    return ListedGraph.of(name, len(degrees), receivers, senders)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(_SEED)


def _graph_a() -> ListedGraph:
    graph = diamond(name="A")
    degrees = torch.bincount(graph.receivers, minlength=graph.nodes)
    if graph.nodes != 1000 or not bool((degrees == 158).all()):
        raise RuntimeError(
            f"expected graph A to be 1000 x 158, got {graph.nodes} nodes with {degrees.unique().tolist()} edges"
        )
    return graph


def _from_atoms(name: str, atoms, cutoff: float) -> ListedGraph:
    from matscipy.neighbours import neighbour_list

    receivers, senders = (torch.as_tensor(index).long() for index in neighbour_list("ij", atoms, cutoff))
    return ListedGraph.of(name, len(atoms), receivers, senders)


def _ase_diamond() -> ListedGraph:
    from ase.build import bulk

    return _from_atoms("diamond", bulk("C", "diamond", a=_LATTICE_CONSTANT, cubic=True) * (5, 5, 5), 6.0)


def _ase_water() -> ListedGraph:
    side = (512 * _MOLECULE_VOLUME) ** (1 / 3)
    return _from_atoms("water", _molecules(8, side, keep=512, periodic=True), 5.0)


def _ase_droplet() -> ListedGraph:
    cells = 25
    side = cells * _MOLECULE_VOLUME ** (1 / 3)
    return _from_atoms("protein", _molecules(cells, side, keep=7000, periodic=False), 4.0)


def _molecules(cells: int, side: float, keep: int, periodic: bool):
    """Water, a molecule a cell, in the `keep` cells nearest to the middle of a cube of cells^3."""
    import numpy as np
    from ase import Atoms
    from ase.build import molecule

    random = np.random.default_rng(_SEED)
    water = molecule("H2O")
    water.positions -= water.positions[0]
    grid = (np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 3) + 0.5) * (side / cells)
    nearest = np.argsort(np.linalg.norm(grid - side / 2, axis=1), kind="stable")[:keep]
    centres = grid[np.sort(nearest)] + random.uniform(-0.2, 0.2, (keep, 3))
    # Rotations as the Q of random matrices.
    turns = np.linalg.qr(random.normal(size=(keep, 3, 3)))[0]
    positions = centres[:, None] + water.positions @ turns
    symbols = water.get_chemical_symbols() * keep
    return Atoms(symbols, positions=positions.reshape(-1, 3), cell=[side] * 3, pbc=periodic)


def _ase_alloy() -> ListedGraph:
    import numpy as np
    from ase.build import bulk

    atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * (8, 8, 8)
    random = np.random.default_rng(_SEED)
    # What the atoms are is nothing to a convolution; that they are displaced is.
    atoms.symbols[:] = random.choice(["Cr", "Fe", "Co", "Ni", "Cu"], len(atoms))
    atoms.rattle(0.1, rng=random)
    return _from_atoms("alloy", atoms, 5.0)


_NAMED: dict[str, Callable[[], BenchGraph]] = {
    "A": _graph_a,
    "B": lambda: simple_cubic((23, 25, 40), "B"),
    "small": lambda: GraphSize("small", 64, 40),
    "hub": hub,
    "powerlaw": powerlaw,
    "diamond": _ase_diamond,
    "water": _ase_water,
    "alloy": _ase_alloy,
    "protein": _ase_droplet,
}
NAMES = tuple(_NAMED)


@lru_cache(maxsize=None)
def _built(name: str) -> BenchGraph:
    return _NAMED[name]()
