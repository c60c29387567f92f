"""A training step of a client's accelerated model in two processes, as one on both structures."""

from __future__ import annotations

import clients
import espmm
import pytest
import torch
from test_models import TOLERANCE



def another():
    atoms = clients.small()
    atoms.rattle(0.1, seed=2)
    return atoms


STRUCTURES = (clients.small, another)


class Step(torch.nn.Module):
    """The loss of one structure, on its energy and forces."""

    def __init__(self, model) -> None:
        super().__init__()
        self.model = model

    def forward(self, atoms):
        energy, forces = clients.client().train_outputs(self.model, atoms)
        return energy.square().sum() / len(atoms) + forces.square().sum()


def gradients(model) -> dict:
    return {name: p.grad.cpu().clone() for name, p in model.named_parameters() if p.grad is not None}


def worker(rank: int, backend: str, folder: str) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)
    device = torch.device("cuda", rank) if backend == "nccl" else torch.device("cpu")
    if backend == "nccl":
        torch.cuda.set_device(device)
    dist.init_process_group(backend, init_method=f"file://{folder}/meet", rank=rank, world_size=len(STRUCTURES))
    try:
        client = clients.client()

        def result():  # the model goes before its group
            model, _ = espmm.accelerate(client.build(client.dtypes[0]).to(device))
            model.requires_grad_(True)
            step = torch.nn.parallel.DistributedDataParallel(Step(model), find_unused_parameters=True)
            step(STRUCTURES[rank]()).backward()
            return gradients(model)

        torch.save(result(), f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("backend", ["gloo", pytest.param("nccl", marks=pytest.mark.cuda)])
def test_two_processes_are_one(client, backend, tmp_path):
    import torch.distributed as dist
    import torch.multiprocessing as mp

    if backend == "nccl" and torch.cuda.device_count() < 2:
        pytest.skip("one GPU")
    if not getattr(dist, f"is_{backend}_available", lambda: False)():
        pytest.skip(f"torch has no {backend}")
    theirs = client.build(client.dtypes[0])
    theirs.requires_grad_(True)
    step = Step(theirs)
    (sum(step(make()) for make in STRUCTURES) / len(STRUCTURES)).backward()
    expected = gradients(theirs)
    mp.spawn(worker, (backend, str(tmp_path)), nprocs=len(STRUCTURES), daemon=True)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(len(STRUCTURES)))
    assert first.keys() == second.keys() and first.keys() >= expected.keys() and len(expected) > 5
    for name, got in first.items():
        assert torch.equal(got, second[name]), name
        want = expected.get(name, torch.zeros_like(got))
        assert (got - want).norm() <= 10 * TOLERANCE[client.dtypes[0]] * want.norm(), name
