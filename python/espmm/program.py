"""Programs: what the compiler is given, and what is known of one without asking it.

A program is a level-0 module (``docs/Architecture.md``, section 1) and a number of derivative steps. All that
autograd wants to know (shapes, which arguments a program reads, which result depends on which argument) follows from
one fact: every result is a sum of terms, each a product of arguments, in which an argument occurs at most once.
A vector-Jacobian product maps such sums to such sums, so the sets of arguments of the terms are all we keep.
"""

from __future__ import annotations

import json
import re
import shlex
import threading
from typing import Iterable, Iterator, Mapping, NamedTuple, Optional, Sequence

from .dtypes import ARITHMETIC, MLIR_NAME
from .errors import ProblemError, UnsupportedError
from .instruction import MODES, Instruction
from .problem import TPProblem

#: Stages of every pipeline, in order; then the code: llvmir, and ptx or assembly.
STAGES = ("source", "differentiated", "fused", "factored", "tiled", "staged", "scalar", "target")

#: What can be given of a GPU schedule, and the numbers it may have (``#equivariant.schedule`` in docs/Dialect says what they mean;
#: ``slabs`` and ``instances`` are the most that there may be; ``tile_registers`` is how many registers the rows and sums of one kernel may take over its loop; ``group_by`` is whose edges are worked on together,
#: 1 receivers', 2 senders'; ``products`` is what multiplies matrices where rows share weights, 1 multiply-adds, 2 matrix units, in tf32 if the dtype is float32, 3 the same as exact as float32).
SCHEDULE = {
    "rows": range(1, 1 << 20),
    "warps": (1, 2, 4, 8, 16),
    "stages": range(2, 9),
    "registers": range(32, 256),
    "slabs": range(1, 9),
    "tile_registers": range(1, 1 << 16),
    "instances": range(1, 17),
    "group_by": (1, 2),
    "products": (1, 2, 3),
}

#: Before the JSON in a program's string.
_HEADER = "// espmm-program "
_TARGET = re.compile(r"cuda:(sm_\d+[af]?)\Z")


class Spec(NamedTuple):
    """One tensor of a program: ``rows`` is ``edges``, ``receivers``, ``senders`` or ``all`` (one row)."""

    name: str
    dtype: str
    rows: str
    width: int


class Step(NamedTuple):
    """One vector-Jacobian product: with respect to arguments ``wrt``, given cotangents of results ``cotangents``.

    Both count from 0; the index space is not counted among the arguments (in the IR it is argument 0).
    """

    wrt: tuple[int, ...]
    cotangents: tuple[int, ...]

    def __str__(self) -> str:
        return "equivariant-differentiate{{wrt={} cotangents={}}}".format(
            ",".join(str(i + 1) for i in self.wrt), ",".join(map(str, self.cotangents))
        )


class Program:
    """A module and its derivative steps; equal and hashable by them.

    Attributes:
        text: the level-0 module.
        steps: the derivative steps.
        space: ``"graph"`` or ``"rows"``.
        arguments, results: :class:`Spec` of each, the index space left out.
        terms: for each result the terms it sums, each a frozenset of argument numbers.
        deterministic: whether results must not depend on the order of execution.
        schedule: numbers of GPU schedules that are given, not chosen; see :data:`SCHEDULE`.
        used: the argument numbers that occur in any term; first_used: the least of them.
    """

    def __init__(
        self,
        text: str,
        space: str,
        arguments: Sequence[Spec],
        results: Sequence[Spec],
        terms: Sequence[Iterable[frozenset[int]]],
        steps: Sequence[Step] = (),
        deterministic: bool = False,
        schedule: Optional[Mapping[str, int]] = None,
    ) -> None:
        self.text = text
        self.space = space
        self.arguments = tuple(arguments)
        self.results = tuple(results)
        self.terms = tuple(frozenset(sums) for sums in terms)
        self.steps = tuple(steps)
        self.deterministic = deterministic
        self.schedule = check_schedule(schedule)
        self.used = frozenset(i for sums in self.terms for term in sums for i in term)
        self.first_used = min(self.used, default=0)
        self._key = (text, self.steps, deterministic, tuple(self.schedule.items()))
        self._hash = hash(self._key)
        self._vjps: dict[Step, Program] = {}
        self._gradients: dict[tuple, Optional[tuple[Program, Step]]] = {}
        self._root: Program = self
        self._serialized: Optional[str] = None
        #: What is kept by program: answers below, and by callers, such as its compiled forms by device.
        self.memo: dict = {}

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Program) and self._key == other._key)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        steps = "".join(f", d{list(step.wrt)}/{list(step.cotangents)}" for step in self.steps)
        takes = ", ".join(f"{spec.name}: {spec.rows} x {spec.width}" for spec in self.arguments)
        return f"Program({self.space}({takes}){steps})"

    def __deepcopy__(self, memo: dict) -> "Program":
        return self

    def __reduce__(self) -> tuple:
        return Program.deserialize, (self.serialize(),)

    @property
    def order(self) -> int:
        """Number of derivatives taken."""
        return len(self.steps)

    def prune(self, wrt: Sequence[int], cotangents: Sequence[int]) -> Optional[Step]:
        """The step asked for, without the arguments on which none of these results depends and the results
        that depend on none of these arguments; None if nothing is left."""
        reads = {r: frozenset().union(*self.terms[r]) for r in cotangents}
        live = tuple(a for a in wrt if any(a in reads[r] for r in cotangents))
        return Step(live, tuple(r for r in cotangents if not reads[r].isdisjoint(live))) if live else None

    def vjp(self, wrt: Sequence[int], cotangents: Sequence[int]) -> "Program":
        """The program of the vector-Jacobian product.

        Its arguments are this program's, then the cotangents of the results listed; its results are the gradients of the
        arguments listed, in the order given.

        Args:
            wrt: argument numbers, each less than ``len(self.arguments)``, not repeated.
            cotangents: result numbers, not repeated.
        """
        step = Step(tuple(wrt), tuple(cotangents))
        found = self._vjps.get(step)
        if found is not None:
            return found
        _check_numbers("wrt", step.wrt, len(self.arguments), "arguments")
        _check_numbers("cotangents", step.cotangents, len(self.results), "results")
        first = len(self.arguments)
        # The potential <cotangents, results>, as terms over all the arguments of the new program.
        potential = [term | {first + i} for i, result in enumerate(step.cotangents) for term in self.terms[result]]
        program = Program(
            self.text,
            self.space,
            self.arguments + tuple(self._cotangent_spec(result) for result in step.cotangents),
            tuple(spec._replace(name="d" + spec.name) for spec in (self.arguments[i] for i in step.wrt)),
            [[term - {i} for term in potential if i in term] for i in step.wrt],
            self.steps + (step,),
            self.deterministic,
            self.schedule,
        )
        program._root = self._root
        return self._vjps.setdefault(step, program)

    def gradient(self, needs: tuple[bool, ...], present: tuple[bool, ...]) -> Optional[tuple["Program", Step]]:
        """The program of the gradients that a backward pass asks for, and its step.

        Args:
            needs: for each argument, whether its gradient is wanted.
            present: for each result, whether it has a cotangent.

        Returns:
            None if no result with a cotangent depends on an argument wanted.
        """
        key = (needs, present)
        try:
            return self._gradients[key]
        except KeyError:
            step = self.prune([i for i, n in enumerate(needs) if n], [i for i, p in enumerate(present) if p])
            return self._gradients.setdefault(key, None if step is None else (self.vjp(*step), step))

    def kept(self, needs: tuple[bool, ...]) -> tuple[bool, ...]:
        """Which arguments the gradients of the arguments in ``needs`` read, whatever the cotangents."""
        key = ("kept", needs)
        if key not in self.memo:
            found = self.gradient(needs, (True,) * len(self.results))
            self.memo[key] = tuple(found is not None and i in found[0].used for i in range(len(self.arguments)))
        return self.memo[key]

    def jvp(self, active: Sequence[int]) -> Optional[tuple["Program", tuple[int, ...]]]:
        """The program of the Jacobian-vector product: forward mode as two reverse steps.

        The vector-Jacobian product is linear in the cotangents, so its own transpose in them is the Jacobian-vector
        product. The program's arguments are this program's, then the cotangents (which it does not read), then the
        tangents of the arguments ``active``; its results are the tangents of the results listed in the second
        value, the others being zero. None if no result depends on an active argument.
        """
        step = self.prune(active, range(len(self.results)))
        if step is None:
            return None
        first = len(self.arguments)
        backward = self.vjp(tuple(active), step.cotangents)
        transposed = backward.vjp(range(first, first + len(step.cotangents)), range(len(active)))
        return transposed, step.cotangents

    def _cotangent_spec(self, result: int) -> Spec:
        spec = self.results[result]
        return spec._replace(name="g" + spec.name)

    def pipeline(self, target: str, until: Optional[str] = None) -> str:
        """The pass pipeline that compiles this program from its text.

        Args:
            target: ``"cpu"`` or ``"cuda:sm_NN"``.
            until: one of :data:`STAGES`: stop there.

        Raises:
            ValueError: unknown target or stage.
        """
        if until is not None and until not in STAGES:
            raise ValueError(f"expected a stage, one of {', '.join(STAGES)}, got {until!r}")
        options = {} if until is None else {"until": until}
        match = _TARGET.match(target)
        if target == "cpu":
            name = "equivariant-to-cpu"
        elif match is not None:
            name = "equivariant-to-gpu"
            wishes = {name.replace("_", "-"): value for name, value in self.schedule.items()}
            options = {"chip": match[1], "deterministic": str(self.deterministic).lower(), **wishes, **options}
        else:
            raise ValueError(f"unknown target {target!r}, expected 'cpu' or 'cuda:sm_NN', for example 'cuda:sm_90'")
        if until == "source":
            return ""
        if until == "differentiated":
            return ",".join(map(str, self.steps))
        text = " ".join(f"{key}={value}" for key, value in options.items())
        return ",".join([*map(str, self.steps), name + (f"{{{text}}}" if text else "")])

    def repro(self, target: str, stage: str = "target", source: str = "source.mlir") -> str:
        """The shell command that gives the text of a stage, or of ``llvmir``, ``ptx`` or ``assembly``.

        It reads the program's text from the file ``source``.
        """
        until = stage if stage in STAGES else "target"
        pipeline = f"builtin.module({self.pipeline(target, until=until)})"
        command = f"espmm-opt {shlex.quote(source)} --pass-pipeline={shlex.quote(pipeline)}"
        return command if stage in STAGES else f"{command} | espmm-translate --to-{stage}"

    def with_schedule(self, schedule: Mapping[str, int]) -> "Program":
        """The same program with other numbers for the GPU's schedules; itself if they are the same."""
        if check_schedule(schedule) == self.schedule:
            return self
        root = self._root
        program = Program(
            root.text, root.space, root.arguments, root.results, root.terms,
            deterministic=root.deterministic, schedule=schedule,
        )  # fmt: skip
        for step in self.steps:
            program = program.vjp(*step)
        return program

    def serialize(self) -> str:
        """The program as one line, canonical: its text, with tabs for the ends of its lines, and a comment that holds the rest as JSON.

        It is itself a valid module. Code that is generated around the operator quotes it in comments: a line's end would end them.
        """
        if self._serialized is None:
            root = self._root
            head = {
                "version": 1,
                "space": root.space,
                "arguments": root.arguments,
                "results": root.results,
                "terms": [sorted(map(sorted, sums)) for sums in root.terms],
                "steps": self.steps,
                "deterministic": self.deterministic,
                "schedule": self.schedule,
            }
            self._serialized = self.text.replace("\n", "\t") + _HEADER + json.dumps(head, separators=(",", ":"))
            with _lock:
                _programs.setdefault(self._serialized, self)
        return self._serialized

    @staticmethod
    def deserialize(serialized: str) -> "Program":
        """The inverse of :meth:`serialize`.

        Raises:
            ValueError: the string does not end with our comment.
        """
        found = _programs.get(serialized)
        if found is not None:
            return found
        text, header, rest = serialized.rpartition(_HEADER)
        try:
            if not header:
                raise ValueError("no such comment")
            head = json.loads(rest)
            program = Program(
                text.replace("\t", "\n"),
                head["space"],
                [Spec(*spec) for spec in head["arguments"]],
                [Spec(*spec) for spec in head["results"]],
                [[frozenset(term) for term in sums] for sums in head["terms"]],
                deterministic=head["deterministic"],
                schedule=head["schedule"],
            )
            for wrt, cotangents in head["steps"]:
                program = program.vjp(wrt, cotangents)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"expected a serialised program, ending with {_HEADER!r} and JSON, got {serialized[-80:]!r} ({error})"
            ) from None
        program.serialize()
        with _lock:
            return _programs.setdefault(serialized, program)


_lock = threading.Lock()
_programs: dict[str, Program] = {}


def registered_programs() -> list[Program]:
    """The programs that this process knows by their serialised form."""
    with _lock:
        return list(_programs.values())


def check_schedule(schedule: Optional[Mapping[str, int]]) -> dict[str, int]:
    """A schedule in canonical order.

    Raises:
        TypeError: not a mapping of integers. ValueError: an unknown name, or a number out of its range.
    """
    if schedule is None:
        return {}
    if not isinstance(schedule, Mapping):
        raise TypeError(f"expected schedule to be a mapping such as {{'warps': 4}}, got {type(schedule).__name__}")
    for name, value in schedule.items():
        if name not in SCHEDULE:
            raise ValueError(f"expected schedule to name {', '.join(SCHEDULE)}, got {name!r}")
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"expected schedule[{name!r}] to be an integer, got {value!r}")
        if value not in SCHEDULE[name]:
            raise ValueError(f"expected schedule[{name!r}] to be in {SCHEDULE[name]}, got {value}")
    return {name: schedule[name] for name in SCHEDULE if name in schedule}


def forward_program(
    problem: TPProblem, conv: bool = False, deterministic: bool = False, schedule: Optional[Mapping[str, int]] = None
) -> Program:
    """The program z = tp(x, y, w), or of the convolution around it.

    Arguments are x, y and, if any path has weights, w. In a convolution x has a row a sender, y and w a row an edge, z
    a row a receiver: the sum over its edges of the product of x of the edge's sender, y and w. Shared weights are one
    row. Paths over a multiplicity of 0 are left out.

    Raises:
        ProblemError: the product has no path left: its result is zero and there is nothing to compile.
        UnsupportedError: the weights are not computed with in the type that the irreps are.
    """
    computed = [ARITHMETIC.get(dtype, dtype) for dtype in (problem.irrep_dtype, problem.weight_dtype)]
    if computed[0] != computed[1] and problem.weight_numel > 0:
        raise UnsupportedError(
            f"expected weights and irreps that are both computed with in {computed[0]}, got weight_dtype = {problem.weight_dtype} and "
            f"irrep_dtype = {problem.irrep_dtype}: mixed precision is not lowered"
        )
    paths = [ins for ins in problem.instructions if not ins.is_empty]
    if not paths:
        raise ProblemError(f"the product {problem} has no path over nonzero multiplicities: its result is zero")
    weighted = [ins for ins in paths if ins.has_weight]
    weightless = [ins for ins in paths if not ins.has_weight]

    dtype = problem.irrep_dtype
    sides = ("senders", "receivers") if conv else ("edges", "edges")
    arguments = [
        Spec("x", dtype, sides[0], problem.irreps_in1.dim),
        Spec("y", dtype, "edges", problem.irreps_in2.dim),
    ]
    if weighted:
        arguments.append(Spec("w", problem.weight_dtype, "all" if problem.shared_weights else "edges", problem.weight_numel))
    terms = [frozenset({0, 1, 2})] * bool(weighted) + [frozenset({0, 1})] * bool(weightless)
    return Program(
        "\n".join(_module(problem, weighted, weightless, conv)) + "\n",
        "graph" if conv else "rows",
        arguments,
        [Spec("z", dtype, sides[1], problem.irreps_out.dim)],
        [terms],
        deterministic=deterministic,
        schedule=schedule,
    )


def _module(problem: TPProblem, weighted: list[Instruction], weightless: list[Instruction], conv: bool) -> Iterator[str]:
    """The lines of the level-0 module."""
    irreps = {"x": problem.irreps_in1, "y": problem.irreps_in2, "z": problem.irreps_out}
    element = MLIR_NAME[ARITHMETIC.get(problem.irrep_dtype, problem.irrep_dtype)]
    types = {name: f"tensor<?x{blocks.dim}x{element}, #{name}>" for name, blocks in irreps.items()}
    types["w"] = f"tensor<?x{problem.weight_numel}x{element}>"
    space = "graph" if conv else "rows"

    def gather(result: str, operand: str, side: str, from_type: str, to_type: str) -> str:
        types_of = f"{from_type} -> {to_type} over !equivariant.{space}"
        return f"  %{result} = equivariant.gather %{operand} at {side} of %g : {types_of}"

    def contract(result: str, product: str, values: dict[str, str]) -> Iterator[str]:
        bound = ", ".join(f"{slot} = %{value}" for slot, value in values.items())
        yield f"  %{result} = equivariant.contract z of #{product} ({bound})"
        yield f"       : ({', '.join(types[slot] for slot in values)}) -> {types['z']}"

    declared = ", ".join(f'{name} = "{blocks}"' for name, blocks in irreps.items())
    products = [("p", weighted), ("q", weightless)] if weighted else [("p", weightless)]
    for product, paths in products:
        if paths:
            listed = ",\n             ".join(map(_path, paths))
            yield f"#{product} = #equivariant.product<{declared},\n    paths = [{listed}]>"
    for name, blocks in irreps.items():
        yield f'#{name} = #equivariant.irreps<"{blocks}", {problem.layout}>'

    shared_type = f"tensor<1x{problem.weight_numel}x{element}>"
    given = {"x": types["x"], "y": types["y"]}
    if weighted:
        given["w"] = shared_type if problem.shared_weights else types["w"]

    def stored(name: str, type_: str) -> str:
        dtype = problem.weight_dtype if name == "w" else problem.irrep_dtype
        return type_.replace(f"x{element}", f"x{MLIR_NAME[dtype]}")

    parameters = [f"%g: !equivariant.{space}", *(f"%{name}: {stored(name, type_)}" for name, type_ in given.items())]
    returned = stored("z", types["z"])
    yield f"func.func @{'conv' if conv else 'tp'}({', '.join(parameters)}) -> {returned} {{"

    # The values that are computed with.
    values = {name: name for name in given}
    for name, type_ in given.items():
        if stored(name, type_) != type_:
            values[name] = f"{name}c"
            yield f"  %{name}c = equivariant.convert %{name} : {stored(name, type_)} -> {type_}"
    if conv:
        yield gather("xe", values["x"], "senders", types["x"], types["x"])
        values["x"] = "xe"
    if weighted and problem.shared_weights:
        yield gather("we", values["w"], "all", shared_type, types["w"])
        values["w"] = "we"
    result = "m" if conv else "z"
    both = bool(weighted and weightless)
    if weighted:
        yield from contract("a" if both else result, "p", values)
    if weightless:
        yield from contract("b" if both else result, "q" if both else "p", {name: values[name] for name in ("x", "y")})
    if both:
        yield f"  %{result} = equivariant.add %a, %b : {types['z']}"
    if conv:
        yield f"  %z = equivariant.segment_sum %m at receivers of %g : {types['z']} -> {types['z']} over !equivariant.graph"
    if returned != types["z"]:
        yield f"  %zc = equivariant.convert %z : {types['z']} -> {returned}"
    yield f"  return %{'z' if returned == types['z'] else 'zc'} : {returned}"
    yield "}"


def _path(ins: Instruction) -> str:
    weight = "" if ins.has_weight else " weightless"
    return f"{MODES[ins.connection_mode]}({ins.i_in1}, {ins.i_in2}, {ins.i_out}){weight} * {_float(ins.path_weight)}"


def _float(value: float) -> str:
    """The shortest text that reads back as the same double, with the point that MLIR's grammar wants."""
    text = repr(value)
    mantissa, e, exponent = text.partition("e")
    return text if "." in mantissa else f"{mantissa}.0{e}{exponent}"


def _check_numbers(name: str, numbers: tuple[int, ...], bound: int, what: str) -> None:
    if not numbers:
        raise ValueError(f"expected {name} to name some of the program's {what}, got none")
    if len(set(numbers)) != len(numbers) or not all(0 <= i < bound for i in numbers):
        raise ValueError(f"expected {name} to be distinct numbers of the program's {bound} {what}, got {list(numbers)}")
