"""libespmm_torch.so: the operators in C++, by themselves, in TorchScript, and in programs without Python.

What it computes is compared with e3nn's in float64; models are run by other processes that know nothing but the library.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import espmm
import pytest
import torch
from espmm import _capi, every_path_problem, forward_program
from helpers import TOLERANCE, random_edges, random_inputs, reference, reference_conv, relative_error

PROBLEM = every_path_problem("4x0e+4x1o", "0e+1o", "0e+1o", irrep_dtype="float64", weight_dtype="float64")
SHARED = every_path_problem(
    "4x0e+4x1o", "0e+1o", "0e+1o", irrep_dtype="float64", weight_dtype="float64", shared_weights=True, internal_weights=False
)
FLOAT = every_path_problem("4x0e+4x1o", "0e+1o", "0e+1o")
CONV, BATCH = forward_program(PROBLEM, conv=True), forward_program(PROBLEM)
BUILD = Path(_capi.candidates()[-1]).parents[1]
NODES, EDGES = 6, 17
NO_PLAN = [None] * 8

pytestmark = [
    pytest.mark.usefixtures("library"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore::FutureWarning"),
]


@pytest.fixture(autouse=True)
def operators(library) -> None:
    """The operators, loaded as espmm loads them."""
    from espmm import _torchlib, operators  # noqa: F401

    assert _torchlib.missing is None, _torchlib.missing


def run(program, tensors, plan=()):
    return torch.ops.espmm.run(program if isinstance(program, str) else program.serialize(), *(plan or NO_PLAN), *tensors)


def plan_of(receivers, senders, nodes=NODES):
    rows = torch.empty(nodes, 0, device=receivers.device)
    plan = torch.ops.espmm.plan
    return [*plan(receivers, senders, rows, rows), *plan(senders, receivers, rows, rows)]


def operands(device="cpu", dtype=torch.float64, problem=PROBLEM, edges=EDGES, nodes=NODES):
    """x, y, w, and receivers and senders."""
    inputs = [t.to(device, dtype) for t in random_inputs(problem, edges, nodes)]
    return inputs, [t.to(device) for t in random_edges(nodes, edges)]


# The operators by themselves.


def test_where_it_lies(monkeypatch, tmp_path):
    assert Path(espmm.torch_library()).name == "libespmm_torch.so" and Path(espmm.torch_library()).is_file()
    monkeypatch.setenv("ESPMM_LIBRARY", str(tmp_path / "libespmm.so"))
    with pytest.raises(ImportError, match=f"looked for {tmp_path}/libespmm_torch.so"):
        espmm.torch_library()


def test_what_is_traced_says_that_it_is_missing(monkeypatch):
    from espmm import _torchlib

    monkeypatch.setattr(_torchlib, "missing", ImportError("libespmm_torch.so was not found"))
    conv = espmm.TensorProductConv(PROBLEM)
    (x, y, w), edges = operands()
    assert conv(x, y, w, *edges).shape == (NODES, PROBLEM.irreps_out.dim)
    with pytest.raises(ImportError, match="needs espmm's operators for torch: libespmm_torch.so was not found"):
        torch.jit.trace(conv, (x, y, w, *edges), check_trace=False)


def test_operators_are_what_torch_expects_of_them(device):
    inputs, edges = operands(device)
    rows = torch.empty(NODES, 0, device=device)
    torch.library.opcheck(torch.ops.espmm.plan.default, (*edges, rows, rows))
    leaves = [t.requires_grad_() for t in inputs]
    torch.library.opcheck(torch.ops.espmm.run.default, (CONV.serialize(), *plan_of(*edges), *leaves))
    by_row = [t.to(device).requires_grad_() for t in random_inputs(PROBLEM, 5)]
    torch.library.opcheck(torch.ops.espmm.run.default, (BATCH.serialize(), *NO_PLAN, *by_row))


@pytest.mark.parametrize("problem, dtype", [(PROBLEM, torch.float64), (FLOAT, torch.float32), (SHARED, torch.float64)])
def test_a_convolution_and_its_gradients(problem, dtype, device):
    program = forward_program(problem, conv=True)
    inputs, (receivers, senders) = operands(device, dtype, problem)
    plan = plan_of(receivers, senders)
    leaves = [t.cpu().double().requires_grad_() for t in inputs]
    shared = problem.shared_weights
    # e3nn's shared weights have no row.
    expected = reference_conv(problem, receivers.cpu(), senders.cpu(), NODES)(*leaves[:2], leaves[2][0] if shared and leaves[2].ndim == 2 else leaves[2])
    given = [t if t.ndim == 2 else t.unsqueeze(0) for t in inputs]
    (z,) = run(program, given, plan)
    assert relative_error(z, expected) < TOLERANCE[dtype]

    gz = torch.randn(expected.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    theirs = torch.autograd.grad(expected, leaves, gz, create_graph=True)
    gradient = program.vjp((0, 1, 2), (0,))
    ours = run(gradient, [*given, gz.to(device, dtype)], plan)
    for a, b in zip(ours, theirs):
        assert relative_error(a.reshape(b.shape), b) < 2 * TOLERANCE[dtype]

    # Twice: the gradient of |dy|^2 with respect to x. What is not read may be left out.
    expected = torch.autograd.grad(theirs[1], leaves[0], theirs[1].detach())[0]
    second = gradient.vjp((0,), (1,))
    arguments = [*given, gz.to(device, dtype), theirs[1].detach().to(device, dtype)]
    arguments = [t if i in second.used else None for i, t in enumerate(arguments)]
    assert relative_error(run(second, arguments, plan)[0], expected) < 4 * TOLERANCE[dtype]


def test_rows_of_a_batch_that_lie_anywhere(device):
    x, y, w = (t.to(device) for t in random_inputs(PROBLEM, 43))
    expected = reference(PROBLEM)(x.cpu(), y.cpu(), w.cpu())
    odd = torch.empty(x.numel() + 1, dtype=x.dtype, device=device)[1:].view(x.shape).copy_(x)  # 8 bytes off
    for given in (x, x.t().contiguous().t(), torch.stack([x, x], 1)[:, 1], odd, torch._neg_view(-x)):
        assert relative_error(run(BATCH, [given, y, w])[0], expected) < TOLERANCE[x.dtype]


def test_without_edges(device):
    inputs, edges = operands(device, edges=0)
    (z,) = run(CONV, inputs, plan_of(*edges))
    assert z.shape == (NODES, PROBLEM.irreps_out.dim) and not z.any()
    gradients = run(CONV.vjp((0, 1, 2), (0,)), [*inputs, z], plan_of(*edges))
    assert [g.shape for g in gradients] == [t.shape for t in inputs] and not gradients[0].any()
    (z,) = run(BATCH, [t.to(device) for t in random_inputs(PROBLEM, 0)])
    assert z.shape == (0, PROBLEM.irreps_out.dim)


@pytest.mark.parametrize("index", [torch.int32, torch.int64])
@pytest.mark.parametrize("edges, nodes, others, is_sorted", [(300, 9, 40, False), (300, 9, 40, True), (1, 1, 1, False), (0, 5, 3, False), (0, 0, 0, False)])
def test_a_plan(edges, nodes, others, is_sorted, index, device):
    generator = torch.Generator().manual_seed(1)
    index_of = torch.randint(max(nodes - 1, 1), (edges,), generator=generator)  # the last node has no edges
    index_of = index_of.sort()[0] if is_sorted else index_of
    other = torch.randint(max(others, 1), (edges,), generator=generator)
    rows = [torch.empty(count, 0, device=device) for count in (nodes, others)]
    got = torch.ops.espmm.plan(index_of.to(device, index), other.to(device, index), *rows)
    assert all(array.dtype == torch.int32 and array.device.type == device for array in got)
    offsets, order, other_got, parts = (array.tolist() for array in got)
    assert order == sorted(range(edges), key=lambda edge: int(index_of[edge]))  # Python's sort is stable
    assert other_got == [int(other[edge]) for edge in order]
    assert offsets == [sum(int(i) < node for i in index_of) for node in range(nodes + 1)]
    assert len(parts) == 65 and parts[0] == 0 and parts[-1] == nodes and parts == sorted(parts)
    assert got[3].tolist() == torch.ops.espmm.plan(index_of, other, *(t.cpu() for t in rows))[3].tolist()


# Errors: a ValueError for all that is wrong with arguments, an IndexError for an index out of range.


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda p, t, a: (p, t[:2], a), r"expected 3 tensors \(x, y, w\), got None for w"),
        (lambda p, t, a: (p, [*t, t[0]], a), r"expected 3 tensors \(x, y, w\), got 4"),
        (lambda p, t, a: (p, [], a), "got none"),
        (lambda p, t, a: (p, t, [*a[:7], None]), "expected senders.parts for a convolution, got None"),
        (lambda p, t, a: (BATCH.serialize(), t, a), "expected no plan for a product without a graph, got receivers.offsets"),
        (lambda p, t, a: (p, [t[0], t[1][:2], t[2]], a), r"expected y of shape \(17, 4\), got \(2, 4\)"),
        (lambda p, t, a: (p, [t[0][:, :2], *t[1:]], a), r"expected x of shape \(6, 16\), got \(6, 2\)"),
        (lambda p, t, a: (p, [t[0][0], *t[1:]], a), r"expected x of shape \(6, 16\), got \(16,\)"),
        (lambda p, t, a: (p, [*t[:2], t[2].float()], a), "expected w to be float64, got float32"),
        (lambda p, t, a: (p, t, [a[0].long(), *a[1:]]), "expected receivers.offsets to be a contiguous int32 array, got int64"),
        (lambda p, t, a: (p, t, [a[0][:0], *a[1:]]), "receivers.offsets to have one element more than there are nodes"),
        (lambda p, t, a: (p, t, [*a[:6], a[6][:3], a[7]]), "expected senders.other to have 17 elements, got 3"),
        (lambda p, t, a: ("func", t, a), "expected a serialised program, beginning with '// espmm-program ' and JSON, got 'func'"),
        (lambda p, t, a: (p.replace('"version":1', '"version":2'), t, a), "expected 1 at header.version"),
        (lambda p, t, a: (p.replace('"steps":[]', '"steps":[[[7],[0]]]'), t, a), "numbers of the program's (3 )?arguments"),
        (lambda p, t, a: (p.replace('"schedule":{}', '"schedule":{"warps":3}'), t, a), "warps"),
        (lambda p, t, a: (p.replace("uvu(", "uvx("), t, a), "the program does not parse: line 2.*expected a mode(.|\n)*espmm-opt source.mlir"),
    ],
)
def test_what_a_caller_does_wrong(change, message):
    inputs, edges = operands()
    with pytest.raises(ValueError, match=message):
        run(*change(CONV.serialize(), inputs, plan_of(*edges)))


def test_indices_that_are_wrong(device):
    good, rows = torch.tensor([0, 1], device=device), torch.empty(3, 0, device=device)
    for bad, error, message in [
        (torch.tensor([0, 3]), IndexError, r"index\[1\] = 3 is out of range: edge 1 names a node outside 0 <= index < 3"),
        (torch.tensor([-1, 3]), IndexError, r"index\[0\] = -1 is out of range"),
        (torch.tensor([0.0, 1.0]), ValueError, "expected index to be int32 or int64, got float32"),
        (torch.tensor([[0, 1]]), ValueError, r"expected index to have one axis \(edges,\), got shape \(1, 2\)"),
        (torch.tensor([0]), ValueError, "as many elements of index as of other, got 1 and 2"),
    ]:
        with pytest.raises(error, match=message):
            torch.ops.espmm.plan(bad.to(device), good, rows, rows)
    with pytest.raises(IndexError, match=r"other\[1\] = 5 is out of range"):
        torch.ops.espmm.plan(good.int(), torch.tensor([0, 5], device=device), rows, rows)


@pytest.mark.cuda
def test_devices_are_not_mixed(library):
    inputs, edges = operands("cuda")
    with pytest.raises(ValueError, match="expected all tensors on cuda:0, got w on cpu"):
        run(CONV, [*inputs[:2], inputs[2].cpu()], plan_of(*edges))


@pytest.mark.cuda
def test_it_runs_on_torchs_current_stream(library):
    """Behind a long kernel on another stream, whose result it reads."""
    inputs, edges = operands("cuda")
    plan = plan_of(*edges)
    (expected,) = run(CONV, inputs, plan)
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        x = torch.zeros_like(inputs[0])
        torch.cuda._sleep(50_000_000)
        x.copy_(inputs[0])
        (z,) = run(CONV, [x, *inputs[1:]], plan)
    stream.synchronize()
    assert torch.equal(z, expected)


# Processes, threads, memory.

ALONE = """
import ctypes, json, os, sys, threading
import torch
torch.ops.load_library(sys.argv[1])
program, gradient = open(sys.argv[2]).read().split("=====")
batch = [torch.randn(9, width, dtype=torch.float64) for width in (16, 4, 16, 8)]

def run(program, tensors):
    return torch.ops.espmm.run(program, *[None] * 8, *tensors)
"""


def alone(text: str, *arguments: str, **environment: str) -> str:
    """What a process prints that has torch and the library, and not espmm's Python."""
    command = [sys.executable, "-c", ALONE + text + "\nassert 'espmm' not in sys.modules", espmm.torch_library(), *arguments]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, timeout=120, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> str:
    """A file with the strings of a product and its gradient."""
    path = tmp_path_factory.mktemp("programs") / "programs"
    path.write_text(BATCH.serialize() + "=====" + BATCH.vjp((0, 1, 2), (0,)).serialize())
    return str(path)


def test_threads_and_forks(programs):
    """Eight threads want the same program at once; a child that is forked meanwhile runs it, and one that nobody has compiled yet."""
    text = """
results, errors = [None] * 8, []
barrier = threading.Barrier(9)
def work(i):
    barrier.wait()
    for _ in range(50):
        results[i] = run(program, batch[:3])[0]
threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
for thread in threads: thread.start()
barrier.wait()
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        z, = run(program, batch[:3])
        ok = len(run(gradient, batch[:3] + [z])) == 3
        os._exit(0 if ok else 1)
    children.append(child)
for thread in threads: thread.join()
assert all(torch.equal(r, results[0]) for r in results)
print([os.waitpid(child, 0)[1] for child in children])
"""
    assert alone(text, programs, ESPMM_CACHE="0") == "[0, 0, 0]\n"


def test_nothing_leaks(programs):
    """Neither a string of a megabyte, nor tensors, nor what a call that fails was given."""
    text = """
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
long = program + "// " + "x" * 2**20 + "\\n"
rows = [torch.randn(2000, t.shape[1], dtype=torch.float64) for t in batch]
def call(count):
    for _ in range(count):
        run(long, rows[:3])
        try:
            run(long, [rows[0].clone(), *rows[:2]])
        except ValueError:
            pass
call(30)
before = resident()
call(150)
print(resident() - before)
"""
    assert float(alone(text, programs)) < 40


def test_threads_of_host_kernels_are_torchs(programs):
    text = """
espmm = ctypes.CDLL(os.path.join(os.path.dirname(sys.argv[1]), "libespmm.so"))
for threads in (3, 1, 2):
    torch.set_num_threads(threads)
    run(program, batch[:3])
    print(espmm.espmm_get_num_threads())
espmm.espmm_set_num_threads(4)
run(program, batch[:3])
print(espmm.espmm_get_num_threads())
"""
    assert alone(text, programs).split() == ["3", "1", "2", "4"]


FAKE = BUILD / "fake-cuda"


def with_fake_driver(program: str, **environment: str) -> str:
    """The block of the first kernel of a program that is loaded on the fake GPU of the unit tests, or the error."""
    if not (FAKE / "libcuda.so.1").exists():
        pytest.skip(f"{FAKE} is not built")
    text = """
import ctypes, json, sys
from espmm import _capi
handle, library = ctypes.c_void_p(), _capi.library()
try:
    _capi.check(library.espmm_program_load(sys.stdin.read().encode(), 0, ctypes.byref(handle)))
    print(next(step["block"] for step in json.loads(library.espmm_executable_manifest(handle))["steps"] if "block" in step))
except Exception as error:
    print(type(error).__name__, error)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LD_LIBRARY_PATH": str(FAKE), **environment}
    done = subprocess.run([sys.executable, "-c", text], input=program, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip() + done.stderr


def test_a_tuned_schedule_is_found(tmp_path, monkeypatch):
    """By the library, where espmm.tune's Python put it."""
    from espmm import schedules

    monkeypatch.setenv("ESPMM_CACHE", "1")
    monkeypatch.setenv("ESPMM_CACHE_DIR", str(tmp_path))
    program = forward_program(FLOAT, conv=True)
    chosen = json.loads(with_fake_driver(program.serialize()))
    warps = 1 if chosen[1] != 1 else 2
    file = schedules.store(program, "cuda:sm_90", {"warps": warps}, {})
    assert json.loads(with_fake_driver(program.serialize())) == [32, warps, 1]
    assert json.loads(with_fake_driver(program.serialize(), ESPMM_TUNED="0")) == chosen
    given = program.with_schedule({"warps": 8})
    assert json.loads(with_fake_driver(given.serialize())) == [32, 8, 1]
    # Another chip, and another program, have others.
    assert json.loads(with_fake_driver(program.serialize(), ESPMM_FAKE_CHIP="80")) == chosen
    file.chmod(0o666)
    block, _, warning = with_fake_driver(program.serialize()).partition("espmm: warning: ")
    assert json.loads(block) == chosen and f"{file} is not this user's alone" in warning
    file.chmod(0o600)
    for damaged in ("{", '{"format": 1, "schedule": {"warps": 3}}', '{"format": 2, "schedule": {}}', '{"format": 1, "schedule": {"x": "}"}}'):
        file.write_text(damaged)
        block, _, warning = with_fake_driver(program.serialize()).partition("espmm: warning: ")
        assert json.loads(block) == chosen and f"{file} is damaged" in warning


def test_gpus_that_do_not_suit():
    program = forward_program(FLOAT, conv=True).serialize()
    told = with_fake_driver(program, ESPMM_FAKE_CHIP="75")
    assert told.startswith("UnsupportedError expected a GPU of compute capability 8.0 or later, got 7.5 of cuda:0 (Fake GPU)")
    told = with_fake_driver(program, ESPMM_FAKE_SHARED="1024")
    assert told.startswith("UnsupportedError kernel conv_0: a block needs ") and "espmm-translate --to-ptx" in told
    # The compiler's choice does not fit, a smaller one does.
    large = forward_program(every_path_problem("128x0e+128x1o", "0e+1o+2e", "0e+1o"), conv=True).serialize()
    assert json.loads(with_fake_driver(large))[1] > 1
    for shared in range(65536, 2048, -2048):
        told = with_fake_driver(large, ESPMM_FAKE_SHARED=str(shared))
        if told.startswith("UnsupportedError"):
            break
        block = json.loads(told)
    assert block[1] == 1, "smaller ones were tried before it gave up"


# TorchScript and AOTInductor.


class Model(torch.nn.Module):
    """An energy of each node, by two convolutions of one graph, which TorchScript makes one plan for."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.other = (espmm.TensorProductConv(PROBLEM, deterministic=exact) for exact in (False, True))

    def forward(self, x, y, w, receivers, senders):
        return (self.conv(x, y, w, receivers, senders) * self.other(x, y, w, receivers, senders)).sum(1)


class Scripted(torch.nn.Module):
    """The same as TorchScript sees it, with the gradient with respect to y."""

    def __init__(self) -> None:
        super().__init__()
        self.program: str = CONV.serialize()
        self.gradient: str = CONV.vjp((1,), (0,)).serialize()

    def forward(self, x: torch.Tensor, y: torch.Tensor, w: torch.Tensor, receivers: torch.Tensor, senders: torch.Tensor):
        rows = x[:, :0]
        plan = torch.ops.espmm.plan(receivers, senders, rows, rows) + torch.ops.espmm.plan(senders, receivers, rows, rows)
        z = torch.ops.espmm.run(self.program, *plan, x, y, w)[0]
        return z.pow(2).sum(1), torch.ops.espmm.run(self.gradient, *plan, x, y, w, 2 * z)[0]


def expected_of(inputs, edges) -> list[torch.Tensor]:
    """Energies and their gradient with respect to y, by e3nn."""
    x, y, w = (t.cpu().detach().double() for t in inputs)
    y.requires_grad_()
    receivers, senders = (t.cpu() for t in edges)
    energy = reference_conv(PROBLEM, receivers, senders, len(x))(x, y, w).pow(2).sum(1)
    return [energy, torch.autograd.grad(energy.sum(), y)[0]]


def check(outputs, inputs, edges) -> None:
    for got, want in zip(outputs, expected_of(inputs, edges)):
        assert relative_error(got, want) < 1e-12


def run_in_python(model: Path, inputs: Path, outputs: Path, device: str) -> None:
    text = """
device = sys.argv[4]
model = torch.jit.load(sys.argv[3], map_location=device)
for _ in range(3):  # as it was saved, and optimised
    found = model(*[t.to(device) for t in torch.load(sys.argv[5])])
torch.save(tuple(found) if isinstance(found, (tuple, list)) else (found,), sys.argv[6])
"""
    programs = model.with_name("programs")
    programs.write_text("=====")
    alone(text, str(programs), str(model), device, str(inputs), str(outputs))


def run_in_cpp(model: Path, inputs: Path, outputs: Path, gradients: bool = False) -> None:
    program = BUILD / "bin" / "TorchProgram"
    if not program.exists():
        pytest.skip(f"{program} is not built")
    library = Path(espmm.torch_library())
    if gradients:
        library = library.with_name("libespmm_torch_autograd.so")
    command = [str(program), str(library), str(model), str(inputs), str(outputs), *["gradients"] * gradients]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript_in_processes_without_espmm(how, tmp_path, device):
    inputs, edges = operands(device)
    module = Scripted() if how == "script" else Model()
    model = torch.jit.script(module) if how == "script" else torch.jit.trace(module, (*inputs, *edges), check_trace=False)
    model.save(tmp_path / "model.pt")
    inputs, edges = operands(device, edges=44, nodes=9)  # other sizes than were traced
    torch.save([*inputs, *edges], tmp_path / "inputs")
    run_in_python(tmp_path / "model.pt", tmp_path / "inputs", tmp_path / "outputs", device)
    check(torch.load(tmp_path / "outputs"), inputs, edges)
    if device == "cpu":
        run_in_cpp(tmp_path / "model.pt", tmp_path / "inputs", tmp_path / "outputs")
        check(torch.load(tmp_path / "outputs"), inputs, edges)


def test_scripted_gradients():
    """In a process with espmm's Python, TorchScript differentiates through the operator."""
    inputs, edges = operands()
    x, y, w = (t.requires_grad_() for t in inputs)
    energy, gradient = torch.jit.script(Scripted())(x, y, w, *edges)
    expected = expected_of(inputs, edges)
    assert relative_error(torch.autograd.grad(energy.sum(), y, retain_graph=True)[0], expected[1]) < 1e-12
    assert relative_error(gradient, expected[1]) < 1e-12
    assert torch.autograd.grad(gradient.pow(2).sum(), w)[0].any()


def test_torchscript_differentiated_in_cpp(tmp_path):
    """Twice, by libespmm_torch_autograd.so, as a C++ program trains, or takes forces, with a traced model."""
    inputs, edges = operands()
    torch.jit.trace(Model(), (*inputs, *edges), check_trace=False).save(tmp_path / "model.pt")
    inputs, edges = operands(edges=44, nodes=9)
    torch.save([*inputs, *edges], tmp_path / "inputs")
    run_in_cpp(tmp_path / "model.pt", tmp_path / "inputs", tmp_path / "outputs", gradients=True)
    leaves = [t.requires_grad_() for t in inputs]
    energy = reference_conv(PROBLEM, *edges, 9)(*leaves).pow(2).sum()
    first = torch.autograd.grad(energy, leaves, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves)
    for got, want in zip(torch.load(tmp_path / "outputs"), [*first, *second], strict=True):
        assert relative_error(got, want) < 1e-12


def test_gradients_programs_are_pythons():
    """The strings that espmm_program_gradient makes, for all wishes at two orders."""
    import ctypes
    import itertools

    def gradient(program, needs, present):
        flags, cotangents, out = (ctypes.c_int * 20)(*needs), (ctypes.c_int * len(present))(*present), ctypes.c_void_p()
        count = ctypes.c_size_t(20)
        library = _capi.library()
        _capi.check(library.espmm_program_gradient(program.serialize().encode(), flags, ctypes.byref(count), cotangents, ctypes.c_size_t(len(present)), ctypes.byref(out)))
        assert count.value == len(program.arguments)
        return None if out.value is None else (_capi._take(out), list(flags)[: count.value], list(cotangents))

    mixed = espmm.TPProblem(
        "4x0e+4x1o", "0e+1o", "4x0e+4x1o", [(0, 0, 0, "uvu", True), (1, 0, 1, "uvu", False)], shared_weights=False, internal_weights=False
    )
    for problem in (PROBLEM, mixed):
        first = forward_program(problem, conv=True)
        for program in (first, first.vjp((0, 1), (0,)), first.vjp((2,), (0,))):
            for needs in itertools.product((False, True), repeat=len(program.arguments)):
                for present in itertools.product((False, True), repeat=len(program.results)):
                    expected, got = program.gradient(needs, present), gradient(program, needs, present)
                    assert (expected is None) == (got is None)
                    if expected is not None:
                        text, wrt, cotangents = got
                        assert text == expected[0].serialize()
                        assert tuple(i for i, flag in enumerate(wrt) if flag) == expected[1].wrt
                        assert tuple(i for i, flag in enumerate(cotangents) if flag) == expected[1].cotangents


def test_aot_inductor_in_cpp(tmp_path):
    """Forces inside, by make_fx; exported for any numbers of nodes and edges; compiled; run by a C++ program."""
    from torch.fx.experimental.proxy_tensor import make_fx

    model = Model()

    def energy_and_gradient(x, y, w, receivers, senders):
        y = y.detach().requires_grad_()
        energy = model(x, y, w, receivers, senders)
        return energy.detach(), torch.autograd.grad(energy.sum(), y)[0].detach()

    inputs, edges = operands()
    traced = make_fx(energy_and_gradient, tracing_mode="symbolic")(*inputs, *edges)
    by_edge, by_node = {0: torch.export.Dim("edges", min=2)}, {0: torch.export.Dim("nodes", min=2)}
    exported = torch.export.export(traced, (*inputs, *edges), dynamic_shapes=(by_node, by_edge, by_edge, by_edge, by_edge))
    package = torch._inductor.aoti_compile_and_package(exported, package_path=str(tmp_path / "model.pt2"))
    inputs, edges = operands(edges=44, nodes=9)
    torch.save([*inputs, *edges], tmp_path / "inputs")
    run_in_cpp(Path(package), tmp_path / "inputs", tmp_path / "outputs")
    check(torch.load(tmp_path / "outputs"), inputs, edges)
