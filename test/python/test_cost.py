"""kernel.cost, kernel.resources and kernel.statistics against counts made here."""

from __future__ import annotations

import re

import pytest

import espmm
from espmm.problems import every_path_problem, fully_connected_problem, named_problem


def row_bytes(compiled, rows: str) -> int:
    """Bytes a row of the arguments that are read and of the results, of those with such rows."""
    manifest = compiled.manifest
    tensors = [argument for argument in manifest["arguments"] if argument["used"]] + manifest["results"]
    return sum(4 * tensor["width"] for tensor in tensors if tensor["rows"] == rows)


@pytest.mark.parametrize("name", ["mace-large", "nequip-lips"])
def test_cpu(name, library):
    problem = named_problem(name)
    kernel = espmm.compile(problem, conv=True, grad_order=2)
    flops = []
    for compiled in kernel.kernels:
        cost = compiled.cost
        assert cost["bytes_per_edge"] == row_bytes(compiled, "edges")
        assert cost["gathered_bytes_per_edge"] == row_bytes(compiled, "senders")
        assert cost["bytes_per_node"] == row_bytes(compiled, "receivers")
        assert len(cost["scratch_bytes"]) == len(compiled.manifest["scratch"])
        statistics = compiled.statistics
        assert statistics["factor"]["paths"] == len(problem.instructions)
        assert 0 < statistics["sparsify"]["multiplications"] < statistics["sparsify"]["dense_multiplications"]
        assert 0 < statistics["sparsify"]["max_live"]
        assert statistics["tile"]["bytes_per_edge"] == cost["bytes_per_edge"]
        launched = [step["kernel"] for step in compiled.manifest["steps"] if step["op"] == "launch"]
        assert [found["name"] for found in compiled.resources["kernels"]] == launched
        costly = [found for found in compiled.resources["kernels"] if "registers_estimate" in found]
        assert len(costly) == 1 and costly[0]["registers_estimate"] > 0
        flops.append(cost["multiplications_per_edge"])
    assert flops == sorted(flops)


def test_scratch_of_sums_in_a_fixed_order(library):
    """A row an edge of x's gradient, and of y's for each launch that adds to it; nothing where sums may be in any order."""
    problem = named_problem("mace-large")
    for deterministic in (False, True):
        orders = espmm.compile(problem, "cuda:sm_90", conv=True, grad_order=2, deterministic=deterministic).kernels
        assert orders[0].cost["scratch_bytes"] == []
        for compiled in orders[1:]:
            scratch = compiled.cost["scratch_bytes"]
            if not deterministic:
                assert scratch == []
                continue
            used = {entry["use"]: entry["bytes"] for entry in scratch}
            assert list(used) == ["result 0 by edges", "result 1 in parts of its channels"]
            assert [(factor, rows) for factor, rows, _ in used.values()] == [("*", "E")] * 2
            of_x, of_y = (count for _, _, count in used.values())
            assert of_x == 4 * problem.irreps_in1.dim and of_y % (4 * problem.irreps_in2.dim) == 0 and of_y <= 16 * problem.irreps_in2.dim


def test_gpu_tiles_together(library):
    """However a kernel is cut, its weights and its gradients' rows cross memory once."""
    problem = named_problem("nequip-benzene")
    compiled = espmm.compile(problem, target="cuda:sm_90", conv=True, grad_order=1).kernels[-1]
    tiled = [line for line in compiled.ir("tiled").splitlines() if "equivariant.kernel over" in line]
    instances = [int(found.group(1)) if (found := re.search(r"instances = (\d+)", line)) else 1 for line in tiled]
    assert max(instances) == 2  # those of each parity
    tiles = sum(instances)
    (kernel,) = [found for found in compiled.resources["kernels"] if "registers_estimate" in found]  # one launch
    assert compiled.cost["bytes_per_edge"] == kernel["bytes_per_edge"]
    # The second input, and its gradient, are small, and each tile's.
    small = 2 * 4 * problem.irreps_in2.dim
    whole = row_bytes(compiled, "edges")
    assert whole <= compiled.cost["bytes_per_edge"] <= whole + small * (tiles - 1)
    assert compiled.cost["gathered_bytes_per_edge"] == row_bytes(compiled, "senders")
    assert 0 < kernel["registers_estimate"] < 255


def test_more_edges_a_row_cost_more(library):
    """Doubling the channels doubles what is proportional to them, and leaves the statistics of a channel alone."""
    narrow, wide = (espmm.compile(every_path_problem(f"{m}x1o", "1o", f"{m}x0e"), conv=True) for m in (16, 32))
    assert wide.cost["gathered_bytes_per_edge"] == 2 * narrow.cost["gathered_bytes_per_edge"] == 2 * 4 * 48
    assert wide.cost["bytes_per_edge"] - narrow.cost["bytes_per_edge"] == 4 * 16
    assert wide.statistics["factor"] == narrow.statistics["factor"]


def test_instances_cost_what_tiles_cost(library):
    """Two tiles that are alike, as two kernels and as two instances of one."""
    problem = every_path_problem("40x0e+40x0o", "0e+1o", "0e+0o+1e+1o")
    apart, shared = (
        espmm.compile(problem, target="cuda:sm_90", conv=True, grad_order=2, schedule={"tile_registers": 8, "instances": n}).kernels[-1]
        for n in (1, 2)
    )
    assert [compiled.ir("tiled").count("equivariant.kernel over") for compiled in (apart, shared)] == [2, 1]
    assert shared.cost == apart.cost
    launched = [[step["kernel"] for step in compiled.manifest["steps"]] for compiled in (apart, shared)]
    assert launched[0] == launched[1] == ["espmm_fill_2", "conv_vjp_vjp_0"]


@pytest.mark.parametrize("target", ["cpu", "cuda:sm_90"])
def test_choices(target, library):
    """What was chosen depends on who shares weights, and on which multiplicities there are."""

    def choices(problem, **arguments):
        compiled = espmm.compile(problem, target=target, **arguments)
        launched = [step["kernel"] for step in compiled.manifest["steps"] if step["op"] == "launch"]
        (kernel,) = [name for name in launched if name in compiled.cost["choices"]]
        assert compiled.cost["choices"].keys() <= set(launched)
        return compiled.cost["choices"][kernel]

    dense = [
        fully_connected_problem("48x0e+48x1o", "0e+1o", "48x0e+48x1o", shared_weights=shared, internal_weights=False) for shared in (False, True)
    ]
    own, shared = (choices(problem) for problem in dense)
    assert own[0].startswith("rows: one at a time") and "each has weights of its own" in own[0]
    assert "side by side, one in each lane" in shared[0] and "they share weights" in shared[0]
    assert not any("rows in lanes" in sentence for sentence in own)
    matrices = r"a matrix product in blocks, rows in lanes.*; \d+ of w at once" if target == "cpu" else r"matrix units, rows x w summed over u, .*; \d x \d tiles at once"
    assert any(re.match(f"einsum .*: {matrices}", sentence) for sentence in shared)
    channels = choices(named_problem("mace-large"), conv=True)
    assert [sentence.split(":")[0] for sentence in channels] == ["edges", "channels"]
    assert len(choices(dense[0], conv=True)) == len(own)
