"""What the tests of torch's operators share: products, calls, and processes that know nothing of espmm but its library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import espmm
import torch
from espmm import _capi, every_path_problem, forward_program
from helpers import random_edges, random_inputs

PROBLEM = every_path_problem("4x0e+4x1o", "0e+1o", "0e+1o", irrep_dtype="float64", weight_dtype="float64")
FLOAT = every_path_problem("4x0e+4x1o", "0e+1o", "0e+1o")
CONV, BATCH = forward_program(PROBLEM, conv=True), forward_program(PROBLEM)
#: The folder of the build, where there is one.
BUILD = Path(_capi.candidates()[-1]).parents[1]
NODES, EDGES = 6, 17
NO_PLAN = [None] * 8


def run(program, tensors, plan=()):
    return torch.ops.espmm.run(program if isinstance(program, str) else program.serialize(), *(plan or NO_PLAN), *tensors)


def plan_of(receivers, senders, nodes=NODES):
    rows = torch.empty(nodes, 0, device=receivers.device)
    plan = torch.ops.espmm.plan
    return [*plan(receivers, senders, rows, rows), *plan(senders, receivers, rows, rows)]


def operands(device="cpu", dtype=torch.float64, problem=PROBLEM, edges=EDGES, nodes=NODES):
    """x, y, w, and receivers and senders."""
    inputs = [t.to(device, dtype) for t in random_inputs(problem, edges, nodes)]
    return inputs, [t.to(device) for t in random_edges(nodes, edges)]


ALONE = """
import ctypes, json, os, sys, threading
import torch
torch.ops.load_library(sys.argv[1])
program, gradient = open(sys.argv[2]).read().split("=====")
batch = [torch.randn(9, width, dtype=torch.float64) for width in (16, 4, 16, 8)]

def run(program, tensors):
    return torch.ops.espmm.run(program, *[None] * 8, *tensors)
"""


def alone(text: str, *arguments: str, **environment: str) -> str:
    """What a process prints that has torch and the library, and not espmm's Python."""
    command = [sys.executable, "-c", ALONE + text + "\nassert 'espmm' not in sys.modules", espmm.torch_library(), *arguments]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, timeout=120, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout
