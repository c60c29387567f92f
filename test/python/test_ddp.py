"""Data parallel training: two processes, each with half of the structures, have the gradients of one that has all of them."""

from __future__ import annotations

import espmm
import pytest
import torch
from espmm import every_path_problem
from helpers import e3nn_product, relative_error

pytestmark = pytest.mark.usefixtures("library")

PROBLEM = every_path_problem("6x0e+5x1o", "0e+1o", "0e+1o", irrep_dtype="float64", weight_dtype="float64")
STRUCTURES, STEPS, RATE = 4, 2, 1e-3


def structure(number: int) -> dict[str, torch.Tensor]:
    """Positions and edges, of another size each, and made-up energy and forces to learn."""
    generator = torch.Generator().manual_seed(number)
    nodes, edges = 4 + number, 11 + 3 * number
    numbers = torch.randn(2, nodes, 3, generator=generator, dtype=torch.float64)
    index = torch.randint(nodes, (2, edges), generator=generator)
    return {"positions": numbers[0], "forces": numbers[1], "receivers": index[0], "senders": index[1]}


def join(structures: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """One graph of several that are not connected."""
    sizes = [len(s["positions"]) for s in structures]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    joined = {name: torch.cat([s[name] for s in structures]) for name in ("positions", "forces")}
    for side in ("receivers", "senders"):
        joined[side] = torch.cat([s[side] + start for s, start in zip(structures, starts)])
    return joined | {"structure": torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))}


class Potential(torch.nn.Module):
    """Energies of structures and forces, by two convolutions with weights of a network; by e3nn's products if asked to."""

    def __init__(self, by_e3nn: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Linear(1, PROBLEM.irreps_in1.dim, dtype=torch.float64)
        self.weights = torch.nn.Linear(3, PROBLEM.weight_numel, dtype=torch.float64)
        self.mixing = torch.nn.Linear(PROBLEM.irreps_out.dim, PROBLEM.irreps_in1.dim, dtype=torch.float64)
        self.readout = torch.nn.Linear(PROBLEM.irreps_out.dim, 1, dtype=torch.float64)
        self.product = e3nn_product(PROBLEM) if by_e3nn else espmm.TensorProductConv(PROBLEM)
        self.by_e3nn = by_e3nn

    def convolve(self, x, y, w, receivers, senders):
        if not self.by_e3nn:
            return self.product(x, y, w, receivers, senders)
        messages = self.product(x[senders], y, w)
        return messages.new_zeros(len(x), messages.shape[1]).index_add(0, receivers, messages)

    def forward(self, batch):
        positions = batch["positions"].detach().requires_grad_()
        receivers, senders, structures = batch["receivers"], batch["senders"], batch["structure"]
        vectors = positions[receivers] - positions[senders]
        y = torch.cat([torch.ones_like(vectors[:, :1]), vectors], 1)
        w = torch.tanh(self.weights(vectors))
        x = self.embedding(torch.ones_like(positions[:, :1]))
        x = torch.tanh(self.mixing(self.convolve(x, y, w, receivers, senders)))
        energies = self.readout(self.convolve(x, y, w, receivers, senders))[:, 0]
        energy = energies.new_zeros(int(structures[-1]) + 1).index_add(0, structures, energies)
        return energy, -torch.autograd.grad(energy.sum(), positions, create_graph=True)[0]


def loss_of(model, batch) -> torch.Tensor:
    """The mean over structures of squares of energies and of errors of forces."""
    energy, forces = model(batch)
    errors = (forces - batch["forces"]).square().sum(1)
    return (energy.square() + energy.new_zeros(len(energy)).index_add(0, batch["structure"], errors)).mean()


def train(model, batch) -> list[list[torch.Tensor]]:
    """The gradients of each step, and the parameters after the last."""
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    result = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        result.append([p.grad.cpu().clone() for p in model.parameters()])
        optimizer.step()
    return [*result, [p.detach().cpu().clone() for p in model.parameters()]]


def worker(rank: int, processes: int, backend: str, folder: str) -> None:
    """One process: trains on its structures, in the group that meets in a file, and saves what :func:`train` gives."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    device = torch.device("cuda", rank) if backend == "nccl" else torch.device("cpu")
    if backend == "nccl":
        torch.cuda.set_device(device)
    dist.init_process_group(backend, init_method=f"file://{folder}/meet", rank=rank, world_size=processes)
    try:
        batch = join([structure(number) for number in range(STRUCTURES)][rank::processes])
        device_ids = [device] if backend == "nccl" else None

        # The model goes before its group. Torch's reducer, if it is the group's last owner, waits for gloo's threads with
        # the interpreter's lock held, and one of these may wait for that lock.
        def result():
            model = torch.nn.parallel.DistributedDataParallel(Potential().to(device), device_ids=device_ids)
            return train(model, {name: t.to(device) for name, t in batch.items()})

        torch.save(result(), f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("backend", ["gloo", pytest.param("nccl", marks=pytest.mark.cuda)])
def test_two_processes_are_one(backend, tmp_path):
    import torch.distributed as dist
    import torch.multiprocessing as mp

    if backend == "nccl" and torch.cuda.device_count() < 2:
        pytest.skip("one GPU")
    if not getattr(dist, f"is_{backend}_available", lambda: False)():
        pytest.skip(f"torch has no {backend}")
    expected = train(Potential(by_e3nn=True), join([structure(number) for number in range(STRUCTURES)]))
    mp.spawn(worker, (2, backend, str(tmp_path)), nprocs=2, daemon=True)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for step, (a, b, want) in enumerate(zip(first, second, expected, strict=True)):
        for parameter, (got, same, of_one) in enumerate(zip(a, b, want, strict=True)):
            assert torch.equal(got, same), f"step {step}: the processes differ in parameter {parameter}"
            assert of_one.norm() > 0 and relative_error(got, of_one) < 1e-10, f"step {step}, parameter {parameter}"


def test_the_test_can_tell_processes_apart():
    """Half of the structures alone, or without the forces, have other gradients: what the comparison would miss nothing of."""
    structures = [structure(number) for number in range(STRUCTURES)]
    model = Potential()
    whole, half = ([*torch.autograd.grad(loss_of(model, join(s)), [*model.parameters()])] for s in (structures, structures[::2]))
    assert all(relative_error(a, b) > 1e-3 for a, b in zip(half, whole, strict=True))
