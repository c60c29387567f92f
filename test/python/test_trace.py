"""What traces programs: torch.compile, export and jit.trace go through the operators."""

from __future__ import annotations

import copy

import e3nn.util.jit
import espmm
import pytest
import torch
import torch._dynamo.testing
from e3nn import o3
from espmm import every_path_problem
from helpers import random_edges, random_inputs, reference, reference_conv, relative_error

pytestmark = [
    pytest.mark.usefixtures("library"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning"),
]

PROBLEM = every_path_problem("4x0e+4x1o", "0e+1o", "0e+1o", irrep_dtype="float64", weight_dtype="float64")


def operands(edges: int, nodes: int, device: str = "cpu"):
    return [t.to(device) for t in (*random_inputs(PROBLEM, edges, nodes), *random_edges(nodes, edges))]


class Model(torch.nn.Module):
    """Energy and forces-like gradient, as a potential computes them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = espmm.TensorProductConv(PROBLEM)

    def forward(self, x, y, w, receivers, senders):
        return self.conv(x, y, w, receivers, senders).pow(2).sum(1)


def test_compile_without_breaks_or_recompiles(device):
    torch._dynamo.reset()
    model = Model()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=counter)
    for edges, nodes in ((12, 5), (30, 9), (7, 6)):
        *inputs, receivers, senders = operands(edges, nodes, device)
        leaves = [t.requires_grad_() for t in inputs]
        got = compiled(*leaves, receivers, senders)
        want = model(*leaves, receivers, senders)
        assert relative_error(got, want) < 1e-12
        for a, b in zip(torch.autograd.grad(got.sum(), leaves), torch.autograd.grad(want.sum(), leaves)):
            assert relative_error(a, b) < 1e-12
    assert counter.frame_count == 1


def test_compile_with_a_graph_made_beforehand(device):
    torch._dynamo.reset()
    conv = espmm.TensorProductConv(PROBLEM)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(conv, fullgraph=True, dynamic=True, backend=counter)
    for edges, nodes in ((12, 5), (30, 9), (7, 6)):
        x, y, w, receivers, senders = operands(edges, nodes, device)
        graph = espmm.Graph(receivers, senders, nodes)
        y.requires_grad_()
        got, want = compiled(x, y, w, graph), conv(x, y, w, graph)
        assert relative_error(got, want) < 1e-12
        a, b = torch.autograd.grad(got.sum(), y)[0], torch.autograd.grad(want.sum(), y)[0]
        assert relative_error(a, b) < 1e-12
    assert counter.frame_count == 1


def test_a_graph_of_inference_mode_is_trained_with(device):
    """Made while no gradients were wanted, of edges that are anyone's."""
    conv = espmm.TensorProductConv(PROBLEM)
    x, y, w, receivers, senders = operands(12, 5, device)
    with torch.inference_mode():
        graph = espmm.Graph(receivers, senders, 5)
        assert conv(x, y, w, graph).is_inference()
    y.requires_grad_()
    want = torch.autograd.grad(reference_conv(PROBLEM, receivers.cpu(), senders.cpu(), 5)(x.cpu(), y.cpu(), w.cpu()).sum(), y)[0]
    for function in (conv, torch.compile(conv, fullgraph=True, backend="aot_eager")):
        assert relative_error(torch.autograd.grad(function(x, y, w, graph).sum(), y)[0], want) < 1e-12


def test_compile_in_an_autocast_region(device):
    torch._dynamo.reset()
    problem = PROBLEM.replace(irrep_dtype="float32", weight_dtype="float32")
    conv, layer = espmm.TensorProductConv(problem), torch.nn.Linear(8, problem.weight_numel).to(device)
    x, y, _, receivers, senders = operands(12, 5, device)
    features = torch.randn(12, 8, device=device)

    def model(features):
        with torch.autocast(device, dtype=torch.bfloat16):
            return conv(x.float(), y.float(), layer(features), receivers, senders)

    results = []
    for function in (torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager"), model):
        z = function(features)
        assert z.dtype == torch.float32
        results.append([z, torch.autograd.grad(z.pow(2).sum(), layer.weight)[0]])
    assert all(relative_error(got, want) < 1e-6 for got, want in zip(*results, strict=True))


def test_forces_inside_the_compiled_region(device):
    """Training on forces: the gradient is taken inside, the loss is differentiated through it (double backward)."""
    from torch.fx.experimental.proxy_tensor import make_fx

    model = Model()
    x, y, w, receivers, senders = operands(12, 5, device)

    def forces(x, y, w, receivers, senders):
        y = y.detach().requires_grad_()
        return torch.autograd.grad(model(x, y, w, receivers, senders).sum(), y, create_graph=True)[0]

    traced = make_fx(forces)(x, y, w, receivers, senders)
    w = w.requires_grad_()
    got = torch.autograd.grad(traced(x, y, w, receivers, senders).pow(2).sum(), w)[0]
    want = torch.autograd.grad(forces(x, y, w, receivers, senders).pow(2).sum(), w)[0]
    assert relative_error(got, want) < 1e-12


class Potential(torch.nn.Module):
    """A convolution with weights of a network, and a product with weights of its own."""

    def __init__(self, device: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Linear(3, PROBLEM.irreps_in1.dim, dtype=torch.float64)
        self.weights = torch.nn.Linear(3, PROBLEM.weight_numel, dtype=torch.float64)
        self.conv = espmm.TensorProductConv(PROBLEM)
        self.square = espmm.FullyConnectedTensorProduct(
            PROBLEM.irreps_out, "0e+1o", "3x0e", irrep_dtype="float64", weight_dtype="float64"
        )
        self.to(device)

    def forward(self, positions, receivers, senders):
        vectors = positions[receivers] - positions[senders]
        y = torch.cat([torch.ones_like(vectors[:, :1]), vectors], 1)
        z = self.conv(self.embedding(positions), y, torch.tanh(self.weights(vectors)), receivers, senders)
        return self.square(z, torch.cat([torch.ones_like(positions[:, :1]), positions], 1)).pow(2).sum(1)

    def with_forces(self, positions, receivers, senders):
        energies = self(positions, receivers, senders)
        return energies, -torch.autograd.grad(energies.sum(), positions, create_graph=True)[0]


def batches(device: str):
    """Structures of different sizes."""
    for nodes, edges in ((5, 12), (9, 30), (6, 7)):
        generator = torch.Generator().manual_seed(edges)
        positions = torch.randn(nodes, 3, generator=generator, dtype=torch.float64).to(device).requires_grad_()
        yield positions, *(t.to(device) for t in random_edges(nodes, edges))


def train(model, function, batch) -> list[torch.Tensor]:
    """The gradients of a loss on energies and forces."""
    energies, forces = function(*batch)
    return list(torch.autograd.grad(energies.pow(2).sum() + forces.pow(2).sum(), list(model.parameters())))


def check_training(model, function, device: str) -> None:
    for batch in batches(device):
        for got, want in zip(train(model, function, batch), train(model, model.with_forces, batch), strict=True):
            assert relative_error(got, want) < 1e-12


def test_training_with_forces_inside_the_compiled_region(device):
    """torch.autograd.grad is traced by torch.compile itself, and the loss differentiated through it."""
    if not hasattr(torch._dynamo.config, "trace_autograd_ops"):
        pytest.skip("this torch does not trace autograd")
    torch._dynamo.reset()
    model = Potential(device)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model.with_forces, fullgraph=True, dynamic=True, backend=counter)
    with torch._dynamo.config.patch(trace_autograd_ops=True):
        check_training(model, compiled, device)
    assert counter.frame_count == 1


def test_training_with_forces_unfolded_by_make_fx(device):
    """As NequIP does: make_fx of energies and forces as a function of the parameters too, then torch.compile."""
    from torch._decomp import core_aten_decompositions
    from torch.fx.experimental.proxy_tensor import make_fx

    torch._dynamo.reset()
    model = Potential(device)
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}

    def function(values, positions, *edges):
        energies = torch.func.functional_call(model, dict(zip(state, values)), (positions, *edges))
        return energies, -torch.autograd.grad(energies.sum(), positions, create_graph=True)[0]

    example = next(iter(batches(device)))
    with torch.fx.experimental._config.patch(use_duck_shape=False):
        traced = make_fx(
            function, decomposition_table=core_aten_decompositions(), tracing_mode="symbolic", _allow_non_fake_inputs=True
        )(list(state.values()), *example)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(traced, fullgraph=True, dynamic=True, backend=counter)
    check_training(model, lambda *batch: compiled(list(state.values()), *batch), device)
    assert counter.frame_count == 1


@pytest.mark.parametrize("shared", [False, True], ids=["weights by row", "shared weights"])
def test_compile_the_batch(shared, device):
    torch._dynamo.reset()
    problem = PROBLEM.replace(shared_weights=shared)
    tp, expected = espmm.TensorProduct(problem), reference(problem)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(tp, fullgraph=True, dynamic=True, backend=counter)
    for rows in (5, 8, 3):
        inputs = [t.to(device).requires_grad_() for t in random_inputs(problem, rows)]
        leaves = [t.detach().cpu().requires_grad_() for t in inputs]
        got, want = compiled(*inputs), expected(*leaves)
        assert relative_error(got, want) < 1e-12
        for a, b in zip(torch.autograd.grad(got.pow(2).sum(), inputs), torch.autograd.grad(want.pow(2).sum(), leaves)):
            assert relative_error(a, b) < 1e-12
    assert counter.frame_count == 1


@pytest.mark.slow
def test_inductor(device):
    """The default backend, which generates code around the operators."""
    torch._dynamo.reset()
    model = Potential(device)
    # Without its reductions in mixed order, which in some releases leave gradients of parameters unwritten (PyTorch's issue 193061).
    options = {"triton.mix_order_reduction": False} if hasattr(torch._inductor.config.triton, "mix_order_reduction") else {}
    compiled = torch.compile(model, fullgraph=True, dynamic=True, options=options)
    for batch in batches(device):
        got, want = compiled(*batch), model(*batch)
        assert relative_error(got, want) < 1e-12
        a, b = (torch.autograd.grad(energies.sum(), list(model.parameters())) for energies in (got, want))
        errors = {name: relative_error(*pair) for (name, _), *pair in zip(model.named_parameters(), a, b, strict=True)}
        assert max(errors.values()) < 1e-12, errors


def test_a_compiled_module_is_turned_to_another_dtype(device):
    torch._dynamo.reset()
    tp = espmm.TensorProduct(PROBLEM)
    compiled = torch.compile(tp, fullgraph=True, dynamic=True, backend="aot_eager")
    inputs = [t.to(device) for t in random_inputs(PROBLEM, 5)]
    expected = reference(PROBLEM)(*(t.cpu() for t in inputs))
    assert relative_error(compiled(*inputs), expected) < 1e-12
    tp.float()
    z = compiled(*(t.float() for t in inputs))
    assert z.dtype == torch.float32 and relative_error(z, expected) < 1e-6


def test_export(device):
    model = Model()
    example = tuple(operands(12, 5, device))
    edges, nodes = torch.export.Dim("edges", min=2), torch.export.Dim("nodes", min=2)
    shapes = ({0: nodes}, {0: edges}, {0: edges}, {0: edges}, {0: edges})
    program = torch.export.export(model, example, dynamic_shapes=shapes)
    other = operands(31, 8, device)
    assert relative_error(program.module()(*other), model(*other)) < 1e-12


@pytest.mark.parametrize("shared", [True, False])
def test_jit_script_of_a_product_in_a_module(shared, device):
    """It is what a call consists of, for any number of rows, and differentiable."""

    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            irreps = ("8x0e+3x1o", "0e+1o", "5x0e+4x1o")
            self.tp = espmm.FullyConnectedTensorProduct(*irreps, shared_weights=shared, internal_weights=shared).to(device)

    class Once(Twice):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return 2 * self.tp(x, y)

    class Given(Twice):
        def forward(self, x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            return 2 * self.tp(x, y, w)

    module = Once() if shared else Given()
    scripted = torch.jit.script(copy.deepcopy(module))  # torch puts what it takes in the product's place
    assert list(scripted.state_dict()) == list(module.state_dict())
    for rows in (1, 6, 40):
        shapes = [(rows, 17), (rows, 4), *([] if shared else [(rows, module.tp.weight_numel)])]
        given = [torch.randn(shape, device=device, requires_grad=True) for shape in shapes]
        z, expected = scripted(*given), module(*given)
        torch.testing.assert_close(z, expected)
        cotangent = torch.randn_like(z)
        for a, b in zip(torch.autograd.grad(z, given, cotangent), torch.autograd.grad(expected, given, cotangent)):
            torch.testing.assert_close(a, b)


DENSE = ("8x0e+3x1o", "0e+1o", "5x0e+4x1o")
SCRIPTED = {
    "internal weights": lambda: espmm.FullyConnectedTensorProduct(*DENSE),
    "shared weights": lambda: espmm.FullyConnectedTensorProduct(*DENSE, internal_weights=False),
    "weights by row": lambda: espmm.FullyConnectedTensorProduct(*DENSE, shared_weights=False),
    "no weights": lambda: espmm.FullTensorProduct(*DENSE[:2]),
    "a square": lambda: espmm.TensorSquare(DENSE[0]),
    "a square with internal weights": lambda: espmm.TensorSquare(DENSE[0], "3x0e"),
    "from e3nn": lambda: espmm.from_e3nn(o3.FullyConnectedTensorProduct(*DENSE)),
    **{
        f"a convolution, {name}": lambda options=options: espmm.TensorProductConv(every_path_problem(*DENSE).replace(**options))
        for name, options in {"weights by edge": {}, "shared weights": {"shared_weights": True}, "internal weights": {"shared_weights": True, "internal_weights": True}}.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", SCRIPTED)
@pytest.mark.parametrize("script", [torch.jit.script, e3nn.util.jit.script], ids=["torch", "e3nn"])
def test_jit_script_of_a_product_itself(script, kind, device, tmp_path):
    """With the module's state and parameters; differentiable; saved and loaded."""
    module = SCRIPTED[kind]().to(device)
    scripted = script(copy.deepcopy(module))
    for names in (lambda m: list(m.state_dict()), lambda m: [name for name, _ in m.named_parameters()]):
        assert names(scripted) == names(module)
    scripted.save(tmp_path / "product.pt")
    loaded = torch.jit.load(tmp_path / "product.pt")
    for rows in (1, 6, 40):
        given = [torch.randn(len(t) if t.ndim == 1 else rows, *t.shape[1:], device=device) for t in module.example() if t.is_floating_point()]
        given = [t.requires_grad_() for t in given]
        if isinstance(module, espmm.TensorProductConv):
            given += random_edges(rows, rows)
            given = [t.to(device) for t in given]
            if module.internal_weights:
                given[2] = None
        expected = module(*given)
        leaves = [t for t in given if t is not None and t.is_floating_point()]
        for function in (scripted, loaded):
            z = function(*given)
            torch.testing.assert_close(z, expected)
            for a, b in zip(torch.autograd.grad(z.sum(), leaves), torch.autograd.grad(expected.sum(), leaves, retain_graph=True)):
                torch.testing.assert_close(a, b)


def test_jit_trace(device):
    model = Model()
    traced = torch.jit.trace(model, tuple(operands(12, 5, device)), check_trace=False)
    *inputs, receivers, senders = operands(31, 8, device)  # other numbers of edges and nodes
    results = []
    for function in (traced, model):
        leaves = [t.clone().requires_grad_() for t in inputs]
        energy = function(*leaves, receivers, senders)
        results.append([energy, *torch.autograd.grad(energy.sum(), leaves)])
    for got, want in zip(*results):
        assert relative_error(got, want) < 1e-12


def test_jit_trace_is_saved_and_loaded(device, tmp_path):
    conv = espmm.TensorProductConv(PROBLEM)
    torch.jit.trace(conv, tuple(operands(12, 5, device)), check_trace=False).save(tmp_path / "conv.pt")
    loaded = torch.jit.load(tmp_path / "conv.pt")
    *inputs, receivers, senders = operands(31, 8, device)
    expected = reference_conv(PROBLEM, receivers.cpu(), senders.cpu(), 8)
    results = []
    for function in (lambda *t: loaded(*t, receivers, senders), lambda *t: expected(*(s.cpu() for s in t))):
        leaves = [t.clone().requires_grad_() for t in inputs]
        z = function(*leaves)
        first = torch.autograd.grad(z.pow(2).sum(), leaves, create_graph=True)
        results.append([z, *first, *torch.autograd.grad(first[1].pow(2).sum(), leaves)])
    for got, want in zip(*results, strict=True):
        assert relative_error(got, want) < 1e-12


@pytest.mark.parametrize("kind", ["batch", "conv"])
@pytest.mark.parametrize("how", ["make_fx of it", "of make_fx", "of jit.trace", "compile of it"])
def test_transforms_of_what_is_traced(how, kind, device):
    """Tangents are never dropped, whichever comes first: the trace, or torch.func; e3nn's tangents are the reference."""
    from torch.fx.experimental.proxy_tensor import make_fx

    torch._dynamo.reset()
    edges = random_edges(5, 12)
    x, y, w = (t.to(device) for t in random_inputs(PROBLEM, 12, 5 if kind == "conv" else None))
    v = torch.ones_like(y).cumsum(0)
    receivers, senders = (t.to(device) for t in edges)
    conv, tp = espmm.TensorProductConv(PROBLEM), espmm.TensorProduct(PROBLEM)
    theirs = reference_conv(PROBLEM, *edges, 5) if kind == "conv" else reference(PROBLEM)

    def ours(y):
        return conv(x, y, w, receivers, senders) if kind == "conv" else tp(x, y, w)

    def expected(y):
        return theirs(x.cpu(), y.cpu(), w.cpu())

    transforms = {
        "jvp": lambda f: lambda y, v: torch.func.jvp(f, (y,), (v,))[1],
        "vmap": lambda f: lambda y, v: torch.func.vmap(f)(torch.stack([y, v])),
        "grad": lambda f: lambda y, v: torch.func.grad(lambda y: f(y).pow(3).sum())(y),
        "batch of gradients": lambda f: lambda y, v: torch.func.vmap(torch.func.grad(lambda y: f(y).pow(2).sum()))(
            torch.stack([y, v])
        ),
        "hessian": lambda f: lambda y, v: torch.func.hessian(lambda y: f(y).pow(2).sum())(y),
        "reverse over reverse": lambda f: lambda y, v: torch.func.grad(
            lambda y: (v * torch.func.grad(lambda y: f(y).pow(3).sum())(y)).sum()
        )(y),
        "forward over reverse": lambda f: lambda y, v: torch.func.jvp(
            torch.func.grad(lambda y: f(y).pow(3).sum()), (y,), (v,)
        )[1],
        "reverse over forward": lambda f: lambda y, v: torch.func.grad(
            lambda y: torch.func.jvp(f, (y.pow(2),), (v,))[1].pow(2).sum()
        )(y),
        "forward over forward": lambda f: lambda y, v: torch.func.jvp(
            lambda y: torch.func.jvp(lambda y: f(y.pow(2)), (y,), (v,))[1], (y,), (v,)
        )[1],
    }
    if how == "compile of it":  # each takes seconds
        transforms = {name: transforms[name] for name in ("jvp", "batch of gradients", "forward over reverse")}
    for name, transform in transforms.items():
        function = {
            "make_fx of it": lambda: make_fx(transform(ours))(y, v),
            "of make_fx": lambda: transform(make_fx(ours)(y)),
            "of jit.trace": lambda: transform(torch.jit.trace(ours, (y,), check_trace=False)),
            "compile of it": lambda: torch.compile(transform(ours), fullgraph=True, backend="aot_eager"),
        }[how]()
        error = relative_error(function(y, v), transform(expected)(y.cpu(), v.cpu()))
        assert error < 1e-12, name


def test_batched_gradients_and_dual_numbers_of_the_operator(device):
    """What torch.func does not see: autograd's own vmap and forward mode."""
    x, y, w, receivers, senders = operands(12, 5, device)
    traced = torch.jit.trace(espmm.TensorProductConv(PROBLEM), (x, y, w, receivers, senders), check_trace=False)
    expected = reference_conv(PROBLEM, receivers.cpu(), senders.cpu(), 5)
    y = y.requires_grad_()
    z = traced(x, y, w, receivers, senders)
    cotangents = torch.randn(3, *z.shape, dtype=z.dtype, device=device)
    (got,) = torch.autograd.grad(z, y, cotangents, is_grads_batched=True)
    leaf = y.detach().cpu().requires_grad_()
    (want,) = torch.autograd.grad(expected(x.cpu(), leaf, w.cpu()), leaf, cotangents.cpu(), is_grads_batched=True)
    assert relative_error(got, want) < 1e-12
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(y.detach(), torch.ones_like(y))
        tangent = torch.autograd.forward_ad.unpack_dual(traced(x, dual, w, receivers, senders)).tangent
    assert relative_error(tangent, expected(x.cpu(), torch.ones_like(leaf), w.cpu())) < 1e-12


def test_fake_tensors_need_no_memory(library):
    from torch._subclasses.fake_tensor import FakeTensorMode

    conv = espmm.TensorProductConv(PROBLEM)
    with FakeTensorMode():
        x, y, w = (
            torch.empty(10**9, 16, dtype=torch.float64),
            torch.empty(7, 4, dtype=torch.float64),
            torch.empty(7, 16, dtype=torch.float64),
        )
        index = torch.empty(7, dtype=torch.int64)
        assert conv(x, y, w, index, index).shape == (10**9, PROBLEM.irreps_out.dim)


def test_operators_are_what_torch_expects_of_them(device):
    receivers, senders = (t.to(device) for t in random_edges(5, 12))
    nodes = torch.empty(5, 0, device=device)
    torch.library.opcheck(
        torch.ops.espmm.plan.default, (receivers, senders, nodes, nodes), test_utils=("test_schema", "test_faketensor")
    )
    program = espmm.forward_program(PROBLEM, conv=True)
    inputs = [t.to(device).requires_grad_() for t in random_inputs(PROBLEM, 12, 5)]
    plan = [
        *torch.ops.espmm.plan(receivers, senders, nodes, nodes),
        *torch.ops.espmm.plan(senders, receivers, nodes, nodes),
    ]
    torch.library.opcheck(torch.ops.espmm.run.default, (program.serialize(), *plan, *inputs))
    (z,) = torch.ops.espmm.run(program.serialize(), *plan, *inputs)
    expected = reference_conv(PROBLEM, receivers.cpu(), senders.cpu(), 5)
    assert relative_error(z, expected(*(t.detach().cpu() for t in inputs))) < 1e-12


def test_the_level_of_a_batch_is_found_in_any_thread():
    """A device's backward pass has a thread of its own, which knows nothing of the vmap that it is in."""
    from concurrent.futures import ThreadPoolExecutor

    from espmm import transforms
    from torch._vmap_internals import _vmap

    def level(tensor):
        with ThreadPoolExecutor(1) as pool:
            found.append(pool.submit(transforms._legacy_level, tensor).result())
        return tensor

    found = []
    for shape in ((3, 5), (1, 5), (2, 5)):
        _vmap(level)(torch.randn(shape))
        _vmap(_vmap(level))(torch.randn(4, *shape))
    assert found == [1, 2] * 3
