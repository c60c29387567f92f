"""k.report() and k.resources: the figures are those of the manifest and of ptxas, in their columns."""

from __future__ import annotations

import shutil

import espmm
import pytest
from espmm.__main__ import main

PROBLEM = espmm.every_path_problem("32x0e+32x1o", "0e+1o", "0e+1o")


def columns(table: str) -> dict[str, list[str]]:
    """Figures by header, of the kernels that compute, of whose figures none is missing."""
    first, second, *rows = table.splitlines()
    names = ["kernel", *(" ".join(pair) for pair in zip(first.split()[1:], second.replace("a block", "a-block").replace(
        "an edge", "an-edge").replace("a node", "a-node").replace("in the code", "in-the-code").split()))]  # fmt: skip
    cells = [row.split() for row in rows if not row.startswith("espmm_fill")]
    assert all(len(row) == len(names) for row in cells)
    return {name: list(column) for name, column in zip(names, zip(*cells))}


@pytest.mark.skipif(shutil.which("ptxas") is None, reason="ptxas is not on PATH")
def test_for_a_gpu(library):
    kernel = espmm.compile(PROBLEM, "cuda:sm_90", conv=True, grad_order=1)
    found = columns(kernel.kernels[1].report())
    made, estimated = ({found["name"]: found for found in kernel.resources[source]}["conv_vjp_0"] for source in ("sass", "kernels"))
    fill, launch = kernel.manifest["steps"]
    assert found["kernel"] == ["conv_vjp_0"] and fill["kernel"] == "espmm_fill_2"
    assert found["registers estimate"] == [str(estimated["registers_estimate"])]
    assert found["registers ptxas"] == [str(made["registers"])] and 16 < made["registers"] < 256
    assert found["spilled bytes"] == [str(made["spill_store_bytes"])]
    assert found["shared bytes"] == [str(launch["shared"])]
    assert found["threads a-block"] == ["128"]
    assert found["bytes an-edge"] == [str(kernel.cost["bytes_per_edge"])]
    assert found["multiply an-edge"] == [str(kernel.cost["multiplications_per_edge"])]
    # A lane's arithmetic for an edge is in the code, most of which is one loop.
    instructions = int(found["instructions in-the-code"][0])
    assert kernel.cost["multiplications_per_edge"] / 64 < instructions < 4 * len(kernel.ptx.splitlines())
    assert kernel.report() == "\n\n".join(f"order {i}\n{k.report()}" for i, k in enumerate(kernel.kernels))


def test_without_ptxas_or_a_gpu(library, monkeypatch, capsys):
    monkeypatch.setenv("ESPMM_PTXAS", "/nowhere/ptxas")
    kernel = espmm.compile(PROBLEM, "cuda:sm_90", conv=True)
    assert "sass" not in kernel.resources
    found = columns(kernel.report().split("\n", 1)[1])
    assert "registers estimate" in found and "shared bytes" in found and "registers ptxas" not in found
    host = espmm.compile(PROBLEM).report()
    assert "registers" in host and "shared" not in host and "instructions" not in host
    assert main(["compile", "--in1", "8x1o", "--in2", "1o", "--out", "8x0e", "--every-path", "--emit", "report"]) == 0
    assert capsys.readouterr().out.startswith("kernel ")


def test_a_ptxas_that_fails(library, monkeypatch, tmp_path):
    """One that does not know the chip: the estimates are there, and the reason."""
    ptxas = tmp_path / "ptxas"
    script = '#!/bin/sh\n[ "$1" = --version ] && { echo "release 1.0, V1"; exit 0; }\necho no such chip >&2\nexit 1\n'
    ptxas.write_text(script)
    ptxas.chmod(0o755)
    monkeypatch.setenv("ESPMM_PTXAS", str(ptxas))
    kernel = espmm.compile(PROBLEM, "cuda:sm_90", conv=True)
    assert "no such chip" in kernel.resources["sass_error"] and "sass" not in kernel.resources
    assert "registers" in kernel.report()
