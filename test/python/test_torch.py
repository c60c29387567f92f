"""What else torch does with modules: torch.func, checkpointing, autocast, dtypes, copies, checkpoints of e3nn, processes."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from pathlib import Path

import espmm
import pytest
import torch
from e3nn import o3
from espmm import TPProblem, every_path_problem
from helpers import default_dtype, random_edges, random_inputs, reference, reference_conv, relative_error
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

pytestmark = pytest.mark.usefixtures("library")

PROBLEM = every_path_problem("4x0e+3x1o", "0e+1o", "0e+1o", irrep_dtype="float64", weight_dtype="float64")
SHARED = PROBLEM.replace(shared_weights=True)
NODES, EDGES = 5, 9


class Case:
    """A module called with x, y and w, the same by e3nn, and numbers."""

    def __init__(self, kind: str, device: str) -> None:
        problem = SHARED if "shared" in kind else PROBLEM
        if kind.startswith("conv"):
            conv, edges = espmm.TensorProductConv(problem), random_edges(NODES, EDGES)
            receivers, senders = (t.to(device) for t in edges)
            self.ours = lambda x, y, w: conv(x, y, w, receivers, senders)
            theirs = reference_conv(problem, *edges, NODES)
        else:
            self.ours, theirs = espmm.TensorProduct(problem), reference(problem)
        self.theirs = lambda *inputs: theirs(*(t.cpu() for t in inputs)).to(device)
        self.inputs = [t.to(device) for t in random_inputs(problem, EDGES, NODES if kind.startswith("conv") else None)]

    def like_inputs(self, lead: tuple[int, ...] = ()) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(3)
        return [torch.randn(*lead, *t.shape, generator=generator, dtype=t.dtype).to(t.device) for t in self.inputs]


@pytest.fixture(params=["batch", "batch shared", "conv", "conv shared"])
def case(request: pytest.FixtureRequest, device: str) -> Case:
    return Case(request.param, device)


def assert_close(got, expected) -> None:
    got, expected = ([t] if isinstance(t, torch.Tensor) else list(t) for t in (got, expected))
    assert len(got) == len(expected)
    for a, b in zip(got, expected):
        assert relative_error(a, b) < 1e-12


def test_vjp_and_grad(case):
    z, pull = torch.func.vjp(case.ours, *case.inputs)
    expected, their_pull = torch.func.vjp(case.theirs, *case.inputs)
    assert_close([z, *pull(z)], [expected, *their_pull(z)])
    every = (0, 1, 2)
    ours, theirs = (torch.func.grad(lambda *t, f=f: f(*t).pow(3).sum(), every) for f in (case.ours, case.theirs))
    assert_close(ours(*case.inputs), theirs(*case.inputs))


def test_forward_mode(case):
    moved = case.like_inputs()
    ours, theirs = (torch.func.jvp(f, tuple(case.inputs), tuple(moved)) for f in (case.ours, case.theirs))
    assert_close(ours, theirs)
    with forward_ad.dual_level():  # of one input alone
        x, y, w = case.inputs
        tangent = forward_ad.unpack_dual(case.ours(x, forward_ad.make_dual(y, moved[1]), w)).tangent
    assert_close(tangent, case.theirs(x, moved[1], w))


def test_jacobians_and_hessians(case):
    for transform in (torch.func.jacrev, torch.func.jacfwd):
        assert_close(transform(case.ours, (0, 1, 2))(*case.inputs), torch.func.jacrev(case.theirs, (0, 1, 2))(*case.inputs))
    for inner, outer in ((torch.func.jacrev, torch.func.jacfwd), (torch.func.jacrev, torch.func.jacrev)):
        ours, theirs = (outer(inner(lambda *t, f=f: f(*t).pow(2).sum(), 1), 1) for f in (case.ours, case.theirs))
        assert_close(ours(*case.inputs), theirs(*case.inputs))


@pytest.mark.parametrize("batched", [(True, True, True), (False, True, False), (False, False, True)], ids=str)
def test_vmap(case, batched):
    many = [b if take else t for take, t, b in zip(batched, case.inputs, case.like_inputs((3,)))]
    axes = tuple(0 if take else None for take in batched)

    def energy(function):
        return lambda *inputs: function(*inputs).pow(2).sum()

    one = [[t[i] if take else t for take, t in zip(batched, many)] for i in range(3)]
    assert_close(torch.func.vmap(case.ours, axes)(*many), torch.stack([case.theirs(*inputs) for inputs in one]))
    got = torch.func.vmap(torch.func.grad(energy(case.ours), (0, 1, 2)), axes)(*many)
    each = [torch.func.grad(energy(case.theirs), (0, 1, 2))(*inputs) for inputs in one]
    assert_close(got, [torch.stack(gradients) for gradients in zip(*each)])


def test_a_batch_of_graphs_says_what_to_do_instead():
    conv = espmm.TensorProductConv(PROBLEM)
    x, y, w = random_inputs(PROBLEM, EDGES, NODES)
    receivers, senders = random_edges(NODES, EDGES)
    with pytest.raises(ValueError, match="expected one list of receivers for all calls of a vmap.* join the graphs"):
        torch.func.vmap(lambda r: conv(x, y, w, r, senders))(torch.stack([receivers, receivers]))


def test_third_derivatives_by_mixed_modes(case):
    """Forward over reverse over reverse: a tangent of a Hessian-vector product."""
    x, y, w = case.inputs
    _, by_y, by_w = case.like_inputs()

    def third(function):
        def energy(y):
            return function(x, y, w).pow(3).sum()

        def product(y):
            return torch.func.grad(lambda y: (torch.func.grad(energy)(y) * by_y).sum())(y)

        return torch.func.jvp(product, (y,), (2 * by_y,))[1]

    assert_close(third(case.ours), third(case.theirs))


@pytest.mark.parametrize("reentrant", [False, True], ids=["not reentrant", "reentrant"])
def test_checkpointing(case, reentrant):
    results = []
    for function in (lambda *t: checkpoint(case.ours, *t, use_reentrant=reentrant), case.theirs):
        leaves = [t.clone().requires_grad_() for t in case.inputs]
        z = function(*(2 * t for t in leaves))
        z.pow(2).sum().backward()
        results.append([z, *(t.grad for t in leaves)])
    assert_close(*results)


def test_checkpointing_a_model_trained_on_forces(case):
    """Double backward through what was recomputed; torch has that without reentrance only."""
    results = []
    for function in (lambda *t: checkpoint(case.ours, *t, use_reentrant=False), case.theirs):
        x, y, w = (t.clone().requires_grad_() for t in case.inputs)
        (forces,) = torch.autograd.grad(function(x, y, w).pow(2).sum(), y, create_graph=True)
        results.append(torch.autograd.grad(forces.pow(2).sum(), (x, y, w)))
    assert_close(*results)


@pytest.mark.parametrize("kind", ["batch", "conv"])
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_autocast(kind, half, device):
    """Weights of a network that autocast runs in half precision: the product is in the module's dtype, and its gradients."""
    problem = PROBLEM.replace(irrep_dtype="float32", weight_dtype="float32")
    layer = torch.nn.Linear(8, problem.weight_numel).to(device)
    x, y, _ = (t.float().to(device).requires_grad_() for t in random_inputs(problem, EDGES, NODES if kind == "conv" else None))
    features = torch.randn(EDGES, 8, device=device)
    receivers, senders = (t.to(device) for t in random_edges(NODES, EDGES))
    module = espmm.TensorProduct(problem) if kind == "batch" else espmm.TensorProductConv(problem)
    rest = () if kind == "batch" else (receivers, senders)
    with torch.autocast(device, dtype=half):
        w = layer(features)
        assert w.dtype == half
        z = module(x, y, w, *rest)
        assert z.dtype == torch.float32
        torch.autograd.grad(z.sum(), (x, y, layer.weight), create_graph=True)[2].sum().backward()
    theirs = reference(problem) if kind == "batch" else reference_conv(problem, receivers.cpu(), senders.cpu(), NODES)
    assert relative_error(z, theirs(*(t.detach().double().cpu() for t in (x, y, w)))) < 1e-6
    with pytest.raises(TypeError, match=f"expected w to be torch.float32, .* got {half}"):
        module(x, y, w.detach(), *rest)


def test_the_default_dtype_is_a_new_products():
    before = TPProblem("3x1o", "2x1o", "4x0e", [(0, 0, 0, "uvw", True)])
    with default_dtype(torch.float64):
        problem = TPProblem("3x1o", "2x1o", "4x0e", [(0, 0, 0, "uvw", True)])
        theirs = o3.TensorProduct("3x1o", "2x1o", "4x0e", [(0, 0, 0, "uvw", True)])
        ours = espmm.TensorProduct(problem)
        dense = espmm.FullyConnectedTensorProduct("3x1o", "2x1o", "4x0e")
        single = espmm.TensorProduct(before)
        x, y = torch.randn(5, 9), torch.randn(5, 6)
        single(x.float(), y.float())
    assert (before.irrep_dtype, before.weight_dtype) == ("float32", "float32")
    assert (problem.irrep_dtype, problem.weight_dtype) == ("float64", "float64")
    assert {name: t.dtype for name, t in ours.state_dict().items()} == dict.fromkeys(["weight", "output_mask"], torch.float64)
    assert dense.weight.dtype == torch.float64 and single.weight.dtype == torch.float32
    assert TPProblem(*before._value()[:4], irrep_dtype="float64").weight_dtype == "float64"
    assert_close(ours(x, y, theirs.weight), theirs(x, y))


def test_the_default_device_is_not_the_plans():
    """Edges on the host have their plan there, wherever new tensors go."""
    receivers, senders = random_edges(NODES, EDGES)
    with torch.device("meta"):
        graph = espmm.Graph(receivers, senders, NODES)
    assert {t.device.type for t in graph.side("receivers")[:4] if t is not None} == {"cpu"}


INTERNAL = TPProblem("3x1o", "2x1o", "4x0e", [(0, 0, 0, "uvw", True)], irrep_dtype="float32", weight_dtype="float32")


def test_to_another_dtype(device):
    """As e3nn's module it computes in the dtype that it is turned to; coefficients are exact in each."""
    module = espmm.TensorProduct(INTERNAL).to(device)
    weight = module.weight.detach().clone()
    x, y = torch.randn(5, 9, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    expected = reference(INTERNAL)(x, y, weight.double().cpu())
    model = torch.nn.Sequential(module)
    for turn, dtype, bound in [
        (lambda: model.to(torch.float64), torch.float64, 1e-14),
        (model.float, torch.float32, 1e-6),
        (model.double, torch.float64, 1e-14),
    ]:
        turn()
        z = module(x.to(device, dtype), y.to(device, dtype))
        assert z.dtype == dtype and relative_error(z, expected) < bound
        assert module.problem.irrep_dtype == module.problem.weight_dtype == str(dtype).removeprefix("torch.")
    assert torch.equal(module.weight.float(), weight)
    with pytest.raises(TypeError, match="expected x to be torch.float64"):
        module(x.to(device).float(), y.to(device).float())
    again = pickle.loads(pickle.dumps(model.cpu()))[0]
    assert relative_error(again(x, y), expected) < 1e-14


def test_to_a_dtype_that_there_is_not():
    module = espmm.TensorProduct(INTERNAL)
    with pytest.raises(TypeError, match="cannot turn TensorProduct.* into torch.float8_e5m2: expected irrep_dtype"):
        module.to(torch.float8_e5m2)
    assert module.weight.dtype == module.output_mask.dtype == torch.float32  # nothing was turned halfway
    assert module(torch.randn(5, 9), torch.randn(5, 6)).dtype == torch.float32


def test_mixed_devices_are_named(device):
    if device == "cpu":
        pytest.skip("needs a second device")
    module = espmm.TensorProduct(INTERNAL)
    with pytest.raises(ValueError, match="on one device"):
        module(torch.randn(5, 9, device=device), torch.randn(5, 6, device=device))


def test_meta_device(device):
    """Made without memory, then given it and a checkpoint, as large models are."""
    full = espmm.TensorProduct(INTERNAL)
    with torch.device("meta"):
        module = espmm.TensorProduct(INTERNAL)
    assert module.weight.is_meta and module.output_mask.is_meta
    z = module(torch.empty(5, 9, device="meta"), torch.empty(5, 6, device="meta"))
    assert z.is_meta and z.shape == (5, 4)
    module = module.to_empty(device=device)
    module.load_state_dict(full.state_dict())
    x, y = torch.randn(5, 9), torch.randn(5, 6)
    assert relative_error(module(x.to(device), y.to(device)), full(x, y)) < 1e-6
    conv = espmm.TensorProductConv(PROBLEM)
    x, y, w = (t.to("meta").requires_grad_() for t in random_inputs(PROBLEM, EDGES, NODES))
    z = conv(x, y, w, *(t.to("meta") for t in random_edges(NODES, EDGES)))
    assert z.is_meta and torch.autograd.grad(z.sum(), w)[0].shape == w.shape


@pytest.mark.parametrize("assign", [False, True])
def test_checkpoints_of_e3nn_in_both_directions(assign):
    with default_dtype(torch.float64):
        theirs = o3.TensorProduct("3x1o", "2x1o", "4x0e+2x0o", [(0, 0, 0, "uvw", True)])
        other = o3.TensorProduct("3x1o", "2x1o", "4x0e+2x0o", [(0, 0, 0, "uvw", True)])
    ours = espmm.TensorProduct(TPProblem.from_e3nn(theirs, irrep_dtype="float32", weight_dtype="float32"))
    ours.load_state_dict(theirs.state_dict(), assign=assign)  # strict; assigned, it has the checkpoint's dtype too
    dtype = torch.float64 if assign else torch.float32
    assert ours.weight.dtype == dtype and ours.problem.weight_dtype == str(dtype).removeprefix("torch.")
    x, y = torch.randn(5, 9, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    assert relative_error(ours(x.to(dtype), y.to(dtype)), theirs(x, y)) < (1e-13 if assign else 1e-6)

    missing, unexpected = other.load_state_dict(ours.double().state_dict(), strict=False)
    assert unexpected == [] and all(name.startswith("_compiled_main_") for name in missing)  # constants of its code
    assert relative_error(other(x, y), theirs(x, y)) < (1e-13 if assign else 1e-6)


def test_copies_of_parameters(device):
    module = espmm.TensorProduct(INTERNAL).to(device)
    saved = io.BytesIO()
    torch.save(module, saved)
    saved.seek(0)
    state = io.BytesIO()
    torch.save(module.state_dict(), state)
    state.seek(0)
    loaded = espmm.TensorProduct(INTERNAL).to(device)
    loaded.load_state_dict(torch.load(state, weights_only=True))
    x, y = torch.randn(5, 9, device=device), torch.randn(5, 6, device=device)
    expected = module(x, y)
    for again in (copy.deepcopy(module), torch.load(saved, weights_only=False), loaded):
        assert again.weight.data_ptr() != module.weight.data_ptr() and torch.equal(again(x, y), expected)
        assert [name for name, _ in again.named_parameters()] == ["weight"]
    with torch.no_grad():
        module.weight.mul_(2)
    assert torch.equal(loaded(x, y), expected) and relative_error(module(x, y), 2 * expected) < 1e-6


def _energy(module, inputs, edges):
    """What a child process computes: the energy and the gradient of y."""
    y = inputs[1].clone().requires_grad_()
    energy = module(inputs[0], y, inputs[2], *edges).pow(2).sum()
    return float(energy.detach()), torch.autograd.grad(energy, y)[0].numpy().tobytes()


def _child(number, module, inputs, edges, queue):
    torch.set_num_threads(1 + number)
    queue.put(_energy(module, inputs, edges))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes(method):
    """A module that has run, with threads, goes to other processes and gives the same bits there.

    In an interpreter of its own: torch refuses autograd in children of a process where it has threads for a device, as other tests may have started.
    """
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_torch; test_torch.give_to_processes({method!r})"
    subprocess.run([sys.executable, "-c", program], check=True)


def give_to_processes(method: str) -> None:
    import torch.multiprocessing as mp

    module, edges = espmm.TensorProductConv(PROBLEM), random_edges(NODES, EDGES)
    inputs = random_inputs(PROBLEM, EDGES, NODES)
    espmm.set_num_threads(2)
    try:
        expected = _energy(module, inputs, edges)
    finally:
        espmm.set_num_threads(torch.get_num_threads())
    context = mp.get_context(method)
    queue = context.SimpleQueue()
    arguments = [(number, module, inputs, edges, queue) for number in range(2)]
    children = [context.Process(target=_child, args=a, daemon=True) for a in arguments]
    for child in children:
        child.start()
    answers = []
    for child in children:
        child.join(90)
        assert child.exitcode == 0
        answers.append(queue.get())
    assert answers == [expected, expected]


def test_workers_of_a_data_loader():
    """Forked workers that compute products themselves, after this process has."""
    module = espmm.TensorProduct(PROBLEM)
    x, y, w = random_inputs(PROBLEM, EDGES)
    expected = module(x, y, w)
    loader = torch.utils.data.DataLoader(range(4), num_workers=2, collate_fn=lambda rows: module(x[rows], y[rows], w[rows]))
    got = torch.cat([z.clone() for z in loader])
    assert relative_error(got, expected[:4]) < 1e-14
