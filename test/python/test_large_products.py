"""A product of 175 paths: compiled for both targets, each order cold, in bounded time and memory, and computed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import espmm
import pytest
import torch
from e3nn import o3
from helpers import default_dtype, relative_error

DEGREES = range(7)
NATURAL = [f"{l}{'eo'[l % 2]}" for l in DEGREES]
IRREPS = "+".join(f"64x{ir}" for ir in NATURAL), "+".join(NATURAL), "+".join(f"{l}{p}" for l in DEGREES for p in "eo")
PROBLEM = espmm.every_path_problem(*IRREPS)
PATHS, NONZEROS = 175, 11_896

#: CPU time of compiling one order in a process of its own, all of it included, and the most memory that the process held.
SECONDS, MEBIBYTES = 60, 4096

# Not ru_maxrss for the memory: it begins at that of the process that started this one.
COMPILE = """
import json, resource, sys
import espmm
from espmm.compiled import CompiledProgram
from espmm.kernel import programs_up_to

target, order, *irreps = sys.argv[1:]
program = programs_up_to(espmm.every_path_problem(*irreps), True, int(order))[-1]
kernel = CompiledProgram(program, target).compile()
used = resource.getrusage(resource.RUSAGE_SELF)
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
found = {"seconds": used.ru_utime + used.ru_stime, "mebibytes": peak >> 10, "factor": kernel.statistics["factor"]}
found["multiplications"] = kernel.cost["multiplications_per_edge"]
found["entries"] = kernel.ir("ptx").count(".entry") if target != "cpu" else None
print(json.dumps(found))
"""


@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize("target", ["cpu", "cuda:sm_90"])
def test_an_order_compiles_cold(target, order, library):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "ESPMM_CACHE": "0"}
    command = [sys.executable, "-c", COMPILE, target, str(order), *IRREPS]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=540)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    print(f"{target}, order {order}: {found}")
    assert (found["factor"]["paths"], found["factor"]["nonzeros"]) == (PATHS, NONZEROS)
    assert found["multiplications"] > 0 and found["entries"] != 0
    assert found["seconds"] < SECONDS
    assert found["mebibytes"] < MEBIBYTES


def test_every_path_against_e3nn(device):
    """By e3nn's Wigner 3j symbols in float64, which have as many coefficients that are not 0 as the compiler counts: all paths are computed in one call."""
    assert len(PROBLEM.instructions) == PATHS
    generator = torch.Generator().manual_seed(0)
    x, y, w = (torch.randn(2, n, generator=generator) for n in (PROBLEM.irreps_in1.dim, PROBLEM.irreps_in2.dim, PROBLEM.weight_numel))
    z = espmm.TensorProduct(PROBLEM)(x.to(device), y.to(device), w.to(device))
    at1, at2 = o3.Irreps(str(PROBLEM.irreps_in1)).slices(), o3.Irreps(str(PROBLEM.irreps_in2)).slices()
    expected = torch.zeros(2, PROBLEM.irreps_out.dim, dtype=torch.float64)
    out = o3.Irreps(str(PROBLEM.irreps_out))
    nonzeros = 0
    with default_dtype(torch.float64):
        for n, path in enumerate(PROBLEM.instructions):
            i1, i2, i3 = path.i_in1, path.i_in2, path.i_out
            l1, l2, l3 = i1, i2, out[i3].ir.l
            a, b = x[:, at1[i1]].double().reshape(2, 64, -1), y[:, at2[i2]].double()
            weights = w[:, 64 * n : 64 * n + 64].double()
            symbol = o3.wigner_3j(l1, l2, l3, dtype=torch.float64)
            nonzeros += int((symbol.abs() > 1e-12).sum())
            terms = torch.einsum("ijk,rui,rj,ru->ruk", symbol, a, b, weights)
            expected[:, out.slices()[i3]] += path.path_weight * terms.reshape(2, -1)
    assert relative_error(z, expected) <= 2e-6
    assert nonzeros == NONZEROS
