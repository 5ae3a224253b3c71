"""The table of all cases, shared by ``bench.peers``, the asv suite and the tests."""

import re

from bench.families import (
    autograd,
    convolution,
    decompositions,
    dispatch,
    elementwise,
    fourier,
    linalg,
    loading,
    movement,
    narrow,
    nnet,
    process,
    random,
    reduction,
    sequence,
    sorting,
    training,
)
from bench.registry import public_ops

__all__ = ["all_cases", "covered_ops", "uncovered_ops"]

_FAMILIES = (
    dispatch,
    training,
    autograd,
    elementwise,
    reduction,
    narrow,
    linalg,
    decompositions,
    fourier,
    nnet,
    convolution,
    sequence,
    movement,
    sorting,
    random,
    loading,
    process,
)


def all_cases(*, quick=False, only=None):
    """Return the cases, in the order of their families.

    Parameters
    ----------
    quick : bool, default False
        Keep the rows that matter most.
    only : str, optional
        Keep the rows whose ``"section: name"`` this regular expression finds.
    """
    found = [case for family in _FAMILIES for case in family.cases()]
    return [
        case
        for case in found
        if (case.quick or not quick) and (not only or re.search(only, case.label))
    ]


def covered_ops():
    """Return the public names that some case exercises.

    A name counts when a statement of ours says ``tl.name`` or ``tl.linalg.name``, or a
    case lists it.
    """
    names = set()
    for case in all_cases():
        names.update(re.findall(r"\btl\.((?:linalg\.|fft\.)?\w+)\(", case.ours))
        names.update(case.ops)
    return names


def uncovered_ops():
    """Return the public operations without a case; a test wants none.

    Examples
    --------
    >>> uncovered_ops()
    set()
    """
    return public_ops() - covered_ops()
