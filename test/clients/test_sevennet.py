"""SevenNet: the one line of the README, other pretrained models, the command line, its switch for OpenEquivariance."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import clients
import espmm
import pytest
import torch
from test_models import assert_equal_results, evaluate

pytest.importorskip("sevenn")
SevenNet = clients.SevenNet
ROOT = Path(__file__).resolve().parents[2]


def test_the_lines_of_the_readme():
    from sevenn.calculator import SevenNetCalculator

    (lines,) = re.findall(r"^```py\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict = {}
    exec(lines, names)
    assert len(names["report"].replaced) == 5 and not names["report"].left
    atoms = clients.diamond()
    expected = clients.evaluate(SevenNetCalculator("7net-0", device="cpu"), atoms)
    assert_equal_results(clients.evaluate(names["calculator"], atoms), expected, 1e-5)


def test_the_example():
    command = [sys.executable, "examples/sevennet_md.py", "--cells", "1", "--steps", "3", "--device", "cpu"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}  # as the README has it
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "5 convolutions replaced" in done.stdout and "3/3" in done.stderr


@pytest.mark.parametrize("name, modal", [("7net-l3i5", None), ("7net-mf-0", "PBE")])
def test_other_pretrained_models(name, modal, device):
    from sevenn.calculator import SevenNetCalculator

    atoms = clients.small()
    try:
        calculator = SevenNetCalculator(name, device=device, modal=modal)
    except FileNotFoundError as error:
        pytest.skip(f"this installation of SevenNet lacks {error}")
    expected = clients.evaluate(calculator, atoms)
    _, report = espmm.accelerate(calculator)
    assert len(report.replaced) == 5 and not report.left
    assert_equal_results(clients.evaluate(calculator, atoms), expected, 1e-5)


def test_command_line(tmp_path):
    import ase.io

    ase.io.write(tmp_path / "structure.xyz", [clients.small(), clients.water()])
    command = [sys.executable, "-m", "espmm", "accelerate", "7net-0", "-o", "fast.pt", "--check", "structure.xyz"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "SevenNet: 5 convolutions replaced, 0 left" in done.stdout and done.stdout.count("times as fast\n") == 2
    fast = torch.load(tmp_path / "fast.pt", weights_only=False)
    assert_equal_results(evaluate(SevenNet, fast, clients.small()), evaluate(SevenNet, SevenNet.build(), clients.small()), 1e-5)


def test_its_own_checkpoints(tmp_path):
    """A checkpoint that SevenNet writes of an accelerated model is one of SevenNet's."""
    import sevenn
    from sevenn.util import load_checkpoint

    checkpoint = load_checkpoint("7net-0")
    ours = checkpoint.build_model()
    espmm.accelerate(ours)
    config = {**checkpoint.config, "version": sevenn.__version__}
    torch.save({"config": config, "model_state_dict": ours.state_dict()}, tmp_path / "checkpoint.pth")
    loaded = load_checkpoint(tmp_path / "checkpoint.pth").build_model()
    state = SevenNet.build().state_dict()
    assert loaded.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())


ENABLE_OEQ = """
import sys, torch
from espmm.compat import openequivariance
openequivariance.install()
sys.path.insert(0, "test/clients")
import clients
import sevenn.nn.oeq_helper as oeq_helper
from sevenn.calculator import SevenNetCalculator
device = sys.argv[1]
if device == "cpu":  # all but the question whether there is a GPU
    oeq_helper.is_oeq_available = lambda: oeq_helper._OEQ_AVAILABLE
calculator = SevenNetCalculator("7net-0", device=device)
convolutions = [m for m in calculator.model.modules() if isinstance(m, oeq_helper.OEQConvolution)]
assert len(convolutions) == 5 and all(isinstance(c.tp_conv, openequivariance.TensorProductConv) for c in convolutions)
atoms = clients.small()
found = clients.evaluate(calculator, atoms)
expected = clients.evaluate(clients.SevenNet.calculator(clients.SevenNet.build().to(device)), atoms)
for key, value in expected.items():
    assert abs(found[key] - value).max() <= 1e-5 * max(abs(value).max(), 1e-2), key
"""


def test_its_switch_for_openequivariance(device):
    environment = {**os.environ, "SEVENNET_ENABLE_OEQ": "1"}
    done = subprocess.run([sys.executable, "-c", ENABLE_OEQ, device], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    """7net-0 as sevenn's own deploy writes it for LAMMPS, of SevenNet's model and of an accelerated one."""
    from sevenn.checkpoint import SevenNetCheckpoint
    from sevenn.scripts.deploy import deploy

    folder = tmp_path_factory.mktemp("deployed")
    deploy("7net-0", str(folder / "theirs.pt"))
    build = SevenNetCheckpoint.build_model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SevenNetCheckpoint, "build_model", lambda *args, **options: espmm.accelerate(build(*args, **options))[0])
        deploy("7net-0", str(folder / "ours.pt"))
    return folder / "theirs.pt", folder / "ours.pt"


def as_lammps_gives_it(atoms):
    """What LAMMPS' pair style gives the model."""
    import sevenn._keys as KEY
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.train.dataload import unlabeled_atoms_to_graph

    calculator = SevenNet.calculator(SevenNet.build())
    data = AtomGraphData.from_numpy_dict(unlabeled_atoms_to_graph(atoms, calculator.cutoff, with_shift=False)).to_dict()
    data = {key: data[key] for key in (KEY.EDGE_IDX, KEY.EDGE_VEC, KEY.NUM_ATOMS)}
    return {**data, KEY.NODE_FEATURE: torch.tensor([calculator.type_map[number] for number in atoms.numbers])}


def test_deployed_torchscript(deployed, device):
    import sevenn._keys as KEY

    theirs, ours = (torch.jit.load(path, map_location=device) for path in deployed)
    assert "espmm::" in str(ours.graph) and "espmm::" not in str(theirs.graph)
    assert '"0_convolution.convolution"' in str(ours.graph)  # errors name the module
    for make in (clients.diamond, clients.water):
        results = []
        for model in (theirs, ours):
            data = {key: value.to(device) for key, value in as_lammps_gives_it(make()).items()}
            vectors = data[KEY.EDGE_VEC].requires_grad_(True)
            energy = model(data)[KEY.PRED_TOTAL_ENERGY]
            results.append((energy, *torch.autograd.grad(energy.sum(), vectors)))
        for expected, found in zip(*results):
            assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_deployed_in_a_program_without_python(deployed, tmp_path):
    """Energy and forces, as LAMMPS' pair style takes them, equal to those of SevenNet's own calculator on its own model."""
    import sevenn._keys as KEY

    atoms = clients.water()
    data = as_lammps_gives_it(atoms)
    found = clients.run_deployed(deployed[1], (data,), tmp_path, KEY.PRED_TOTAL_ENERGY, KEY.EDGE_VEC)
    ends = data[KEY.EDGE_IDX]
    forces = torch.zeros(len(atoms), 3).index_add(0, ends[0], found["gradient"]).index_add(0, ends[1], -found["gradient"])
    expected = clients.evaluate(SevenNet.calculator(SevenNet.build()), atoms)
    assert abs(found[KEY.PRED_TOTAL_ENERGY].item() - expected["energy"]) <= 1e-5 * abs(expected["energy"])
    assert abs(forces.numpy() - expected["forces"]).max() <= 1e-5 * abs(expected["forces"]).max()
