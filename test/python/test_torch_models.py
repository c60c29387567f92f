"""Models run by processes that know nothing of espmm but its library: TorchScript and AOTInductor, in Python and in C++."""

from __future__ import annotations

import subprocess
from pathlib import Path

import espmm
import pytest
import torch
from helpers import reference_conv, relative_error
from torch_operators import BUILD, CONV, PROBLEM, alone, operands

pytestmark = [
    pytest.mark.usefixtures("operators"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore::FutureWarning"),
]


class Model(torch.nn.Module):
    """An energy of each node, by two convolutions of one graph."""

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
    done = call_in_cpp(model, inputs, outputs, gradients)
    assert done.returncode == 0, done.stderr


def call_in_cpp(model: Path, inputs: Path, outputs: Path, gradients: bool = False) -> subprocess.CompletedProcess:
    program = BUILD / "bin" / "TorchProgram"
    if not program.exists():
        pytest.skip(f"{program} is not built")
    library = Path(espmm.torch_library())
    if gradients:
        library = library.with_name("libespmm_torch_autograd.so")
    command = [str(program), str(library), str(model), str(inputs), str(outputs), *["gradients"] * gradients]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


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


def test_errors_in_cpp_name_the_module(tmp_path):
    """Where there is no Python that could look for it: by the path that was recorded."""
    (x, y, w), edges = operands()
    model = Model()
    torch.jit.trace(model, (x, y, w, *edges), check_trace=False).save(tmp_path / "model.pt")
    torch.save([x, y, w[:-1], *edges], tmp_path / "inputs")
    for gradients in (False, True):
        done = call_in_cpp(tmp_path / "model.pt", tmp_path / "inputs", tmp_path / "outputs", gradients)
        assert done.returncode == 1 and "conv: expected w of shape (17, 16), got (16, 16)" in done.stderr


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
