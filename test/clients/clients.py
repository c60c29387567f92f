"""How the tests build a small model of each client, evaluate it and train it: by the client's own code, nothing of espmm's.

A model is in float64 where the client has that; parameters are random but for SevenNet's 7net-0. It is built on the CPU, and evaluated and trained
on the device that it is on then.
"""

from __future__ import annotations

import copy
import importlib.util
import subprocess
from pathlib import Path

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule


class MACE:
    dtypes = ("float64", "float32")
    classes = (
        "RealAgnosticInteractionBlock",
        "RealAgnosticResidualInteractionBlock",
        "RealAgnosticDensityInteractionBlock",
        "RealAgnosticDensityResidualInteractionBlock",
        "RealAgnosticAttResidualInteractionBlock",
        "RealAgnosticResidualNonLinearInteractionBlock",
    )

    @staticmethod
    def build(dtype="float64", first=classes[0], second=classes[1]):
        from mace import modules  # before e3nn 0.4.4, which does not load without what mace sets

        from e3nn import o3

        before = torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, dtype))
        try:
            torch.manual_seed(0)
            return modules.ScaleShiftMACE(
                r_max=4.0, num_bessel=6, num_polynomial_cutoff=5, max_ell=2, num_interactions=2, num_elements=4,
                interaction_cls=modules.interaction_classes[second], interaction_cls_first=modules.interaction_classes[first],
                hidden_irreps=o3.Irreps("8x0e+8x1o"), MLP_irreps=o3.Irreps("8x0e"), correlation=2, gate=torch.nn.functional.silu,
                atomic_energies=np.array([-1.0, -2.0, -3.0, -4.0]), avg_num_neighbors=20.0, atomic_numbers=[1, 6, 8, 12],
                radial_MLP=[16, 16], radial_type="bessel", atomic_inter_scale=1.0, atomic_inter_shift=0.0,
            )  # fmt: skip
        finally:
            torch.set_default_dtype(before)

    @staticmethod
    def calculator(model):
        from mace.calculators import MACECalculator

        return MACECalculator(models=[model], device=device_of(model), default_dtype="")

    @staticmethod
    def convolve(layer, x, y, w, receivers, senders):
        """z[receivers] += tp(x[senders], y, w), by a layer in whose place accelerate has put another."""
        return layer.conv_tp(x, y, w, torch.stack([senders, receivers]))

    @classmethod
    def train_outputs(cls, model, atoms):
        """Energy and forces, the forces differentiable."""
        calculator = cls.calculator(model)
        model.requires_grad_(True)
        batch = calculator._atoms_to_batch(atoms).to_dict()
        dtype = next(model.parameters()).dtype
        batch = {key: value.to(dtype) if torch.is_tensor(value) and value.is_floating_point() else value for key, value in batch.items()}
        out = model(batch, training=True, compute_force=True)
        return out["energy"], out["forces"]


class NequIP:
    dtypes = ("float64", "float32")

    @staticmethod
    def build(dtype="float64", **options):
        from nequip.model import NequIPGNNModel
        from nequip.utils.global_state import set_global_state

        set_global_state()
        options = {"num_layers": 2, "l_max": 2, "num_features": 8, "radial_mlp_width": 16, **options}
        return NequIPGNNModel(
            seed=0, model_dtype=dtype, r_max=4.0, type_names=["H", "C", "O", "Mg"], avg_num_neighbors=20.0,
            per_type_energy_scales=1.0, per_type_energy_shifts={"H": -1.0, "C": -2.0, "O": -3.0, "Mg": -4.0}, **options,
        )  # fmt: skip

    @staticmethod
    def calculator(model):
        from nequip.integrations.ase import NequIPCalculator
        from nequip.integrations.utils import basic_transforms

        types = ["H", "C", "O", "Mg"]
        transforms = basic_transforms(model.metadata, 4.0, types, {name: name for name in types})
        return NequIPCalculator(model.eval(), device_of(model), transforms=transforms)

    @staticmethod
    def convolve(layer, x, y, w, receivers, senders):
        return layer(x, y, w, receivers, senders)

    @classmethod
    def train_outputs(cls, model, atoms):
        data = cls.calculator(model).atoms_to_data(atoms)
        out = model.train()(data)
        return out["total_energy"], out["forces"]


class SevenNet:
    dtypes = ("float32",)

    @staticmethod
    def build(dtype="float32"):
        from sevenn.util import load_checkpoint

        model = load_checkpoint("7net-0").build_model()
        model.set_is_batch_data(False)
        return model

    @staticmethod
    def calculator(model):
        from sevenn.calculator import SevenNetCalculator

        return SevenNetCalculator(model, file_type="model_instance", device=device_of(model))

    @staticmethod
    def convolve(layer, x, y, w, receivers, senders):
        layer = copy.copy(layer)
        layer._modules = {**layer._modules, "weight_nn": torch.nn.Identity()}  # w as it is
        edges = torch.stack([receivers, senders])
        data = {layer.key_x: x, layer.key_filter: y, layer.key_weight_input: w, layer.key_edge_idx: edges}
        return layer(data)[layer.key_x] * layer.denominator

    @staticmethod
    def train_outputs(model, atoms):
        import sevenn._keys as KEY
        from sevenn.atom_graph_data import AtomGraphData
        from sevenn.train.dataload import unlabeled_atoms_to_graph

        model.eval_type_map = torch.tensor(True)
        data = AtomGraphData.from_numpy_dict(unlabeled_atoms_to_graph(atoms, model.cutoff, with_shift=False))
        out = model.train()(data.to(device_of(model)))
        return out[KEY.PRED_TOTAL_ENERGY], out[KEY.PRED_FORCE]


def device_of(model):
    return next(model.parameters()).device.type


CLIENTS = {"mace": MACE, "nequip": NequIP, "sevenn": SevenNet}


def client():
    """The one of this environment."""
    found = [name for name in CLIENTS if importlib.util.find_spec(name) is not None]
    assert len(found) == 1, f"expected an environment with one of {', '.join(CLIENTS)}, got {found}"
    return CLIENTS[found[0]]


def run_deployed(model, arguments, folder, *differentiated):
    """A model's results as a program has them that is in C++, without Python (`test/torch/DeployedProgram.cpp`).

    Args:
        model: a file of TorchScript.
        arguments: of the model, a tuple.
        folder: for files.
        differentiated: names of an energy and of the tensor with respect to which "gradient" is its gradient.
    """
    import espmm

    library = Path(espmm.torch_library()).with_name("libespmm_torch_autograd.so")
    program = library.parents[1] / "bin" / "DeployedProgram"
    if not program.exists():
        pytest.skip(f"{program} is not built")
    torch.save(arguments, folder / "arguments")
    command = [program, library, model, folder / "arguments", folder / "results", *differentiated]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(zip(*torch.load(folder / "results")))


def diamond():
    return _rattled(bulk("C", "diamond", a=3.57, cubic=True))


def water():
    atoms = molecule("H2O")
    atoms.set_cell([3.2, 3.3, 3.1])
    atoms.pbc = True
    return _rattled(atoms * (1, 1, 2))


def magnesia():
    return _rattled(bulk("MgO", "rocksalt", a=4.21, cubic=True))


def small():
    """Two atoms, for what takes many steps."""
    return _rattled(bulk("MgO", "rocksalt", a=4.21))


def triclinic():
    atoms = _rattled(bulk("MgO", "rocksalt", a=4.21) * (2, 1, 1))
    atoms.set_cell(atoms.cell.array + [[0.0, 0.3, -0.2], [0.1, 0.0, 0.4], [-0.3, 0.2, 0.0]], scale_atoms=True)
    return atoms


def one_atom():
    """One atom and its images."""
    return ase.Atoms("C", cell=[[2.3, 0.0, 0.1], [0.2, 2.4, 0.0], [0.0, 0.3, 2.5]], pbc=True)


def molecule_without_cell():
    return _rattled(molecule("CH3OH"))


STRUCTURES = (diamond, water, magnesia, triclinic, one_atom, molecule_without_cell)


def _rattled(atoms):
    atoms.rattle(0.05, seed=1)
    return atoms


def evaluate(calculator, atoms):
    """Energy, forces and, in a cell, stress."""
    calculator.reset()
    keys = ["energy", "forces"] + (["stress"] if atoms.pbc.all() else [])
    return {key: np.array(calculator.get_property(key, atoms), dtype=float) for key in keys}
