"""e3nn's derived products as modules, and copies of e3nn modules with espmm's products in them."""

from __future__ import annotations

import copy
import sys
import warnings
from typing import Any, Iterable, Iterator, Mapping, Optional

import torch
from torch.nn.utils.parametrize import is_parametrized

from . import problems
from .compiled import CompiledProgram
from .devices import target_of
from .errors import ProblemError
from .modules import TensorProduct, Weights
from .problem import TPProblem

Schedule = Optional[Mapping[str, int]]


class FullyConnectedTensorProduct(TensorProduct):
    """Every allowed path in mode "uvw": the equivalent of ``e3nn.o3.FullyConnectedTensorProduct``.

    Args:
        irreps_in1, irreps_in2, irreps_out, irrep_normalization, path_normalization: as there.
        arguments: others of :class:`espmm.TPProblem`, such as ``shared_weights`` or ``irrep_dtype``.
    """

    def __init__(
        self,
        irreps_in1: Any,
        irreps_in2: Any,
        irreps_out: Any,
        irrep_normalization: Optional[str] = None,
        path_normalization: Optional[str] = None,
        *,
        schedule: Schedule = None,
        **arguments: Any,
    ) -> None:
        arguments |= {"irrep_normalization": irrep_normalization, "path_normalization": path_normalization}
        super().__init__(problems.fully_connected_problem(irreps_in1, irreps_in2, irreps_out, **arguments), schedule)


class _Filtered(TensorProduct):
    """A product without weights of all that two inputs give, or of some irreps of it; `_problem` says which paths."""

    _problem: Any

    def __init__(
        self,
        irreps_in1: Any,
        irreps_in2: Any,
        filter_ir_out: Optional[Iterable] = None,
        irrep_normalization: Optional[str] = None,
        *,
        schedule: Schedule = None,
        **arguments: Any,
    ) -> None:
        arguments["irrep_normalization"] = irrep_normalization
        super().__init__(self._problem(irreps_in1, irreps_in2, filter_ir_out, **arguments), schedule)


class ElementwiseTensorProduct(_Filtered):
    """Channel u of x with channel u of y, without weights: the equivalent of ``e3nn.o3.ElementwiseTensorProduct``.

    Args:
        irreps_in1, irreps_in2: of as many irreps.
        filter_ir_out: the irreps of the output to keep; None for all.
        irrep_normalization, arguments: of :class:`espmm.TPProblem`.
    """

    _problem = staticmethod(problems.elementwise_problem)


class FullTensorProduct(_Filtered):
    """Every channel of x with every channel of y, without weights: the equivalent of ``e3nn.o3.FullTensorProduct``.

    Args:
        irreps_in1, irreps_in2, filter_ir_out, irrep_normalization, arguments: as :class:`ElementwiseTensorProduct`.
    """

    _problem = staticmethod(problems.full_problem)


class TensorSquare(TensorProduct):
    """A tensor times itself, each pair of channels once: the equivalent of ``e3nn.o3.TensorSquare``.

    Args:
        irreps_in, irreps_out, filter_ir_out, irrep_normalization: as there.
        arguments: others of :class:`espmm.TPProblem`.
    """

    def __init__(
        self,
        irreps_in: Any,
        irreps_out: Any = None,
        filter_ir_out: Optional[Iterable] = None,
        irrep_normalization: Optional[str] = None,
        *,
        schedule: Schedule = None,
        **arguments: Any,
    ) -> None:
        problem = problems.square_problem(irreps_in, irreps_out, filter_ir_out, irrep_normalization, **arguments)
        super().__init__(problem, schedule)
        self.irreps_in = problem.irreps_in1

    @classmethod
    def of_problem(cls, problem: TPProblem, schedule: Schedule = None) -> "TensorSquare":
        """The square by a problem whose inputs are the same."""
        if problem.irreps_in1 != problem.irreps_in2:
            raise ProblemError(f"expected a problem of equal inputs, got {problem.irreps_in1} and {problem.irreps_in2}")
        square = cls.__new__(cls)
        TensorProduct.__init__(square, problem, schedule)
        square.irreps_in = problem.irreps_in1
        return square

    def forward(self, x: torch.Tensor, weight: Weights = None) -> torch.Tensor:
        """tp(x, x, weight): x of shape (..., irreps_in.dim) to (..., irreps_out.dim); see :meth:`TensorProduct.forward`."""
        return super().forward(x, x, weight)

    def example(self) -> tuple[torch.Tensor, ...]:
        """As those of :class:`TensorProduct`, without y."""
        x, _, *weight = super().example()
        return (x, *weight)


def from_e3nn(module: torch.nn.Module, *, strict: bool = False) -> torch.nn.Module:
    """A copy of a module in which every ``e3nn.o3.TensorProduct`` is espmm's: the same weights, outputs and state_dict.

    Args:
        module: a tensor product of e3nn (0.4.4 to 0.6), or a module that contains some, however deep; it is left as it is.
        strict: raise if a product cannot be replaced. By default each is left, and a warning names them, with the reason: what espmm does not lower
            on the module's device, what has a ``forward``, hooks or parametrizations of its own, what is TorchScript already, and what is in a plain list or
            dictionary, of which a module does not know.

    Returns:
        The copy. Products on a GPU are compiled for it, as far as that is needed to know that they can be.

    Raises:
        TypeError: not a torch module. ProblemError: strict, and a product cannot be replaced.
    """
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"expected a torch.nn.Module, got {type(module).__name__}")
    from e3nn import o3

    replaced: dict[int, torch.nn.Module] = {}
    left: dict[str, str] = {}

    def convert(tp: torch.nn.Module, name: str) -> torch.nn.Module:
        if id(tp) not in replaced:
            try:
                replaced[id(tp)] = _convert(tp, o3)
            except ProblemError as error:
                left[name] = str(error).splitlines()[0]
                replaced[id(tp)] = tp
        return replaced[id(tp)]

    result = copy.deepcopy(module)
    if isinstance(result, o3.TensorProduct):
        result = convert(result, type(result).__name__)
    else:
        for name, parent in list(result.named_modules()):
            if isinstance(parent, o3.TensorProduct):
                continue
            why = why_left(parent)
            if why is not None:
                left[name or getattr(parent, "original_name", type(parent).__name__)] = why
            for path, product in _unregistered(parent, o3.TensorProduct):
                left[f"{name}.{path}" if name else path] = f"this {type(product).__name__} is not a child of its module"
            for key, child in list(parent.named_children()):
                if isinstance(child, o3.TensorProduct):
                    parent.add_module(key, convert(child, f"{name}.{key}" if name else key))
                    rebind(parent)
    if left:
        text = "; ".join(f"{name}: {why}" for name, why in left.items())
        if strict:
            raise ProblemError(f"{len(left)} tensor products cannot be replaced: {text}")
        warnings.warn(f"{len(left)} tensor products are e3nn's still: {text}", stacklevel=2)
    return result


def rebind(parent: torch.nn.Module) -> None:
    """After a child was replaced: what torch.compile makes of a module has bound the one that it found."""
    if "torch._dynamo" in sys.modules and isinstance(parent, torch._dynamo.OptimizedModule):
        parent.__setstate__(parent.__getstate__())


def _unregistered(parent: torch.nn.Module, kind: type) -> Iterator[tuple[str, Any]]:
    """Modules of a class in a module's plain lists, tuples and dictionaries, with what they are called there."""
    for name, value in vars(parent).items():
        if name.startswith("_") or not isinstance(value, (list, tuple, dict)):
            continue
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(item, kind):
                yield f"{name}[{key!r}]", item


#: Where torch keeps what is called around a module's forward.
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def own_ways(module: torch.nn.Module) -> Optional[str]:
    """What a module does that its class does not say; None if there is no such thing."""
    if "forward" in vars(module):
        return f"this {type(module).__name__} has a forward of its own"
    if any(getattr(module, name, None) for name in _HOOKS):
        return f"this {type(module).__name__} has hooks"
    if is_parametrized(module):
        return f"this {type(module).__name__} is parametrized"
    return None


def why_left(module: Any) -> Optional[str]:
    """For a product of e3nn's that is no ``e3nn.o3.TensorProduct``, such as a scripted one, why nothing takes its place; None for all else."""
    if isinstance(module, torch.jit.ScriptModule):
        if "_compiled_main_left_right" in module._modules:  # the code of every product, of whatever class
            return f"its {module.original_name} is TorchScript, which cannot be replaced"
    elif type(module).__module__.startswith("e3nn.o3.experimental."):
        return f"e3nn's experimental {type(module).__name__} is no e3nn.o3.TensorProduct"
    return None


def _convert(tp: Any, o3: Any) -> TensorProduct:
    """espmm's product for one of e3nn's, on its device."""
    known = (o3.TensorProduct, o3.FullyConnectedTensorProduct, o3.ElementwiseTensorProduct, o3.FullTensorProduct)
    square = getattr(o3, "TensorSquare", None)
    kind = type(tp)
    if kind not in known and kind is not square and kind.forward is not o3.TensorProduct.forward:
        raise ProblemError(f"{kind.__name__} has a forward of its own")
    why = own_ways(tp)
    if why is not None:
        raise ProblemError(why)
    problem = TPProblem.from_e3nn(tp)
    device = tp.output_mask.device
    ours = TensorSquare.of_problem(problem) if square is not None and kind is square else TensorProduct(problem)
    ours = ours.to(device).train(tp.training)
    if problem.internal_weights and problem.weight_numel:
        with torch.no_grad():
            ours.weight.copy_(tp.weight)
        ours.weight.requires_grad_(tp.weight.requires_grad)
    if device.type == "cuda" and ours._program is not None:
        CompiledProgram(ours._program, target_of(device)).compile()
    else:
        ours._check_lowered(device)
    return ours


__all__ = ["ElementwiseTensorProduct", "FullTensorProduct", "FullyConnectedTensorProduct", "TensorSquare", "from_e3nn"]
