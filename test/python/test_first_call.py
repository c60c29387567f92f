"""The first call: orders compile at the same time, gradients ahead of their need, each program once; forks and exits."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time

import espmm
import pytest
import torch
from espmm import _capi, every_path_problem, launch
from espmm.background import Once, together
from helpers import random_edges, random_inputs

PROBLEM = every_path_problem("3x0e+2x1o", "0e+1o", "0e+1o", irrep_dtype="float64", weight_dtype="float64")


def test_a_value_is_made_once():
    made = []

    def make():
        time.sleep(0.05)
        made.append(threading.current_thread().name)
        return object()

    once = Once(make)
    once.begin()
    once.begin()
    got = together([once.get] * 6)
    assert len(made) == 1 and all(value is got[0] for value in got) and once.made
    once.begin()
    assert len(made) == 1


def test_an_error_in_the_background_waits_for_who_asks():
    calls = []

    def make():
        calls.append(threading.current_thread() is threading.main_thread())
        if len(calls) < 3:
            raise ValueError(f"call {len(calls)}")
        return 7

    once = Once(make)
    once.begin()
    while not calls or once._lock.locked():
        time.sleep(0.001)
    with pytest.raises(ValueError, match="call 1"):  # the background's, not a second call
        once.get()
    with pytest.raises(ValueError, match="call 2"):
        once.get()
    assert once.get() == once.get() == 7 and calls == [False, True, True]


def test_together_is_at_the_same_time():
    barrier = threading.Barrier(3, timeout=20)
    assert together([lambda i=i: (barrier.wait(), i)[1] for i in range(3)]) == [0, 1, 2]
    assert together([]) == []

    def fail(number):
        raise ValueError(number)

    with pytest.raises(ValueError, match="1"):
        together([lambda: 0, lambda: fail(1), lambda: fail(2)])


def test_orders_compile_at_the_same_time(library, monkeypatch):
    barrier = threading.Barrier(3, timeout=20)

    class Meeting(_capi.Executable):
        def __init__(self, *arguments):
            barrier.wait()
            super().__init__(*arguments)

    monkeypatch.setattr(_capi, "Executable", Meeting)
    kernel = espmm.compile(PROBLEM, conv=True, grad_order=2)
    assert [k.program.order for k in kernel.load().kernels] == [0, 1, 2]
    assert len({k.manifest["steps"][-1]["kernel"] for k in kernel.kernels}) == 3


def test_compiles_in_many_threads_agree(library):
    """Many programs, each by several threads at a time: the texts are those of one thread, the executables are shared."""
    from espmm.kernel import programs_up_to

    address = ctypes.cast(_capi.library().espmm_executable_manifest, ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p))
    programs = [p for conv in (False, True) for p in programs_up_to(PROBLEM.replace(layout="ir_mul"), conv, 2)]
    jobs = [(p.text, p.pipeline(target)) for p in programs for target in ("cpu", "cuda:sm_90")]

    def work(start: int):
        found = {}
        for i in range(len(jobs)):
            text, pipeline = job = jobs[(start + i // 2) % len(jobs)]
            executable = _capi.Executable(*job)
            kept.append(executable)
            found[job] = (address(executable._handle), _capi.opt(text, pipeline))
        return found

    kept = []
    all_found = together([lambda start=start: work(start) for start in (0, 0, 5, 5, 9)])
    for text, pipeline in jobs:
        answers = {found[text, pipeline] for found in all_found if (text, pipeline) in found}
        assert len(answers) == 1 and answers.pop()[1] == _capi.opt(text, pipeline)


@pytest.fixture
def made(monkeypatch, library) -> list[tuple[int, str]]:
    """The order of each program that gets a launcher, and the thread that makes it."""
    made = []

    class Counting(launch.Launcher):
        def __init__(self, program, device):
            made.append((program.order, threading.current_thread().name))
            super().__init__(program, device)

    monkeypatch.setattr(launch, "Launcher", Counting)
    return made


def inputs(device: str, requires_grad: bool = True):
    edges = [t.to(device) for t in random_edges(6, 9)]
    return [t.to(device).requires_grad_(requires_grad) for t in random_inputs(PROBLEM, 9, 6)], edges


def finish() -> None:
    """Waits for what compiles in the background."""
    for thread in threading.enumerate():
        if thread.name == "espmm-compile":
            thread.join()


def test_gradients_compile_while_the_forward_pass_runs(device, made):
    conv = espmm.TensorProductConv(PROBLEM)
    tensors, edges = inputs(device)
    z = conv(*tensors, *edges)
    finish()
    assert sorted(made) == [(0, "MainThread"), (1, "espmm-compile")]
    first = torch.autograd.grad(z.sum(), tensors, create_graph=True)
    finish()
    assert sorted(made)[2:] == [(2, "espmm-compile")]
    torch.autograd.grad(sum(g.square().sum() for g in first), tensors)
    conv(*tensors, *edges).sum().backward()
    assert len([order for order, _ in made if order < 2]) == 2


def test_nothing_is_compiled_ahead_where_nothing_asks_for_gradients(device, made, monkeypatch):
    tensors, edges = inputs(device, requires_grad=False)
    espmm.TensorProductConv(PROBLEM)(*tensors, *edges)
    tensors, edges = inputs(device)
    with torch.no_grad():
        espmm.TensorProductConv(PROBLEM)(*tensors, *edges)
    monkeypatch.setattr(launch, "PREFETCH", False)
    espmm.TensorProductConv(PROBLEM)(*tensors, *edges)
    finish()
    assert {order for order, _ in made} == {0}


def test_a_launch_waits_for_the_compile_that_runs(device, made, monkeypatch):
    running, go_on = threading.Event(), threading.Event()

    class Slow(launch.Launcher):
        def __init__(self, program, device):
            if program.order:
                running.set()
                assert go_on.wait(20)
            super().__init__(program, device)

    monkeypatch.setattr(launch, "Launcher", Slow)
    tensors, edges = inputs(device)
    z = espmm.TensorProductConv(PROBLEM)(*tensors, *edges)  # back while its gradient compiles
    assert running.wait(20)
    threading.Timer(0.1, go_on.set).start()
    z.sum().backward()
    assert go_on.is_set() and [order for order, _ in made] == [0, 1]


def test_what_goes_wrong_in_the_background_is_raised_at_the_launch(device, made, monkeypatch):
    broken = True

    class Broken(launch.Launcher):
        def __init__(self, program, device):
            if program.order and broken:
                raise RuntimeError("no gradient today")
            super().__init__(program, device)

    monkeypatch.setattr(launch, "Launcher", Broken)
    tensors, edges = inputs(device)
    z = espmm.TensorProductConv(PROBLEM)(*tensors, *edges)
    finish()
    assert torch.isfinite(z).all()
    with pytest.raises(RuntimeError, match="no gradient today"):
        z.sum().backward(retain_graph=True)
    broken = False
    z.sum().backward()
    assert torch.isfinite(tensors[0].grad).all()


PROGRAM = """
import os, sys, threading, time
import torch
import espmm
from espmm import _capi
torch.set_num_threads(1)
# However fast the machine, and however busy: the gradient takes its time.
compile_at_once = _capi.Executable.__init__
def compile_slowly(self, *arguments):
    if threading.current_thread().name == "espmm-compile":
        time.sleep(0.5)
    compile_at_once(self, *arguments)
_capi.Executable.__init__ = compile_slowly
problem = espmm.every_path_problem("5x0e+5x1o+5x2e", "0e+1o+2e+3o", "0e+1o+2e+3o")
conv = espmm.TensorProductConv(problem)
widths = problem.irreps_in1.dim, problem.irreps_in2.dim, problem.weight_numel
x, y, w = (torch.ones(3, n, requires_grad=True) for n in widths)
index = torch.tensor([0, 1, 2])
z = conv(x, y, w, index, index)
compiling = any(thread.name == "espmm-compile" for thread in threading.enumerate())
"""


def run_program(text: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "ESPMM_CACHE": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM + text]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise SystemError('the end')", "os._exit(4)"])
def test_the_end_comes_while_a_gradient_compiles(ending, library):
    done = run_program(f"print(compiling)\nsys.stdout.flush()\n{ending}\n")
    assert done.stdout == "True\n"
    assert done.returncode == {"": 0, "sys.exit(3)": 3, "os._exit(4)": 4}.get(ending, 1)
    assert done.stderr == "" or "the end" in done.stderr.splitlines()[-1]


def test_a_fork_comes_while_a_gradient_compiles(library):
    """The child, in which no thread compiles any more, compiles the gradient itself, and other things too."""
    text = """
children = []
for number in range(4):
    child = os.fork()
    if child == 0:
        import signal
        signal.alarm(60)
        z.sum().backward()
        other = espmm.TensorProductConv(problem.replace(layout="ir_mul"))
        other(x, y, w, index, index).sum().backward()
        os.write(1, f"{compiling} {bool(torch.isfinite(x.grad).all())}\\n".encode())  # one piece: four write at once
        os._exit(0)
    children.append(child)
    double = problem.replace(irrep_dtype="float64", weight_dtype="float64")
    z = espmm.TensorProductConv(double)(x.double(), y.double(), w.double(), index, index)
z.sum().backward()
print([os.waitpid(child, 0)[1] for child in children])
"""
    done = run_program(text)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["True True"] * 4 + ["[0, 0, 0, 0]"]
