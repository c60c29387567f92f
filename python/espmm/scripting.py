"""What torch.jit.script takes in the place of a product: a module of the same state, whose forward is a trace.

A trace of operators is for any numbers of rows, nodes and edges; the modules around it are here for TorchScript, which wants the source of a method.
"""

from __future__ import annotations

import warnings
from typing import Any, Optional

import torch
from torch import Tensor


class _Call1(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


class _Call2(torch.nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.call(x, y)


class _Call3(torch.nn.Module):
    def forward(self, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        return self.call(x, y, weight)


class _Call4(torch.nn.Module):
    def forward(self, x: Tensor, y: Tensor, weight: Tensor, edges: Tensor) -> Tensor:
        return self.call(x, y, weight, edges)


class _Call5(torch.nn.Module):
    def forward(self, x: Tensor, y: Tensor, weight: Tensor, receivers: Tensor, senders: Tensor) -> Tensor:
        return self.call(x, y, weight, receivers, senders)


class _CallOwn1(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return self.call(x, self.weight)


class _CallOwn2(torch.nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.call(x, y, self.weight)


class _CallOwn5(torch.nn.Module):
    def forward(self, x: Tensor, y: Tensor, weight: Optional[Tensor], receivers: Tensor, senders: Tensor) -> Tensor:
        return self.call(x, y, self.weight if weight is None else weight, receivers, senders)


_CALLS = {1: _Call1, 2: _Call2, 3: _Call3, 4: _Call4, 5: _Call5}
#: Of modules with weights of their own.
_CALLS_OWN = {1: _CallOwn1, 2: _CallOwn2, 5: _CallOwn5}


def scriptable(module: Any, own_weights: bool) -> torch.nn.Module:
    """The module that is scripted in the place of a product.

    Args:
        module: the product; ``module.example()`` are arguments of its forward.
        own_weights: whether the weights are the module's; a convolution's have a place among the arguments nevertheless.
    """
    example = module.example()
    result = (_CALLS_OWN if own_weights else _CALLS)[len(example)]()
    for name, parameter in module.named_parameters(recurse=False):
        result.register_parameter(name, parameter)
    kept = set(module.state_dict())
    for name, buffer in module.named_buffers(recurse=False):
        result.register_buffer(name, buffer, persistent=name in kept)
    result._modules.update(module._modules)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # shapes are checked once, while it is traced
        arguments = (*example, module.weight.detach()) if own_weights and len(example) < 3 else example
        result.call = torch.jit.trace(lambda *given: module(*given), arguments, check_trace=False)
    return result.train(module.training)


__all__ = ["scriptable"]
