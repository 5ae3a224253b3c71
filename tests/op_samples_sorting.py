"""Rows of sorting, searching, sets and statistics."""

import numpy as np
from op_families import LARGE, N, reduction
from op_rows import ALL, INTEGERS, Error, Op, call, draw, near, ulp

import tensorlib as tl

_NO_AXIS = Error(lambda: (tl.tensor(1.0),), tl.ShapeError, "axis")
_SHAPES = [(0,), (1,), (5,), (24,), (25,), (300,), (2, 3), (4, 0), (0, 3)]


# ---- references ----------------------------------------------------------------
def _keys(x, descending, nan_first=False):
    """Numbers that compare as the elements do; equal for equal elements and NaNs."""
    keys = np.unique(x, return_inverse=True)[1].reshape(x.shape).astype(np.int64)
    keys = -keys if descending else keys
    if x.dtype.kind == "f":
        keys[np.isnan(x)] = -x.size - 1 if nan_first else x.size + 1
    return keys


def _argsort(x, axis=-1, descending=False, nan_first=False):
    keys = _keys(x, descending, nan_first)
    return np.argsort(keys, axis=axis, kind="stable").astype(np.int64)


def _sort(x, axis=-1, descending=False, stable=True):
    return np.take_along_axis(x, _argsort(x, axis, descending), axis)


def _topk(x, k, axis=-1, largest=True):
    order = _argsort(x, axis, largest, nan_first=largest)
    order = np.take(order, np.arange(k), axis)
    return np.take_along_axis(x, order, axis), order


def _kthvalue(x, k, axis=-1, keepdims=False):
    order = np.take(_argsort(x, axis), [k - 1], axis)
    found = np.take_along_axis(x, order, axis), order
    return found if keepdims else tuple(np.squeeze(y, axis) for y in found)


def _searchsorted(a, v, side="left", sorter=None):
    return np.searchsorted(a, v, side, sorter).astype(np.int64)


def _unique_all(x):
    found = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True, equal_nan=False
    )
    return found[0], found[1], found[2].reshape(x.shape), found[3]


def _bincount(x, weights=None, minlength=0):
    found = np.bincount(x.astype(np.int64), weights, minlength)
    return found if weights is None else found.astype(weights.dtype)


def _quantile(function):
    def reference(x, q, **keywords):
        return function(x.astype(np.float64), np.asarray(q, np.float64), **keywords)

    return reference


def _histogram(x, bins=10, range=None, **keywords):
    counts, edges = np.histogram(x, bins, range, **keywords)
    return counts, edges.astype(np.float64)


# ---- calls ---------------------------------------------------------------------
def _order_calls(dtype, rng):
    found = [call(draw(s, dtype, rng)) for s in _SHAPES]
    return found + [
        call(draw((40,), dtype, rng), descending=True),
        call(draw((3, 4, 5), dtype, rng), axis=1),
        call(draw((30, 2), dtype, rng), axis=0, descending=True),
        call(draw((2, 3), dtype, rng), axis=-2, stable=False),
    ]


def _large(dtype, rng):
    """A row for several threads, many rows, and columns."""
    shapes = [((LARGE,), -1), ((449, 451), -1), ((449, 451), 0)]
    return [call(draw(s, dtype, rng), axis=axis) for s, axis in shapes]


def _large_after(*arguments):
    def calls(dtype, rng):
        return [call(c.args[0], *arguments, **c.kwargs) for c in _large(dtype, rng)]

    return calls


def _topk_calls(dtype, rng):
    return [
        call(draw((5,), dtype, rng), 2),
        call(draw((300,), dtype, rng), 7),
        call(draw((300,), dtype, rng), 200, largest=False),
        call(draw((3, 40), dtype, rng), 40, largest=False),
        call(draw((30, 4), dtype, rng), 3, axis=0),
        call(draw((2, 3), dtype, rng), 0),
        call(draw((0, 3), dtype, rng), 2),
    ]


def _kth_calls(dtype, rng):
    return [
        call(draw((5,), dtype, rng), 2),
        call(draw((300,), dtype, rng), 150),
        call(draw((3, 40), dtype, rng), 40, keepdims=True),
        call(draw((30, 4), dtype, rng), 1, axis=0),
        call(draw((0, 3), dtype, rng), 2),
    ]


def _search_calls(dtype, rng):
    a = np.sort(draw((50,), dtype, rng))
    b = draw((20,), dtype, rng)
    return [
        call(a, draw((33,), dtype, rng)),
        call(a, draw((3, 4), dtype, rng), side="right"),
        call(b, draw((9,), dtype, rng), sorter=np.argsort(b)),
        call(a, draw((), dtype, rng)),
        call(a[:0], b),
        call(a, b[:0]),
        call(a[:1], b),
    ]


def _set_calls(dtype, rng):
    return [call(draw(s, dtype, rng)) for s in [(), *_SHAPES, (3, 4, 5)]]


def _quantile_calls(scale):
    def calls(dtype, rng):
        some = tuple(q * scale for q in (0.0, 0.3, 0.5, 1.0))
        many = [q * scale / 10 for q in range(11)]
        methods = ("lower", "higher", "nearest", "midpoint", "hazen", "weibull")
        return [
            call(draw((5,), dtype, rng), 0.3 * scale),
            call(draw((300,), dtype, rng), some),
            call(draw((4, 30), dtype, rng), many, axis=1),
            call(draw((3, 4, 5), dtype, rng), some, axis=(0, -1), keepdims=True),
            call(draw((), dtype, rng), 0.5 * scale),
            call(draw((2, 3), dtype, rng), 0.25 * scale, axis=0),
            *[call(draw((10,), dtype, rng), some, method=m) for m in methods],
        ]

    return calls


def _quantile_errors(most):
    return (
        Error(lambda: (tl.ones(3), 2 * most), ValueError, "expected q in"),
        Error(lambda: (tl.ones(3), tl.nan), ValueError, "expected q in"),
    )


def _histogram_calls(dtype, rng):
    return [
        call(draw((300,), dtype, rng)),
        call(draw((20, 5), dtype, rng), 4, (-1.0, 2.0)),
        call(draw((0,), dtype, rng), 3),
        call(np.ones((4,), dtype), 3),
    ]


_MANY_BINS = Error(lambda: (tl.ones(3), 0), ValueError, "at least one bin")
_FALLING = Error(lambda: (tl.ones(3), tl.tensor([1.0, 0.0])), ValueError, "do not fall")
_ENDLESS = Error(lambda: (tl.tensor([tl.nan]),), ValueError, "finite, rising range")
# One addition and one division more than the reference has.
_MEDIANS = {"result": "float", "differentiable": True, "tolerance": ulp(1),
            "reason": "one rounding, in float64 two", "empty": False}  # fmt: skip

SORTING = [
    Op("sort", tl.sort, _sort, _order_calls, dtypes=ALL, differentiable=True,
       large=_large, errors=(_NO_AXIS,)),
    Op("argsort", tl.argsort,
       lambda x, axis=-1, descending=False, stable=True: _argsort(x, axis, descending),
       _order_calls, dtypes=ALL, result=N, large=_large, errors=(_NO_AXIS,)),
    Op("topk", tl.topk, _topk, _topk_calls, dtypes=ALL, result=None,
       differentiable=True, large=_large_after(5),
       errors=(Error(lambda: (tl.ones(3), 4), tl.ShapeError, r"expected k in \[0, 3\]"),
               Error(lambda: (tl.ones(3), -1), tl.ShapeError, "expected k"),
               Error(lambda: (tl.ones(3), 1.5), TypeError, "expected an int k"),
               Error(lambda: (tl.tensor(1.0), 0), tl.ShapeError, "axis"))),
    Op("kthvalue", tl.kthvalue, _kthvalue, _kth_calls, dtypes=ALL, result=None,
       differentiable=True, large=_large_after(100),
       errors=(Error(lambda: (tl.ones(3), 0), tl.ShapeError, r"expected k in \[1, 3\]"),
               Error(lambda: (tl.tensor(1.0), 1), tl.ShapeError, "axis"))),
    Op("searchsorted", tl.searchsorted, _searchsorted, _search_calls, dtypes=ALL,
       result=N,
       large=lambda d, r: [call(np.sort(draw((999,), d, r)), draw((LARGE,), d, r))],
       errors=(Error(lambda: (tl.ones((2, 2)), 1.0), tl.ShapeError, "x1 of shape"),
               Error(lambda: (tl.ones(2), 1.0, tl.ones(2)), TypeError, "positional"))),
    Op("bincount", tl.bincount, _bincount,
       lambda d, r: [call(draw((300,), d, r, 0, 20)), call(draw((0,), d, r)),
                     call(draw((5,), d, r, 0, 3), minlength=9),
                     call(draw((50,), d, r, 0, 9), draw((50,), "float64", r)),
                     call(draw((0,), d, r), draw((0,), "float32", r))],
       dtypes=INTEGERS, result=None, differentiable=True, native=True,
       tolerance=ulp(1), reason="sums in float64, rounded once",
       smooth=lambda d, r: [call(r.integers(0, 9, 50), draw((50,), d, r))],
       large=lambda d, r: [call(draw((LARGE,), d, r, 0, 99)),
                           call(draw((LARGE,), d, r, 0, 99), draw((LARGE,), "float32", r))],
       errors=(Error(lambda: (tl.tensor([-1]),), ValueError, ">= 0, got -1"),
               Error(lambda: (tl.ones(2),), tl.DTypeError, "integers"),
               Error(lambda: (tl.tensor([[1]]),), tl.ShapeError, "of shape"),
               Error(lambda: (tl.tensor([1]), None, -1), ValueError, "minlength"),
               Error(lambda: (tl.tensor([1]), tl.ones(2)), tl.ShapeError, "weights"))),
]  # fmt: skip

SETS = [
    Op("unique_values", tl.unique_values, lambda x: np.unique(x, equal_nan=False),
       _set_calls, dtypes=ALL, large=lambda d, r: [call(draw((LARGE,), d, r))]),
    Op("unique_counts", tl.unique_counts,
       lambda x: np.unique(x, return_counts=True, equal_nan=False),
       _set_calls, dtypes=ALL, result=None),
    Op("unique_inverse", tl.unique_inverse, lambda x: _unique_all(x)[::2],
       _set_calls, dtypes=ALL, result=None),
    Op("unique_all", tl.unique_all, _unique_all, _set_calls, dtypes=ALL, result=None,
       large=lambda d, r: [call(draw((LARGE,), d, r))]),
    Op("unique", tl.unique, np.unique, _set_calls, dtypes=ALL),
    Op("isin", tl.isin, np.isin,
       lambda d, r: [call(draw((30,), d, r), draw((5,), d, r)),
                     call(draw((2, 3), d, r), draw((2, 2), d, r), invert=True),
                     call(draw((4,), d, r), draw((0,), d, r)),
                     call(draw((0,), d, r), draw((2,), d, r)),
                     call(draw((), d, r), draw((40,), d, r))],
       dtypes=ALL, result="bool",
       errors=(Error(lambda: (1, 2), tl.DTypeError, "at least one tensor"),)),
]  # fmt: skip

STATISTICS = [
    reduction("median", np.median, **_MEDIANS),
    reduction("nanmedian", np.nanmedian, **_MEDIANS),
    Op("quantile", tl.quantile, _quantile(np.quantile), _quantile_calls(1.0),
       dtypes=ALL[1:], result="float", differentiable=True, tolerance=near(1e-6, 1e-15),
       reason="the mean of two elements of order one", large=_large_after(0.3),
       errors=(*_quantile_errors(1.0),
               Error(lambda: (tl.ones(3), "a"), TypeError, "quantile: expected a tensor"))),
    Op("nanquantile", tl.nanquantile, _quantile(np.nanquantile), _quantile_calls(1.0),
       dtypes=ALL[1:], result="float", differentiable=True, tolerance=near(1e-6, 1e-15),
       reason="the mean of two elements of order one", errors=_quantile_errors(1.0)),
    Op("percentile", tl.percentile, _quantile(np.percentile), _quantile_calls(100.0),
       dtypes=ALL[1:], result="float", differentiable=True, tolerance=near(1e-6, 1e-15),
       reason="the mean of two elements of order one", errors=_quantile_errors(100.0)),
    Op("histogram", tl.histogram, _histogram, _histogram_calls,
       dtypes=(*INTEGERS, "float64"), result=None, native=True,
       tolerance=near(1e-6, 1e-14), reason="edges are rounded",
       large=lambda d, r: [call(draw((LARGE,), d, r), 50)],
       errors=(_MANY_BINS, _FALLING, _ENDLESS,
               Error(lambda: (tl.ones(3), 3, (1, 0)), ValueError, "rising range"),
               Error(lambda: (tl.ones(3), 3, 1), TypeError, "two numbers"),
               Error(lambda: (tl.ones(3), tl.ones((2, 2))), tl.ShapeError, "edges"))),
    Op("histogram_bin_edges", tl.histogram_bin_edges,
       lambda x, *a: np.histogram_bin_edges(x, *a).astype(np.float64), _histogram_calls,
       dtypes=(*INTEGERS, "float64"), result="float64", tolerance=near(1e-6, 1e-14),
       reason="edges are rounded", errors=(_MANY_BINS, _FALLING, _ENDLESS)),
]  # fmt: skip
