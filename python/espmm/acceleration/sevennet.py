"""SevenNet: ``sevenn.nn.convolution.IrrepsConvolution``, of which a model has one a layer."""

from __future__ import annotations

from typing import Any, Optional

import sevenn._keys as KEY
import torch
from e3nn.util.jit import compile_mode
from sevenn.nn.convolution import IrrepsConvolution, IrrepsScatterGatterFusedConvolution

from ..errors import ProblemError
from .fused import FusedConvolution, is_product, not_a_product, with_convolution

NAME = "SevenNet"

#: Energy and forces of 64 atoms of diamond with 7net-0, on two CPU cores: less than was measured, and if the convolutions cost nothing.
SPEEDUP = (8, 15)


@compile_mode("script")
class FusedIrrepsConvolution(IrrepsConvolution):
    """A layer's convolution with product and sum as one kernel; everything else is the layer's."""

    @classmethod
    def of(cls, layer: IrrepsConvolution) -> "FusedIrrepsConvolution":
        return with_convolution(cls, layer, "convolution")

    def forward(self, data: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        weight = self.weight_nn(data[self.key_weight_input])
        x = data[self.key_x]
        if self.is_parallel:
            x = torch.cat([x, data[KEY.NODE_FEATURE_GHOST]])
        edges = data[self.key_edge_idx]
        x = self.convolution(x, data[self.key_filter], weight, edges[0], edges[1])
        x = x.div(self.denominator)
        if self.is_parallel:
            x = torch.tensor_split(x, data[KEY.NLOCAL])[0]
        data[self.key_x] = x
        return data


def replacement(module: torch.nn.Module) -> Optional[tuple[torch.nn.Module, FusedConvolution]]:
    """What takes the place of a seam, and the kernel in it; None if the module is no seam."""
    if isinstance(module, IrrepsScatterGatterFusedConvolution):
        raise ProblemError(f"its convolution is {type(module.convolution).__name__} already")
    if not isinstance(module, IrrepsConvolution):
        return None
    if isinstance(module, FusedIrrepsConvolution):
        raise ProblemError("its convolution is espmm's already")
    if module.convolution is None:
        raise ProblemError("its convolution is not instantiated yet")
    if not is_product(module.convolution):
        raise ProblemError(not_a_product(module.convolution))
    new = FusedIrrepsConvolution.of(module)
    return new, new.convolution


def calculator(model: Any, device: str) -> Any:
    """The client's own ASE calculator of a model."""
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator(model, file_type="model_instance", device=device)
