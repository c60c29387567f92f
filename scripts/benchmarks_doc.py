"""Writes the figures of docs/benchmarks/*.json into docs/Benchmarks.md, and draws their plots beside them.

Tables of the page stand between two comments, and nobody types them:

    <!-- figures FILE.json SUITE -->
    ...
    <!-- end -->

Where the file is missing, the page says which command writes it; the comment may give its arguments after SUITE.

Usage: benchmarks_doc.py [--check | --plots]; with --check nothing is written, and the exit status is 1 if the page has
drifted; with --plots the plots are drawn too (needs matplotlib).
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "python"))

from espmm.bench import plots, report  # noqa: E402
from espmm.bench.figures import WITHOUT_ROWS, Figures, PeerFigure, Row  # noqa: E402

PAGE = ROOT / "docs" / "Benchmarks.md"
FOLDER = ROOT / "docs" / "benchmarks"

_PLACE = re.compile(
    r"(<!-- figures (?P<file>\S+) (?P<suite>\S+)(?P<arguments>[^\n]*?) -->\n).*?(<!-- end -->)", re.DOTALL
)


def rendered(page: str) -> str:
    """The page with every table made anew."""
    return _PLACE.sub(lambda m: m[1] + _figures(m["file"], m["suite"], m["arguments"].strip()) + m[5], page)


def _figures(name: str, suite: str, arguments: str) -> str:
    path = FOLDER / name
    if not path.is_file():
        words = ["python -m espmm bench --suite", suite, *arguments.split(), "--json", f"docs/benchmarks/{name}"]
        return f"\nNot measured yet. `{' '.join(words)}` fills this table.\n\n"
    figures = Figures.load(str(path))
    rows: list[Row] = figures.suites[suite]
    if suite in WITHOUT_ROWS:
        return "\n".join(["", *_plain_table(rows), "", ""])
    lines = ["", *(f"{line}.  " for line in report.heading(figures.environment).splitlines()), ""]
    lines += _table(rows, figures.tolerance)
    lines += ["", *(f"- {line}" for line in report.summary(rows) + report.notes(rows)), ""]
    for plot in ("bars", "roofline"):
        image = f"{path.stem}/{plot}-{suite}.png"
        if (FOLDER / image).is_file():
            lines += [f"![{plot} of {suite}](benchmarks/{image})", ""]
    return "\n".join(lines) + "\n"


#: Columns of figures that are not of a pass.
_COLUMNS = {
    "problem": "problem", "compiled_s": "s, compiled", "cached_s": "s, from the disk cache", "call": "call", "us": "us of the host",
}  # fmt: skip


def _plain_table(rows: list[dict]) -> list[str]:
    cells = [[value if isinstance(value, str) else report.number(value) for value in row.values()] for row in rows]
    header = [_COLUMNS[name] for name in rows[0]]
    return [f"| {' | '.join(line)} |" for line in (header, ["---", *["---:"] * (len(header) - 1)], *cells)]


def _table(rows: list[Row], tolerance: float) -> list[str]:
    peers = report.peers_of(rows)
    header = [
        "problem",
        "graph",
        "pass",
        "ms",
        "% of floor",
        "GB/s",
        "GFLOP/s",
        "error",
        *(f"{name}: ms, x, error" for name in peers),
    ]
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * 3}{'---:|' * (len(header) - 3)}"]
    for row in rows:
        cells = [row.problem, row.graph, row.pass_name, report.number(row.ms), f"{row.percent_of_floor:.0f}"]
        cells += [
            report.number(row.gigabytes_per_s),
            report.number(row.gigaflops_per_s),
            report.error(row.error, tolerance),
        ]
        cells += [_cell(row, name, tolerance) for name in peers]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cell(row: Row, name: str, tolerance: float) -> str:
    peer = row.peers.get(name, PeerFigure())
    if peer.ms is None:
        return "-" if peer.error is None else f"-, {report.error(peer.error, tolerance)}"
    return f"{report.number(peer.ms)}, {report.number(row.speedup(name))}x, {report.error(peer.error, tolerance)}"


def main() -> int:
    """Renders, checks or draws; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true")
    what.add_argument("--plots", action="store_true")
    arguments = parser.parse_args()
    if arguments.plots:
        for path in sorted(FOLDER.glob("*.json")):
            for written in plots.draw(Figures.load(str(path)), str(FOLDER / path.stem)):
                print(f"wrote {written.relative_to(ROOT)}")
    page = PAGE.read_text(encoding="utf-8")
    fresh = rendered(page)
    if fresh == page:
        return 0
    if arguments.check:
        print(
            "error: docs/Benchmarks.md is not what docs/benchmarks says; run scripts/benchmarks_doc.py", file=sys.stderr
        )
        return 1
    PAGE.write_text(fresh, encoding="utf-8")
    print("wrote docs/Benchmarks.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
