"""Launches that fail: what the exception says. Where there is no GPU, with the fake driver of the unit tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import espmm
import pytest
import torch
from espmm import every_path_problem, launch
from helpers import random_edges, random_inputs

ROOT = Path(__file__).resolve().parents[2]
FAKE = ROOT / "build" / "fake-cuda"
TOOLS = ROOT / "build" / "bin"
PROBLEM = every_path_problem("8x0e+8x1o", "0e+1o", "0e+1o")


def check_command(message: str, *parts: str) -> None:
    """The message has the command that repeats the compile, and that runs."""
    assert message.count("its compile is repeated by: ") == 1, message
    command = message.split("its compile is repeated by: ")[1].strip()
    for part in parts:
        assert part in message, message
    if (TOOLS / "espmm-opt").exists():
        environment = {**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "conv" in done.stdout


def launch_once(device: str):
    inputs = [t.float().to(device) for t in random_inputs(PROBLEM, 9, 6)]
    return espmm.TensorProductConv(PROBLEM)(*inputs, *(t.to(device) for t in random_edges(6, 9)))


def test_out_of_memory(device, monkeypatch):
    def allocate(shape, dtype, where):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(launch, "allocate", allocate)
    with pytest.raises(torch.cuda.OutOfMemoryError, match="Tried to allocate 20.00 GiB") as caught:
        launch_once(device)
    check_command(str(caught.value), "kernels conv_", "x: senders x 32")


def test_a_launch_that_the_library_refuses(device, monkeypatch):
    from espmm import _torchlib

    class Refusing:
        def _op(*arguments):
            raise RuntimeError("launching kernel conv_0 on cuda:0: CUDA_ERROR_ILLEGAL_ADDRESS (700)")

    monkeypatch.setattr(_torchlib, "launch_operator", lambda tensors, results: Refusing())
    with pytest.raises(RuntimeError, match=r"launching kernel conv_0 on cuda:0: CUDA_ERROR_ILLEGAL_ADDRESS \(700\)") as caught:
        launch_once(device)
    check_command(str(caught.value), "kernels conv_")


def test_the_source_can_not_be_kept(device, monkeypatch):
    import tempfile

    from espmm import faults

    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/nowhere")
    program = espmm.TensorProductConv(PROBLEM)._program
    text = str(faults.explained(ValueError("why"), program, "cuda:sm_90"))
    assert text.startswith("why\nin Program(") and "espmm-opt source.mlir" in text
    assert text.endswith("where source.mlir holds the program's text (``ir('source')``)")


def test_an_old_gpu_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    message = r"expected a GPU of compute capability 8.0 or later, got 7.5 of cuda:0 \(Tesla T4\)"
    with pytest.raises(espmm.UnsupportedError, match=message):
        launch.target_of(torch.device("cuda", 0))


# Memory of the host that claims to be the device's; the fake lets only what was allocated there be written to.
PROGRAM = """
import ctypes
import espmm
problem = espmm.every_path_problem("8x0e+8x1o", "0e+1o", "0e+1o")
fake = ctypes.CDLL("libcuda.so.1")

class Array:
    device = None
    def __init__(self, rows, width, typestr="<f4", pointer=None):
        if pointer is None:
            allocated = ctypes.c_uint64()
            assert fake.cuMemAlloc_v2(ctypes.byref(allocated), ctypes.c_size_t(4 * rows * width)) == 0
            pointer = allocated.value
        shape = (rows, width) if typestr == "<f4" else (rows * width,)
        self.__cuda_array_interface__ = dict(data=(pointer, False), shape=shape, typestr=typestr, strides=None)

def attempt(function):
    try:
        function()
    except Exception as error:
        print(type(error).__name__, error, sep=": ")
    else:
        print("done")

kernel = espmm.compile(problem, "cuda:sm_80", conv=True, grad_order=1)
attempt(kernel.load)
"""
ARRAYS = """
context = ctypes.c_void_p()
assert fake.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == fake.cuCtxPushCurrent_v2(context) == 0
E, N = 9, 6
plan = {f"{side}.{part}": Array(1, n, "<i4") for side in ("receivers", "senders")
        for part, n in (("offsets", N + 1), ("order", E), ("other", E), ("parts", 65))}
x, y, w = Array(N, problem.irreps_in1.dim), Array(E, problem.irreps_in2.dim), Array(E, problem.weight_numel)
z, scratch = Array(N, problem.irreps_out.dim), Array(1, 1 << 16)
options = dict(plan=plan, scratch=scratch, num_receivers=N)
def run():
    kernel.kernels[0](x, y, w, out=[z], **options)
"""


def with_fake_driver(text: str, **environment: str) -> str:
    if not (FAKE / "libcuda.so.1").exists():
        pytest.skip(f"{FAKE} is not built")
    paths = {"PYTHONPATH": os.pathsep.join(sys.path), "LD_LIBRARY_PATH": str(FAKE)}
    environment = {**os.environ, "ESPMM_CACHE": "0", **paths, **environment}
    command = [sys.executable, "-c", PROGRAM + text]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_launch_that_works(library):
    text = "attempt(run)\nattempt(run)\nprint(fake.fakeCount(b'launch'))\n"
    assert with_fake_driver(ARRAYS + text) == "done\n" * 3 + "2\n"


def test_what_a_device_says_of_kernels(library):
    """Beside the estimates, once they are loaded; a launch loads."""
    text = ARRAYS + """
for compiled in (kernel.kernels[0], espmm.compile(problem, "cuda:sm_80", conv=True).kernels[0]):
    before = "device" in compiled.resources
    compiled(x, y, w, out=[z], **options)
    (use,) = compiled.resources["device"]
    print(before, use["name"], use["registers"] > 0, sorted(use), sum("device" in line for line in compiled.report().splitlines()))
"""
    told = "conv_0 True ['local_bytes', 'name', 'registers', 'static_shared_bytes'] 1\n"
    assert with_fake_driver(text) == "done\nTrue " + told + "False " + told


def test_a_kernel_that_fails_is_named_if_asked_for(library):
    """An illegal address comes to light with the next call; with ESPMM_SYNC with the kernel's own."""
    text = ARRAYS + "fake.fakeFault()\nattempt(run)\nprint('-----')\nattempt(run)\n"
    first, second = with_fake_driver(text).split("-----\n")
    assert first == "done\n" * 2
    assert "may be the fault of a kernel launched before: with ESPMM_SYNC=1" in second
    check_command(second, "RuntimeError: launching kernel conv_0 on cuda:0 (Fake GPU)", "_ADDRESS (700)", "kernels conv_0")
    first, second = with_fake_driver(text, ESPMM_SYNC="1").split("-----\n")
    check_command(first.removeprefix("done\n"), "RuntimeError: kernel conv_0 on cuda:0 (Fake GPU) (grid", "_ADDRESS (700)")
    assert "ESPMM_SYNC" not in first


def test_memory_that_is_not_the_devices(library):
    """What a step before the kernel finds is told by that step."""
    text = "wild = [Array(t[0], t[1], pointer=4096) for t in ((N, 32), (E, 4), (E, problem.weight_numel))]\n"
    text += "attempt(lambda: kernel.kernels[1](x, y, w, z, out=wild, **options))\n"
    told = with_fake_driver(ARRAYS + text).removeprefix("done\n")
    check_command(told, "RuntimeError: launching kernel espmm_fill_2 ", "CUDA_ERROR_ILLEGAL_ADDRESS", "kernels espmm_fill_2, conv_vjp_0")


def test_devices_that_do_not_suit(library):
    text = with_fake_driver("", ESPMM_FAKE_CHIP="75")
    assert "the program is compiled for sm_80, but cuda:0 (Fake GPU) is sm_75" in text
    text = with_fake_driver("", ESPMM_FAKE_SHARED="4096")
    assert text.startswith("UnsupportedError: kernel conv_0: a block needs ")
    check_command(text, "bytes of shared memory, cuda:0 (Fake GPU) has 4096", "kernels conv_0")
