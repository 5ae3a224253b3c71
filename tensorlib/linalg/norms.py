"""Norms of vectors and matrices, and condition numbers."""

from functools import cache
from math import inf

from tensorlib.core.dtype import finfo
from tensorlib.core.errors import LinAlgError, ShapeError
from tensorlib.core.naming import own_errors
from tensorlib.core.tensor import is_batched
from tensorlib.linalg.arguments import (
    floating,
    matrices_of,
    on_every_example,
    real_dtype,
)
from tensorlib.linalg.solving import inv
from tensorlib.linalg.spectrum import svdvals
from tensorlib.ops.arguments import axes_of, tensor_of
from tensorlib.ops.arithmetic import abs as magnitude
from tensorlib.ops.complex import view_as_real
from tensorlib.ops.contraction import squared_norm
from tensorlib.ops.creation import full
from tensorlib.ops.elementwise import astype
from tensorlib.ops.indexing import where
from tensorlib.ops.logic import isfinite
from tensorlib.ops.mathematics import sqrt
from tensorlib.ops.reduce import any as some
from tensorlib.ops.reduce import max as largest
from tensorlib.ops.reduce import min as smallest
from tensorlib.ops.reduce import sum as total
from tensorlib.ops.shape import expand_dims, moveaxis, reshape

__all__ = ["cond", "matrix_norm", "norm", "vector_norm"]

HALVES = ("float16", "bfloat16")  # computed in float32


# ---- vectors ---------------------------------------------------------------------
@own_errors
def vector_norm(x, /, *, axis=None, keepdims=False, ord=2):
    """Return the p-norms of vectors, ``sum(|x|**ord) ** (1 / ord)``.

    Parameters
    ----------
    x : Tensor
        Of a floating or complex dtype.
    axis : int or tuple of int, optional
        The axes that hold the vectors; all by default.
    keepdims : bool, default False
        Keep reduced axes with length one.
    ord : float, default 2
        p. ``inf`` gives the largest and ``-inf`` the smallest magnitude, 0 the number
        of elements that are not 0.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If an axis is out of range.
    ValueError
        If a vector is empty and `ord` is infinite.
    TypeError
        If `ord` is no number.
    DTypeError
        If the dtype is neither floating nor complex.

    Notes
    -----
    The norm of complex vectors is real. Half precision is computed in float32. The
    Euclidean norm neither overflows nor underflows before its result does. Its
    gradient at 0 is 0.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.vector_norm(tl.tensor([3.0, 4.0]))
    tensor(5.)
    """
    x = floating("vector_norm", tensor_of("vector_norm", x))
    return _vector_norm(x, axis, keepdims, ord)


def _vector_norm(x, axis, keepdims, ord):
    if not hasattr(ord, "__float__"):
        raise TypeError(f"vector_norm: expected a number as ord, got {ord!r}")
    if x.dtype.name in HALVES:
        wide = _vector_norm(astype(x, "float32"), axis, keepdims, ord)
        return astype(wide, x.dtype)
    if ord == 2:
        found = _euclidean(*_as_parts(x, axis), keepdims)
        return found[..., 0] if keepdims and x.dtype.is_complex else found
    if ord == 0:
        count = total(x != 0, axis=axis, keepdims=keepdims)
        return astype(count, real_dtype(x))
    size = magnitude(x)
    if ord == 1:
        return total(size, axis=axis, keepdims=keepdims)
    if ord in (inf, -inf):
        return (largest if ord > 0 else smallest)(size, axis=axis, keepdims=keepdims)
    return _power_sum(size, axis, keepdims, ord)


def _as_parts(x, axis):
    """Complex numbers as pairs of reals along one more axis of each vector."""
    axes = None if axis is None else axes_of("vector_norm", axis, x.ndim)
    if not x.dtype.is_complex:
        return x, axes
    axes = tuple(range(x.ndim)) if axes is None else axes
    return view_as_real(x), (*axes, x.ndim)


def _root(squares):
    """Return the square root, with derivative 0 at 0."""
    zero = squares == 0
    return where(zero, 0.0, sqrt(where(zero, 1.0, squares)))


@cache
def _limits(name):
    """Return between what sums of squares have neither overflowed nor lost digits."""
    info = finfo(name)
    return info.smallest_normal / info.eps**2, info.max


def _squares(x, axis, keepdims):
    """Return the sums of x * x, without the product's memory where all is one run."""
    if x.is_contiguous and (axis is None or len(axis) == x.ndim):
        found = squared_norm(reshape(x, (x.size,)))
        return reshape(found, (1,) * x.ndim) if keepdims else found
    return total(x * x, axis=axis, keepdims=keepdims)


def _euclidean(x, axis, keepdims):
    squares = _squares(x, axis, keepdims)
    low, high = _limits(x.dtype.name)
    if squares.size == 1 and not is_batched(squares):
        if low <= squares.item() <= high:
            return sqrt(squares)
    else:
        plain = on_every_example(squares.detach())
        if not some((plain < low) | (plain > high)).item():
            return sqrt(squares)
    if not x.size:
        return _root(squares)
    top = largest(magnitude(x.detach()), axis=axis, keepdims=True)
    top = where((top > 0) & isfinite(top), top, 1.0)
    scaled = x / top
    found = _root(total(scaled * scaled, axis=axis, keepdims=keepdims))
    return found * (top if keepdims else reshape(top, found.shape))


def _power_sum(size, axis, keepdims, ord):
    """|x|**p has no finite derivative at 0 for p < 1: zeros take no part."""
    zero = size == 0
    powers = where(zero, 0.0 if ord > 0 else inf, where(zero, 1.0, size) ** ord)
    sums = total(powers, axis=axis, keepdims=keepdims)
    zero = (sums == 0) | (sums == inf)
    root = where(zero, 1.0, sums) ** (1.0 / ord)
    return where(zero, where(sums == 0, _limit(0.0, ord), _limit(inf, ord)), root)


def _limit(total_power, ord):
    """0 or inf to the power of 1 / ord."""
    return total_power if ord > 0 else inf - total_power if total_power == 0 else 0.0


# ---- matrices --------------------------------------------------------------------
def _singular_values(op, x):
    """Return singular values of which there is a largest one."""
    if 0 in x.shape[-2:]:
        raise ShapeError(f"{op}: expected matrices with elements, got shape {x.shape}")
    return svdvals(x)


@own_errors
def matrix_norm(x, /, *, keepdims=False, ord="fro"):
    """Return norms of the matrices in the last two axes.

    Parameters
    ----------
    x : Tensor of shape (..., M, N)
        Of a floating or complex dtype.
    keepdims : bool, default False
        Keep the last two axes with length one.
    ord : {"fro", "nuc", inf, -inf, 1, -1, 2, -2}, default "fro"
        "fro": the root of the sum of squares; "nuc": the sum of singular values; 2 and
        -2: the largest and smallest singular value; 1 and -1: the largest and smallest
        sum of magnitudes of a column; inf and -inf: of a row.

    Returns
    -------
    Tensor of shape (...), or (..., 1, 1)

    Raises
    ------
    ValueError
        If `ord` is another one.
    LinAlgError
        If singular values are needed and a matrix holds NaN or infinity.
    ShapeError
        If `x` has fewer than two dimensions, or no elements and `ord` is 2 or -2.
    DTypeError
        If the dtype is neither floating nor complex.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.matrix_norm(tl.tensor([[1.0, -2.0], [3.0, 4.0]]), ord=1)
    tensor(6.)
    """
    x = tensor_of("matrix_norm", x)
    if ord == "fro" or ord in (1, -1, inf, -inf):
        x = floating("matrix_norm", x)
        if x.dtype.name in HALVES:
            wide = matrix_norm(astype(x, "float32"), keepdims=keepdims, ord=ord)
            return astype(wide, x.dtype)
    x = matrices_of("matrix_norm", x)
    if ord == "fro":
        return vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if ord in ("nuc", 2, -2):
        found = svdvals(x) if ord == "nuc" else _singular_values("matrix_norm", x)
        found = total(found, axis=-1) if ord == "nuc" else found[..., int(ord > 0) - 1]
    elif ord in (1, -1, inf, -inf):
        sums = total(magnitude(x), axis=-2 if abs(ord) == 1 else -1)
        found = (largest if ord > 0 else smallest)(sums, axis=-1)
    else:
        raise ValueError(
            f"matrix_norm: expected ord 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, got "
            f"{ord!r}"
        )
    return expand_dims(expand_dims(found, axis=-1), axis=-1) if keepdims else found


@own_errors
def norm(A, ord=None, axis=None, keepdims=False, *, dtype=None):  # noqa: N803
    """Return a norm of vectors or matrices, by the number of axes.

    Parameters
    ----------
    A : Tensor
        Of a floating or complex dtype.
    ord : float or str, optional
        As `vector_norm` and `matrix_norm` take it; 2 or "fro" by default.
    axis : int or tuple of int, optional
        One axis for norms of vectors, two for matrices. By default all axes, of which
        there must be one or two if `ord` is given; otherwise the elements are one
        vector.
    keepdims : bool, default False
        Keep reduced axes with length one.
    dtype : DType, optional
        Compute and return in this dtype.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If the axes are neither one nor two, or out of range.
    ValueError
        If there is no norm `ord`.
    DTypeError
        If the dtype is neither floating nor complex.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.norm(tl.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor(5.)
    >>> tl.linalg.norm(tl.tensor([[3.0, 0.0], [0.0, 4.0]]), 2)
    tensor(4.)
    """
    x = floating("norm", A if dtype is None else astype(A, dtype))
    if ord is None and axis is None:
        return _vector_norm(x, None, keepdims, 2)
    axes = tuple(range(x.ndim)) if axis is None else axes_of("norm", axis, x.ndim)
    if ord is None and len(axes) == 1:
        return vector_norm(x, axis=axes, keepdims=keepdims)
    if len(axes) not in (1, 2):
        raise ShapeError(
            f"norm: expected one or two axes, got axis={axis} for shape {x.shape}"
        )
    if len(axes) == 1:
        if isinstance(ord, str):
            raise ValueError(f"norm: expected a number as ord of vectors, got {ord!r}")
        return vector_norm(x, axis=axes, keepdims=keepdims, ord=ord)
    ord = "fro" if ord is None else ord
    found = matrix_norm(moveaxis(x, axes, (-2, -1)), keepdims=keepdims, ord=ord)
    return moveaxis(found, (-2, -1), axes) if keepdims else found


@own_errors
def cond(A, p=None, /):  # noqa: N803
    """Return condition numbers: how much a matrix and its inverse stretch together.

    Parameters
    ----------
    A : Tensor of shape (..., M, N)
        Of a floating or complex dtype; square unless `p` is None, 2 or -2.
    p : {None, "fro", "nuc", inf, -inf, 1, -1, 2, -2}, optional
        The norm; the quotient of the largest and the smallest singular value by
        default and for 2, its reciprocal for -2.

    Returns
    -------
    Tensor of shape (...)
        inf for singular matrices, where no inverse is at hand.

    Raises
    ------
    ValueError
        If `p` is another one.
    ShapeError
        If the matrices have no elements, or are not square and an inverse is needed.
    LinAlgError
        If a matrix holds NaN or infinity and singular values are needed.
    DTypeError
        If the dtype is neither floating nor complex.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.cond(tl.tensor([[1.0, 0.0], [0.0, 4.0]]))
    tensor(4.)
    """
    x = matrices_of("cond", A, square=p not in (None, 2, -2))
    if p in (None, 2, -2):
        s = _singular_values("cond", x)
        few, many = s[..., -1], s[..., 0]
        if p == -2:
            return where(many == 0, 0.0, few / where(many == 0, 1.0, many))
        return where(few == 0, inf, many / where(few == 0, 1.0, few))
    size = matrix_norm(x, ord=p)
    try:
        return size * matrix_norm(inv(x), ord=p)
    except LinAlgError:
        if x.ndim == 2:
            return full((), inf, dtype=real_dtype(x), device=x.device)
        raise
