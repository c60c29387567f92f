"""A crystal of carbon in a NequIP/MACE-like potential, with e3nn and with espmm: the same weights, the same results.

Prints the energies of both and how far forces and gradients of the parameters are apart, in float64 and float32; then
times and peak memory side by side; draws demo.png. Run by `make demo`, on the GPU if there is one. It ends with exit status 1,
and without times, if the two differ by more than rounding does.

The *floor* of a pass of the convolution is the time that copying the bytes it must move takes, at the copy bandwidth
measured in the same run (see espmm.bench.measure). That of a model's step is the sum over its convolutions: two forward and
two backward passes for energy and forces; for a training step another two of each backward, and two double backward.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from tqdm import tqdm

import carbon_jobs
from carbon_jobs import PASSES
from carbon_model import ATOMS_PER_CELL, NEIGHBOURS

# Bytes an edge that a training step takes at its peak, in float32: what is tried, and what may fit.
E3NN_BYTES_PER_EDGE = 500_000
ESPMM_BYTES_PER_EDGE = 65_000
# How often each pass of the convolution runs in each of the two layers.
STEPS = {
    "energy and forces": {"forward": 1, "backward": 1, "double backward": 0},
    "training step": {"forward": 1, "backward": 2, "double backward": 1},
}
LAYERS = 2
# How far energies, forces and gradients may be apart, of the largest.
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
# Where memory allows any number of cells along an edge, at most so many.
MOST_CELLS = 100


@dataclass
class Measured:
    """Times in milliseconds by bar, "forward" to "training step", and the peak memory of the model's steps in bytes."""

    cells: int
    ms: dict[str, float]
    floor_ms: dict[str, float]
    peak_bytes: int
    bandwidth: float
    losses: list[float]

    @property
    def atoms(self) -> int:
        return ATOMS_PER_CELL * self.cells**3


def edges_of(cells: int) -> int:
    return ATOMS_PER_CELL * cells**3 * NEIGHBOURS


def largest_cells(bytes_per_edge: int, device: str, most: int) -> int:
    """The largest n such that a training step on n x n x n cells should fit in the memory that is free."""
    from espmm.bench.measure import available_bytes

    free = available_bytes(torch.device(device))
    fitting = [n for n in range(1, most + 1) if edges_of(n) * bytes_per_edge <= 0.95 * free]
    return max(fitting, default=1)


def measure_largest(
    implementation: str, cells: int, device: str, budget_s: float, bandwidth: float | None, say: Callable[[str], None]
) -> Measured:
    """Of `cells` cells along an edge, or of as many fewer as fit in memory.

    Raises:
        carbon_jobs.OutOfMemory: one does not fit.
    """
    while True:
        try:
            return measure(implementation, cells, device, budget_s, bandwidth)
        except carbon_jobs.OutOfMemory as error:
            if cells == 1:
                raise
            cells -= 1
            say(f"{error}: trying {cells} x {cells} x {cells} cells")


def measure(implementation: str, cells: int, device: str, budget_s: float, bandwidth: float | None) -> Measured:
    """The convolution's passes and the model's steps."""
    passes = carbon_jobs.run(
        "time_passes", implementation=implementation, cells=cells, device=device, budget_s=budget_s, bandwidth=bandwidth
    )
    model = carbon_jobs.run("time_model", implementation=implementation, cells=cells, device=device, budget_s=budget_s)
    floor = dict(passes["floor_ms"])
    for step, counts in STEPS.items():
        floor[step] = LAYERS * sum(count * floor[name] for name, count in counts.items())
    return Measured(
        cells, {**passes["ms"], **model["ms"]}, floor, model["peak_bytes"], passes["bandwidth"], model["losses"]
    )


def number(value: float) -> str:
    """Three digits, or all that stand before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def comparison_lines(dtype: str, result: dict) -> list[str]:
    energy = result["energy"]
    return [
        f"{dtype}",
        f"  energy                       e3nn {energy['e3nn']:.10g} eV   espmm {energy['espmm']:.10g} eV"
        f"   difference {abs(energy['espmm'] - energy['e3nn']):.1e}",
        f"  forces                       largest {result['force']:.3g} eV/A   largest difference {result['force_difference']:.1e}",
        f"  gradients of the parameters  largest {result['gradient']:.3g} ({result['parameters']:,} parameters)"
        f"   largest difference {result['gradient_difference']:.1e}",
    ]


def differences(dtype: str, result: dict) -> list[str]:
    """What is further apart than the tolerance, or not a number."""
    energy = result["energy"]
    pairs = {
        "energies": (abs(energy["espmm"] - energy["e3nn"]), abs(energy["e3nn"])),
        "forces": (result["force_difference"], result["force"]),
        "gradients of the parameters": (result["gradient_difference"], result["gradient"]),
    }
    return [
        f"{what} differ by {difference:.1e} in {dtype}, more than {TOLERANCE[dtype]:.0e} of {size:.3g}"
        for what, (difference, size) in pairs.items()
        if not difference <= TOLERANCE[dtype] * size
    ]


def side_by_side_lines(e3nn: Measured, espmm: Measured) -> list[str]:
    lines = [
        f"{e3nn.atoms} atoms, {edges_of(e3nn.cells):,} edges, float32; copy bandwidth {1e-9 * e3nn.bandwidth:.0f} GB/s",
        f"  {'':32} {'e3nn ms':>10} {'espmm ms':>10} {'speed-up':>9} {'floor ms':>10} {'of floor':>9}",
    ]
    for name in espmm.ms:
        title = f"convolution, {name}" if name in PASSES else f"model, {name}"
        lines.append(
            f"  {title:32} {number(e3nn.ms[name]):>10} {number(espmm.ms[name]):>10} {e3nn.ms[name] / espmm.ms[name]:8.1f}x"
            f" {number(espmm.floor_ms[name]):>10} {espmm.floor_ms[name] / espmm.ms[name]:9.0%}"
        )
    lines.append(
        f"  {'model, peak memory, GiB':32} {e3nn.peak_bytes / 2**30:10.2f} {espmm.peak_bytes / 2**30:10.2f}"
        f" {e3nn.peak_bytes / espmm.peak_bytes:8.1f}x"
    )
    return lines


def alone_lines(espmm: Measured) -> list[str]:
    lines = [f"{espmm.atoms} atoms, {edges_of(espmm.cells):,} edges, float32, espmm alone"]
    for name in espmm.ms:
        title = f"convolution, {name}" if name in PASSES else f"model, {name}"
        lines.append(
            f"  {title:32} {'':10} {number(espmm.ms[name]):>10} {'':9} {number(espmm.floor_ms[name]):>10}"
            f" {espmm.floor_ms[name] / espmm.ms[name]:9.0%}"
        )
    lines.append(f"  {'model, peak memory, GiB':32} {'':10} {espmm.peak_bytes / 2**30:10.2f}")
    return lines


def draw(e3nn: Measured, espmm: Measured, machine: str, path: str) -> None:
    """Bars for each pass and step: e3nn, espmm, the floor; a logarithmic axis of milliseconds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(espmm.ms)
    series = (("e3nn", e3nn.ms, "#9aa5b1"), ("espmm", espmm.ms, "#2364aa"), ("memory floor", espmm.floor_ms, "#f0a202"))
    figure, axes = pyplot.subplots(figsize=(10, 5), layout="constrained")
    for offset, (label, values, color) in zip((-0.27, 0.0, 0.27), series):
        positions = [i + offset for i in range(len(names))]
        bars = axes.bar(positions, [values[name] for name in names], 0.25, label=label, color=color)
        axes.bar_label(bars, [number(values[name]) for name in names], fontsize=8, padding=2)
    titles = [("convolution\n" if name in PASSES else "model\n") + name for name in names]
    for i, name in enumerate(names):
        titles[i] += f"\n{number(e3nn.ms[name] / espmm.ms[name])} times as fast"
    axes.set_xticks(range(len(names)), titles)
    axes.set_yscale("log")
    axes.set_ylabel("milliseconds")
    axes.margins(y=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"Carbon diamond, {e3nn.atoms} atoms, {edges_of(e3nn.cells):,} edges, float32, {machine}", fontsize=11)
    axes.legend(frameon=False, ncols=3)
    figure.savefig(path, dpi=150)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--cells", type=int, metavar="N", help="e3nn and espmm are timed on N x N x N cells of 8 atoms (default: what fits)")
    parser.add_argument("--large", type=int, metavar="N", help="espmm alone is timed on N x N x N cells, or on as many as fit (default 5: 1000 atoms)")
    parser.add_argument("--budget", type=float, default=2.0, metavar="SECONDS", help="measuring time of each figure (default 2)")
    parser.add_argument("--output", default="demo.png", metavar="FILE", help="the picture (default demo.png)")
    parser.add_argument("--quick", action="store_true", help="8 atoms, and little repetition: to see that it runs")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    device, budget_s = arguments.device, 0.0 if arguments.quick else arguments.budget
    start = time.perf_counter()
    if device == "cuda":
        machine = torch.cuda.get_device_name()
    else:
        machine = f"{torch.get_num_threads()} CPU threads"
    compared = 1 if arguments.quick else 2
    # On the CPU e3nn takes minutes on more than 64 atoms.
    cells = arguments.cells or (1 if arguments.quick else largest_cells(E3NN_BYTES_PER_EDGE, device, MOST_CELLS if device == "cuda" else 2))
    large = 1 if arguments.quick else arguments.large or 5
    print(f"Carbon diamond (rattled, cutoff 6 A, {NEIGHBOURS} neighbours an atom) on {machine}")
    bar = tqdm(total=5, file=sys.stderr, bar_format="{desc} ({n_fmt} of {total_fmt} done, {elapsed})")
    if sys.stderr.isatty():
        carbon_jobs.while_waiting = bar.refresh

    def show(lines: list[str]) -> None:
        bar.update()
        bar.write("\n".join(["", *lines]), file=sys.stdout)

    def say(line: str) -> None:
        bar.write(line, file=sys.stdout)

    atoms = ATOMS_PER_CELL * compared**3
    wrong = []
    for dtype in ("float64", "float32"):
        bar.set_description(f"e3nn and espmm on {atoms} atoms, {dtype}")
        result = carbon_jobs.run("compare", dtype=dtype, cells=compared, device=device)
        show([f"{atoms} atoms, {edges_of(compared):,} edges"] * (dtype == "float64") + comparison_lines(dtype, result))
        wrong += differences(dtype, result)
    if wrong:
        bar.close()
        print("\n".join(f"error: {line}" for line in ["e3nn and espmm are not the same", *wrong]), file=sys.stderr)
        return 1
    bar.set_description(f"timing e3nn on {ATOMS_PER_CELL * cells**3} atoms")
    e3nn = measure_largest("e3nn", cells, device, budget_s, None, say)
    cells = e3nn.cells
    bar.update()
    bar.set_description(f"timing espmm on {ATOMS_PER_CELL * cells**3} atoms")
    espmm = measure("espmm", cells, device, budget_s, e3nn.bandwidth)
    show(side_by_side_lines(e3nn, espmm))
    draw(e3nn, espmm, machine, arguments.output)
    if large != cells:
        fits = largest_cells(ESPMM_BYTES_PER_EDGE, device, large)
        if fits < (arguments.large or 0):
            say(f"{ATOMS_PER_CELL * large**3} atoms do not fit in the memory that is free")
        bar.set_description(f"timing espmm on {ATOMS_PER_CELL * fits**3} atoms")
        show(alone_lines(measure_largest("espmm", fits, device, budget_s, e3nn.bandwidth, say)))
    else:
        bar.update()
    bar.close()
    print(f"\nThe picture is {arguments.output}; all took {time.perf_counter() - start:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
