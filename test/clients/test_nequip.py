"""NequIP: compiled for training, packaged by AOTInductor, its switch for OpenEquivariance, products of e3nn 0.6."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import clients
import espmm
import pytest
import torch
from test_models import assert_equal_results, evaluate

pytest.importorskip("nequip")
NequIP = clients.NequIP

#: A model that takes less time to compile.
TINY = {"num_layers": 1, "l_max": 1, "parity": False, "num_features": 4, "radial_mlp_width": 8}


@pytest.fixture
def openequivariance():
    from espmm.compat import openequivariance

    openequivariance.install()
    yield openequivariance
    openequivariance.uninstall()


def frames(model):
    """A batch of two structures, as training has it."""
    from nequip.data import AtomicDataDict

    calculator = NequIP.calculator(model)
    return AtomicDataDict.batched_from_list([calculator.atoms_to_data(make()) for make in (clients.magnesia, clients.water)])


def gradients(model, data):
    model.train()
    model.zero_grad()
    out = model(data.copy())
    (out["total_energy"].square().sum() + out["forces"].square().sum()).backward()
    return out, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_same_training_step(theirs, ours, data):
    (expected, expected_grads), (found, found_grads) = (gradients(model, data) for model in (theirs, ours))
    for key in ("total_energy", "forces"):
        assert (found[key] - expected[key]).norm() <= 1e-10 * expected[key].norm(), key
    assert found_grads.keys() == expected_grads.keys() and len(expected_grads) > 3
    for name, value in expected_grads.items():
        assert (found_grads[name] - value).norm() <= 1e-9 * value.norm(), name


def test_compiled_for_training(device):
    from nequip.nn.compile import CompileGraphModel

    theirs, ours = (NequIP.build("float64", **options, **TINY).to(device) for options in ({}, {"compile_mode": "compile"}))
    assert isinstance(ours, CompileGraphModel)
    _, report = espmm.accelerate(ours)
    assert len(report.replaced) == 1
    data = frames(theirs)
    assert_same_training_step(theirs, ours, data)
    ((compiled, _),) = ours._compiled_cache[0].values()  # it did compile
    assert compiled._orig_mod.code.count("torch.ops.espmm.run") >= 2  # forward and, for the forces, backward
    with pytest.raises(ValueError, match="expected a model that has not been compiled yet"):  # it would go on with what it has
        espmm.accelerate(ours)


PACKAGE_OF_TORCH = """
import sys, torch
exported = torch.export.export(torch.nn.Linear(2, 2).cuda(), (torch.zeros(3, 2, device="cuda"),))
torch._inductor.aoti_load_package(torch._inductor.aoti_compile_and_package(exported, package_path=sys.argv[1]))
"""


def test_packaged_by_aotinductor(tmp_path, device):
    if device == "cuda":
        done = subprocess.run([sys.executable, "-c", PACKAGE_OF_TORCH, tmp_path / "linear.pt2"], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"here torch does not even package a linear layer for CUDA: it ends with {done.returncode}, {done.stderr.strip()[-100:]!r}")
    from nequip.scripts._compile_utils import AOTI_ASE_TARGET, COMPILE_TARGET_DICT
    from nequip.utils.aot import aot_export_model

    theirs, ours = (NequIP.build("float64", **TINY).to(device) for _ in range(2))
    espmm.accelerate(ours)
    target = COMPILE_TARGET_DICT[AOTI_ASE_TARGET]
    data = target["data_settings"](NequIP.calculator(ours.eval()).atoms_to_data(clients.magnesia()))
    dimensions = {name: torch.export.Dim(f"num_{name}s", min=2, max=100_000) for name in ("node", "edge")}
    aot_export_model(
        model=ours, device=device, input_fields=target["input"], output_fields=target["output"], data=data,
        batch_map=target["batch_map_settings"]({"graph": None, **dimensions}), output_path=str(tmp_path / "model.nequip.pt2"),
    )  # fmt: skip
    packaged = torch._inductor.aoti_load_package(str(tmp_path / "model.nequip.pt2"))
    for make in (clients.water, clients.diamond):  # other sizes than it was made with
        other = target["data_settings"](NequIP.calculator(theirs).atoms_to_data(make()))
        found = dict(zip(target["output"], packaged([other[key] for key in target["input"]])))
        expected = theirs.eval()(other.copy())
        for key in ("total_energy", "forces", "stress"):
            assert (found[key] - expected[key]).norm() <= 1e-10 * expected[key].norm(), key


def seams(model):
    from nequip.nn._tp_scatter_base import TensorProductScatter

    return [(parent, key) for parent in model.modules() for key, child in parent._modules.items() if type(child) is TensorProductScatter]


def test_a_layer_by_itself(launches):
    """In whose place no model can put another: what is returned is the new one."""
    ((parent, key), *_) = seams(NequIP.build("float64"))
    layer = parent._modules[key]
    new, report = espmm.accelerate(layer)
    assert type(new).__name__ == "FusedTensorProductScatter" and list(report.replaced) == [""] and type(layer) is not type(new)
    inputs = (torch.randn(5, layer.tp.irreps_in1.dim), torch.randn(9, layer.tp.irreps_in2.dim), torch.randn(9, layer.tp.weight_numel))
    inputs = [t.double() for t in inputs]
    edges = torch.randint(5, (2, 9))
    expected = layer(*inputs, *edges)
    assert not launches
    assert (new(*inputs, *edges) - expected).norm() <= 1e-12 * expected.norm() and launches


def test_layers_that_torch_compiles(launches):
    """The compiled layer goes on with what is put into it."""
    theirs, ours = (NequIP.build("float64") for _ in range(2))
    for parent, key in seams(ours):
        parent._modules[key] = torch.compile(parent._modules[key], backend="eager")
    expected = evaluate(NequIP, theirs, clients.magnesia())
    _, report = espmm.accelerate(ours)
    assert len(report.replaced) == 2 and not seams(ours)
    called = []
    for module in ours.modules():
        if type(module).__name__ == "FusedTensorProductScatter":
            module.register_forward_hook(lambda *arguments: called.append(1))
    torch._dynamo.reset()
    assert_equal_results(evaluate(NequIP, ours, clients.magnesia()), expected, 1e-10)
    assert called


def test_custom_ops_libs_are_named():
    ours = NequIP.build("float64")
    espmm.accelerate(ours)
    import importlib

    names = {name for module in ours.modules() for name in getattr(module, "_nequip_custom_ops_libs", ())}
    assert names == {"espmm.operators"}
    importlib.import_module(*names)
    assert torch.ops.espmm.run is not None
    assert "espmm.operators" in ours.metadata["nequip_custom_ops_libs"]


def test_enable_openequivariance_unpatched(openequivariance, launches, device):
    from nequip.nn._tp_scatter_base import TensorProductScatter

    theirs = NequIP.build("float64").to(device)
    ours = TensorProductScatter.enable_OpenEquivariance(NequIP.build("float64")).to(device)
    layers = [module for module in ours.modules() if hasattr(module, "tp_conv")]
    assert len(layers) == 2 and all(isinstance(layer.tp_conv, openequivariance.TensorProductConv) for layer in layers)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    atoms = clients.triclinic()
    expected = evaluate(NequIP, theirs, atoms)
    assert not launches
    assert_equal_results(evaluate(NequIP, ours, atoms), expected, 1e-10)
    assert launches
    assert_same_training_step(theirs, ours, frames(theirs))
    _, report = espmm.accelerate(ours)
    assert not report.replaced and "OpenEquivarianceTensorProductScatter" in str(report)


def test_products_of_e3nn_06_by_its_hook(launches, device):
    theirs = NequIP.build("float64").to(device)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with espmm.e3nn.installed() as record:
            ours = NequIP.build("float64").to(device)
    assert len(record.taken) >= 2 and not record.declined
    assert set(ours.state_dict()) == set(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    atoms = clients.magnesia()
    expected = evaluate(NequIP, theirs, atoms)
    assert not launches
    assert_equal_results(evaluate(NequIP, ours, atoms), expected, 1e-10)
    assert launches


def test_from_e3nn_with_e3nn_06(launches, device):
    from e3nn import o3

    theirs = NequIP.build("float64").to(device)
    ours = espmm.from_e3nn(theirs)
    assert not any(isinstance(module, o3.TensorProduct) for module in ours.modules())
    atoms = clients.magnesia()
    expected = evaluate(NequIP, theirs, atoms)
    assert not launches
    assert_equal_results(evaluate(NequIP, ours, atoms), expected, 1e-10)
    assert launches


TRAINING = """
run: [train]
data:
  _target_: nequip.data.datamodule.ASEDataModule
  seed: 1
  split_dataset: {file_path: structures.xyz, train: 2, val: 1, test: 1}
  transforms:
    - {_target_: nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper, model_type_names: [Cu], chemical_species_to_atom_type_map: {Cu: Cu}}
    - {_target_: nequip.data.transforms.NeighborListTransform, r_max: 4.0}
  train_dataloader: {_target_: torch.utils.data.DataLoader, batch_size: 2}
  val_dataloader: {_target_: torch.utils.data.DataLoader, batch_size: 1}
  test_dataloader: {_target_: torch.utils.data.DataLoader, batch_size: 1}
  stats_manager: {_target_: nequip.data.CommonDataStatisticsManager, type_names: [Cu]}
trainer:
  _target_: lightning.Trainer
  accelerator: cpu
  max_epochs: 1
  enable_progress_bar: false
  callbacks: [{_target_: lightning.pytorch.callbacks.ModelCheckpoint, dirpath: ., filename: best}]
training_module:
  _target_: nequip.train.EMALightningModule
  loss: {_target_: nequip.train.EnergyForceLoss, coeffs: {total_energy: 1.0, forces: 1.0}}
  val_metrics: {_target_: nequip.train.EnergyForceMetrics, coeffs: {total_energy_mae: 1.0, forces_mae: 1.0}}
  optimizer: {_target_: torch.optim.Adam, lr: 0.01}
  model:
    _target_: nequip.model.NequIPGNNModel
    seed: 0
    model_dtype: float64
    type_names: [Cu]
    r_max: 4.0
    num_layers: 2
    l_max: 1
    num_features: 4
    radial_mlp_width: 8
    avg_num_neighbors: 40.0
    per_type_energy_scales: 1.0
    per_type_energy_shifts: 0.0
global_options: {allow_tf32: false}
"""


def test_files_of_nequip(tmp_path):
    """A checkpoint of nequip-train, and a package made of it, which brings NequIP's classes under other names."""
    import ase.io
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.calculators.singlepoint import SinglePointCalculator
    from nequip.integrations.ase import NequIPCalculator

    structures = []
    for i in range(4):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=i)
        atoms.calc = EMT()
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
        structures.append(atoms)
    ase.io.write(tmp_path / "structures.xyz", structures)
    (tmp_path / "training.yaml").write_text(TRAINING)

    def run(*command):
        scripts = Path(sys.executable).parent
        program = [scripts / command[0]] if command[0].startswith("nequip") else [sys.executable, "-m", command[0]]
        return subprocess.run([*program, *command[1:]], capture_output=True, text=True, cwd=tmp_path)

    for command in (
        ("nequip-train", "-cp", tmp_path, "-cn", "training.yaml", "hydra.run.dir=."),
        ("nequip-package", "build", "best.ckpt", "packaged.nequip.zip"),
        ("espmm", "accelerate", "best.ckpt", "-o", "fast.pt", "--check", "structures.xyz"),
        ("espmm", "accelerate", "packaged.nequip.zip", "--check", "structures.xyz"),
    ):
        done = run(*command)
        assert done.returncode == 0, (command, done.stderr[-3000:])
    assert "NequIP: 2 convolutions replaced, 0 left" in done.stdout
    done = run("espmm", "accelerate", "packaged.nequip.zip", "-o", "other.pt")
    assert done.returncode == 1 and "accelerated after it is loaded" in done.stderr and not (tmp_path / "other.pt").exists()

    (atoms,) = structures[:1]
    theirs = NequIPCalculator._from_saved_model(tmp_path / "packaged.nequip.zip", chemical_species_to_atom_type_map=True)
    expected = clients.evaluate(theirs, atoms)
    _, report = espmm.accelerate(theirs)
    assert len(report.replaced) == 2
    fast = torch.load(tmp_path / "fast.pt", weights_only=False)
    from espmm.acceleration import nequip

    for calculator in (theirs, nequip.calculator(fast, "cpu")):
        assert_equal_results(clients.evaluate(calculator, atoms), expected, 1e-10)
