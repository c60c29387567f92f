"""The kernels against e3nn in float64: every order, batch and convolution, layouts, dtypes, odd sizes."""

from __future__ import annotations

import espmm
import pytest
import torch
from espmm import TPProblem, _capi, every_path_problem
from helpers import check_against, check_convolution, derivatives, random_edges, random_inputs, reference, reference_conv, relative_error
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Graph as ReferenceGraph
from reference import Path, Product, evaluate

pytestmark = pytest.mark.usefixtures("library", "poisoned")

DTYPES = [torch.float64, torch.float32]
LAYOUTS = ["mul_ir", "ir_mul"]

#: (in1, in2, out): every path. Multiplicities that no vector divides, parities of both kinds, repeated irreps.
PROBLEMS = {
    "tiny": ("1x0e+1x1o", "0e+1o", "0e+1o"),
    "17": ("17x0e+17x1o", "0e+1o+2e", "0e+1o+1e+2e"),
    "64": ("64x0e+64x1o+64x2e", "0e+1o", "0e+1o+2e"),
    "100": ("100x1o+100x0e", "0e+1o", "1o+0e"),
    "unequal": ("3x0e+70x1o+1x2e+16x1o", "1o+0e+2e", "0e+1o+2e"),
    "parities": ("5x0o+6x0e+7x1o+8x1e", "0e+1o", "0o+0e+1o+1e"),
    "high l": ("4x5o+3x6e", "5o+6e", "11o+0e+5o"),
}


def problem_of(name: str, dtype: torch.dtype = torch.float64, layout: str = "mul_ir", **options) -> TPProblem:
    return every_path_problem(*PROBLEMS[name], irrep_dtype=dtype, weight_dtype=dtype, layout=layout, **options)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", PROBLEMS)
def test_batch_to_the_second_order(name, dtype, layout, device):
    problem = problem_of(name, dtype, layout)
    tp = espmm.TensorProduct(problem)
    check_against(tp, reference(problem), random_inputs(problem, 7), dtype, device, order=2)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", PROBLEMS)
def test_convolution_to_the_second_order(name, dtype, layout, device):
    problem = problem_of(name, dtype, layout)
    receivers, senders = random_edges(9, 40)
    conv = espmm.TensorProductConv(problem)
    r, s = receivers.to(device), senders.to(device)
    check_against(
        lambda x, y, w: conv(x, y, w, r, s),
        reference_conv(problem, receivers, senders, 9),
        random_inputs(problem, 40, 9),
        dtype, device, order=2,
    )  # fmt: skip


THIRD_ORDER = {"small": ("5x0e+5x1o", "0e+1o", "0e+1o"), "unequal": ("3x0e+37x1o+1x2e", "1o+0e", "0e+1o+2e")}


@pytest.mark.parametrize("conv", [False, True], ids=["batch", "conv"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", THIRD_ORDER)
def test_third_derivatives(name, dtype, layout, conv, device):
    problem = every_path_problem(*THIRD_ORDER[name], irrep_dtype=dtype, weight_dtype=dtype, layout=layout)
    receivers, senders = random_edges(6, 15)
    if conv:
        module, graph = espmm.TensorProductConv(problem), espmm.Graph(receivers.to(device), senders.to(device), 6)
        function, expected = (lambda x, y, w: module(x, y, w, graph)), reference_conv(problem, receivers, senders, 6)
    else:
        function, expected = espmm.TensorProduct(problem), reference(problem)
    check_against(function, expected, random_inputs(problem, 15, 6 if conv else None), dtype, device, order=3)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["mace-large", "mace-medium", "nequip-lips", "nequip-aspirin", "nequip-benzene"])
def test_named_problems_to_the_second_order(name, dtype, device):
    problem = espmm.named_problem(name, irrep_dtype=dtype, weight_dtype=dtype)
    receivers, senders = random_edges(5, 12)
    conv = espmm.TensorProductConv(problem)
    r, s = receivers.to(device), senders.to(device)
    check_against(
        lambda x, y, w: conv(x, y, w, r, s),
        reference_conv(problem, receivers, senders, 5),
        random_inputs(problem, 12, 5),
        dtype, device, order=2,
    )  # fmt: skip


EDGES = {
    "int32": (9, *random_edges(9, 40, index=torch.int32)),
    "sorted": (9, *(t[random_edges(9, 40)[0].argsort(stable=True)] for t in random_edges(9, 40))),
    "one receiver": (9, torch.full((40,), 3), random_edges(9, 40)[1]),
    "one sender": (9, random_edges(9, 40)[0], torch.full((40,), 8)),
    "one edge": (3, torch.tensor([2]), torch.tensor([0])),
    "all isolated but one": (2000, torch.full((40,), 1500), torch.full((40,), 7)),
    "no edges": (4, torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)),
    "nothing": (0, torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)),
    "a long segment": (5, torch.arange(3000) % 2 * 4, torch.arange(3000) % 5),
    "more than the parts": (300, *random_edges(300, 2000)),
}


@pytest.mark.parametrize("deterministic", [False, pytest.param(True, marks=pytest.mark.cuda)])
@pytest.mark.parametrize("name", EDGES)
def test_graphs_of_every_shape(name, deterministic, device):
    nodes, receivers, senders = EDGES[name]
    problem = problem_of("17")
    conv = espmm.TensorProductConv(problem, deterministic=deterministic)
    r, s = receivers.to(device), senders.to(device)
    expected = reference_conv(problem, receivers, senders, nodes)
    inputs = random_inputs(problem, len(receivers), nodes)
    if len(receivers):
        check_against(lambda x, y, w: conv(x, y, w, r, s), expected, inputs, torch.float64, device, order=2)
        return
    x, y, w = (t.to(device).requires_grad_() for t in inputs)
    z = conv(x, y, w, r, s)
    assert z.shape == (nodes, problem.irreps_out.dim) and not z.any()
    first = torch.autograd.grad(z.sum(), (x, y, w), create_graph=True)
    assert all(g.shape == t.shape and not g.any() for g, t in zip(first, (x, y, w)))
    second = torch.autograd.grad(sum(g.sum() for g in first), (x, y, w), allow_unused=True)
    assert all(g is None or not g.any() for g in second)


def test_receivers_and_senders_of_different_kinds(device):
    problem = problem_of("17")
    receivers, senders = torch.tensor([2, 0, 2, 1]), torch.tensor([6, 6, 3, 0])
    graph = espmm.Graph(receivers.to(device), senders.to(device), num_receivers=3, num_senders=7)
    conv = espmm.TensorProductConv(problem)
    inputs = random_inputs(problem, 4, 7)
    expected = reference_conv(problem, receivers, senders, 3)
    check_against(lambda x, y, w: conv(x, y, w, graph), expected, inputs, torch.float64, device, order=2)


def test_no_rows(device):
    problem = problem_of("17")
    x, y, w = (t.to(device).requires_grad_() for t in random_inputs(problem, 0))
    z = espmm.TensorProduct(problem)(x, y, w)
    assert z.shape == (0, problem.irreps_out.dim)
    assert [g.shape for g in torch.autograd.grad(z.sum(), (x, y, w))] == [x.shape, y.shape, w.shape]


@pytest.mark.parametrize("rows", [1, 2, 3, 63, 64, 65, 200])
def test_numbers_of_rows(rows, device):
    problem = problem_of("tiny")
    check_against(espmm.TensorProduct(problem), reference(problem), random_inputs(problem, rows), torch.float64, device, 2)


def test_outputs_that_no_path_reaches_are_zero(device):
    problem = TPProblem(
        "4x0e+4x1o", "0e+1o", "4x0o+4x1o+4x3e+4x0e", [(0, 1, 1, "uvu", True), (1, 1, 3, "uvu", True)],
        shared_weights=False, irrep_dtype="float64", weight_dtype="float64",
    )  # fmt: skip
    tp = espmm.TensorProduct(problem)
    check_against(tp, reference(problem), random_inputs(problem, 5), torch.float64, device, order=3)
    check_convolution(problem, torch.float64, device, order=3)
    z = tp(*(t.to(device) for t in random_inputs(problem, 5)))
    assert not z[:, ~tp.output_mask.bool()].any()


@pytest.mark.parametrize("weights", ["by row", "shared", "none"])
@pytest.mark.parametrize("others", [False, True], ids=["alone", "beside another"])
def test_a_path_weight_of_zero(others, weights, device, poisoned):
    """It gives zeros, and zeros as its gradients, as in e3nn."""
    weighted = weights != "none"
    paths = [(0, 0, 0, "uvu", weighted, 0.0), *([(1, 0, 1, "uvu", weighted)] if others else [])]
    problem = TPProblem(
        "4x1o+3x0e", "1o", "4x0e+3x1o+2x0e", paths, shared_weights=weights == "shared", internal_weights=False, irrep_dtype="float64", weight_dtype="float64"
    )
    check_against(espmm.TensorProduct(problem), reference(problem), random_inputs(problem, 5), torch.float64, device, order=2)
    check_convolution(problem, torch.float64, device, order=2)


def test_several_paths_into_one_output_and_from_one_input(device):
    problem = TPProblem(
        "4x1o+4x1o+4x0e", "1o+1o+0e", "4x1o+4x0e",
        [(0, 2, 0, "uvu", True), (1, 2, 0, "uvu", True, 0.3), (0, 0, 1, "uvu", True), (0, 1, 1, "uvu", True), (2, 0, 0, "uvu", True)],
        shared_weights=False, irrep_dtype="float64", weight_dtype="float64",
    )  # fmt: skip
    check_against(
        espmm.TensorProduct(problem), reference(problem), random_inputs(problem, 5), torch.float64, device, order=2
    )


@st.composite
def uvu_problems(draw):
    """Random products of this kind: "uvu", weights by row, y of multiplicity 1."""
    irrep = st.tuples(st.integers(0, 3), st.sampled_from([1, -1]))
    in1 = [(draw(st.integers(1, 20)), draw(irrep)) for _ in range(draw(st.integers(1, 3)))]
    in2 = [(1, draw(irrep)) for _ in range(draw(st.integers(1, 3)))]
    possible = [
        (i1, i2, mul, ir)
        for i1, (mul, ir1) in enumerate(espmm.Irreps(in1))
        for i2, (_, ir2) in enumerate(espmm.Irreps(in2))
        for ir in ir1 * ir2
    ]
    chosen = draw(st.lists(st.sampled_from(possible), min_size=1, max_size=5))
    out, instructions = [], []
    for i1, i2, mul, ir in chosen:
        same = [i for i, block in enumerate(out) if block == (mul, ir)]
        if same and draw(st.booleans()):
            i3 = same[0]
        else:
            i3 = len(out)
            out.append((mul, ir))
        instructions.append((i1, i2, i3, "uvu", True, draw(st.sampled_from([1.0, 0.25, 3.0]))))
    return TPProblem(
        in1, in2, out, instructions, shared_weights=False, irrep_dtype="float64", weight_dtype="float64",
        layout=draw(st.sampled_from(LAYOUTS)),
    )  # fmt: skip


def reference_arrays(problem: TPProblem, program: espmm.Program, inputs: list[torch.Tensor]):
    product = Product(
        str(problem.irreps_in1), str(problem.irreps_in2), str(problem.irreps_out),
        [Path(*ins[:6]) for ins in problem.instructions], problem.layout,
    )  # fmt: skip
    return product, [t.numpy() for t in inputs]


@given(uvu_problems(), st.integers(1, 6), st.integers(0, 2), st.integers(0, 10**6))
@settings(max_examples=30)
def test_random_problems_against_the_plain_loop(problem, nodes, order, seed):
    """The compiled program of an order, run by itself, against the numpy definition: e3nn has no part in it."""
    edges = 2 * nodes + 1
    receivers, senders = random_edges(nodes, edges, seed)
    kernel = espmm.compile(problem, conv=True, grad_order=order)
    program = kernel.kernels[-1].program
    generator = torch.Generator().manual_seed(seed)
    rows = {"edges": edges, "receivers": nodes, "senders": nodes}
    inputs = [torch.randn(rows[s.rows], s.width, generator=generator, dtype=torch.float64) for s in program.arguments]
    product, arrays = reference_arrays(problem, program, inputs)
    graph = ReferenceGraph(receivers.numpy(), senders.numpy(), nodes, nodes)
    expected = evaluate(product, program.steps, arrays, graph)
    out = [torch.full((rows[s.rows], s.width), float("nan"), dtype=torch.float64) for s in program.results]
    kernel(*inputs, receivers=receivers, senders=senders, out=out)
    for got, want in zip(out, expected):
        assert relative_error(got, torch.from_numpy(want)) <= 1e-12


@given(uvu_problems(), st.booleans(), st.integers(0, 10**6))
@settings(max_examples=20)
def test_random_problems_against_e3nn(problem, is_conv, seed):
    nodes, rows = 4, 9
    receivers, senders = random_edges(nodes, rows, seed)
    if is_conv:
        conv = espmm.TensorProductConv(problem)
        function = lambda x, y, w: conv(x, y, w, receivers, senders)  # noqa: E731
        expected = reference_conv(problem, receivers, senders, nodes)
    else:
        function, expected = espmm.TensorProduct(problem), reference(problem)
    inputs = random_inputs(problem, rows, nodes if is_conv else None, seed)
    check_against(function, expected, inputs, torch.float64, "cpu", order=2)


def test_gradcheck(device):
    problem = every_path_problem("2x0e+2x1o", "0e+1o", "0e+1o", irrep_dtype="float64", weight_dtype="float64")
    receivers, senders = (t.to(device) for t in random_edges(4, 5))
    tp, conv = espmm.TensorProduct(problem), espmm.TensorProductConv(problem)
    for function, nodes in ((tp, None), (lambda x, y, w: conv(x, y, w, receivers, senders), 4)):
        inputs = [t.to(device).requires_grad_() for t in random_inputs(problem, 5, nodes)]
        assert torch.autograd.gradcheck(function, inputs, check_forward_ad=True, nondet_tol=1e-12)
        assert torch.autograd.gradgradcheck(function, inputs, nondet_tol=1e-12)


def test_equivariance(device):
    from e3nn import o3
    from helpers import default_dtype

    problem = problem_of("parities")
    conv = espmm.TensorProductConv(problem)
    receivers, senders = (t.to(device) for t in random_edges(6, 20))
    x, y, w = (t.to(device) for t in random_inputs(problem, 20, 6))
    for seed in range(3):
        with default_dtype(torch.float64):
            torch.manual_seed(seed)
            rotation = o3.rand_matrix() * (-1) ** seed
            d1, d2, d3 = (
                o3.Irreps(str(irreps)).D_from_matrix(rotation).to(device)
                for irreps in (problem.irreps_in1, problem.irreps_in2, problem.irreps_out)
            )
        turned = conv(x @ d1.T, y @ d2.T, w, receivers, senders)
        assert relative_error(turned, conv(x, y, w, receivers, senders) @ d3.T) < 1e-12


def all_results(conv: torch.nn.Module, inputs: list[torch.Tensor], edges: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    leaves = [t.clone().requires_grad_() for t in inputs]
    z = conv(*leaves, *edges)
    first = torch.autograd.grad(z.pow(2).sum(), leaves, create_graph=True)
    return [z, *first, *torch.autograd.grad(sum(g.pow(2).sum() for g in first), leaves)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_cpu_gives_the_same_bits_for_any_number_of_threads(dtype, library):
    problem = problem_of("unequal", dtype)
    conv = espmm.TensorProductConv(problem)
    edges = random_edges(120, 1500)
    inputs = [t.to(dtype) for t in random_inputs(problem, 1500, 120)]
    before = _capi.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 1, 2, 3, 2, 2, 2, 2):
            torch.set_num_threads(threads)
            results.append(all_results(conv, inputs, edges))
            assert espmm.get_num_threads() == threads
        for again in results[1:]:
            assert all(torch.equal(a, b) for a, b in zip(results[0], again))
    finally:
        torch.set_num_threads(before)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_gpu_gives_the_same_bits_when_asked_to(dtype, library):
    problem = problem_of("unequal", dtype)
    conv = espmm.TensorProductConv(problem, deterministic=True)
    edges = tuple(t.cuda() for t in random_edges(120, 1500))
    inputs = [t.to(dtype).cuda() for t in random_inputs(problem, 1500, 120)]
    results = [all_results(conv, inputs, edges) for _ in range(10)]
    for again in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], again))


def whole_irreps(mask: torch.Tensor, irreps: espmm.Irreps) -> torch.Tensor:
    """All components of what has one in the mask, of rows in layout mul_ir."""
    parts = [mask[:, where].reshape(len(mask), mul, ir.dim) for where, (mul, ir) in zip(irreps.slices(), irreps)]
    return torch.cat([part.any(2, keepdim=True).expand_as(part).flatten(1) for part in parts], 1)


@pytest.mark.parametrize("conv", [False, True], ids=["batch", "conv"])
@pytest.mark.parametrize("argument", ["x", "y", "w"])
def test_nan_and_infinity_reach_what_depends_on_them(argument, conv, device):
    """In e3nn they reach it too, and more: its coefficients that are zero are multiplied by. On the CPU those of y are, several components at a time."""
    problem = problem_of("17")
    if conv:
        receivers, senders = random_edges(6, 11)
        module, graph = espmm.TensorProductConv(problem), espmm.Graph(receivers.to(device), senders.to(device), 6)
        function, expected = (lambda x, y, w: module(x, y, w, graph)), reference_conv(problem, receivers, senders, 6)
    else:
        function, expected = espmm.TensorProduct(problem), reference(problem)

    def results(of, value: float, at: int, place: str) -> list[torch.Tensor]:
        """z and the gradients, one element of an edge's (a row's) argument being the value."""
        inputs = random_inputs(problem, 11, 6 if conv else None)
        inputs["xyw".index(argument)][int(senders[4]) if conv and argument == "x" else 4, at] = value
        return [t.detach().cpu() for t in derivatives(of, [t.to(place).requires_grad_() for t in inputs], 1)]

    irreps = [problem.irreps_out, problem.irreps_in1, problem.irreps_in2, espmm.Irreps([(problem.weight_numel, (0, 1))])]
    for at in {"x": (5, 17 + 3 * 6 + 1), "y": (0, 2, 8), "w": (3, problem.weight_numel - 1)}[argument]:
        depends = [(a - b).abs() > 1e-9 for a, b in zip(results(expected, 1.0, at, "cpu"), results(expected, 2.0, at, "cpu"))]
        assert depends[0].any() and not depends[0].all()
        for value in (float("nan"), float("inf")):
            for n, (got, want, reached) in enumerate(zip(results(function, value, at, device), results(expected, value, at, "cpu"), depends)):
                bad = ~torch.isfinite(got)
                most = whole_irreps(reached, irreps[n]) if (argument, device) == ("y", "cpu") else reached
                assert not (reached & ~bad).any() and not (bad & ~most).any(), f"result {n}, element {at}"
                assert not torch.isfinite(want[reached]).any()
                finite = torch.isfinite(want) & ~bad
                assert not finite.any() or relative_error(got[finite], want[finite]) < 1e-12


@pytest.mark.cuda
def test_more_than_two_to_the_31_elements(library):
    problem = every_path_problem("128x0e+128x1o", "0e+1o", "0e+1o")
    tp = espmm.TensorProduct(problem)
    rows = 2**31 // problem.irreps_out.dim + 1000
    need = 4 * rows * (problem.irreps_in1.dim + problem.irreps_out.dim + problem.weight_numel + 4)
    if torch.cuda.get_device_properties(0).total_memory < need * 1.2:
        pytest.skip(f"needs {need >> 30} GiB of GPU memory")
    x = torch.randn(rows, problem.irreps_in1.dim, device="cuda")
    y, w = torch.randn(rows, 4, device="cuda"), torch.randn(rows, problem.weight_numel, device="cuda")
    z = tp(x, y, w)
    assert z.numel() > 2**31
    for part in (slice(0, 50), slice(rows - 50, rows)):
        expected = reference(problem)(*(t[part].double().cpu() for t in (x, y, w)))
        assert relative_error(z[part], expected) < 2e-6


@pytest.mark.cuda
@pytest.mark.parametrize("kept", [False, True], ids=["weights", "gx by edge"])
def test_a_graph_of_more_than_two_to_the_31_elements(kept, library):
    """In weights and their gradient, edges sorted; or in x's gradient, kept by edge to be summed in a fixed order, edges in reverse."""
    irreps = ("128x2e", "0e", "2e") if kept else ("128x0e+128x1o", "0e+1o+2e", "0e+1o+2e")
    problem = every_path_problem(*irreps)
    conv = espmm.TensorProductConv(problem, deterministic=kept, schedule={"group_by": 1})
    width, last, nodes = problem.irreps_in1.dim if kept else problem.weight_numel, 40, 2000
    edges = 2**31 // width + 1000
    need = 4 * edges * (2 * problem.weight_numel + 2 * problem.irreps_in2.dim + kept * width + 16)
    if torch.cuda.get_device_properties(0).total_memory < need * 1.2:
        pytest.skip(f"needs {need >> 30} GiB of GPU memory")
    # The last edges have a receiver of their own, and a sender each.
    numbers = torch.arange(edges, device="cuda")
    receivers = torch.where(numbers < edges - last, numbers * (nodes - 1) // edges, nodes - 1)
    senders = torch.where(numbers < edges - last, numbers * 7 % (nodes - last), numbers + (nodes - edges))
    receivers = nodes - 1 - receivers if kept else receivers
    x, gz = torch.randn(nodes, problem.irreps_in1.dim, device="cuda"), torch.randn(nodes, problem.irreps_out.dim, device="cuda")
    y, w = torch.randn(edges, problem.irreps_in2.dim, device="cuda"), torch.randn(edges, problem.weight_numel, device="cuda")
    leaves = [t.requires_grad_() for t in (x, y, w)]
    z = conv(*leaves, receivers, senders)
    gradients = torch.autograd.grad(z, leaves, gz)
    assert edges * width > 2**31
    small = [t.detach()[-last:].double().cpu().requires_grad_() for t in leaves]
    messages = reference(problem)(*small)
    node = int(receivers[-1])
    assert relative_error(z[node], messages.sum(0)) < 2e-6
    for got, want in zip(gradients, torch.autograd.grad(messages, small, gz[node].double().cpu().expand_as(messages))):
        assert relative_error(got[-last:], want) < 2e-6
