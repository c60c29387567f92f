"""Graphs for convolutions in torch: edges grouped by node, made once and reused by every layer and derivative."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import operator
import threading
from typing import Any, Iterator, NamedTuple, Optional

import torch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.multiprocessing.reductions import StorageWeakRef

from . import _capi
from .devices import current_stream, target_of
from .plan import PARTS, SIDES, bad_index_message, plan_kernel
from .segments import Segments, cut, longest_segment


class Side(NamedTuple):
    """Edges grouped by one end (``docs/Architecture.md``, section 4), int32 tensors; ``order`` is None for sorted edges.

    ``most`` is the largest number of edges of a node, where it is known (on a GPU).
    """

    offsets: torch.Tensor
    order: Optional[torch.Tensor]
    other: torch.Tensor
    parts: torch.Tensor
    most: Optional[int] = None


class LaunchPlan(NamedTuple):
    """What a launch needs of a graph: sizes (E, R, S), the addresses of plan arrays, and the sides whose nodes are cut into segments.

    R and S count segments on these sides. ``cut`` has, for each, the index of its size and the segments. ``array`` has sizes and addresses as
    int64, ``words`` its own address and length.
    """

    sizes: Any
    pointers: tuple[int, ...]
    cut: tuple[tuple[int, Segments], ...]
    array: Any
    words: tuple[int, int]


class Graph:
    """The plan of a list of edges, on the device of the indices.

    Args:
        receivers, senders: (E,) int32 or int64, on one device, in any order; edge e goes from ``senders[e]`` to
            ``receivers[e]``.
        num_nodes: number of nodes. Where receivers and senders are different kinds of nodes:
        num_receivers, num_senders: their numbers.

    Raises:
        IndexError: an index is out of range (negative ones too); names the first such edge.
        TypeError: the indices are not int32 or int64 tensors of one type.
        ValueError: not one-dimensional, of different lengths, or on different devices.

    The side grouped by receivers is made at once, the one grouped by senders when a kernel first needs it. On a GPU
    making a side waits for the device once, to check the indices (again, if edges are not sorted or a node has so many that it
    is cut); using one never does.
    """

    def __init__(
        self,
        receivers: torch.Tensor,
        senders: torch.Tensor,
        num_nodes: Optional[int] = None,
        *,
        num_receivers: Optional[int] = None,
        num_senders: Optional[int] = None,
    ) -> None:
        check_indices(receivers, senders)
        self.num_receivers = _count("num_receivers", num_nodes if num_receivers is None else num_receivers)
        self.num_senders = _count("num_senders", num_nodes if num_senders is None else num_senders)
        self.num_edges = receivers.shape[0]
        self.device = receivers.device
        for what, count in (("edges", self.num_edges), ("receivers", self.num_receivers), ("senders", self.num_senders)):
            if count >= 2**31:
                raise ValueError(f"expected fewer than 2^31 {what}, got {count}")
        #: What the checks of a call look at.
        self.extent = (self.num_edges, self.num_receivers, self.num_senders, self.device)
        #: (E, R, S) for launches.
        self.sizes = _capi.Sizes(self.num_edges, self.num_receivers, self.num_senders)
        self._lock = threading.Lock()
        self._sides: dict[str, Side] = {}
        self._segments: dict[str, Optional[Segments]] = {}
        self._plans: dict[tuple[tuple[str, ...], int], LaunchPlan] = {}
        self._is_on_host = self.device.type != "cuda"
        self._streams = {side: _Streams(self.device) for side in SIDES}
        if self.device.type == "meta":
            raise ValueError("expected receivers and senders with values, got tensors on the meta device")
        with lasting():
            self._add("receivers", build_side(receivers, senders, self.num_receivers, self.num_senders, SIDES))

    def __repr__(self) -> str:
        nodes = f"{self.num_receivers} nodes"
        if self.num_receivers != self.num_senders:
            nodes = f"{self.num_receivers} receivers, {self.num_senders} senders"
        return f"Graph({self.num_edges} edges, {nodes}, {self.device})"

    def __deepcopy__(self, memo: dict) -> "Graph":
        return self

    def __reduce__(self) -> tuple:
        return _restore, (*self.indices(), self.num_receivers, self.num_senders)

    def side(self, name: str) -> Side:
        """The edges grouped by ``"receivers"`` or ``"senders"``."""
        found = self.built_side(name)
        if found is not None:
            return found
        if name not in SIDES:
            raise ValueError(f"expected a side, 'receivers' or 'senders', got {name!r}")
        with self._lock, lasting():
            if name not in self._sides:
                receivers, senders = self.indices()
                self._add(name, build_side(senders, receivers, self.num_senders, self.num_receivers, SIDES[::-1]))
        return self._sides[name]

    def _add(self, name: str, side: Side) -> None:
        nodes = side.offsets.shape[0] - 1
        limit = None if side.most is None else longest_segment(self.num_edges, nodes, side.most)
        self._segments[name] = None if limit is None else cut(side.offsets, side.order, side.other, limit)
        self._streams[name].made([*side[:4], *(self._segments[name] or ())[:4]])
        self._sides[name] = side  # last: who finds it finds its segments

    def built_side(self, name: str) -> Optional[Side]:
        """A side if it has been made already."""
        found = self._sides.get(name)
        if found is not None and not torch.compiler.is_compiling():
            self._streams[name].use()
        return found

    def indices(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Receivers and senders, (E,) int32, in the order of the edges.

        They are recovered from the receivers' side: a graph holds on to no tensor of the caller's, so that one in the cache
        does not keep its edges alive.
        """
        side = self.side("receivers")
        counts = side.offsets.diff()
        receivers = torch.arange(self.num_receivers, dtype=torch.int32, device=self.device).repeat_interleave(
            counts, output_size=self.num_edges
        )
        if side.order is None:
            return receivers, side.other
        order = side.order.long()
        return torch.empty_like(receivers).index_copy_(0, order, receivers), torch.empty_like(side.other).index_copy_(
            0, order, side.other
        )

    def segments(self, name: str) -> Optional[Segments]:
        """A side's nodes cut into segments, on a GPU; None if none has so many more edges than others that it should be."""
        self.side(name)
        return self._segments[name]

    def array(self, name: str) -> Optional[torch.Tensor]:
        """A plan array such as ``"receivers.offsets"``; None for the order of sorted edges, and the nodes of whole segments."""
        side, _, part = name.partition(".")
        segments = self.segments(side)
        if segments is not None and part != "parts":
            return getattr(segments, part)
        return None if part == "nodes" else getattr(self.side(side), part)

    def launch_plan(self, names: tuple[str, ...]) -> LaunchPlan:
        """What a program needs that reads these plan arrays."""
        stream = 0 if self._is_on_host else self._streams["receivers"].current()
        found = self._plans.get((names, stream))
        if found is None:
            arrays = [self.array(name) for name in names]
            grouped = [(1 + i, self.segments(side)) for i, side in enumerate(SIDES) if f"{side}.offsets" in names]
            cut_sides = tuple((i, segments) for i, segments in grouped if segments is not None)
            sizes = _capi.Sizes(*self.sizes)
            for i, segments in cut_sides:
                sizes[i] = segments.count
            pointers = tuple(0 if array is None else array.data_ptr() for array in arrays)
            array = (ctypes.c_int64 * (3 + len(pointers)))(*sizes, *pointers)
            found = LaunchPlan(sizes, pointers, cut_sides, array, (ctypes.addressof(array), len(array)))
            self._plans[names, stream] = found
        return found


class _Streams:
    """The streams of a GPU that use the arrays of a side.

    A graph in the cache is used where no caller knows of its arrays: a stream other than the one that they were made on has to
    wait for them once, and torch's allocator has to know of it, so that their memory is not given to others while it is read.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device if device.type == "cuda" else None
        self._arrays: list[torch.Tensor] = []
        self._known: set[int] = set()
        self._ready: Any = None

    def current(self) -> int:
        """The current stream; 0 on the host."""
        return 0 if self._device is None else torch._C._cuda_getCurrentRawStream(self._device.index)

    def made(self, arrays: list[Optional[torch.Tensor]]) -> None:
        """The arrays have been made on the current stream."""
        if self._device is not None:
            self._arrays = [array for array in arrays if isinstance(array, torch.Tensor)]
            self._known = {self.current()}
            self._ready = torch.cuda.current_stream(self._device).record_event()

    def use(self) -> None:
        """The current stream is going to read the arrays."""
        raw = self.current()
        if self._device is None or raw in self._known:
            return
        stream = torch.cuda.current_stream(self._device)
        # A capture may not wait for what lies outside of it; whoever begins one has waited for all that came before.
        if not torch.cuda.is_current_stream_capturing():
            stream.wait_event(self._ready)
            self._known.add(raw)
        for array in self._arrays:
            array.record_stream(stream)


def _restore(receivers: torch.Tensor, senders: torch.Tensor, num_receivers: int, num_senders: int) -> Graph:
    return Graph(receivers, senders, num_receivers=num_receivers, num_senders=num_senders)


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """Where tensors are made that outlive the modes of now: in torch.func's transforms they would be wrapped, in inference mode
    autograd could not save them."""
    with contextlib.ExitStack() as modes:
        if torch._C._are_functorch_transforms_active():
            modes.enter_context(temporarily_clear_interpreter_stack())
        if torch.is_inference_mode_enabled():
            modes.enter_context(torch.inference_mode(False))
        yield


def check_indices(receivers: Any, senders: Any) -> None:
    """Raises if these are not two index tensors of one length, type and device."""
    for name, index in (("receivers", receivers), ("senders", senders)):
        if not isinstance(index, torch.Tensor):
            raise TypeError(f"expected {name} to be a tensor, got {type(index).__name__}")
        if index.dtype not in (torch.int32, torch.int64):
            raise TypeError(f"expected {name} to be int32 or int64, got {index.dtype}")
        if index.ndim != 1:
            raise ValueError(f"expected {name} to have one axis (edges,), got shape {tuple(index.shape)}")
        check_device(name, index)
        if torch._C._are_functorch_transforms_active() and torch._C._functorch.is_batchedtensor(index):
            raise ValueError(
                f"expected one list of {name} for all calls of a vmap, got a batch of them: join the graphs into one instead"
            )
    if receivers.shape != senders.shape:
        raise ValueError(f"expected as many receivers as senders, got {receivers.shape[0]} and {senders.shape[0]}")
    if receivers.device != senders.device:
        raise ValueError(f"expected receivers and senders on one device, got {receivers.device} and {senders.device}")


def check_device(name: str, tensor: torch.Tensor) -> None:
    if tensor.device.type not in ("cpu", "cuda", "meta"):
        raise ValueError(f"expected {name} on the CPU or a CUDA device, got {tensor.device}")


def _count(name: str, count: Any) -> int:
    if count is None:
        raise TypeError(f"expected num_nodes or {name}")
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"expected {name} to be an integer, got {type(count).__name__}")
    if count < 0:
        raise ValueError(f"expected {name} >= 0, got {count}")
    return count


def build_side(index: torch.Tensor, other: torch.Tensor, num_nodes: int, num_other: int, names: tuple[str, str]) -> Side:
    """Groups edges by ``index``. ``names`` are what index and other are called in messages."""
    if index.device.type == "cpu":
        return _build_on_host(index, other, num_nodes, num_other, names)
    return _build_by_kernel(index, other, num_nodes, num_other, names)


def _build_on_host(index: torch.Tensor, other: torch.Tensor, num_nodes: int, num_other: int, names: tuple[str, str]) -> Side:
    if other.dtype != index.dtype:
        index, other = index.long(), other.long()
    index, other = index.contiguous(), other.contiguous()
    edges = index.shape[0]
    arrays = [torch.empty(length, dtype=torch.int32, device=index.device) for length in (num_nodes + 1, edges, edges, PARTS + 1)]
    try:
        is_sorted = _capi.build_side(
            index.data_ptr(), other.data_ptr(), index.element_size() * 8, edges, num_nodes, num_other,
            *(array.data_ptr() for array in arrays),
        )  # fmt: skip
    except _capi.BadEdge:
        _check_range(index, other, num_nodes, num_other, names)
        raise
    offsets, order, other_out, parts = arrays
    return Side(offsets, None if is_sorted else order, other_out, parts)


def _build_by_kernel(index: torch.Tensor, other: torch.Tensor, num_nodes: int, num_other: int, names: tuple[str, str]) -> Side:
    """By the program of ``plan_gpu.mlir``; again, once torch has sorted them, for edges that are not."""
    index, other = index.long().contiguous(), other.long().contiguous()
    edges, device = index.shape[0], index.device
    lengths = [num_nodes + 1, edges, PARTS + 1, 3]
    *arrays, facts = torch.empty(sum(lengths), dtype=torch.int32, device=device).split(lengths)

    def make() -> list[int]:
        facts.zero_()
        # Tensors without elements, which nobody reads, have no address.
        pointers = [tensor.data_ptr() or facts.data_ptr() for tensor in (index, other, *arrays, facts)]
        plan_kernel(target_of(device), device.index).launch(device.index, current_stream(device.index), _capi.Sizes(edges, num_nodes, num_other), pointers, None, 0)
        return facts.tolist()  # waits for the device

    is_bad, descends, most = make()
    if is_bad:
        _check_range(index, other, num_nodes, num_other, names)
    order = None
    if descends:
        index, order = torch.sort(index, stable=True)
        other = other[order]
        _, _, most = make()
        order = order.int()
    offsets, ends, parts = arrays
    return Side(offsets, order, ends, parts, most)


def _check_range(index: torch.Tensor, other: torch.Tensor, num_nodes: int, num_other: int, names: tuple[str, str]) -> None:
    """Raises IndexError for the first bad edge."""
    bad_index = (index < 0) | (index >= num_nodes)
    bad = (bad_index | (other < 0) | (other >= num_other)).nonzero()
    if bad.numel():
        edge = int(bad[0])
        which = 0 if bool(bad_index[edge]) else 1
        value = int((index, other)[which][edge])
        raise IndexError(bad_index_message(names[which], edge, value, (num_nodes, num_other)[which]))


class _Cached(NamedTuple):
    storages: tuple[StorageWeakRef, StorageWeakRef]
    graph: Graph


#: Graphs made behind the callers' backs. A weak reference keeps a storage's address from being used again, so
#: that an address, with the version of its contents, names an edge list for as long as the entry is here.
_cache: "collections.OrderedDict[tuple, _Cached]" = collections.OrderedDict()
_cache_lock = threading.Lock()
_CACHE_SIZE = 32
#: Keys of graphs that captured CUDA graphs read: they stay for as long as the edges live, however many others come.
_captured: set[tuple] = set()


#: What is raised for no tensors, or tensors without storage or version (inference mode): there is nothing to recognise them by.
_UNRECOGNISED = (AttributeError, RuntimeError, NotImplementedError)


def known_graph(receivers: Any, senders: Any, x: Any) -> Optional[Graph]:
    """The graph of two index tensors between as many nodes as x has rows, if it has been made already."""
    try:
        nodes = x.shape[0]
        key = _key(receivers, senders, nodes, nodes)
    except (*_UNRECOGNISED, IndexError, TypeError):
        return None
    return _find(key)


def _find(key: tuple) -> Optional[Graph]:
    found = _cache.get(key)
    if found is None:
        return None
    if not found.graph._is_on_host and torch.cuda.is_current_stream_capturing():
        _captured.add(key)
    return found.graph


def graph_of(receivers: torch.Tensor, senders: torch.Tensor, num_receivers: int, num_senders: int) -> Graph:
    """The graph of two index tensors, made now or found: the key is storage, offset, shape, stride and version."""
    try:
        key = _key(receivers, senders, num_receivers, num_senders)
    except _UNRECOGNISED:
        return Graph(receivers, senders, num_receivers=num_receivers, num_senders=num_senders)
    found = _find(key)
    if found is not None:
        return found
    graph = Graph(receivers, senders, num_receivers=num_receivers, num_senders=num_senders)
    storages = (StorageWeakRef(receivers.untyped_storage()), StorageWeakRef(senders.untyped_storage()))
    with _cache_lock:
        for stale in [old for old, entry in _cache.items() if any(storage.expired() for storage in entry.storages)]:
            del _cache[stale]
            _captured.discard(stale)
        _cache[key] = _Cached(storages, graph)
        loose = [old for old in _cache if old not in _captured]
        for old in loose[: max(len(loose) - _CACHE_SIZE, 0)]:
            del _cache[old]
    return graph


_metadata = operator.attrgetter("shape", "dtype", "_version")


def _key(a: torch.Tensor, b: torch.Tensor, num_receivers: int, num_senders: int) -> tuple:
    """What two index tensors are known by."""
    return (
        a.untyped_storage()._cdata, a.storage_offset(), a.stride(), _metadata(a),
        b.untyped_storage()._cdata, b.storage_offset(), b.stride(), _metadata(b),
        num_receivers, num_senders,
    )  # fmt: skip


def clear_graph_cache() -> None:
    """Forgets all graphs that were made by themselves."""
    with _cache_lock:
        _cache.clear()
        _captured.clear()
