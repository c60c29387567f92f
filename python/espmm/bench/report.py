"""The figures as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .measure import Row


def heading(environment: Mapping[str, object]) -> str:
    """What was measured on; a line."""
    threads = f", {environment['threads']} threads" if environment["threads"] else ""
    return (
        f"{environment['device']}{threads}, {environment['dtype']}, {environment['layout']}"
        f"{', deterministic' if environment['deterministic'] else ''}{', inputs resident' if environment['resident'] else ''}; copy {environment['copy_gigabytes_per_s']:.0f} GB/s; "
        f"espmm {environment['espmm']}, e3nn {environment['e3nn']}, torch {environment['torch']}"
    )


def align(header: Sequence[str], lines: Iterable[Sequence[str]], left: int) -> str:
    """Columns as wide as they need, the first `left` of them flush left."""
    rows = [header, *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    texts = []
    for row in rows:
        cells = [cell.ljust(width) if i < left else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))]
        texts.append("  ".join(cells).rstrip())
    return "\n".join(texts)


def number(value: float | None) -> str:
    """Three digits, without an exponent in the range of times."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(suite: str, rows: Sequence[Row], tolerance: float) -> str:
    """A line a pass; an error above the tolerance is marked WRONG, and what e3nn has no time for says why beneath."""
    host = any(row.host_ms is not None for row in rows)
    header = ["problem", "graph", "pass", "error", "ms", *(["host ms"] if host else [])]
    header += ["floor ms", "% of floor", "GB/s", "e3nn ms", "x e3nn"]
    lines = []
    for row in rows:
        lines.append(
            [
                row.problem,
                row.graph,
                row.pass_name,
                f"{row.error:.1e}" + ("" if row.error <= tolerance else " WRONG"),
                number(row.ms),
                *([number(row.host_ms)] if host else []),
                number(row.floor_ms),
                f"{row.percent_of_floor:.0f}",
                f"{row.gigabytes_per_s:.0f}",
                number(row.e3nn_ms),
                number(row.speedup),
            ]
        )
    notes = [f"{row.problem}, {row.graph}, {row.pass_name}: {row.note}" for row in rows if row.note]
    return "\n".join([f"\n{suite}", align(header, lines, left=3), *notes])


def compile_table(figures: Sequence[Mapping[str, object]]) -> str:
    """Seconds from the Python call to kernels that are ready."""
    lines = [[str(f["problem"]), number(f["compiled_s"]), number(f["cached_s"])] for f in figures]
    return "\ncompile, forward to double backward, seconds\n" + align(["problem", "from nothing", "from disk cache"], lines, left=1)
