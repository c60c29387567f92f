"""Device code, run on the host lane by lane: every kind of kernel, against the same program compiled for the CPU.

It shows that kernels compute what they should, where there is no GPU to run them; that they run on one, and how fast, it does not.
"""

from __future__ import annotations

import espmm
import numpy as np
import pytest
import test_modes
import test_shared_weights
import torch
from espmm.compiled import CompiledProgram
from espmm.kernel import programs_up_to
from espmm.plan import PARTS, PLAN_PIPELINE, plan_text
from gpu_emulator import EmulatedProgram, clang
from helpers import TOLERANCE, random_edges, unshared_problem
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.skipif(clang() is None, reason="no clang to build device code for the host")

NODES, EDGES, ROWS = 5, 23, 7


def bits(array: torch.Tensor) -> np.ndarray:
    """The array as the emulator takes it: numpy has no bfloat16."""
    return array.view(torch.uint16).numpy() if array.dtype == torch.bfloat16 else array.numpy()


def values(array: np.ndarray, dtype: str) -> np.ndarray:
    return torch.from_numpy(array).view(getattr(torch, dtype)).double().numpy()


def check(problem: espmm.TPProblem, conv: bool, folder, *, order=2, deterministic=False, edges=EDGES, rows=ROWS, schedule=None, instances=False, tolerance=None) -> None:
    receivers, senders = (index.numpy() for index in random_edges(NODES, edges))
    sizes = {"E": edges, "R": NODES, "S": NODES} if conv else {"E": rows, "R": 0, "S": 0}
    plan = espmm.HostPlan(receivers, senders, NODES, NODES) if conv else None
    graph = {"receivers": receivers, "senders": senders, "num_receivers": NODES} if conv else {}
    counts = {"edges": sizes["E"], "receivers": NODES, "senders": NODES, "all": 1}
    generator = np.random.default_rng(0)
    for program in programs_up_to(problem, conv, order, deterministic, schedule or {}):
        arrays = [
            torch.from_numpy(generator.standard_normal((counts[a.rows], a.width))).to(getattr(torch, a.dtype)) for a in program.arguments
        ]
        if instances:
            assert "instances = " in CompiledProgram(program, "cuda:sm_90").ir("tiled"), f"order {program.order} has no instances"
        results = EmulatedProgram.of(program, folder)([bits(a) for a in arrays], sizes, plan)
        expected = CompiledProgram(program, "cpu")(*arrays, **graph)
        for n, (spec, got, want) in enumerate(zip(program.results, results, expected)):
            got, want = values(got, spec.dtype), values(bits(want), spec.dtype)
            assert np.isfinite(got).all(), f"order {program.order}, result {n}: something was not written"
            error = np.linalg.norm(got - want) / (np.linalg.norm(want) or 1.0)
            assert error <= (tolerance or TOLERANCE[getattr(torch, spec.dtype)]), f"order {program.order}, result {n}: {error:.1e}"


SLABS = {
    "conv": {},
    "deterministic": {"deterministic": True},
    "several blocks a node": {"edges": 700},
    "eight warps": {"edges": 300, "schedule": {"warps": 8, "stages": 4}},
    "one warp, small tiles": {"schedule": {"warps": 1, "tile_registers": 20}},
    "all slabs at once": {"schedule": {"slabs": 2}},
    "all slabs at once, deterministic": {"deterministic": True, "schedule": {"slabs": 2}},
    "three slabs at once, one alone": {"irreps": "100x0e+17x1o", "schedule": {"slabs": 3}},
    "by senders": {"schedule": {"group_by": 2}},
    "by senders, deterministic, several blocks a node": {"deterministic": True, "edges": 700, "schedule": {"group_by": 2}},
    "by senders, small tiles": {"schedule": {"group_by": 2, "tile_registers": 20}},
    "by receivers, deterministic": {"deterministic": True, "schedule": {"group_by": 1}},
    "two times two slabs at once": {"irreps": "103x0e+100x1o", "schedule": {"slabs": 2}},
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SLABS)
def test_slabs_of_a_convolution(name, dtype, tmp_path, library):
    arguments = dict(SLABS[name])
    irreps = arguments.pop("irreps", "40x0e+5x1o")
    problem = espmm.every_path_problem(irreps, "0e+1o", "0e+1o", irrep_dtype=dtype, weight_dtype=dtype)
    check(problem, True, tmp_path, **arguments)


@pytest.mark.parametrize("dtype, name", [("bfloat16", name) for name in SLABS] + [("float16", "conv"), ("float16", "deterministic")])
def test_slabs_of_a_convolution_in_narrow_types(dtype, name, tmp_path, library):
    """Rows of weights by 16 bytes at a time, of x by 4, of y by element: what is too little for a copy is converted before."""
    arguments = dict(SLABS[name])
    irreps = arguments.pop("irreps", "40x0e+6x1o")
    problem = espmm.every_path_problem(irreps, "1o+0e+2e", "0e+1o", irrep_dtype=dtype, weight_dtype=dtype)
    check(problem, True, tmp_path, **arguments)


@pytest.mark.parametrize("conv", [False, True], ids=["batch", "conv"])
@pytest.mark.parametrize("name", ["uvw into few channels", "uvv", "uvu<v"])
def test_modes_in_narrow_types(name, conv, tmp_path, library):
    check(test_modes.problem(name, torch.float16 if conv else torch.bfloat16, "ir_mul" if conv else "mul_ir"), conv, tmp_path)


@pytest.mark.parametrize("conv", [False, True], ids=["batch", "conv"])
@pytest.mark.parametrize("name", ["uvu with several channels of y", "uvw"])
def test_shared_weights_in_narrow_types(name, conv, tmp_path, library):
    check(test_shared_weights.problem(name, torch.bfloat16), conv, tmp_path)


def test_third_derivatives_in_a_narrow_type(tmp_path, library):
    check(espmm.every_path_problem("4x0e+36x1o", "1o+0e", "0e+1o+2e", irrep_dtype="float16"), True, tmp_path, order=3)


@pytest.mark.parametrize("slabs", [1, 2, 3])
@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
def test_slabs_of_a_batch(layout, slabs, tmp_path, library):
    problem = espmm.every_path_problem("17x0e+65x1o+4x2e", "0e+1o+2e", "0e+1o+2e", layout=layout)
    check(problem, False, tmp_path, schedule={"slabs": slabs})


def test_slabs_at_once_in_ir_mul(tmp_path, library):
    problem = espmm.every_path_problem("103x0e+66x1o", "0e+1o", "0e+1o", layout="ir_mul")
    check(problem, True, tmp_path, schedule={"slabs": 4})


INSTANCES = {
    # Blocks of x that differ in parity alone, and the same number of slabs for all.
    "parities": ("40x0e+40x0o+40x1e+40x1o", "0e+1o", {}),
    # Of each kind three, which lie no equal steps apart; more slabs than one, some of them partly filled.
    "three of a kind": ("36x0e+4x1o+36x0e+36x0o+4x1o+4x1e", "0e+1o", {"instances": 3}),
    # Three of a kind as two instances and one alone; a kind of its own besides.
    "a remainder": ("5x0e+5x1o+5x0o+5x1e+5x0e+33x1o", "1o+0e", {"warps": 1}),
    # Blocks of different multiplicities in one instance, several slabs of it at once.
    "slabs at once": ("70x0e+70x0o+33x1e+33x1o", "0e+1o", {"slabs": 3}),
}


@pytest.mark.parametrize("deterministic", [False, True], ids=["atomic", "deterministic"])
@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("name", INSTANCES)
def test_instances_of_a_convolution(name, layout, deterministic, tmp_path, library):
    """Tiles that differ in offsets alone are instances of one kernel."""
    irreps, edges, schedule = INSTANCES[name]
    problem = espmm.every_path_problem(irreps, edges, "0e+0o+1e+1o", layout=layout)
    schedule = {"instances": 2, "tile_registers": 20, "group_by": 1, **schedule}
    check(problem, True, tmp_path, deterministic=deterministic, schedule=schedule, instances=True)


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("name", INSTANCES)
def test_instances_of_a_batch(name, layout, tmp_path, library):
    irreps, edges, schedule = INSTANCES[name]
    problem = espmm.every_path_problem(irreps, edges, "0e+0o+1e+1o", layout=layout)
    check(problem, False, tmp_path, schedule={"instances": 2, "tile_registers": 20, **schedule}, instances=True)


@pytest.mark.parametrize("dtype, deterministic", [("float64", False), ("bfloat16", False), ("bfloat16", True)])
def test_instances_in_other_types(dtype, deterministic, tmp_path, library):
    """Rows of which the instances' blocks are elsewhere by an odd number of elements are copied in narrower pieces, or converted before."""
    problem = espmm.every_path_problem("6x0e+6x1o+6x0o+7x1e+7x1o", "0e+1o", "0e+0o+1e+1o", irrep_dtype=dtype, weight_dtype=dtype)
    check(problem, True, tmp_path, deterministic=deterministic, schedule={"instances": 2, "tile_registers": 20, "group_by": 1}, instances=True)


def test_instances_by_senders(tmp_path, library):
    problem = espmm.every_path_problem("40x0e+40x0o+40x1e+40x1o", "0e+1o", "0e+0o+1e+1o")
    check(problem, True, tmp_path, deterministic=True, schedule={"instances": 2, "tile_registers": 4, "group_by": 2}, instances=True)


def test_third_derivatives_of_instances(tmp_path, library):
    problem = espmm.every_path_problem("3x0e+3x0o+33x1e+33x1o", "1o+0e", "0e+0o+1e+1o")
    check(problem, True, tmp_path, order=3, schedule={"instances": 2, "tile_registers": 20}, instances=True)


@pytest.mark.parametrize("conv", [False, True], ids=["batch", "conv"])
@pytest.mark.parametrize("name", [name for name in test_modes.PROBLEMS if name != "l up to 11"])
def test_every_mode(name, conv, tmp_path, library):
    check(test_modes.problem(name, torch.float32, "ir_mul" if conv else "mul_ir"), conv, tmp_path)


@settings(max_examples=15 if test_modes.EXAMPLES <= 200 else 300, derandomize=test_modes.EXAMPLES <= 200)
@given(
    args=test_modes.products(), layout=st.sampled_from(["mul_ir", "ir_mul"]), conv=st.booleans(), deterministic=st.booleans(), dtype=st.sampled_from([torch.float32, torch.float64])
)
def test_random_products(args, layout, conv, deterministic, dtype, tmp_path_factory, library):
    check(unshared_problem(args, dtype, layout), conv, tmp_path_factory.mktemp("product"), deterministic=deterministic)


@settings(max_examples=test_modes.EXAMPLES // 2, derandomize=test_modes.EXAMPLES <= 200)
@given(args=test_modes.products(), layout=st.sampled_from(["mul_ir", "ir_mul"]), conv=st.booleans(), deterministic=st.booleans())
def test_random_products_compile(args, layout, conv, deterministic, library):
    for program in programs_up_to(unshared_problem(args, torch.float32, layout), conv, 1, deterministic, {}):
        CompiledProgram(program, "cuda:sm_90").compile()


def test_a_mode_in_float64_and_in_a_fixed_order(tmp_path, library):
    check(test_modes.problem("uvw", torch.float64), True, tmp_path, deterministic=True)


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
def test_third_derivatives(layout, tmp_path, library):
    check(test_modes.problem("uvuv", torch.float32, layout), False, tmp_path, order=3)


@pytest.mark.parametrize("conv", [False, True], ids=["batch", "conv"])
@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
def test_third_derivatives_of_slabs(layout, conv, tmp_path, library):
    check(espmm.every_path_problem("3x0e+37x1o+1x2e", "1o+0e", "0e+1o+2e", layout=layout), conv, tmp_path, order=3)


@pytest.mark.parametrize("conv", [False, True], ids=["batch", "conv"])
@pytest.mark.parametrize("name", test_shared_weights.PROBLEMS)
def test_weights_shared_by_all(name, conv, tmp_path, library):
    check(test_shared_weights.problem(name, torch.float32), conv, tmp_path)


@pytest.mark.parametrize("name", ["uvu", "uvw"])
def test_weights_shared_by_all_of_many_edges(name, tmp_path, library):
    """Five warps sum some 140 edges each: more than a warp sums before it adds that with compensation."""
    check(test_shared_weights.problem(name, torch.float32), True, tmp_path, order=1, edges=700)


SHARED_LOOPS = {
    "more w than lanes, groups of lanes": ("10x1o+12x0e", "1x0e+1x1o", "10x1o+40x0e", "float32"),
    "more u in a group than it has lanes": ("48x0o", "5x0e", "65x0o", "float32"),
    "three letters": ("6x0e", "7x0e+5x1o", "40x0e+9x1o", "float32"),
    "float64": ("10x1o+6x0e", "1x0e+1x1o", "33x0e+10x1o", "float64"),
    "bfloat16": ("10x1o+6x0e", "1x0e+1x1o", "33x0e+10x1o", "bfloat16"),
}


@pytest.mark.parametrize("name", SHARED_LOOPS)
def test_operations_that_read_the_same_weights(name, tmp_path, library):
    """Those of a double backward pass share loops over weights by row."""
    *irreps, dtype = SHARED_LOOPS[name]
    problem = espmm.fully_connected_problem(*irreps, shared_weights=False, internal_weights=False, irrep_dtype=dtype, weight_dtype=dtype)
    check(problem, False, tmp_path)


def test_rows_of_one_channel_that_share_weights(tmp_path, library):
    """Products of one channel are handed from the lanes of rows to those of channels, by the same warp."""
    problem = espmm.fully_connected_problem("1x0e+1x1o", "1x0e+1x1o", "40x0e+16x1o+16x1e", shared_weights=True, internal_weights=False)
    check(problem, False, tmp_path)


MATRICES = {
    "even and odd": ("10x1o+10x1e+16x0e+16x0o", "0e+1o", "10x1o+10x1e+16x0e+16x0o", "float32"),
    "what no tile divides": ("49x0e+3x1o", "0e+1o", "21x0e+30x1o", "float32"),
    "several channels of y": ("20x0e+8x1o", "3x0e+2x1o", "24x0e+9x1o", "float32"),
    "float64": ("21x0e+12x1o", "0e+1o", "24x0e+10x1o", "float64"),
    "bfloat16": ("20x0e+12x1o", "0e+1o", "24x0e+10x1o", "bfloat16"),
}


@pytest.mark.parametrize(
    "name, layout, products",
    [
        *((name, "mul_ir", None) for name in MATRICES), ("even and odd", "ir_mul", None), ("what no tile divides", "mul_ir", 1),
        *((name, "ir_mul" if name == "several channels of y" else "mul_ir", 2) for name, case in MATRICES.items() if case[-1] == "float32"),
    ],
)  # fmt: skip
def test_matrices_of_weights_that_rows_share(name, layout, products, tmp_path, library):
    """On matrix units by default, if they are long enough; with one term factors of float32 are rounded to tf32."""
    *irreps, dtype = MATRICES[name]
    problem = espmm.fully_connected_problem(*irreps, shared_weights=True, internal_weights=False, irrep_dtype=dtype, weight_dtype=dtype, layout=layout)
    schedule = {} if products is None else {"products": products}
    has_units = "matrix_product" in espmm.compile(problem, target="cuda:sm_90", conv=False, schedule=schedule).ir("staged")
    assert has_units == (products != 1)
    check(problem, False, tmp_path, rows=37, schedule=schedule, tolerance=2e-3 if products == 2 and dtype == "float32" else None)


def test_an_emulated_wait_for_nobody_is_an_error(tmp_path, library):
    """The emulator is no test that cannot fail: a barrier that one lane does not reach is found."""
    program = espmm.forward_program(espmm.every_path_problem("8x0e", "0e", "0e"), True, False, None)
    emulated = EmulatedProgram.of(program, tmp_path)
    broken = emulated.manifest["steps"][-1]
    broken["block"] = [31, *broken["block"][1:]]
    with pytest.raises(RuntimeError, match="some threads wait for others that have ended"):
        emulated([np.ones((5, 8), np.float32), np.ones((3, 1), np.float32), np.ones((3, 8), np.float32)], {"E": 3, "R": 5, "S": 5}, espmm.HostPlan(np.array([0, 1, 2]), np.array([0, 1, 2]), 5, 5))


class PlanArrays:
    """The arrays of the kernel that makes a graph's side, by name."""

    def __init__(self, index: np.ndarray, other: np.ndarray, nodes: int) -> None:
        made = {"offsets": nodes + 1, "other": len(index), "parts": PARTS + 1, "facts": 3}
        self.arrays = {f"receivers.{name}": np.full(count, -1, np.int32) for name, count in made.items()}
        self.arrays["receivers.facts"][:] = 0
        self.arrays |= {"receivers.index": index, "senders.index": other}

    def pointer(self, name: str) -> int:
        return self.arrays[name].ctypes.data


@pytest.fixture(scope="module")
def plan_kernel(tmp_path_factory):
    return EmulatedProgram(plan_text("cuda:sm_90"), PLAN_PIPELINE, tmp_path_factory.mktemp("plan"))


@pytest.mark.parametrize("edges, nodes", [(1, 1), (1, 60), (700, 3), (513, 300), (2000, 100)])
def test_plan_kernel(plan_kernel, edges, nodes):
    """It makes of sorted edges what the host does, and says what is wrong with others."""
    generator = np.random.default_rng(edges)
    index, other = np.sort(generator.integers(0, nodes, edges)), generator.integers(0, 7, edges)
    index[index == nodes // 2] = 0  # a node without edges, and one with more than others
    index.sort()
    expected = espmm.HostPlan(index, other, nodes, 7)
    sizes = {"E": edges, "R": nodes, "S": 7}

    def run(index: np.ndarray, other: np.ndarray) -> tuple[dict, list[int]]:
        plan = PlanArrays(index, other, nodes)
        plan_kernel([], sizes, plan)
        return plan.arrays, plan.arrays["receivers.facts"].tolist()

    arrays, facts = run(index, other)
    assert facts == [0, 0, np.bincount(index).max()]
    for name in ("receivers.offsets", "receivers.other", "receivers.parts"):
        np.testing.assert_array_equal(arrays[name], expected.array(name))
    for bad, at in ((-1, 0), (nodes, -1)):
        wrong = index.copy()
        wrong[at] = bad
        assert run(wrong, other)[1][:2] == [1, 0]
    for bad in (-1, 7):
        assert run(index, np.where(np.arange(edges) == edges // 2, bad, other))[1][:2] == [1, 0]
    if index[0] < index[-1]:
        assert run(index[::-1].copy(), other)[1][:2] == [0, 1]
