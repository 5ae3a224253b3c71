"""Writing at integer positions, out of place.

One primitive puts values into a copy of x at positions along an axis, or adds them; one
adds whole slices. They are the transposes of reading by position (`take_along_axis`,
`take`). Loaded at the first use of one of its names.
"""
from tensorlib.autograd.batch cimport aligned, alike
from tensorlib.autograd.primitive cimport Node, Primitive, record, run, tracking
from tensorlib.core.abi cimport TL_CUDA, TL_INT64, tl_buffer
from tensorlib.core.dtype cimport (
    dtype_of, is_complex_code, is_integer_code, promote_codes,
)
from tensorlib.core.layout cimport copy_layout, parse_axis, same_shape, update_layout
from tensorlib.core.tensor cimport Tensor, detached
from tensorlib.ops.elementwise cimport as_tensor, cast, contiguous, copy, full_like
from tensorlib.ops.indexing cimport (
    assign_primitive, explain_range, gather_last, gather_rows, row_kernel,
)
from tensorlib.ops.keys cimport as_positions
from tensorlib.ops.logic cimport select
from tensorlib.ops.reduce cimport broadcast
from tensorlib.ops.shape cimport (
    move_back, move_last, reshape_like, swap_axes, zeros_shaped,
)

from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.ops.creation import arange
from tensorlib.ops.indexing import add_last, add_rows
from tensorlib.ops.reduce import cumsum


# ---- primitives ----------------------------------------------------------------
cdef class Scatter(Primitive):
    """x with values put, or added, at positions along an axis, which is params.

    Saved: the positions.
    """

    cdef bint adds

    def __cinit__(self, str name, *, bint adds):
        self.adds = adds

    cdef tuple vjp(self, Node node, Tensor g):
        cdef Tensor positions = node.get(0), kept = g, given = None
        cdef int axis = node.params
        if node.needs(0) and not self.adds:
            kept = _scattered(
                _scatter, g, zeros_shaped(g, positions.shape), positions, axis
            )
        if node.needs(1):
            given = _gathered(g, positions, axis)
            if not self.adds:
                given = select(_survivors(g, positions, axis), given, 0.0)
        return (kept, given)

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef Tensor positions = node.get(0), x = tangents[0], values = tangents[1]
        if values is None:
            if self.adds:
                return x
            values = zeros_shaped(x, positions.shape)
        if x is None:
            x = zeros_shaped(values, node.shape_tuple())
        return _scattered(self, x, values, positions, node.params)


cdef class RowsAdded(Primitive):
    """x with slices added at positions along an axis, which is params; saved: them."""

    cdef tuple vjp(self, Node node, Tensor g):
        cdef Tensor given = None
        if node.needs(1):
            given = swap_axes(g, 0, node.params)
            given = swap_axes(gather_rows(given, (node.get(0),)), 0, node.params)
        return (g, given)

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef Tensor x = tangents[0], values = tangents[1]
        if values is None:
            return x
        if x is None:
            x = zeros_shaped(values, node.shape_tuple())
        return _rows_added(x, values, node.get(0), node.params)


cdef Scatter _scatter = Scatter("scatter", adds=False)
cdef Scatter _scatter_add = Scatter("scatter_add", adds=True)
cdef RowsAdded _index_add = RowsAdded("index_add")


cdef Tensor _gathered(Tensor x, Tensor positions, int axis):
    positions = contiguous(move_last(positions, axis))
    return move_back(gather_last(move_last(x, axis), positions), axis)


cdef Tensor _survivors(Tensor x, Tensor positions, int axis):
    """Where a value that was put stays: the last of those for one element."""
    cdef Tensor owner = cast(full_like(x.detach(), 0), TL_INT64)
    cdef Tensor ids = cast(full_like(positions, 1), TL_INT64)
    ids = reshape_like(
        <Tensor>cumsum(reshape_like(ids, (ids.buf.size,))), positions.shape
    )
    owner = _scattered(_scatter, owner, ids, positions, axis)
    return <Tensor>(_gathered(owner, positions, axis) == ids)


# ---- applying them -------------------------------------------------------------
cdef void _axis_to(tl_buffer *out, const tl_buffer *b, int axis, int place) noexcept:
    """The layout of b with an axis moved; the others keep their order."""
    cdef int d, step = 1 if place > axis else -1
    copy_layout(out, b)
    d = axis
    while d != place:
        out.shape[d], out.strides[d] = b.shape[d + step], b.strides[d + step]
        d += step
    out.shape[place], out.strides[place] = b.shape[axis], b.strides[axis]
    update_layout(out)


cdef Tensor _copied(Tensor x):
    """A copy outside the graph, to be written to."""
    return copy(detached(x) if x.track else x)


cdef tuple _every_axis(Tensor x, Tensor positions, int axis):
    """Index tensors on all axes of x that name the same elements."""
    cdef int d
    shape = positions.shape
    found = []
    for d in range(x.buf.ndim):
        if d == axis:
            found.append(positions)
            continue
        places = arange(shape[d], device=x.device)
        places = places.reshape([1] * d + [shape[d]] + [1] * (x.buf.ndim - d - 1))
        found.append(broadcast(<Tensor>places, shape))
    return tuple(found)


cdef int _write(
    Scatter p, Tensor out, Tensor values, Tensor positions, int axis
) except -1:
    cdef tl_buffer target, given, where
    cdef const tl_buffer *inputs[2]
    cdef const tl_buffer *written = &target
    cdef int last = out.buf.ndim - 1
    if out.buf.device_type == TL_CUDA and not p.adds:
        # A device keeps the last of several values by its kernel of assignments.
        return row_kernel(
            assign_primitive, out, values, _every_axis(out, positions, axis), True,
            False,
        )
    _axis_to(&target, &out.buf, axis, last)
    _axis_to(&given, &values.buf, axis, last)
    _axis_to(&where, &positions.buf, axis, last)
    inputs[0], inputs[1] = &given, &where
    try:
        return run(
            p, out.buf.dtype, &written, 1, inputs, 2, NULL, positions.buf.size
        )
    except IndexError:
        explain_range(p.name, positions, out.buf.shape[axis], axis)
        raise


cdef Tensor _scattered(
    Scatter p, Tensor x, Tensor values, Tensor positions, int axis
):
    cdef Tensor out
    if not (alike(x, values) and alike(x, positions)):
        x, values, positions = aligned(p.name, (x, values, positions))
    if p.adds and is_complex_code(x.buf.dtype):
        out = move_last(values, axis)
        positions = contiguous(move_last(positions, axis))
        out = <Tensor>add_last(out, move_last(x, axis).shape, positions)
        return <Tensor>(x + move_back(out, axis))
    out = _copied(x)
    if positions.buf.size:
        _write(p, out, values, positions, axis)
    if x.track | values.track and tracking(x.track | values.track):
        record(p, out, (x, values), (positions,), False, axis)
    return out


cdef Tensor _rows_added(Tensor x, Tensor values, Tensor rows, int axis):
    cdef Tensor out, target
    if not (alike(x, values) and alike(x, rows)):
        x, values, rows = aligned("index_add", (x, values, rows))
    if is_complex_code(x.buf.dtype):
        out = swap_axes(x, 0, axis)
        out = <Tensor>(
            out + add_rows(swap_axes(values, 0, axis), out.shape, rows)
        )
        return swap_axes(out, 0, axis)
    out = target = _copied(x)
    given = detached(values) if values.track else values
    if axis:
        target, given = swap_axes(out, 0, axis), swap_axes(given, 0, axis)
    row_kernel(_index_add, target, given, (rows,), True, True, [axis])
    if x.track | values.track and tracking(x.track | values.track):
        record(_index_add, out, (x, values), (rows,), False, axis)
    return out


# ---- arguments -----------------------------------------------------------------
cdef Tensor _positions(str op, object indices):
    cdef Tensor found = as_tensor(op, indices)
    if not is_integer_code(found.buf.dtype):
        raise DTypeError(
            f"{op}: expected integer indices, got {dtype_of(found.buf.dtype)}"
        )
    return as_positions(found)


cdef Tensor _values(str op, Tensor x, object values):
    cdef Tensor found = as_tensor(op, values)
    if promote_codes(x.buf.dtype, found.buf.dtype) != x.buf.dtype:
        raise DTypeError(
            f"{op}: {dtype_of(found.buf.dtype)} values cannot be stored in "
            f"{dtype_of(x.buf.dtype)}; convert one of them with astype"
        )
    return cast(found, x.buf.dtype)


cdef Tensor _along(Scatter p, object x, object indices, object values, object axis):
    """Check the arguments, and scatter."""
    cdef Tensor a = as_tensor(p.name, x)
    cdef Tensor given = _values(p.name, a, values)
    cdef int d, where = parse_axis(p.name, axis, a.buf.ndim)
    cdef Tensor positions = _positions(p.name, indices)
    cdef bint fits = positions.buf.ndim == a.buf.ndim and (
        same_shape(&positions.buf, &given.buf)
    )
    for d in range(a.buf.ndim if fits else 0):
        fits = fits and (d == where or positions.buf.shape[d] == a.buf.shape[d])
    if not fits:
        raise ShapeError(
            f"{p.name}: expected indices and values of one shape, that of x but for "
            f"axis {where}, got {positions.shape} and {given.shape} for x of {a.shape}"
        )
    return _scattered(p, a, given, positions, where)


# ---- public functions ----------------------------------------------------------
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
    cdef Tensor a = as_tensor("index_add", x)
    cdef Tensor given = _values("index_add", a, values)
    cdef int where = parse_axis("index_add", axis, a.buf.ndim)
    cdef Tensor rows = _positions("index_add", indices)
    expected = (*a.shape[:where], *rows.shape, *a.shape[where + 1 :])
    if rows.buf.ndim != 1 or given.shape != expected:
        raise ShapeError(
            f"index_add: expected one-dimensional indices and values of shape "
            f"{expected}, got {rows.shape} and {given.shape}"
        )
    return _rows_added(a, given, rows, where)


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
    return _along(_scatter_add, x, indices, values, axis)


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
    return _along(_scatter, x, indices, values, axis)


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
    cdef Tensor a = as_tensor("put", x)
    cdef Tensor given = _values("put", a, values)
    cdef Tensor positions = _positions("put", indices)
    cdef Tensor flat = reshape_like(a, (a.buf.size,))
    if not same_shape(&positions.buf, &given.buf):
        raise ShapeError(
            f"put: expected values of shape {positions.shape}, got {given.shape}"
        )
    positions = reshape_like(positions, (positions.buf.size,))
    given = reshape_like(given, (given.buf.size,))
    flat = _scattered(
        _scatter_add if accumulate else _scatter, flat, given, positions, 0
    )
    return reshape_like(flat, a.shape)
