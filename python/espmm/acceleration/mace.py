"""MACE: ``conv_tp`` of an interaction block (``mace.modules.blocks``), of which a model has one a layer."""

from __future__ import annotations

from typing import Any, Optional

import torch
from mace.modules.blocks import InteractionBlock

from ..errors import ProblemError
from .fused import FusedConvolution, is_product, not_a_product

NAME = "MACE"

#: Energy and forces of 64 atoms of diamond with 128x0e+128x1o, on two CPU cores: less than was measured, and if the convolutions cost nothing.
SPEEDUP = (3, 4.5)


class BlockConvolution(FusedConvolution):
    """A block's convolution as MACE calls it where ``conv_fusion`` is set."""

    def forward(  # type: ignore[override]
        self, node_feats: torch.Tensor, edge_attrs: torch.Tensor, tp_weights: torch.Tensor, edge_index: torch.Tensor
    ) -> torch.Tensor:
        return super().forward(node_feats, edge_attrs, tp_weights, edge_index[1], edge_index[0])

    def example(self) -> tuple[torch.Tensor, ...]:
        x, y, w, receivers, senders = super().example()
        return x, y, w, torch.stack([senders, receivers])


def replacement(module: torch.nn.Module) -> Optional[tuple[torch.nn.Module, FusedConvolution]]:
    """What takes the place of a seam, here the block itself, changed, and the kernel in it; None if the module is no seam."""
    if not isinstance(module, InteractionBlock):
        return None
    if isinstance(module.conv_tp, BlockConvolution):
        raise ProblemError("its convolution is espmm's already")
    if hasattr(module, "conv_fusion") or not is_product(module.conv_tp):
        raise ProblemError(not_a_product(module.conv_tp))
    module.conv_tp = BlockConvolution(module.conv_tp)
    module.conv_fusion = "espmm"
    return module, module.conv_tp


def calculator(model: Any, device: str) -> Any:
    """The client's own ASE calculator of a model."""
    from mace.calculators import MACECalculator

    return MACECalculator(models=[model], device=device, default_dtype="")
