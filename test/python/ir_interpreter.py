"""Runs espmm's IR by its definition, in numpy and float64: tensor programs, kernels and factored kernels.

It shares no code with the compiler: an op does here what docs/Spec.md says of it, edge by edge and path by path, with
e3nn's ``wigner_3j`` as the coefficients.
"""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass

import numpy as np
import torch
from e3nn import o3
from ir_parser import Block, Operation, parse_module, split_list

#: The multiplicity indices of (x, y, w, z) in each mode. In the last two, u < v.
INDEX_MAPS = {
    "uvw": ("u", "v", "uvw", "w"),
    "uvu": ("u", "v", "uv", "u"),
    "uvv": ("u", "v", "uv", "v"),
    "uuw": ("u", "u", "uw", "w"),
    "uuu": ("u", "u", "u", "u"),
    "uvuv": ("u", "v", "uv", "uv"),
    "uvu_lt_v": ("u", "v", "uv", "uv"),
    "u_lt_vw": ("u", "v", "uvw", "w"),
}
SLOTS = "xywz"


@dataclass(frozen=True)
class Space:
    """The index space: a graph's edges, or the rows of a batch (where there are no sides but `all`)."""

    size: int
    receivers: np.ndarray | None = None
    senders: np.ndarray | None = None
    num_receivers: int = 0
    num_senders: int = 0

    def index(self, side: str) -> tuple[np.ndarray, int]:
        """For each edge its row at a side, and the number of rows there."""
        if side == "edge":
            return np.arange(self.size), self.size
        if side == "all":
            return np.zeros(self.size, dtype=np.int64), 1
        if self.receivers is None:
            raise ValueError(f"rows have no side {side!r}")
        return (self.receivers, self.num_receivers) if side == "receivers" else (self.senders, self.num_senders)


def run(ir: str, space: Space, *arguments: np.ndarray) -> list[np.ndarray]:
    """The results of the one function of a module in generic form, whose argument 0 is the index space.

    Raises:
        ValueError: for an op that is not interpreted, or arguments whose shapes are not the function's.
    """
    functions = parse_module(ir)
    if len(functions) != 1:
        raise ValueError(f"expected one function, got {sorted(functions)}")
    (block,) = functions.values()
    if len(block.arguments) != 1 + len(arguments):
        raise ValueError(f"expected {len(block.arguments) - 1} tensors, got {len(arguments)}")
    for (name, type_), value in zip(block.arguments[1:], arguments):
        shape = _shape(type_)
        if len(shape) != value.ndim or any(n not in (None, got) for n, got in zip(shape, value.shape)):
            raise ValueError(f"expected {type_} for {name}, got {value.shape}")
    return _run_block(block, [space, *(np.asarray(a, dtype=np.float64) for a in arguments)], {})


def _run_block(block: Block, values: list, outer: dict) -> list[np.ndarray]:
    env = dict(outer)
    env.update({name: value for (name, _), value in zip(block.arguments, values)})
    for op in block.operations:
        operands = [env[name] for name in op.operands]
        if op.name in ("func.return", "equivariant.yield"):
            return operands
        if op.name not in _OPS:
            raise ValueError(f"{op.name} is not interpreted")
        results = _OPS[op.name](op, operands)
        env.update(zip(op.results, results))
    raise ValueError("a block ends without return or yield")


# Types and attributes


def _shape(type_: str) -> list[int | None]:
    dims = re.match(r"tensor<((?:[\d?]+x)*)", type_)[1]
    return [None if d == "?" else int(d) for d in dims.split("x")[:-1]]


@functools.lru_cache(None)
def _irreps(text: str) -> tuple[tuple[int, int], ...]:
    """(multiplicity, l) of each block."""
    return tuple((m.mul, m.ir.l) for m in o3.Irreps(text))


def _encoding(type_: str) -> tuple[tuple[tuple[int, int], ...], str] | None:
    found = re.search(r'#equivariant\.irreps<"([^"]*)", (\w+)>', type_)
    return (_irreps(found[1]), found[2]) if found else None


def _keyword(attribute: str) -> str:
    """The word in ``#equivariant<slot z>``."""
    return re.fullmatch(r"#equivariant<\w+ (\w+)>", attribute)[1]


@dataclass(frozen=True)
class _Path:
    mode: str
    blocks: tuple[int, int, int]
    weighted: bool
    coefficient: float


@functools.lru_cache(None)
def _product(text: str) -> tuple[dict[str, tuple[tuple[int, int], ...]], list[_Path]]:
    irreps = {slot: _irreps(re.search(rf'\b{slot} = "([^"]*)"', text)[1]) for slot in "xyz"}
    paths = []
    for path in split_list(re.search(r"paths = \[(.*)\]", text)[1]):
        mode, blocks, weightless, coefficient = re.fullmatch(r"(\w+)\((.*?)\)( weightless)? \* (\S+)", path).groups()
        paths.append(_Path(mode, tuple(map(int, blocks.split(","))), not weightless, float(coefficient)))
    return irreps, paths


@functools.lru_cache(None)
def _coefficients(l1: int, l2: int, l3: int) -> np.ndarray:
    return o3.wigner_3j(l1, l2, l3, dtype=torch.float64).numpy()


# Rows and their blocks


def _get_block(row: np.ndarray, offset: int, mul: int, dim: int, layout: str) -> np.ndarray:
    """Block [mul, dim] of a row, as a copy."""
    flat = row[offset : offset + mul * dim]
    return flat.reshape(mul, dim).copy() if layout == "mul_ir" else flat.reshape(dim, mul).T.copy()


def _add_block(row: np.ndarray, offset: int, block: np.ndarray, layout: str) -> None:
    row[offset : offset + block.size] += (block if layout == "mul_ir" else block.T).reshape(-1)


def _offset(irreps: tuple[tuple[int, int], ...], block: int) -> int:
    return sum(mul * (2 * l + 1) for mul, l in irreps[:block])


# Level 0


def _gather(op: Operation, operands: list) -> list[np.ndarray]:
    source, space = operands
    index, rows = space.index(_keyword(op.attributes["side"]))
    if len(source) != rows:
        raise ValueError(f"expected {rows} rows to gather, got {len(source)}")
    return [source[index]]


def _sum_rows(source: np.ndarray, index: np.ndarray, rows: int) -> np.ndarray:
    if len(source) != len(index):
        raise ValueError(f"expected {len(index)} rows to sum, got {len(source)}")
    result = np.zeros((rows, *source.shape[1:]))
    for edge, row in enumerate(index):
        result[row] += source[edge]
    return result


def _segment_sum(op: Operation, operands: list) -> list[np.ndarray]:
    source, space = operands
    return [_sum_rows(source, *space.index(_keyword(op.attributes["side"])))]


def _add(op: Operation, operands: list) -> list[np.ndarray]:
    lhs, rhs = operands
    if lhs.shape != rhs.shape:
        raise ValueError(f"expected one shape, got {lhs.shape} and {rhs.shape}")
    return [lhs + rhs]


def _zeros(op: Operation, operands: list) -> list[np.ndarray]:
    shape = _shape(op.result_types[0])
    rows = operands[0].shape[:1] if len(shape) > 1 else ()
    return [np.zeros((*rows, *shape[len(rows) :]))]


@functools.lru_cache(None)
def _assignments(mode: str, muls: tuple[int, int, int]) -> list[tuple[int, int, int, int]]:
    """The positions (mx, my, mw, mz) that a mode ties together, mw among the path's own weights."""
    of_x, of_y, of_w, of_z = INDEX_MAPS[mode]
    triangular = "_lt_" in mode
    extent = {**dict.fromkeys(of_z, muls[2]), **dict.fromkeys(of_y, muls[1]), **dict.fromkeys(of_x, muls[0])}
    letters = sorted(set(of_x + of_y + of_z))
    pairs = {pair: n for n, pair in enumerate(itertools.combinations(range(muls[0]), 2))}

    def position(indices: str, at: dict[str, int]) -> int:
        result = 0
        if triangular and indices.startswith("uv"):
            result, indices = pairs[at["u"], at["v"]], indices[2:]
        for letter in indices:
            result = result * extent[letter] + at[letter]
        return result

    every = (dict(zip(letters, at)) for at in itertools.product(*(range(extent[letter]) for letter in letters)))
    tied = (at for at in every if not triangular or at["u"] < at["v"])
    return [tuple(position(indices, at) for indices in (of_x, of_y, of_w, of_z)) for at in tied]


def _num_weights(path: _Path, muls: tuple[int, int, int]) -> int:
    return len({w for _, _, w, _ in _assignments(path.mode, muls)}) if path.weighted else 0


_FREE = {"x": "ijk,j,k->i", "y": "ijk,i,k->j", "z": "ijk,i,j->k", "w": "ijk,i,j,k->"}


def _contract_row(product: str, slot: str, bound: dict[str, np.ndarray], layouts: dict[str, str], result: np.ndarray) -> None:
    """Adds to `result` the coefficient of `slot` in the product's form, for one row of each bound slot."""
    irreps, paths = _product(product)
    first_weight = 0
    for path in paths:
        blocks = dict(zip("xyz", path.blocks))
        shapes = {s: (irreps[s][b][0], 2 * irreps[s][b][1] + 1) for s, b in blocks.items()}
        offsets = {s: _offset(irreps[s], b) for s, b in blocks.items()}
        values = {s: _get_block(bound[s], offsets[s], *shapes[s], layouts[s]) for s in "xyz" if s in bound}
        if slot in shapes:
            values[slot] = np.zeros(shapes[slot])
        coupling = path.coefficient * _coefficients(*(irreps[s][b][1] for s, b in blocks.items()))
        muls = tuple(shapes[s][0] for s in "xyz")
        for mx, my, mw, mz in _assignments(path.mode, muls):
            rows = {"x": mx, "y": my, "z": mz}
            factors = [values[s][rows[s]] for s in "xyz" if s != slot]
            weight = bound["w"][first_weight + mw] if path.weighted and slot != "w" else 1.0
            term = weight * np.einsum(_FREE[slot], coupling, *factors)
            if slot == "w":
                result[first_weight + mw] += term
            else:
                values[slot][rows[slot]] += term
        if slot != "w":
            _add_block(result, offsets[slot], values[slot], layouts[slot])
        first_weight += _num_weights(path, muls)


def _contract(op: Operation, operands: list) -> list[np.ndarray]:
    slot, product = _keyword(op.attributes["slot"]), op.attributes["product"]
    bound_slots = [s for s, n in zip(SLOTS, re.findall(r"\d+", op.attributes["operandSegmentSizes"].split(":")[1])) if n == "1"]
    types = dict(zip(bound_slots, op.operand_types)) | {slot: op.result_types[0]}
    layouts = {s: _encoding(t)[1] for s, t in types.items() if s != "w"}
    rows = [np.atleast_2d(operand) for operand in operands]
    if len({len(r) for r in rows}) != 1:
        raise ValueError(f"expected one number of rows, got {[len(r) for r in rows]}")
    result = np.zeros((len(rows[0]), _shape(op.result_types[0])[-1]))
    for n, row in enumerate(result):
        _contract_row(product, slot, {s: r[n] for s, r in zip(bound_slots, rows)}, layouts, row)
    return [result if operands[0].ndim == 2 else result[0]]


# Level 2


def _kernel(op: Operation, operands: list) -> list[np.ndarray]:
    space, inputs = operands[0], operands[1:]
    read = [_keyword(a) for a in split_list(op.attributes["input_access"][1:-1])]
    write = [_keyword(a) for a in split_list(op.attributes["result_access"][1:-1])]
    results = [np.zeros((space.index(side)[1], *_shape(t)[1:])) for side, t in zip(write, op.result_types)]
    for edge in range(space.size):
        rows = [value[space.index(side)[0][edge]] for side, value in zip(read, inputs)]
        for side, result, row in zip(write, results, _run_block(op.regions[0][0], rows, {})):
            result[space.index(side)[0][edge]] += row
    return results


# Level 3


def _block(op: Operation, operands: list) -> list[np.ndarray]:
    (row,), shape = operands, _shape(op.result_types[0])
    offset = int(op.attributes["offset"].split(":")[0])
    encoding = _encoding(op.operand_types[0])
    if encoding is None:
        return [row[offset : offset + int(np.prod(shape))].reshape(shape)]
    return [_get_block(row, offset, *shape, encoding[1])]


def _assemble(op: Operation, operands: list) -> list[np.ndarray]:
    result = np.zeros(_shape(op.result_types[0]))
    encoding = _encoding(op.result_types[0])
    offsets = map(int, re.findall(r"-?\d+", op.attributes["offsets"].partition(":")[2]))
    for offset, block in zip(offsets, operands):
        if encoding is None:
            result[offset : offset + block.size] += block.reshape(-1)
        else:
            _add_block(result, offset, block, encoding[1])
    return [result]


def _read_coefficients(op: Operation, operands: list) -> list[np.ndarray]:
    l1, l2, l3 = (int(op.attributes[name].split(":")[0]) for name in ("l1", "l2", "l3"))
    scale, values = float(op.attributes["scale"].split(":")[0]), _coefficients(l1, l2, l3)
    if "unit" not in op.attributes and "scales" not in op.attributes:
        return [scale * values]
    # Per component of z the magnitude that occurs most often, of several the largest.
    scales = np.empty(values.shape[2])
    for k in range(values.shape[2]):
        magnitudes, counts = np.unique(np.round(np.abs(values[:, :, k][values[:, :, k] != 0]), 12), return_counts=True)
        scales[k] = magnitudes[counts == counts.max()].max()
    return [scale * scales] if "scales" in op.attributes else [scale * values / scales]


def _einsum(op: Operation, operands: list) -> list[np.ndarray]:
    return [np.einsum(op.attributes["subscripts"].strip('"'), *operands)]


_OPS = {
    "equivariant.gather": _gather,
    "equivariant.segment_sum": _segment_sum,
    "equivariant.contract": _contract,
    "equivariant.add": _add,
    "equivariant.zeros": _zeros,
    "equivariant.kernel": _kernel,
    "equivariant.block": _block,
    "equivariant.assemble": _assemble,
    "equivariant.coefficients": _read_coefficients,
    "equivariant.einsum": _einsum,
}
