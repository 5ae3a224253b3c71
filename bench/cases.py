"""The table of all cases, shared by ``bench.peers``, the asv suite and the tests."""

import re

import numpy as np

from bench.families import (
    arrays,
    autograd,
    chains,
    convolution,
    decompositions,
    dispatch,
    elementwise,
    examples,
    fourier,
    linalg,
    loading,
    movement,
    narrow,
    networks,
    nnet,
    process,
    random,
    reduction,
    sequence,
    sorting,
    training,
)
from bench.registry import array_ops, public_ops

__all__ = [
    "all_cases",
    "covered_ops",
    "ops_without_numpy",
    "uncovered_ops",
    "unsized_ops",
]

_FAMILIES = (
    dispatch,
    training,
    networks,
    autograd,
    elementwise,
    chains,
    reduction,
    narrow,
    linalg,
    decompositions,
    fourier,
    nnet,
    convolution,
    sequence,
    arrays,
    movement,
    sorting,
    random,
    loading,
    examples,
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


# Array functions that need no row at each size, and why.
WITHOUT_SIZES = {
    r"linalg\..*|matmul|linear|matrix_transpose": "rows by shapes of matrices",
    r"fft\..*": "rows by shapes of signals and images",
    r"as_strided|broadcast_to|conj|expand_dims|flatten|imag|permute_dims|real|reshape"
    r"|split|squeeze|transpose|unstack|view_as_.*|diagonal": (
        "a view: what counts is the call, in views and in dispatch"
    ),
    r"broadcast_shapes|can_cast|isdtype": "looks at no element",
    r"empty|empty_like|from_.*": "writes no element",
    r"astype": "rows of casts, by dtypes",
    r"histogram_bin_edges|percentile|nanquantile": "part of histogram, or quantile",
    r"unique": "rows of unique_values, unique_counts, ...",
}
# Array functions that NumPy has, with no row that NumPy takes part in, and why.
WITHOUT_NUMPY = {
    r"fft\..*|linalg\..*": "where the two are called otherwise",
    r"broadcast_shapes|can_cast|isdtype": "looks at no element",
}


def ops_of(case):
    """Return the public names that a case exercises.

    Those are the names in its statement of ours, ``tl.name``, and those it lists.
    """
    return {*re.findall(r"\btl\.((?:linalg\.|fft\.)?\w+)\(", case.ours), *case.ops}


def covered_ops():
    """Return the public names that some case exercises."""
    return set().union(*map(ops_of, all_cases()))


def uncovered_ops():
    """Return the public operations without a case; a test wants none.

    Examples
    --------
    >>> uncovered_ops()
    set()
    """
    return public_ops() - covered_ops()


def _listed(op, table):
    return any(re.fullmatch(pattern, op) for pattern in table)


def unsized_ops():
    """Return the array functions that lack a size, with the sizes; a test wants none.

    Examples
    --------
    >>> unsized_ops()
    {}
    """
    seen = {op: set() for op in array_ops() if not _listed(op, WITHOUT_SIZES)}
    for case in all_cases():
        sizes = set(re.findall(r"\b10\^[357]\b", case.name))
        for op in ops_of(case) & set(seen):
            seen[op] |= sizes
    every = {"10^3", "10^5", "10^7"}
    return {op: sorted(every - sizes) for op, sizes in seen.items() if every - sizes}


def ops_without_numpy():
    """Return the array functions that NumPy has, and no case gives to it.

    Examples
    --------
    >>> ops_without_numpy()
    set()
    """
    timed = set().union(*(ops_of(case) for case in all_cases() if case.numpy))
    theirs = {op for op in array_ops() if _attribute(np, op) is not None}
    return {op for op in theirs - timed if not _listed(op, WITHOUT_NUMPY)}


def _attribute(module, name):
    for part in name.split("."):
        module = getattr(module, part, None)
    return module
