"""The demo's measurements, each done in a process of its own, so that its peak memory is its own.

`run(job)` starts the process; the process is this file, given the job as JSON, and prints its result as JSON.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

Result = dict[str, object]

PASSES = ("forward", "backward", "double backward")


def while_waiting() -> None:
    """Called each second that a job lasts; to be replaced by what shows progress."""


class OutOfMemory(RuntimeError):
    """The job's process ran out of memory."""


def run(name: str, **arguments: object) -> Result:
    """Runs a job of this file by name.

    Raises:
        OutOfMemory: it did not fit in memory.
        RuntimeError: it failed otherwise; its own message is on stderr.
    """
    process = subprocess.Popen([sys.executable, __file__, name, json.dumps(arguments)], stdout=subprocess.PIPE, text=True)
    try:
        output = _wait(process)
    finally:
        process.kill()  # if what waits is interrupted
    if process.returncode in (-9, 137):  # killed, on Linux for memory
        raise OutOfMemory(f"the process of {name} {arguments} was killed")
    if process.returncode != 0:
        raise RuntimeError(f"the process of {name} {arguments} ended with exit status {process.returncode}")
    result = json.loads(output)
    if result.get("out_of_memory"):
        raise OutOfMemory(f"{name} {arguments} does not fit in the GPU's memory")
    return result


def _wait(process: subprocess.Popen[str]) -> str:
    while True:
        try:
            return process.communicate(timeout=1)[0]
        except subprocess.TimeoutExpired:
            while_waiting()


def compare(dtype: str, cells: int, device: str) -> Result:
    """Both implementations with the same weights: energies, forces, gradients of the training step's loss."""
    from carbon_model import build_potential, carbon_diamond, loss

    torch_dtype = getattr(torch, dtype)
    crystal = carbon_diamond(cells, torch_dtype, device)
    energies: dict[str, float] = {}
    forces: dict[str, Tensor] = {}
    gradients: dict[str, list[Tensor]] = {}
    weights: dict[str, list[Tensor]] = {}
    for implementation in ("e3nn", "espmm"):
        model = build_potential(implementation, torch_dtype, device)
        energy, force = model(crystal, training=True)
        energies[implementation] = energy.item()
        forces[implementation] = force.detach()
        gradients[implementation] = list(torch.autograd.grad(loss(crystal, energy, force), list(model.parameters())))
        weights[implementation] = [parameter.detach() for parameter in model.parameters()]
        del model, energy, force
        gc.collect()
    same = all(torch.equal(a, b) for a, b in zip(weights["e3nn"], weights["espmm"], strict=True))
    if not same:
        raise RuntimeError("the two models were not built with the same weights")

    def largest(tensors: list[Tensor]) -> float:
        # Of torch, whose maximum with NaN is NaN.
        return torch.stack([tensor.abs().max() for tensor in tensors]).max().item()

    pairs = list(zip(gradients["e3nn"], gradients["espmm"], strict=True))
    return {
        "energy": energies,
        "force": largest([forces["e3nn"]]),
        "force_difference": largest([forces["espmm"] - forces["e3nn"]]),
        "gradient": largest(gradients["e3nn"]),
        "gradient_difference": largest([b - a for a, b in pairs]),
        "parameters": sum(gradient.numel() for gradient in gradients["e3nn"]),
    }


def time_model(implementation: str, cells: int, device: str, budget_s: float) -> Result:
    """Energy and forces, and a training step, in float32: median milliseconds and peak memory in bytes."""
    from carbon_model import build_potential, carbon_diamond, loss
    from espmm.bench.timing import median_time

    place = torch.device(device)
    crystal = carbon_diamond(cells, torch.float32, device)
    model = build_potential(implementation, torch.float32, device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def forces() -> None:
        model(crystal)

    losses: list[Tensor] = []

    def training_step() -> None:
        optimizer.zero_grad()
        value = loss(crystal, *model(crystal, training=True))
        value.backward()
        optimizer.step()
        losses.append(value.detach())

    # e3nn's model compiles nothing when it is called, and takes seconds on a CPU: there its first call counts.
    warm_up = implementation != "e3nn"
    before = _memory_in_use(place)
    timed = {
        name: 1e3 * median_time([call], place, budget_s=budget_s, min_repeats=2, warm_up=warm_up).median_s
        for name, call in (("energy and forces", forces), ("training step", training_step))
    }
    return {
        "ms": timed,
        "peak_bytes": _peak_memory(place) - before,
        "losses": [loss.item() for loss in losses],
        "atoms": crystal.num_atoms,
        "edges": crystal.num_edges,
    }


def time_passes(implementation: str, cells: int, device: str, budget_s: float, bandwidth: float | None) -> Result:
    """The convolution's three passes on the crystal's graph in float32: median milliseconds, and their memory floor.

    The floor is over `bandwidth`, bytes a second, which is measured if None.
    """
    from carbon_model import carbon_diamond
    from espmm.bench.measure import GraphSize, Setting, bind_e3nn, bind_espmm, floor_bytes, random_operands, time_pass
    from espmm.bench.reference import Product
    from espmm.bench.timing import copy_bandwidth

    place = torch.device(device)
    crystal = carbon_diamond(cells, torch.float32, device)
    product = Product.named("mace-large")
    bandwidth = bandwidth or copy_bandwidth(place)
    setting = Setting(place, torch.float32, "mul_ir", False, bandwidth, budget_s)
    size = GraphSize("diamond", crystal.num_atoms, crystal.num_edges // crystal.num_atoms)
    operands = replace(
        random_operands(product, size, setting), receivers=crystal.receivers, senders=crystal.senders
    )

    warm_up = implementation != "e3nn"

    def bind(operands):
        if implementation == "e3nn":
            return bind_e3nn(product, setting, operands)
        return bind_espmm(product, size, setting, operands)

    return {
        "bandwidth": bandwidth,
        "ms": {name: 1e3 * time_pass(name, bind, [operands], setting, warm_up).median_s for name in PASSES},
        "floor_ms": {name: 1e3 * floor_bytes(product, size, name, 4) / bandwidth for name in PASSES},
    }


def _memory_in_use(device: torch.device) -> int:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    return _proc_status("VmRSS")


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Not getrusage's ru_maxrss, in which a process begins with its parent's.
    return _proc_status("VmHWM")


def _proc_status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) << 10
    raise RuntimeError(f"/proc/self/status has no line {key}")


JOBS = {job.__name__: job for job in (compare, time_model, time_passes)}

if __name__ == "__main__":
    try:
        print(json.dumps(JOBS[sys.argv[1]](**json.loads(sys.argv[2]))))
    except torch.cuda.OutOfMemoryError:
        print(json.dumps({"out_of_memory": True}))
