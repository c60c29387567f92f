"""Schedules that a person gives: what is accepted, that it reaches the compiler, and that every one computes the same."""

from __future__ import annotations

import pickle

import espmm
import pytest
import torch
from espmm import every_path_problem, fully_connected_problem
from espmm.problems import named_problem
from espmm.program import Program, check_schedule, forward_program
from helpers import check_against, random_inputs, reference, reference_conv
from hypothesis import assume, given, settings
from hypothesis import strategies as st

PROBLEM = every_path_problem("40x0e+33x1o+32x2e", "0e+1o+2e", "0e+1o+2e")
#: Both parities of each irrep: tiles that are alike in pairs.
PARITIES = every_path_problem("40x0e+40x0o+33x1o+33x1e+8x2e+8x2o", "0e+1o+2e", "0e+0o+1e+1o+2e+2o")
#: Four of a kind.
FOUR = every_path_problem("24x0e+24x0o+24x0e+24x0o+4x1o+4x1e", "0e+1o", "0e+0o+1e+1o")
#: Weights that rows share: products of matrices, more terms than a tile of matrix units has.
MATRICES = fully_connected_problem("20x0e+12x1o", "0e+1o", "24x0e+10x1o", shared_weights=True, internal_weights=False)
KNOBS = [
    {"warps": 1}, {"warps": 2}, {"warps": 8}, {"stages": 2}, {"stages": 4}, {"stages": 5, "warps": 2},
    {"registers": 96}, {"registers": 255}, {"tile_registers": 20}, {"tile_registers": 1000},
    {"rows": 1}, {"rows": 7, "warps": 4}, {"slabs": 1}, {"slabs": 2}, {"slabs": 3, "tile_registers": 20}, {"group_by": 1}, {"group_by": 2},
]  # fmt: skip


@pytest.mark.parametrize(
    "schedule, error, message",
    [
        ({"warp": 4}, ValueError, "expected schedule to name rows, warps, stages, registers, slabs, tile_registers, instances, group_by, products, got 'warp'"),
        ({"warps": 3}, ValueError, r"expected schedule\['warps'\] to be in \(1, 2, 4, 8, 16\), got 3"),
        ({"stages": 9}, ValueError, r"expected schedule\['stages'\] to be in range\(2, 9\), got 9"),
        ({"registers": 300}, ValueError, "got 300"),
        ({"rows": 0}, ValueError, "got 0"),
        ({"instances": 17}, ValueError, "got 17"),
        ({"group_by": 3}, ValueError, r"to be in \(1, 2\), got 3"),
        ({"products": 4}, ValueError, r"to be in \(1, 2, 3\), got 4"),
        ({"warps": 4.0}, TypeError, r"expected schedule\['warps'\] to be an integer, got 4.0"),
        ({"warps": True}, TypeError, "to be an integer, got True"),
        ([("warps", 4)], TypeError, "expected schedule to be a mapping such as {'warps': 4}, got list"),
    ],
)
def test_bad_schedules(schedule, error, message):
    with pytest.raises(error, match=message):
        check_schedule(schedule)
    with pytest.raises(error, match=message):
        espmm.TensorProductConv(PROBLEM, schedule=schedule)


@pytest.mark.parametrize("chip, most", [("sm_90", 227), ("sm_120", 99)])
def test_a_schedule_that_fits_no_block(library, chip, most):
    """Said where it is compiled, for the chip that it is compiled for."""
    problem = named_problem("nequip-benzene")
    message = f"needs [0-9]+ bytes of shared memory a block, .* for cuda:{chip} with {most << 10}; fewer stages or warps need less"
    with pytest.raises(espmm.UnsupportedError, match=message):
        espmm.compile(problem, f"cuda:{chip}", conv=True, grad_order=1, schedule={"group_by": 2})
    assert espmm.compile(problem, f"cuda:{chip}", conv=True, grad_order=1).ptx


def test_a_schedule_belongs_to_the_program():
    plain = forward_program(PROBLEM, conv=True)
    program = forward_program(PROBLEM, conv=True, schedule={"stages": 3, "warps": 2})
    assert program != plain and program == forward_program(PROBLEM, conv=True, schedule={"warps": 2, "stages": 3})
    assert "chip=sm_90 deterministic=false warps=2 stages=3}" in program.pipeline("cuda:sm_90")
    assert program.pipeline("cpu") == plain.pipeline("cpu")
    assert program.vjp((0, 1, 2), (0,)).schedule == {"warps": 2, "stages": 3}
    assert pickle.loads(pickle.dumps(program)) == Program.deserialize(program.serialize()) == program


def test_schedules_reach_the_kernels(library):
    kernel = espmm.compile(
        PROBLEM, target="cuda:sm_90", conv=True, grad_order=1, schedule={"warps": 2, "stages": 5, "registers": 200}
    )
    for order in (0, 1):
        assert "warps = 2, stages = 5, registers = 200>" in kernel.ir("tiled", order=order)
        assert "block [32, 2, 1]" in kernel.ir("staged", order=order)


def test_very_many_tiles(library):
    """A launch of a kernel for each of the paths."""
    problem = espmm.named_problem("nequip-benzene")
    kernel = espmm.compile(problem, target="cuda:sm_90", conv=True, schedule={"tile_registers": 1, "instances": 1})
    assert kernel.ir("tiled").count("equivariant.kernel over") > 32


def ragged_graph() -> tuple[torch.Tensor, torch.Tensor, int]:
    """Degrees from 0 to 400, unsorted."""
    degrees = torch.tensor([0, 1, 2, 400, 0, 7, 31, 33, 64, 3, 0])
    receivers = torch.arange(len(degrees)).repeat_interleave(degrees)
    generator = torch.Generator().manual_seed(3)
    receivers = receivers[torch.randperm(len(receivers), generator=generator)]
    return receivers, torch.randint(len(degrees) - 1, receivers.shape, generator=generator), len(degrees)


@pytest.mark.cuda
@pytest.mark.parametrize("schedule", KNOBS, ids=lambda s: "-".join(f"{k}{v}" for k, v in s.items()))
@pytest.mark.parametrize("few", [False, True], ids=["ragged", "short"])
def test_every_schedule_computes_the_same(schedule, few, poisoned, library):
    """On a graph whose nodes' edges are shared by a block's warps, and on one whose are not."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    receivers, senders, nodes = ragged_graph()
    if few:
        nodes = 3000
        receivers = torch.cat([torch.arange(nodes), torch.arange(0, nodes, 3)])
        senders = (receivers * 7 + 1) % nodes
    conv = espmm.TensorProductConv(PROBLEM, schedule=schedule)
    r, s = receivers.cuda(), senders.cuda()
    check_against(
        lambda x, y, w: conv(x, y, w, r, s),
        reference_conv(PROBLEM, receivers, senders, nodes),
        random_inputs(PROBLEM, len(receivers), nodes),
        torch.float32, "cuda", order=2,
    )  # fmt: skip


@pytest.mark.cuda
@pytest.mark.parametrize("deterministic", [False, True], ids=["atomic", "deterministic"])
@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("problem, instances, tile_registers", [(PARITIES, 1, 60), (PARITIES, 2, 60), (FOUR, 4, 20)], ids=["1", "2", "4"])
def test_instances_compute_the_same(problem, instances, tile_registers, layout, deterministic, poisoned, library):
    """On a graph and on rows."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    problem = problem.replace(layout=layout)
    schedule = {"instances": instances, "tile_registers": tile_registers}
    receivers, senders, nodes = ragged_graph()
    conv = espmm.TensorProductConv(problem, deterministic=deterministic, schedule=schedule)
    check_against(
        lambda x, y, w: conv(x, y, w, receivers.cuda(), senders.cuda()),
        reference_conv(problem, receivers, senders, nodes),
        random_inputs(problem, len(receivers), nodes),
        torch.float32, "cuda", order=2,
    )  # fmt: skip
    check_against(
        espmm.TensorProduct(problem, schedule=schedule), reference(problem), random_inputs(problem, 43), torch.float32, "cuda", order=2
    )


#: All that a schedule has, but ``products`` 2, which rounds to tf32 (test_shared_weights.py).
RANDOM = st.fixed_dictionaries(
    {},
    optional={
        "rows": st.integers(1, 9),
        "warps": st.sampled_from((1, 2, 4)),
        "stages": st.integers(2, 4),
        "registers": st.sampled_from((96, 128, 168, 255)),
        "tile_registers": st.integers(1, 20) | st.integers(1, 200),
        "slabs": st.integers(1, 4),
        "instances": st.sampled_from((1, 2, 4)),
        "group_by": st.integers(1, 2),
        "products": st.sampled_from((1, 3)),
    },
)


@pytest.mark.cuda
@pytest.mark.parametrize("problem", [PROBLEM, PARITIES, FOUR, MATRICES], ids=["ragged", "parities", "four", "matrices"])
@settings(max_examples=8)
@given(
    schedule=RANDOM,
    degrees=st.lists(st.integers(0, 80), min_size=2, max_size=30).filter(any),
    deterministic=st.booleans(),
    dtype=st.sampled_from((torch.float32, torch.float64)),
    layout=st.sampled_from(("mul_ir", "ir_mul")),
    conv=st.booleans(),
)
def test_random_schedules_compute_the_same(library, problem, schedule, degrees, deterministic, dtype, layout, conv):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    problem = problem.replace(irrep_dtype=dtype, weight_dtype=dtype, layout=layout)
    receivers = torch.arange(len(degrees)).repeat_interleave(torch.tensor(degrees))
    senders = (receivers * 7 + torch.arange(len(receivers))) % len(degrees)
    if conv:
        module = espmm.TensorProductConv(problem, deterministic=deterministic, schedule=schedule)
        function = lambda x, y, w: module(x, y, w, receivers.cuda(), senders.cuda())  # noqa: E731
        expected = reference_conv(problem, receivers, senders, len(degrees))
    else:
        function, expected = espmm.TensorProduct(problem, schedule=schedule), reference(problem)
    inputs = random_inputs(problem, len(receivers), len(degrees) if conv else None)
    try:
        check_against(function, expected, inputs, dtype, "cuda", order=2)
    except espmm.UnsupportedError as error:  # a ring of so many rows may not fit a block
        assume(not "bytes of shared memory" in str(error))
        raise


@pytest.mark.cuda
@pytest.mark.parametrize("schedule", [{"rows": 1}, {"rows": 5, "warps": 2}, {"stages": 2}, {"tile_registers": 30}, {"slabs": 2}], ids=str)
def test_every_schedule_of_a_batch_computes_the_same(schedule, poisoned, library):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    tp = espmm.TensorProduct(PROBLEM, schedule=schedule)
    check_against(tp, reference(PROBLEM), random_inputs(PROBLEM, 43), torch.float32, "cuda", order=2)
