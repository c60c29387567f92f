"""One problem on one graph: the three passes, their errors, their times and their memory floor.

The *floor* of a pass is the number of bytes that must cross memory even if nothing is moved twice, over the copy
bandwidth measured in the same run: each input read once, each output written once. Tensors with a row a node (x, gz and
their like) count once, however many edges use a row. A graph counts as int32: one node index an edge, and row pointers.

    forward           reads x y w                    writes z
    backward          reads x y w gz                 writes gx gy gw
    double backward   reads x y w gz cx cy cw        writes dx dy dw dgz

A backward pass is the program of the vector-Jacobian product alone, without the forward pass before it, and
likewise double backward: it is what maps the cotangents cx, cy, cw of gx, gy, gw to the gradients of x, y, w, gz.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from .reference import PASSES, E3nnConv, Operands, Product, Results, e3nn_module, relative_errors
from .timing import Call, Timing, median_time, sets_beyond_cache

_INDEX_BYTES = 4
# What e3nn's double backward holds at its peak, in rows of x, w and z together an edge; measured for mace-large, on the safe side.
_E3NN_ROWS = 8


@dataclass(frozen=True)
class GraphSize:
    """`nodes` receivers with `neighbours` edges each, their senders at random; or, without neighbours, a batch of `nodes` rows."""

    name: str
    nodes: int
    neighbours: int | None

    @property
    def edges(self) -> int:
        return self.nodes * (1 if self.neighbours is None else self.neighbours)

    def indices(self, device: torch.device) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """receivers (sorted) and senders."""
        if self.neighbours is None:
            return None, None
        receivers = torch.arange(self.nodes, device=device).repeat_interleave(self.neighbours)
        return receivers, torch.randint(self.nodes, (self.edges,), device=device)


@dataclass(frozen=True)
class Setting:
    """How everything in a run is measured."""

    device: torch.device
    dtype: torch.dtype
    layout: str
    deterministic: bool
    bandwidth: float
    budget_s: float = 1.0
    peers: bool = True
    resident: bool = False
    host: bool = False

    def for_suite(self, suite: str) -> Setting:
        """Small graphs are timed from the host as well: there it may be what takes longest."""
        return replace(self, host=suite == "small" and self.device.type == "cuda")


@dataclass
class Row:
    """A line of the table; times in milliseconds. `note` says why e3nn has no time."""

    problem: str
    graph: str
    pass_name: str
    error: float
    ms: float
    repeats: int
    floor_ms: float
    gigabytes_per_s: float
    host_ms: float | None = None
    e3nn_ms: float | None = None
    note: str = ""

    @property
    def percent_of_floor(self) -> float:
        return 100 * self.floor_ms / self.ms

    @property
    def speedup(self) -> float | None:
        return None if self.e3nn_ms is None else self.e3nn_ms / self.ms

    def as_json(self) -> dict[str, object]:
        return asdict(self) | {"percent_of_floor": self.percent_of_floor, "speedup": self.speedup}


def floor_bytes(product: Product, size: GraphSize, pass_name: str, itemsize: int) -> int:
    """Bytes that the pass must read and write; see the head of this module."""
    x, y, w, z = product.dims
    node = {"forward": x + z, "backward": 2 * x + z, "double backward": 3 * x + 2 * z}[pass_name]
    edge = {"forward": y + w, "backward": 2 * (y + w), "double backward": 3 * (y + w)}[pass_name]
    indices = 0 if size.neighbours is None else _INDEX_BYTES * (size.edges + size.nodes + 1)
    return itemsize * (size.nodes * node + size.edges * edge) + indices


def random_operands(product: Product, size: GraphSize, setting: Setting) -> Operands:
    """Normal random values for every operand."""
    x, y, w, z = product.dims
    normal = partial(torch.randn, device=setting.device, dtype=setting.dtype)
    nodes, edges = size.nodes, size.edges
    receivers, senders = size.indices(setting.device)
    return Operands(
        x=normal(nodes, x),
        y=normal(edges, y),
        w=normal(edges, w),
        gz=normal(nodes, z),
        cx=normal(nodes, x),
        cy=normal(edges, y),
        cw=normal(edges, w),
        receivers=receivers,
        senders=senders,
    )


Bound = Callable[[Tensor, Tensor, Tensor], Tensor]


def espmm_module(product: Product, setting: Setting, conv: bool) -> torch.nn.Module:
    """`TensorProductConv`, or `TensorProduct` for a batch."""
    import espmm

    problem = product.problem(setting.dtype, setting.layout)
    return espmm.TensorProductConv(problem, deterministic=setting.deterministic) if conv else espmm.TensorProduct(problem)


def bind_espmm(product: Product, size: GraphSize, setting: Setting, operands: Operands) -> Bound:
    """espmm on the operands' graph, its plan made beforehand, as layers of a model share it."""
    import espmm

    if operands.receivers is None:
        return espmm_module(product, setting, conv=False)
    conv = espmm_module(product, setting, conv=True)
    graph = espmm.Graph(operands.receivers, operands.senders, size.nodes)
    return lambda x, y, w: conv(x, y, w, graph)


def bind_e3nn(product: Product, setting: Setting, operands: Operands) -> Bound:
    """e3nn on the operands' graph."""
    conv = E3nnConv(e3nn_module(product, setting.dtype, setting.device))
    return lambda x, y, w: conv(x, y, w, operands.receivers, operands.senders)


def pass_call(pass_name: str, bound: Bound, operands: Operands) -> Call:
    """A function that runs the pass alone: what comes before it is done here."""
    # As in a model, these are results of other layers, not leaves.
    x, y, w, gz = (
        tensor.detach().requires_grad_().view_as(tensor) for tensor in (operands.x, operands.y, operands.w, operands.gz)
    )
    if pass_name == "forward":
        return partial(torch.no_grad()(bound), x, y, w)
    z = bound(x, y, w)
    if pass_name == "backward":
        return partial(torch.autograd.grad, z, (x, y, w), gz.detach(), retain_graph=True)
    gradients = torch.autograd.grad(z, (x, y, w), gz, create_graph=True)
    cotangents = (operands.cx, operands.cy, operands.cw)
    return partial(torch.autograd.grad, gradients, (x, y, w, gz), cotangents, retain_graph=True)


def time_pass(
    pass_name: str, bind: Callable[[Operands], Bound], sets: list[Operands], setting: Setting, warm_up: bool = True
) -> Timing:
    """Median time of the pass over the input sets."""
    calls = [pass_call(pass_name, bind(operands), operands) for operands in sets]
    few = 3 if setting.device.type == "cpu" else 5
    timing = median_time(
        calls, setting.device, budget_s=setting.budget_s, min_repeats=few, host=setting.host, warm_up=warm_up
    )
    calls.clear()
    _release(setting.device)
    return timing


def espmm_results(bound: Bound, operands: Operands) -> Results:
    """All three passes, once."""
    z = pass_call("forward", bound, operands)()
    first = pass_call("backward", bound, operands)()
    second = pass_call("double backward", bound, operands)()
    return Results(z, *first, *second)


def available_bytes(device: torch.device) -> int:
    """Memory that can be had now."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("/proc/meminfo has no line MemAvailable, so it is unknown what fits in memory")


def _release(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _time_e3nn(
    pass_name: str, product: Product, size: GraphSize, sets: list[Operands], setting: Setting
) -> tuple[float | None, str]:
    """Milliseconds, or None and why."""
    x, _, w, z = product.dims
    need = _E3NN_ROWS * size.edges * (x + w + z) * sets[0].x.element_size()
    available = available_bytes(setting.device)
    # On the host, running out of memory ends the process; on the GPU it can be tried.
    if setting.device.type == "cpu" and need > available:
        return None, f"e3nn needs about {need / 2**30:.0f} GiB, {available / 2**30:.0f} GiB are free"
    timing = None
    try:
        timing = time_pass(pass_name, partial(bind_e3nn, product, setting), sets, setting)
    except torch.cuda.OutOfMemoryError:
        pass
    # Not within `except`, where the exception still holds on to what was allocated.
    _release(setting.device)
    if timing is None:
        return None, f"e3nn does not fit in the {available / 2**30:.0f} GiB that are free"
    return 1e3 * timing.median_s, ""


def measure(
    product: Product, size: GraphSize, setting: Setting, progress: Callable[[str], None]
) -> Iterator[Row]:
    """The rows of one product on one graph; `progress` is told what is being done."""
    torch.manual_seed(0)
    first = random_operands(product, size, setting)
    bind = partial(bind_espmm, product, size, setting)
    progress("correctness")
    errors = relative_errors(product, setting.layout, first, espmm_results(bind(first), first))
    _release(setting.device)
    count = 1 if setting.resident else sets_beyond_cache(first.nbytes, setting.device)
    sets = [first] + [random_operands(product, size, setting) for _ in range(count - 1)]
    for pass_name in PASSES:
        progress(f"{pass_name}, espmm")
        timing = time_pass(pass_name, bind, sets, setting)
        nbytes = floor_bytes(product, size, pass_name, first.x.element_size())
        row = Row(
            problem=product.name,
            graph=size.name,
            pass_name=pass_name,
            error=errors[pass_name],
            ms=1e3 * timing.median_s,
            repeats=timing.repeats,
            floor_ms=1e3 * nbytes / setting.bandwidth,
            gigabytes_per_s=1e-9 * nbytes / timing.median_s,
            host_ms=None if timing.host_s is None else 1e3 * timing.host_s,
        )
        if setting.peers:
            progress(f"{pass_name}, e3nn")
            # e3nn reads and writes far more than a cache holds: it need not take turns.
            row.e3nn_ms, row.note = _time_e3nn(pass_name, product, size, sets[:1], setting)
        yield row
