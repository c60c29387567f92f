"""The tensor product by its definition: plain loops in numpy, which share no code with espmm.

    z[i3][mz, k] += coefficient * sum  w[mw] * C[i, j, k] * x[i1][mx, i] * y[i2][my, j]

The Clebsch-Gordan tensor C is e3nn's. Derivatives of any order come from one remark: the potential
L = <cotangent, result> is a sum of terms K(x, y, w, z), linear in each of four slots. A gradient leaves a slot of each
term free; the next potential, <cotangents, gradients>, puts each cotangent in place of what was differentiated.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Iterator, NamedTuple, Optional, Sequence

import numpy as np

SLOTS = ("x", "y", "w", "z")


class Block(NamedTuple):
    mul: int
    l: int  # noqa: E741
    p: int


class Path(NamedTuple):
    i1: int
    i2: int
    i3: int
    mode: str
    weighted: bool
    coefficient: float


def read_blocks(text: str) -> list[Block]:
    """Irreps as e3nn writes them: ``8x0e+8x1o``."""
    blocks = []
    for term in filter(None, text.split("+")):
        mul, _, irrep = term.rpartition("x")
        blocks.append(Block(int(mul or 1), int(irrep[:-1]), 1 if irrep[-1] == "e" else -1))
    return blocks


@functools.lru_cache(None)
def coupling(l1: int, l2: int, l3: int) -> np.ndarray:
    import torch
    from e3nn import o3

    return o3.wigner_3j(l1, l2, l3, dtype=torch.float64).numpy()


def ties(mode: str, weighted: bool, m1: int, m2: int, m3: int) -> Iterator[tuple[int, int, int, int]]:
    """The index map of a mode: all (mx, my, mw, mz) that belong together, mw flat in the path's weights."""
    if mode == "uvw":
        yield from ((u, v, (u * m2 + v) * m3 + w, w) for u in range(m1) for v in range(m2) for w in range(m3))
    elif mode == "uvu":
        yield from ((u, v, u * m2 + v, u) for u in range(m1) for v in range(m2))
    elif mode == "uvv":
        yield from ((u, v, u * m2 + v, v) for u in range(m1) for v in range(m2))
    elif mode == "uuw":
        yield from ((u, u, u * m3 + w, w) for u in range(m1) for w in range(m3))
    elif mode == "uuu":
        yield from ((u, u, u, u) for u in range(m1))
    elif mode == "uvuv":
        yield from ((u, v, u * m2 + v, u * m2 + v) for u in range(m1) for v in range(m2))
    else:
        for pair, (u, v) in enumerate(itertools.combinations(range(m1), 2)):
            if mode == "uvu<v":
                yield u, v, pair, pair
            else:
                yield from ((u, v, pair * m3 + w, w) for w in range(m3))


def weights_of(path: Path, m1: int, m2: int, m3: int) -> int:
    return 1 + max((mw for _, _, mw, _ in ties(path.mode, path.weighted, m1, m2, m3)), default=-1) if path.weighted else 0


class Product:
    """A tensor product as lists of blocks and paths."""

    def __init__(self, in1: str, in2: str, out: str, paths: Sequence[Path], layout: str = "mul_ir") -> None:
        self.blocks = {"x": read_blocks(in1), "y": read_blocks(in2), "z": read_blocks(out)}
        self.paths = list(paths)
        self.layout = layout
        self.weight_offsets = [0]
        for path in self.paths:
            self.weight_offsets.append(self.weight_offsets[-1] + weights_of(path, *self._muls(path)))
        self.widths = {slot: sum(b.mul * (2 * b.l + 1) for b in blocks) for slot, blocks in self.blocks.items()}
        self.widths["w"] = self.weight_offsets[-1]

    def _muls(self, path: Path) -> tuple[int, int, int]:
        return self.blocks["x"][path.i1].mul, self.blocks["y"][path.i2].mul, self.blocks["z"][path.i3].mul

    def _elements(self, slot: str, block: int, u: int) -> slice:
        """Where the components of one irrep lie in a row."""
        blocks = self.blocks[slot]
        start = sum(b.mul * (2 * b.l + 1) for b in blocks[:block])
        mul, dim = blocks[block].mul, 2 * blocks[block].l + 1
        if self.layout == "mul_ir":
            return slice(start + u * dim, start + (u + 1) * dim)
        return slice(start + u, start + u + (dim - 1) * mul + 1, mul)

    def contract(self, to: str, weighted: bool, bound: dict[str, np.ndarray]) -> np.ndarray:
        """The coefficient of slot ``to`` in the paths with (or without) weights; arrays are (rows, width)."""
        rows = bound["y" if to != "y" else "x"].shape[0]
        result = np.zeros((rows, self.widths[to]))
        for number, path in enumerate(self.paths):
            if path.weighted != weighted:
                continue
            l1, l2, l3 = (self.blocks[s][i].l for s, i in zip("xyz", path[:3]))
            tensor = path.coefficient * coupling(l1, l2, l3)
            for mx, my, mw, mz in ties(path.mode, path.weighted, *self._muls(path)):
                at = {
                    "x": self._elements("x", path.i1, mx),
                    "y": self._elements("y", path.i2, my),
                    "z": self._elements("z", path.i3, mz),
                    "w": slice(self.weight_offsets[number] + mw, self.weight_offsets[number] + mw + 1),
                }
                factors, letters = [tensor], ["ijk"]
                for slot, letter in zip(SLOTS, ("i", "j", "a", "k")):
                    if slot != to and (slot != "w" or weighted):
                        factors.append(bound[slot][:, at[slot]])
                        letters.append("e" + letter)
                out = {"x": "i", "y": "j", "w": "a", "z": "k"}[to]
                if to == "w":
                    result[:, at["w"]] += np.einsum(f"{','.join(letters)}->e", *factors)[:, None]
                else:
                    result[:, at[to]] += np.einsum(f"{','.join(letters)}->e{out}", *factors)
        return result


class Graph(NamedTuple):
    receivers: np.ndarray
    senders: np.ndarray
    num_receivers: int
    num_senders: int


class Term(NamedTuple):
    """One term of a potential: the name of the value in each slot; no w in a term over weightless paths."""

    weighted: bool
    names: dict[str, str]


def evaluate(
    product: Product,
    steps: Sequence[tuple[Sequence[int], Sequence[int]]],
    arrays: Sequence[Optional[np.ndarray]],
    graph: Optional[Graph] = None,
    shared_weights: bool = False,
    rows: Optional[int] = None,
) -> list[np.ndarray]:
    """The results of a program: the product (or the convolution around it) and its derivative steps.

    Args:
        steps: (wrt, cotangents) of each vector-Jacobian product, argument and result numbers from 0.
        arrays: x, y, w (if any path has weights), then the cotangents of each step.
        rows: number of rows, for a batch.
    """
    has = {path.weighted for path in product.paths}
    names = ["x", "y"] + ["w"] * (True in has)
    slot_of = {name: name for name in names}
    slot_of["z"] = "z"
    results, terms = ["z"], [Term(weighted, {s: s for s in SLOTS if s != "w" or weighted}) for weighted in sorted(has)]
    # `terms` is the potential whose gradient with respect to a name is a result; before any step that name is z.
    for number, (wrt, cotangents) in enumerate(steps):
        following = []
        for position, result in enumerate(cotangents):
            name = f"c{number}.{position}"
            slot_of[name] = slot_of[results[result]]
            for term in terms:
                for slot, held in term.names.items():
                    if held == results[result]:
                        following.append(Term(term.weighted, {**term.names, slot: name}))
        results = [names[i] for i in wrt]
        names += [f"c{number}.{position}" for position in range(len(cotangents))]
        terms = following
    values = {name: array for name, array in zip(names, arrays)}

    def side(slot: str) -> Optional[np.ndarray]:
        if slot == "w" and shared_weights:
            return np.zeros(len(graph.receivers) if graph else rows, dtype=int)
        return None if graph is None else {"x": graph.senders, "z": graph.receivers}.get(slot)

    outputs = []
    for result in results:
        slot = slot_of[result]
        total = None
        for term in terms:
            for free, held in term.names.items():
                if held != result:
                    continue
                bound = {}
                for other, name in term.names.items():
                    if other != free:
                        index = side(other)
                        bound[other] = values[name] if index is None else values[name][index]
                part = product.contract(free, term.weighted, bound)
                total = part if total is None else total + part
        index = side(slot)
        if total is None:
            total = np.zeros((len(graph.receivers) if graph else rows, product.widths[slot]))
        if index is not None:
            count = 1 if slot == "w" else graph.num_senders if slot == "x" else graph.num_receivers
            summed = np.zeros((count, total.shape[1]))
            np.add.at(summed, index, total)
            total = summed
        outputs.append(total)
    return outputs


def normalised(
    in1: Sequence[Block],
    in2: Sequence[Block],
    out: Sequence[Block],
    instructions: Sequence[tuple],
    irrep_normalization: str = "component",
    path_normalization: str = "element",
    var: tuple = (None, None, None),
) -> list[float]:
    """Coefficients from the definition: an output of variance out_var if each path's inputs have theirs.

    Component normalisation: the Clebsch-Gordan tensor has norm 1, so that one product of unit-variance components
    has variance 1 / (2 l3 + 1); norm normalisation: vectors of norm 1 go to norm 1.
    """
    v1, v2, v3 = (v or [1.0] * len(b) for v, b in zip(var, (in1, in2, out)))

    def variance(ins: tuple) -> float:
        m1, m2, m3 = in1[ins[0]].mul, in2[ins[1]].mul, out[ins[2]].mul
        fan_in: dict[int, int] = {}
        for _, _, _, mz in ties(ins[3], True, m1, m2, m3):
            fan_in[mz] = fan_in.get(mz, 0) + 1
        return v1[ins[0]] * v2[ins[1]] * max(fan_in.values())

    result = []
    for ins in instructions:
        same = [other for other in instructions if other[2] == ins[2]]
        spread = {
            "element": sum(map(variance, same)),
            "path": variance(ins) * len(same),
            "none": 1.0,
        }[path_normalization]
        dims = [2 * b[i].l + 1 for b, i in zip((in1, in2, out), ins)]
        size = {"component": dims[2], "norm": dims[0] * dims[1], "none": 1}[irrep_normalization]
        weight = ins[5] if len(ins) > 5 else 1.0
        result.append(math.sqrt(size * v3[ins[2]] * weight / spread))
    return result
