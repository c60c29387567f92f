"""The figures of a run, as they are kept in a JSON file. Needs no torch: tables and plots are made of the file too."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

FORMAT = 2

#: Suites that compare nothing: they have no graphs and no passes.
WITHOUT_ROWS = ("compile", "host")


@dataclass
class PeerFigure:
    """A peer's time (ms) and error in one pass. `note` says why one of them is missing."""

    ms: float | None = None
    error: float | None = None
    note: str = ""


@dataclass
class Row:
    """A line of the table: espmm's figures in one pass, and the peers'; times in milliseconds.

    `floor_bytes` and `flops` are what the pass must move and what the kernel computes, in all.
    """

    problem: str
    graph: str
    pass_name: str
    error: float
    ms: float
    repeats: int
    floor_ms: float
    floor_bytes: float
    flops: float | None = None
    host_ms: float | None = None
    peers: dict[str, PeerFigure] = field(default_factory=dict)

    @property
    def percent_of_floor(self) -> float:
        return 100 * self.floor_ms / self.ms

    @property
    def gigabytes_per_s(self) -> float:
        return 1e-6 * self.floor_bytes / self.ms

    @property
    def gigaflops_per_s(self) -> float | None:
        return None if self.flops is None else 1e-6 * self.flops / self.ms

    def speedup(self, peer: str) -> float | None:
        """How many times less time than the peer; None if that has none."""
        figure = self.peers.get(peer)
        return None if figure is None or figure.ms is None else figure.ms / self.ms

    def as_json(self) -> dict[str, Any]:
        """What is kept, and beside it what follows from it, for whoever reads the file."""
        found = asdict(self) | {
            "percent_of_floor": self.percent_of_floor,
            "gigabytes_per_s": self.gigabytes_per_s,
            "gigaflops_per_s": self.gigaflops_per_s,
        }
        for name, peer in found["peers"].items():
            peer["speedup"] = self.speedup(name)
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Row:
        """What :meth:`as_json` gave."""
        own = {f.name: found[f.name] for f in fields(cls) if f.name in found}
        kept = [f.name for f in fields(PeerFigure)]
        own["peers"] = {name: PeerFigure(**{key: peer[key] for key in kept}) for name, peer in found["peers"].items()}
        return cls(**own)


@dataclass
class Figures:
    """A run: what it was measured on, the graphs, and for each suite its rows (for those `WITHOUT_ROWS` dictionaries)."""

    environment: dict[str, Any]
    tolerance: float
    graphs: dict[str, dict[str, Any]] = field(default_factory=dict)
    suites: dict[str, list[Any]] = field(default_factory=dict)

    def save(self, path: str) -> None:
        """Writes the file whole or not at all: a run saves after every graph, and may be cut off."""
        suites = {
            name: [row.as_json() if isinstance(row, Row) else row for row in rows] for name, rows in self.suites.items()
        }
        content = {
            "format": FORMAT,
            "environment": self.environment,
            "tolerance": self.tolerance,
            "graphs": self.graphs,
            "suites": suites,
        }
        with open(path + ".part", "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.write("\n")
        os.replace(path + ".part", path)

    @classmethod
    def load(cls, path: str) -> Figures:
        """Reads a file.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no file of figures.
        """
        with open(path, encoding="utf-8") as file:
            try:
                found = json.load(file)
                suites = {
                    name: list(rows) if name in WITHOUT_ROWS else [Row.from_json(row) for row in rows]
                    for name, rows in found["suites"].items()
                }
                if found["format"] != FORMAT:
                    raise ValueError(f"expected {path} to be of format {FORMAT}, got {found['format']!r}")
                return cls(found["environment"], found["tolerance"], found.get("graphs", {}), suites)
            except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"expected {path} to be what bench --json wrote, got {type(error).__name__}: {error}"
                ) from None
