"""NequIP: compiled for training, packaged by AOTInductor, its switch for OpenEquivariance, products of e3nn 0.6."""

from __future__ import annotations

import warnings

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


def test_compiled_for_training(launches):
    from nequip.nn.compile import CompileGraphModel

    theirs, ours = NequIP.build("float64", **TINY), NequIP.build("float64", compile_mode="compile", **TINY)
    assert isinstance(ours, CompileGraphModel)
    _, report = espmm.accelerate(ours)
    assert len(report.replaced) == 1
    data = frames(theirs)
    assert_same_training_step(theirs, ours, data)
    assert len(ours._compiled_cache[0]) == 1  # it did compile
    ran = len(launches)
    gradients(ours, data)
    assert len(launches) > ran


def test_packaged_by_aotinductor(tmp_path, launches):
    from nequip.scripts._compile_utils import AOTI_ASE_TARGET, COMPILE_TARGET_DICT
    from nequip.utils.aot import aot_export_model

    theirs, ours = NequIP.build("float64", **TINY), NequIP.build("float64", **TINY)
    espmm.accelerate(ours)
    target = COMPILE_TARGET_DICT[AOTI_ASE_TARGET]
    data = target["data_settings"](NequIP.calculator(ours.eval()).atoms_to_data(clients.magnesia()))
    dimensions = {name: torch.export.Dim(f"num_{name}s", min=2, max=100_000) for name in ("node", "edge")}
    aot_export_model(
        model=ours, device="cpu", input_fields=target["input"], output_fields=target["output"], data=data,
        batch_map=target["batch_map_settings"]({"graph": None, **dimensions}), output_path=str(tmp_path / "model.nequip.pt2"),
    )  # fmt: skip
    packaged = torch._inductor.aoti_load_package(str(tmp_path / "model.nequip.pt2"))
    del launches[:]
    for make in (clients.water, clients.diamond):  # other sizes than it was made with
        other = target["data_settings"](NequIP.calculator(theirs).atoms_to_data(make()))
        found = dict(zip(target["output"], packaged([other[key] for key in target["input"]])))
        expected = theirs.eval()(other.copy())
        for key in ("total_energy", "forces", "stress"):
            assert (found[key] - expected[key]).norm() <= 1e-10 * expected[key].norm(), key


def test_custom_ops_libs_are_named():
    ours = NequIP.build("float64")
    espmm.accelerate(ours)
    import importlib

    names = {name for module in ours.modules() for name in getattr(module, "_nequip_custom_ops_libs", ())}
    assert names == {"espmm.operators"}
    importlib.import_module(*names)
    assert torch.ops.espmm.run is not None
    assert "espmm.operators" in ours.metadata["nequip_custom_ops_libs"]


def test_enable_openequivariance_unpatched(openequivariance, launches):
    from nequip.nn._tp_scatter_base import TensorProductScatter

    theirs = NequIP.build("float64")
    ours = TensorProductScatter.enable_OpenEquivariance(NequIP.build("float64"))
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


def test_products_of_e3nn_06_by_its_hook(launches):
    theirs = NequIP.build("float64")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with espmm.e3nn.installed() as record:
            ours = NequIP.build("float64")
    assert len(record.taken) >= 2 and not record.declined
    assert set(ours.state_dict()) == set(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    atoms = clients.magnesia()
    expected = evaluate(NequIP, theirs, atoms)
    assert not launches
    assert_equal_results(evaluate(NequIP, ours, atoms), expected, 1e-10)
    assert launches


def test_from_e3nn_with_e3nn_06(launches):
    from e3nn import o3

    theirs = NequIP.build("float64")
    ours = espmm.from_e3nn(theirs)
    assert not any(isinstance(module, o3.TensorProduct) for module in ours.modules())
    atoms = clients.magnesia()
    expected = evaluate(NequIP, theirs, atoms)
    assert not launches
    assert_equal_results(evaluate(NequIP, ours, atoms), expected, 1e-10)
    assert launches
