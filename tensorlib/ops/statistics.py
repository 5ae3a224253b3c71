"""Medians, quantiles and histograms. Loaded at the first use of one of its names.

A quantile is a mean of two elements of neighbouring ranks. The kernel finds where they
are, in any dtype; they are picked by position and averaged in float64, so that
gradients follow by composition and the one rounding is that of the result.
"""

import math
from collections import namedtuple

from tensorlib.core.dtype import float32, float64
from tensorlib.core.errors import ShapeError
from tensorlib.core.tensor import Tensor
from tensorlib.ops.arguments import axes_of, axis_of, int_of, tensor_of
from tensorlib.ops.arithmetic import ceil, floor
from tensorlib.ops.arithmetic import round as nearest_even
from tensorlib.ops.creation import asarray, full, linspace
from tensorlib.ops.elementwise import astype
from tensorlib.ops.indexing import take_along_axis
from tensorlib.ops.joining import concat
from tensorlib.ops.logic import isnan, where
from tensorlib.ops.manipulation import diff, moveaxis
from tensorlib.ops.reduce import all as every
from tensorlib.ops.reduce import max as largest
from tensorlib.ops.reduce import min as smallest
from tensorlib.ops.reduce import sum as total
from tensorlib.ops.shape import expand_dims, permute_dims, reshape
from tensorlib.ops.sorting import argselect, bincount, searchsorted, uniform_counts

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
_DISCRETE = {
    "inverted_cdf": lambda n, q: ceil(n * q) - 1,
    "averaged_inverted_cdf": lambda n, q: _between(n * q - 1),
    "closest_observation": lambda n, q: nearest_even(n * q) - 1,
    "lower": lambda n, q: floor((n - 1) * q),
    "higher": lambda n, q: ceil((n - 1) * q),
    "midpoint": lambda n, q: (floor((n - 1) * q) + ceil((n - 1) * q)) * 0.5,
    "nearest": lambda n, q: nearest_even((n - 1) * q),
}


def _between(place):
    """Half-way to the next place from a whole one, the next place from others."""
    return where(place == floor(place), place + 0.5, ceil(place))


def _places(n, q, method):
    """Return places in [0, n - 1], in float64; n and q are tensors that broadcast."""
    if method in _CONTINUOUS:
        alpha, beta = _CONTINUOUS[method]
        place = n * q + (alpha + q * (1.0 - alpha - beta)) - 1.0
        place = (n - 1.0) * q if method == "linear" else place
    else:
        place = _DISCRETE[method](n, q)
    return where(place < 0.0, 0.0, where(place > n - 1.0, n - 1.0, place))


# ---- arguments -----------------------------------------------------------------
def _rows(op, x, axis):
    """Return the tensor with the axes joined in a last one, and the kept shapes."""
    x = tensor_of(op, x)
    if axis is None:
        axes = tuple(range(x.ndim))
    elif isinstance(axis, tuple):
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
    """Return quantiles in [0, 1] as a float64 tensor."""
    given = tensor_of(op, q)
    # A Python number is not rounded to float32 on its way.
    q = astype(given.detach(), "float64") if given is q else asarray(q, dtype=float64)
    if q.size and not bool(every((q >= 0.0) & (q <= unit)).item()):
        raise ValueError(f"{op}: expected q in [0, {unit:g}], got {q.tolist()}")
    return q / unit


def _result_dtype(x):
    return x.dtype if x.dtype.kind == "f" else float32


# ---- quantiles -----------------------------------------------------------------
def _pick(rows, places):
    """Return elements at places (..., m) of the sorted rows (..., n), in float64."""
    low = floor(places)
    part = places - low
    ranks = astype(low, "int64")
    above = astype(ceil(places), "int64")
    found = argselect(rows.detach(), concat((ranks, above), axis=-1))
    picked = astype(take_along_axis(rows, found, axis=-1), "float64")
    m = places.shape[-1]
    lower, upper = picked[..., :m], picked[..., m:]
    # Equal neighbours, infinities among them, are not averaged.
    mixed = lower * (1.0 - part) + upper * part
    return where((part == 0.0) | (lower == upper), lower, mixed)


def _quantiles(op, x, q, axis, keepdims, method, *, skip_nan=False, unit=1.0):
    if method not in _CONTINUOUS and method not in _DISCRETE:
        known = ", ".join(sorted({*_CONTINUOUS, *_DISCRETE}))
        raise ValueError(f"{op}: expected a method among {known}, got {method!r}")
    rows, outer, with_axes = _rows(op, x, axis)
    q = _fractions(op, q, unit)
    dtype = _result_dtype(rows)
    shape = (*q.shape, *(with_axes if keepdims else outer))
    if rows.shape[-1] == 0 or rows.size == 0 or q.size == 0:
        return full(shape, math.nan, dtype=dtype)
    n, lost = _counted(rows, skip_nan)
    picked = _pick(rows, _places(n, reshape(q, (q.size,)), method))
    picked = astype(where(lost, math.nan, picked), dtype)
    return reshape(moveaxis(picked, -1, 0), shape)


def _counted(rows, skip_nan):
    """Return how many elements count, at least one, and where the result is NaN."""
    n = rows.shape[-1]
    if rows.dtype.kind != "f":
        return asarray(float(n), dtype="float64"), asarray(False)
    rows = rows.detach()
    if not skip_nan:
        lost = expand_dims(isnan(largest(rows, axis=-1)), -1)
        return asarray(float(n), dtype="float64"), lost
    valid = total(~isnan(rows), axis=-1, keepdims=True)
    return astype(where(valid == 0, 1, valid), "float64"), valid == 0


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
    return _quantiles("median", x, 0.5, axis, keepdims, "linear")


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
    return _quantiles("nanmedian", x, 0.5, axis, keepdims, "linear", skip_nan=True)


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
        low, high = _bounds(op, x, bounds)
        return linspace(low, high, count + 1, dtype=dtype), True
    edges = tensor_of(op, bins).detach()
    if edges.ndim != 1 or edges.size < 1:
        raise ShapeError(f"{op}: expected edges of shape (N,), got {edges.shape}")
    if not bool(every(edges[1:] >= edges[:-1]).item()):
        raise ValueError(f"{op}: expected edges that do not fall, got {edges.tolist()}")
    return edges, False


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
    """Return which elements lie in a bin, and the bins of these."""
    bins = edges.size - 1
    place = searchsorted(edges, x, side="right") - 1
    # The last bin includes its upper edge.
    place = where(x == edges[-1], bins - 1, place)
    inside = (place >= 0) & (place < bins) & ~_is_nan(x)
    return inside, place[inside]


def _is_nan(x):
    return isnan(x) if x.dtype.kind == "f" else full(x.shape, False, dtype="bool")


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
    inside, places = _bins_of(x, edges)
    if weights is None:
        return bincount(places, minlength=bins)
    return bincount(places, reshape(weights, (weights.size,))[inside], bins)
