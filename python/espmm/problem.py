"""The description of a tensor product: a value with e3nn.o3.TensorProduct's constructor."""

from __future__ import annotations

import itertools
import sys
import warnings
from math import isfinite, sqrt
from typing import Any, Iterable, Optional, Sequence

from .dtypes import dtype_name
from .errors import ProblemAssertionError, ProblemError, ProblemTypeError
from .instruction import Instruction, RawInstruction, check_instruction, path_shape, read_instruction, summed_elements
from .irreps import Irreps

#: Largest degree of an irrep in a product.
MAX_L = 11

LAYOUTS = ("mul_ir", "ir_mul")


class TPProblem:
    """A tensor product of x (irreps_in1) and y (irreps_in2) into z (irreps_out), weighted path by path.

    The arguments up to ``_optimize_einsums`` are those of ``e3nn.o3.TensorProduct`` (0.6.0), in its order and
    with its meaning and defaults; the last three are ours. A problem is a value: it is frozen, hashable, comparable by what
    it computes, picklable, and its repr evaluates to an equal problem.

    Args:
        irreps_in1, irreps_in2, irreps_out: irreps as :class:`espmm.Irreps` reads them.
        instructions: tuples ``(i_in1, i_in2, i_out, mode, has_weight[, path_weight])``, normalised as e3nn does;
            or Instruction objects, e3nn's or ours, whose ``path_weight`` is final and taken as it is.
        in1_var, in2_var, out_var: variance of each block, 1 where None.
        irrep_normalization: ``"component"`` (default), ``"norm"`` or ``"none"``.
        path_normalization: ``"element"`` (default), ``"path"`` or ``"none"``.
        internal_weights: whether the module owns the weights.
        shared_weights: whether all rows share one vector of weights.
        compile_left_right, compile_right, _specialized_code, _optimize_einsums: accepted and ignored; they
            choose among e3nn's own code generators.
        normalization: deprecated name of ``irrep_normalization``.
        irrep_dtype: ``"float32"``, ``"float64"``, ``"bfloat16"`` or ``"float16"``, as string, torch dtype or numpy dtype. None, as in
            e3nn, for torch's default dtype (``torch.set_default_dtype``); float32 where torch is not imported. Of the latter two x, y, z
            and their gradients are stored; all arithmetic and all sums are float32, and each result is rounded once.
        weight_dtype: the same for the weights; None for ``irrep_dtype``. It may be another one if what is computed with is float32 for both.
        layout: ``"mul_ir"`` (e3nn's) or ``"ir_mul"``: order of the elements within a block of x, y and z.

    Attributes:
        instructions: tuple of :class:`Instruction`, normalised.
        weight_numel: number of weights of a row.

    Raises:
        ProblemError: an argument is not valid; also an instance of the class that e3nn raises for it.
    """

    __slots__ = (
        "irreps_in1",
        "irreps_in2",
        "irreps_out",
        "instructions",
        "shared_weights",
        "internal_weights",
        "irrep_dtype",
        "weight_dtype",
        "layout",
        "weight_numel",
        "_hash",
        "__weakref__",
    )
    _VALUE = __slots__[:9]

    irreps_in1: Irreps
    irreps_in2: Irreps
    irreps_out: Irreps
    instructions: tuple[Instruction, ...]
    shared_weights: bool
    internal_weights: bool
    irrep_dtype: str
    weight_dtype: str
    layout: str
    weight_numel: int
    _hash: int

    def __init__(
        self,
        irreps_in1: Any,
        irreps_in2: Any,
        irreps_out: Any,
        instructions: Iterable[Any],
        in1_var: Optional[Sequence[float]] = None,
        in2_var: Optional[Sequence[float]] = None,
        out_var: Optional[Sequence[float]] = None,
        irrep_normalization: Optional[str] = None,
        path_normalization: Optional[str] = None,
        internal_weights: Optional[bool] = None,
        shared_weights: Optional[bool] = None,
        compile_left_right: bool = True,
        compile_right: bool = False,
        normalization: Optional[str] = None,
        _specialized_code: Optional[bool] = None,
        _optimize_einsums: Optional[bool] = None,
        irrep_dtype: Any = None,
        weight_dtype: Any = None,
        layout: str = "mul_ir",
    ) -> None:
        if normalization is not None:
            message = "`normalization` is deprecated. Use `irrep_normalization` instead."
            warnings.warn(message, DeprecationWarning, stacklevel=_callers_level())
            irrep_normalization = normalization
        irrep_normalization = _choice("irrep_normalization", irrep_normalization, ("component", "norm", "none"))
        path_normalization = _choice("path_normalization", path_normalization, ("element", "path", "none"))
        if layout not in LAYOUTS:
            raise ProblemError(f"expected layout to be 'mul_ir' or 'ir_mul', got {layout!r}")

        irreps = (Irreps(irreps_in1), Irreps(irreps_in2), Irreps(irreps_out))
        for name, blocks in zip(("irreps_in1", "irreps_in2", "irreps_out"), irreps):
            for i, block in enumerate(blocks):
                if block.ir.l > MAX_L:
                    raise ProblemError(f"block {i} of {name} = '{blocks}' is {block!r}, but degrees go up to l = {MAX_L}")
        try:
            given = list(instructions)
        except TypeError:
            raise ProblemTypeError(f"expected instructions to be a list of tuples, got {instructions!r}") from None
        raws = [read_instruction(i, entry, irreps) for i, entry in enumerate(given)]
        variances = tuple(
            _variances(name, values, blocks)
            for name, values, blocks in zip(("in1_var", "in2_var", "out_var"), (in1_var, in2_var, out_var), irreps)
        )
        for raw in raws:
            check_instruction(raw, irreps)

        if shared_weights is False and internal_weights is None:
            internal_weights = False
        if shared_weights is None:
            shared_weights = True
        if internal_weights is None:
            internal_weights = shared_weights and any(raw.has_weight for raw in raws)
        if internal_weights and not shared_weights:
            raise ProblemAssertionError("internal_weights = True needs shared_weights = True, got shared_weights = False")

        if irrep_dtype is None:
            torch = sys.modules.get("torch")
            irrep_dtype = "float32" if torch is None else torch.get_default_dtype()
        self._freeze(
            irreps,
            tuple(
                Instruction(
                    raw.i_in1,
                    raw.i_in2,
                    raw.i_out,
                    raw.mode,
                    raw.has_weight,
                    _coefficient(raw, raws, irreps, variances, irrep_normalization, path_normalization),
                    path_shape(raw.mode, irreps[0][raw.i_in1].mul, irreps[1][raw.i_in2].mul, irreps[2][raw.i_out].mul),
                )
                for raw in raws
            ),
            bool(shared_weights),
            bool(internal_weights),
            dtype_name(irrep_dtype, "irrep_dtype"),
            dtype_name(irrep_dtype if weight_dtype is None else weight_dtype, "weight_dtype"),
            layout,
        )

    def _freeze(self, irreps: tuple[Irreps, Irreps, Irreps], instructions: tuple[Instruction, ...], *rest: Any) -> None:
        for name, value in zip(self._VALUE, (*irreps, instructions, *rest)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "weight_numel", sum(ins.weight_numel for ins in instructions))
        object.__setattr__(self, "_hash", hash(self._value()))

    @classmethod
    def from_e3nn(cls, tp: Any, **changes: Any) -> "TPProblem":
        """Reads a built ``e3nn.o3.TensorProduct`` (e3nn 0.4.4 to 0.6) or any of its subclasses.

        Its instructions carry final coefficients, which are taken as they are. The dtypes are that of the
        module's buffers.

        Args:
            tp: the module.
            changes: keyword arguments of TPProblem that replace what was read, such as ``layout`` or ``irrep_dtype``.
        """
        needed = ("irreps_in1", "irreps_in2", "irreps_out", "instructions", "shared_weights", "internal_weights")
        missing = [name for name in needed if not hasattr(tp, name)]
        if missing:
            raise TypeError(f"expected a built e3nn.o3.TensorProduct, got {type(tp).__name__} without {', '.join(missing)}")
        arguments = {name: getattr(tp, name) for name in needed}
        mask = getattr(tp, "output_mask", None)
        if mask is not None:
            arguments.update(irrep_dtype=mask.dtype, weight_dtype=mask.dtype)
        return cls(**{**arguments, **changes})

    def replace(self, **changes: Any) -> "TPProblem":
        """The same problem with some of its attributes changed: dtypes, layout, whose weights, irreps, instructions."""
        unknown = set(changes) - set(self._VALUE)
        if unknown:
            raise TypeError(f"cannot replace {', '.join(sorted(unknown))}, expected some of {', '.join(self._VALUE)}")
        return TPProblem(**{**dict(zip(self._VALUE, self._value())), **changes})

    @property
    def weight_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of the weights of each instruction that has some, in order."""
        return tuple(ins.path_shape for ins in self.instructions if ins.has_weight)

    def weight_slices(self) -> tuple[Optional[slice], ...]:
        """Where the weights of each instruction lie in a row of weights; None for one without weights."""
        ends = list(itertools.accumulate((ins.weight_numel for ins in self.instructions), initial=0))
        return tuple(
            slice(begin, end) if ins.has_weight else None for ins, begin, end in zip(self.instructions, ends, ends[1:])
        )

    @property
    def output_mask(self) -> tuple[bool, ...]:
        """For each element of z, in layout order of blocks, whether any instruction reaches it (e3nn's output_mask)."""
        reached = {ins.i_out for ins in self.instructions if ins.path_weight != 0 and not ins.is_empty}
        return tuple(i in reached for i, block in enumerate(self.irreps_out) for _ in range(block.dim))

    def _value(self) -> tuple:
        return tuple(getattr(self, name) for name in self._VALUE)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TPProblem):
            return NotImplemented
        return self is other or (self._hash == other._hash and self._value() == other._value())

    def __hash__(self) -> int:
        return self._hash

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"TPProblem is frozen: use replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("TPProblem is frozen")

    def __reduce__(self) -> tuple:
        return _restore, self._value()

    def __repr__(self) -> str:
        lines = "".join(f"        {ins!r},\n" for ins in self.instructions)
        rest = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._VALUE[4:])
        return (
            f"TPProblem(\n    '{self.irreps_in1}',\n    '{self.irreps_in2}',\n    '{self.irreps_out}',\n"
            f"    [\n{lines}    ],\n    {rest},\n)"
        )

    def __str__(self) -> str:
        modes = ", ".join(sorted({ins.connection_mode for ins in self.instructions}))
        sharing = "internal " if self.internal_weights else "shared " if self.shared_weights else ""
        dtype = self.irrep_dtype if self.irrep_dtype == self.weight_dtype else f"{self.irrep_dtype}/{self.weight_dtype}"
        return (
            f"{self.irreps_in1.simplify()} x {self.irreps_in2.simplify()} -> {self.irreps_out.simplify()} | "
            f"{len(self.instructions)} paths ({modes}) | {self.weight_numel} {sharing}weights | {dtype} {self.layout}"
        )


def _callers_level() -> int:
    """The ``stacklevel`` at which whoever called this package is warned, of a class derived from another too."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __name__.partition(".")[0]:
        frame, level = frame.f_back, level + 1
    return level


def _restore(*value: Any) -> TPProblem:
    problem = TPProblem.__new__(TPProblem)
    problem._freeze(value[:3], *value[3:])
    return problem


def _choice(name: str, value: Optional[str], choices: tuple[str, ...]) -> str:
    if value is None:
        return choices[0]
    if value not in choices:
        raise ProblemAssertionError(f"expected {name} to be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def _variances(name: str, values: Optional[Sequence[float]], blocks: Irreps) -> list[float]:
    if values is None:
        return [1.0] * len(blocks)
    try:
        numbers = [float(value) for value in values]
    except TypeError:
        raise ProblemTypeError(f"expected {name} to be a list of numbers, got {values!r}") from None
    except ValueError:
        raise ProblemError(f"expected {name} to be a list of numbers, got {values!r}") from None
    if len(numbers) != len(blocks):
        raise ProblemAssertionError(
            f"expected {name} to have {len(blocks)} entries, one a block of '{blocks}', got {len(numbers)}"
        )
    return numbers


def _coefficient(
    raw: RawInstruction,
    raws: list[RawInstruction],
    irreps: tuple[Irreps, Irreps, Irreps],
    variances: tuple[list[float], ...],
    irrep_normalization: str,
    path_normalization: str,
) -> float:
    """The coefficient that makes the output's variance ``out_var`` for inputs of variances ``in1_var``, ``in2_var``.

    The operations and their order are e3nn's, so that coefficients agree to the last bit.
    """
    if raw.final:
        coefficient = float(raw.path_weight)
    else:
        alpha: float = {
            "component": irreps[2][raw.i_out].ir.dim,
            "norm": irreps[0][raw.i_in1].ir.dim * irreps[1][raw.i_in2].ir.dim,
            "none": 1,
        }[irrep_normalization]

        def incoming(other: RawInstruction) -> float:
            summed = summed_elements(other.mode, irreps[0][other.i_in1].mul, irreps[1][other.i_in2].mul)
            return variances[0][other.i_in1] * variances[1][other.i_in2] * summed

        siblings = [other for other in raws if other.i_out == raw.i_out]
        total: float = 1
        if path_normalization == "element":
            total = sum(map(incoming, siblings))
        elif path_normalization == "path":
            total = incoming(raw) * len(siblings)
        if total > 0.0:
            alpha /= total
        alpha *= variances[2][raw.i_out]
        alpha *= raw.path_weight
        if not alpha >= 0.0:
            raise ProblemError(
                f"{raw}: the squared coefficient is {alpha}, expected >= 0 "
                f"(path_weight {raw.path_weight}, out_var {variances[2][raw.i_out]})"
            )
        coefficient = sqrt(alpha)
    if not isfinite(coefficient):
        raise ProblemError(f"{raw}: the coefficient is {coefficient}, expected a finite number")
    return coefficient
