"""Irreps: what they read, what they are, and what they say of bad input."""

from __future__ import annotations

import pickle

import pytest
from e3nn import o3
from espmm import Irreps, ProblemError
from espmm.irreps import as_irrep
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    "text",
    ["128x0e+128x1o", "0e + 1o", "0e", "", " ", "1x1e", " 3 x 2o +1y+2y ", "0x1o+2x0e", "17x11e", "2x0e+2x0e"],
)
def test_reads_what_e3nn_reads(text):
    ours, theirs = Irreps(text), o3.Irreps(text)
    assert ours == tuple(theirs)
    assert str(ours) == str(theirs)
    assert (ours.dim, ours.num_irreps, ours.slices()) == (theirs.dim, theirs.num_irreps, theirs.slices())


@pytest.mark.parametrize(
    "given_",
    [
        o3.Irreps("8x0e+3x1o"),
        o3.Irrep("1o"),
        [(8, (0, 1)), (3, (1, -1))],
        [(8, "0e"), (3, o3.Irrep("1o"))],
        ["0e", "1o"],
        [o3.Irrep("2e")],
        list(o3.Irreps("8x0e+3x1o")),
        None,
    ],
    ids=repr,
)
def test_reads_objects_and_lists(given_):
    assert Irreps(given_) == tuple(o3.Irreps(given_))


def test_e3nn_reads_ours():
    assert o3.Irreps(Irreps("8x0e+3x1o")) == o3.Irreps("8x0e+3x1o")


@pytest.mark.parametrize(
    "text, part",
    [
        ("8x0e+1q", "'1q'"),
        ("8x0e+", "''"),
        ("-1x0e", "'-1x0e'"),
        ("8x", "'8x'"),
        ("8x1o0e", "'8x1o0e'"),
        ("0e+x1o", "'x1o'"),
        ("hello", "'hello'"),
    ],
)
def test_unknown_string_is_quoted_with_the_bad_part(text, part):
    with pytest.raises(ValueError):
        o3.Irreps(text)
    with pytest.raises(ProblemError) as error:
        Irreps(text)
    assert repr(text) in str(error.value) and f"cannot read {part}" in str(error.value)


@pytest.mark.parametrize(
    "bad", [3, [(1, 2, 3)], [(1.5, "0e")], [(-1, "0e")], [(2, (1, 3))], [(2, (-1, 1))], [None]], ids=repr
)
def test_unreadable_objects(bad):
    with pytest.raises(ProblemError):
        Irreps(bad)


def test_is_a_value():
    a, b = Irreps("8x0e + 1o"), Irreps([(8, (0, 1)), (1, (1, -1))])
    assert a == b and hash(a) == hash(b) and len({a, b}) == 1
    assert repr(a) == "Irreps('8x0e+1x1o')" and eval(repr(a)) == a
    assert pickle.loads(pickle.dumps(a)) == a and type(pickle.loads(pickle.dumps(a))) is Irreps
    assert [(mul, l, p) for mul, (l, p) in a] == [(8, 0, 1), (1, 1, -1)]
    assert isinstance(a[1:], Irreps) and str(a[1:]) == "1x1o" and str(a + "2e") == "8x0e+1x1o+1x2e"


def test_products_of_irreps():
    assert list(as_irrep("2o") * "1e") == [(1, -1), (2, -1), (3, -1)]


irreps_lists = st.lists(st.tuples(st.integers(0, 5), st.tuples(st.integers(0, 4), st.sampled_from([1, -1]))), max_size=6)


@given(irreps_lists)
def test_sort_and_simplify_are_e3nns(blocks):
    ours, theirs = Irreps(blocks), o3.Irreps(blocks)
    assert (tuple(ours.sort()[0]), ours.sort()[1]) == (tuple(theirs.sort().irreps), theirs.sort().p)
    assert tuple(ours.simplify()) == tuple(theirs.simplify())
    assert Irreps(str(ours)) == ours
