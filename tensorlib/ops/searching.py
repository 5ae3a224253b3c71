"""Counting, comparison within tolerances, cumulative sums, questions about dtypes.

Loaded at the first use of one of its names.
"""

from tensorlib.core.dtype import DType, result_type
from tensorlib.core.dtype import dtype as dtype_of
from tensorlib.core.errors import ShapeError
from tensorlib.core.naming import own_errors
from tensorlib.core.tensor import Tensor
from tensorlib.ops.arguments import axis_of, tensor_of
from tensorlib.ops.arithmetic import abs as magnitude
from tensorlib.ops.creation import full
from tensorlib.ops.cumulative import cumprod
from tensorlib.ops.elementwise import astype
from tensorlib.ops.joining import concat
from tensorlib.ops.logic import isfinite, isnan
from tensorlib.ops.reduce import all as every
from tensorlib.ops.reduce import cumsum
from tensorlib.ops.reduce import sum as total

_BOOL = dtype_of("bool")
_KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}


@own_errors
def count_nonzero(x, /, *, axis=None, keepdims=False):
    """Return how many elements are not zero, over axes.

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
        Of dtype int64; NaN counts.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.count_nonzero(tl.tensor([0.0, 3.0, -1.0]))
    tensor(2)
    """
    if type(x) is not Tensor or x.dtype is not _BOOL:
        x = tensor_of("count_nonzero", x)
        x = x != 0 if x.dtype.is_complex else astype(x, "bool", copy=False)
    return total(x, axis, keepdims)


@own_errors
def isclose(x1, x2, /, *, rtol=1e-5, atol=1e-8, equal_nan=False):
    """Return where ``|x1 - x2| <= atol + rtol * |x2|``, elementwise.

    Parameters
    ----------
    x1, x2 : Tensor
        Broadcast against each other; integers are compared in float64.
    rtol, atol : float
    equal_nan : bool, default False
        Whether NaN is close to NaN.

    Returns
    -------
    Tensor
        Of dtype bool. An infinity is close to itself alone.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.isclose(tl.tensor([1.0, 2.0]), tl.tensor([1.000001, 2.1]))
    tensor([ True, False])
    """
    a, b = tensor_of("isclose", x1), tensor_of("isclose", x2)
    dtype = result_type(a, b)
    dtype = dtype if dtype.kind == "f" else "float64"
    a, b = astype(a, dtype, copy=False), astype(b, dtype, copy=False)
    near = (magnitude(a - b) <= atol + rtol * magnitude(b)) & isfinite(b)
    close = near | (a == b)
    return close | (isnan(a) & isnan(b)) if equal_nan else close


@own_errors
def allclose(x1, x2, /, *, rtol=1e-5, atol=1e-8, equal_nan=False):
    """Return whether all elements are close; see `isclose`.

    Parameters
    ----------
    x1, x2 : Tensor
    rtol, atol : float
    equal_nan : bool, default False

    Returns
    -------
    bool

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.allclose(tl.tensor([1.0]), tl.tensor([1.000001]))
    True
    """
    close = isclose(x1, x2, rtol=rtol, atol=atol, equal_nan=equal_nan)
    return bool(every(close).item())


# ---- cumulative ----------------------------------------------------------------
@own_errors
def cumulative_sum(x, /, *, axis=None, dtype=None, include_initial=False):
    """Return the sums of the elements up to each one along an axis.

    Parameters
    ----------
    x : Tensor
    axis : int, optional
        May be left out for one-dimensional tensors.
    dtype : DType, optional
        Compute and return in this dtype; integers and bool sum in int64 by default.
    include_initial : bool, default False
        Begin with 0, the sum of nothing: the axis is longer by one.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If `axis` is left out and there is not exactly one.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.cumulative_sum(tl.tensor([1, 2, 3]), include_initial=True)
    tensor([0, 1, 3, 6])
    """
    x, axis = _scanned("cumulative_sum", x, axis)
    return _from(0, cumsum(x, axis, dtype=dtype), axis, include_initial)


@own_errors
def cumulative_prod(x, /, *, axis=None, dtype=None, include_initial=False):
    """Return the products of the elements up to each one along an axis.

    Parameters
    ----------
    x : Tensor
    axis : int, optional
        May be left out for one-dimensional tensors.
    dtype : DType, optional
        Compute and return in this dtype; integers and bool give int64 by default.
    include_initial : bool, default False
        Begin with 1, the product of nothing: the axis is longer by one.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If `axis` is left out and there is not exactly one.

    Notes
    -----
    Products of floats are carried in float64. The gradient is right where elements are
    zero; it then takes log2(N) products of the whole.

    References
    ----------
    W. D. Hillis and G. L. Steele, "Data parallel algorithms", CACM 29(12), 1986.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.cumulative_prod(tl.tensor([1, 2, 3]))
    tensor([1, 2, 6])
    """
    x, axis = _scanned("cumulative_prod", x, axis)
    y = cumprod(x if dtype is None else astype(x, dtype, copy=False), axis)
    y = y if dtype is None else astype(y, dtype, copy=False)
    return _from(1, y, axis, include_initial)


def _scanned(op, x, axis):
    x = tensor_of(op, x)
    if axis is None and x.ndim != 1:
        raise ShapeError(f"{op}: expected an axis for shape {x.shape}")
    return x, axis_of(op, 0 if axis is None else axis, x.ndim)


def _from(initial, y, axis, included):
    if not included:
        return y
    shape = (*y.shape[:axis], 1, *y.shape[axis + 1 :])
    return concat((full(shape, initial, dtype=y.dtype, device=y.device), y), axis=axis)


# ---- dtypes --------------------------------------------------------------------
def isdtype(dtype, kind):
    """Return whether a dtype is of a kind.

    Parameters
    ----------
    dtype : DType
    kind : str, DType or tuple of them
        "bool", "signed integer", "unsigned integer", "integral", "real floating",
        "complex floating", "numeric", or a dtype; of several, any will do.

    Returns
    -------
    bool

    Raises
    ------
    ValueError
        If the kind has no such name.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.isdtype(tl.float32, "real floating")
    True
    >>> tl.isdtype(tl.int32, ("bool", tl.int64))
    False
    """
    found = dtype_of(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(found, one) for one in kind)
    if isinstance(kind, DType):
        return found is kind
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(
            f"isdtype: expected a kind among {', '.join(map(repr, _KINDS))} or a "
            f"dtype, got {kind!r}"
        )
    return found.kind in _KINDS[kind]
