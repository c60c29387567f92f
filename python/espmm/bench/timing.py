"""Times of calls, and the bandwidth that they are measured against.

On the GPU a series of calls is queued behind a kernel that sleeps while the host queues it, so that what is measured
between events is the device's time and not the host's. Calls go round several sets of inputs, which together are
larger than the cache, so that none finds its inputs there by having been called before.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import torch

Call = Callable[[], object]

# Longest sleep queued before a series of calls, and the most that is queued: beyond about a thousand
# launches the driver lets the host wait.
_MAX_SLEEP_S = 0.25
_MAX_QUEUED = 100
# Time between two events; what is shorter than this is measured several calls at a time.
_SHORTEST_SPAN_S = 2e-4
_CYCLES_PER_SECOND = 2e9  # at most, of the GPUs that there are; a slower one sleeps longer
_MIN_COPY_BYTES = 1 << 28


@dataclass(frozen=True)
class Timing:
    """Median over `repeats` measurements, in seconds; `host_s` is a call's time with launches waited for, or None."""

    median_s: float
    repeats: int
    host_s: float | None = None


def cache_bytes(device: torch.device) -> int:
    """Size of the largest cache: the GPU's L2, or the CPU's last level (32 MiB where the system does not say)."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).L2_cache_size)
    sizes = [path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return max([int(size[:-1]) * units[size[-1]] for size in sizes if size[-1:] in units], default=32 << 20)


def sets_beyond_cache(bytes_per_set: int, device: torch.device, most: int = 32) -> int:
    """How many input sets are larger than twice the cache together."""
    return min(most, max(1, -(-2 * cache_bytes(device) // max(1, bytes_per_set))))


def copy_bandwidth(device: torch.device) -> float:
    """Bytes a second, read and written, of a copy in memory that is much larger than the cache."""
    count = max(_MIN_COPY_BYTES, 8 * cache_bytes(device)) // 4
    source = torch.rand(count, device=device)
    target = torch.empty_like(source)
    timing = median_time([lambda: target.copy_(source)], device, budget_s=1.0)
    return 2 * 4 * count / timing.median_s


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a large matrix product in the dtype, without TF32: the roofline's other roof."""
    size = 4096 if device.type == "cuda" else 1024
    left, right = (torch.rand(size, size, device=device, dtype=dtype) for _ in range(2))
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        timing = median_time([lambda: left @ right], device, budget_s=0.3)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return 2 * size**3 / timing.median_s


def median_time(
    calls: Sequence[Call],
    device: torch.device,
    *,
    budget_s: float = 1.0,
    min_repeats: int = 5,
    host: bool = False,
    warm_up: bool = True,
) -> Timing:
    """Median time of one call.

    Args:
        calls: the same work on different inputs; they take turns.
        device: where they run.
        budget_s: about how long to measure.
        min_repeats: measurements to take though they last longer.
        host: measure a call's time from the host as well (on the GPU).
        warm_up: call each once before anything is measured. On the GPU that is always so.
    """
    if warm_up or device.type == "cuda":
        for call in calls:
            call()
    if device.type == "cuda":
        return _median_time_cuda(calls, device, budget_s, min_repeats, host)
    times: list[float] = []
    start = time.perf_counter()
    for call in cycle(calls):
        times.append(_seconds(call))
        if len(times) >= min_repeats and time.perf_counter() - start >= budget_s:
            break
    return Timing(statistics.median(times), len(times))


def _seconds(call: Call) -> float:
    before = time.perf_counter()
    call()
    return time.perf_counter() - before


def _median_time_cuda(
    calls: Sequence[Call], device: torch.device, budget_s: float, min_repeats: int, host: bool
) -> Timing:
    with torch.cuda.device(device):
        torch.cuda.synchronize()
        trial = max(3, len(calls))
        before = time.perf_counter()
        for call in islice(cycle(calls), trial):
            call()
        queueing_s = (time.perf_counter() - before) / trial
        torch.cuda.synchronize()
        call_s = (time.perf_counter() - before) / trial

        group = max(1, round(_SHORTEST_SPAN_S / call_s))
        # No more than the host can queue, with time to spare, while the longest sleep lasts.
        queued = min(_MAX_QUEUED, int(_MAX_SLEEP_S / (2 * queueing_s)))
        repeats = max(min_repeats, min(queued // group, int(budget_s / (group * call_s))))
        events = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
        sleep_s = min(_MAX_SLEEP_S, 2 * queueing_s * group * repeats + 1e-3)
        rounds = cycle(calls)
        torch.cuda._sleep(int(sleep_s * _CYCLES_PER_SECOND))
        events[0].record()
        for event in events[1:]:
            for call in islice(rounds, group):
                call()
            event.record()
        torch.cuda.synchronize()
        spans = [1e-3 * first.elapsed_time(second) / group for first, second in zip(events, events[1:])]
        return Timing(statistics.median(spans), repeats, _host_time(calls, repeats * group) if host else None)


def _host_time(calls: Sequence[Call], count: int) -> float:
    """Seconds a call, launched one after the other and waited for at the end."""
    before = time.perf_counter()
    for call in islice(cycle(calls), count):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - before) / count
