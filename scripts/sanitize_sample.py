"""A sample of every kind of schedule, for compute-sanitizer: what is computed is checked elsewhere, here only that it is done cleanly.

Small uneven graphs (isolated nodes, short ones, one that is cut into segments) and multiplicities that no tile divides; each pass, rings of
two to five slots, nodes that warps share and nodes of one warp, both sides' edges worked on together, tiles that are alike, both layouts, all types, sums by
atomics and in a fixed order; and products of other modes, with and without matrix units.
"""

from __future__ import annotations

import espmm
import torch

SCHEDULES = [{}, {"warps": 1}, {"warps": 2, "stages": 5}, {"stages": 2, "tile_registers": 20}, {"stages": 4, "registers": 96}, {"slabs": 2}, {"group_by": 2}]
#: For tiles that are alike.
ALIKE = [{"instances": n, "tile_registers": 20, "group_by": 1} for n in (1, 2, 4)]


def problem(**arguments) -> espmm.TPProblem:
    paths = [(0, 0, 0, "uvu", True), (1, 1, 1, "uvu", True), (0, 1, 2, "uvu", True), (1, 0, 3, "uvu", True)]
    return espmm.TPProblem(
        "40x0e+17x1o", "0e+1o", "40x0e+17x0e+40x1o+17x1o", paths, shared_weights=False, internal_weights=False, **arguments
    )


def alike_problem(**arguments) -> espmm.TPProblem:
    """Tiles that differ in offsets alone, four or two of a kind."""
    return espmm.every_path_problem("24x0e+24x0o+24x0e+24x0o+4x1o+4x1e", "0e+1o", "0e+0o+1e+1o", **arguments)


def matrix_problem(**arguments) -> espmm.TPProblem:
    """Weights that rows share, of more channels than a tile of matrix units has."""
    return espmm.fully_connected_problem("20x0e+12x1o", "0e+1o", "24x0e+10x1o", shared_weights=True, internal_weights=False, **arguments)


def dense_problem(shared: bool, **arguments) -> espmm.TPProblem:
    """Fully connected paths, and pairs of channels: loops over several multiplicities, few and many in lanes; or rows in lanes, if they share weights."""
    paths = [(0, 0, 0, "uvw", True), (1, 1, 0, "uvw", True), (0, 1, 1, "uvw", True), (1, 1, 2, "u<vw", True), (0, 0, 3, "uvuv", False)]
    return espmm.TPProblem("12x0e+7x1o", "6x0e+7x1o", "40x0e+9x1o+10x1e+72x0e", paths, shared_weights=shared, internal_weights=False, **arguments)


def paired_problem(shared: bool, **arguments) -> espmm.TPProblem:
    """What the other modes pair: channels of the same number, those of y with each of x, pairs of different ones."""
    paths = [(0, 0, 0, "uuu", True), (1, 1, 0, "uuu", False), (0, 1, 1, "uvv", True), (1, 1, 2, "uuw", True), (0, 0, 3, "uvu<v", True), (1, 1, 4, "uvu<v", False)]
    return espmm.TPProblem("7x0e+7x1o", "7x0e+7x1o", "7x0e+7x1o+5x1e+21x0e+21x1e", paths, shared_weights=shared, internal_weights=False, **arguments)


def run(module: torch.nn.Module, rows: int, nodes: int, dtype: torch.dtype, *graph: espmm.Graph) -> None:
    """All three passes."""
    widths = module.problem.irreps_in1.dim, module.problem.irreps_in2.dim, module.weight_numel
    shapes = zip((nodes, rows, rows), widths)
    if module.problem.shared_weights:
        shapes = [*list(shapes)[:2], (widths[2],)]
    inputs = [torch.randn(shape, device="cuda", dtype=dtype, requires_grad=True) for shape in shapes]
    z = module(*inputs, *graph)
    gradients = torch.autograd.grad(z.square().sum(), inputs, create_graph=True)
    torch.autograd.grad(sum(g.square().sum() for g in gradients), inputs)
    torch.cuda.synchronize()


def graph_of(degrees: list[int]) -> espmm.Graph:
    receivers = torch.arange(len(degrees)).repeat_interleave(torch.tensor(degrees))
    senders = torch.randint(len(degrees), receivers.shape)
    return espmm.Graph(receivers.cuda(), senders.cuda(), len(degrees))


def main() -> None:
    torch.manual_seed(0)
    few, many = graph_of([0, 3, 300, 1, 0, 40] + [2] * 8), graph_of([5, 0, 1, 7] * 300)
    for schedule in SCHEDULES:
        conv = espmm.TensorProductConv(problem(), schedule=schedule)
        for graph in (few, many):
            run(conv, graph.num_edges, graph.num_receivers, torch.float32, graph)
    for rows in (1, 5):
        run(espmm.TensorProduct(problem(), schedule={"rows": rows}), 37, 37, torch.float32)
    for schedule in ALIKE:
        run(espmm.TensorProduct(alike_problem(), schedule=schedule), 37, 37, torch.float32)
        for deterministic in (False, True):
            conv = espmm.TensorProductConv(alike_problem(), deterministic=deterministic, schedule=schedule)
            run(conv, few.num_edges, few.num_receivers, torch.float32, few)
    for products in (1, 2, 3):
        run(espmm.TensorProduct(matrix_problem(), schedule={"products": products}), 37, 37, torch.float32)
    double = {"irrep_dtype": "float64", "weight_dtype": "float64", "layout": "ir_mul"}
    for deterministic in (False, True):
        conv = espmm.TensorProductConv(problem(**double), deterministic=deterministic)
        run(conv, few.num_edges, few.num_receivers, torch.float64, few)
    run(espmm.TensorProduct(matrix_problem(**double)), 37, 37, torch.float64)
    for shared in (False, True):
        run(espmm.TensorProduct(dense_problem(shared)), 70, 70, torch.float32)
        run(espmm.TensorProductConv(dense_problem(shared, **double)), few.num_edges, few.num_receivers, torch.float64, few)
    run(espmm.TensorProduct(paired_problem(True)), 37, 37, torch.float32)
    run(espmm.TensorProductConv(paired_problem(False, **double)), few.num_edges, few.num_receivers, torch.float64, few)
    for dtype in (torch.bfloat16, torch.float16):
        run(espmm.TensorProduct(problem(irrep_dtype=dtype)), 37, 37, dtype)
        for deterministic in (False, True):
            run(espmm.TensorProductConv(problem(irrep_dtype=dtype), deterministic=deterministic), few.num_edges, few.num_receivers, dtype, few)
        for shared in (False, True):
            run(espmm.TensorProduct(dense_problem(shared, irrep_dtype=dtype)), 70, 70, dtype)
    print("done: every pass of every schedule")


if __name__ == "__main__":
    main()
