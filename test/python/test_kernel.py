"""espmm.compile: stages, code, reproducible commands, calls on arrays without torch."""

from __future__ import annotations

import json
import mmap
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import espmm
import numpy as np
import pytest
import torch
from espmm import HostPlan, ProblemError, _capi, every_path_problem
from espmm.arrays import view
from helpers import random_edges, random_inputs, reference, reference_conv, relative_error

ROOT = Path(__file__).resolve().parents[2]
PROBLEM = every_path_problem("4x0e+4x1o", "0e+1o", "0e+1o", irrep_dtype="float64", weight_dtype="float64")
TARGETS = ["cpu", "cuda:sm_90"]

pytestmark = pytest.mark.usefixtures("library")


@pytest.fixture(scope="module", params=TARGETS)
def kernel(request, library):
    """Compiled to the second order, for every target: no GPU is needed for that."""
    return espmm.compile(PROBLEM, target=request.param, conv=True, grad_order=2)


def test_stages(kernel):
    code = "assembly" if kernel.target == "cpu" else "ptx"
    first = ("source", "differentiated", "fused", "factored", "tiled", "staged", "scalar", "target")
    assert kernel.stages == (*first, "llvmir", code)
    texts = {stage: kernel.ir(stage) for stage in kernel.stages}
    assert len(set(texts.values())) == len(texts)
    assert "equivariant.segment_sum" in texts["source"] and "equivariant.kernel" in texts["fused"]
    assert getattr(kernel, code) == texts[code] and kernel.llvmir == texts["llvmir"]
    assert (".entry" in texts[code]) == (kernel.target != "cpu")
    other = "ptx" if kernel.target == "cpu" else "assembly"
    with pytest.raises(AttributeError, match=f"has no {other}, its stages are source"):
        getattr(kernel, other)
    with pytest.raises(ValueError, match="expected a stage, one of source, .* got 'sass'"):
        kernel.ir("sass")


def test_orders(kernel):
    assert [len(k.program.steps) for k in kernel.kernels] == [0, 1, 2]
    assert [[spec.name for spec in k.program.results] for k in kernel.kernels] == [
        ["z"],
        ["dx", "dy", "dw"],
        ["dx", "dy", "dw", "dgz"],
    ]
    assert kernel.ir("fused", order=0) != kernel.ir("fused", order=1) != kernel.ir("fused") == kernel.ir("fused", order=2)
    with pytest.raises(ValueError, match="expected an order from 0 to 2, got 3"):
        kernel.ir("fused", order=3)


def test_figures(kernel):
    assert kernel.cost and isinstance(kernel.cost, dict)
    assert kernel.resources["kernels"] and all("name" in k for k in kernel.resources["kernels"])
    assert kernel.manifest["target"] == kernel.target
    for compiled in kernel.kernels:
        used = {i for i, argument in enumerate(compiled.manifest["arguments"]) if argument["used"]}
        assert used == compiled.program.used
        for got, spec in zip(compiled.manifest["results"], compiled.program.results):
            assert (got["rows"], got["width"]) == (spec.rows, spec.width)
    assert "4x0e+4x1o" in repr(kernel)


def test_commands_repeat_the_compile(kernel, tmp_path):
    """The text of each stage, byte for byte, from the source stage in a file."""
    tools = ROOT / "build" / "bin"
    if not (tools / "espmm-opt").exists():
        pytest.skip(f"{tools}/espmm-opt is not built")
    source = tmp_path / "source.mlir"
    for order in (0, 2):
        source.write_text(kernel.ir("source", order=order))
        for stage in kernel.stages:
            command = kernel.repro(stage, order=order, source=str(source))
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", f"PATH={shlex.quote(str(tools))}:$PATH; {command}"],
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{command}\n{done.stderr}"
            assert done.stdout == kernel.ir(stage, order=order), command


def test_bad_requests():
    with pytest.raises(ValueError, match="unknown target 'tpu'"):
        espmm.compile(PROBLEM, target="tpu")
    with pytest.raises(ValueError, match="grad_order to be an integer >= 0, got -1"):
        espmm.compile(PROBLEM, grad_order=-1)
    with pytest.raises(TypeError, match="expected problem to be an espmm.TPProblem, got str"):
        espmm.compile("8x0e")
    with pytest.raises(ProblemError, match="no path"):
        espmm.compile(espmm.TPProblem("0x0e", "1x0e", "0x0e", [(0, 0, 0, "uvu", True)]))
    # A bad program leaves the library as it was.
    for ir in ("not a module", "func.func @f(%g: !equivariant.rows) {", '#p = #equivariant.irreps<"1q", mul_ir>'):
        with pytest.raises(ProblemError, match=r"line \d+, column \d+"):
            _capi.opt(ir, "")
        with pytest.raises(ProblemError):
            _capi.Executable(ir, "equivariant-to-cpu")
    with pytest.raises(ProblemError):
        _capi.opt(espmm.forward_program(PROBLEM).text, "no-such-pass")
    espmm.compile(PROBLEM)


def test_numpy_batch():
    arrays = [t.numpy() for t in random_inputs(PROBLEM, 6)]
    z = espmm.compile(PROBLEM)(*arrays)
    assert isinstance(z, np.ndarray) and z.dtype == np.float64
    assert relative_error(torch.from_numpy(z), reference(PROBLEM)(*map(torch.from_numpy, arrays))) < 1e-12


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_numpy_convolution_and_gradient(index):
    kernel = espmm.compile(PROBLEM, conv=True, grad_order=1)
    receivers, senders = random_edges(5, 12)
    leaves = [t.requires_grad_() for t in random_inputs(PROBLEM, 12, 5)]
    z = reference_conv(PROBLEM, receivers, senders, 5)(*leaves)
    gz = torch.randn(z.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = torch.autograd.grad(z, leaves, gz)
    arrays = [t.detach().numpy() for t in leaves]
    edges = dict(receivers=receivers.numpy().astype(index), senders=senders.numpy().astype(index))
    (forward,) = kernel.kernels[0](*arrays, **edges)
    assert relative_error(torch.from_numpy(forward), z) < 1e-12
    for plan in (edges, dict(plan=HostPlan(edges["receivers"], edges["senders"], 5, 5))):
        for got, want in zip(kernel(*arrays, gz.numpy(), **plan), expected):
            assert relative_error(torch.from_numpy(got), want) < 1e-12


def test_torch_tensors_and_anything_with_dlpack():
    class OnlyDLPack:
        def __init__(self, tensor):
            self.tensor = tensor

        def __dlpack__(self, **options):
            return self.tensor.__dlpack__(**options)

    inputs = random_inputs(PROBLEM, 6)
    kernel = espmm.compile(PROBLEM)
    z = kernel(*inputs)
    assert isinstance(z, torch.Tensor)
    out = torch.empty_like(z)
    assert kernel(*map(OnlyDLPack, inputs), out=[OnlyDLPack(out)]).tensor is out and torch.equal(out, z)
    with pytest.raises(TypeError, match="pass out="):
        kernel(*map(OnlyDLPack, inputs))
    offset = torch.cat([torch.zeros(1, 16, dtype=torch.float64), inputs[0]])[1:]
    assert torch.equal(kernel(offset, *inputs[1:]), z)


@pytest.mark.cuda
def test_cuda_arrays_without_the_modules():
    kernel = espmm.compile(PROBLEM, target=f"cuda:sm_{''.join(map(str, torch.cuda.get_device_capability()))}", conv=True)
    receivers, senders = random_edges(5, 12)
    inputs = random_inputs(PROBLEM, 12, 5)
    graph = espmm.Graph(receivers.cuda(), senders.cuda(), 5)
    plan = {
        name: graph.array(name)
        for name in (f"{s}.{p}" for s in ("receivers", "senders") for p in ("offsets", "order", "other", "parts"))
    }
    z = kernel(*(t.cuda() for t in inputs), plan=plan, stream=torch.cuda.current_stream().cuda_stream)
    torch.cuda.synchronize()
    assert relative_error(z, reference_conv(PROBLEM, receivers, senders, 5)(*inputs)) < 1e-12


def test_bad_arrays():
    kernel, conv = espmm.compile(PROBLEM), espmm.compile(PROBLEM, conv=True)
    x, y, w = (t.numpy() for t in random_inputs(PROBLEM, 6))
    index = np.zeros(6, dtype=np.int64)
    for call, error, message in [
        (lambda: kernel(x, y), TypeError, r"expected 3 arrays \(x, y, w\), got 2"),
        (lambda: kernel(x.astype(np.float32), y, w), TypeError, "x to be float64, got float32"),
        (lambda: kernel(x.astype(np.int16), y, w), TypeError, "x to have elements float32, float64, .* got DLPack type code 0, 16 bits"),
        (lambda: kernel(x.astype(np.float16), y, w), TypeError, "x to be float64, got float16"),
        (lambda: kernel(x, y[:, :3], w), ValueError, "y to be contiguous"),
        (lambda: kernel(x, y[:, :3].copy(), w), ValueError, r"y of shape \(6, 4\) \(edges, width\), got \(6, 3\)"),
        (lambda: kernel(x, y, [1.0]), TypeError, "w to be an array .* got list"),
        (lambda: kernel(x, y, w, out=[]), TypeError, "out to be 1 arrays, got 0"),
        (lambda: kernel(x, y, w, receivers=index), TypeError, "this kernel has no graph"),
        (lambda: conv(x, y, w), TypeError, "expected receivers and senders, or plan"),
        (lambda: conv(x, y, w, receivers=index + 9, senders=index), IndexError, r"receivers\[0\] = 9"),
        (lambda: conv(x, y[:5], w, receivers=index, senders=index), ValueError, r"y of shape \(6, 4\)"),
        (lambda: kernel(torch.zeros(6, 16, dtype=torch.float64, requires_grad=True), y, w), TypeError, "x: .*grad"),
    ]:
        with pytest.raises(error, match=message):
            call()


def test_views_of_arrays():
    for array in (np.zeros((2, 3), np.float32), torch.zeros(2, 3), np.zeros((0, 3)), np.zeros((1, 3))[::2]):
        assert view(array, "x").shape == tuple(array.shape)
    assert view(torch.arange(4)[1:], "x").pointer % 16 == 8
    with pytest.raises(ValueError, match="contiguous"):
        view(torch.zeros(3, 2).t(), "x")


def test_threads():
    before = espmm.get_num_threads()
    assert before == torch.get_num_threads()
    code = "import espmm, torch; espmm.set_num_threads(3); torch.set_num_threads(1); print(espmm.get_num_threads())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT / "python"), **ENV}
    )
    assert done.stdout.strip() == "3", done.stderr
    for bad in (0, -1):
        with pytest.raises(ValueError, match="at least 1 thread"):
            espmm.set_num_threads(bad)
    with pytest.raises(TypeError):
        espmm.set_num_threads(1.5)


def test_without_torch_and_numpy(tmp_path):
    """The whole way on arrays that are neither torch's nor numpy's."""
    code = """
import sys
sys.modules["torch"] = sys.modules["numpy"] = None
import ctypes, espmm

class Array:
    def __init__(self, rows, width, values=0.0):
        self.data = (ctypes.c_float * (rows * width))(*([values] * (rows * width)))
        self.__array_interface__ = dict(
            version=3, shape=(rows, width), typestr="<f4", data=(ctypes.addressof(self.data), False), strides=None
        )

problem = espmm.TPProblem("4x0e", "0e", "4x0e", [(0, 0, 0, "uvu", True)], shared_weights=False)
z = Array(2, 4)
espmm.compile(problem)(Array(2, 4, 2.0), Array(2, 1, 3.0), Array(2, 4, 0.5), out=[z])
print(list(z.data))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT / "python"), **ENV}
    )
    assert done.stdout.strip() == str([3.0] * 8), done.stderr


def test_results_at_any_address():
    """Given memory that is aligned to an element only, a launch works or refuses; in a process of its own, lest it crash."""
    code = """
import numpy as np, espmm
problem = espmm.every_path_problem("4x0e+4x1o", "0e+1o", "0e+1o", irrep_dtype="float64", weight_dtype="float64")
kernel = espmm.compile(problem, conv=True, grad_order=1)
def odd(rows, width):
    return np.full(rows * width + 9, np.nan)[1 : rows * width + 1].reshape(rows, width)
arrays = [np.ones((6, spec.width)) for spec in kernel.kernels[-1].program.arguments]
edges = dict(receivers=np.arange(6), senders=np.arange(6)[::-1].copy())
out = [odd(6, spec.width) for spec in kernel.kernels[-1].program.results]
try:
    kernel(*arrays, **edges, out=out)
except ValueError as error:
    assert "multiple of" in str(error), error
else:
    for got, want in zip(out, kernel(*arrays, **edges)):
        assert np.array_equal(got, want)
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT / "python"), **ENV}
    )
    assert done.returncode == 0 and done.stdout == "done\n", done.stderr


@pytest.mark.skipif(not os.path.exists("/sys/kernel/mm/transparent_hugepage"), reason="a system without huge pages")
def test_large_results_get_huge_pages():
    """The mapping of a result that is larger than a huge page bears the flag that asks for them."""
    problem = espmm.TPProblem("8x0e", "0e", "8x0e", [(0, 0, 0, "uvu", True)], shared_weights=False, internal_weights=False)
    kernel = espmm.compile(problem, target="cpu")
    rows = 1 << 18
    with mmap.mmap(-1, rows * 8 * 4) as memory:
        out = np.frombuffer(memory, np.float32).reshape(rows, 8)
        x, y, w = np.ones((rows, 8), np.float32), np.ones((rows, 1), np.float32), np.ones((rows, 8), np.float32)
        kernel(x, y, w, out=[out])
        middle, flags, inside = out.ctypes.data + out.nbytes // 2, [], False
        with open("/proc/self/smaps", encoding="utf-8") as lines:
            for line in lines:
                if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
                    inside = int(found[1], 16) <= middle < int(found[2], 16)
                elif inside and line.startswith("VmFlags:"):
                    flags = line.split()[1:]
        assert np.all(out == 1.0)
        del out
    assert "hg" in flags


def test_clebsch_gordan_through_the_binding():
    from e3nn import o3

    np.testing.assert_allclose(
        np.array(_capi.clebsch_gordan(2, 1, 3)).reshape(5, 3, 7), o3.wigner_3j(2, 1, 3, dtype=torch.float64), atol=1e-14
    )
    with pytest.raises(ProblemError):
        _capi.clebsch_gordan(1, 1, 12)


def test_info():
    info = espmm.info()
    assert info["espmm"] == espmm.__version__ == _capi.version()
    assert json.dumps(info) and Path(info["library"]).is_file()
    assert re.match(r"\d+\.\d+", _capi.library().espmm_llvm_version().decode())


import os  # noqa: E402

#: What child processes inherit.
ENV = {name: os.environ[name] for name in ("ESPMM_LIBRARY", "ESPMM_CACHE", "PATH", "HOME") if name in os.environ}
