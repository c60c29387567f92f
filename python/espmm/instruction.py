"""Instructions: which blocks a path couples, how their multiplicities are tied, and its coefficient."""

from __future__ import annotations

import operator
from math import prod
from typing import Any, Hashable, NamedTuple

from .errors import ProblemAssertionError, ProblemError, ProblemIndexError, ProblemKeyError, ProblemTypeError
from .irreps import Irreps

#: e3nn's connection modes, and their names in the IR.
MODES = {
    "uvw": "uvw",
    "uvu": "uvu",
    "uvv": "uvv",
    "uuw": "uuw",
    "uuu": "uuu",
    "uvuv": "uvuv",
    "uvu<v": "uvu_lt_v",
    "u<vw": "u_lt_vw",
}


class Instruction(NamedTuple):
    """A normalised path, with e3nn's fields: ``path_weight`` is the final coefficient of the path."""

    i_in1: int
    i_in2: int
    i_out: int
    connection_mode: str
    has_weight: bool
    path_weight: float
    path_shape: tuple[int, ...]

    @property
    def weight_numel(self) -> int:
        """Number of weights: the product of ``path_shape``, or 0 for a path without weights."""
        return prod(self.path_shape) if self.has_weight else 0

    @property
    def is_empty(self) -> bool:
        """True for a path over a multiplicity of 0, which e3nn (and we) leave out."""
        return 0 in self.path_shape

    def at(self, position: int) -> str:
        """What messages call it."""
        return _name(position, *self[:5])


class RawInstruction(NamedTuple):
    """An instruction as the user wrote it, checked; ``final`` if its path_weight is a coefficient already."""

    position: int
    i_in1: int
    i_in2: int
    i_out: int
    mode: str
    has_weight: bool
    path_weight: float
    final: bool

    def __str__(self) -> str:
        return _name(*self[:6])


def _name(position: int, i_in1: int, i_in2: int, i_out: int, mode: str, has_weight: bool) -> str:
    return f"instruction {position} ({i_in1}, {i_in2}, {i_out}, {mode!r}, {has_weight})"


def path_shape(mode: str, mul1: int, mul2: int, mul_out: int) -> tuple[int, ...]:
    """Shape of a path's weights (e3nn's formula, which also counts the pairs u < v as m1 (m2 - 1) / 2)."""
    pairs = mul1 * (mul2 - 1) // 2
    return {
        "uvw": (mul1, mul2, mul_out),
        "uvu": (mul1, mul2),
        "uvv": (mul1, mul2),
        "uuw": (mul1, mul_out),
        "uuu": (mul1,),
        "uvuv": (mul1, mul2),
        "uvu<v": (pairs,),
        "u<vw": (pairs, mul_out),
    }[mode]


def summed_elements(mode: str, mul1: int, mul2: int) -> int:
    """Number of products of elements of x and y that one element of the path's output sums over."""
    return {
        "uvw": mul1 * mul2,
        "uvu": mul2,
        "uvv": mul1,
        "uuw": mul1,
        "uuu": 1,
        "uvuv": 1,
        "uvu<v": 1,
        "u<vw": mul1 * (mul2 - 1) // 2,
    }[mode]


def read_instruction(position: int, given: Any, irreps: tuple[Irreps, Irreps, Irreps]) -> RawInstruction:
    """Reads and checks one entry of ``instructions``.

    Args:
        position: its index, for messages.
        given: ``(i_in1, i_in2, i_out, mode, has_weight[, path_weight])``, or an Instruction (ours or e3nn's).
        irreps: the irreps of in1, in2 and out.
    """
    final = hasattr(given, "path_shape")
    try:
        entries = tuple(given)
    except TypeError:
        raise ProblemTypeError(f"expected instruction {position} to be a tuple, got {given!r}") from None
    if final:
        entries = entries[:6]
    if len(entries) not in (5, 6):
        raise ProblemError(
            f"expected instruction {position} to be (i_in1, i_in2, i_out, mode, has_weight[, path_weight]), got {given!r}"
        )
    *indices, mode, has_weight = entries[:5]
    if not isinstance(mode, Hashable):
        raise ProblemTypeError(f"expected the connection mode of instruction {position} to be a string, got {mode!r}")
    if mode not in MODES:
        raise ProblemKeyError(
            f"instruction {position}: unknown connection mode {mode!r}, expected one of {', '.join(MODES)}"
        )
    try:
        indices = [operator.index(i) for i in indices]
    except TypeError:
        raise ProblemTypeError(
            f"expected the block indices of instruction {position} to be integers, got {given!r}"
        ) from None
    try:
        path_weight = entries[5] if len(entries) == 6 else 1.0
        if isinstance(path_weight, (str, bytes)):
            raise TypeError
        path_weight = path_weight if isinstance(path_weight, (int, float)) else float(path_weight)
    except (TypeError, ValueError):
        raise ProblemTypeError(
            f"expected the path weight of instruction {position} to be a number, got {entries[5]!r}"
        ) from None
    raw = RawInstruction(position, *indices, mode, bool(has_weight), path_weight, final)
    for index, name, blocks in zip(indices, ("irreps_in1", "irreps_in2", "irreps_out"), irreps):
        if not 0 <= index < len(blocks):
            raise ProblemIndexError(
                f"{raw}: block index {index} is out of range for {name} = '{blocks}', which has {len(blocks)} blocks"
                + (" (negative indices are not allowed)" if index < 0 else "")
            )
    return raw


def check_instruction(raw: RawInstruction, irreps: tuple[Irreps, Irreps, Irreps]) -> None:
    """Checks that the path is allowed: parities, degrees, and multiplicities that fit the mode."""
    block1, block2, block3 = (blocks[i] for blocks, i in zip(irreps, raw[1:4]))
    ir1, ir2, ir3 = block1.ir, block2.ir, block3.ir
    if ir3 not in tuple(ir1 * ir2):
        why = "the parity" if ir3.p != ir1.p * ir2.p else "the degree"
        raise ProblemAssertionError(
            f"{raw}: {why} of {ir3!r} does not occur in {ir1!r} x {ir2!r} = {' + '.join(map(repr, ir1 * ir2))}"
        )
    m1, m2, m3 = block1.mul, block2.mul, block3.mul
    if 0 in path_shape(raw.mode, m1, m2, m3):
        return  # an empty path: e3nn leaves it out before it looks at the multiplicities
    fits, expected = {
        "uvw": (True, ""),
        "uvu": (m1 == m3, "mul_in1 = mul_out"),
        "uvv": (m2 == m3, "mul_in2 = mul_out"),
        "uuw": (m1 == m2, "mul_in1 = mul_in2"),
        "uuu": (m1 == m2 == m3, "mul_in1 = mul_in2 = mul_out"),
        "uvuv": (m1 * m2 == m3, "mul_in1 * mul_in2 = mul_out"),
        "uvu<v": (m1 == m2 and m1 * (m1 - 1) // 2 == m3, "mul_in1 = mul_in2 = m and m (m - 1) / 2 = mul_out"),
        "u<vw": (m1 == m2, "mul_in1 = mul_in2"),
    }[raw.mode]
    if not fits:
        raise ProblemAssertionError(
            f"{raw}: mode {raw.mode!r} expects {expected}, got {block1!r} x {block2!r} -> {block3!r}"
        )
    if not raw.has_weight and raw.mode in ("uvw", "u<vw"):
        raise ProblemAssertionError(f"{raw}: mode {raw.mode!r} needs a weight, got has_weight = False")
    if not raw.has_weight and raw.mode == "uuw" and m3 != 1:
        raise ProblemAssertionError(f"{raw}: mode 'uuw' without weights expects mul_out = 1, got {block3!r}")
