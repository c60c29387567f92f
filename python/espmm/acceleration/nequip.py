"""NequIP: ``nequip.nn._tp_scatter_base.TensorProductScatter``, of which a model has one a layer."""

from __future__ import annotations

from typing import Any, Optional

import torch
from nequip.nn._tp_scatter_base import TensorProductScatter

from ..errors import ProblemError
from .fused import FusedConvolution, is_a, is_product, not_a_product, with_convolution

NAME = "NequIP"

#: Energy and forces of 64 atoms of diamond with l_max 2 and 4 layers, on two CPU cores: less than was measured, and if the convolutions cost nothing.
SPEEDUP = (7, 15)


class FusedTensorProductScatter(TensorProductScatter):
    """A layer's product and sum over edges as one kernel."""

    # What whoever loads a compiled model has to import.
    _nequip_custom_ops_libs = ("espmm.operators",)

    @classmethod
    def of(cls, layer: TensorProductScatter) -> "FusedTensorProductScatter":
        return with_convolution(cls, layer, "tp")

    def forward(
        self,
        x: torch.Tensor,
        edge_attr: torch.Tensor,
        edge_weight: torch.Tensor,
        edge_dst: torch.Tensor,
        edge_src: torch.Tensor,
    ) -> torch.Tensor:
        dtype = self.model_dtype  # under autocast some are of another
        return self.tp(x.to(dtype), edge_attr.to(dtype), edge_weight.to(dtype), edge_dst, edge_src)


def replacement(module: torch.nn.Module) -> Optional[tuple[torch.nn.Module, FusedConvolution]]:
    """What takes the place of a seam, and the kernel in it; None if the module is no seam."""
    if any(getattr(module, "_compiled_cache", ())):
        raise ValueError("expected a model that has not been compiled yet, got one that has, and would go on with that: accelerate it before its first call")
    if not is_a(module, TensorProductScatter):
        return None
    if isinstance(module, FusedTensorProductScatter):
        raise ProblemError("its convolution is espmm's already")
    if type(module).__qualname__ != TensorProductScatter.__qualname__:
        raise ProblemError(f"it is a {type(module).__name__}, with a convolution of its own")
    if not is_product(module.tp):
        raise ProblemError(not_a_product(module.tp))
    new = FusedTensorProductScatter.of(module)
    return new, new.tp


def calculator(model: Any, device: str) -> Any:
    """The client's own ASE calculator of a model."""
    from nequip.integrations.ase import NequIPCalculator
    from nequip.integrations.utils import basic_transforms
    from nequip.nn import graph_model

    metadata = model.metadata
    types = metadata[graph_model.TYPE_NAMES_KEY].split(" ")
    transforms = basic_transforms(metadata, float(metadata[graph_model.R_MAX_KEY]), types, {name: name for name in types})
    return NequIPCalculator(model.eval(), device, transforms=transforms)
