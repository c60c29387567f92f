"""The coupling tensors of lib/Support, through the C API, against e3nn's own, for every triple up to l = 11."""

import ctypes
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from e3nn import o3

MAX_L = 11
TRIPLES = [
    (l1, l2, l3)
    for l1, l2 in itertools.product(range(MAX_L + 1), repeat=2)
    for l3 in range(abs(l1 - l2), min(l1 + l2, MAX_L) + 1)
]
ESPMM_INVALID = 1


def find_library() -> Path:
    """Path of libespmm.so: ESPMM_LIBRARY, the Python package's copy, or the build tree's. FileNotFoundError if none."""
    root = Path(__file__).resolve().parents[2]
    named = os.environ.get("ESPMM_LIBRARY")
    places = [Path(named)] if named else [root / "python/espmm/lib/libespmm.so", root / "build/lib/libespmm.so"]
    for place in places:
        if place.exists():
            return place
    raise FileNotFoundError(f"libespmm.so: looked at {', '.join(map(str, places))}; build it or set ESPMM_LIBRARY")


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    lib = ctypes.CDLL(str(find_library()))
    lib.espmm_clebsch_gordan.argtypes = [ctypes.c_int] * 3 + [ctypes.c_void_p]
    lib.espmm_clebsch_gordan.restype = ctypes.c_int
    lib.espmm_last_error.restype = ctypes.c_char_p
    return lib


def coefficients(lib: ctypes.CDLL, l1: int, l2: int, l3: int) -> np.ndarray:
    """The tensor as float64 of shape (2 l1 + 1, 2 l2 + 1, 2 l3 + 1); the buffer is NaN before the call."""
    out = np.full((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1), np.nan)
    status = lib.espmm_clebsch_gordan(l1, l2, l3, out.ctypes.data)
    assert status == 0, lib.espmm_last_error()
    return out


def selection_rule(l1: int, l2: int, l3: int) -> np.ndarray:
    """Where the real basis lets an entry be nonzero: |m3| = |m1| + |m2| or ||m1| - |m2||, sines even or odd in number as
    l1 + l2 + l3 is. Boolean, shape (2 l1 + 1, 2 l2 + 1, 2 l3 + 1)."""
    m1, m2, m3 = np.ogrid[-l1 : l1 + 1, -l2 : l2 + 1, -l3 : l3 + 1]
    a1, a2, a3 = abs(m1), abs(m2), abs(m3)
    tied = (a3 == a1 + a2) | (a3 == abs(a1 - a2))
    sines = (m1 < 0).astype(int) + (m2 < 0) + (m3 < 0)
    return tied & (sines % 2 == (l1 + l2 + l3) % 2)


def test_there_are_870_triples() -> None:
    assert len(TRIPLES) == 870


@pytest.mark.parametrize("l1", range(MAX_L + 1))
def test_equals_e3nn(library: ctypes.CDLL, l1: int) -> None:
    for triple in (t for t in TRIPLES if t[0] == l1):
        got = coefficients(library, *triple)
        expected = o3.wigner_3j(*triple, dtype=torch.float64).numpy()
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12, err_msg=str(triple))
        # Exactly zero where the coefficient vanishes, and nowhere else: up to l = 11 no other is below 1e-4.
        assert np.array_equal(got != 0, abs(expected) > 1e-10), triple
        assert not got[~selection_rule(*triple)].any(), triple


@pytest.mark.parametrize("triple", [(1, 1, 3), (0, 1, 0), (-1, 1, 1), (21, 21, 0), (2, 5, 2)])
def test_no_such_coupling(library: ctypes.CDLL, triple: tuple[int, int, int]) -> None:
    out = np.full(100_000, 7.0)
    assert library.espmm_clebsch_gordan(*triple, out.ctypes.data) == ESPMM_INVALID
    assert (out == 7.0).all()
    message = library.espmm_last_error().decode()
    assert all(str(l) in message for l in triple), message
