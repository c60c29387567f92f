"""The modules: what they take, in which shapes, and what they say of bad input (issue section 4)."""

from __future__ import annotations

import copy
import io
import pickle

import espmm
import pytest
import torch
from espmm import ProblemError, TPProblem, every_path_problem
from helpers import check_against, e3nn_product, random_edges, random_inputs, reference, reference_conv, relative_error

PROBLEM = every_path_problem("4x0e+4x1o", "0e+1o", "0e+1o", irrep_dtype="float64", weight_dtype="float64")
SHARED = PROBLEM.replace(shared_weights=True)
X, Y, W = PROBLEM.irreps_in1.dim, PROBLEM.irreps_in2.dim, PROBLEM.weight_numel


def zeros(*shape: int, dtype: torch.dtype = torch.float64, device: str = "cpu") -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype, device=device)


GOOD = {"x": zeros(5, X), "y": zeros(5, Y), "w": zeros(5, W)}

BAD_CALLS = {
    "x width": ({"x": zeros(5, X + 1)}, ValueError, f"the last axis of x to be {X}, .* got shape \\(5, {X + 1}\\)"),
    "y width": ({"y": zeros(5, Y + 1)}, ValueError, f"the last axis of y to be {Y}"),
    "w count": ({"w": zeros(5, W - 1)}, ValueError, f"w of shape \\(..., {W}\\).* got \\(5, {W - 1}\\)"),
    "w without rows": ({"w": zeros(W)}, ValueError, f"w of shape \\(..., {W}\\)"),
    "x scalar": ({"x": zeros()}, ValueError, "the last axis of x"),
    "x dtype": (
        {"x": zeros(5, X, dtype=torch.float32)},
        TypeError,
        "x to be torch.float64, .*irrep_dtype.* got torch.float32",
    ),
    "y dtype": ({"y": zeros(5, Y, dtype=torch.float16)}, TypeError, "y to be torch.float64"),
    "w dtype": ({"w": zeros(5, W, dtype=torch.float32)}, TypeError, "w to be torch.float64, .*weight_dtype"),
    "integers": ({"x": zeros(5, X, dtype=torch.int64)}, TypeError, "x to be torch.float64.* got torch.int64"),
    "not a tensor": ({"x": [[0.0] * X] * 5}, TypeError, "x to be a tensor, got list"),
    "w not a tensor": ({"w": 3.0}, TypeError, "w to be a tensor, got float"),
    "sparse": ({"x": zeros(5, X).to_sparse()}, TypeError, "x to be a dense tensor, got layout torch.sparse_coo"),
}


@pytest.fixture(scope="module", params=["first", "later"])
def modules(request) -> list[torch.nn.Module]:
    """A product and a convolution; later, after a call with good arguments, as which a bad one must not be taken."""
    modules = [espmm.TensorProduct(PROBLEM), espmm.TensorProductConv(PROBLEM)]
    if request.param == "later":
        request.getfixturevalue("library")
        modules[0](*GOOD.values())
        modules[1](*GOOD.values(), INDEX, INDEX)
        assert all(module._passed for module in modules)
    return modules


@pytest.mark.parametrize("kind", ["batch", "conv"])
@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_tensors(case, kind, modules):
    changes, error, message = BAD_CALLS[case]
    arguments = {**GOOD, **changes}
    with pytest.raises(error, match=message) as caught:
        if kind == "batch":
            modules[0](*arguments.values())
        else:
            modules[1](*arguments.values(), INDEX, INDEX)
    assert isinstance(caught.value, ProblemError)


PIECES = [zeros(5, 4, 1) for _ in range(4)]
WEIGHTLESS = TPProblem("4x1o", "1x1o", "4x0e", [(0, 0, 0, "uvu", False)], irrep_dtype="float64", weight_dtype="float64")

#: Calls that e3nn refuses: the problem, arguments, and what the message says.
REFUSED = {
    **{
        case: (PROBLEM, tuple({**GOOD, **changes}.values()), message)
        for case, (changes, _, message) in BAD_CALLS.items()
        # In these e3nn trips over what Python or torch makes of them; and it multiplies weights of any dtype where they meet no matrix.
        if case not in ("x scalar", "w dtype", "not a tensor", "w not a tensor", "sparse")
    },
    "missing": (PROBLEM, (GOOD["x"], GOOD["y"]), r"expected w, 16 weights a row.*\(instruction 0 \(0, 0, 0, 'uvu', True\) has 4, .*instruction 3 .* has 4\)$"),
    "missing, shared": (SHARED, (GOOD["x"], GOOD["y"]), "expected w, 16 weights: the product has no internal weights"),
    "count": (PROBLEM, (GOOD["x"], GOOD["y"], zeros(5, W + 1)), r"got \(5, 17\) \(instruction 0 \(0, 0, 0, 'uvu', True\) has 4"),
    "shared count": (SHARED, (GOOD["x"], GOOD["y"], zeros(W + 1)), r"shared weights w of shape \(16,\), got \(17,\) \(instruction 0"),
    "rows of shared": (SHARED, tuple(GOOD.values()), r"shared weights w of shape \(16,\), got \(5, 16\)"),
    "superfluous": (WEIGHTLESS, (zeros(5, 12), zeros(5, 3), GOOD["w"]), "expected no weights, this product has none"),
    "leading axes": (PROBLEM, (zeros(2, X), zeros(3, Y), zeros(3, W)), "leading axes that broadcast"),
    "devices": (PROBLEM, (GOOD["x"], GOOD["y"].to("meta"), GOOD["w"]), "on one device, got x on cpu and y on meta"),
    "pieces": (PROBLEM, (GOOD["x"], GOOD["y"], PIECES[:3]), "expected 4 tensors in w, .* got 3 .*instruction 3"),
    "shape of a piece": (
        PROBLEM,
        (GOOD["x"], GOOD["y"], [*PIECES[:2], zeros(5, 3, 1), PIECES[3]]),
        r"^instruction 2 \(0, 1, 2, 'uvu', True\): expected w\[2\] of shape \(..., 4, 1\), got \(5, 3, 1\)",
    ),
    "rows of a piece": (
        PROBLEM,
        (GOOD["x"], GOOD["y"], [PIECES[0], zeros(3, 4, 1), *PIECES[2:]]),
        r"^instruction 1 \(1, 1, 1, 'uvu', True\): expected w\[1\] to have the leading axes \(5,\) of w\[0\], got \(3,\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_e3nn_refuses_is_refused_with_its_class_and_a_message(case):
    problem, arguments, message = REFUSED[case]
    with pytest.raises(Exception) as theirs:
        e3nn_product(problem)(*arguments)
    with pytest.raises(ProblemError, match=message) as ours:
        espmm.TensorProduct(problem.replace(internal_weights=False))(*arguments)
    assert isinstance(ours.value, theirs.type), f"e3nn raises {theirs.type.__name__}"


def test_views_of_what_e3nn_refuses():
    ours, theirs = espmm.TensorProduct(PROBLEM), e3nn_product(PROBLEM)
    for weight in (None, zeros(5, W - 1), PIECES[:3]):
        with pytest.raises(Exception) as expected:
            theirs.weight_view_for_instruction(1, weight)
        with pytest.raises(ProblemError, match="instruction 0 .* has 4, ") as found:
            ours.weight_view_for_instruction(1, weight)
        assert isinstance(found.value, expected.type)
        with pytest.raises(expected.type):
            list(ours.weight_views(weight))


def test_a_message_names_some_of_many_instructions():
    tp = espmm.TensorProduct(every_path_problem("4x0e+4x1o+4x2e", "0e+1o+2e", "0e+1o+2e"))
    with pytest.raises(ProblemError, match=r"has 4, instruction 7 \(.*\) has 4 and 3 more have others\)$"):
        tp(*tp.example()[:2])


INDEX = torch.zeros(5, dtype=torch.int64)

BAD_CONVS = {
    "float receivers": ({"r": INDEX.float()}, TypeError, "receivers to be int32 or int64, got torch.float32"),
    "length": ({"s": INDEX[:4]}, ValueError, "as many receivers as senders, got 5 and 4"),
    "y rows": ({"y": zeros(4, Y)}, ValueError, "y to have 5 rows, one an edge, got 4"),
    "w rows": ({"w": zeros(6, W)}, ValueError, "w to have 5 rows, one an edge, got 6"),
    "3 axes": ({"x": zeros(1, 5, X)}, ValueError, r"x to have 2 axes, got shape \(1, 5, 16\)"),
    "no senders": ({"s": None}, TypeError, "a Graph, or receivers and senders, got no senders"),
    "receivers list": ({"r": [0] * 5}, TypeError, "receivers to be a tensor, got list"),
}


@pytest.mark.parametrize("case", BAD_CONVS)
def test_bad_edges(case, modules):
    changes, error, message = BAD_CONVS[case]
    with pytest.raises(error, match=message):
        modules[1](*{**GOOD, "r": INDEX, "s": INDEX, **changes}.values())


def test_a_call_like_the_last(device):
    """Is not checked again, and computes with its own tensors: other values, other edges, and the dtype that the module has now."""
    conv = espmm.TensorProductConv(SHARED).to(device)
    receivers, senders = (t.to(device) for t in random_edges(4, 9))
    for dtype in (torch.float64, torch.float32, torch.float64):
        conv.to(dtype)
        for seed in range(3):
            x, y, w = (t.to(device, dtype) for t in random_inputs(SHARED, 9, 4, seed=seed))
            expected = reference_conv(SHARED, receivers.cpu(), senders.cpu(), 4)(x.cpu().double(), y.cpu().double(), w.cpu().double())
            assert relative_error(conv(x, y, w, receivers, senders), expected) < (1e-12 if dtype == torch.float64 else 1e-6)
            receivers.copy_(receivers.flip(0))  # the same tensor, other edges
    with pytest.raises(TypeError, match="expected x to be torch.float64"):
        conv(x.float(), y, w, receivers, senders)


def test_weights_in_every_form_twice(device):
    """Calls that are checked, and calls like the last, in whatever form weights are given."""
    x, y = (t.to(device) for t in random_inputs(PROBLEM, 5)[:2])
    mixed = TPProblem("4x0e", "0e", "4x0e", [(0, 0, 0, "uvu", True)], irrep_dtype="float64", weight_dtype="float64")
    own = espmm.TensorProduct(mixed).to(device)
    none = espmm.TensorProduct(TPProblem("4x0e", "0e", "4x0e", [(0, 0, 0, "uvu", False)], irrep_dtype="float64", weight_dtype="float64"))
    x, y, w = x[:, :4], y[:, :1], own.weight
    scalars = x.unflatten(1, (4, 1)).mul(y[:, None]).flatten(1).cpu()
    for _ in range(2):
        for weight in (None, w, [w.reshape(4, 1)], w.detach(), None, None):
            torch.testing.assert_close(own(x, y, weight).cpu(), scalars * w.cpu(), rtol=1e-14, atol=1e-14)
        for weight in (None, w[:0], w[:0], None, None):
            torch.testing.assert_close(none(x, y, weight).cpu(), scalars, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    "receivers, senders, message",
    [
        ([0, 9], [0, 0], r"receivers\[1\] = 9"),
        ([0, 0], [-1, 0], r"senders\[0\] = -1"),
        ([5, 9], [0, 0], r"receivers\[0\] = 5"),
    ],
)
def test_indices_out_of_range(receivers, senders, message, device):
    conv = espmm.TensorProductConv(PROBLEM)
    x, y, w = zeros(5, X, device=device), zeros(2, Y, device=device), zeros(2, W, device=device)
    edges = [torch.tensor(t, device=device) for t in (receivers, senders)]
    with pytest.raises(IndexError, match=message):
        conv(x, y, w, *edges)
    conv(x, y, w, *(t.clamp(0, 4) for t in edges))  # nothing is left broken


def test_a_graph_must_fit(device):
    graph = espmm.Graph(INDEX.to(device), INDEX.to(device), 5)
    conv = espmm.TensorProductConv(PROBLEM)
    x, y, w = (t.to(device) for t in GOOD.values())
    assert conv(x, y, w, graph).shape == (5, PROBLEM.irreps_out.dim)
    with pytest.raises(ValueError, match="x to have 5 rows, one a sender of the graph, got 4"):
        conv(x[:4], y, w, graph)
    with pytest.raises(TypeError, match="got both"):
        conv(x, y, w, graph, INDEX)


def test_devices():
    tp = espmm.TensorProduct(PROBLEM)
    x, y, w = GOOD.values()
    with pytest.raises(ValueError, match="on one device, got x on cpu and y on meta"):
        tp(x, y.to("meta"), w)
    with pytest.raises(ValueError, match="on one device, got x on cpu and w on meta"):
        tp(x, y, w.to("meta"))
    conv = espmm.TensorProductConv(PROBLEM)
    with pytest.raises(ValueError, match="got x on cpu and the edges on meta"):
        conv(x, y, w, INDEX.to("meta"), INDEX.to("meta"))
    assert tp(x.to("meta"), y.to("meta"), w.to("meta")).shape == (5, PROBLEM.irreps_out.dim)


def test_an_unsupported_device_is_named():
    from espmm.devices import target_of

    with pytest.raises(ValueError, match="on the CPU or a CUDA device, got xpu:1"):
        target_of(torch.device("xpu:1"))


def test_missing_and_superfluous_weights():
    with pytest.raises(RuntimeError, match="expected w, 16 weights a row: the product has no internal weights"):
        espmm.TensorProduct(PROBLEM)(GOOD["x"], GOOD["y"])
    with pytest.raises(ValueError, match=r"shared weights w of shape \(16,\), got \(5, 16\)"):
        espmm.TensorProduct(SHARED)(*GOOD.values())
    weightless = TPProblem("4x1o", "1x1o", "4x0e", [(0, 0, 0, "uvu", False)], irrep_dtype="float64", weight_dtype="float64")
    with pytest.raises(ValueError, match=r"expected no weights, this product has none, got shape \(5, 16\)"):
        espmm.TensorProduct(weightless)(zeros(5, 12), zeros(5, 3), GOOD["w"])


def test_problems_are_problems():
    for module in (espmm.TensorProduct, espmm.TensorProductConv):
        with pytest.raises(TypeError, match="expected problem to be an espmm.TPProblem, got str"):
            module("8x0e")


def test_leading_axes_broadcast_as_in_e3nn(device):
    tp, expected = espmm.TensorProduct(PROBLEM), reference(PROBLEM)
    generator = torch.Generator().manual_seed(0)
    for shapes in [
        ((2, 3), (2, 3), (2, 3)),
        ((4, 1), (1, 3), (4, 3)),
        ((1,), (6,), (6,)),
        ((), (), (1,)),
        ((2, 1, 3), (3,), (2, 1, 1, 3)),
    ]:
        x, y, w = (
            torch.randn(*shape, width, generator=generator, dtype=torch.float64) for shape, width in zip(shapes, (X, Y, W))
        )
        got, want = tp(x.to(device), y.to(device), w.to(device)), expected(x, y, w)
        assert got.shape == want.shape and relative_error(got, want) < 1e-12
    with pytest.raises(ValueError, match=r"leading axes that broadcast, got shapes x \(2, 16\), y \(3, 4\), w \(3, 16\)"):
        tp(zeros(2, X), zeros(3, Y), zeros(3, W))


def test_broadcast_gradients(device):
    tp, expected = espmm.TensorProduct(PROBLEM), reference(PROBLEM)
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(*s, generator=generator, dtype=torch.float64) for s in ((3, 1, X), (1, 2, Y), (3, 2, W))]
    check_against(tp, expected, inputs, torch.float64, device, order=3)


def test_weights_as_a_list(device):
    tp = espmm.TensorProduct(PROBLEM)
    x, y, w = (t.to(device) for t in random_inputs(PROBLEM, 5))
    pieces = [w[:, s].reshape(5, *ins.path_shape) for s, ins in zip(PROBLEM.weight_slices(), PROBLEM.instructions)]
    assert torch.equal(tp(x, y, pieces), tp(x, y, w))
    assert torch.equal(tp(x, y, [piece.reshape(5, -1) for piece in pieces]), tp(x, y, w))  # e3nn takes these too
    row = [piece[0] for piece in pieces]
    found, expected = tp(x, y, row), reference(PROBLEM)(x.cpu(), y.cpu(), [piece.cpu() for piece in row])
    assert found.shape == expected.shape and relative_error(found, expected) < 1e-12
    with pytest.raises(ValueError, match="expected 4 tensors in w, one a weighted instruction, got 3"):
        tp(x, y, pieces[:3])
    with pytest.raises(ValueError, match=r"expected w\[1\] of shape \(..., 4, 1\), got \(5, 3, 1\)"):
        tp(x, y, [pieces[0], pieces[1][:, :3], *pieces[2:]])
    with pytest.raises(TypeError, match=r"^instruction 1 \(1, 1, 1, 'uvu', True\): expected w\[1\] to be a tensor, got float"):
        tp(x, y, [pieces[0], 1.0, *pieces[2:]])
    assert tp(x[:0], y[:0], [piece[:0] for piece in pieces]).shape == (0, PROBLEM.irreps_out.dim)
    weightless = espmm.TensorProduct(WEIGHTLESS).to(device)
    inputs = [t.to(device) for t in random_inputs(WEIGHTLESS, 5)]
    assert torch.equal(weightless(*inputs, []), weightless(*inputs))


def test_views_of_weights_as_a_list():
    """As of the weights that they make up, and in e3nn."""
    ours, theirs = espmm.TensorProduct(PROBLEM), e3nn_product(PROBLEM)
    w = random_inputs(PROBLEM, 5)[2]
    pieces = [w[:, s].reshape(5, *ins.path_shape) for s, ins in zip(PROBLEM.weight_slices(), PROBLEM.instructions)]
    for given in (w, pieces, tuple(pieces)):
        views = list(ours.weight_views(given, yield_instruction=True))
        assert [position for position, _, _ in views] == [0, 1, 2, 3]
        for (position, _, view), expected in zip(views, theirs.weight_views(list(pieces)), strict=True):
            assert torch.equal(view, expected) and torch.equal(ours.weight_view_for_instruction(position, given), expected)
    shared = espmm.TensorProduct(SHARED)
    for view, piece in zip(shared.weight_views([piece[0] for piece in pieces]), pieces, strict=True):
        assert torch.equal(view, piece[0])
    assert not list(espmm.TensorProduct(WEIGHTLESS).weight_views())
    with pytest.raises(espmm.ProblemError, match="expected one of 4 instructions, got instruction 99") as caught:
        ours.weight_view_for_instruction(99)
    assert isinstance(caught.value, IndexError)


def awkward(tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """The same numbers in memory that is not contiguous, or not aligned."""
    rows, width = tensor.shape
    wide = tensor.new_full((rows, width + 3), float("nan"))
    wide[:, 1:-2] = tensor
    flat = tensor.new_full((rows * width + 1,), float("nan"))
    flat[1:] = tensor.reshape(-1)
    return {
        "columns of a wider tensor": wide[:, 1:-2],
        "transposed": tensor.t().contiguous().t(),
        "one element off": flat[1:].view(rows, width),
        "every other row": tensor.repeat_interleave(2, 0)[::2],
        "negated view": torch.complex(torch.zeros_like(tensor), -tensor).conj().imag,
    }


@pytest.mark.parametrize("kind", ["batch", "conv"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_memory_in_any_order(kind, dtype, device):
    problem = PROBLEM.replace(irrep_dtype=dtype, weight_dtype=dtype)
    receivers, senders = (t.to(device) for t in random_edges(7, 7))
    conv, tp = espmm.TensorProductConv(problem), espmm.TensorProduct(problem)

    def call(x, y, w):
        return tp(x, y, w) if kind == "batch" else conv(x, y, w, receivers, senders)

    plain = [t.to(dtype).to(device) for t in random_inputs(problem, 7)]
    expected = call(*plain)
    for case in awkward(plain[0]):
        strange = [awkward(t)[case].requires_grad_() for t in plain]
        result = call(*strange)
        assert torch.equal(result, expected), case
        gradients = torch.autograd.grad(result.pow(2).sum(), strange)
        leaves = [t.clone().requires_grad_() for t in plain]
        for a, b in zip(gradients, torch.autograd.grad(call(*leaves).pow(2).sum(), leaves)):
            assert relative_error(a, b) < 1e-6, case


def test_expanded_cotangents(device):
    tp = espmm.TensorProduct(PROBLEM)
    x, y, w = (t.to(device).requires_grad_() for t in random_inputs(PROBLEM, 5))
    z = tp(x, y, w)
    a = torch.autograd.grad(z.sum(), x, retain_graph=True)[0]
    b = torch.autograd.grad(z, x, torch.ones_like(z))[0]
    assert torch.equal(a, b)


def test_a_product_of_nothing_is_zero(device):
    empty = TPProblem(
        "0x0e+4x1o", "1x0e", "0x0e+4x1o", [(0, 0, 0, "uvu", True)], irrep_dtype="float64", weight_dtype="float64"
    )
    x, y = zeros(5, 12, device=device), zeros(5, 1, device=device)
    z = espmm.TensorProduct(empty)(x, y)
    assert z.shape == (5, 12) and not z.any()
    index = INDEX.to(device)
    assert espmm.TensorProductConv(empty)(x, y, None, index, index).shape == (5, 12)


@pytest.mark.parametrize("product", [espmm.TensorProduct, espmm.TensorProductConv])
def test_what_is_not_lowered_says_so(product):
    problem = TPProblem(
        "3x1o", "2x1o", "4x0e", [(0, 0, 0, "uvw", True)], shared_weights=False, internal_weights=False, irrep_dtype="float32", weight_dtype="float64"
    )
    with pytest.raises(espmm.UnsupportedError, match="weight_dtype = float64 and irrep_dtype = float32: mixed precision is not lowered"):
        product(problem)


def test_parameters_and_buffers_are_e3nns():
    from e3nn import o3

    theirs = o3.TensorProduct("3x1o", "2x1o", "4x0e+2x0o", [(0, 0, 0, "uvw", True)])
    ours = espmm.TensorProduct(TPProblem.from_e3nn(theirs))
    mine = {name: (type(t), t.shape, t.dtype) for name, t in ours.state_dict(keep_vars=True).items()}
    expected = {
        name: (type(t), t.shape, t.dtype) for name, t in theirs.state_dict(keep_vars=True).items() if "." not in name
    }
    assert mine == expected
    assert torch.equal(ours.output_mask, theirs.output_mask)
    ours.load_state_dict({name: t for name, t in theirs.state_dict().items() if "." not in name})
    assert torch.equal(ours.weight, theirs.weight)
    torch.manual_seed(3)
    first = espmm.TensorProduct(ours.problem).weight
    torch.manual_seed(3)
    assert torch.equal(first, o3.TensorProduct("3x1o", "2x1o", "4x0e+2x0o", [(0, 0, 0, "uvw", True)]).weight)
    assert dict(espmm.TensorProductConv(PROBLEM).named_parameters()) == {}


def test_copies_and_pickles(device):
    conv = espmm.TensorProductConv(PROBLEM, deterministic=True)
    receivers, senders = (t.to(device) for t in random_edges(6, 9))
    x, y, w = (t.to(device) for t in random_inputs(PROBLEM, 9, 6))
    expected = conv(x, y, w, receivers, senders)
    saved = io.BytesIO()
    torch.save(conv, saved)
    saved.seek(0)
    for again in (copy.deepcopy(conv), pickle.loads(pickle.dumps(conv)), torch.load(saved, weights_only=False)):
        assert again.problem == conv.problem and again.deterministic
        assert relative_error(again(x, y, w, receivers, senders), expected) < 1e-12
    assert repr(conv) == f"TensorProductConv({PROBLEM})"


def test_results_may_be_changed_in_place_and_inputs_are_guarded(device):
    tp = espmm.TensorProduct(PROBLEM)
    x, y, w = (t.to(device).requires_grad_() for t in random_inputs(PROBLEM, 5))
    z = tp(x, y, w)
    z += 1  # the result is nobody's saved tensor
    torch.autograd.grad(z.sum(), x, retain_graph=True)
    with torch.no_grad():
        y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(z.sum(), x)


def test_a_convolution_allocates_its_results_and_no_messages(device, monkeypatch):
    """Nothing of the size of edges but the gradients of what has it: no message z[e], no gathered x."""
    from espmm import launch

    problem = every_path_problem("16x0e+16x1o", "0e+1o", "0e+1o+2e", irrep_dtype="float64", weight_dtype="float64")
    nodes, edges = 50, 2000
    conv = espmm.TensorProductConv(problem)
    graph = espmm.Graph(*(t.to(device) for t in random_edges(nodes, edges)), nodes)
    x, y, w = (t.to(device).requires_grad_() for t in random_inputs(problem, edges, nodes))
    shapes, scratch, allocate = [], [], launch.allocate

    def counting(shape, dtype, where):
        (scratch if dtype == torch.uint8 else shapes).append(shape)
        return allocate(shape, dtype, where)

    monkeypatch.setattr(launch, "allocate", counting)
    z = conv(x, y, w, graph)
    assert shapes == [tuple(z.shape)]
    first = torch.autograd.grad(z.sum(), (x, y, w), create_graph=True)
    assert shapes[1:] == [tuple(t.shape) for t in (x, y, w)]
    torch.autograd.grad(sum(g.pow(2).sum() for g in first), (x, y, w))
    assert shapes[4:] == [tuple(t.shape) for t in (x, y, w)]
    messages = 8 * edges * problem.irreps_in1.dim
    assert all(size < messages for (size,) in scratch), (scratch, messages)


def test_many_threads_at_once(device):
    from concurrent.futures import ThreadPoolExecutor

    problem = PROBLEM.replace(layout="ir_mul")  # a program that nothing has compiled yet
    expected = reference_conv(problem, *random_edges(6, 9), 6)

    def work(seed: int) -> float:
        conv = espmm.TensorProductConv(problem)
        inputs = [t.to(device).requires_grad_() for t in random_inputs(problem, 9, 6, seed)]
        z = conv(*inputs, *(t.to(device) for t in random_edges(6, 9)))
        z.sum().backward()
        return relative_error(z, expected(*(t.detach().cpu() for t in inputs)))

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(work, range(16))) < 1e-12


@pytest.mark.cuda
def test_other_streams_and_devices(library):
    conv = espmm.TensorProductConv(PROBLEM)
    for number in range(torch.cuda.device_count()):
        device = f"cuda:{number}"
        receivers, senders = (t.to(device) for t in random_edges(6, 9))
        x, y, w = (t.to(device) for t in random_inputs(PROBLEM, 9, 6))
        expected = conv(x, y, w, receivers, senders)
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            torch.cuda._sleep(10_000_000)
            late = conv(x * 2, y, w, receivers, senders)
        stream.synchronize()
        assert relative_error(late, 2 * expected) < 1e-12


@pytest.mark.cuda
def test_cuda_graphs(library):
    conv = espmm.TensorProductConv(PROBLEM)
    graph = espmm.Graph(*(t.cuda() for t in random_edges(6, 9)), 6)
    x, y, w = (t.cuda() for t in random_inputs(PROBLEM, 9, 6))
    conv(x, y, w, graph)
    torch.cuda.synchronize()
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        z = conv(x, y, w, graph)
    x.mul_(3)
    captured.replay()
    torch.cuda.synchronize()
    assert relative_error(z, conv(x, y, w, graph)) < 1e-12
