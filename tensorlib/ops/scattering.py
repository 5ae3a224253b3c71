"""Writing at integer positions, out of place.

Sums are the transposes of reading by position (`take`, `take_along_axis`); assignments
are those of ``x[index] = value``. Loaded at the first use of one of its names.
"""

from tensorlib.autograd.batch import under_same_levels
from tensorlib.core.dtype import result_type
from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.core.tensor import is_batched
from tensorlib.ops.arguments import axis_of, tensor_of
from tensorlib.ops.creation import arange
from tensorlib.ops.elementwise import astype
from tensorlib.ops.indexing import add_last, added_rows
from tensorlib.ops.reduce import broadcast_to
from tensorlib.ops.shape import moveaxis, reshape


def _positions(op, indices, extent):
    """Return int64 positions, after a look at their range on the CPU.

    A GPU's kernels find those out of range themselves; a look would wait for it.
    """
    found = tensor_of(op, indices)
    if found.dtype.kind not in "iu":
        raise DTypeError(f"{op}: expected integer indices, got {found.dtype}")
    if found.size and found.device.type == "cpu" and not is_batched(found):
        low, high = found.min().item(), found.max().item()
        if low < -extent or high >= extent:
            raise IndexError(
                f"{op}: expected indices in [{-extent}, {extent}), got {low} to {high}"
            )
    return astype(found, "int64", copy=False)


def _same_dtype(op, x, values):
    x, values = tensor_of(op, x), tensor_of(op, values)
    if result_type(x, values) is not x.dtype:
        raise DTypeError(
            f"{op}: {values.dtype} values cannot be stored in {x.dtype}; convert "
            "one of them with astype"
        )
    return x, astype(values, x.dtype, copy=False)


def index_add(x, indices, values, /, *, axis):
    """Return `x` with slices added at positions along an axis.

    ``out[..., indices[i], ...] += values[..., i, ...]``; a position that occurs several
    times gets every sum.

    Parameters
    ----------
    x : Tensor
    indices : Tensor of integers, of shape (K,)
        Negative positions count from the end.
    values : Tensor
        Of the shape of `x`, but for K along the axis.
    axis : int

    Returns
    -------
    Tensor
        Of the dtype of `x`.

    Raises
    ------
    IndexError
        If a position is out of range.
    ShapeError
        If the shapes do not fit.
    DTypeError
        If `indices` is not of integers, or `values` of a higher dtype than `x`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.index_add(tl.zeros(3), tl.tensor([0, 0]), tl.tensor([1.0, 2.0]), axis=0)
    tensor([3., 0., 0.])
    """
    x, values = _same_dtype("index_add", x, values)
    axis = axis_of("index_add", axis, x.ndim)
    rows = _positions("index_add", indices, x.shape[axis])
    expected = (*x.shape[:axis], *rows.shape, *x.shape[axis + 1 :])
    if rows.ndim != 1 or values.shape != expected:
        raise ShapeError(
            f"index_add: expected one-dimensional indices and values of shape "
            f"{expected}, got {rows.shape} and {values.shape}"
        )
    if axis == 0:
        return added_rows(x, values, rows)
    out = added_rows(moveaxis(x, axis, 0), moveaxis(values, axis, 0), rows)
    return moveaxis(out, 0, axis)


def _along(op, x, indices, values, axis):
    """Return the axis, positions and values, which have one shape."""
    axis = axis_of(op, axis, x.ndim)
    places = _positions(op, indices, x.shape[axis])
    if (
        places.ndim != x.ndim
        or places.shape != values.shape
        or any(places.shape[d] != x.shape[d] for d in range(x.ndim) if d != axis)
    ):
        raise ShapeError(
            f"{op}: expected indices and values of one shape, that of x but for axis "
            f"{axis}, got {places.shape} and {values.shape} for x of {x.shape}"
        )
    return axis, places


def scatter_add(x, indices, values, /, *, axis=-1):
    """Return `x` with values added at positions along an axis.

    The transpose of `take_along_axis`: ``out[i, indices[i, j]] += values[i, j]`` for
    the last axis of two; a position that occurs several times gets every sum.

    Parameters
    ----------
    x : Tensor
    indices : Tensor of integers
        Of the shape of `x` but for the axis; negative ones count from the end.
    values : Tensor
        Of the shape of `indices`.
    axis : int, default -1

    Returns
    -------
    Tensor
        Of the dtype of `x`.

    Raises
    ------
    IndexError
        If a position is out of range.
    ShapeError
        If the shapes do not fit.
    DTypeError
        If `indices` is not of integers, or `values` of a higher dtype than `x`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.scatter_add(tl.zeros(3), tl.tensor([2, 2]), tl.tensor([1.0, 2.0]))
    tensor([0., 0., 3.])
    """
    x, values = _same_dtype("scatter_add", x, values)
    axis, places = _along("scatter_add", x, indices, values, axis)
    moved = moveaxis(x, axis, -1)
    places, values = moveaxis(places, axis, -1).contiguous(), moveaxis(values, axis, -1)
    return x + moveaxis(add_last(values, moved.shape, places), -1, axis)


def scatter(x, indices, values, /, *, axis=-1):
    """Return `x` with values put at positions along an axis.

    ``out[i, indices[i, j]] = values[i, j]`` for the last axis of two; of values for one
    position the last stays, and alone has a gradient.

    Parameters
    ----------
    x : Tensor
    indices : Tensor of integers
        Of the shape of `x` but for the axis; negative ones count from the end.
    values : Tensor
        Of the shape of `indices`.
    axis : int, default -1

    Returns
    -------
    Tensor
        Of the dtype of `x`.

    Raises
    ------
    IndexError
        If a position is out of range.
    ShapeError
        If the shapes do not fit.
    DTypeError
        If `indices` is not of integers, or `values` of a higher dtype than `x`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.scatter(tl.zeros(3), tl.tensor([2, 0]), tl.tensor([1.0, 2.0]))
    tensor([2., 0., 1.])
    """
    x, values = _same_dtype("scatter", x, values)
    axis, places = _along("scatter", x, indices, values, axis)
    key = [
        reshape(
            arange(n, device=x.device), tuple(n if d == e else 1 for e in range(x.ndim))
        )
        for d, n in enumerate(x.shape)
    ]
    key[axis] = places
    out = under_same_levels(x, places, values).copy()
    out[tuple(broadcast_to(k, places.shape) for k in key)] = values
    return out


def put(x, indices, values, /, *, accumulate=False):
    """Return `x` with values put at positions of its elements in C order.

    Parameters
    ----------
    x : Tensor
    indices : Tensor of integers
        Positions in ``x.reshape(-1)``; negative ones count from the end.
    values : Tensor
        Of the shape of `indices`.
    accumulate : bool, default False
        Add instead; a position that occurs several times gets every sum.

    Returns
    -------
    Tensor
        Of the shape and dtype of `x`.

    Raises
    ------
    IndexError
        If a position is out of range.
    ShapeError
        If `values` does not have the shape of `indices`.
    DTypeError
        If `indices` is not of integers, or `values` of a higher dtype than `x`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.put(tl.zeros((2, 2)), tl.tensor([3, 0]), tl.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 1.]])
    """
    x, values = _same_dtype("put", x, values)
    flat = reshape(x, (x.size,))
    places = _positions("put", indices, x.size)
    if values.shape != places.shape:
        raise ShapeError(
            f"put: expected values of shape {places.shape}, got {values.shape}"
        )
    places, values = reshape(places, (places.size,)), reshape(values, (values.size,))
    write = scatter_add if accumulate else scatter
    return reshape(write(flat, places, values), x.shape)
