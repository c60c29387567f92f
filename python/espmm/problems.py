"""The named problems of the benchmarks: convolutions of MACE- and NequIP-like potentials."""

from __future__ import annotations

from typing import Any

from .errors import ProblemError
from .irreps import Irreps
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
    """One of :data:`NAMED`, with weights by edge; ``arguments`` are TPProblem's (dtypes, layout)."""
    if name not in NAMED:
        raise ProblemError(f"unknown problem {name!r}, expected one of {', '.join(NAMED)}")
    return every_path_problem(*NAMED[name], **arguments)
