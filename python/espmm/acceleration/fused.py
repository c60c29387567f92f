"""The modules that take the place of e3nn's products inside a model: product and sum over edges as one kernel, and products by themselves."""

from __future__ import annotations

import copy
from typing import Any, Iterator

import torch

from ..derived import own_ways
from ..instruction import Instruction
from ..modules import TensorProduct, TensorProductConv
from ..operators import is_tracing
from ..problem import TPProblem


class _InPlace:
    """What takes the place of a built module of e3nn's, with the ``state_dict`` of that module.

    Parameters and buffers are the module's own tensors, under its names, those of its generated code too: checkpoints of the model
    load as before, in both directions, strictly.

    Args:
        module: an ``e3nn.o3.TensorProduct`` (e3nn 0.4.4 to 0.6), or what else a subclass says.

    Raises:
        ProblemError: espmm has no kernel for this product where the module is.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__(self._read(module))  # type: ignore[call-arg]
        self._check_lowered(module.output_mask.device)  # type: ignore[attr-defined,operator,union-attr]
        keep_state(self, module)  # type: ignore[arg-type]
        self.train(module.training)  # type: ignore[attr-defined]

    _read = staticmethod(TPProblem.from_e3nn)


class FusedConvolution(_InPlace, TensorProductConv):
    """z[receivers] += tp(x[senders], y, w) for a built product."""


class PlainProduct(_InPlace, TensorProduct):
    """tp(x, y) or tp(x, y, w) for a built product."""


class InPlaceLinear(_InPlace, TensorProduct):
    """linear(x) for a built ``e3nn.o3.Linear`` that has weights of its own and no biases: the product with one number, 1.

    One kernel does what e3nn's code has dozens of operators for, which is what a call with few rows is made of. Matrices of many rows are
    torch's, those of scalars on the CPU, where e3nn's code is a matrix product and nothing else, and what a trace records: e3nn's code.
    """

    #: With more products of two numbers than that the matrices are what takes the time, in which torch is as fast or faster.
    MOST_PRODUCTS = {"cuda": 1 << 29, "cpu": 1 << 23}

    def __init__(self, linear: torch.nn.Module) -> None:
        super().__init__(linear)
        self._linear = (linear,)  # no child, which the state_dict would have
        self.irreps_in = linear.irreps_in
        self.bias_numel = 0
        scalars = all(linear.irreps_in[instruction.i_in].ir.l == 0 for instruction in linear.instructions)
        self._devices = ("cuda",) if scalars else ("cuda", "cpu")

    @staticmethod
    def _read(linear: Any) -> TPProblem:
        """A path x_u 1 W[u, 0, w] for each of the linear's; e3nn's symbol of (l, 0, l) is 1 / sqrt(2 l + 1)."""
        paths = [
            Instruction(ins.i_in, 0, ins.i_out, "uvw", True, ins.path_weight * linear.irreps_in[ins.i_in].ir.dim ** 0.5, (ins.path_shape[0], 1, ins.path_shape[1]))
            for ins in linear.instructions
        ]
        dtype = linear.weight.dtype
        return TPProblem(linear.irreps_in, "0e", linear.irreps_out, paths, shared_weights=True, internal_weights=True, irrep_dtype=dtype, weight_dtype=dtype)

    def forward(self, features: torch.Tensor, weight: Any = None, bias: Any = None) -> torch.Tensor:
        """(..., irreps_in.dim) -> (..., irreps_out.dim); weights as in e3nn."""
        if not self._takes_kernel(features):
            return self._linear[0](features, self.weight if weight is None else weight, self.bias if bias is None else bias)
        return super().forward(features, features.new_ones(*features.shape[:-1], 1), weight)

    def _takes_kernel(self, features: torch.Tensor) -> bool:
        device = features.device.type
        return device in self._devices and features.numel() * self.weight_numel <= self.MOST_PRODUCTS[device] * features.shape[-1] and not is_tracing()

    def example(self) -> tuple[torch.Tensor, ...]:
        return super().example()[:1]

    def __prepare_scriptable__(self) -> torch.nn.Module:
        linear = copy.copy(self._linear[0])
        linear._parameters, linear._buffers = self._parameters, self._buffers
        return linear

    def weight_view_for_instruction(self, instruction: int, weight: Any = None) -> torch.Tensor:
        return self._linear[0].weight_view_for_instruction(instruction, self.weight if weight is None else weight)

    def weight_views(self, weight: Any = None, yield_instruction: bool = False) -> Iterator:
        return self._linear[0].weight_views(self.weight if weight is None else weight, yield_instruction)


def keep_state(module: torch.nn.Module, source: torch.nn.Module) -> None:
    """Gives a module the parameters and buffers of another, and empty modules with those of its children."""
    kept = set(source.state_dict())
    for name, parameter in source.named_parameters(recurse=False):
        module.register_parameter(name, parameter)  # type: ignore[arg-type]
    for name, buffer in source.named_buffers(recurse=False):
        module._buffers.pop(name, None)  # so that the order is the source's too
        module.register_buffer(name, buffer, persistent=name in kept)
    for name, child in source.named_children():
        if any(True for _ in child.parameters()) or any(True for _ in child.buffers()):
            holder = torch.nn.Module()
            keep_state(holder, child)
            module.add_module(name, holder)


def with_convolution(kind: type, layer: torch.nn.Module, name: str) -> Any:
    """A layer of another class that has all of the layer's own, and a :class:`FusedConvolution` for its product ``name``."""
    convolution = FusedConvolution(getattr(layer, name))
    new = kind.__new__(kind)
    new.__dict__.update(layer.__dict__)
    new._modules = layer._modules.copy()
    setattr(new, name, convolution)
    return new


def home(kind: type) -> str:
    """The module that defines a class, also for a class of a model that torch.package has brought with its own code."""
    name = kind.__module__
    return name.partition(".")[2] if name.startswith("<torch_package") else name


def is_a(module: Any, kind: type) -> bool:
    """isinstance, or the same by name for a module of a model from torch.package."""
    return any(base.__qualname__ == kind.__qualname__ and home(base) == home(kind) for base in type(module).__mro__)


def is_plain(module: Any, kind: type) -> bool:
    """Whether this is of a class of e3nn's, and does what that class does: it has no ``forward`` of its own, no hooks and no parametrizations."""
    if not is_a(module, kind) or own_ways(module) is not None:
        return False
    owner = next(base for base in type(module).__mro__ if "forward" in vars(base))
    return owner.__qualname__ == kind.__qualname__ and home(owner) == home(kind)


def not_a_product(module: Any) -> str:
    """Why a layer's product is no plain one of e3nn's."""
    why = own_ways(module) if is_any_product(module) else None
    return f"its product is a {type(module).__name__}, not e3nn's" if why is None else f"of its product, {why}"


def is_product(module: Any) -> bool:
    """Whether this is a plain product of e3nn, and not one of another library in its place."""
    from e3nn import o3

    return is_plain(module, o3.TensorProduct)


def is_any_product(module: Any) -> bool:
    """Whether this is a product of e3nn, plain or not."""
    from e3nn import o3

    return is_a(module, o3.TensorProduct)


def is_linear(module: Any) -> bool:
    """Whether this is a plain ``e3nn.o3.Linear`` that :class:`InPlaceLinear` can be in place of."""
    from e3nn import o3

    return is_plain(module, o3.Linear) and module.internal_weights and module.bias_numel == 0 and module.weight_numel > 0 and module.weight.ndim == 1


__all__ = ["FusedConvolution", "InPlaceLinear", "PlainProduct", "home", "is_a", "is_any_product", "is_linear", "is_product", "keep_state", "not_a_product"]
