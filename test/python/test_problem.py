"""TPProblem: normalised as e3nn does, a value, and clear about what is wrong."""

from __future__ import annotations

import pickle
import warnings

import e3nn
import espmm
import numpy as np
import pytest
import torch
from e3nn import o3
from espmm import Instruction, Irreps, ProblemError, TPProblem
from hypothesis import given
from hypothesis import strategies as st

DOT = ("8x1o", "1x1o", "8x0e", [(0, 0, 0, "uvu", True)])

ALL_MODES = (
    "4x0e+4x1o+6x1e",
    "4x1o+4x0e",
    "4x1o+4x1e+16x1e+6x0e+1x2e+3x1e",
    [
        (0, 0, 0, "uvw", True),
        (0, 0, 0, "uvu", True, 0.5),
        (0, 0, 0, "uvv", False),
        (1, 0, 1, "uuu", True),
        (1, 0, 1, "uuw", True, 2),
        (1, 0, 2, "uvuv", False),
        (1, 0, 3, "uvu<v", True),
        (1, 0, 4, "uuw", False),
        (1, 0, 5, "u<vw", True, 0.25),
    ],
)


def e3nn_product(*args, **kwargs) -> o3.TensorProduct:
    return o3.TensorProduct(*args, **kwargs)


@pytest.mark.parametrize("irrep_normalization", [None, "component", "norm", "none"])
@pytest.mark.parametrize("path_normalization", [None, "element", "path", "none"])
@pytest.mark.parametrize("with_var", [False, True])
def test_coefficients_are_e3nns_to_the_last_bit(irrep_normalization, path_normalization, with_var):
    var = {}
    if with_var:
        var = dict(in1_var=[0.3, 1.7, 2.0], in2_var=torch.tensor([0.1, 4.0]), out_var=[1, 2, 3, 0.7, 0.0, 5])
    options = dict(irrep_normalization=irrep_normalization, path_normalization=path_normalization, **var)
    tp, problem = e3nn_product(*ALL_MODES, **options), TPProblem(*ALL_MODES, **options)
    assert problem.instructions == tuple(tp.instructions)
    assert [type(ins.path_weight) for ins in problem.instructions] == [float] * len(ALL_MODES[3])
    assert problem.weight_numel == tp.weight_numel
    np.testing.assert_array_equal(problem.output_mask, tp.output_mask.bool())


@pytest.mark.parametrize("internal", [None, True, False])
@pytest.mark.parametrize("shared", [None, True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_defaults_of_the_weights_are_e3nns(internal, shared, weighted):
    args = ("8x1o", "1x1o", "8x0e", [(0, 0, 0, "uvu", weighted)])
    options = dict(internal_weights=internal, shared_weights=shared)
    try:
        tp = e3nn_product(*args, **options)
    except AssertionError:
        with pytest.raises(AssertionError) as error:
            TPProblem(*args, **options)
        assert isinstance(error.value, ProblemError) and "shared_weights" in str(error.value)
        return
    problem = TPProblem(*args, **options)
    assert (problem.shared_weights, problem.internal_weights) == (tp.shared_weights, tp.internal_weights)


def test_arguments_are_e3nns_in_e3nns_order():
    import inspect

    theirs = list(inspect.signature(o3.TensorProduct.__init__).parameters.values())
    ours = list(inspect.signature(TPProblem.__init__).parameters.values())
    assert [(p.name, p.default) for p in ours[: len(theirs)]] == [(p.name, p.default) for p in theirs]
    assert [p.name for p in ours[len(theirs) :]] == ["irrep_dtype", "weight_dtype", "layout"]


def test_normalization_is_a_deprecated_name():
    """Who is told is who wrote it, of a derived product too."""
    with pytest.warns(DeprecationWarning, match="irrep_normalization") as caught:
        problem = TPProblem(*DOT, normalization="norm")
        dense = espmm.FullyConnectedTensorProduct(*DOT[:3], normalization="norm").problem
    assert problem == TPProblem(*DOT, irrep_normalization="norm")
    assert dense == espmm.FullyConnectedTensorProduct(*DOT[:3], irrep_normalization="norm").problem
    assert [warning.filename for warning in caught] == [__file__] * 2


def test_e3nns_code_generation_options_change_nothing():
    options = dict(compile_left_right=False, compile_right=True, _specialized_code=False, _optimize_einsums=False)
    assert TPProblem(*DOT, **options) == TPProblem(*DOT)


def test_instruction_objects_are_final():
    problem = TPProblem(*ALL_MODES)
    again = TPProblem(*ALL_MODES[:3], problem.instructions)
    assert again == problem
    theirs = TPProblem(*ALL_MODES[:3], e3nn_product(*ALL_MODES).instructions)
    assert theirs == problem
    twice = TPProblem(*DOT[:3], [ins._replace(path_weight=-2.5) for ins in TPProblem(*DOT).instructions])
    assert twice.instructions[0].path_weight == -2.5


def test_from_e3nn():
    tp = e3nn_product(*ALL_MODES, shared_weights=False)
    problem = TPProblem.from_e3nn(tp)
    assert problem == TPProblem(*ALL_MODES, shared_weights=False)
    assert TPProblem.from_e3nn(tp.double()).irrep_dtype == "float64"
    assert TPProblem.from_e3nn(tp, irrep_dtype="float32", layout="ir_mul") == problem.replace(
        weight_dtype="float64", layout="ir_mul"
    )
    full = o3.FullyConnectedTensorProduct("4x0e+3x1o", "2x1o", "5x1o")
    assert TPProblem.from_e3nn(full).instructions == tuple(full.instructions)
    with pytest.raises(TypeError, match="built e3nn.o3.TensorProduct, got Linear"):
        TPProblem.from_e3nn(torch.nn.Linear(1, 1))


def test_from_e3nn_044_which_has_scripted_code():
    """A product of e3nn 0.4.4: Instruction without our package's class, compiled code scripted."""

    from typing import NamedTuple

    class OldInstruction(NamedTuple):
        i_in1: int
        i_in2: int
        i_out: int
        connection_mode: str
        has_weight: bool
        path_weight: float
        path_shape: tuple

    class OldProduct(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.irreps_in1, self.irreps_in2, self.irreps_out = map(o3.Irreps, DOT[:3])
            self.instructions = [OldInstruction(0, 0, 0, "uvu", True, 1.0, (8, 1))]
            self.shared_weights, self.internal_weights = False, False
            self.register_buffer("output_mask", torch.ones(8))

    assert TPProblem.from_e3nn(OldProduct()) == TPProblem(*DOT, shared_weights=False)


def test_weights_of_instructions():
    problem = TPProblem(*ALL_MODES)
    tp = e3nn_product(*ALL_MODES)
    views = {i: view for i, _, view in tp.weight_views(yield_instruction=True)}
    assert problem.weight_shapes == tuple(tuple(view.shape) for view in views.values())
    for i, where in enumerate(problem.weight_slices()):
        assert (where is None) == (i not in views)
        if where is not None:
            assert torch.equal(tp.weight[where], views[i].reshape(-1))


def test_is_a_value():
    a, b = TPProblem(*DOT), TPProblem(o3.Irreps("8x1o"), [(1, (1, -1))], Irreps("8x0e"), [[0, 0, 0, "uvu", 1, 1.0]])
    assert a == b and hash(a) == hash(b) and a is not b
    assert a != TPProblem(*DOT, layout="ir_mul") and a != TPProblem(*DOT, irrep_dtype="float64") and a != 3
    assert pickle.loads(pickle.dumps(a)) == a
    assert eval(repr(a)) == a
    assert str(a) == "8x1o x 1x1o -> 8x0e | 1 paths (uvu) | 8 internal weights | float32 mul_ir"
    with pytest.raises(AttributeError, match=r"replace\(layout=...\)"):
        a.layout = "ir_mul"
    with pytest.raises(AttributeError):
        del a.layout
    assert a.replace(layout="ir_mul") == TPProblem(*DOT, layout="ir_mul")
    with pytest.raises(TypeError, match="path_normalization"):
        a.replace(path_normalization="none")


@pytest.mark.parametrize(
    "dtype, name",
    [
        (torch.float32, "float32"),
        (torch.float64, "float64"),
        (np.float32, "float32"),
        (np.dtype("float64"), "float64"),
        ("float64", "float64"),
        (float, "float64"),
    ],
    ids=str,
)
def test_dtypes(dtype, name):
    assert TPProblem(*DOT, irrep_dtype=dtype, weight_dtype=dtype).irrep_dtype == name


def test_multiplicities_of_zero_are_accepted_as_in_e3nn():
    args = (
        "0x0e+3x1o",
        "0x1o+1x0e",
        "0x1o+3x1o+2x1e",
        [(0, 0, 0, "uvu", True), (1, 1, 1, "uvu", True), (1, 0, 2, "uvw", True)],
    )
    tp, problem = e3nn_product(*args), TPProblem(*args)
    assert problem.instructions == tuple(tp.instructions) and problem.weight_numel == tp.weight_numel == 3


# What e3nn refuses, and how. e3nn's message is not compared: most are empty.
BAD = {
    "irreps": ((*(("8x1q",) + DOT[1:]),), {}, "unknown irreps '8x1q': cannot read '8x1q'"),
    "index too large": (
        ("8x1o", "1x1o", "8x0e", [(0, 1, 0, "uvu", True)]),
        {},
        "block index 1 is out of range for irreps_in2",
    ),
    "mode": (("8x1o", "1x1o", "8x0e", [(0, 0, 0, "uvq", True)]), {}, "unknown connection mode 'uvq'"),
    "parity": (("8x1o", "1x1o", "8x0o", [(0, 0, 0, "uvu", True)]), {}, "instruction 0 .*: the parity of 0o does not occur"),
    "degree": (("8x1o", "1x1o", "8x3e", [(0, 0, 0, "uvu", True)]), {}, r"the degree of 3e .* 0e \+ 1e \+ 2e"),
    "uvu": (("8x1o", "1x1o", "7x0e", [(0, 0, 0, "uvu", True)]), {}, "expects mul_in1 = mul_out, got 8x1o x 1x1o -> 7x0e"),
    "uvv": (("8x1o", "2x1o", "7x0e", [(0, 0, 0, "uvv", True)]), {}, "expects mul_in2 = mul_out"),
    "uuw": (("8x1o", "2x1o", "7x0e", [(0, 0, 0, "uuw", True)]), {}, "expects mul_in1 = mul_in2"),
    "uuu": (("8x1o", "8x1o", "7x0e", [(0, 0, 0, "uuu", True)]), {}, "expects mul_in1 = mul_in2 = mul_out"),
    "uvuv": (("3x1o", "2x1o", "7x0e", [(0, 0, 0, "uvuv", True)]), {}, r"expects mul_in1 \* mul_in2 = mul_out"),
    "uvu<v": (("4x1o", "4x1o", "7x0e", [(0, 0, 0, "uvu<v", True)]), {}, r"m \(m - 1\) / 2 = mul_out"),
    "u<vw": (("4x1o", "3x1o", "7x0e", [(0, 0, 0, "u<vw", True)]), {}, "expects mul_in1 = mul_in2"),
    "uvw without weights": (("4x1o", "3x1o", "7x0e", [(0, 0, 0, "uvw", False)]), {}, "needs a weight"),
    "uuw without weights": (("4x1o", "4x1o", "7x0e", [(0, 0, 0, "uuw", False)]), {}, "without weights expects mul_out = 1"),
    "too few entries": (("8x1o", "1x1o", "8x0e", [(0, 0, 0, "uvu")]), {}, r"expected instruction 0 to be \(i_in1"),
    "too many entries": (("8x1o", "1x1o", "8x0e", [(0, 0, 0, "uvu", True, 1.0, 2.0)]), {}, "expected instruction 0"),
    "negative path weight": (("8x1o", "1x1o", "8x0e", [(0, 0, 0, "uvu", True, -1.0)]), {}, "squared coefficient is -"),
    "irrep_normalization": (DOT, {"irrep_normalization": "unit"}, "irrep_normalization to be one of .* got 'unit'"),
    "path_normalization": (DOT, {"path_normalization": "unit"}, "path_normalization to be one of .* got 'unit'"),
    "in1_var": (DOT, {"in1_var": [1.0, 2.0]}, "in1_var to have 1 entries, one a block of '8x1o', got 2"),
    "in2_var": (DOT, {"in2_var": []}, "in2_var to have 1 entries"),
    "out_var": (DOT, {"out_var": [1.0, 2.0]}, "out_var to have 1 entries"),
    "var of strings": (DOT, {"in1_var": ["a"]}, "in1_var to be a list of numbers"),
    "var not a list": (DOT, {"in1_var": 3}, "in1_var to be a list of numbers, got 3"),
    "irreps not a list": ((3, *DOT[1:]), {}, "expected irreps as a string like .* got 3"),
    "irreps of numbers": (([3], *DOT[1:]), {}, r"unknown irreps \[3\]: cannot read 3"),
    "path weight of letters": (("8x1o", "1x1o", "8x0e", [(0, 0, 0, "uvu", True, "a")]), {}, "path weight of instruction 0 to be a number, got 'a'"),
    "path weight of none": (("8x1o", "1x1o", "8x0e", [(0, 0, 0, "uvu", True, None)]), {}, "path weight of instruction 0 to be a number, got None"),
    "mode of a list": (("8x1o", "1x1o", "8x0e", [(0, 0, 0, ["uvu"], True)]), {}, "connection mode of instruction 0 to be a string"),
    "internal without shared": (DOT, {"internal_weights": True, "shared_weights": False}, "needs shared_weights = True"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_e3nn_refuses_is_refused_with_its_class_and_a_message(case):
    args, options, message = BAD[case]
    with pytest.raises(Exception) as theirs:
        e3nn_product(*args, **options)
    with pytest.raises(ProblemError, match=message) as ours:
        TPProblem(*args, **options)
    assert isinstance(ours.value, ValueError)
    assert isinstance(ours.value, theirs.type), f"e3nn raises {theirs.type.__name__}"


MORE_BAD = {
    "negative index": (("8x1o", "1x1o", "8x0e", [(0, -1, 0, "uvu", True)]), {}, "negative indices are not allowed"),
    "index not an integer": (("8x1o", "1x1o", "8x0e", [(0, 0.5, 0, "uvu", True)]), {}, "block indices of instruction 0"),
    "instructions not a list": (("8x1o", "1x1o", "8x0e", 3), {}, "expected instructions to be a list"),
    "instruction not a tuple": (("8x1o", "1x1o", "8x0e", [7]), {}, "expected instruction 0 to be a tuple, got 7"),
    "l too large": (("8x12e", "1x12e", "8x0e", [(0, 0, 0, "uvu", True)]), {}, "block 0 of irreps_in1 .* up to l = 11"),
    "irrep_dtype": (DOT, {"irrep_dtype": torch.int16}, "irrep_dtype to be 'float32', 'float64', 'bfloat16' or 'float16'.*torch.int16"),
    "weight_dtype": (DOT, {"weight_dtype": "int32"}, "weight_dtype to be"),
    "layout": (DOT, {"layout": "row"}, "layout to be 'mul_ir' or 'ir_mul', got 'row'"),
    "infinite": (("8x1o", "1x1o", "8x0e", [(0, 0, 0, "uvu", True, float("inf"))]), {}, "expected a finite number"),
    "not a number": (("8x1o", "1x1o", "8x0e", [(0, 0, 0, "uvu", True, float("nan"))]), {}, "squared coefficient is nan"),
}


@pytest.mark.parametrize("case", MORE_BAD)
def test_what_e3nn_lets_through_but_has_no_meaning_here(case):
    args, options, message = MORE_BAD[case]
    with pytest.raises(ProblemError, match=message):
        TPProblem(*args, **options)


def test_a_negative_index_is_also_an_index_error():
    with pytest.raises(IndexError):
        TPProblem("8x1o", "1x1o", "8x0e", [(-1, 0, 0, "uvu", True)])


@st.composite
def products(draw):
    blocks = st.lists(
        st.tuples(st.integers(1, 4), st.tuples(st.integers(0, 2), st.sampled_from([1, -1]))), min_size=1, max_size=3
    )
    in1, in2 = Irreps(draw(blocks)), Irreps(draw(blocks))
    out, instructions = [], []
    for i1, (m1, ir1) in enumerate(in1):
        for i2, (m2, ir2) in enumerate(in2):
            for ir in ir1 * ir2:
                if draw(st.booleans()):
                    instructions.append((i1, i2, len(out), "uvw", True, draw(st.floats(0, 10))))
                    out.append((draw(st.integers(1, 4)), ir))
    return str(in1), str(in2), str(Irreps(out)), instructions


@given(products(), st.sampled_from(["component", "norm", "none"]), st.sampled_from(["element", "path", "none"]))
def test_random_products_are_e3nns(product, irrep_normalization, path_normalization):
    options = dict(irrep_normalization=irrep_normalization, path_normalization=path_normalization)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tp = e3nn_product(*product, compile_left_right=False, **options)
    problem = TPProblem(*product, **options)
    assert problem.instructions == tuple(tp.instructions)
    assert eval(repr(problem), {"TPProblem": TPProblem, "Instruction": Instruction}) == problem


def test_named_problems():
    sizes = {"mace-large": (17, 2176), "mace-medium": (8, 1024), "nequip-lips": (30, 960), "nequip-aspirin": (10, 640)}
    for name, (paths, weights) in sizes.items():
        problem = espmm.named_problem(name)
        assert (len(problem.instructions), problem.weight_numel) == (paths, weights)
        assert not problem.shared_weights and problem.irreps_out == tuple(o3.Irreps(str(problem.irreps_out)).sort().irreps)
        outputs = [ins.i_out for ins in problem.instructions]
        assert outputs == list(range(len(problem.irreps_out)))
    assert len(espmm.named_problem("nequip-benzene", layout="ir_mul").instructions) == 68
    with pytest.raises(ProblemError, match="unknown problem 'mace', expected one of mace-large"):
        espmm.named_problem("mace")


def test_every_path_is_what_mace_builds():
    """MACE's rule, from its paper's code: all allowed paths, outputs sorted, instructions sorted by output."""
    in1, in2, target = o3.Irreps("4x0e+4x1o"), o3.Irreps("0e+1o+2e"), o3.Irreps("0e+1o+2e")
    blocks, paths = [], []
    for i, (mul, ir1) in enumerate(in1):
        for j, (_, ir2) in enumerate(in2):
            for ir in ir1 * ir2:
                if ir in target:
                    paths.append((i, j, len(blocks)))
                    blocks.append((mul, ir))
    irreps, place, _ = o3.Irreps(blocks).sort()
    expected = sorted(((i, j, place[k], "uvu", True) for i, j, k in paths), key=lambda p: p[2])
    ours, instructions = espmm.every_path("4x0e+4x1o", "0e+1o+2e", "0e+1o+2e")
    assert (tuple(ours), instructions) == (tuple(irreps), expected)


def test_versions_are_those_we_claim():
    assert e3nn.__version__ == "0.6.0"
