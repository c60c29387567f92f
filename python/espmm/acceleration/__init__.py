"""Models of MACE, NequIP and SevenNet made fast where they stand: each layer's product and sum over edges becomes one kernel."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Iterator, Mapping

import torch

from ..derived import own_ways, rebind, why_left
from ..errors import ProblemError
from .fused import InPlaceLinear, PlainProduct, home, is_any_product, is_linear, is_product

#: The module beside this one that knows a client, by the package in which the client defines its layers.
_CLIENTS = {"mace": ".mace", "nequip": ".nequip", "sevenn": ".sevennet"}


@dataclass(frozen=True)
class Acceleration:
    """What :func:`accelerate` did.

    Attributes:
        client: ``"MACE"``, ``"NequIP"`` or ``"SevenNet"``; several joined by "+" if a calculator has several.
        replaced: for the path of each layer whose convolution is espmm's now, what it computes.
        left: for the path of each layer, or product, that is as it was, the reason.
        products: the same for products beside the convolutions, such as a layer's self-connection, and for linear layers.
        expected_speedup: how many times faster energy and forces may be, for a client, not for the model at hand: less than what was measured
            of one of its models on two CPU cores, and what it would be if convolutions took no time. None if nothing was replaced.
    """

    client: str
    replaced: Mapping[str, str] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    products: Mapping[str, str] = field(default_factory=dict)
    expected_speedup: tuple[float, float] | None = None

    def __str__(self) -> str:
        lines = [f"{self.client}: {len(self.replaced)} convolutions replaced, {len(self.left)} left as they were, {len(self.products)} other products replaced"]
        lines += [f"  {path}: {what}" for path, what in (*self.replaced.items(), *self.products.items())]
        lines += [f"  {path} is left: {why}" for path, why in self.left.items()]
        if self.expected_speedup is not None:
            low, high = self.expected_speedup
            lines.append(f"  energy and forces of tens of atoms on the CPU: {low:g} to {high:g} times as fast may be expected")
        return "\n".join(lines)


def accelerate(target: Any) -> tuple[Any, Acceleration]:
    """Replaces the convolutions of a MACE, NequIP or SevenNet model, in place: product, gather and sum become one kernel. So do e3nn's other products in it,
    unless they have so many weights that they are large products of matrices, and, in eager calls on few rows, its linear layers.

    Parameters stay the same tensors under the same names, so that optimizers and checkpoints go on, in both directions. Results
    are equal within rounding, derivatives of every order too. On a GPU and on the CPU, wherever the model is moved.

    Args:
        target: a model (eager, not TorchScript), or an ASE calculator of one of these packages.

    Returns:
        The target (or, if that is a layer, what is in its place), and what was replaced and what was not, with the reason.

    Raises:
        TypeError: neither a model nor a calculator. ValueError: nothing in it that could be replaced, or a model of NequIP that has compiled itself already.
    """
    replaced: dict[str, str] = {}
    left: dict[str, str] = {}
    products: dict[str, str] = {}
    clients: dict[str, Any] = {}
    for prefix, model in _models(target):
        if isinstance(model, torch.jit.ScriptModule):
            raise TypeError("expected an eager model, got TorchScript: accelerate the model before it is scripted")
        holder = torch.nn.ModuleList([model])  # a model may be a layer itself
        if _accelerate(holder, prefix, replaced, left, clients):
            _replace_products(holder, prefix, products, left)
        if target is model:
            target = holder[0]
    if not replaced and not left:
        raise ValueError(
            f"expected a model of {', '.join(_CLIENTS)} with e3nn's convolutions, found none in {type(target).__name__} "
            "(espmm.from_e3nn replaces the products of any module)"
        )
    low = min((client.SPEEDUP[0] for client in clients.values()), default=1)
    high = max((client.SPEEDUP[1] for client in clients.values()), default=1)
    name = "+".join(client.NAME for client in clients.values())
    return target, Acceleration(name, replaced, left, products, (low, high) if replaced else None)


def _accelerate(holder: torch.nn.ModuleList, prefix: str, replaced: dict, left: dict, clients: dict) -> bool:
    """Replaces the convolutions of the model that is held; says whether there were any."""
    before = len(replaced)
    for path, module in list(holder[0].named_modules()):
        package = client_of(module)
        if package is None:
            continue
        client = import_module(_CLIENTS[package], __name__)
        path = f"{prefix}{path}"
        try:
            found = client.replacement(module)
        except ProblemError as error:
            left[path] = str(error).splitlines()[0]
            clients.setdefault(package, client)
            continue
        if found is None:
            continue
        new, convolution = found
        if new is not module:
            _put(holder, module, new)
        replaced[path] = str(convolution.problem)
        clients.setdefault(package, client)
    return len(replaced) > before


#: A product with more weights than that takes its time for matrices, in which e3nn's is as fast or faster: of 128x0e+64x1e+32x2e with 89x0e, two million of them.
_MOST_WEIGHTS = 1 << 19


def _replace_products(holder: torch.nn.ModuleList, prefix: str, products: dict, left: dict) -> None:
    """Replaces e3nn's plain products that have paths, and its linear layers; notes why other products are left."""
    for path, module in list(holder[0].named_modules()):
        path = f"{prefix}{path}"
        try:
            new = _in_place(module)
        except ProblemError as error:
            left[path] = str(error).splitlines()[0]
            continue
        if new is not None:
            _put(holder, module, new)
            products[path] = str(new.problem)


def _in_place(module: torch.nn.Module) -> PlainProduct | InPlaceLinear | None:
    """What takes the place of one of e3nn's products or linear layers; None for what is neither, or has no paths.

    Raises:
        ProblemError: a product that is left as it is.
    """
    if is_linear(module):
        return InPlaceLinear(module)
    why = why_left(module)
    if why is None and is_any_product(module) and module.instructions:
        if not is_product(module):
            why = own_ways(module) or f"{type(module).__name__} has a forward of its own"
        elif module.weight_numel > _MOST_WEIGHTS:
            why = f"{module.weight_numel} weights make it a large product of matrices, in which e3nn is as fast"
        else:
            return PlainProduct(module)
    if why is not None:
        raise ProblemError(why)
    return None


def _put(model: torch.nn.Module, old: torch.nn.Module, new: torch.nn.Module) -> None:
    """Puts a module in the place of another, wherever a model holds it."""
    for parent in list(model.modules()):
        for key, child in list(parent._modules.items()):
            if child is old:
                parent._modules[key] = new
                rebind(parent)


def client_of(module: torch.nn.Module) -> str | None:
    """The package that defines a module's class or one of its bases, if it is a client's and has been imported."""
    for kind in type(module).__mro__:
        package = home(kind).partition(".")[0]
        if package in _CLIENTS and package in sys.modules:
            return package
    return None


def _models(target: Any) -> Iterator[tuple[str, torch.nn.Module]]:
    """The models of a calculator, or the model itself, with a prefix for paths."""
    if isinstance(target, torch.nn.Module):
        yield "", target
        return
    found = False
    for name in ("model", "models"):
        value = getattr(target, name, None)
        models = value if isinstance(value, (list, tuple)) else [value]
        for i, model in enumerate(models):
            if isinstance(model, torch.nn.Module):
                found = True
                yield "" if len(models) == 1 else f"{name}.{i}.", model
    mixer = getattr(target, "mixer", None)  # a sum of calculators in ASE
    for calculator in getattr(mixer, "calcs", ()):
        for prefix, model in _models(calculator):
            found = True
            yield prefix, model
    if not found:
        raise TypeError(f"expected a torch.nn.Module or an ASE calculator that has one, got {type(target).__name__}")


__all__ = ["Acceleration", "accelerate", "client_of"]
