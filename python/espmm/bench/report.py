"""The figures as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .figures import Figures, PeerFigure, Row

# Peers in the head of a wide table.
SHORT = {"openequivariance": "oeq", "openequivariance-det": "oeq-det", "cuequivariance": "cueq"}


def text(figures: Figures) -> str:
    """All of a run: what it was measured on, and a table a suite."""
    return "\n".join([heading(figures.environment), *(suite_table(figures, suite) for suite in figures.suites)])


def suite_table(figures: Figures, suite: str) -> str:
    """The table of one suite."""
    rows = figures.suites[suite]
    if suite == "compile":
        return compile_table(rows)
    return host_table(rows) if suite == "host" else table(suite, rows, figures.tolerance)


def heading(environment: Mapping[str, object]) -> str:
    """What was measured on, and the peers, those that could not run with the reason."""
    threads = f", {environment['threads']} threads" if environment["threads"] else ""
    lines = [
        f"{environment['device']}{threads}, {environment['dtype']}, {environment['layout']}"
        f"{', deterministic' if environment['deterministic'] else ''}"
        f"{', inputs resident' if environment['resident'] else ''}; "
        f"copy {environment['copy_gigabytes_per_s']:.0f} GB/s; "
        f"espmm {environment['espmm']}, e3nn {environment['e3nn']}, torch {environment['torch']}"
    ]
    peers: Mapping[str, Mapping[str, str]] = environment.get("peers", {})  # type: ignore[assignment]
    for name, about in peers.items():
        known = f"{name} ({SHORT[name]})" if name in SHORT else name
        if "missing" in about:
            lines.append(f"peer {known} is missing: {about['missing']}")
        elif name != "e3nn":
            lines.append(f"peer {known} {about['version']}")
    return "\n".join(lines)


def align(header: Sequence[str], lines: Iterable[Sequence[str]], left: int) -> str:
    """Columns as wide as they need, the first `left` of them flush left."""
    rows = [header, *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    texts = []
    for row in rows:
        cells = [
            cell.ljust(width) if i < left else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))
        ]
        texts.append("  ".join(cells).rstrip())
    return "\n".join(texts)


def number(value: float | None) -> str:
    """Three digits, without an exponent in the range of times."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def error(value: float | None, tolerance: float) -> str:
    """A relative error, marked WRONG above the tolerance; NaN is above it."""
    if value is None:
        return "-"
    return f"{value:.1e}" + ("" if value <= tolerance else " WRONG")


def peers_of(rows: Sequence[Row]) -> list[str]:
    """The peers of any row, in order."""
    return list(dict.fromkeys(name for row in rows for name in row.peers))


def table(suite: str, rows: Sequence[Row], tolerance: float) -> str:
    """A line a pass; for each peer its ms, error, and how many times faster espmm is. Beneath, why a cell is empty."""
    host = any(row.host_ms is not None for row in rows)
    peers = peers_of(rows)
    header = ["problem", "graph", "pass", "error", "ms", *(["host ms"] if host else [])]
    header += ["floor ms", "% of floor", "GB/s", "GFLOP/s"]
    header += [cell for name in peers for cell in (f"{SHORT.get(name, name)} ms", "error", "x")]
    lines = []
    for row in rows:
        line = [row.problem, row.graph, row.pass_name, error(row.error, tolerance), number(row.ms)]
        line += [number(row.host_ms)] if host else []
        line += [
            number(row.floor_ms),
            f"{row.percent_of_floor:.0f}",
            number(row.gigabytes_per_s),
            number(row.gigaflops_per_s),
        ]
        for name in peers:
            peer = row.peers.get(name, PeerFigure())
            line += [number(peer.ms), error(peer.error, tolerance), number(row.speedup(name))]
        lines.append(line)
    return "\n".join([f"\n{suite}", align(header, lines, left=3), *summary(rows), *notes(rows)])


def summary(rows: Sequence[Row]) -> list[str]:
    """How espmm compares with e3nn, and with the best of the other peers, right or wrong: least and largest factor."""
    others = [name for name in peers_of(rows) if name != "e3nn"]
    lines = []
    for title, names in (("e3nn", ["e3nn"]), (f"the best of {', '.join(others)}", others)):
        found = [
            (min(factors), row) for row in rows if (factors := [f for n in names if (f := row.speedup(n)) is not None])
        ]
        if found:
            (least, row), (most, _) = min(found, key=lambda f: f[0]), max(found, key=lambda f: f[0])
            where = f"{row.problem} {row.graph} {row.pass_name}"
            lines.append(
                f"{number(least)} ({where}) to {number(most)} times faster than {title}, "
                f"in {len(found)} of {len(rows)} rows"
            )
    return lines


def notes(rows: Sequence[Row]) -> list[str]:
    """Why peers have no time, a line for each reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for name, peer in row.peers.items():
            if peer.note:
                found.setdefault((name, peer.note), []).append(f"{row.problem} {row.graph} {row.pass_name}")
    return [
        f"{name}: {note} ({len(places)} of {len(rows)} rows)"
        if len(places) > 3
        else f"{name}: {note} ({', '.join(places)})"
        for (name, note), places in found.items()
    ]


def compile_table(figures: Sequence[Mapping[str, object]]) -> str:
    """Seconds from the Python call to kernels that are ready."""
    lines = [[str(f["problem"]), number(f["compiled_s"]), number(f["cached_s"])] for f in figures]
    return "\ncompile, forward to double backward, seconds\n" + align(
        ["problem", "from nothing", "from disk cache"], lines, left=1
    )


def host_table(figures: Sequence[Mapping[str, object]]) -> str:
    """Microseconds of the host for a call."""
    lines = [[str(f["call"]), number(f["us"])] for f in figures]
    return "\nhost, microseconds a call\n" + align(["call", "us"], lines, left=1)
