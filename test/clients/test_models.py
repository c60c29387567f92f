"""An accelerated model against the same model as it was: results, gradients of the parameters, training, dynamics, files."""

from __future__ import annotations

import copy
import io

import ase
import clients
import espmm
import numpy as np
import pytest
import torch
from ase import units
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from espmm.acceleration.fused import FusedConvolution

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


def pair(client, dtype, device):
    """A model as its client builds it, and an accelerated one with the same parameters."""
    theirs, ours = (client.build(dtype).to(device) for _ in range(2))
    keys = list(ours.state_dict())
    same, report = espmm.accelerate(ours)
    assert same is ours and report.replaced and not report.left and report.products, report
    assert list(ours.state_dict()) == keys
    return theirs, ours


def assert_equal_results(found, expected, tolerance, least=None):
    """To a tolerance relative to the largest component of each; of what ``least`` names, to that where they are less."""
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        scale = max(abs(value).max(), (least or {}).get(key, 0.0))
        assert abs(found[key] - value).max() <= tolerance * scale, (key, found[key], value)


@pytest.fixture(scope="module", params=("float64", "float32"))
def models(request, client, device):
    if request.param not in client.dtypes:
        pytest.skip(f"{client.__name__} has no {request.param}")
    return (request.param, *pair(client, request.param, device))


@pytest.mark.parametrize("structure", clients.STRUCTURES, ids=lambda make: make.__name__)
def test_energy_forces_and_stress(client, models, device, structure, launches):
    dtype, theirs, ours = models
    atoms = structure()
    expected = evaluate(client, theirs, atoms)
    assert not launches
    # Forces of one atom are noise, of terms of up to 1 eV/A that cancel; sums in any order, as on a GPU, differ by that of their largest term.
    of_any_order = 1e-2 if (device, dtype) == ("cuda", "float32") else 0.0
    least = {"forces": 1.0 if structure is clients.one_atom else of_any_order, "stress": of_any_order}
    assert_equal_results(evaluate(client, ours, atoms), expected, TOLERANCE[dtype], least)
    assert launches
    if structure is not clients.one_atom:
        assert abs(expected["forces"]).max() > 1e-3


def evaluate(client, model, atoms):
    return clients.evaluate(client.calculator(model), atoms)


def test_a_calculator_is_accelerated_in_place(client, device):
    calculator = client.calculator(client.build(client.dtypes[0]).to(device))
    atoms = clients.diamond()
    expected = clients.evaluate(calculator, atoms)
    same, report = espmm.accelerate(calculator)
    assert same is calculator and report.client == client.__name__ and report.expected_speedup[0] >= 3
    assert_equal_results(clients.evaluate(calculator, atoms), expected, TOLERANCE[client.dtypes[0]])
    _, again = espmm.accelerate(calculator)
    assert not again.replaced and set(again.left) == set(report.replaced)
    assert all(why == "its convolution is espmm's already" for why in again.left.values()) and "is left: " in str(again)


def gradients(client, model, atoms):
    model.zero_grad()
    energy, forces = client.train_outputs(model, atoms)
    (energy.square().sum() / len(atoms) + forces.square().sum()).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_gradients_of_the_parameters(client, models):
    """Through the forces: derivatives of derivatives."""
    dtype, theirs, ours = models
    atoms = clients.water() if client.__name__ != "SevenNet" else clients.small()
    expected, found = (gradients(client, model, atoms) for model in (theirs, ours))
    assert found.keys() == expected.keys() and len(expected) > 5
    tolerance = {"float64": 1e-9, "float32": 1e-4}[dtype]
    for name, value in expected.items():
        assert (found[name] - value).norm() <= tolerance * value.norm(), name


def test_twenty_steps_of_adam(client, device):
    atoms = clients.small() if client.__name__ == "SevenNet" else clients.magnesia()
    dtype = client.dtypes[0]
    curves = []
    for model in pair(client, dtype, device):
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        losses = []
        for _ in range(20):
            optimizer.zero_grad()
            energy, forces = client.train_outputs(model, atoms)
            loss = (energy.sum() / len(atoms) + 10.0) ** 2 + 10 * forces.square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        curves.append(losses)
    theirs, ours = np.array(curves)
    assert theirs[-1] < 0.99 * theirs[0]
    np.testing.assert_allclose(ours, theirs, rtol={"float64": 1e-7, "float32": 1e-2}[dtype])


def test_energy_drift_of_dynamics(client, device):
    """200 steps at constant energy: the total energy of both stays as constant."""
    totals = []
    for model in pair(client, client.dtypes[0], device):
        atoms = clients.small()
        atoms.calc = client.calculator(model)
        MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(0))
        energies = []
        dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
        dynamics.attach(lambda a=atoms, e=energies: e.append(a.get_total_energy()), interval=10)
        dynamics.run(200)
        totals.append(energies)
    theirs, ours = np.array(totals)
    assert np.ptp(theirs) > 0
    drift = abs(theirs - theirs[0]).max()
    tolerance = 1e-3 * drift if client.dtypes[0] == "float64" else 0.2 * drift + 2e-6 * abs(theirs[0])
    assert abs((ours - ours[0]) - (theirs - theirs[0])).max() <= tolerance


def test_checkpoints_load_in_both_directions(client, device):
    theirs, ours = pair(client, client.dtypes[0], device)
    with torch.no_grad():
        for p in ours.parameters():
            p.mul_(1.01)
    for source, target in ((ours, theirs), (theirs, ours)):
        file = io.BytesIO()
        torch.save(source.state_dict(), file)
        file.seek(0)
        target.load_state_dict(torch.load(file, weights_only=True), strict=True)
    atoms = clients.diamond()
    results = [evaluate(client, model, atoms) for model in (ours, theirs)]
    assert_equal_results(*results, TOLERANCE[client.dtypes[0]])


def test_whole_models_are_copied_and_saved(client, device):
    _, ours = pair(client, client.dtypes[0], device)
    atoms = clients.diamond()
    expected = evaluate(client, ours, atoms)
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    # A GPU's sums are in any order.
    tolerance = {"cpu": {"float64": 0, "float32": 1e-6}, "cuda": {"float64": 1e-13, "float32": 1e-5}}[device][client.dtypes[0]]
    for model in (copy.deepcopy(ours), torch.load(file, weights_only=False)):
        assert_equal_results(evaluate(client, model, atoms), expected, tolerance)
        assert not any("already" not in why for why in espmm.accelerate(model)[1].left.values())


def test_without_edges(client, device):
    """Atoms out of each other's reach: as the client's own code, which may refuse."""
    atoms = ase.Atoms("CC", [[0, 0, 0], [12.0, 0, 0]], cell=[30.0, 30.0, 30.0], pbc=True)
    outcomes = []
    for model in pair(client, client.dtypes[0], device):
        try:
            outcomes.append(evaluate(client, model, atoms))
        except (RuntimeError, IndexError) as error:
            outcomes.append(type(error))
    theirs, ours = outcomes
    if isinstance(theirs, dict) and isinstance(ours, dict):
        assert_equal_results(ours, theirs, TOLERANCE[client.dtypes[0]])
    elif isinstance(ours, dict):  # theirs cannot, and ours is right: no forces, the energies of two single atoms
        assert np.isfinite(ours["energy"]) and not ours["forces"].any()
    else:
        assert ours == theirs


@pytest.mark.parametrize("nodes, edges", [(5, 12), (5, 0), (0, 0)])
def test_layers_by_themselves(client, models, device, nodes, edges):
    """What accelerate has put in: without edges its sum is zero, and so are gradients of every order."""
    dtype, _, ours = models
    layers = espmm.accelerate(ours)[1].left  # they are espmm's already
    assert len(layers) > 1
    for layer in map(ours.get_submodule, layers):
        (conv,) = (module for module in layer.modules() if isinstance(module, FusedConvolution))
        generator = torch.Generator().manual_seed(0)
        shapes = (nodes, conv.irreps_in1.dim), (edges, conv.irreps_in2.dim), (edges, conv.weight_numel)
        inputs = [torch.randn(shape, dtype=getattr(torch, dtype), generator=generator).to(device).requires_grad_() for shape in shapes]
        receivers, senders = torch.randint(max(nodes, 1), (2, edges), generator=generator).to(device)
        z = client.convolve(layer, *inputs, receivers, senders)
        first = torch.autograd.grad(z, inputs, torch.ones_like(z), create_graph=True)
        second = torch.autograd.grad(first, inputs, [torch.ones_like(gradient) for gradient in first])
        assert z.shape == (nodes, conv.irreps_out.dim)
        for found, given in zip((*first, *second), (*inputs, *inputs), strict=True):
            assert found.shape == given.shape and found.dtype == given.dtype
        for found in (z, *first, *second):
            assert found.isfinite().all() and bool(found.any()) == (edges > 0)


def test_other_modules_are_refused():
    with pytest.raises(ValueError, match="expected a model of mace, nequip, sevenn with e3nn's convolutions, found none in Linear"):
        espmm.accelerate(torch.nn.Linear(1, 1))
    with pytest.raises(TypeError, match="expected a torch.nn.Module or an ASE calculator that has one, got str"):
        espmm.accelerate("model")
