"""Direct sums of irreducible representations of O(3), in e3nn's notation."""

from __future__ import annotations

import operator
import re
from typing import Any, Iterator, NamedTuple

from .errors import ProblemError, ProblemTypeError

_TERM = re.compile(r"\s*(?:(?P<mul>\d+)\s*x\s*)?(?P<l>\d+)\s*(?P<p>[eoy])\s*\Z")


class Irrep(NamedTuple):
    """One irreducible representation: degree ``l`` >= 0 and parity ``p``, 1 (even) or -1 (odd)."""

    l: int  # noqa: E741  the field's own name
    p: int

    @property
    def dim(self) -> int:
        """``2 l + 1``."""
        return 2 * self.l + 1

    def __repr__(self) -> str:
        return f"{self.l}{'e' if self.p == 1 else 'o'}"

    def __mul__(self, other: Any) -> Iterator["Irrep"]:  # type: ignore[override]
        """The irreps of the product of two irreps, by rising degree."""
        other = as_irrep(other)
        for l in range(abs(self.l - other.l), self.l + other.l + 1):  # noqa: E741
            yield Irrep(l, self.p * other.p)


class MulIrrep(NamedTuple):
    """``mul`` copies of an irrep: one block."""

    mul: int
    ir: Irrep

    @property
    def dim(self) -> int:
        """Number of elements of the block."""
        return self.mul * self.ir.dim

    def __repr__(self) -> str:
        return f"{self.mul}x{self.ir!r}"


class Irreps(tuple):
    """A sequence of blocks, each a multiplicity and an irrep.

    Reads e3nn's notation (``"128x0e+128x1o"``; ``"0e + 1o"`` means multiplicity 1; ``y`` is the parity of
    the spherical harmonics), e3nn's own ``Irreps`` and ``Irrep``, and lists of ``(mul, (l, p))``,
    ``(mul, "1o")`` or ``"1o"``. It is a tuple of ``(mul, (l, p))``, equal to e3nn's for the same blocks.

    Raises:
        ProblemError: the argument cannot be read; the message quotes it and the part that is wrong.

    >>> Irreps("8x0e + 1o")
    Irreps('8x0e+1x1o')
    >>> Irreps("8x0e + 1o").dim
    11
    """

    __slots__ = ()

    def __new__(cls, irreps: Any = None) -> "Irreps":
        if type(irreps) is cls:
            return irreps
        if irreps is None:
            return super().__new__(cls, ())
        if isinstance(irreps, str):
            return super().__new__(cls, _parse(irreps))
        if hasattr(irreps, "l") and hasattr(irreps, "p"):
            return super().__new__(cls, (MulIrrep(1, as_irrep(irreps)),))
        if isinstance(irreps, MulIrrep):
            return super().__new__(cls, (irreps,))
        try:
            blocks = list(irreps)
        except TypeError:
            raise ProblemTypeError(
                f"expected irreps as a string like '8x0e+8x1o' or a list of (mul, (l, p)), got {irreps!r}"
            ) from None
        return super().__new__(cls, (_as_block(block, irreps) for block in blocks))

    @property
    def dim(self) -> int:
        """Number of elements of a row."""
        return sum(block.dim for block in self)

    @property
    def num_irreps(self) -> int:
        """Sum of the multiplicities."""
        return sum(block.mul for block in self)

    @property
    def lmax(self) -> int:
        """Largest degree among the blocks that are not empty; ValueError if there is none."""
        return max(block.ir.l for block in self if block.mul > 0)

    def slices(self) -> list[slice]:
        """Where each block lies in a row."""
        result, start = [], 0
        for block in self:
            result.append(slice(start, start + block.dim))
            start += block.dim
        return result

    def sort(self) -> tuple["Irreps", tuple[int, ...]]:
        """The blocks in e3nn's order (by degree, then odd before even), and where each block went."""
        order = sorted(range(len(self)), key=lambda i: (self[i].ir, i))
        place = [0] * len(self)
        for new, old in enumerate(order):
            place[old] = new
        return Irreps([self[i] for i in order]), tuple(place)

    def simplify(self) -> "Irreps":
        """Neighbouring blocks of the same irrep joined, empty ones left out."""
        result: list[MulIrrep] = []
        for block in self:
            if result and result[-1].ir == block.ir:
                result[-1] = MulIrrep(result[-1].mul + block.mul, block.ir)
            elif block.mul > 0:
                result.append(block)
        return Irreps(result)

    def __getitem__(self, item: Any) -> Any:
        got = super().__getitem__(item)
        return Irreps(got) if isinstance(item, slice) else got

    def __add__(self, other: Any) -> "Irreps":  # type: ignore[override]
        return Irreps(tuple(self) + tuple(Irreps(other)))

    def __str__(self) -> str:
        return "+".join(map(repr, self))

    def __repr__(self) -> str:
        return f"Irreps({str(self)!r})"

    def __reduce__(self) -> tuple:
        return Irreps, (str(self),)


def as_irrep(irrep: Any) -> Irrep:
    """Reads one irrep: ``"1o"``, ``(1, -1)``, or an object with ``l`` and ``p``."""
    if isinstance(irrep, Irrep):
        return irrep
    if isinstance(irrep, str):
        match = _TERM.match(irrep)
        if match is None or match["mul"] is not None:
            raise ProblemError(f"expected an irrep like '1o', got {irrep!r}")
        return _parse(irrep)[0].ir
    try:
        l, p = (irrep.l, irrep.p) if hasattr(irrep, "l") else irrep  # noqa: E741
        l, p = operator.index(l), operator.index(p)  # noqa: E741
    except (TypeError, ValueError):
        raise ProblemError(f"expected an irrep as '1o' or (l, p), got {irrep!r}") from None
    if l < 0 or p not in (1, -1):
        raise ProblemError(f"expected an irrep (l, p) with l >= 0 and p = 1 or -1, got ({l}, {p})")
    return Irrep(l, p)


def _parse(text: str) -> tuple[MulIrrep, ...]:
    if not text.strip():
        return ()
    blocks = []
    for term in text.split("+"):
        match = _TERM.match(term)
        if match is None:
            raise ProblemError(
                f"unknown irreps {text!r}: cannot read {term.strip()!r}, expected MULxLP such as '8x1o' or '1o' "
                "(a multiplicity >= 0, a degree >= 0, a parity 'e', 'o' or 'y')"
            )
        l = int(match["l"])  # noqa: E741
        p = {"e": 1, "o": -1, "y": (-1) ** l}[match["p"]]
        blocks.append(MulIrrep(1 if match["mul"] is None else int(match["mul"]), Irrep(l, p)))
    return tuple(blocks)


def _as_block(block: Any, whole: Any) -> MulIrrep:
    if isinstance(block, str) or (hasattr(block, "l") and hasattr(block, "p")):
        return MulIrrep(1, as_irrep(block))
    try:
        mul, ir = (block.mul, block.ir) if hasattr(block, "mul") else block
        mul = operator.index(mul)
    except (TypeError, ValueError) as error:
        kind = ProblemTypeError if isinstance(error, TypeError) else ProblemError
        raise kind(f"unknown irreps {whole!r}: cannot read {block!r}, expected (mul, (l, p))") from None
    if mul < 0:
        raise ProblemError(f"unknown irreps {whole!r}: the multiplicity of {block!r} is negative")
    return MulIrrep(mul, as_irrep(ir))
