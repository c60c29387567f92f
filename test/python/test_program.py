"""Programs: the level-0 text, what is known of derivatives, the pipeline, the string form."""

from __future__ import annotations

import copy
import pickle

import pytest
from espmm import ProblemError, Program, TPProblem, UnsupportedError, forward_program, named_problem
from espmm.program import Step

DOT = TPProblem("8x1o", "1x1o", "8x0e", [(0, 0, 0, "uvu", True)], path_normalization="none", shared_weights=False)
MIXED = TPProblem(
    "2x1o+3x0e", "1x1o", "2x0e+2x1e+3x1o", [(0, 0, 0, "uvu", True), (0, 0, 1, "uvu", False), (1, 0, 2, "uvu", True)],
    shared_weights=True, internal_weights=False, layout="ir_mul", irrep_dtype="float64", weight_dtype="float64",
)  # fmt: skip

CONV_TEXT = """\
#p = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e",
    paths = [uvu(0, 0, 0) * 1.0]>
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
func.func @conv(%g: !equivariant.graph, %x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>) -> tensor<?x8xf32, #z> {
  %xe = equivariant.gather %x at senders of %g : tensor<?x24xf32, #x> -> tensor<?x24xf32, #x> over !equivariant.graph
  %m = equivariant.contract z of #p (x = %xe, y = %y, w = %w)
       : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32>) -> tensor<?x8xf32, #z>
  %z = equivariant.segment_sum %m at receivers of %g : tensor<?x8xf32, #z> -> tensor<?x8xf32, #z> over !equivariant.graph
  return %z : tensor<?x8xf32, #z>
}
"""

MIXED_TEXT = """\
#p = #equivariant.product<x = "2x1o+3x0e", y = "1x1o", z = "2x0e+2x1e+3x1o",
    paths = [uvu(0, 0, 0) * 1.0,
             uvu(1, 0, 2) * 1.7320508075688772]>
#q = #equivariant.product<x = "2x1o+3x0e", y = "1x1o", z = "2x0e+2x1e+3x1o",
    paths = [uvu(0, 0, 1) weightless * 1.7320508075688772]>
#x = #equivariant.irreps<"2x1o+3x0e", ir_mul>
#y = #equivariant.irreps<"1x1o", ir_mul>
#z = #equivariant.irreps<"2x0e+2x1e+3x1o", ir_mul>
func.func @tp(%g: !equivariant.rows, %x: tensor<?x9xf64, #x>, %y: tensor<?x3xf64, #y>, %w: tensor<1x5xf64>) -> tensor<?x17xf64, #z> {
  %we = equivariant.gather %w at all of %g : tensor<1x5xf64> -> tensor<?x5xf64> over !equivariant.rows
  %a = equivariant.contract z of #p (x = %x, y = %y, w = %we)
       : (tensor<?x9xf64, #x>, tensor<?x3xf64, #y>, tensor<?x5xf64>) -> tensor<?x17xf64, #z>
  %b = equivariant.contract z of #q (x = %x, y = %y)
       : (tensor<?x9xf64, #x>, tensor<?x3xf64, #y>) -> tensor<?x17xf64, #z>
  %z = equivariant.add %a, %b : tensor<?x17xf64, #z>
  return %z : tensor<?x17xf64, #z>
}
"""


def test_text_of_a_convolution():
    assert forward_program(DOT, conv=True).text == CONV_TEXT


def test_text_of_a_mixed_product_with_shared_weights():
    assert forward_program(MIXED).text == MIXED_TEXT


def test_text_of_a_weightless_product_takes_no_weights():
    program = forward_program(TPProblem("4x1o", "4x1o", "6x1e", [(0, 0, 0, "uvu<v", False)]))
    assert "uvu_lt_v(0, 0, 0) weightless * 1.7320508075688772" in program.text
    assert [spec.name for spec in program.arguments] == ["x", "y"]


@pytest.mark.parametrize("conv", [False, True])
def test_the_compiler_reads_every_text(library, conv):
    from espmm import _capi

    modes = TPProblem(
        "4x0e+4x1o+0x2e", "4x1o+1x0e", "4x1o+4x1e+16x1e+6x0e+1x2e+3x1e",
        [(0, 0, 0, "uvw", True), (0, 0, 0, "uvv", False), (1, 0, 1, "uuu", True), (1, 0, 1, "uuw", True), (1, 0, 2, "uvuv", False),
         (1, 0, 3, "uvu<v", True), (1, 0, 4, "uuw", False), (1, 0, 5, "u<vw", True)],
    )  # fmt: skip
    for problem in (
        DOT,
        MIXED,
        modes,
        modes.replace(shared_weights=False, internal_weights=False),
        named_problem("mace-large"),
    ):
        text = forward_program(problem, conv).text
        printed = _capi.opt(text, "")
        assert _capi.opt(printed, "") == printed


def test_coefficients_are_written_exactly_and_with_a_point():
    for weight in (1e-300, 1e22, 123456789.0, 2.0 / 3.0, 1e-5, 5e-324):
        instruction = DOT.instructions[0]._replace(path_weight=weight)
        text = forward_program(DOT.replace(instructions=[instruction])).text
        written = text.partition("uvu(0, 0, 0) * ")[2].partition("]")[0]
        assert float(written) == weight and "." in written.partition("e")[0]


def test_empty_paths_are_left_out():
    problem = TPProblem("0x0e+3x1o", "1x0e", "0x0e+3x1o", [(0, 0, 0, "uvu", True), (1, 0, 1, "uvu", True)])
    assert forward_program(problem).text.count("uvu(") == 1
    with pytest.raises(ProblemError, match="no path over nonzero multiplicities"):
        forward_program(TPProblem("0x0e", "1x0e", "0x0e", [(0, 0, 0, "uvu", True)]))


def test_mixed_dtypes_are_unsupported():
    with pytest.raises(UnsupportedError, match="weight_dtype = float64 and irrep_dtype = float32"):
        forward_program(DOT.replace(weight_dtype="float64"))
    assert issubclass(UnsupportedError, NotImplementedError) and issubclass(UnsupportedError, ValueError)


def test_arguments_and_results():
    program = forward_program(DOT, conv=True)
    assert [tuple(spec) for spec in program.arguments] == [
        ("x", "float32", "senders", 24), ("y", "float32", "edges", 3), ("w", "float32", "edges", 8),
    ]  # fmt: skip
    assert [tuple(spec) for spec in program.results] == [("z", "float32", "receivers", 8)]
    backward = program.vjp((0, 2), (0,))
    assert [spec.name for spec in backward.arguments] == ["x", "y", "w", "gz"]
    assert [(spec.name, spec.rows, spec.width) for spec in backward.results] == [("dx", "senders", 24), ("dw", "edges", 8)]
    assert forward_program(MIXED, conv=True).arguments[2].rows == "all"


def test_what_is_used():
    x, y, w, gz = range(4)
    program = forward_program(DOT)
    assert program.used == {x, y, w}
    assert program.vjp((x,), (0,)).used == {y, w, gz}
    assert program.vjp((w,), (0,)).used == {x, y, gz}
    assert program.vjp((x, y), (0,)).used == {x, y, w, gz}
    # In a mixed product the weightless part's gradient reads no weights.
    mixed = forward_program(MIXED)
    assert mixed.terms == (frozenset({frozenset({x, y, w}), frozenset({x, y})}),)
    assert mixed.vjp((w,), (0,)).terms == (frozenset({frozenset({x, y, gz})}),)


def test_pruning():
    x, y, w, gz = range(4)
    backward = forward_program(DOT).vjp((x, y, w), (0,))
    assert backward.prune((x,), (0,)) is None  # dx does not depend on x
    assert backward.prune((x, y), (0,)) == Step((y,), (0,))
    assert backward.prune((x,), (0, 1, 2)) == Step((x,), (1, 2))
    assert backward.prune((), (0, 1, 2)) is None


def test_jvp_is_the_transpose_of_the_transpose():
    program = forward_program(DOT)
    forward, places = program.jvp((0, 2))
    assert places == (0,)
    assert [spec.name for spec in forward.arguments] == ["x", "y", "w", "gz", "gdx", "gdw"]
    assert forward.used == {0, 1, 2, 4, 5}
    assert forward.results[0].width == 8
    assert forward.terms == (frozenset({frozenset({1, 2, 4}), frozenset({0, 1, 5})}),)


def test_pipeline():
    program = forward_program(DOT).vjp((0, 1, 2), (0,)).vjp((3,), (2, 0))
    steps = "equivariant-differentiate{wrt=1,2,3 cotangents=0},equivariant-differentiate{wrt=4 cotangents=2,0}"
    assert program.pipeline("cpu") == steps + ",equivariant-to-cpu"
    assert program.pipeline("cpu", until="tiled") == steps + ",equivariant-to-cpu{until=tiled}"
    assert program.pipeline("cuda:sm_90a") == steps + ",equivariant-to-gpu{chip=sm_90a deterministic=false}"
    assert program.pipeline("cpu", until="differentiated") == steps
    assert program.pipeline("cpu", until="source") == ""
    exact = forward_program(DOT, deterministic=True)
    assert exact.pipeline("cuda:sm_80", "fused") == "equivariant-to-gpu{chip=sm_80 deterministic=true until=fused}"


@pytest.mark.parametrize("target", ["gpu", "cuda", "cuda:90", "cuda:sm_90x1", "CPU", "cpu,canonicalize", ""])
def test_unknown_target(target):
    with pytest.raises(ValueError, match="unknown target .*expected 'cpu' or 'cuda:sm_NN'"):
        forward_program(DOT).pipeline(target)


def test_unknown_stage_and_bad_steps():
    program = forward_program(DOT)
    with pytest.raises(ValueError, match="expected a stage, one of source, .* got 'ptx'"):
        program.pipeline("cpu", until="ptx")
    for wrt, cotangents in [((), (0,)), ((3,), (0,)), ((-1,), (0,)), ((0, 0), (0,)), ((0,), ()), ((0,), (1,))]:
        with pytest.raises(ValueError, match="expected (wrt|cotangents) to"):
            program.vjp(wrt, cotangents)


def test_is_a_value_with_one_derivative_of_each_kind():
    a, b = forward_program(DOT), forward_program(DOT)
    assert a == b and hash(a) == hash(b) and a != forward_program(DOT, conv=True)
    assert a.vjp((0,), (0,)) is a.vjp([0], [0]) and a.vjp((0,), (0,)) == b.vjp((0,), (0,)) != a
    assert copy.deepcopy(a) is a
    assert "x: edges x 24" in repr(a)


def test_string_form():
    program = forward_program(MIXED, conv=True, deterministic=True).vjp((0, 2), (0,)).vjp((1, 3), (1,))
    text = program.serialize()
    assert text.splitlines() == [text] and text.replace("\t", "\n").startswith(program.text + "// ")
    assert Program.deserialize(text) is program
    # In another process the string is all there is.
    from espmm import program as module

    module._programs.clear()
    again = Program.deserialize(text)
    assert again is not program and again == program and again.serialize() == text
    for name in ("arguments", "results", "terms", "steps", "space", "deterministic", "used"):
        assert getattr(again, name) == getattr(program, name)
    assert pickle.loads(pickle.dumps(program)) == program
    for bad in ("", "module {}", "// espmm-program {}", "// espmm-program nonsense"):
        with pytest.raises(ValueError, match="expected a serialised program"):
            Program.deserialize(bad)


@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize("problem", [DOT, MIXED], ids=["weighted", "mixed"])
def test_the_compiler_reads_the_arguments_that_we_say(problem, conv, library):
    """Which arguments the differentiated text mentions, against the terms that we keep."""
    import re

    from espmm import _capi

    program = forward_program(problem, conv)
    steps = [((0,), (0,)), ((1,), (0,)), ((2,), (0,)), ((0, 1, 2), (0,))]
    programs = [program] + [program.vjp(*step) for step in steps]
    backward = programs[-1]
    programs += [
        backward.vjp(range(4), range(3)),
        backward.vjp((0,), (1, 2)),
        program.jvp((0, 1, 2))[0],
        program.jvp((1,))[0],
    ]
    for each in programs:
        text = _capi.opt(each.text, each.pipeline("cpu", until="differentiated"))
        signature, _, body = text.partition("func.func")[2].partition("{\n")
        assert signature.count("%arg") == len(each.arguments) + 1
        mentioned = {int(number) - 1 for number in re.findall(r"%arg(\d+)\b", body)} - {-1}
        assert mentioned == each.used, f"{each!r}\n{text}"
