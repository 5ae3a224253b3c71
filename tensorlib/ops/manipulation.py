"""Rearrangement of elements, written in views, joining and selection.

Loaded at the first use of one of its names.
"""

from math import prod

from tensorlib.core.dtype import result_type
from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.core.layout import MAX_DIMENSIONS
from tensorlib.core.tensor import Tensor
from tensorlib.ops.arguments import axes_of, axis_of, int_of, ints_of, tensor_of
from tensorlib.ops.arithmetic import subtract
from tensorlib.ops.creation import arange, full, zeros
from tensorlib.ops.elementwise import astype
from tensorlib.ops.indexing import nonzero, take, where
from tensorlib.ops.joining import concat, pad, rolled
from tensorlib.ops.logic import not_equal
from tensorlib.ops.reduce import broadcast_to, cumsum
from tensorlib.ops.shape import expand_dims, last_diagonal, permute_dims, reshape


def _zero(x):
    return False if x.dtype.kind == "b" else 0


# ---- triangles and diagonals ---------------------------------------------------
def _below(op, x, k):
    """Return the tensor, and where column - row <= k in its matrices."""
    x = tensor_of(op, x)
    if x.ndim < 2:
        raise ShapeError(f"{op}: expected at least 2 dimensions, got shape {x.shape}")
    rows, columns = x.shape[-2:]
    k = max(min(int_of(op, "k", k), columns), -rows - 1)
    rows, columns = (arange(n, device=x.device) for n in (rows, columns))
    return x, expand_dims(rows, axis=1) + k >= columns


def tril(x, /, *, k=0):
    """Return matrices with the elements above a diagonal set to zero.

    Parameters
    ----------
    x : Tensor of shape (..., M, N)
    k : int, default 0
        The last diagonal that is kept; positive ones lie above the main diagonal.

    Returns
    -------
    Tensor of shape (..., M, N)

    Raises
    ------
    ShapeError
        If `x` has fewer than two dimensions.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.tril(tl.ones((2, 3)))
    tensor([[1., 0., 0.],
            [1., 1., 0.]])
    """
    x, below = _below("tril", x, k)
    return where(below, x, _zero(x))


def triu(x, /, *, k=0):
    """Return matrices with the elements below a diagonal set to zero.

    Parameters
    ----------
    x : Tensor of shape (..., M, N)
    k : int, default 0
        The first diagonal that is kept; positive ones lie above the main diagonal.

    Returns
    -------
    Tensor of shape (..., M, N)

    Raises
    ------
    ShapeError
        If `x` has fewer than two dimensions.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.triu(tl.ones((2, 3)))
    tensor([[1., 1., 1.],
            [0., 1., 1.]])
    """
    x, below = _below("triu", x, int_of("triu", "k", k) - 1)
    return where(below, _zero(x), x)


def diagonal(x, /, offset=0, axis1=0, axis2=1):
    """Return a diagonal of the matrices in two axes, as the last axis of the result.

    Parameters
    ----------
    x : Tensor
    offset : int, default 0
        Which diagonal: elements where the second index is the first plus `offset`.
    axis1, axis2 : int

    Returns
    -------
    Tensor
        A view where the strides allow it.

    Raises
    ------
    ShapeError
        If the axes are the same, or out of range.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.diagonal(tl.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    x = tensor_of("diagonal", x)
    offset = int_of("diagonal", "offset", offset)
    pair = axes_of("diagonal", (axis1, axis2), x.ndim)
    order = (*(d for d in range(x.ndim) if d not in pair), *pair)
    x = x if order == tuple(range(x.ndim)) else permute_dims(x, order)
    return last_diagonal(x, offset)


def diag(x, /, k=0):
    """Return a matrix with `x` on a diagonal, or the diagonal of the matrix `x`.

    Parameters
    ----------
    x : Tensor of shape (N,) or (M, N)
    k : int, default 0
        Which diagonal; positive ones lie above the main diagonal.

    Returns
    -------
    Tensor
        Of shape ``(N + |k|, N + |k|)``, or one-dimensional.

    Raises
    ------
    ShapeError
        If `x` has neither one nor two dimensions.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.diag(tl.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    x = tensor_of("diag", x)
    k = int_of("diag", "k", k)
    if x.ndim == 2:
        return last_diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(f"diag: expected 1 or 2 dimensions, got shape {x.shape}")
    values = pad(x, ((0, abs(k)),))
    places = arange(values.shape[0], device=x.device)
    rows = expand_dims(places, axis=1)
    return where(rows + k == places, expand_dims(values, axis=int(k >= 0)), _zero(x))


# ---- order and repetition ------------------------------------------------------
def moveaxis(x, source, destination, /):
    """Return a view of `x` with some axes moved and the others in their order.

    Parameters
    ----------
    x : Tensor
    source, destination : int or tuple of int
        Where each of the axes is, and where it goes.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If an axis is out of range or given twice, or their numbers differ.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.moveaxis(tl.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = tensor_of("moveaxis", x)
    origins = axes_of("moveaxis", source, x.ndim)
    targets = axes_of("moveaxis", destination, x.ndim)
    if len(origins) != len(targets):
        raise ShapeError(
            f"moveaxis: expected as many sources as destinations, got {source} and "
            f"{destination}"
        )
    order = [d for d in range(x.ndim) if d not in origins]
    for target, origin in sorted(zip(targets, origins, strict=True)):
        order.insert(target, origin)
    return permute_dims(x, tuple(order))


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


def tile(x, repetitions, /):
    """Return `x` repeated as a whole along each axis.

    Parameters
    ----------
    x : Tensor
    repetitions : int or tuple of int
        How often along each axis, the last ones aligned; missing axes count as one.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If a repetition is negative.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.tile(tl.tensor([1, 2]), (2, 2))
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    x = tensor_of("tile", x)
    counts = ints_of("tile", "repetitions", repetitions)
    if min(counts, default=0) < 0:
        raise ShapeError(f"tile: expected repetitions >= 0, got {repetitions}")
    ndim = max(x.ndim, len(counts))
    counts = (1,) * (ndim - len(counts)) + counts
    shape = (1,) * (ndim - x.ndim) + x.shape
    repeated = [d for d in range(ndim) if counts[d] != 1]
    if not repeated:
        return reshape(x, shape).copy()
    # A view with an axis of repetitions before each repeated one, as many as fit.
    for some in range(0, len(repeated), max(MAX_DIMENSIONS - ndim, 1)):
        chosen = repeated[some : some + max(MAX_DIMENSIONS - ndim, 1)]
        single, wide, merged = [], [], []
        for d in range(ndim):
            times = counts[d] if d in chosen else 1
            single += [1, shape[d]] if d in chosen else [shape[d]]
            wide += [times, shape[d]] if d in chosen else [shape[d]]
            merged.append(times * shape[d])
        x = broadcast_to(reshape(x, tuple(single)), tuple(wide)).copy()
        x = reshape(x, tuple(merged))
        shape = tuple(merged)
    return x


def repeat(x, repeats, /, *, axis=None):
    """Return `x` with each element repeated in place along an axis.

    Parameters
    ----------
    x : Tensor
    repeats : int or Tensor of integers
        How often, for all elements or for each along the axis.
    axis : int, optional
        By default `x` is flattened first.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If there is neither one count nor one an element, or one is negative.
    DTypeError
        If `repeats` is not of integers.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.repeat(tl.tensor([1, 2]), 2)
    tensor([1, 1, 2, 2])
    >>> tl.repeat(tl.tensor([1, 2, 3]), tl.tensor([2, 0, 1]))
    tensor([1, 1, 3])
    """
    x = tensor_of("repeat", x)
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    axis = axis_of("repeat", axis, x.ndim)
    n = x.shape[axis]
    if hasattr(repeats, "__index__") and not isinstance(repeats, Tensor):
        return _repeat_all(x, int_of("repeat", "repeats", repeats), axis)
    counts = tensor_of("repeat", repeats)
    if counts.dtype.kind not in "iu":
        raise DTypeError(f"repeat: expected integer repeats, got {counts.dtype}")
    if counts.size == 1 and counts.ndim <= 1:
        return _repeat_all(x, int(counts.item()), axis)
    if counts.shape != (n,):
        raise ShapeError(
            f"repeat: expected one repeat or {n}, got shape {counts.shape}"
        )
    return take(x, _places(astype(counts, "int64")), axis=axis)


def _repeat_all(x, times, axis):
    if times < 0:
        raise ShapeError(f"repeat: expected repeats >= 0, got {times}")
    wide = (*x.shape[: axis + 1], times, *x.shape[axis + 1 :])
    merged = (*x.shape[:axis], x.shape[axis] * times, *x.shape[axis + 1 :])
    return reshape(broadcast_to(expand_dims(x, axis=axis + 1), wide).copy(), merged)


def _places(counts):
    """Repeat each position i counts[i] times: steps where runs begin, summed."""
    if counts.size and counts.min().item() < 0:
        raise ShapeError(f"repeat: expected repeats >= 0, got {counts.min().item()}")
    (kept,) = nonzero(counts)
    total = int(counts.sum().item())
    if total == 0:
        return zeros(0, dtype="int64", device=counts.device)
    starts = take(cumsum(counts, axis=0) - counts, kept)
    steps = zeros(total, dtype="int64", device=counts.device)
    steps[starts] = concat((kept[:1], kept[1:] - kept[:-1]))
    return cumsum(steps, axis=0)


# ---- broadcasting --------------------------------------------------------------
def broadcast_shapes(*shapes):
    """Return the shape that all of `shapes` broadcast to.

    Parameters
    ----------
    *shapes : int or tuple of int

    Returns
    -------
    tuple of int

    Raises
    ------
    ShapeError
        If they do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    given = [ints_of("broadcast_shapes", "a shape", shape) for shape in shapes]
    ndim = max((len(shape) for shape in given), default=0)
    result = [1] * ndim
    for shape in given:
        for d, n in enumerate(shape, ndim - len(shape)):
            if n < 0 or (n != 1 and result[d] not in (1, n)):
                raise ShapeError(
                    f"broadcast_shapes: shapes {', '.join(map(str, given))} do not "
                    "broadcast: aligned from the right, extents must be equal or 1"
                )
            result[d] = n if n != 1 else result[d]
    return tuple(result)


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


def kron(x1, x2, /):
    """Return the Kronecker product: every element of `x1` times the whole of `x2`.

    ``out[i * p + k, j * q + l] = x1[i, j] * x2[k, l]`` for `x2` of shape (p, q).

    Parameters
    ----------
    x1, x2 : Tensor
        Missing leading axes count as of length one.

    Returns
    -------
    Tensor
        Each extent is the product of the two.

    Raises
    ------
    ShapeError
        If an argument has more than 8 dimensions.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.kron(tl.tensor([1, 10]), tl.tensor([1, 2]))
    tensor([ 1,  2, 10, 20])
    """
    a, b = tensor_of("kron", x1), tensor_of("kron", x2)
    ndim = max(a.ndim, b.ndim)
    if 2 * ndim > MAX_DIMENSIONS:
        most = MAX_DIMENSIONS // 2
        raise ShapeError(f"kron: expected {most} dimensions at most, got {ndim}")
    wide = (1,) * (ndim - a.ndim) + a.shape, (1,) * (ndim - b.ndim) + b.shape
    left = tuple(k for n in wide[0] for k in (n, 1))
    right = tuple(k for n in wide[1] for k in (1, n))
    merged = tuple(prod(pair) for pair in zip(*wide, strict=True))
    return reshape(reshape(a, left) * reshape(b, right), merged)
