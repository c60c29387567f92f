"""Times energy and forces of a whole model, as it is and accelerated, in turn in the same run; in the environment of one client.

    .clients/sevenn/bin/python scripts/bench_clients.py            # 7net-0
    .clients/nequip/bin/python scripts/bench_clients.py            # NequIP, l_max 2, 4 layers, 32 features, random parameters
    .clients/mace/bin/python scripts/bench_clients.py              # MACE, 128x0e+128x1o, 2 layers, random parameters
    ... --device cuda                                              # with OpenEquivariance beside it, where it is installed

A call is the client's own ASE calculator from positions to energy, forces and stress, its list of neighbours included: diamond,
rattled, 64 atoms by default. The three take turns, in an order that is drawn each time, so that what else the machine does, and what the call before left in its
caches, is the same for all; medians are printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import statistics
import sys
import time
import warnings
from typing import Any, Optional

import numpy
import torch

import espmm
from espmm.launch import Launcher

warnings.filterwarnings("ignore")


class MACE:
    title = "MACE 128x0e+128x1o"

    @staticmethod
    def model() -> torch.nn.Module:
        from mace import modules  # before e3nn 0.4.4, which does not load without what mace sets

        from e3nn import o3

        torch.manual_seed(0)
        return modules.ScaleShiftMACE(
            r_max=5.0, num_bessel=8, num_polynomial_cutoff=5, max_ell=3, num_interactions=2, num_elements=1,
            interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
            interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
            hidden_irreps=o3.Irreps("128x0e+128x1o"), MLP_irreps=o3.Irreps("16x0e"), correlation=3, gate=torch.nn.functional.silu,
            atomic_energies=numpy.zeros(1), avg_num_neighbors=88.0, atomic_numbers=[6], radial_MLP=[64, 64, 64],
            radial_type="bessel", atomic_inter_scale=1.0, atomic_inter_shift=0.0,
        )  # fmt: skip

    @staticmethod
    def calculator(model: torch.nn.Module, device: str, **options: Any) -> Any:
        from mace.calculators import MACECalculator

        return MACECalculator(models=[model], device=device, default_dtype="float32", **options)

    @classmethod
    def openequivariance(cls, device: str) -> Any:
        return cls.calculator(cls.model(), device, enable_oeq=True)


class NequIP:
    title = "NequIP l_max 2, 4 layers, 32 features"

    @staticmethod
    def model() -> torch.nn.Module:
        from nequip.model import NequIPGNNModel
        from nequip.utils.global_state import set_global_state

        set_global_state()
        return NequIPGNNModel(
            seed=0, model_dtype="float32", r_max=5.0, type_names=["C"], avg_num_neighbors=88.0, num_layers=4, l_max=2,
            num_features=32, per_type_energy_scales=1.0, per_type_energy_shifts=0.0,
        ).eval()  # fmt: skip

    @staticmethod
    def calculator(model: torch.nn.Module, device: str) -> Any:
        from espmm.acceleration import nequip

        return nequip.calculator(model, device)

    @classmethod
    def openequivariance(cls, device: str) -> Any:
        from nequip.nn._tp_scatter_base import TensorProductScatter

        return cls.calculator(TensorProductScatter.enable_OpenEquivariance(cls.model()), device)


class SevenNet:
    title = "SevenNet 7net-0"

    @staticmethod
    def model() -> torch.nn.Module:
        from sevenn.util import load_checkpoint

        return load_checkpoint("7net-0").build_model()

    @staticmethod
    def calculator(model: torch.nn.Module, device: str) -> Any:
        from sevenn.calculator import SevenNetCalculator

        return SevenNetCalculator(model, file_type="model_instance", device=device)

    @staticmethod
    def openequivariance(device: str) -> Any:
        from sevenn.calculator import SevenNetCalculator

        return SevenNetCalculator("7net-0", device=device, enable_oeq=True)


CLIENTS = {"mace": MACE, "nequip": NequIP, "sevenn": SevenNet}


def call(calculator: Any, atoms: Any) -> float:
    """Seconds of one call. Its results are on the host, so that nothing is pending at its end."""
    calculator.reset()
    begin = time.perf_counter()
    calculator.calculate(atoms, ["energy", "forces", "stress"], ["positions", "numbers", "cell", "pbc"])
    return time.perf_counter() - begin


class Launches:
    """The seconds that launches take. On the CPU a launch is over when it returns."""

    def __init__(self) -> None:
        self.seconds = 0.0
        launch = Launcher.__call__

        def timed(launcher: Launcher, *arguments: Any) -> Any:
            begin = time.perf_counter()
            try:
                return launch(launcher, *arguments)
            finally:
                self.seconds += time.perf_counter() - begin

        Launcher.__call__ = timed  # type: ignore[method-assign]

    def take(self) -> float:
        """Those since it was asked last."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds


def with_openequivariance(client: Any, device: str) -> Optional[Any]:
    """The client's calculator on OpenEquivariance; None where that is not to be had."""
    if device != "cuda" or importlib.util.find_spec("openequivariance") is None:
        return None
    return client.openequivariance(device)


def quotients(times: dict[str, list[float]]) -> tuple[float, float, float]:
    """A call with espmm beside the one with OpenEquivariance in the same turn: the median quotient of their times, and the bounds of
    where it lies at 95 % (those quotients between which a median falls, by the binomial distribution)."""
    values = sorted(a / b for a, b in zip(times["espmm"], times["OpenEquivariance"]))
    rank = max(int(len(values) / 2 - 0.98 * len(values) ** 0.5), 0)
    return statistics.median(values), values[rank], values[-1 - rank]


def main(argv: Optional[list[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--cells", type=int, default=2, metavar="N", help="N x N x N cells of 8 atoms (default 2)")
    parser.add_argument("--threads", type=int, default=2, help="threads of the CPU (default 2)")
    parser.add_argument("--warmup", type=int, default=5, help="calls that do not count (default 5)")
    parser.add_argument("--repeat", type=int, default=9, help="calls of each that count (default 9)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    parser.add_argument("--profile", action="store_true", help="where the time of an accelerated call goes, by torch.profiler")
    arguments = parser.parse_args(argv)
    from ase.build import bulk

    torch.set_num_threads(arguments.threads)
    found = [name for name in CLIENTS if importlib.util.find_spec(name) is not None]
    if len(found) != 1:
        parser.error(f"expected an environment with one of {', '.join(CLIENTS)}, got {', '.join(found) or 'none'}")
    client = CLIENTS[found[0]]
    atoms = bulk("C", "diamond", a=3.57, cubic=True) * (arguments.cells, arguments.cells, arguments.cells)
    atoms.rattle(0.05, seed=1)
    calculators: dict[str, Any] = {"e3nn": client.calculator(client.model(), arguments.device)}
    calculators["espmm"] = client.calculator(client.model(), arguments.device)
    espmm.accelerate(calculators["espmm"])
    other = with_openequivariance(client, arguments.device)
    if other is not None:
        calculators["OpenEquivariance"] = other
    load = os.getloadavg()[0]
    names, order = list(calculators), random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in names}
    launches, kernels = Launches() if arguments.device == "cpu" else None, []
    for i in range(arguments.warmup + arguments.repeat):
        for name in order.sample(names, len(names)):
            seconds = call(calculators[name], atoms)
            if i >= arguments.warmup:
                times[name].append(seconds)
            if launches is not None and name == "espmm":
                kernels.append(launches.take())
    figures = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    if arguments.device == "cuda":
        machine = torch.cuda.get_device_name()
    else:
        machine = f"CPU, {arguments.threads} threads"
    print(f"{client.title}, {len(atoms)} atoms of diamond, float32, energy, forces and stress, {machine}")
    print(f"load of the machine {load:.1f} before, {os.getloadavg()[0]:.1f} after; {arguments.repeat} calls of each, in turn")
    reference = calculators["e3nn"].results
    for name, ms in figures.items():
        results = calculators[name].results
        energy = abs(float(results["energy"]) - float(reference["energy"])) / abs(float(reference["energy"]))
        forces = abs(results["forces"] - reference["forces"]).max() / abs(reference["forces"]).max()
        spread = f"{1e3 * min(times[name]):.4g} to {1e3 * max(times[name]):.4g}"
        print(
            f"  {name:16} {ms:8.4g} ms ({spread})  {figures['e3nn'] / ms:5.3g}x"
            f"  energy differs from e3nn's by {energy:.0e}, forces by {forces:.0e} (relative)"
        )
    content: dict[str, Any] = {"model": client.title, "atoms": len(atoms), "machine": machine, "load": load, "ms": figures}
    if launches is not None:
        content["kernels"] = taken = 1e3 * statistics.median(kernels[arguments.warmup :])
        rest = figures["e3nn"] / (figures["espmm"] - taken)
        print(f"  espmm's kernels take {taken:.4g} ms of a call; if they took nothing, it would be {rest:.3g} times as fast as e3nn's")
    if other is not None:
        content["beside OpenEquivariance"] = median, low, high = quotients(times)
        print(f"  turn by turn a call takes {median:.3f} of one with OpenEquivariance (95 %: {low:.3f} to {high:.3f})")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
    if arguments.profile:
        from torch.profiler import profile

        with profile() as profiled:
            call(calculators["espmm"], atoms)
        print(profiled.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40))
    return 0


if __name__ == "__main__":
    sys.exit(main())
