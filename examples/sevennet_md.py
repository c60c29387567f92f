"""Molecular dynamics of silicon with SevenNet's pretrained 7net-0, accelerated by espmm in one line.

    .clients/sevenn/bin/python examples/sevennet_md.py          # `make clients` makes that environment

Compares one call before and after, then runs at constant temperature and shows how fast.
"""

from __future__ import annotations

import argparse
import time
import warnings


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=2, metavar="N", help="N x N x N cells of 8 atoms (default 2)")
    parser.add_argument("--steps", type=int, default=200, help="steps of 2 fs (default 200)")
    parser.add_argument("--temperature", type=float, default=600.0, metavar="K")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto (default)")
    return parser.parse_args(argv)


def timed_energy(atoms) -> tuple[float, float]:
    """The potential energy in eV, and the seconds of a call when everything is compiled."""
    for _ in range(3):
        atoms.calc.reset()
        begin = time.perf_counter()
        energy = atoms.get_potential_energy()
        seconds = time.perf_counter() - begin
    return energy, seconds


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    warnings.filterwarnings("ignore")
    from ase import units
    from ase.build import bulk
    from ase.md.langevin import Langevin
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
    from sevenn.calculator import SevenNetCalculator
    from tqdm import tqdm

    import espmm

    atoms = bulk("Si", cubic=True) * (arguments.cells, arguments.cells, arguments.cells)
    atoms.rattle(0.02, seed=0)
    atoms.calc = SevenNetCalculator("7net-0", device=arguments.device)
    energy, seconds = timed_energy(atoms)
    print(f"{len(atoms)} atoms of silicon, as SevenNet has it: {energy:.5f} eV, {1e3 * seconds:.0f} ms a call")

    _, report = espmm.accelerate(atoms.calc)

    print(report)
    fast_energy, fast_seconds = timed_energy(atoms)
    print(f"accelerated: {fast_energy:.5f} eV, {1e3 * fast_seconds:.0f} ms a call, {seconds / fast_seconds:.1f} times as fast")

    MaxwellBoltzmannDistribution(atoms, temperature_K=arguments.temperature)
    dynamics = Langevin(atoms, 2 * units.fs, temperature_K=arguments.temperature, friction=0.01 / units.fs)
    with tqdm(total=arguments.steps, unit="step") as bar:
        for _ in dynamics.irun(arguments.steps):
            bar.set_description(f"{atoms.get_temperature():4.0f} K, {atoms.get_total_energy() / len(atoms):.4f} eV an atom")
            bar.update(min(1, bar.total - bar.n))


if __name__ == "__main__":
    main()
