"""Plots of a run's figures, from memory or from the JSON file: bars against the peers, and a roofline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .figures import WITHOUT_ROWS, Figures, Row
from .report import peers_of

_COLOURS = {
    "espmm": "#1b6ca8",
    "e3nn": "#9a9a9a",
    "openequivariance": "#d1742b",
    "openequivariance-det": "#e8b27d",
    "cuequivariance": "#5a9e48",
    "flashtp": "#8b5fbf",
}
_MARKERS = {"forward": "o", "backward": "s", "double backward": "^"}


def draw(figures: Figures, folder: str) -> list[Path]:
    """Writes bars-SUITE.png and roofline-SUITE.png for each suite that has rows; returns what it wrote.

    Raises:
        ImportError: there is no matplotlib.
    """
    import matplotlib

    matplotlib.use("Agg")
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    written = []
    for suite, rows in figures.suites.items():
        if suite in WITHOUT_ROWS or not rows:
            continue
        written.append(_bars(rows, figures, place / f"bars-{suite}.png"))
        if any(row.flops is not None for row in rows):
            written.append(_roofline(rows, figures, place / f"roofline-{suite}.png"))
    return written


def _title(figures: Figures) -> str:
    about = figures.environment
    return f"{about['device']}, {about['dtype']}, {about['layout']}"


def _bars(rows: Sequence[Row], figures: Figures, path: Path) -> Path:
    """Milliseconds on a logarithmic scale: a panel a pass, a group of bars a problem and graph, a line for the floor.

    Bars of wrong results are hatched.
    """
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    passes = list(dict.fromkeys(row.pass_name for row in rows))
    cases = list(dict.fromkeys((row.problem, row.graph) for row in rows))
    peers = [name for name in peers_of(rows) if any(row.peers[name].ms for row in rows if name in row.peers)]
    names = ["espmm", *peers]
    width = 0.8 / len(names)
    figure, axes = plt.subplots(
        len(passes), 1, figsize=(max(6.0, 1.1 * len(cases) + 2), 2.6 * len(passes) + 1), sharex=True, squeeze=False
    )
    for axis, pass_name in zip(axes[:, 0], passes):
        of_pass = {(row.problem, row.graph): row for row in rows if row.pass_name == pass_name}
        for i, name in enumerate(names):
            found = [(at, of_pass[case]) for at, case in enumerate(cases) if case in of_pass]
            found = [(at, row) for at, row in found if _ms(row, name) is not None]
            middle = [at - 0.4 + (i + 0.5) * width for at, _ in found]
            bars = axis.bar(middle, [_ms(row, name) for _, row in found], width, color=_COLOURS.get(name))
            for bar, (_, row) in zip(bars, found):
                if _is_wrong(row, name, figures.tolerance):
                    bar.set(hatch="xxx", edgecolor="red")
        floors = [(at, of_pass[case].floor_ms) for at, case in enumerate(cases) if case in of_pass]
        axis.hlines(
            [ms for _, ms in floors], [at - 0.42 for at, _ in floors], [at + 0.42 for at, _ in floors],
            color="black", linewidth=1,
        )  # fmt: skip
        axis.set_yscale("log")
        axis.set_ylabel(f"{pass_name}\nms")
        axis.grid(axis="y", which="major", linewidth=0.4)
        axis.set_axisbelow(True)
    axes[-1, 0].set_xticks(range(len(cases)), [f"{problem}\n{graph}" for problem, graph in cases], fontsize=8)
    axes[0, 0].set_title(_title(figures), fontsize=10)
    handles = [Patch(color=_COLOURS.get(name), label=name) for name in names]
    handles.append(Line2D([], [], color="black", linewidth=1, label="memory floor"))
    axes[0, 0].legend(handles=handles, fontsize=8, ncols=len(handles), loc="lower left", bbox_to_anchor=(0, 1.1))
    return _save(figure, path)


def _ms(row: Row, name: str) -> float | None:
    if name == "espmm":
        return row.ms
    return row.peers[name].ms if name in row.peers else None


def _is_wrong(row: Row, name: str, tolerance: float) -> bool:
    error = row.error if name == "espmm" else row.peers[name].error
    return error is not None and not error <= tolerance


def _roofline(rows: Sequence[Row], figures: Figures, path: Path) -> Path:
    """Bytes a second over operations a byte, a point a kernel: the floor's bytes, the operations of espmm's kernel."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 5.5))
    rows = [row for row in rows if row.flops is not None]
    intensity = [row.flops / row.floor_bytes for row in rows]
    for name in ["espmm", *peers_of(rows)]:
        for pass_name, marker in _MARKERS.items():
            points = [
                (x, 1e-6 * row.floor_bytes / ms)
                for x, row in zip(intensity, rows)
                if row.pass_name == pass_name and (ms := _ms(row, name)) is not None
            ]
            if points:
                label = f"{name}, {pass_name}"
                small = 45 if name == "espmm" else 18
                axis.scatter(*zip(*points), s=small, marker=marker, color=_COLOURS.get(name), label=label)
    copy, arithmetic = (figures.environment.get(key) for key in ("copy_gigabytes_per_s", "matmul_gigaflops_per_s"))
    low, high = min(intensity) / 1.5, max(intensity) * 1.5
    if arithmetic:
        high = max(high, 1.5 * arithmetic / copy)
        ridge = arithmetic / copy
        axis.plot([low, ridge, high], [copy, copy, arithmetic / high], color="black", linewidth=1)
        axis.annotate(f"matrix product {arithmetic:.0f} GFLOP/s", (ridge, copy), fontsize=8, ha="right", va="bottom")
    else:
        axis.plot([low, high], [copy, copy], color="black", linewidth=1)
    axis.annotate(f"copy {copy:.0f} GB/s", (low, copy), fontsize=8, va="bottom")
    axis.set(xscale="log", yscale="log", xlabel="operations a byte", ylabel="GB/s")
    axis.set_title(_title(figures), fontsize=10)
    axis.grid(which="major", linewidth=0.4)
    axis.set_axisbelow(True)
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return _save(figure, path)


def _save(figure, path: Path) -> Path:
    import matplotlib.pyplot as plt

    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
    return path
