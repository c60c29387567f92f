"""Exceptions.

A product that cannot be built raises :class:`ProblemError`, a ``ValueError``. Where ``e3nn.o3.TensorProduct``
(0.6.0) raises another class for the same mistake, ours inherits that class too, so that code written
against e3nn's exceptions keeps working:

=============================================== ==============================
mistake                                          e3nn raises
=============================================== ==============================
irreps or variances not readable                 ``ValueError``
of another type than they may be of              ``TypeError``
irrep_normalization, path_normalization          ``AssertionError``
variances of the wrong length                    ``AssertionError``
block index out of range                         ``IndexError``
unknown connection mode                          ``KeyError``
parities, degrees, multiplicities do not fit     ``AssertionError``
``internal_weights`` without ``shared_weights``  ``AssertionError``
last axis of x or y, count of weights            ``AssertionError``
missing weights, a weight of the wrong shape     ``RuntimeError``
leading axes, devices or dtypes that do not fit  ``RuntimeError``
=============================================== ==============================

The last three rows are of calls; a wrong dtype, which Python calls a ``TypeError``, is that too.
"""

from __future__ import annotations


class ProblemError(ValueError):
    """A tensor product, or a program made from one, that is not valid."""

    def __str__(self) -> str:
        # KeyError, which one subclass inherits, would print the repr of its message.
        return str(self.args[0]) if len(self.args) == 1 else super().__str__()


class ProblemAssertionError(ProblemError, AssertionError):
    """A ProblemError where e3nn fails an assertion."""


class ProblemIndexError(ProblemError, IndexError):
    """A ProblemError where e3nn (or Python) raises IndexError."""


class ProblemKeyError(ProblemError, KeyError):
    """A ProblemError where e3nn raises KeyError."""


class ProblemTypeError(ProblemError, TypeError):
    """A ProblemError where e3nn (or Python) raises TypeError."""


class ProblemRuntimeError(ProblemError, RuntimeError):
    """A ProblemError where e3nn (or torch below it) raises RuntimeError."""


class ProblemDtypeError(ProblemTypeError, ProblemRuntimeError):
    """A tensor of the wrong kind: of another dtype or layout, for which torch below e3nn raises RuntimeError."""


class UnsupportedError(ProblemError, NotImplementedError):
    """A valid product that the chosen target does not lower yet."""
