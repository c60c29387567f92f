"""A table of what the compiler estimates of each kernel and what the assembler says."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

#: Bytes of a machine instruction, of all chips since sm_70.
_INSTRUCTION = 16

#: Columns: the header's two lines, and the figure of a kernel's estimates, launch, assembly and use of a device.
_COLUMNS = (
    ("registers", "estimate", lambda k, step, sass, use: k.get("registers_estimate")),
    ("registers", "ptxas", lambda k, step, sass, use: sass.get("registers")),
    ("registers", "device", lambda k, step, sass, use: use.get("registers")),
    ("spilled", "bytes", lambda k, step, sass, use: sass.get("spill_store_bytes")),
    ("local", "bytes", lambda k, step, sass, use: use.get("local_bytes")),
    ("shared", "bytes", lambda k, step, sass, use: _shared(step, sass)),
    ("threads", "a block", lambda k, step, sass, use: _product(step.get("block"))),
    ("bytes", "an edge", lambda k, step, sass, use: k.get("bytes_per_edge")),
    ("gathered", "an edge", lambda k, step, sass, use: k.get("gathered_bytes_per_edge")),
    ("bytes", "a node", lambda k, step, sass, use: k.get("bytes_per_node")),
    ("multiply", "an edge", lambda k, step, sass, use: k.get("multiplications_per_edge")),
    ("add", "an edge", lambda k, step, sass, use: k.get("additions_per_edge")),
    ("instructions", "in the code", lambda k, step, sass, use: sass and sass["code_bytes"] // _INSTRUCTION),
)


def report(compiled: Any) -> str:
    """The table of a :class:`CompiledProgram`. Columns for which there is no figure are left out: those of ptxas where it is
    not found, those of a device where it is not loaded, those of a GPU for the CPU."""
    resources = compiled.resources
    steps = {step["kernel"]: step for step in compiled.manifest["steps"] if step["op"] == "launch"}
    sass, used = ({kernel["name"]: kernel for kernel in resources.get(source, ())} for source in ("sass", "device"))
    table: list[list[str]] = [["kernel", "", *(k["name"] for k in resources["kernels"])]]
    for first, second, figure in _COLUMNS:
        figures = [figure(k, *(known.get(k["name"], {}) for known in (steps, sass, used))) for k in resources["kernels"]]
        if any(value not in (None, {}) for value in figures):
            table.append([first, second, *("" if value in (None, {}) else str(value) for value in figures)])
    return "\n".join(_lines(table))


def _shared(step: Mapping[str, Any], sass: Mapping[str, Any]) -> Any:
    return step["shared"] + sass.get("static_shared_bytes", 0) if "shared" in step else None


def _product(extents: Any) -> Any:
    return None if extents is None else extents[0] * extents[1] * extents[2]


def _lines(columns: Sequence[Sequence[str]]) -> list[str]:
    """Rows of columns: names to the left, figures to the right."""
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for row in zip(*columns):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        lines.append("  ".join(cells).rstrip())
    return lines
