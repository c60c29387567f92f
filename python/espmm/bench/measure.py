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
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from .figures import PeerFigure, Row
from .graphs import BenchGraph, GraphSize  # noqa: F401  GraphSize is found here too
from .peers import PEERS, Bound, Form, Peer, Unsupported, one_line
from .reference import PASSES, Operands, Product, relative_errors
from .timing import Call, Timing, median_time, sets_beyond_cache

_INDEX_BYTES = 4
_T = TypeVar("_T")


@dataclass(frozen=True)
class Setting:
    """How everything in a run is measured."""

    device: torch.device
    dtype: torch.dtype
    layout: str
    deterministic: bool
    bandwidth: float
    budget_s: float = 1.0
    peers: tuple[str, ...] = ()
    resident: bool = False
    host: bool = False
    tracebacks: bool = False

    def for_suite(self, suite: str) -> Setting:
        """Small graphs are timed from the host as well: there it may be what takes longest."""
        return replace(self, host=suite == "small" and self.device.type == "cuda")


class DeviceLost(Exception):
    """A peer left the GPU in a state in which nothing more can be measured in this process."""


def floor_bytes(product: Product, size: BenchGraph, pass_name: str, itemsize: int) -> int:
    """Bytes that the pass must read and write; see the head of this module."""
    x, y, w, z = product.dims
    node = {"forward": x + z, "backward": 2 * x + z, "double backward": 3 * x + 2 * z}[pass_name]
    times = {"forward": 1, "backward": 2, "double backward": 3}[pass_name]
    edge, once = (times * y, times * w) if product.shared_weights else (times * (y + w), 0)
    indices = 0 if size.is_batch else _INDEX_BYTES * (size.edges + size.nodes + 1)
    return itemsize * (size.nodes * node + size.edges * edge + once) + indices


def random_operands(product: Product, size: BenchGraph, setting: Setting) -> Operands:
    """Normal random values for every operand."""
    x, y, w, z = product.dims
    normal = partial(torch.randn, device=setting.device, dtype=setting.dtype)
    nodes, edges = size.nodes, size.edges
    receivers, senders = size.indices(setting.device)
    weights = (w,) if product.shared_weights else (edges, w)
    return Operands(
        x=normal(nodes, x),
        y=normal(edges, y),
        w=normal(*weights),
        gz=normal(nodes, z),
        cx=normal(nodes, x),
        cy=normal(edges, y),
        cw=normal(*weights),
        receivers=receivers,
        senders=senders,
    )


def espmm_module(product: Product, setting: Setting, conv: bool) -> torch.nn.Module:
    """`TensorProductConv`, or `TensorProduct` for a batch."""
    import espmm

    problem = product.problem(setting.dtype, setting.layout)
    return (
        espmm.TensorProductConv(problem, deterministic=setting.deterministic) if conv else espmm.TensorProduct(problem)
    )


def bind_espmm(product: Product, size: BenchGraph, setting: Setting, operands: Operands) -> Bound:
    """espmm on the operands' graph, its plan made beforehand, as layers of a model share it."""
    import espmm

    if operands.receivers is None:
        return espmm_module(product, setting, conv=False)
    conv = espmm_module(product, setting, conv=True)
    graph = espmm.Graph(operands.receivers, operands.senders, size.nodes)
    return lambda x, y, w: conv(x, y, w, graph)


def bind_e3nn(product: Product, setting: Setting, operands: Operands) -> Bound:
    """e3nn on the operands' graph."""
    return PEERS["e3nn"].bind(product, operands.x.shape[0], setting.layout, operands)


def flops_per_row(product: Product, setting: Setting, conv: bool) -> dict[str, int]:
    """Multiplications and additions a row (with a graph, an edge) of each pass's kernel, by the compiler's count."""
    import espmm
    from espmm.devices import target_of

    problem = product.problem(setting.dtype, setting.layout)
    deterministic = setting.deterministic and conv
    kernel = espmm.compile(problem, target_of(setting.device), conv=conv, grad_order=2, deterministic=deterministic)
    costs = [program.cost for program in kernel.kernels]
    return {name: cost["multiplications_per_edge"] + cost["additions_per_edge"] for name, cost in zip(PASSES, costs)}


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


def pass_results(pass_name: str, bound: Bound, operands: Operands) -> dict[str, Tensor]:
    """The pass, once."""
    found = pass_call(pass_name, bound, operands)()
    return dict(zip(PASSES[pass_name], (found,) if isinstance(found, Tensor) else found))


def espmm_results(bound: Bound, operands: Operands) -> dict[str, Tensor]:
    """All three passes, once."""
    return {key: value for name in PASSES for key, value in pass_results(name, bound, operands).items()}


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


def attempt(call: Callable[[], _T], setting: Setting) -> tuple[_T | None, str]:
    """What a peer's call gives, or None and why; what it raises ends nothing.

    Raises:
        DeviceLost: the GPU is of no use after it.
    """
    available = available_bytes(setting.device)
    try:
        return call(), ""
    except torch.cuda.OutOfMemoryError:
        note = f"does not fit in the {available / 2**30:.0f} GiB that are free"
    except Unsupported as error:
        note = str(error)
    except Exception as error:  # noqa: BLE001  peers raise what they like
        note = one_line(error)
        if setting.tracebacks:
            traceback.print_exc()
    # Not within `except`, where the exception still holds on to what was allocated.
    _release(setting.device)
    if setting.device.type == "cuda":
        try:
            torch.cuda.synchronize()
        except RuntimeError:
            raise DeviceLost(note) from None
    return None, note


def measure_peer(
    peer: Peer,
    product: Product,
    size: BenchGraph,
    setting: Setting,
    sets: list[Operands],
    progress: Callable[[str], None],
) -> dict[str, PeerFigure]:
    """The peer's figures in each pass, in its own form; `sets` are in the run's layout, errors those of the first."""
    first = sets[0]
    need, available = peer.needs_bytes(product, size.edges, first.x.element_size()), available_bytes(setting.device)
    # On the host, running out of memory ends the process; on the GPU it can be tried.
    if setting.device.type == "cpu" and need > available:
        note = f"needs about {need / 2**30:.0f} GiB, {available / 2**30:.0f} GiB are free"
        return {name: PeerFigure(note=note) for name in PASSES}

    bind = partial(peer.bind, product, size.nodes, setting.layout)

    def prepare() -> tuple[Form, list[Operands], Bound]:
        form = peer.form(product, setting.dtype, setting.layout, size.is_batch)
        turned = [form.of_operands(product, setting.layout, each) for each in (sets if peer.cached else sets[:1])]
        return form, turned, bind(turned[0])

    def error(pass_name: str) -> float:
        results = pass_results(pass_name, bound, turned[0])
        back = {name: form.to_layout(product, setting.layout, name, result) for name, result in results.items()}
        return relative_errors(product, setting.layout, first, back)[pass_name]

    progress(f"{peer.name}, its rows")
    prepared, note = attempt(prepare, setting)
    if prepared is None:
        return {name: PeerFigure(note=note) for name in PASSES}
    form, turned, bound = prepared
    figures = {}
    for name in PASSES:
        progress(f"{name}, {peer.name}")
        figure = figures[name] = PeerFigure()
        figure.error, figure.note = attempt(partial(error, name), setting)
        _release(setting.device)
        if figure.error is None:
            continue
        timing, figure.note = attempt(partial(time_pass, name, bind, turned, setting), setting)
        figure.ms = None if timing is None else 1e3 * timing.median_s
    return figures


def measure(product: Product, size: BenchGraph, setting: Setting, progress: Callable[[str], None]) -> list[Row]:
    """The rows of one product on one graph; `progress` is told what is being done."""
    torch.manual_seed(0)
    first = random_operands(product, size, setting)
    bind = partial(bind_espmm, product, size, setting)
    progress("correctness")
    errors = relative_errors(product, setting.layout, first, espmm_results(bind(first), first))
    _release(setting.device)
    flops = flops_per_row(product, setting, conv=not size.is_batch)
    count = 1 if setting.resident else sets_beyond_cache(first.nbytes, setting.device)
    sets = [first] + [random_operands(product, size, setting) for _ in range(count - 1)]
    rows = []
    for pass_name in PASSES:
        progress(f"{pass_name}, espmm")
        timing = time_pass(pass_name, bind, sets, setting)
        nbytes = floor_bytes(product, size, pass_name, first.x.element_size())
        rows.append(
            Row(
                problem=product.name,
                graph=size.name,
                pass_name=pass_name,
                error=errors[pass_name],
                ms=1e3 * timing.median_s,
                repeats=timing.repeats,
                floor_ms=1e3 * nbytes / setting.bandwidth,
                floor_bytes=nbytes,
                flops=flops[pass_name] * size.edges,
                host_ms=None if timing.host_s is None else 1e3 * timing.host_s,
            )
        )
    for name in setting.peers:
        figures = measure_peer(PEERS[name], product, size, setting, sets, progress)
        for row in rows:
            row.peers[name] = figures[row.pass_name]
        _release(setting.device)
    return rows
