"""The modules that take the place of e3nn's products inside a model: product and sum over edges as one kernel, and products by themselves."""

from __future__ import annotations

from typing import Any

import torch

from ..modules import TensorProduct, TensorProductConv
from ..problem import TPProblem


class _InPlace:
    """What takes the place of a built ``e3nn.o3.TensorProduct``, with the ``state_dict`` of that product.

    Parameters and buffers are the product's own tensors, under its names, those of its generated code too: checkpoints of the model
    load as before, in both directions, strictly.

    Args:
        tp: the product (e3nn 0.4.4 to 0.6); its code is not kept.

    Raises:
        ProblemError: espmm has no kernel for this product.
    """

    def __init__(self, tp: torch.nn.Module) -> None:
        super().__init__(TPProblem.from_e3nn(tp))  # type: ignore[call-arg]
        keep_state(self, tp)  # type: ignore[arg-type]
        self.train(tp.training)  # type: ignore[attr-defined]


class FusedConvolution(_InPlace, TensorProductConv):
    """z[receivers] += tp(x[senders], y, w) for a built product."""


class PlainProduct(_InPlace, TensorProduct):
    """tp(x, y) or tp(x, y, w) for a built product."""


def keep_state(module: torch.nn.Module, source: torch.nn.Module) -> None:
    """Gives a module the parameters and buffers of another, and empty modules with those of its children."""
    kept = set(source.state_dict())
    for name, parameter in source.named_parameters(recurse=False):
        module.register_parameter(name, parameter)  # type: ignore[arg-type]
    for name, buffer in source.named_buffers(recurse=False):
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


def is_product(module: Any) -> bool:
    """Whether this is a plain product of e3nn, and not one of another library in its place."""
    from e3nn import o3

    if not is_a(module, o3.TensorProduct):
        return False
    owner = next(base for base in type(module).__mro__ if "forward" in vars(base))
    return owner.__qualname__ == o3.TensorProduct.__qualname__ and home(owner) == home(o3.TensorProduct)


__all__ = ["FusedConvolution", "PlainProduct", "home", "is_a", "is_product", "keep_state"]
