"""libespmm_torch.so: what the operators in C++ compute, compared with e3nn in float64, and what they say of mistakes."""

from __future__ import annotations

import concurrent.futures
import ctypes
import itertools
import shutil
import subprocess
from pathlib import Path

import espmm
import pytest
import torch
from espmm import _capi, _torchlib, every_path_problem, forward_program
from espmm.launch import RowSpace, launcher_of
from helpers import TOLERANCE, check_batch, check_convolution, e3nn_product, random_inputs, reference, reference_conv, relative_error
from torch_operators import BATCH, CONV, FLOAT, NO_PLAN, NODES, PROBLEM, operands, plan_of, run

SHARED = every_path_problem(
    "4x0e+4x1o", "0e+1o", "0e+1o", irrep_dtype="float64", weight_dtype="float64", shared_weights=True, internal_weights=False
)

pytestmark = [pytest.mark.usefixtures("operators"), pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")]


def test_where_it_lies(monkeypatch, tmp_path):
    assert Path(espmm.torch_library()).name == "libespmm_torch.so" and Path(espmm.torch_library()).is_file()
    monkeypatch.setenv("ESPMM_LIBRARY", str(tmp_path / "libespmm.so"))
    with pytest.raises(ImportError, match=f"looked for {tmp_path}/libespmm_torch.so"):
        espmm.torch_library()


def test_it_needs_nothing_of_torch_but_its_stable_interface():
    """So that one file serves every torch from 2.10 on: C functions of these names, no class or function of C++."""
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("no nm")
    listed = subprocess.run([nm, "-D", "--undefined-only", espmm.torch_library()], capture_output=True, text=True, check=True).stdout.split()
    unversioned = {name for name in listed if "@" not in name and len(name) > 1}  # the system's have versions
    assert "torch_call_dispatcher" in unversioned and "espmm_launch" in unversioned
    others = {name for name in unversioned if not name.startswith(("aoti_torch_", "torch_", "espmm_", "_ITM_", "__gmon_start__"))}
    assert not others


def test_what_is_traced_says_that_it_is_missing(monkeypatch):
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


@pytest.mark.parametrize("program", [BATCH, CONV], ids=["batch", "conv"])
def test_launching_operators_are_what_torch_expects_of_them(program, device):
    """Those of eager calls. They take addresses, of a program that is loaded and of a plan's arrays in memory, which no tracer has: they have no
    fake, and what calls them goes another way when it is traced (``test_launching_operators_are_in_no_trace``). So test_faketensor and
    test_aot_dispatch_dynamic cannot apply to ``_launch``, nor the latter to ``_program`` and ``_define_launch``, which have no tensors at all."""
    inputs, edges = operands(device)
    inputs = inputs if program is CONV else [t.to(device) for t in random_inputs(PROBLEM, 5)]
    launcher = launcher_of(program, inputs[0].device)
    graph = espmm.Graph(*edges, NODES)
    space = RowSpace(5) if program is BATCH else graph.launch_plan(launcher.plan)
    utilities = ("test_schema", "test_autograd_registration")
    torch.library.opcheck(torch.ops.espmm._program.default, (launcher.executable.handle,), test_utils=(*utilities, "test_faketensor"))
    torch.library.opcheck(torch.ops.espmm._define_launch.default, (3, 1), test_utils=(*utilities, "test_faketensor"))
    launch = _torchlib.launch_operator(3, 1)
    assert str(launch._schema) == "espmm::_launch.of3to1(int program, int words, int count, Tensor t0, Tensor t1, Tensor t2) -> Tensor"
    for given in (inputs, [t.requires_grad_() for t in inputs]):
        torch.library.opcheck(launch, (launcher._operand, *space.words, *given), test_utils=utilities)
    with pytest.raises(torch.testing._internal.optests.generate_tests.OpCheckError, match="test_faketensor failed with espmm._launch"):
        torch.library.opcheck(launch, (launcher._operand, *space.words, *inputs), test_utils="test_faketensor")


@pytest.mark.parametrize("wrt", [(2,), (0, 1, 2)])
def test_launching_operators_give_each_result(wrt, device):
    """One result as it is, several in a tuple; and a program of other numbers is refused."""
    inputs = [t.to(device) for t in random_inputs(PROBLEM, 5)]
    z = torch.ones(5, BATCH.results[0].width, dtype=inputs[0].dtype, device=device)
    gradient = BATCH.vjp(wrt, (0,))
    reads = [[*inputs, z][i] for i in sorted(gradient.used)]
    launcher, space = launcher_of(gradient, z.device), RowSpace(5)
    found = _torchlib.launch_operator(len(reads), len(wrt))(launcher._operand, *space.words, *reads)
    leaves = [t.clone().requires_grad_() for t in inputs]
    expected = torch.autograd.grad(e3nn_product(PROBLEM).to(device)(*leaves), [leaves[i] for i in wrt], z)
    for a, b in zip([found] if len(wrt) == 1 else found, expected):
        torch.testing.assert_close(a, b)
    with pytest.raises(ValueError, match=f"expected a program of {len(wrt) + 1} results, got one of {len(wrt)}"):
        _torchlib.launch_operator(len(reads), len(wrt) + 1)(launcher._operand, *space.words, *reads)


def test_launching_operators_are_registered_once_by_many_threads():
    numbers = list(itertools.product(range(17, 21), range(7, 11))) * 4  # of programs that no other test has
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda pair: _torchlib.launch_operator(*pair), numbers))
    for (tensors, results), operator in zip(numbers, found):
        assert len(operator._schema.arguments) == 3 + tensors and len(operator._schema.returns) == results


def test_every_operator_is_checked():
    """The two tests above check these, and there are no others."""
    names = {name.split(".")[0] for name in torch._C._dispatch_get_all_op_names() if name.startswith("espmm::")}
    assert names - {"espmm::_launch"} == {"espmm::plan", "espmm::run", "espmm::_program", "espmm::_define_launch"}


def test_launching_operators_are_in_no_trace(device):
    (x, y, w), edges = operands(device)
    tp, conv = espmm.TensorProduct(PROBLEM), espmm.TensorProductConv(PROBLEM)
    rows = [t.to(device) for t in random_inputs(PROBLEM, 5)]
    for module, arguments in ((tp, rows), (conv, (x, y, w, *edges))):
        module(*arguments)  # what is loaded already is not launched either
        graph = torch.fx.experimental.proxy_tensor.make_fx(module, tracing_mode="fake")(*arguments)
        targets = {str(node.target) for node in graph.graph.nodes if "espmm" in str(node.target)}
        assert targets == ({"espmm.run.default"} if module is tp else {"espmm.run.default", "espmm.plan.default"})


@pytest.mark.parametrize("problem, dtype", [(PROBLEM, torch.float64), (FLOAT, torch.float32), (SHARED, torch.float64)])
def test_a_convolution_and_its_gradients(problem, dtype, device):
    program = forward_program(problem, conv=True)
    inputs, (receivers, senders) = operands(device, dtype, problem)
    plan = plan_of(receivers, senders)
    leaves = [t.cpu().double().requires_grad_() for t in inputs]
    expected = reference_conv(problem, receivers.cpu(), senders.cpu(), NODES)(*leaves)
    # e3nn's shared weights have no row.
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
        (lambda p, t, a: ("func", t, a), "expected a serialised program, ending with '// espmm-program ' and JSON, got 'func'"),
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


def test_programs_of_gradients_are_pythons():
    """The strings that espmm_program_gradient makes, for all wishes at two orders."""

    def gradient(program, needs, present):
        flags, cotangents, out = (ctypes.c_int * 20)(*needs), (ctypes.c_int * len(present))(*present), ctypes.c_void_p()
        count = ctypes.c_size_t(20)
        library = _capi.library()
        _capi.check(
            library.espmm_program_gradient(
                program.serialize().encode(), flags, ctypes.byref(count), cotangents, ctypes.c_size_t(len(present)), ctypes.byref(out)
            )
        )
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


#: A product of each kind of kernel, and of each kind of scratch.
KINDS = {
    "uvu": (("17x0e+17x1o", "0e+1o", "17x0e+17x1o", [(0, 0, 0, "uvu", True), (1, 1, 0, "uvu", True), (0, 1, 1, "uvu", True)]), {}),
    "uvw": (("12x0e+7x1o", "6x0e+1x1o", "20x0e+9x1o", [(0, 0, 0, "uvw", True), (1, 1, 0, "uvw", True), (0, 1, 1, "uvw", True)]), {}),
    "unwritten": (("5x0e+5x1o", "0e+1o", "5x0e+3x2e+5x1o", [(0, 0, 0, "uvu", True), (0, 1, 2, "uvu", False)]), {}),
    "shared": (("12x0e+7x1o", "6x0e+1x1o", "20x0e+9x1o", [(0, 0, 0, "uvw", True), (1, 1, 0, "uvw", True), (0, 1, 1, "uvw", True)]), {"shared_weights": True}),
}  # fmt: skip


@pytest.mark.parametrize("deterministic", [False, pytest.param(True, marks=pytest.mark.cuda)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_what_the_operators_allocate_is_written_whole(name, dtype, deterministic, device, filled_memory):
    arguments, options = KINDS[name]
    problem = espmm.TPProblem(*arguments, irrep_dtype=dtype, weight_dtype=dtype, internal_weights=False, **{"shared_weights": False, **options})
    check_convolution(problem, dtype, device, nodes=60, edges=700, deterministic=deterministic)
    if not deterministic:
        check_batch(problem, dtype, device, order=2, rows=700)
