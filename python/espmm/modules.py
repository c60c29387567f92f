"""``torch.nn.Module``s: a tensor product, and the graph convolution around it."""

from __future__ import annotations

import operator
from typing import Any, Iterator, Mapping, Optional, Sequence, Union

import torch

from .autograd import run_eager
from .compiled import CompiledProgram
from .devices import target_of
from .errors import ProblemAssertionError, ProblemDtypeError, ProblemError, ProblemIndexError, ProblemRuntimeError, ProblemTypeError
from .graph import Graph, check_device, check_indices, graph_of, known_graph
from .launch import RowSpace, torch_dtype
from .module_paths import names_errors, path_of
from .operators import PLAIN, TracedSpace, is_recorded, is_traced, is_tracing, run_traced
from .problem import TPProblem
from .program import Program, forward_program

Weights = Union[torch.Tensor, Sequence[torch.Tensor], None]

#: How many instructions a message names.
_MOST = 8

#: All that the checks of a call look at in a tensor.
_metadata = operator.attrgetter("__class__", "dtype", "device", "layout", "shape")


def _looks_like(known: tuple, given: tuple, extent: Optional[tuple] = None) -> bool:
    """Whether an eager call looks to the checks as one that has passed them."""
    try:
        return known == (*map(_metadata, given), extent)
    except AttributeError:  # not all are tensors
        return False


def _uncast(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """In an autocast region what it has made half precision, in the module's dtype; anything else as it is."""
    if tensor.dtype is not dtype and tensor.dtype in (torch.float16, torch.bfloat16):
        if torch.is_autocast_enabled(tensor.device.type):
            return tensor.to(dtype)
    return tensor


def _is_tf32_allowed() -> bool:
    """Whether torch may round float32 factors of products of matrices on a GPU to tf32 (``torch.set_float32_matmul_precision``)."""
    return torch.backends.cuda.matmul.fp32_precision == "tf32"


# As `_Product._path` below: what it is when a call is traced.
_is_tf32_allowed._dynamo_marked_constant = True  # type: ignore[attr-defined]


class _Product(torch.nn.Module):
    """What both modules share: the problem, its program, the weights.

    As e3nn's product it computes in the dtype that it was made in or turned to: ``module.to(torch.float64)`` makes it one of
    float64, whose Clebsch-Gordan coefficients are exact (e3nn's stay those of the dtype it was made in). In an autocast
    region inputs of half precision are turned to that dtype, in which the result is too.
    """

    #: Of the last eager call that passed all checks: its tensors' metadata and its graph's extent. A call like it passes them too.
    _passed: Optional[tuple] = None

    def __init__(
        self, problem: TPProblem, conv: bool, deterministic: bool, schedule: Optional[Mapping[str, int]]
    ) -> None:
        super().__init__()
        if not isinstance(problem, TPProblem):
            raise TypeError(f"expected problem to be an espmm.TPProblem, got {type(problem).__name__}")
        self._options = (conv, deterministic, schedule)
        self.irreps_in1, self.irreps_in2, self.irreps_out = problem.irreps_in1, problem.irreps_in2, problem.irreps_out
        self.instructions = problem.instructions
        self.weight_numel = problem.weight_numel
        self.shared_weights, self.internal_weights = problem.shared_weights, problem.internal_weights
        self._set_problem(problem)
        self._takes_weight = problem.weight_numel > 0
        self._has_one_row = self._takes_weight and problem.shared_weights  # of weights
        self._widths = (problem.irreps_in1.dim, problem.irreps_in2.dim)
        # Names and contents are e3nn's, so that its checkpoints load.
        if problem.internal_weights and self._takes_weight:
            self.weight = torch.nn.Parameter(torch.randn(problem.weight_numel, dtype=self._weight_dtype))
        else:
            self.register_buffer("weight", torch.empty(0, dtype=self._weight_dtype))
        self.register_buffer("output_mask", torch.tensor(problem.output_mask, dtype=self._dtype))

    def _set_problem(self, problem: TPProblem) -> None:
        """Takes a problem, or the same one in other dtypes."""
        # A product without paths over nonzero multiplicities is zero: there is no program for it.
        program: Optional[Program] = None
        if any(not ins.is_empty for ins in problem.instructions):
            program = forward_program(problem, *self._options)
            program.serialize()  # now, so that tracers find a string
        self.problem = problem
        self._program = program
        self._tf32_program = None if program is None else self._in_tf32(problem, program)
        self._passed = None
        self._dtype = torch_dtype(problem.irrep_dtype)
        self._weight_dtype = torch_dtype(problem.weight_dtype)

    @staticmethod
    def _in_tf32(problem: TPProblem, program: Program) -> Optional[Program]:
        """The program with products of matrices in tf32; None if it has none, or a schedule that says what it has."""
        has_matrices = problem.shared_weights and problem.weight_numel > 0 and "float64" not in (problem.irrep_dtype, problem.weight_dtype)
        if not has_matrices or "products" in program.schedule:
            return None
        other = program.with_schedule({**program.schedule, "products": 2})
        other.serialize()
        return other

    def _check_lowered(self, device: torch.device) -> None:
        """Has the compiler say now what it has no code for on a device: its passes, which take a small part of the time of compiling.

        Raises:
            UnsupportedError: the device's target does not lower this product.
        """
        if self._program is not None and device.type in ("cpu", "cuda"):
            CompiledProgram(self._program, target_of(device)).ir("staged")

    def _program_for(self, device: torch.device) -> Program:
        """What a call on a device runs: in tf32 if torch lets its own products of float32 matrices be, as it does not by default."""
        if self._tf32_program is not None and device.type == "cuda" and _is_tf32_allowed():
            return self._tf32_program
        return self._program  # type: ignore[return-value]

    def _follow(self, mask: torch.Tensor, weight: torch.Tensor) -> None:
        """Computes in the dtypes of the buffer and the weights from now on, as e3nn's product does.

        Raises:
            TypeError: the compiler has no such products.
        """
        if (mask.dtype, weight.dtype) != (self._dtype, self._weight_dtype):
            try:
                self._set_problem(self.problem.replace(irrep_dtype=mask.dtype, weight_dtype=weight.dtype))
            except ProblemError as error:
                raise TypeError(f"cannot turn {self!r} into {mask.dtype}: {error}") from None

    def _apply(self, fn: Any, recurse: bool = True) -> "_Product":
        with torch.no_grad():
            self._follow(*(fn(tensor.detach()[:0]) for tensor in (self.output_mask, self.weight)))  # before anything is changed
        return super()._apply(fn, recurse)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.problem})"

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing, unexpected, errors) -> None:
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing, unexpected, errors)
        # e3nn's checkpoints hold the constants of the code that it generates: Clebsch-Gordan coefficients, indices.
        constants = tuple(f"{prefix}_compiled_main_{kind}." for kind in ("left_right", "right"))
        unexpected[:] = [key for key in unexpected if not key.startswith(constants)]
        self._follow(self.output_mask, self.weight)  # assign=True takes the checkpoint's tensors, dtypes too

    def _feature(self, name: str, tensor: Any, width: int) -> torch.Tensor:
        """x or y, checked but for the rows."""
        if not isinstance(tensor, torch.Tensor):
            raise ProblemTypeError(f"expected {name} to be a tensor, got {type(tensor).__name__}")
        tensor = _uncast(tensor, self._dtype)
        if tensor.dtype is not self._dtype:
            raise ProblemDtypeError(f"expected {name} to be {self._dtype}, as the problem's irrep_dtype says, got {tensor.dtype}")
        if tensor.ndim == 0 or tensor.shape[-1] != width:
            raise ProblemAssertionError(
                f"expected the last axis of {name} to be {width}, the dimension of its irreps, "
                f"got shape {tuple(tensor.shape)}"
            )
        if tensor.layout is not torch.strided:
            raise ProblemDtypeError(f"expected {name} to be a dense tensor, got layout {tensor.layout}")
        check_device(name, tensor)
        return tensor

    def _weight(self, weight: Weights, device: torch.device) -> Optional[torch.Tensor]:
        """The weights to use, checked but for the rows: given, internal, or None if the product has none."""
        if isinstance(weight, (list, tuple)):
            weight = self._join(weight)
        if not self._takes_weight:
            if weight is not None and weight.numel() > 0:
                raise ProblemAssertionError(f"expected no weights, this product has none, got shape {tuple(weight.shape)}")
            return None
        if weight is None:
            if not self.internal_weights:
                raise ProblemRuntimeError(
                    f"expected w, {self.weight_numel} weights" + (" a row" if not self.shared_weights else "") + ": "
                    f"the product has no internal weights ({self._counts()})"
                )
            weight = self.weight
        if not isinstance(weight, torch.Tensor):
            raise ProblemTypeError(f"expected w to be a tensor, got {type(weight).__name__}")
        weight = _uncast(weight, self._weight_dtype)
        if weight.dtype is not self._weight_dtype:
            raise ProblemDtypeError(f"expected w to be {self._weight_dtype}, as the problem's weight_dtype says, got {weight.dtype}")
        if self.shared_weights:
            if weight.shape != (self.weight_numel,):
                raise ProblemAssertionError(
                    f"expected shared weights w of shape ({self.weight_numel},), got {tuple(weight.shape)} ({self._counts()})"
                )
        elif weight.ndim < 2 or weight.shape[-1] != self.weight_numel:
            raise ProblemAssertionError(
                f"expected w of shape (..., {self.weight_numel}), {self.weight_numel} weights a row, "
                f"got {tuple(weight.shape)} ({self._counts()})"
            )
        if weight.device != device:
            raise ProblemRuntimeError(f"expected all tensors on one device, got x on {device} and w on {weight.device}")
        return weight

    def _counts(self) -> str:
        """How many weights each of the first instructions has."""
        counts = [f"{ins.at(i)} has {ins.weight_numel}" for i, ins in enumerate(self.instructions) if ins.has_weight]
        return ", ".join(counts[:_MOST]) + (f" and {len(counts) - _MOST} more have others" if len(counts) > _MOST else "")

    def _given(self, x: Any, y: Any, weight: Weights) -> tuple:
        """The tensors of a call."""
        if weight is None and self.internal_weights and self._takes_weight:
            weight = self.weight
        return (x, y) if weight is None else (x, y, weight)

    def _keep_passed(self, given: tuple, checked: Sequence[torch.Tensor], extent: Optional[tuple] = None) -> None:
        """Notes an eager call that has passed the checks, unless these have changed its tensors; and its program, if that is all there is to know."""
        if len(given) == len(checked) and all(type(a) in PLAIN and a is b for a, b in zip(given, checked)):
            is_all = self._tf32_program is None and not self._has_one_row
            self.__dict__["_passed"] = (*map(_metadata, given), extent), self._program if is_all else None

    def _run(self, space: Any, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        if not is_traced(tensors):
            return self._run_eager(space, tensors)
        if not isinstance(space, TracedSpace):
            space = TracedSpace.of(space, self._recorded_path())
        return run_traced(self._program_for(tensors[0].device), space, self._operands(tensors))[0]

    def _run_eager(self, space: Any, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        return run_eager(self._program_for(tensors[0].device), space, self._operands(tensors))[0]

    def _operands(self, tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        """What the program takes: shared weights are one row."""
        return [*tensors[:2], tensors[2].unsqueeze(0)] if self._has_one_row else tensors

    def _recorded_path(self) -> str:
        """What errors of a program that is recorded now will begin with."""
        return self._path() if is_recorded() else ""

    def _path(self) -> str:
        """Where this module is in the model now; "" if nothing holds it."""
        return path_of([self])

    # torch.compile takes what it gives while it traces, and compiles nothing again for modules with other names. This is all that
    # torch.compiler.assume_constant_result does, which loads torch's compiler for it.
    _path._dynamo_marked_constant = True  # type: ignore[attr-defined]

    def _views(self, weight: Weights) -> torch.Tensor:
        """The weights that views are taken of."""
        if isinstance(weight, (list, tuple)):
            weight = self._join(weight)
        if weight is None:
            if self._takes_weight and not self.internal_weights:
                raise ProblemRuntimeError(f"expected weight to be given: the product has no internal weights ({self._counts()})")
            weight = self.weight
        if weight.ndim == 0 or weight.shape[-1] != self.weight_numel:
            raise ProblemAssertionError(f"expected weight of shape (..., {self.weight_numel}), got {tuple(weight.shape)} ({self._counts()})")
        return weight

    def weight_view_for_instruction(self, instruction: int, weight: Weights = None) -> torch.Tensor:
        """The weights of one instruction, as in e3nn, but right after instructions without weights too.

        Args:
            instruction: its position.
            weight: (..., weight_numel), or a list as :meth:`forward` takes it, of which it is a copy; None for internal weights.

        Returns:
            A view of shape (..., *path_shape).

        Raises:
            ProblemError: no such instruction, or it has no weights; weight is None and there are no internal weights, or has another shape.
        """
        slices = self.problem.weight_slices()
        if not -len(slices) <= instruction < len(slices):
            raise ProblemIndexError(f"expected one of {len(slices)} instructions, got instruction {instruction}")
        where = slices[instruction]
        if where is None:
            raise ProblemError(f"instruction {instruction} has no weights")
        weight = self._views(weight)
        return weight[..., where].view(*weight.shape[:-1], *self.instructions[instruction].path_shape)

    def weight_views(self, weight: Weights = None, yield_instruction: bool = False) -> Iterator:
        """Iterates over :meth:`weight_view_for_instruction` of the instructions that have weights.

        With yield_instruction, over (position, instruction, view).
        """
        weight = self._views(weight)
        for position, instruction in enumerate(self.instructions):
            if instruction.has_weight:
                view = self.weight_view_for_instruction(position, weight)
                yield (position, instruction, view) if yield_instruction else view

    def _join(self, weights: Sequence[torch.Tensor]) -> torch.Tensor:
        """A list with the weights of each weighted instruction, in their shape or in one axis, as e3nn takes it, joined."""
        weighted = [(position, ins) for position, ins in enumerate(self.instructions) if ins.has_weight]
        if len(weights) != len(weighted):
            raise ProblemAssertionError(
                f"expected {len(weighted)} tensors in w, one a weighted instruction, got {len(weights)} ({self._counts()})"
            )
        flat: list[torch.Tensor] = []
        for i, (given, (position, ins)) in enumerate(zip(weights, weighted)):
            if not isinstance(given, torch.Tensor):
                raise ProblemTypeError(f"{ins.at(position)}: expected w[{i}] to be a tensor, got {type(given).__name__}")
            shape, rank = tuple(given.shape), len(ins.path_shape)
            if shape[-rank:] == ins.path_shape:
                lead = shape[:-rank]
            elif shape and shape[-1] == ins.weight_numel:
                lead = shape[:-1]
            else:
                expected = ", ".join(map(str, ins.path_shape))
                raise ProblemRuntimeError(f"{ins.at(position)}: expected w[{i}] of shape (..., {expected}), got {shape}")
            if not lead and not self.shared_weights:
                lead = (1,)
            if flat and lead != flat[0].shape[:-1]:
                first = tuple(flat[0].shape[:-1])
                raise ProblemRuntimeError(f"{ins.at(position)}: expected w[{i}] to have the leading axes {first} of w[0], got {lead}")
            flat.append(given.reshape(*lead, ins.weight_numel))
        return torch.cat(flat, dim=-1) if flat else self.weight

    def __prepare_scriptable__(self) -> torch.nn.Module:
        """What torch.jit.script takes in its place: the operators that a call with the arguments of ``example`` consists of, for any numbers of rows, nodes and edges."""
        from .scripting import scriptable

        return scriptable(self, self.internal_weights and self.weight_numel > 0)


class TensorProduct(_Product):
    """z = tp(x, y, w), row by row: the fused equivalent of ``e3nn.o3.TensorProduct``.

    Args:
        problem: what to compute.
        schedule: numbers of the GPU's schedules, as for :func:`espmm.compile`.
    """

    def __init__(self, problem: TPProblem, schedule: Optional[Mapping[str, int]] = None) -> None:
        super().__init__(problem, conv=False, deterministic=False, schedule=schedule)

    @names_errors
    def forward(self, x: torch.Tensor, y: torch.Tensor, weight: Weights = None) -> torch.Tensor:
        """Evaluates the product.

        Args:
            x: (..., irreps_in1.dim), of the problem's irrep_dtype.
            y: (..., irreps_in2.dim). Leading axes broadcast against each other and those of the weights, as in e3nn.
            weight: (..., weight_numel), or (weight_numel,) if shared, of the problem's weight_dtype; or a list of
                tensors, one a weighted instruction. None for internal weights or a product without weights.

        Returns:
            (..., irreps_out.dim).

        Raises:
            ProblemError: wrong shapes or devices, no tensors or of another dtype (which is a TypeError too), each also an instance of the
                class that e3nn raises for it; or the device's target does not lower this product.
        """
        given = self._given(x, y, weight) if weight is None else (x, y, weight)
        passed = None if is_tracing() else self._passed  # read once: a module's attributes take long
        if passed is not None and _looks_like(passed[0], given):
            space: Any = RowSpace(x.shape[0])
            return self._run_eager(space, given) if passed[1] is None else run_eager(passed[1], space, given)[0]
        x = self._feature("x", x, self._widths[0])
        y = self._feature("y", y, self._widths[1])
        if x.device != y.device:
            raise ProblemRuntimeError(f"expected all tensors on one device, got x on {x.device} and y on {y.device}")
        w = self._weight(weight, x.device)
        by_row = [x, y] if w is None or self.shared_weights else [x, y, w]
        lead = x.shape[:-1]
        if len(lead) != 1 or any(tensor.shape[:-1] != lead for tensor in by_row):
            try:
                lead = torch.broadcast_shapes(*(tensor.shape[:-1] for tensor in by_row))
            except RuntimeError:
                shapes = ", ".join(f"{name} {tuple(t.shape)}" for name, t in zip("xyw", by_row))
                raise ProblemRuntimeError(f"expected leading axes that broadcast, got shapes {shapes}") from None
            by_row = [tensor.expand(*lead, tensor.shape[-1]).reshape(lead.numel(), tensor.shape[-1]) for tensor in by_row]
        if self._program is None:
            return x.new_zeros(*lead, self.irreps_out.dim)
        tensors = [*by_row, w] if w is not None and self.shared_weights else by_row
        if is_traced(tensors):
            space = TracedSpace(module=self._recorded_path())
        else:
            space = RowSpace(by_row[0].shape[0])
            self._keep_passed(given, tensors)
        z = self._run(space, tensors)
        return z if len(lead) == 1 else z.reshape(*lead, z.shape[-1])

    def example(self) -> tuple[torch.Tensor, ...]:
        """Arguments of :meth:`forward`: two rows, and weights unless they are internal or there are none."""
        x, y, w = (self.output_mask.new_zeros(2, width) for width in (*self._widths, self.weight_numel))
        if not self._takes_weight or self.internal_weights:
            return x, y
        w = w.to(self._weight_dtype)
        return x, y, w[0] if self.shared_weights else w

    @names_errors
    def right(self, y: torch.Tensor, weight: Weights = None) -> torch.Tensor:
        """The matrix that maps x to z, for each row: ``einsum("...ik,...i->...k", tp.right(y, w), x)`` is ``tp(x, y, w)``.

        It is the product with every unit vector, irreps_in1.dim of them a row; there is no kernel of its own.

        Args:
            y: (..., irreps_in2.dim).
            weight: as :meth:`forward`.

        Returns:
            (..., irreps_in1.dim, irreps_out.dim).
        """
        y = self._feature("y", y, self._widths[1])
        w = self._weight(weight, y.device)
        if w is not None and not self.shared_weights:
            w = w.unsqueeze(-2)
        units = torch.eye(self._widths[0], dtype=y.dtype, device=y.device)
        return TensorProduct.forward(self, units, y.unsqueeze(-2), w)  # of a class whose own takes other arguments too


class TensorProductConv(_Product):
    """z[receivers] += tp(x[senders], y, w), in one kernel: no message is ever stored.

    Args:
        problem: the tensor product.
        deterministic: on a GPU, bit-equal results on every run; the CPU's always are, for any number of threads.
        schedule: numbers of the GPU's schedules, as for :func:`espmm.compile`.
    """

    def __init__(
        self, problem: TPProblem, deterministic: bool = False, schedule: Optional[Mapping[str, int]] = None
    ) -> None:
        super().__init__(problem, conv=True, deterministic=deterministic, schedule=schedule)
        self.deterministic = deterministic

    @names_errors
    def forward(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        weight: Weights,
        receivers: Union[torch.Tensor, Graph],
        senders: Optional[torch.Tensor] = None,
    ) -> torch.Tensor:
        """Evaluates the convolution: ``conv(x, y, w, receivers, senders)`` or ``conv(x, y, w, graph)``.

        Args:
            x: (nodes, irreps_in1.dim), of the problem's irrep_dtype.
            y: (edges, irreps_in2.dim).
            weight: (edges, weight_numel), or (weight_numel,) if shared, of the problem's weight_dtype.
            receivers, senders: (edges,) int32 or int64, any order; edge e adds to z[receivers[e]] and reads x[senders[e]].
                The result then has as many rows as x. Or, in place of receivers,
            a :class:`Graph` of as many senders as x has rows; the result has a row for each receiver.

        Returns:
            (receivers, irreps_out.dim).

        Raises:
            IndexError: a receiver or sender out of range; names the first such edge.
            TypeError, ValueError, ProblemError: as :meth:`TensorProduct.forward`.
        """
        given = self._given(x, y, weight) if weight is None else (x, y, weight)
        passed = None if is_tracing() else self._passed  # read once: a module's attributes take long
        if passed is not None:
            graph = receivers if senders is None else known_graph(receivers, senders, x)
            if isinstance(graph, Graph) and _looks_like(passed[0], given, graph.extent):
                return self._run_eager(graph, given) if passed[1] is None else run_eager(passed[1], graph, given)[0]
        x = self._feature("x", x, self._widths[0])
        y = self._feature("y", y, self._widths[1])
        w = self._weight(weight, x.device)
        by_edge = {"y": y} if w is None or self.shared_weights else {"y": y, "w": w}
        for name, tensor in {"x": x, **by_edge}.items():
            if tensor.ndim != 2:
                raise ProblemRuntimeError(f"expected {name} to have 2 axes, got shape {tuple(tensor.shape)}")
            if tensor.device != x.device:
                raise ProblemRuntimeError(f"expected all tensors on one device, got x on {x.device} and {name} on {tensor.device}")
        if isinstance(receivers, Graph):
            if senders is not None:
                raise TypeError("expected a Graph, or receivers and senders, got both")
            edges, num_senders = receivers.num_edges, receivers.num_senders
        else:
            if senders is None:
                raise TypeError("expected a Graph, or receivers and senders, got no senders")
            check_indices(receivers, senders)
            edges, num_senders = receivers.shape[0], x.shape[0]
        if receivers.device != x.device:
            raise ProblemRuntimeError(f"expected all tensors on one device, got x on {x.device} and the edges on {receivers.device}")
        if x.shape[0] != num_senders:
            raise ProblemRuntimeError(f"expected x to have {num_senders} rows, one a sender of the graph, got {x.shape[0]}")
        for name, tensor in by_edge.items():
            if tensor.shape[0] != edges:
                raise ProblemRuntimeError(f"expected {name} to have {edges} rows, one an edge, got {tensor.shape[0]}")

        tensors = [x, y] if w is None else [x, y, w]
        space: Any
        if isinstance(receivers, Graph):
            space = receivers
        elif is_traced([*tensors, receivers, senders]):
            space = TracedSpace.of_edges(receivers, senders, x, self._recorded_path())
        elif x.device.type == "meta":
            space = RowSpace(edges, num_senders, num_senders)
        else:
            space = graph_of(receivers, senders, num_senders, num_senders)
        if self._program is None:
            return x.new_zeros(receivers.num_receivers if isinstance(receivers, Graph) else num_senders, self.irreps_out.dim)
        if isinstance(space, Graph) and not is_traced(tensors):
            self._keep_passed(given, tensors, space.extent)
        return self._run(space, tensors)

    def example(self) -> tuple[torch.Tensor, ...]:
        """Arguments of :meth:`forward`: two nodes, three edges."""
        rows_of_weights = () if self.shared_weights else (3,)
        shapes = (2, self.irreps_in1.dim), (3, self.irreps_in2.dim), (*rows_of_weights, self.weight_numel)
        x, y, w = (self.output_mask.new_zeros(shape) for shape in shapes)
        w = w.to(self._weight_dtype)
        receivers, senders = torch.tensor([[0, 0, 1], [1, 1, 0]], device=x.device)
        return x, y, w, receivers, senders


__all__ = ["TensorProduct", "TensorProductConv"]
