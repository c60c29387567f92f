"""Carbon diamond, and a small NequIP/MACE-like potential for it, of two interaction layers.

The potential is written once; the convolution in its layers is an argument. `E3nnConv` and espmm's TensorProductConv
have the same signature, conv(x, y, w, receivers, senders), and no parameters of their own, so the same weights can
be run through both.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import ase.build
import numpy
import torch
from e3nn import o3
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms.tersoff_brenner import Tersoff_PRB_39_5566_Si_C, TersoffBrenner
from matscipy.neighbours import neighbour_list
from torch import Tensor, nn

import espmm
from espmm.problems import every_path

CUTOFF = 6.0  # angstrom
LATTICE_CONSTANT = 3.567  # angstrom
ATOMS_PER_CELL = 8
NEIGHBOURS = 158  # within the cutoff, of each atom
CHANNELS = 128
NUM_BESSEL = 8
HIDDEN = 64

# The convolution of large MACE models: every path of these two inputs into 0e, 1o, 2e and 3o, 17 of them.
FEATURES = "128x0e+128x1o+128x2e"
HARMONICS = "0e+1o+2e+3o"
MESSAGES, INSTRUCTIONS = every_path(FEATURES, HARMONICS, "0e+1o+2e+3o")
NUM_WEIGHTS = len(INSTRUCTIONS) * CHANNELS


@dataclass
class Crystal:
    """Atoms with their edges; an edge leads from a sender to a receiver within the cutoff of it.

    positions: [atoms, 3] angstrom. receivers, senders: [edges] int64. shifts: [edges, 3] angstrom, what the
    periodic image of the sender is displaced by. energy (eV) and forces [atoms, 3] (eV/angstrom) are the labels.
    """

    positions: Tensor
    receivers: Tensor
    senders: Tensor
    shifts: Tensor
    energy: float
    forces: Tensor

    @property
    def num_atoms(self) -> int:
        return self.positions.shape[0]

    @property
    def num_edges(self) -> int:
        return self.receivers.shape[0]


def carbon_diamond(cells: int, dtype: torch.dtype, device: str) -> Crystal:
    """`cells` x `cells` x `cells` rattled cubic cells of diamond; the labels are Tersoff's potential of 1989."""
    atoms = ase.build.bulk("C", "diamond", a=LATTICE_CONSTANT, cubic=True) * (cells, cells, cells)
    atoms.rattle(0.02, seed=0)
    receivers, senders, periods = neighbour_list("ijS", atoms, CUTOFF)
    atoms.calc = Manybody(**TersoffBrenner(Tersoff_PRB_39_5566_Si_C))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy, about matscipy's use of `where`
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()

    def tensor(array: numpy.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=dtype, device=device)

    return Crystal(
        positions=tensor(atoms.positions),
        receivers=torch.as_tensor(receivers, dtype=torch.int64, device=device),
        senders=torch.as_tensor(senders, dtype=torch.int64, device=device),
        shifts=tensor(periods @ atoms.cell.array),
        energy=float(energy),
        forces=tensor(forces),
    )


class E3nnConv(nn.Module):
    """The convolution as written with e3nn: gather, tensor product, sum."""

    def __init__(self) -> None:
        super().__init__()
        self.tp = o3.TensorProduct(
            FEATURES, HARMONICS, MESSAGES, INSTRUCTIONS, shared_weights=False, internal_weights=False
        )

    def forward(self, x: Tensor, y: Tensor, w: Tensor, receivers: Tensor, senders: Tensor) -> Tensor:
        messages = self.tp(x[senders], y, w)
        return messages.new_zeros(x.shape[0], messages.shape[1]).index_add(0, receivers, messages)


def espmm_conv(dtype: torch.dtype) -> espmm.TensorProductConv:
    """The same, fused: no message is ever in memory."""
    return espmm.TensorProductConv(
        espmm.TPProblem(
            FEATURES,
            HARMONICS,
            MESSAGES,
            INSTRUCTIONS,
            shared_weights=False,
            internal_weights=False,
            irrep_dtype=dtype,
            weight_dtype=dtype,
        )
    )


def bessel(lengths: Tensor) -> Tensor:
    """[edges] -> [edges, NUM_BESSEL]: Bessel functions under the polynomial cutoff of order 6, both smooth at the cutoff."""
    r = lengths[:, None] / CUTOFF
    frequencies = torch.pi * torch.arange(1, NUM_BESSEL + 1, dtype=r.dtype, device=r.device)
    envelope = 1 - 28 * r**6 + 48 * r**7 - 21 * r**8
    return 2**0.5 * torch.sin(frequencies * r) / r * envelope * (r < 1)


def radial_network(outputs: int) -> nn.Sequential:
    """The network that turns radial functions into the weights of an edge's tensor product."""
    return nn.Sequential(
        nn.Linear(NUM_BESSEL, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, outputs, bias=False)
    )


class Density(nn.Module):
    """First features: the neighbours' density in radial functions and harmonics, mixed into the channels.

    Of an atom alone only scalars are known; with these features the first convolution, too, meets all of 0e, 1o and 2e.
    """

    def __init__(self) -> None:
        super().__init__()
        features, harmonics = o3.Irreps(FEATURES), o3.Irreps(HARMONICS)
        self.blocks = [block for block, (_, ir) in zip(harmonics.slices(), harmonics) if ir in features]
        self.linear = o3.Linear(o3.Irreps([(NUM_BESSEL, ir) for _, ir in harmonics if ir in features]), FEATURES)

    def forward(self, radial: Tensor, harmonics: Tensor, receivers: Tensor, num_atoms: int) -> Tensor:
        edges = torch.cat([(radial[:, :, None] * harmonics[:, None, block]).flatten(1) for block in self.blocks], 1)
        density = edges.new_zeros(num_atoms, edges.shape[1]).index_add(0, receivers, edges)
        return self.linear(density / NEIGHBOURS**0.5)


class Interaction(nn.Module):
    """linear - convolution - linear - nonlinearity, with a residual connection; features in, features out.

    The nonlinearity takes the scalars and the squared norms of all the sums, makes new scalars of them, and gates for the rest.
    """

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        messages = o3.Irreps(MESSAGES).simplify()
        sums = o3.Irreps([(CHANNELS, ir) for _, ir in messages])
        self.linear_up = o3.Linear(FEATURES, FEATURES)
        self.radial = radial_network(NUM_WEIGHTS)
        self.linear_down = o3.Linear(messages, sums)
        self.nonlinear = nn.Sequential(
            nn.Linear(len(sums) * CHANNELS, CHANNELS), nn.SiLU(), nn.Linear(CHANNELS, o3.Irreps(FEATURES).num_irreps)
        )
        self.residual = o3.Linear(FEATURES, FEATURES)
        self.sum_blocks = sums.slices()

    def forward(self, x: Tensor, harmonics: Tensor, radial: Tensor, receivers: Tensor, senders: Tensor) -> Tensor:
        z = self.conv(self.linear_up(x), harmonics, self.radial(radial), receivers, senders)
        sums = self.linear_down(z / NEIGHBOURS**0.5)
        scalars, *rest = [sums[:, block].unflatten(1, (CHANNELS, -1)) for block in self.sum_blocks]
        invariants = [scalars.squeeze(2)] + [block.square().mean(2) for block in rest]
        new_scalars, *gates = self.nonlinear(torch.cat(invariants, 1)).split(CHANNELS, 1)
        gated = [(gate[:, :, None] * block).flatten(1) for gate, block in zip(gates, rest)]
        return self.residual(x) + torch.cat([new_scalars, *gated], 1)


class Potential(nn.Module):
    """Energy and forces of a crystal; `conv` makes the convolution of each of the two layers."""

    def __init__(self, conv: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.density = Density()
        self.layers = nn.ModuleList([Interaction(conv()) for _ in range(2)])
        self.readouts = nn.ModuleList([nn.Linear(CHANNELS, 1) for _ in range(2)])

    def forward(self, crystal: Crystal, training: bool = False) -> tuple[Tensor, Tensor]:
        """The energy [] in eV and the forces [atoms, 3] in eV/angstrom; differentiable once more if `training`."""
        positions = crystal.positions.detach().requires_grad_()
        vectors = positions[crystal.senders] + crystal.shifts - positions[crystal.receivers]
        harmonics = o3.spherical_harmonics(o3.Irreps(HARMONICS), vectors, normalize=True, normalization="component")
        radial = bessel(torch.linalg.vector_norm(vectors, dim=1))
        x = self.density(radial, harmonics, crystal.receivers, crystal.num_atoms)
        energy = positions.new_zeros(())
        for layer, readout in zip(self.layers, self.readouts):
            x = layer(x, harmonics, radial, crystal.receivers, crystal.senders)
            energy = energy + readout(x[:, :CHANNELS]).sum()
        (gradient,) = torch.autograd.grad(energy, positions, create_graph=training)
        return energy, -gradient


def loss(crystal: Crystal, energy: Tensor, forces: Tensor) -> Tensor:
    """Squared errors of the energy an atom and of the forces' components, against the labels."""
    return ((energy - crystal.energy) / crystal.num_atoms).square() + (forces - crystal.forces).square().mean()


def set_weights(model: nn.Module, seed: int) -> None:
    """Random weights that are the same numbers, but for rounding, in every dtype."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
            if name.endswith("bias"):
                parameter.zero_()
            else:
                # Matrices are torch's; e3nn's linear maps have their weights in a row, and normalise by themselves.
                parameter.copy_((2 * values - 1) * (parameter.shape[1] ** -0.5 if parameter.dim() == 2 else 3**0.5))


def build_potential(implementation: str, dtype: torch.dtype, device: str) -> Potential:
    """The potential with seeded weights, the same for both implementations ("e3nn", "espmm").

    It is built in its own dtype: a model turned to float64 would keep coefficients of float32.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        conv = E3nnConv if implementation == "e3nn" else lambda: espmm_conv(dtype)
        model = Potential(conv)
    finally:
        torch.set_default_dtype(before)
    set_weights(model, seed=0)
    return model.to(device)
