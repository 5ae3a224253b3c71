"""Medians, quantiles and histograms. Loaded at the first use of one of its names.

A quantile is a mean of two elements of neighbouring ranks. The kernel finds where they
are, in any dtype; they are picked by position and averaged in float64, so that
gradients follow by composition and the one rounding is that of the result.
"""

import math
from collections import namedtuple
from types import SimpleNamespace

from tensorlib.autograd.batch import hide_levels, show_levels
from tensorlib.core.dtype import float32, float64
from tensorlib.core.errors import ShapeError
from tensorlib.core.naming import own_errors
from tensorlib.core.tensor import Tensor
from tensorlib.ops.arguments import any_batched, axes_of, axis_of, int_of, tensor_of
from tensorlib.ops.arithmetic import ceil, floor
from tensorlib.ops.arithmetic import round as nearest_even
from tensorlib.ops.creation import asarray, full, linspace
from tensorlib.ops.elementwise import astype
from tensorlib.ops.indexing import take_along_axis, where
from tensorlib.ops.joining import concat
from tensorlib.ops.logic import isnan
from tensorlib.ops.manipulation import diff
from tensorlib.ops.reduce import all as every
from tensorlib.ops.reduce import max as largest
from tensorlib.ops.reduce import mean
from tensorlib.ops.reduce import min as smallest
from tensorlib.ops.reduce import sum as total
from tensorlib.ops.shape import moveaxis, permute_dims, reshape
from tensorlib.ops.sorting import (
    argselect,
    bincount,
    middle,
    searchsorted,
    uniform_counts,
)

Histogram = namedtuple("Histogram", ("hist", "bin_edges"))

# The place of quantile q among n elements, from 0 on, by (alpha, beta) of Hyndman and
# Fan: n q + alpha + q (1 - alpha - beta) - 1.
_CONTINUOUS = {
    "linear": (1.0, 1.0),
    "interpolated_inverted_cdf": (0.0, 1.0),
    "hazen": (0.5, 0.5),
    "weibull": (0.0, 0.0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}
# The same by the functions m, on numbers or on tensors.
_DISCRETE = {
    "inverted_cdf": lambda m, n, q: m.ceil(n * q) - 1.0,
    "averaged_inverted_cdf": lambda m, n, q: _between(m, n * q - 1.0),
    "closest_observation": lambda m, n, q: m.round(n * q) - 1.0,
    "lower": lambda m, n, q: m.floor((n - 1.0) * q),
    "higher": lambda m, n, q: m.ceil((n - 1.0) * q),
    "midpoint": lambda m, n, q: (m.floor((n - 1.0) * q) + m.ceil((n - 1.0) * q)) * 0.5,
    "nearest": lambda m, n, q: m.round((n - 1.0) * q),
}
_ON_NUMBERS = SimpleNamespace(
    floor=math.floor, ceil=math.ceil, round=round, where=lambda c, a, b: a if c else b
)
_ON_TENSORS = SimpleNamespace(floor=floor, ceil=ceil, round=nearest_even, where=where)


def _between(m, place):
    """Half-way to the next place from a whole one, the next place from others."""
    return m.where(place == m.floor(place), place + 0.5, m.ceil(place))


def _place(m, n, q, method):
    """Return the place in [0, n - 1] of quantile q, which may lie between two."""
    if method == "linear":
        place = (n - 1.0) * q
    elif method in _CONTINUOUS:
        alpha, beta = _CONTINUOUS[method]
        place = n * q + (alpha + q * (1.0 - alpha - beta)) - 1.0
    else:
        place = _DISCRETE[method](m, n, q)
    return m.where(place < 0.0, 0.0, m.where(place > n - 1.0, n - 1.0, place))


# ---- arguments -----------------------------------------------------------------
def _rows(op, x, axis):
    """Return the tensor with the axes joined in a last one, and the kept shapes."""
    x = tensor_of(op, x)
    if axis is None:
        return reshape(x, (x.size,)), (), (1,) * x.ndim
    if isinstance(axis, tuple):
        axes = axes_of(op, axis, x.ndim)
    else:
        axes = (axis_of(op, axis, x.ndim),)
    kept = tuple(d for d in range(x.ndim) if d not in axes)
    outer = tuple(x.shape[d] for d in kept)
    with_axes = tuple(1 if d in axes else n for d, n in enumerate(x.shape))
    count = math.prod(x.shape[d] for d in axes)
    if not axes:
        return reshape(x, (*outer, 1)), outer, with_axes
    return reshape(permute_dims(x, kept + axes), (*outer, count)), outer, with_axes


def _fractions(op, q, unit):
    """Return quantiles in [0, 1] as a list of floats, and their shape.

    As a tensor of float64 where they differ between the examples of vmap.
    """
    given = tensor_of(op, q)
    # A Python number is not rounded to float32 on its way.
    given = given.detach() if given is q else asarray(q, dtype=float64)
    shown = show_levels(given)[0]
    values = reshape(shown, (shown.size,)).tolist()
    if not all(0.0 <= value <= unit for value in values):
        raise ValueError(f"{op}: expected q in [0, {unit:g}], got {shown.tolist()}")
    if any_batched(given):
        q = reshape(given, (given.size,))
        unit = asarray(unit, dtype=float64)
        return astype(q, "float64") / unit, given.shape
    return [value / unit for value in values], given.shape


def _result_dtype(x):
    return x.dtype if x.dtype.kind == "f" else float32


# ---- quantiles -----------------------------------------------------------------
def _pick(rows, low, high, part):
    """Return elements of the sorted rows (..., n) between ranks low and high (..., m).

    In float64 unless `part`, how far behind `low`, is None: all are at `low`.
    """
    if part is None:
        return take_along_axis(rows, argselect(rows.detach(), low), axis=-1)
    found = argselect(rows.detach(), concat((low, high), axis=-1))
    picked = astype(take_along_axis(rows, found, axis=-1), "float64")
    m = low.shape[-1]
    lower, upper = picked[..., :m], picked[..., m:]
    # Equal neighbours, infinities among them, are not averaged.
    mixed = lower * (1.0 - part) + upper * part
    return where((part == 0.0) | (lower == upper), lower, mixed)


def _pick_alike(rows, q, method):
    """Return quantiles of rows whose elements all count."""
    places = [_place(_ON_NUMBERS, rows.shape[-1], value, method) for value in q]
    low = [math.floor(place) for place in places]
    part = [place - rank for place, rank in zip(places, low, strict=True)]
    return _pick(
        rows,
        asarray(low, device=rows.device),
        asarray([math.ceil(place) for place in places], device=rows.device),
        asarray(part, dtype=float64, device=rows.device) if any(part) else None,
    )


def _pick_valid(rows, valid, q, method):
    """Return quantiles of the `valid` elements of each row, or of one."""
    n = astype(where(valid == 0, 1, valid), "float64")
    q = asarray(q, dtype=float64, device=rows.device)
    places = _place(_ON_TENSORS, n, q, method)
    low = floor(places)
    ranks = astype(low, "int64"), astype(ceil(places), "int64")
    return _pick(rows, *ranks, places - low)


def _quantiles(op, x, q, axis, keepdims, method, *, skip_nan=False, unit=1.0):
    if method not in _CONTINUOUS and method not in _DISCRETE:
        known = ", ".join(sorted({*_CONTINUOUS, *_DISCRETE}))
        raise ValueError(f"{op}: expected a method among {known}, got {method!r}")
    rows, outer, with_axes = _rows(op, x, axis)
    q, q_shape = _fractions(op, q, unit)
    dtype = _result_dtype(rows)
    shape = (*q_shape, *(with_axes if keepdims else outer))
    if rows.size == 0 or 0 in q_shape:
        return full(shape, math.nan, dtype=dtype, device=rows.device)
    if rows.dtype.kind == "f" and skip_nan:
        valid = total(~isnan(rows.detach()), axis=-1, keepdims=True)
        picked, lost = _pick_valid(rows, valid, q, method), valid == 0
    else:
        if any_batched(q):
            valid = asarray([rows.shape[-1]], device=rows.device)
            picked = _pick_valid(rows, valid, q, method)
        else:
            picked = _pick_alike(rows, q, method)
        lost = None
        if rows.dtype.kind == "f":
            lost = isnan(largest(rows.detach(), axis=-1, keepdims=True))
    if lost is not None:
        picked = where(lost, math.nan, picked)
    picked = astype(picked, dtype, copy=False)
    return reshape(moveaxis(picked, -1, 0) if outer else picked, shape)


def _middle(rows):
    """Return the medians of rows of numbers whose sums of two float64 holds."""
    n = rows.shape[-1]
    middle = [n // 2] if n % 2 else [n // 2 - 1, n // 2]
    ranks = asarray(middle, device=rows.device)
    found = take_along_axis(rows, argselect(rows.detach(), ranks), axis=-1)
    if n % 2:
        found = reshape(found, rows.shape[:-1])
    else:
        found = mean(astype(found, float64), axis=-1)
    return astype(found, _result_dtype(rows), copy=False)


@own_errors
def median(x, /, axis=None, keepdims=False):
    """Return the median over axes: the middle element, or the mean of the two.

    Parameters
    ----------
    x : Tensor
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool, default False
        Keep reduced axes with length one.

    Returns
    -------
    Tensor
        Floating; integers give float32. NaN where an element is NaN, or there is none.

    Raises
    ------
    ShapeError
        If an axis is not there, or given twice.

    Notes
    -----
    NumPy's median; that of PyTorch is the lower of two middle elements, which is
    ``quantile(x, 0.5, method="lower")``. The gradient goes to the middle elements.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.median(tl.tensor([3.0, 1.0, 2.0, 9.0]))
    tensor(2.5)
    """
    rows, _, with_axes = _rows("median", x, axis)
    found = middle(rows, False)
    if found is not None:
        return reshape(found, with_axes) if keepdims else found
    if rows.dtype == float64 or rows.size == 0:
        return _quantiles("median", x, 0.5, axis, keepdims, "linear")
    found = _middle(rows)
    if rows.dtype.kind == "f":
        found = where(isnan(largest(rows.detach(), axis=-1)), math.nan, found)
    return reshape(found, with_axes) if keepdims else found


@own_errors
def nanmedian(x, /, axis=None, keepdims=False):
    """Return the median over axes of the elements that are not NaN.

    Parameters
    ----------
    x : Tensor
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool, default False
        Keep reduced axes with length one.

    Returns
    -------
    Tensor
        Floating; NaN where there is no such element.

    Raises
    ------
    ShapeError
        If an axis is not there, or given twice.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.nanmedian(tl.tensor([3.0, tl.nan, 1.0]))
    tensor(2.)
    """
    rows, _, with_axes = _rows("nanmedian", x, axis)
    found = middle(rows, True)
    if found is not None:
        return reshape(found, with_axes) if keepdims else found
    return _quantiles("nanmedian", x, 0.5, axis, keepdims, "linear", skip_nan=True)


@own_errors
def quantile(x, q, /, *, axis=None, keepdims=False, method="linear"):
    """Return quantiles over axes.

    Parameters
    ----------
    x : Tensor
    q : float or Tensor
        In [0, 1].
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool, default False
        Keep reduced axes with length one.
    method : str, default "linear"
        How a quantile between two elements is estimated: "inverted_cdf",
        "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf",
        "hazen", "weibull", "linear", "median_unbiased", "normal_unbiased" (types 1 to 9
        of Hyndman and Fan), "lower", "higher", "midpoint" or "nearest".

    Returns
    -------
    Tensor
        The axes of `q`, then those that are kept. Floating; integers give float32. NaN
        where an element is NaN, or there is none.

    Raises
    ------
    ValueError
        If a quantile is not in [0, 1], or the method unknown.
    ShapeError
        If an axis is not there, or given twice.

    Notes
    -----
    Differentiable in `x`: the gradient goes to the two elements by their weights, to
    the first of them where they are equal.

    References
    ----------
    R. J. Hyndman and Y. Fan, "Sample quantiles in statistical packages", The American
    Statistician 50(4), 1996.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.quantile(tl.tensor([1.0, 2.0, 3.0, 4.0]), [0.5, 0.75])
    tensor([2.5 , 3.25])
    """
    return _quantiles("quantile", x, q, axis, keepdims, method)


@own_errors
def nanquantile(x, q, /, *, axis=None, keepdims=False, method="linear"):
    """Return quantiles over axes of the elements that are not NaN.

    Parameters
    ----------
    x : Tensor
    q : float or Tensor
        In [0, 1].
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool, default False
        Keep reduced axes with length one.
    method : str, default "linear"
        See `quantile`.

    Returns
    -------
    Tensor
        The axes of `q`, then those that are kept; NaN where there is no such element.

    Raises
    ------
    ValueError
        If a quantile is not in [0, 1], or the method unknown.
    ShapeError
        If an axis is not there, or given twice.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.nanquantile(tl.tensor([tl.nan, 1.0, 2.0]), 0.5)
    tensor(1.5)
    """
    return _quantiles("nanquantile", x, q, axis, keepdims, method, skip_nan=True)


@own_errors
def percentile(x, q, /, *, axis=None, keepdims=False, method="linear"):
    """Return percentiles over axes: quantiles of a hundredth of `q`.

    Parameters
    ----------
    x : Tensor
    q : float or Tensor
        In [0, 100].
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool, default False
        Keep reduced axes with length one.
    method : str, default "linear"
        See `quantile`.

    Returns
    -------
    Tensor
        The axes of `q`, then those that are kept.

    Raises
    ------
    ValueError
        If a percentile is not in [0, 100], or the method unknown.
    ShapeError
        If an axis is not there, or given twice.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.percentile(tl.tensor([1.0, 2.0, 3.0]), 50)
    tensor(2.)
    """
    return _quantiles("percentile", x, q, axis, keepdims, method, unit=100.0)


# ---- histograms ----------------------------------------------------------------
def _bounds(op, x, bounds):
    """Return the lowest and highest edge as floats."""
    if bounds is not None:
        try:
            low, high = (float(b) for b in bounds)
        except (TypeError, ValueError):
            raise TypeError(
                f"{op}: expected a range of two numbers, got {bounds!r}"
            ) from None
    elif x.size == 0:
        low, high = 0.0, 1.0
    else:
        low, high = smallest(x).item(), largest(x).item()
    return _widened(op, low, high)


def _widened(op, low, high):
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"{op}: expected a finite, rising range, got [{low}, {high}]")
    return (low - 0.5, high + 0.5) if low == high else (low, high)


def _edges(op, x, bins, bounds):
    """Return the edges and whether they are equally spaced."""
    dtype = x.dtype if x.dtype.kind == "f" else float64
    if not isinstance(bins, Tensor) and hasattr(bins, "__index__"):
        count = int_of(op, "number of bins", bins)
        if count < 1:
            raise ValueError(f"{op}: expected at least one bin, got {count}")
        if bounds is None and x.size and any_batched(x):
            return _edges_of_examples(op, x, count, dtype), True
        low, high = _bounds(op, x, bounds)
        edges = linspace(low, high, count + 1, dtype=dtype, device=x.device)
        return edges, True
    edges = asarray(tensor_of(op, bins).detach(), device=x.device)
    if edges.ndim != 1 or edges.size < 1:
        raise ShapeError(f"{op}: expected edges of shape (N,), got {edges.shape}")
    shown = show_levels(edges)[0]
    if not bool(every(shown[..., 1:] >= shown[..., :-1]).item()):
        raise ValueError(f"{op}: expected edges that do not fall, got {shown.tolist()}")
    return edges, False


def _edges_of_examples(op, x, count, dtype):
    """Return the edges of each example of vmap, which are numbers from its extremes."""
    (low, levels), (high, _) = show_levels(smallest(x)), show_levels(largest(x))
    extremes = (reshape(y, (low.size,)).tolist() for y in (low, high))
    edges = [
        linspace(*_widened(op, *pair), count + 1, dtype=dtype).tolist()
        for pair in zip(*extremes, strict=True)
    ]
    return hide_levels(
        reshape(asarray(edges, dtype=dtype, device=x.device), (*low.shape, count + 1)),
        levels,
    )


@own_errors
def histogram_bin_edges(x, /, bins=10, range=None):
    """Return the edges that `histogram` uses.

    Parameters
    ----------
    x : Tensor
    bins : int or Tensor, default 10
        A number of bins of equal width, or the edges themselves.
    range : (float, float), optional
        The lowest and highest edge; the extremes of `x` by default.

    Returns
    -------
    Tensor of shape (bins + 1,)
        Of the dtype of `x`; float64 for integers.

    Raises
    ------
    ValueError
        If there is no bin, the range is not finite and rising, or edges fall.
    ShapeError
        If the edges have not one dimension.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.histogram_bin_edges(tl.tensor([0.0, 4.0]), 2)
    tensor([0., 2., 4.])
    """
    x = tensor_of("histogram_bin_edges", x).detach()
    return _edges("histogram_bin_edges", x, bins, range)[0]


def _bins_of(x, edges):
    """Return the bin of each element, one beyond the last for those in none."""
    bins = edges.size - 1
    place = searchsorted(edges, x, side="right") - 1
    # The last bin includes its upper edge.
    place = where(x == edges[-1], bins - 1, place)
    inside = (place >= 0) & (place < bins) & ~_is_nan(x)
    return where(inside, place, bins)


def _is_nan(x):
    if x.dtype.kind == "f":
        return isnan(x)
    return full(x.shape, False, dtype="bool", device=x.device)


@own_errors
def histogram(x, /, bins=10, range=None, *, weights=None, density=False):
    """Return how many elements fall into each bin, and the edges of the bins.

    Parameters
    ----------
    x : Tensor
        Of any shape; it is flattened.
    bins : int or Tensor, default 10
        A number of bins of equal width, or the edges, which must not fall. A bin
        includes its lower edge, the last one its upper edge too.
    range : (float, float), optional
        The lowest and highest edge; the extremes of `x` by default. What is outside, or
        NaN, is not counted.
    weights : Tensor, optional
        Of the shape of `x`: what each element counts, instead of 1.
    density : bool, default False
        Divide by the total and by the width of each bin, so that the integral is 1.

    Returns
    -------
    hist : Tensor of shape (bins,)
        Of int64; of the dtype of floating weights; floating if `density`.
    bin_edges : Tensor of shape (bins + 1,)

    Raises
    ------
    ValueError
        If there is no bin, the range is not finite and rising, or edges fall.
    ShapeError
        If the edges have not one dimension, or `weights` have another shape.

    Notes
    -----
    Differentiable in the weights. Their sums are carried in float64, in the order of
    the elements.

    Examples
    --------
    >>> import tensorlib as tl
    >>> counts, edges = tl.histogram(tl.tensor([0.0, 1.0, 1.5, 4.0]), 2)
    >>> counts.tolist(), edges.tolist()
    ([3, 1], [0.0, 2.0, 4.0])
    """
    x = tensor_of("histogram", x).detach()
    edges, uniform = _edges("histogram", x, bins, range)
    if weights is not None:
        weights = tensor_of("histogram", weights)
        if weights.shape != x.shape:
            raise ShapeError(
                f"histogram: expected weights of shape {x.shape}, got {weights.shape}"
            )
    counts = _counts(reshape(x, (x.size,)), edges, uniform, weights)
    if density:
        counts = astype(counts, _result_dtype(counts), copy=False)
        counts = counts / (total(counts) * astype(diff(edges), counts.dtype))
    return Histogram(counts, edges)


def _counts(x, edges, uniform, weights):
    bins = edges.size - 1
    if uniform and weights is None:
        return uniform_counts(astype(x, edges.dtype, copy=False), edges)
    if weights is not None:
        weights = reshape(weights, (weights.size,))
    return bincount(_bins_of(x, edges), weights, bins + 1)[:bins]
