"""What espmm.accelerate rests on, without the clients (test/clients has them): a fused convolution with an e3nn product's state."""

from __future__ import annotations

import copy
import io
from types import SimpleNamespace

import espmm
import pytest
import torch
from e3nn import o3
from espmm.__main__ import main
from espmm.acceleration.fused import FusedConvolution, InPlaceLinear, is_linear, is_product, not_a_product
from helpers import check_against, default_dtype

ARGUMENTS = ("4x0e+3x1o", "0e+1o", "4x0e+4x1o+3x1e", [(0, 0, 0, "uvu", True), (0, 1, 1, "uvu", True), (1, 1, 2, "uvu", True)])


def product(**options) -> o3.TensorProduct:
    with default_dtype(torch.float64):
        return o3.TensorProduct(*ARGUMENTS, **{"shared_weights": False, "internal_weights": False, **options})


def inputs(weights: int, edges: int = 12, nodes: int = 5):
    generator = torch.Generator().manual_seed(0)
    receivers, senders = torch.randint(nodes, (2, edges), generator=generator)
    x, y, w = (torch.randn(shape, dtype=torch.float64, generator=generator) for shape in ((nodes, 13), (edges, 4), (edges, weights)))
    return x, y, w, receivers, senders


def unfused(tp, x, y, w, receivers, senders):
    messages = tp(x[senders], y, w)
    return messages.new_zeros(x.shape[0], messages.shape[1]).index_add(0, receivers, messages)


def test_a_fused_convolution_has_the_products_state(poisoned, library):
    tp = product()
    conv = FusedConvolution(tp)
    arguments = inputs(tp.weight_numel)
    torch.testing.assert_close(conv(*arguments), unfused(tp, *arguments), rtol=1e-12, atol=1e-12)
    assert list(conv.state_dict()) == list(tp.state_dict()) and len(conv.state_dict()) > 2
    assert conv.output_mask is tp.output_mask
    conv.load_state_dict(tp.state_dict(), strict=True)
    tp.load_state_dict(conv.state_dict(), strict=True)
    file = io.BytesIO()
    torch.save(conv, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    torch.testing.assert_close(again(*arguments), conv(*arguments), rtol=0, atol=0)


def test_its_own_weights_are_the_products_parameter(library):
    tp = product(shared_weights=True, internal_weights=True)
    conv = FusedConvolution(tp)
    assert conv.weight is tp.weight
    x, y, _, receivers, senders = inputs(1)
    conv(x, y, None, receivers, senders).square().sum().backward()
    ours, tp.weight.grad = tp.weight.grad, None
    unfused(tp, x, y, None, receivers, senders).square().sum().backward()
    torch.testing.assert_close(ours, tp.weight.grad, rtol=1e-11, atol=1e-11)


def test_modules_follow_dtypes(library):
    conv = FusedConvolution(product())
    x, y, w, receivers, senders = inputs(conv.weight_numel)
    expected = conv(x, y, w, receivers, senders)
    single = conv.float()
    assert single is conv and conv.problem.irrep_dtype == conv.problem.weight_dtype == "float32"
    found = conv(x.float(), y.float(), w.float(), receivers, senders)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(conv.double()(x, y, w, receivers, senders), expected, rtol=0, atol=0)
    before = conv._program
    assert conv.to("cpu")._program is before  # nothing but a dtype makes another program


class Scripted(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = FusedConvolution(product())

    def forward(self, x: torch.Tensor, y: torch.Tensor, w: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        return self.conv(x, y, w, edges[0], edges[1])


def test_inside_torch_jit_script(library):
    model = Scripted()
    expected, scripted = model.conv, torch.jit.script(model)
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    loaded = torch.jit.load(file)
    for nodes, edges in ((5, 12), (9, 31), (2, 1)):
        x, y, w, receivers, senders = inputs(expected.weight_numel, edges, nodes)
        arguments = [t.requires_grad_() for t in (x, y, w)]
        results = []
        for z in (expected(*arguments, receivers, senders), loaded(*arguments, torch.stack([receivers, senders]))):
            results.append((z, *torch.autograd.grad(z.square().sum(), arguments)))
        for a, b in zip(*results):
            torch.testing.assert_close(b, a, rtol=1e-12, atol=1e-12)


LINEAR = [("4x0e+16x1o+3x2e", "8x0e+8x1o+5x2e"), ("10x0e+3x1o+7x0e", "0e+4x1o+2x2e+5x0o"), ("3x0e", "3x0e")]


def linear_in_place(linear: o3.Linear, monkeypatch: pytest.MonkeyPatch) -> InPlaceLinear:
    """The kernel for scalars on the CPU too, where e3nn's code is called otherwise."""
    monkeypatch.setattr(InPlaceLinear, "_takes_kernel", lambda self, features: True)
    return InPlaceLinear(linear)


@pytest.mark.parametrize("irreps", LINEAR, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_linear_layers(irreps, dtype, device, monkeypatch, poisoned):
    with default_dtype(torch.float64):
        linear = o3.Linear(*irreps)
    ours = linear_in_place(o3.Linear(*irreps).to(device, dtype), monkeypatch)
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((9, linear.irreps_in.dim), (linear.weight_numel,))]
    check_against(ours, linear, inputs, dtype, device, order=3 if dtype == torch.float64 else 2)
    assert ours(inputs[0].to(device, dtype).reshape(3, 3, -1)).shape == (3, 3, linear.irreps_out.dim)


def test_a_linear_layers_state(library, monkeypatch):
    linear = o3.Linear(*LINEAR[0])
    ours = linear_in_place(linear, monkeypatch)
    assert ours.weight is linear.weight and list(ours.state_dict()) == list(linear.state_dict())
    x = torch.randn(5, linear.irreps_in.dim)
    for a, b in zip(ours.weight_views(), linear.weight_views()):
        assert torch.equal(a, b)
    file = io.BytesIO()
    torch.save(copy.deepcopy(ours), file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    assert torch.equal(again(x), ours(x))
    torch.testing.assert_close(ours(x), linear(x))
    with torch.no_grad():
        again.weight.zero_()
    assert not again(x).any() and ours(x).any()
    assert again.double()(x.double()).dtype == torch.float64
    torch.testing.assert_close(torch.jit.script(ours)(x), linear(x))


def test_where_e3nns_code_is_called(library, monkeypatch):
    """For scalars on the CPU, where the matrices are large, and where a trace is recorded."""
    called = []
    forward = o3.Linear.forward
    monkeypatch.setattr(o3.Linear, "forward", lambda self, *args: called.append(1) or forward(self, *args))
    scalars, vectors = InPlaceLinear(o3.Linear("4x0e", "4x0e")), InPlaceLinear(o3.Linear("4x0e+4x1o", "4x0e+4x1o"))
    scalars(torch.randn(3, 4))
    assert called == [1]
    x = torch.randn(3, 16)
    z = vectors(x)
    assert called == [1]
    on_gpu = SimpleNamespace(device=torch.device("cuda"), shape=(3, 4), numel=lambda: 12)
    assert scalars._takes_kernel(on_gpu)
    monkeypatch.setattr(InPlaceLinear, "MOST_PRODUCTS", {"cuda": 3 * 16, "cpu": 3 * 32 - 1})
    torch.testing.assert_close(vectors(x), z)
    assert called == [1, 1] and scalars._takes_kernel(on_gpu)
    monkeypatch.setattr(InPlaceLinear, "MOST_PRODUCTS", {"cuda": 3 * 16 - 1, "cpu": 3 * 32})
    assert vectors._takes_kernel(x) and not scalars._takes_kernel(on_gpu)
    traced = torch.jit.trace(vectors, x)
    assert len(called) > 2 and "espmm::" not in str(traced.inlined_graph)
    assert not vectors._takes_kernel(x.to("meta"))


def test_which_products_are_plain():
    class Own(o3.TensorProduct):
        def forward(self, x, y, weight=None):
            return super().forward(y, x, weight)

    assert is_product(product()) and is_product(o3.FullTensorProduct("1o", "1o"))
    hooked, linear = product(), o3.Linear("2x1o", "2x1o")
    for module in (hooked, linear):
        module.register_forward_hook(lambda *arguments: None)
    assert not is_product(hooked) and not is_linear(linear) and is_linear(o3.Linear("2x1o", "2x1o"))
    assert not_a_product(hooked).startswith("of its product, this ") and not_a_product(hooked).endswith(" has hooks")
    assert is_linear(o3.Linear("2x0e", "2x0e")) and not is_linear(o3.Linear("2x0e", "2x0e", biases=True)) and not is_linear(torch.nn.Linear(1, 1))
    assert not is_linear(o3.Linear("2x0e", "2x0e", f_in=2, f_out=3)) and not is_linear(o3.Linear("2x0e", "2x0e", shared_weights=False))
    assert not is_product(torch.nn.Linear(1, 1)) and not is_product(Own("0e", "0e", "0e", [(0, 0, 0, "uuu", False)]))


def test_what_is_no_model_is_refused():
    with pytest.raises(ValueError, match="expected a model of mace, nequip, sevenn with e3nn's convolutions, found none in Linear"):
        espmm.accelerate(torch.nn.Linear(1, 1))
    with pytest.raises(TypeError, match="expected a torch.nn.Module or an ASE calculator that has one, got str"):
        espmm.accelerate("7net-0")
    with pytest.raises(TypeError, match="got TorchScript: accelerate the model before it is scripted"):
        espmm.accelerate(torch.jit.script(torch.nn.Linear(1, 1)))


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    (tmp_path / "text").write_text("no model")
    torch.save({"weights": torch.ones(1)}, tmp_path / "state.pt")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "linear.pt")
    for name, message in {
        "nothing.pt": "expected a file, there is no",
        "text": "to be a model saved by torch.save",
        "state.pt": "expected a model in",
        "linear.pt": "expected a model of mace, nequip, sevenn, got Linear",
    }.items():
        assert main(["accelerate", str(tmp_path / name), "-o", str(tmp_path / "fast.pt")]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "fast.pt").exists()
