"""Rearrangement of elements, written in views, joining and selection.

Loaded at the first use of one of its names.
"""

from tensorlib.core.dtype import result_type
from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.core.naming import own_errors
from tensorlib.ops.arguments import axis_of, int_of, ints_of, tensor_of
from tensorlib.ops.arithmetic import subtract
from tensorlib.ops.creation import full
from tensorlib.ops.elementwise import astype
from tensorlib.ops.indexing import where
from tensorlib.ops.joining import concat, rolled
from tensorlib.ops.logic import not_equal
from tensorlib.ops.reduce import broadcast_to
from tensorlib.ops.shape import broadcast_shapes, reshape


# ---- order ---------------------------------------------------------------------
@own_errors
def roll(x, /, shift, *, axis=None):
    """Return `x` with its elements shifted along axes; those pushed out come back in.

    Parameters
    ----------
    x : Tensor
    shift : int or tuple of int
        How many places towards higher indices; one for all axes, or one for each.
    axis : int or tuple of int, optional
        By default `x` is rolled as if it were flat.

    Returns
    -------
    Tensor
        Of the shape of `x`.

    Raises
    ------
    ShapeError
        If there is neither one shift nor one an axis.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.roll(tl.arange(5), 2)
    tensor([3, 4, 0, 1, 2])
    """
    x = tensor_of("roll", x)
    shifts = ints_of("roll", "shift", shift)
    if axis is None:
        if len(shifts) != 1:
            raise ShapeError(f"roll: expected one shift without axes, got {shift}")
        return reshape(rolled(reshape(x, (x.size,)), {0: shifts[0]}), x.shape)
    axes = [axis_of("roll", d, x.ndim) for d in ints_of("roll", "axis", axis)]
    if len(shifts) == 1:
        shifts = shifts * len(axes)
    if len(shifts) != len(axes):
        raise ShapeError(
            f"roll: expected one shift or one an axis, got shift={shift}, axis={axis}"
        )
    places = dict.fromkeys(axes, 0)
    for count, axis in zip(shifts, axes, strict=True):
        places[axis] += count
    return rolled(x, places)


# ---- broadcasting --------------------------------------------------------------
@own_errors
def broadcast_arrays(*arrays):
    """Return views of tensors broadcast against each other.

    Parameters
    ----------
    *arrays : Tensor

    Returns
    -------
    tuple of Tensor
        Of one shape; each keeps its dtype. Not to be written to.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> a, b = tl.broadcast_arrays(tl.ones(3), tl.ones((2, 1)))
    >>> a.shape, b.shape
    ((2, 3), (2, 3))
    """
    tensors = [tensor_of("broadcast_arrays", x) for x in arrays]
    shape = broadcast_shapes(*[x.shape for x in tensors])
    return tuple(broadcast_to(x, shape) for x in tensors)


@own_errors
def meshgrid(*arrays, indexing="xy"):
    """Return coordinate grids from one-dimensional coordinates.

    Parameters
    ----------
    *arrays : Tensor of one dimension (or none)
        The coordinates of each axis.
    indexing : {"xy", "ij"}
        "xy" exchanges the first two axes of the result: rows are the second argument.

    Returns
    -------
    tuple of Tensor
        One grid an argument, as views. Not to be written to.

    Raises
    ------
    ShapeError
        If an argument has more than one dimension.
    ValueError
        If `indexing` is neither.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.meshgrid(tl.arange(3), tl.arange(2))[1]
    tensor([[0, 0, 0],
            [1, 1, 1]])
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: expected indexing 'xy' or 'ij', got {indexing!r}")
    tensors = [tensor_of("meshgrid", x) for x in arrays]
    for x in tensors:
        if x.ndim > 1:
            raise ShapeError(f"meshgrid: expected one dimension, got shape {x.shape}")
    ndim = len(tensors)
    places = list(range(ndim))
    if indexing == "xy" and ndim > 1:
        places[:2] = 1, 0
    views = [
        reshape(x, tuple(x.size if d == place else 1 for d in range(ndim)))
        for x, place in zip(tensors, places, strict=True)
    ]
    return broadcast_arrays(*views)


# ---- differences and selection -------------------------------------------------
@own_errors
def diff(x, /, n=1, *, axis=-1, prepend=None, append=None):
    """Return the differences of neighbours along an axis.

    Parameters
    ----------
    x : Tensor
        Unsigned integers wrap; neighbours of dtype bool differ or not.
    n : int, default 1
        How often differences are taken; by position too, as in NumPy.
    axis : int, default -1
    prepend, append : Tensor or scalar, optional
        Joined to `x` along the axis first; a scalar as one element.

    Returns
    -------
    Tensor
        Shorter by `n` along the axis.

    Raises
    ------
    ValueError
        If `n` is negative.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.diff(tl.tensor([1, 4, 9]))
    tensor([3, 5])
    """
    x = tensor_of("diff", x)
    axis = axis_of("diff", axis, x.ndim)
    if int_of("diff", "n", n) < 0:
        raise ValueError(f"diff: expected n >= 0, got {n}")
    parts = [p if p is x else _edge(x, p, axis) for p in (prepend, x, append)
             if p is not None]  # fmt: skip
    x = concat(parts, axis=axis) if len(parts) > 1 else x
    before = (slice(None),) * axis
    minus = not_equal if x.dtype == "bool" else subtract
    for _ in range(min(n, x.shape[axis])):
        x = minus(x[*before, 1:], x[*before, :-1])
    return x if n else x.copy()


def _edge(x, edge, axis):
    """Return what `diff` joins to `x`: a scalar is one element on each line."""
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    if isinstance(edge, (bool, int, float, complex)):
        return full(shape, edge, dtype=result_type(x, edge), device=x.device)
    edge = tensor_of("diff", edge)
    return edge if edge.ndim else broadcast_to(edge, shape)


@own_errors
def masked_fill(x, mask, value, /):
    """Return `x` with `value` where `mask` holds.

    Parameters
    ----------
    x : Tensor
    mask : Tensor of bool
        Broadcasts against `x`.
    value : scalar or Tensor without dimensions

    Returns
    -------
    Tensor
        Of the dtype of `x`.

    Raises
    ------
    DTypeError
        If `mask` is not bool, or `value` is of a higher kind than `x`.
    ShapeError
        If `value` has dimensions, or the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.tensor([1.0, -2.0])
    >>> tl.masked_fill(x, x < 0, 0.0)
    tensor([1., 0.])
    """
    x, mask = tensor_of("masked_fill", x), tensor_of("masked_fill", mask)
    given = tensor_of("masked_fill", value)
    order = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
    if order[given.dtype.kind] > order[x.dtype.kind]:
        raise DTypeError(
            f"masked_fill: a {given.dtype} value cannot be stored in {x.dtype}"
        )
    if given.ndim:
        raise ShapeError(f"masked_fill: expected a scalar, got shape {given.shape}")
    if mask.dtype.kind != "b":
        raise DTypeError(f"masked_fill: expected a bool mask, got {mask.dtype}")
    if isinstance(value, (float, complex)):  # not by way of single precision
        given = full((), value, dtype=x.dtype)
    return where(mask, astype(given, x.dtype, copy=False), x)
