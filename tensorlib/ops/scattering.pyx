"""Reading and writing at integer positions, out of place, by PyTorch's names.

One primitive puts values into a copy of x at positions along an axis, or adds them; one
adds whole slices. They are the transposes of reading by position (`gather`,
`index_select`). Loaded at the first use of one of its names.

These functions take the axis first, in PyTorch's order, or by keyword.
"""
from numbers import Integral

from tensorlib.autograd.batch cimport aligned, alike
from tensorlib.autograd.primitive cimport Node, Primitive, record, run, tracking
from tensorlib.core.abi cimport TL_CPU, TL_CUDA, TL_INT64, tl_buffer
from tensorlib.core.dtype cimport (
    dtype_of, is_complex_code, is_integer_code, promote_codes,
)
from tensorlib.core.layout cimport copy_layout, parse_axis, same_shape, update_layout
from tensorlib.core.tensor cimport Tensor, detached
from tensorlib.ops.elementwise cimport as_tensor, cast, contiguous, copy, full_like
from tensorlib.ops.indexing cimport (
    assign_primitive, explain_range, gather_last, gather_rows, row_kernel, take_axis,
)
from tensorlib.ops.keys cimport as_positions
from tensorlib.ops.logic cimport select
from tensorlib.ops.reduce cimport broadcast
from tensorlib.ops.shape cimport (
    move_back, move_last, reshape_like, swap_axes, zeros_shaped,
)

from tensorlib.core.dtype import result_type
from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.core.naming import own_errors
from tensorlib.ops.creation import arange, full
from tensorlib.ops.indexing import add_rows
from tensorlib.ops.reduce import cumsum
from tensorlib.ops.shape import expand_dims


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


cdef Tensor _leading(Tensor x, Tensor positions, int axis):
    """The part of x, but for the axis, that positions have a place for."""
    cdef int d
    for d in range(x.buf.ndim):
        if d != axis and x.buf.shape[d] != positions.buf.shape[d]:
            return <Tensor>x[tuple([
                slice(None) if k == axis else slice(n)
                for k, n in enumerate(positions.shape)
            ])]
    return x


cdef Tensor _gathered(Tensor x, Tensor positions, int axis):
    x = move_last(_leading(x, positions, axis), axis)
    positions = move_last(positions, axis)
    if positions.buf.device_type != TL_CPU:     # whose kernel takes any strides
        positions = contiguous(positions)
    return move_back(gather_last(x, positions), axis)


cdef Tensor _survivors(Tensor x, Tensor positions, int axis):
    """Where a value that was put stays: the last of those for one element."""
    # By way of bool, since a complex tensor is not cast to integers.
    cdef Tensor owner = cast(<Tensor>(full_like(x.detach(), 0) != 0), TL_INT64)
    cdef Tensor ids = cast(full_like(positions, 1), TL_INT64)
    ids = reshape_like(
        <Tensor>cumsum(reshape_like(ids, (ids.buf.size,))), positions.shape
    )
    owner = _scattered(_scatter, owner, ids, positions, axis)
    return <Tensor>(_gathered(owner, positions, axis) == ids)


# ---- applying them -------------------------------------------------------------
cdef void _axis_to(
    tl_buffer *out, const tl_buffer *b, const tl_buffer *positions, int axis, int place
) noexcept:
    """The layout of b with an axis moved, the others as long as those of positions."""
    cdef int d, step = 1 if place > axis else -1
    copy_layout(out, b)
    for d in range(b.ndim):
        if d != axis:
            out.shape[d] = positions.shape[d]
    d = axis
    while d != place:
        out.shape[d], out.strides[d] = positions.shape[d + step], b.strides[d + step]
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
    _axis_to(&target, &out.buf, &positions.buf, axis, last)
    _axis_to(&given, &values.buf, &positions.buf, axis, last)
    _axis_to(&where, &positions.buf, &positions.buf, axis, last)
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
        return _parts_scattered(p, x, values, positions, axis)
    out = _copied(x)
    if positions.buf.size:
        _write(p, out, values, positions, axis)
    if x.track | values.track and tracking(x.track | values.track):
        record(p, out, (x, values), (positions,), False, axis)
    return out


cdef Tensor _parts_scattered(
    Scatter p, Tensor x, Tensor values, Tensor positions, int axis
):
    """The same of complex numbers, whose parts lie along a further axis."""
    from tensorlib.ops.complex import view_as_complex, view_as_real

    positions = broadcast(expand_dims(positions, axis=-1), (*positions.shape, 2))
    return <Tensor>view_as_complex(
        _scattered(p, view_as_real(x), view_as_real(values), positions, axis)
    )


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
cdef list _arguments(str op, tuple args, object axis, tuple names, tuple named):
    """[axis, *the arguments of these names]: the axis comes first, or by keyword."""
    cdef list found = list(args)
    if named.count(None) == len(named):     # nearly always
        if type(args[0] if args else None) is int and (
            axis is None and len(args) == 1 + len(names)
        ):
            return found
        if len(args) == len(names) and type(args[0]) is Tensor:
            return [axis, *found]
    if found and isinstance(found[0], Integral):
        if axis is not None:
            raise TypeError(f"{op}: expected one axis, got {found[0]} and axis={axis}")
        axis = found.pop(0)
    if len(found) > len(names):
        raise TypeError(
            f"{op}: expected x, an axis and {', '.join(names)}, got {len(args) + 1} "
            "arguments by position"
        )
    for name, value in zip(names, named):
        given = names.index(name) < len(found)
        if given == (value is not None):
            raise TypeError(
                f"{op}: expected {name} once, got it {'twice' if given else 'never'}"
            )
        if not given:
            found.append(value)
    return [axis, *found]


cdef Tensor _positions(str op, object indices):
    cdef Tensor found = as_tensor(op, indices)
    if not is_integer_code(found.buf.dtype):
        raise DTypeError(
            f"{op}: expected integer indices, got {dtype_of(found.buf.dtype)}"
        )
    return as_positions(found)


cdef Tensor _values(str op, Tensor x, object values):
    cdef Tensor found
    if isinstance(values, (bool, int, float, complex)):
        # A Python scalar never widens, but for its kind.
        if result_type(x, values) == x.dtype:
            return <Tensor>full((), values, dtype=x.dtype, device=x.device)
    found = as_tensor(op, values)
    if promote_codes(x.buf.dtype, found.buf.dtype) != x.buf.dtype:
        raise DTypeError(
            f"{op}: {dtype_of(found.buf.dtype)} values cannot be stored in "
            f"{dtype_of(x.buf.dtype)}; convert one of them with astype"
        )
    return cast(found, x.buf.dtype)


cdef bint _fits(Tensor x, Tensor positions, int axis) noexcept:
    """Whether positions are no longer than x but along the axis; -1 allows none."""
    cdef int d
    if x.buf.ndim != positions.buf.ndim:
        return False
    for d in range(x.buf.ndim):
        if d != axis and positions.buf.shape[d] > x.buf.shape[d]:
            return False
    return True


cdef Tensor _along(Scatter p, object x, object axis, object index, object src):
    """Check the arguments, and scatter."""
    cdef Tensor a = as_tensor(p.name, x)
    cdef Tensor given = _values(p.name, a, src)
    cdef int where = parse_axis(p.name, -1 if axis is None else axis, a.buf.ndim)
    cdef Tensor positions = _positions(p.name, index)
    if given.buf.ndim == 0 and positions.buf.ndim:
        given = broadcast(given, positions.shape)
    if not (_fits(a, positions, where) and _fits(given, positions, -1)):
        raise ShapeError(
            f"{p.name}: expected an index no longer than src along any axis, nor than "
            f"x but along axis {where}, got {positions.shape} for src of {given.shape} "
            f"and x of {a.shape}"
        )
    return _scattered(p, a, _leading(given, positions, -1), positions, where)


# ---- public functions ----------------------------------------------------------
def gather(x, /, *args, axis=None, index=None):
    """Return elements of `x` picked along an axis: ``out[i, j] = x[i, index[i, j]]``.

    ``gather(x, axis, index)``, or ``gather(x, index, axis=axis)``. `take_along_axis` is
    the same, but broadcasts where this takes the leading part of `x`.

    Parameters
    ----------
    x : Tensor
    axis : int, optional
        The last if left out.
    index : Tensor of integers
        Of as many dimensions as `x`, and no longer than `x` but along the axis.
        Negative positions count from the end.

    Returns
    -------
    Tensor
        Of the shape of `index` and the dtype of `x`.

    Raises
    ------
    IndexError
        If a position is out of range.
    ShapeError
        If the shapes do not fit.
    DTypeError
        If `index` is not of integers.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.tensor([[1, 2], [3, 4]])
    >>> x.gather(1, tl.tensor([[1], [0]]))
    tensor([[2],
            [3]])
    """
    axis, index = _arguments("gather", args, axis, ("index",), (index,))
    cdef Tensor a = as_tensor("gather", x)
    cdef int where = parse_axis("gather", -1 if axis is None else axis, a.buf.ndim)
    cdef Tensor positions = _positions("gather", index)
    if not _fits(a, positions, where):
        raise ShapeError(
            f"gather: expected an index no longer than x but along axis {where}, got "
            f"{positions.shape} for x of {a.shape}"
        )
    try:
        return _gathered(a, cast(positions, TL_INT64), where)
    except IndexError:
        explain_range("gather", positions, a.buf.shape[where], where)
        raise


def index_select(x, /, *args, axis=None, index=None):
    """Return the slices of `x` at positions along an axis.

    ``index_select(x, axis, index)``, or ``index_select(x, index, axis=axis)``;
    `take` is the same for an index of any shape.

    Parameters
    ----------
    x : Tensor
    axis : int
    index : Tensor of integers, of shape (K,) or ()
        Negative positions count from the end.

    Returns
    -------
    Tensor
        Of the shape of `x`, but for K along the axis.

    Raises
    ------
    IndexError
        If a position is out of range.
    ShapeError
        If `index` has two dimensions or more.
    DTypeError
        If `index` is not of integers.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.tensor([[1, 2], [3, 4]]).index_select(1, tl.tensor([1, 1]))
    tensor([[2, 2],
            [4, 4]])
    """
    axis, index = _arguments("index_select", args, axis, ("index",), (index,))
    if axis is None:
        raise TypeError("index_select: expected an axis, got none")
    cdef Tensor a = as_tensor("index_select", x)
    cdef Tensor positions = as_tensor("index_select", index)
    if positions.buf.ndim > 1:
        raise ShapeError(
            "index_select: expected an index of one dimension, got shape "
            f"{positions.shape}; take has any"
        )
    if positions.buf.ndim == 0:
        positions = reshape_like(positions, (1,))
    return take_axis("index_select", a, positions, axis)


def index_add(x, /, *args, axis=None, index=None, source=None, alpha=1):
    """Return `x` with slices added at positions along an axis.

    ``index_add(x, axis, index, source)``, or ``index_add(x, index, source,
    axis=axis)``: ``out[..., index[i], ...] += alpha * source[..., i, ...]``. A position
    that occurs several times gets every sum.

    Parameters
    ----------
    x : Tensor
    axis : int
    index : Tensor of integers, of shape (K,)
        Negative positions count from the end.
    source : Tensor
        Of the shape of `x`, but for K along the axis.
    alpha : Python scalar, default 1

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
        If `index` is not of integers, or `source` of a higher dtype than `x`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.index_add(tl.zeros(3), 0, tl.tensor([0, 0]), tl.tensor([1.0, 2.0]))
    tensor([3., 0., 0.])
    """
    axis, index, source = _arguments(
        "index_add", args, axis, ("index", "source"), (index, source)
    )
    if axis is None:
        raise TypeError("index_add: expected an axis, got none")
    cdef Tensor a = as_tensor("index_add", x)
    cdef Tensor given = _values("index_add", a, source)
    cdef int where = parse_axis("index_add", axis, a.buf.ndim)
    cdef Tensor rows = _positions("index_add", index)
    expected = (*a.shape[:where], *rows.shape, *a.shape[where + 1 :])
    if rows.buf.ndim != 1 or given.shape != expected:
        raise ShapeError(
            f"index_add: expected a one-dimensional index and a source of shape "
            f"{expected}, got {rows.shape} and {given.shape}"
        )
    if alpha != 1:
        given = _values("index_add", a, given * alpha)
    return _rows_added(a, given, rows, where)


def scatter_add(x, /, *args, axis=None, index=None, src=None):
    """Return `x` with values added at positions along an axis.

    ``scatter_add(x, axis, index, src)``, or ``scatter_add(x, index, src, axis=axis)``.
    The transpose of `gather`: ``out[i, index[i, j]] += src[i, j]`` for the last axis of
    two; a position that occurs several times gets every sum.

    Parameters
    ----------
    x : Tensor
    axis : int, optional
        The last if left out.
    index : Tensor of integers
        Of as many dimensions as `x`, and no longer than `x` but along the axis.
        Negative positions count from the end.
    src : Tensor or Python scalar
        At least as long as `index` along each axis; what is beyond is not read.

    Returns
    -------
    Tensor
        Of the shape and dtype of `x`.

    Raises
    ------
    IndexError
        If a position is out of range.
    ShapeError
        If the shapes do not fit.
    DTypeError
        If `index` is not of integers, or `src` of a higher dtype than `x`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.zeros(3).scatter_add(0, tl.tensor([2, 2]), tl.tensor([1.0, 2.0]))
    tensor([0., 0., 3.])
    """
    axis, index, src = _arguments(
        "scatter_add", args, axis, ("index", "src"), (index, src)
    )
    return _along(_scatter_add, x, axis, index, src)


def scatter(x, /, *args, axis=None, index=None, src=None, value=None):
    """Return `x` with values put at positions along an axis.

    ``scatter(x, axis, index, src)``, or ``scatter(x, index, src, axis=axis)``:
    ``out[i, index[i, j]] = src[i, j]`` for the last axis of two. Of values for one
    position the last stays, and alone has a gradient.

    Parameters
    ----------
    x : Tensor
    axis : int, optional
        The last if left out.
    index : Tensor of integers
        Of as many dimensions as `x`, and no longer than `x` but along the axis.
        Negative positions count from the end.
    src : Tensor or Python scalar
        At least as long as `index` along each axis; what is beyond is not read.
    value : Python scalar, optional
        Another name of `src`.

    Returns
    -------
    Tensor
        Of the shape and dtype of `x`.

    Raises
    ------
    IndexError
        If a position is out of range.
    ShapeError
        If the shapes do not fit.
    DTypeError
        If `index` is not of integers, or `src` of a higher dtype than `x`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.zeros((2, 3)).scatter(1, tl.tensor([[2], [0]]), 1.0)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    if value is not None and src is not None:
        raise TypeError("scatter: expected src or value, got both")
    src = value if src is None else src
    axis, index, src = _arguments("scatter", args, axis, ("index", "src"), (index, src))
    return _along(_scatter, x, axis, index, src)


@own_errors
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
