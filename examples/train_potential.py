"""A small potential for copper trained from nothing, on energies and forces of ase's EMT: e3nn's modules on espmm's kernels.

    python examples/train_potential.py

It makes its own data (rattled and strained crystals, some with a vacancy), trains with the loss on energies and forces (so that the
gradient of the parameters is a second derivative of the energy), shows progress, prints the errors on structures that it has
not seen, and draws the loss into potential.png.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

import ase.build
import numpy
import torch
from ase.calculators.emt import EMT
from ase.neighborlist import neighbor_list
from e3nn import o3
from torch import Tensor, nn
from tqdm import tqdm

import espmm

CUTOFF = 5.0  # angstrom
NEIGHBOURS = 42  # within the cutoff, about
CHANNELS = 16
NUM_BESSEL = 8
FEATURES = f"{CHANNELS}x0e+{CHANNELS}x1o+{CHANNELS}x2e"
HARMONICS = "0e+1o+2e"


@dataclass
class Batch:
    """Structures side by side: atoms [atoms], edges from senders to receivers, shifts [edges, 3] in angstrom, labels."""

    positions: Tensor
    structure: Tensor
    receivers: Tensor
    senders: Tensor
    shifts: Tensor
    energy: Tensor
    forces: Tensor

    @property
    def atoms(self) -> Tensor:
        """Atoms of each structure."""
        return torch.bincount(self.structure)


def make_structures(count: int, seed: int) -> list[ase.Atoms]:
    """Cubic cells of copper, 2 x 2 x 2, each strained, rattled and now and then short of an atom; labelled by EMT."""
    random = numpy.random.default_rng(seed)
    structures = []
    for _ in range(count):
        atoms = ase.build.bulk("Cu", cubic=True) * (2, 2, 2)
        atoms.set_cell(atoms.cell @ (numpy.eye(3) + random.normal(scale=0.02, size=(3, 3))), scale_atoms=True)
        atoms.positions += random.normal(scale=random.uniform(0.02, 0.15), size=atoms.positions.shape)
        if random.random() < 0.3:
            del atoms[int(random.integers(len(atoms)))]
        atoms.calc = EMT()
        atoms.info["energy"], atoms.arrays["emt"] = atoms.get_potential_energy(), atoms.get_forces()
        structures.append(atoms)
    return structures


def batch_of(structures: list[ase.Atoms], device: str) -> Batch:
    columns: list[list[numpy.ndarray]] = [[] for _ in range(6)]
    first = 0
    for number, atoms in enumerate(structures):
        receivers, senders, periods = neighbor_list("ijS", atoms, CUTOFF)
        values = (
            atoms.positions, numpy.full(len(atoms), number), receivers + first, senders + first,
            periods @ atoms.cell.array, atoms.arrays["emt"],
        )  # fmt: skip
        for column, value in zip(columns, values):
            column.append(value)
        first += len(atoms)
    positions, structure, receivers, senders, shifts, forces = map(numpy.concatenate, columns)
    energy = [atoms.info["energy"] for atoms in structures]

    def real(array) -> Tensor:
        return torch.as_tensor(numpy.asarray(array), dtype=torch.float32, device=device)

    def index(array) -> Tensor:
        return torch.as_tensor(array, dtype=torch.int64, device=device)

    return Batch(real(positions), index(structure), index(receivers), index(senders), real(shifts), real(energy), real(forces))


class Layer(nn.Module):
    """Linear, convolution, linear, gate; added to what came in."""

    def __init__(self, features: str) -> None:
        super().__init__()
        middle, instructions = espmm.every_path(features, HARMONICS, "0e+1o+2e")
        problem = espmm.TPProblem(features, HARMONICS, middle, instructions, shared_weights=False, internal_weights=False)
        self.conv = espmm.TensorProductConv(problem)
        self.radial = nn.Sequential(nn.Linear(NUM_BESSEL, 32), nn.SiLU(), nn.Linear(32, problem.weight_numel))
        self.up = o3.Linear(features, features)
        gated = f"{CHANNELS}x0e+{2 * CHANNELS}x0e+{CHANNELS}x1o+{CHANNELS}x2e"
        self.down = o3.Linear(o3.Irreps(str(middle)).simplify(), gated)
        self.residual = o3.Linear(features, FEATURES)

    def forward(self, x: Tensor, harmonics: Tensor, radial: Tensor, graph: espmm.Graph) -> Tensor:
        z = self.down(self.conv(self.up(x), harmonics, self.radial(radial), graph) / NEIGHBOURS**0.5)
        scalars, gates, vectors, tensors = z.split([CHANNELS, 2 * CHANNELS, 3 * CHANNELS, 5 * CHANNELS], 1)
        first, second = torch.sigmoid(gates).split(CHANNELS, 1)
        vectors = (first[:, :, None] * vectors.unflatten(1, (CHANNELS, 3))).flatten(1)
        tensors = (second[:, :, None] * tensors.unflatten(1, (CHANNELS, 5))).flatten(1)
        return self.residual(x) + torch.cat([nn.functional.silu(scalars), vectors, tensors], 1)


class Potential(nn.Module):
    """Energies [structures] in eV and forces [atoms, 3] in eV/angstrom."""

    def __init__(self, energy_per_atom: float) -> None:
        super().__init__()
        self.register_buffer("energy_per_atom", torch.tensor(energy_per_atom))
        self.first = nn.Parameter(torch.randn(1, CHANNELS))
        self.layers = nn.ModuleList([Layer(f"{CHANNELS}x0e"), Layer(FEATURES)])
        self.readout = nn.Sequential(nn.Linear(CHANNELS, CHANNELS), nn.SiLU(), nn.Linear(CHANNELS, 1))

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        positions = batch.positions.detach().requires_grad_()
        vectors = positions[batch.senders] + batch.shifts - positions[batch.receivers]
        lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        harmonics = o3.spherical_harmonics(o3.Irreps(HARMONICS), vectors, normalize=True, normalization="component")
        waves = torch.sin(torch.pi / CUTOFF * torch.arange(1, NUM_BESSEL + 1, device=lengths.device) * lengths) / lengths
        radial = waves * (1 + torch.cos(torch.pi / CUTOFF * lengths))
        graph = espmm.Graph(batch.receivers, batch.senders, num_nodes=len(positions))
        x = self.first.expand(len(positions), -1)
        for layer in self.layers:
            x = layer(x, harmonics, radial, graph)
        by_atom = self.energy_per_atom + self.readout(x[:, :CHANNELS]).squeeze(1)
        energy = by_atom.new_zeros(len(batch.energy)).index_add(0, batch.structure, by_atom)
        (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=self.training)
        return energy, -gradient


def errors(model: Potential, batch: Batch) -> tuple[float, float]:
    """Root mean square errors: of the energy an atom in meV, of forces in meV/angstrom."""
    model.eval()
    energy, forces = model(batch)
    model.train()
    by_atom = (energy.detach() - batch.energy) / batch.atoms
    return 1e3 * by_atom.square().mean().sqrt().item(), 1e3 * (forces - batch.forces).square().mean().sqrt().item()


def draw(losses: list[float], tests: list[tuple[int, float, float]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    axes.plot(losses, color="#9aa5b1", linewidth=0.8, label="loss of a batch")
    steps, energies, forces = zip(*tests)
    other = axes.twinx()
    other.plot(steps, energies, "o-", color="#2364aa", label="energy, meV an atom")
    other.plot(steps, forces, "s-", color="#f0a202", label="forces, meV/Å")
    for side, text in ((axes, "loss"), (other, "error on structures not seen")):
        side.set_yscale("log")
        side.set_ylabel(text)
    axes.set_xlabel("step")
    axes.set_title("A potential for copper, trained on EMT", fontsize=11)
    axes.legend(loc="lower left", frameon=False)
    other.legend(loc="upper right", frameon=False)
    figure.savefig(path, dpi=150)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=int, default=60, help="to train on; a fifth as many more to test on (default 60)")
    parser.add_argument("--epochs", type=int, default=40, help="passes over them (default 40)")
    parser.add_argument("--batch", type=int, default=4, help="structures a step (default 4)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", default="potential.png", metavar="FILE", help="the plot (default potential.png)")
    arguments = parser.parse_args(argv)
    torch.manual_seed(0)
    begin = time.perf_counter()
    training = make_structures(arguments.structures, seed=0)
    testing = batch_of(make_structures(max(1, arguments.structures // 5), seed=1), arguments.device)
    batches = [
        batch_of(training[i : i + arguments.batch], arguments.device) for i in range(0, len(training), arguments.batch)
    ]
    mean = sum(atoms.info["energy"] for atoms in training) / sum(map(len, training))
    model = Potential(mean).to(arguments.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    steps = arguments.epochs * len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
    energy_error, force_error = errors(model, testing)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(training)} structures, {arguments.device}")
    print(f"before: energy {energy_error:.3g} meV an atom, forces {force_error:.3g} meV/A")
    losses: list[float] = []
    tests = [(0, energy_error, force_error)]
    with tqdm(total=steps, unit="step", file=sys.stderr) as bar:
        for _ in range(arguments.epochs):
            for number in torch.randperm(len(batches)).tolist():
                batch = batches[number]
                optimizer.zero_grad()
                energy, forces = model(batch)
                by_atom = (energy - batch.energy) / batch.atoms
                loss = 100 * by_atom.square().mean() + (forces - batch.forces).square().mean()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 10.0)
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
                bar.update()
            tests.append((len(losses), *errors(model, testing)))
            bar.set_description(f"energy {tests[-1][1]:.3g} meV an atom, forces {tests[-1][2]:.3g} meV/A")
    _, energy_error, force_error = tests[-1]
    print(f"after: energy {energy_error:.3g} meV an atom, forces {force_error:.3g} meV/A, in {time.perf_counter() - begin:.0f} s")
    draw(losses, tests, arguments.output)
    print(f"The plot is {arguments.output}.")


if __name__ == "__main__":
    main()
