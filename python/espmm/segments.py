"""Segments: the edges of a node, or, where a node has very many, some of them, so that no warp of a GPU has far more than others.

A graph that needs it has N + X segments on a side of N nodes: the first N are the nodes' first edges, the others what is left of
long ones. A kernel has a result for each segment; :func:`fold` adds those of a node.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

import torch

#: A node is cut if it has more edges than this many times the longest segment that is left whole.
_SLACK = 2
#: Segments are at least this long, or as long as this many times a node's mean number of edges.
_LEAST = 32
_MEANS = 1.5


class Segments(NamedTuple):
    """The plan's arrays with long nodes cut: int32, see ``docs/Architecture.md``, section 4. ``num_nodes`` is N.

    ``cut_nodes`` are those with more than one segment, ``extra_offsets`` where in the X further ones each one's begin and end (int64).
    """

    offsets: torch.Tensor
    order: torch.Tensor
    other: torch.Tensor
    nodes: torch.Tensor
    num_nodes: int
    cut_nodes: torch.Tensor
    extra_offsets: torch.Tensor

    @property
    def count(self) -> int:
        """N + X."""
        return self.nodes.shape[0]


def longest_segment(num_edges: int, num_nodes: int, most: int) -> Optional[int]:
    """How long segments may be for nodes with at most ``most`` edges each; None if no node is to be cut."""
    if num_nodes == 0:
        return None
    limit = max(_LEAST, int(_MEANS * num_edges / num_nodes))
    return limit if most > _SLACK * limit else None


def cut(offsets: torch.Tensor, order: Optional[torch.Tensor], other: torch.Tensor, limit: int) -> Segments:
    """Cuts nodes into segments of at most ``limit`` edges.

    Args:
        offsets: (N + 1,) int32. order, other: (E,) int32; order is None for sorted edges.
    """
    num_nodes = offsets.shape[0] - 1
    starts = offsets[:-1].long()
    counts = offsets.diff().long()
    extra = (counts.sub_(1).clamp_(min=0)).div(limit, rounding_mode="floor")
    first_extra = num_nodes + extra.cumsum(0) - extra
    positions = torch.arange(other.shape[0], device=offsets.device)
    node = torch.searchsorted(offsets[1:].contiguous(), positions, right=True, out_int32=False)
    piece = (positions - starts[node]).div(limit, rounding_mode="floor")
    segment = torch.where(piece == 0, node, first_extra[node] + piece - 1)
    segment, moved = torch.sort(segment, stable=True)
    numbers = torch.arange(num_nodes, device=offsets.device)
    nodes = torch.cat([numbers, numbers.repeat_interleave(extra)])
    bounds = torch.arange(nodes.shape[0] + 1, device=offsets.device)
    cut_nodes = extra.nonzero().flatten()
    extra_ends = extra[cut_nodes].cumsum(0)
    return Segments(
        torch.searchsorted(segment, bounds, out_int32=True),
        (moved.int() if order is None else order[moved]).contiguous(),
        other[moved].contiguous(),
        nodes.int(),
        num_nodes,
        cut_nodes,
        torch.cat([extra_ends.new_zeros(1), extra_ends]),
    )


def fold(result: torch.Tensor, segments: Segments) -> None:
    """Turns a result by segment into one by node, in place: (N + X, width) to (N, width). The same bits on every run."""
    whole, extra = result[: segments.num_nodes], result[segments.num_nodes :]
    narrow = result.element_size() < 4  # storage only: sums are float32
    sums = torch.segment_reduce(extra.float() if narrow else extra, "sum", offsets=segments.extra_offsets, unsafe=True)
    if narrow:
        sums += whole.index_select(0, segments.cut_nodes)
        whole.index_copy_(0, segments.cut_nodes, sums.to(result.dtype))
    else:
        whole.index_add_(0, segments.cut_nodes, sums)
    result.resize_(whole.shape)
