"""Streams, devices and torch's allocator: what a launch reads is neither unfinished nor given to others."""

from __future__ import annotations

import threading

import espmm
import pytest
import torch
from espmm import every_path_problem
from espmm.graph import _Streams, clear_graph_cache
from helpers import random_edges, random_inputs, reference_conv, relative_error

PROBLEM = every_path_problem("8x0e+8x1o", "0e+1o", "0e+1o", irrep_dtype="float64", weight_dtype="float64")
NODES, EDGES = 40, 700


class Recording(torch.Tensor):
    """A tensor that notes the streams that it is recorded on."""

    def record_stream(self, stream) -> None:
        stream.recorded.append(self)


class FakeStream:
    def __init__(self, raw: int) -> None:
        self.raw, self.recorded, self.waited = raw, [], []

    def record_event(self) -> str:
        return f"event of {self.raw}"

    def wait_event(self, event: str) -> None:
        self.waited.append(event)


def test_another_stream_waits_once_and_is_made_known(monkeypatch):
    """The rule itself, on streams that note what is done to them."""
    streams, capturing = [FakeStream(raw) for raw in range(3)], False
    current = streams[0]
    monkeypatch.setattr(torch._C, "_cuda_getCurrentRawStream", lambda device: current.raw, raising=False)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: current)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: capturing)
    arrays = [torch.zeros(3).as_subclass(Recording) for _ in range(2)]
    side = _Streams(torch.device("cuda", 0))
    side.made([arrays[0], None, arrays[1], 7])
    side.use()
    assert not streams[0].waited and not streams[0].recorded
    current = streams[1]
    side.use()
    side.use()
    assert streams[1].waited == ["event of 0"] and [id(t) for t in streams[1].recorded] == [id(t) for t in arrays]
    current, capturing = streams[2], True
    side.use()
    assert not streams[2].waited and len(streams[2].recorded) == 2
    capturing = False
    side.use()
    assert streams[2].waited == ["event of 0"]


def test_the_host_has_one_stream():
    side = _Streams(torch.device("cpu"))
    side.made([torch.zeros(3)])
    side.use()
    assert side.current() == 0


@pytest.fixture
def cuda(library) -> None:
    clear_graph_cache()


def example(device: str = "cuda"):
    """x, y, w on a device, edges there, and z, dx, dy, dw of its sum of squares by e3nn."""
    inputs, edges = random_inputs(PROBLEM, EDGES, NODES), random_edges(NODES, EDGES)
    leaves = [t.clone().requires_grad_() for t in inputs]
    z = reference_conv(PROBLEM, *edges, NODES)(*leaves)
    expected = [z.detach(), *torch.autograd.grad(z.pow(2).sum(), leaves)]
    return [t.to(device) for t in inputs], [t.to(device) for t in edges], expected


def assert_same(got, expected) -> None:
    for a, b in zip(got, expected, strict=True):
        assert relative_error(a, b) < 1e-12


@pytest.mark.cuda
def test_a_cached_plan_that_is_still_being_made(cuda):
    """The first call, on one stream, makes the plan; the second, on another, finds it and no caller can have waited for it."""
    conv = espmm.TensorProductConv(PROBLEM)
    inputs, edges, expected = example()
    conv(*inputs, *edges)  # compiled
    clear_graph_cache()
    torch.cuda.synchronize()
    first, second = torch.cuda.Stream(), torch.cuda.Stream()
    with torch.cuda.stream(first):
        conv(*inputs, *edges)
    with torch.cuda.stream(second):
        z = conv(*inputs, *edges)
    torch.cuda.synchronize()
    assert_same([z], expected[:1])


@pytest.mark.cuda
def test_a_plan_is_not_recycled_while_another_stream_reads_it(cuda):
    conv = espmm.TensorProductConv(PROBLEM)
    inputs, edges, expected = example()
    conv(*inputs, *edges)  # the plan is the default stream's
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        z = conv(*inputs, *edges)
    del edges
    clear_graph_cache()
    garbage = [torch.full((size,), 2**30, dtype=torch.int32, device="cuda") for size in (EDGES, NODES + 1, 65) for _ in range(20)]
    torch.cuda.synchronize()
    assert_same([z], expected[:1])
    del garbage


@pytest.mark.cuda
def test_backward_on_the_streams_of_forward(cuda):
    """Forward on a late stream, backward called from the default one, with garbage allocated at once after each."""
    conv = espmm.TensorProductConv(PROBLEM)
    inputs, edges, expected = example()
    stream = torch.cuda.Stream()
    for _ in range(3):
        leaves = [t.clone().requires_grad_() for t in inputs]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            torch.cuda._sleep(50_000_000)
            z = conv(*leaves, *edges)
            energy = z.pow(2).sum()
        gradients = torch.autograd.grad(energy, leaves)
        garbage = [torch.full_like(t, float("nan")) for t in inputs for _ in range(4)]
        torch.cuda.synchronize()
        assert_same([z, *gradients], expected)
        del garbage


@pytest.mark.cuda
def test_two_threads_on_two_streams(cuda):
    """Results and scratch of one stream are never the other's."""
    conv = espmm.TensorProductConv(PROBLEM)
    inputs, edges, expected = example()
    torch.cuda.synchronize()
    errors = []

    def work() -> None:
        try:
            with torch.cuda.stream(torch.cuda.Stream()):
                for _ in range(20):
                    leaves = [t.clone().requires_grad_() for t in inputs]
                    z = conv(*leaves, *edges)
                    assert_same([z, *torch.autograd.grad(z.pow(2).sum(), leaves)], expected)
        except BaseException as error:  # noqa: B036  raised below
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.cuda
def test_a_captured_graph_of_the_cache_stays(cuda):
    """However many other structures come: what was captured goes on reading the plan of these edges."""
    conv = espmm.TensorProductConv(PROBLEM)
    inputs, edges, expected = example()
    conv(*inputs, *edges)
    torch.cuda.synchronize()
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        z = conv(*inputs, *edges)
    others = [[torch.zeros_like(t) for t in edges] for _ in range(40)]
    for other in others:
        conv(*inputs, *other)
    z.zero_()
    captured.replay()
    torch.cuda.synchronize()
    assert_same([z], expected[:1])


@pytest.mark.cuda
def test_several_gpus_in_one_process(cuda):
    """Each with a thread of its own, and from one thread whose current device is another."""
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU")
    conv = espmm.TensorProductConv(PROBLEM)
    devices = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    problems = {device: example(device) for device in devices}

    def step(device: str):
        inputs, edges, _ = problems[device]
        leaves = [t.clone().requires_grad_() for t in inputs]
        z = conv(*leaves, *edges)
        return [z, *torch.autograd.grad(z.pow(2).sum(), leaves)]

    for device in devices:  # the current device is the first
        got = step(device)
        assert {str(t.device) for t in got} == {device}
        assert_same(got, problems[device][2])
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(devices)) as pool:
        for device, got in zip(devices * 4, pool.map(step, devices * 4)):
            assert_same(got, problems[device][2])
    inputs, edges, _ = problems[devices[0]]
    with pytest.raises(ValueError, match=f"on one device, got x on {devices[0]} and the edges on {devices[1]}"):
        conv(*inputs, *problems[devices[1]][1])
