"""The plan of a graph on the host, for kernels called without torch. See ``docs/Architecture.md``, section 4."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any, Sequence

from . import _capi
from .arrays import View, view

#: A side's nodes are cut into this many runs.
PARTS = 64

SIDES = ("receivers", "senders")

#: From the text of the kernel that makes a side on a GPU to its code.
PLAN_PIPELINE = "convert-equivariant-to-gpu,llvm.func(convert-loops-to-branches,convert-arith-to-llvm),convert-cf-to-llvm"


def plan_text(target: str) -> str:
    """The kernel that makes a side, for a target such as ``"cuda:sm_90"``."""
    return Path(__file__).with_name("plan_gpu.mlir").read_text(encoding="utf-8").replace("cuda:sm_NN", target)


@functools.lru_cache(maxsize=None)
def plan_kernel(target: str, device: int) -> _capi.Executable:
    """The same, compiled and loaded on a device."""
    executable = _capi.Executable(plan_text(target), PLAN_PIPELINE)
    executable.load(device)
    return executable


def bad_index_message(name: str, edge: int, value: int, bound: int) -> str:
    """What is said of an index out of range."""
    return f"{name}[{edge}] = {value} is out of range: edge {edge} names a node outside 0 <= {name} < {bound}"


class HostPlan:
    """Edges grouped by receiver and by sender, in host memory.

    Args:
        receivers, senders: E indices each, int32 or int64 arrays on the host.
        num_receivers, num_senders: bounds of the indices.

    Raises:
        IndexError: an index is out of range; names the first such edge.
    """

    def __init__(self, receivers: Any, senders: Any, num_receivers: int, num_senders: int) -> None:
        self.sides = dict(zip(SIDES, index_views(receivers, senders)))
        self.num_edges = self.sides["receivers"].shape[0]
        self.nodes = {"receivers": int(num_receivers), "senders": int(num_senders)}
        for name, count in self.nodes.items():
            if count < 0:
                raise ValueError(f"expected num_{name} >= 0, got {count}")
        self._arrays: dict[str, Any] = {}
        self._build("receivers", "senders")

    @property
    def sizes(self) -> "ctypes.Array[ctypes.c_int64]":
        """(E, R, S)."""
        return _capi.Sizes(self.num_edges, self.nodes["receivers"], self.nodes["senders"])

    def pointer(self, name: str) -> int:
        """The address of a plan array such as ``"receivers.offsets"``; 0 for the order of sorted edges."""
        side = name.partition(".")[0]
        if f"{side}.offsets" not in self._arrays:
            self._build(side, SIDES[1 - SIDES.index(side)])
        array = self._arrays[name]
        return 0 if array is None else ctypes.addressof(array)

    def array(self, name: str) -> Sequence[int]:
        """The elements of a plan array; an empty list for the order of sorted edges."""
        self.pointer(name)
        return list(self._arrays[name] or ())

    def _build(self, side: str, opposite: str) -> None:
        index, other = self.sides[side], self.sides[opposite]
        offsets = (ctypes.c_int32 * (self.nodes[side] + 1))()
        order = (ctypes.c_int32 * self.num_edges)()
        other_out = (ctypes.c_int32 * self.num_edges)()
        parts = (ctypes.c_int32 * (PARTS + 1))()
        try:
            is_sorted = _capi.build_side(
                index.pointer, other.pointer, 32 if index.dtype == "int32" else 64, self.num_edges, self.nodes[side],
                self.nodes[opposite], *map(ctypes.addressof, (offsets, order, other_out, parts)),
            )  # fmt: skip
        except _capi.BadEdge as error:
            raise IndexError(self._explain(error.edge)) from None
        for name, array in (
            ("offsets", offsets),
            ("order", None if is_sorted else order),
            ("other", other_out),
            ("parts", parts),
        ):
            self._arrays[f"{side}.{name}"] = array

    def _explain(self, edge: int) -> str:
        for name, array in self.sides.items():
            element = ctypes.c_int32 if array.dtype == "int32" else ctypes.c_int64
            value = element.from_address(array.pointer + edge * ctypes.sizeof(element)).value
            if not 0 <= value < self.nodes[name]:
                return bad_index_message(name, edge, value, self.nodes[name])
        return f"edge {edge} has an index out of range"


def index_views(receivers: Any, senders: Any) -> tuple[View, View]:
    """Both index arrays as views, checked: one-dimensional, integer, of the same length, type and device."""
    views = view(receivers, "receivers"), view(senders, "senders")
    for name, array in zip(SIDES, views):
        if array.dtype not in ("int32", "int64"):
            raise TypeError(f"expected {name} to be int32 or int64, got {array.dtype}")
        if len(array.shape) != 1:
            raise ValueError(f"expected {name} to have one axis (edges,), got shape {array.shape}")
        if array.device != -1:
            raise ValueError(f"expected {name} on the host, got CUDA device {array.device}: pass plan= for arrays on a GPU")
    if views[0].dtype != views[1].dtype:
        raise TypeError(f"expected receivers and senders of one type, got {views[0].dtype} and {views[1].dtype}")
    if views[0].shape != views[1].shape:
        raise ValueError(f"expected as many receivers as senders, got {views[0].shape[0]} and {views[1].shape[0]}")
    return views
