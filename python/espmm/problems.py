"""Problems by what they connect: every path, e3nn's derived products, and the named ones of the benchmarks."""

from __future__ import annotations

from typing import Any, Iterable, Optional

from .errors import ProblemAssertionError, ProblemError, ProblemTypeError
from .irreps import Irrep, Irreps, as_irrep
from .problem import TPProblem

NAMED = {
    "mace-large": ("128x0e+128x1o+128x2e", "0e+1o+2e+3o", "0e+1o+2e+3o"),
    "mace-medium": ("128x0e+128x1o", "0e+1o+2e+3o", "0e+1o+2e"),
    "nequip-lips": ("32x0o+32x0e+32x1o+32x1e+32x2o+32x2e", "0e+1o+2e", "0o+0e+1o+1e+2o+2e"),
    "nequip-aspirin": ("64x0o+64x0e+64x1o+64x1e", "0e+1o", "0o+0e+1o+1e"),
    "nequip-benzene": (
        "64x0o+64x0e+64x1o+64x1e+64x2o+64x2e+64x3o+64x3e",
        "0e+1o+2e+3o",
        "0o+0e+1o+1e+2o+2e+3o+3e",
    ),
}

#: Convolutions over unequal multiplicities: SevenNet's, and one that no width divides.
UNEVEN = {
    "sevennet": ("128x0e+64x1e+32x2e", "1x0e+1x1e+1x2e", "0e+1e+2e"),
    "uneven": ("100x0e+17x1o", "0e+1o", "0e+1o+1e+2e"),
}

#: Dense products (mode "uvw") of other networks: (in1, in2, out).
DENSE = {
    "diffdock-L1": ("10x1o+10x1e+48x0e+48x0o", "1x0e+1x1o", "10x1o+10x1e+48x0e+48x0o"),
    "diffdock-L2": ("10x1o+10x1e+48x0e+48x0o", "1x0e+1x1o+1x2e", "10x1o+10x1e+48x0e+48x0o"),
    "tetris-1": ("1x0e+1x1o+1x2e+1x3o", "1x0e+1x1o+1x2e+1x3o", "64x0e+24x1e+24x1o+16x2e+16x2o"),
}


def every_path(irreps_in1: Any, irreps_in2: Any, irreps_out: Any) -> tuple[Irreps, list[tuple]]:
    """Every allowed path into some irreps: what MACE, NequIP and SevenNet convolve with.

    Args:
        irreps_in1, irreps_in2: the inputs.
        irreps_out: the irreps that outputs may have; multiplicities do not matter.

    Returns:
        The output irreps, one block of in1's multiplicity a path, sorted by irrep (e3nn's order, stable), and
        the instructions ``(i1, i2, i3, "uvu", True)`` sorted by output block.
    """
    in1, in2 = Irreps(irreps_in1), Irreps(irreps_in2)
    wanted = {block.ir for block in Irreps(irreps_out)}
    blocks, paths = [], []
    for i1, (mul, ir1) in enumerate(in1):
        for i2, (_, ir2) in enumerate(in2):
            for ir in ir1 * ir2:
                if ir in wanted:
                    blocks.append((mul, ir))
                    paths.append((i1, i2))
    irreps, place = Irreps(blocks).sort()
    instructions = [(i1, i2, place[k], "uvu", True) for k, (i1, i2) in enumerate(paths)]
    return irreps, sorted(instructions, key=lambda instruction: instruction[2])


def every_path_problem(irreps_in1: Any, irreps_in2: Any, irreps_out: Any, **arguments: Any) -> TPProblem:
    """The TPProblem over :func:`every_path`, with weights by edge; ``arguments`` are TPProblem's."""
    irreps, instructions = every_path(irreps_in1, irreps_in2, irreps_out)
    arguments = {"shared_weights": False, "internal_weights": False, **arguments}
    return TPProblem(irreps_in1, irreps_in2, irreps, instructions, **arguments)


def named_problem(name: str, **arguments: Any) -> TPProblem:
    """One of :data:`NAMED` or :data:`UNEVEN`, with weights by edge; ``arguments`` are TPProblem's (dtypes, layout)."""
    irreps = {**NAMED, **UNEVEN}
    if name not in irreps:
        raise ProblemError(f"unknown problem {name!r}, expected one of {', '.join(irreps)}")
    return every_path_problem(*irreps[name], **arguments)


def fully_connected_problem(irreps_in1: Any, irreps_in2: Any, irreps_out: Any, **arguments: Any) -> TPProblem:
    """Every allowed path in mode "uvw", as ``e3nn.o3.FullyConnectedTensorProduct``; ``arguments`` are TPProblem's."""
    in1, in2, out = Irreps(irreps_in1), Irreps(irreps_in2), Irreps(irreps_out)
    instructions = [
        (i1, i2, i3, "uvw", True)
        for i1, block1 in enumerate(in1)
        for i2, block2 in enumerate(in2)
        for i3, block3 in enumerate(out)
        if block3.ir in tuple(block1.ir * block2.ir)
    ]
    return TPProblem(in1, in2, out, instructions, **arguments)


def elementwise_problem(irreps_in1: Any, irreps_in2: Any, filter_ir_out: Optional[Iterable] = None, **arguments: Any) -> TPProblem:
    """Channel by channel, as ``e3nn.o3.ElementwiseTensorProduct``: blocks are cut until those of both inputs match.

    Raises:
        ProblemError: the inputs do not have as many irreps; filter_ir_out is not irreps.
    """
    in1, in2 = Irreps(irreps_in1).simplify(), Irreps(irreps_in2).simplify()
    if in1.num_irreps != in2.num_irreps:
        raise ProblemAssertionError(
            f"expected inputs of as many irreps, got '{in1}' with {in1.num_irreps} and '{in2}' with {in2.num_irreps}"
        )
    wanted = _filter(filter_ir_out)
    cuts = sorted({end for blocks in (in1, in2) for end in _ends(blocks)})
    sizes = [end - begin for begin, end in zip([0, *cuts], cuts)]
    blocks1, blocks2 = (Irreps(_cut(blocks, sizes)) for blocks in (in1, in2))
    out, instructions = [], []
    for i, (block1, block2) in enumerate(zip(blocks1, blocks2)):
        for ir in block1.ir * block2.ir:
            if wanted is None or ir in wanted:
                instructions.append((i, i, len(out), "uuu", False))
                out.append((block1.mul, ir))
    return TPProblem(blocks1, blocks2, Irreps(out), instructions, **arguments)


def full_problem(irreps_in1: Any, irreps_in2: Any, filter_ir_out: Optional[Iterable] = None, **arguments: Any) -> TPProblem:
    """Every product of every channel with every other, without weights, as ``e3nn.o3.FullTensorProduct``."""
    in1, in2, wanted = Irreps(irreps_in1).simplify(), Irreps(irreps_in2).simplify(), _filter(filter_ir_out)
    out, paths = [], []
    for i1, block1 in enumerate(in1):
        for i2, block2 in enumerate(in2):
            for ir in block1.ir * block2.ir:
                if wanted is None or ir in wanted:
                    out.append((block1.mul * block2.mul, ir))
                    paths.append((i1, i2))
    irreps, place = Irreps(out).sort()
    return TPProblem(in1, in2, irreps, [(i1, i2, place[k], "uvuv", False) for k, (i1, i2) in enumerate(paths)], **arguments)


def square_problem(
    irreps_in: Any,
    irreps_out: Any = None,
    filter_ir_out: Optional[Iterable] = None,
    irrep_normalization: Optional[str] = None,
    **arguments: Any,
) -> TPProblem:
    """The product of a tensor with itself, each pair of channels once, as ``e3nn.o3.TensorSquare``.

    Args:
        irreps_in: both inputs.
        irreps_out: given, every path into them, with weights; else every product, without.
        filter_ir_out: without irreps_out, the irreps to keep.
        irrep_normalization: "component" (default), "norm" or "none"; of a product of equal inputs, whose elements are not independent.
        arguments: others of TPProblem.
    """
    normalization = "component" if irrep_normalization is None else irrep_normalization
    if normalization not in ("component", "norm", "none"):
        raise ProblemAssertionError(f"expected irrep_normalization 'component', 'norm' or 'none', got {irrep_normalization!r}")
    if irreps_out is not None and filter_ir_out is not None:
        raise ProblemError("expected irreps_out or filter_ir_out, got both")
    blocks, wanted = Irreps(irreps_in).simplify(), _filter(filter_ir_out)
    given = None if irreps_out is None else Irreps(irreps_out).simplify()
    out: list[tuple] = []
    instructions: list[tuple] = []

    def add(i1: int, i2: int, ir: Irrep, modes: tuple[str, str], mul: int, variance: float) -> None:
        """To every block of the outputs that are given, or to one of its own."""
        if given is not None:
            places = [k for k, block in enumerate(given) if block.ir == ir]
            instructions.extend((i1, i2, k, modes[1], True, variance) for k in places)
        elif wanted is None or ir in wanted:
            instructions.append((i1, i2, len(out), modes[0], False, variance))
            out.append((mul, ir))

    for i1, (mul1, ir1) in enumerate(blocks):
        for i2 in range(i1, len(blocks)):
            mul2, ir2 = blocks[i2]
            for ir in ir1 * ir2:
                independent = {"component": ir.dim, "norm": ir1.dim * ir2.dim, "none": 1}[normalization]
                if i1 != i2:
                    add(i1, i2, ir, ("uvuv", "uvw"), mul1 * mul2, independent)
                    continue
                if mul1 > 1:
                    add(i1, i1, ir, ("uvu<v", "u<vw"), mul1 * (mul1 - 1) // 2, independent)
                # A channel with itself is symmetric: what is odd under exchange vanishes.
                if ir.l % 2 == 0:
                    add(i1, i1, ir, ("uuu", "uuw"), mul1, _variance_of_square(ir1, ir, normalization))
    if given is None:
        irreps, place = Irreps(out).sort()
        instructions = [(i1, i2, place[k], *rest) for i1, i2, k, *rest in instructions]
    else:
        # e3nn's order of weights: for each pair of inputs by output, pairs of channels before single ones.
        irreps, order = given, {"uvw": 0, "u<vw": 0, "uuw": 1}
        instructions.sort(key=lambda ins: (ins[0], ins[1], ins[2], order[ins[3]]))
    return TPProblem(blocks, blocks, irreps, instructions, irrep_normalization="none", **arguments)


def _variance_of_square(ir: Irrep, out: Irrep, normalization: str) -> float:
    """What makes the variance of x times x, in one channel, that of the product of independent x and y."""
    if normalization == "component":
        return out.dim / (ir.dim + 2) if out.l == 0 else out.dim / 2
    if normalization == "norm":
        return out.dim * ir.dim if out.l == 0 else ir.dim * (ir.dim + 2) / 2
    return 1


def _filter(filter_ir_out: Optional[Iterable]) -> Optional[set[Irrep]]:
    if filter_ir_out is None:
        return None
    try:
        return {as_irrep(ir) for ir in filter_ir_out}
    except (TypeError, ValueError) as error:
        kind = ProblemTypeError if isinstance(error, TypeError) else ProblemError
        raise kind(f"expected filter_ir_out to be irreps, got {filter_ir_out!r}: {error}") from None


def _ends(blocks: Irreps) -> list[int]:
    """Where each block ends, counted in irreps."""
    ends, end = [], 0
    for block in blocks:
        end += block.mul
        ends.append(end)
    return ends


def _cut(blocks: Irreps, sizes: list[int]) -> list[tuple[int, Irrep]]:
    """Blocks in pieces of these multiplicities, none of which spans two of them."""
    ends, pieces, begin, n = _ends(blocks), [], 0, 0
    for size in sizes:
        while ends[n] <= begin:
            n += 1
        pieces.append((size, blocks[n].ir))
        begin += size
    return pieces
