"""MACE: every interaction block, its switch for OpenEquivariance, files of models, e3nn 0.4.4."""

from __future__ import annotations

import copy
import subprocess
import sys

import clients
import espmm
import pytest
import torch
from test_models import assert_equal_results, evaluate, gradients

pytest.importorskip("mace")
MACE = clients.MACE


@pytest.mark.parametrize("kind", MACE.classes)
def test_every_interaction_block(kind, device):
    """In the second layer, and in the first where the class is meant for it."""
    first = kind if "Residual" not in kind else MACE.classes[0]
    theirs, ours = (MACE.build("float64", first, kind).to(device) for _ in range(2))
    _, report = espmm.accelerate(ours)
    assert list(report.replaced) == ["interactions.0", "interactions.1"] and type(ours.interactions[1]).__name__ == kind
    atoms = clients.water()
    assert_equal_results(evaluate(MACE, ours, atoms), evaluate(MACE, theirs, atoms), 1e-10)
    expected, found = (gradients(MACE, model, atoms) for model in (theirs, ours))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name] - value).norm() <= 1e-9 * value.norm(), name


def test_from_e3nn_with_e3nn_044(launches, device):
    """All products, the others too: those of the skip connections."""
    import e3nn
    from e3nn import o3

    assert e3nn.__version__ == "0.4.4"
    theirs = MACE.build("float64").to(device)
    with torch.no_grad():
        ours = espmm.from_e3nn(theirs)
    assert not any(isinstance(module, o3.TensorProduct) for module in ours.modules())
    atoms = clients.magnesia()
    expected = evaluate(MACE, theirs, atoms)
    assert not launches
    assert_equal_results(evaluate(MACE, ours, atoms), expected, 1e-10)
    assert launches
    ours.load_state_dict(theirs.state_dict())


def test_torchscript_of_e3nn_044_is_named():
    """Its reduced products hold scripted ones."""
    from e3nn import o3
    from e3nn.util import jit

    product = ("2x0e+1o", "0e+1o", "0e+1o")
    model = torch.nn.ModuleDict({
        "reduced": o3.ReducedTensorProducts("ij=-ji", i="1o+0e"),
        "scripted": jit.script(o3.FullyConnectedTensorProduct(*product)),
        "plain": o3.FullyConnectedTensorProduct(*product),
    })  # fmt: skip
    scripted = [name for name, module in model.named_modules() if getattr(module, "original_name", "").endswith("TensorProduct")]
    assert scripted[-1] == "scripted" and len(scripted) > 1 and all(name.startswith("reduced.main.tp") for name in scripted[:-1])
    with pytest.warns(UserWarning, match=f"{len(scripted)} tensor products are e3nn's still") as caught:
        ours = espmm.from_e3nn(model)
    (message,) = (str(warning.message) for warning in caught if "e3nn's still" in str(warning.message))
    assert all(f"{name}: its " in message for name in scripted) and message.count("is TorchScript") == len(scripted)
    assert type(ours.plain) is espmm.TensorProduct
    x = torch.randn(3, 4)
    torch.testing.assert_close(ours.reduced(x, x.flip(0)), model.reduced(x, x.flip(0)), rtol=0, atol=0)


def test_e3nn_044_has_no_providers():
    with pytest.raises(espmm.UnsupportedError, match="expected e3nn 0.6 or later, whose products ask providers .* got 0.4.4"):
        espmm.e3nn.install()


def test_to_double_after(launches):
    """A model in float32 accelerated and turned to float64 follows; its coefficients are then exact, e3nn's are not."""
    theirs, ours = (MACE.build("float32") for _ in range(2))
    espmm.accelerate(ours)
    atoms = clients.diamond()
    found, expected = evaluate(MACE, ours.double(), atoms), evaluate(MACE, theirs.double(), atoms)
    assert launches and ours.interactions[0].conv_tp.problem.irrep_dtype == "float64"
    assert_equal_results(found, expected, 1e-6)


ENABLE_OEQ = """
import sys, torch, numpy
from espmm.compat import openequivariance
openequivariance.install()
sys.path.insert(0, "test/clients")
import clients
from clients import MACE
from mace.calculators import MACECalculator
model = MACE.build("float64")
atoms = clients.magnesia()
device = sys.argv[2]
expected = clients.evaluate(MACE.calculator(model.to(device)), atoms)
calculator = MACECalculator(models=[model], device=device, default_dtype="float64", enable_oeq=True)
block = calculator.models[0].interactions[1]
assert type(block.conv_tp).__module__ == "espmm.compat.openequivariance", type(block.conv_tp)
found = clients.evaluate(calculator, atoms)
torch.save(calculator.models[0], sys.argv[1])
again = clients.evaluate(MACE.calculator(torch.load(sys.argv[1], weights_only=False)), atoms)
for results in (found, again):
    for key, value in expected.items():
        assert abs(results[key] - value).max() <= 1e-10 * max(abs(value).max(), 1e-2), key
"""


def test_enable_oeq_unpatched(tmp_path, device):
    done = subprocess.run([sys.executable, "-c", ENABLE_OEQ, tmp_path / "oeq.model", device], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_product_of_many_weights_is_left(monkeypatch):
    monkeypatch.setattr("espmm.acceleration._MOST_WEIGHTS", 0)
    _, report = espmm.accelerate(MACE.build("float32"))
    assert report.replaced and "interactions.0.skip_tp" in report.left and "interactions.0.skip_tp" not in report.products
    assert all("large product of matrices" in why for why in report.left.values())


def test_a_block_of_another_library_is_left():
    model = MACE.build("float64")
    model.interactions[0].conv_tp = torch.nn.Linear(1, 1)
    _, report = espmm.accelerate(model)
    assert dict(report.left) == {"interactions.0": "its product is a Linear, not e3nn's"} and len(report.replaced) == 1


def test_command_line(tmp_path):
    import ase.io

    ase.io.write(tmp_path / "structure.xyz", clients.diamond())
    torch.save(MACE.build("float64"), tmp_path / "model.pt")

    def run(*arguments):
        return subprocess.run([sys.executable, "-m", "espmm", "accelerate", *arguments], capture_output=True, text=True, cwd=tmp_path)

    done = run("model.pt", "-o", "fast.pt", "--check", "structure.xyz")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "MACE: 2 convolutions replaced, 0 left" in done.stdout and "stress  largest" in done.stdout
    fast = torch.load(tmp_path / "fast.pt", weights_only=False)
    assert_equal_results(evaluate(MACE, fast, clients.diamond()), evaluate(MACE, MACE.build("float64"), clients.diamond()), 1e-10)
    # A model that is changed by more than the tolerance is not written.
    done = run("model.pt", "-o", "other.pt", "--check", "structure.xyz", "--tolerance", "-1")
    assert done.returncode == 1 and "above the tolerance of -1" in done.stderr and not (tmp_path / "other.pt").exists()
    done = run("structure.xyz", "-o", "other.pt")
    assert done.returncode == 1 and "expected structure.xyz to be a model saved by torch.save" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fast.pt", "model.pt", "structure.xyz"]


def test_a_committee_in_one_calculator():
    from mace.calculators import MACECalculator

    models = [MACE.build("float64"), copy.deepcopy(MACE.build("float64"))]
    calculator = MACECalculator(models=models, device="cpu", default_dtype="float64")
    _, report = espmm.accelerate(calculator)
    assert list(report.replaced) == [f"models.{i}.interactions.{j}" for i in range(2) for j in range(2)]


def test_torchscript_for_lammps(tmp_path):
    """As mace's own command writes it: TorchScript that takes forces and virials itself; in Python, and in C++ without it."""
    from e3nn.util import jit
    from mace.calculators import LAMMPS_MACE

    atoms = clients.water()
    theirs, ours = (MACE.build("float64") for _ in range(2))
    espmm.accelerate(ours)
    calculator = MACE.calculator(theirs)
    results = []
    for name, model in (("theirs", theirs), ("ours", ours)):
        jit.compile(LAMMPS_MACE(model)).save(tmp_path / name)
        # A model keeps tensors in what it is given.
        given = {key: value for key, value in calculator._atoms_to_batch(atoms).to_dict().items() if torch.is_tensor(value)}
        given = {key: value.double() if value.is_floating_point() else value for key, value in given.items()}
        results.append(torch.jit.load(tmp_path / name)(dict(given), torch.ones(len(atoms), dtype=torch.float64), True))
    given["positions"] = given["positions"].detach()
    results.append(clients.run_deployed(tmp_path / "ours", (given, torch.ones(len(atoms), dtype=torch.float64), True), tmp_path))
    expected, *found = results
    assert "espmm::run" in str(torch.jit.load(tmp_path / "ours").inlined_graph)
    for key in ("total_energy_local", "node_energy", "forces", "virials"):
        for result in found:
            assert (result[key] - expected[key]).abs().max() <= 1e-10 * expected[key].abs().max(), key
    by_calculator = clients.evaluate(calculator, atoms)
    assert abs(found[0]["forces"].numpy() - by_calculator["forces"]).max() <= 1e-10 * abs(by_calculator["forces"]).max()
