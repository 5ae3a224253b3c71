"""Indexing: basic, by integer tensors, by masks; reading and assignment.

A key is first resolved (`keys`) into a basic index and index tensors. Reading by
tensors and adding at their positions are each other's transposes.
"""

from cpython.number cimport PyNumber_Index as index
from libc.stdint cimport int64_t
from tensorlib.autograd.batch cimport aligned, alike
from tensorlib.autograd.primitive cimport (
    Node, Primitive, record, record1, run, tracking,
)
from tensorlib.core.abi cimport (
    TL_BOOL, TL_CPU, TL_CUDA, TL_INT64, TL_MAX_NDIM, tl_buffer, tl_index_params,
)
from tensorlib.core.dtype cimport (
    dtype_of, dtype_sizes, is_complex_code, is_float_code, is_inexact_code,
    is_integer_code,
)
from tensorlib.core.layout cimport (
    broadcast_view, copy_layout, parse_axis, parse_shape, update_layout,
)
from tensorlib.core.tensor cimport (
    TRACK_GRAD, Tensor, bump_version, new_scalar, new_tensor, new_view, operators,
)
from tensorlib.ops.elementwise cimport (
    adopt, as_tensor, beside, cast, check_inplace, contiguous, copy, copy_into,
    disjoint, fill, full_like,
)
from tensorlib.ops.keys cimport (
    Key, add_item, check_key, mask_positions, plain_key, resolve_key,
)
from tensorlib.ops.logic cimport select
from tensorlib.ops.reduce cimport broadcast
from tensorlib.ops.shape cimport (
    BasicIndex, index_layout, move_back, move_last, permute, reshape_like, select_basic,
    zeros_shaped,
)
from tensorlib.ops.transfer cimport moved

from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.core.tensor import is_batched
from tensorlib.ops.reduce import cumsum


# ---- primitives ----------------------------------------------------------------
cdef class IndexGet(Primitive):
    """Rows of x (its leading axes indexed by tensors); saved: the index tensors."""

    cdef tuple vjp(self, Node node, Tensor g):
        return (_scatter(g, node.params, _indices(node)),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return _gather_rows(<Tensor>tangents[0], _indices(node))


cdef class IndexAdd(Primitive):
    """Values added into zeros at rows; params: the shape; saved: the indices."""

    cdef tuple vjp(self, Node node, Tensor g):
        return (_gather_rows(g, _indices(node)),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return _scatter(<Tensor>tangents[0], node.shape_tuple(), _indices(node))


cdef class Assign(Primitive):
    """x with x[key] = value; params: (resolved key, value's shape)."""

    cdef tuple vjp(self, Node node, Tensor g):
        cdef Tensor kept = None, given = None
        cdef Key key = <Key>node.params
        g = aligned("assign", (g, *key.indices))[0]
        if node.needs(0):
            kept = copy(g)
            _assign(kept, key, full_like(_read(g, key), 0))
        if node.needs(1):
            given = _read(g, key)
            if key.indices:
                given = select(_survivors(g, key), given, 0.0)
        return (kept, given)

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef Key key = <Key>node.params
        cdef Tensor out
        x, value, *_ = aligned("assign", (*tangents, *key.indices))
        if x is None:
            out = zeros_shaped(<Tensor>value, node.shape_tuple())
        else:
            out = copy(<Tensor>x)
        _assign(out, key, full_like(_read(out, key), 0) if value is None else value)
        return out


cdef Tensor _survivors(Tensor x, Key key):
    """Where a value assigned through key stays: the last of those on one element."""
    cdef Tensor owner = cast(full_like(x.detach(), 0), TL_INT64)
    cdef Tensor seen = _read(owner, key)
    ids = cumsum(full_like(seen, 1).reshape(-1)).reshape(seen.shape)
    _assign(owner, key, ids)
    return <Tensor>(_read(owner, key) == ids)


cdef class Gather(Primitive):
    """Elements picked along the last axis; params: x's shape; saved: the index."""

    cdef tuple vjp(self, Node node, Tensor g):
        return (_scatter_last(g, node.params, node.get(0)),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return _gather_last(<Tensor>tangents[0], node.get(0))


cdef class ScatterAdd(Primitive):
    """Gather's transpose; params: the shape; saved: the index."""

    cdef tuple vjp(self, Node node, Tensor g):
        return (_gather_last(g, node.get(0)),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return _scatter_last(<Tensor>tangents[0], node.shape_tuple(), node.get(0))


cdef IndexGet _index_get = IndexGet("index_get")
cdef IndexAdd _index_add = IndexAdd("index_add")
cdef Assign _assign_primitive = Assign("assign", kernel="index_put")
cdef Gather _gather = Gather("gather")
cdef ScatterAdd _scatter_add = ScatterAdd("scatter_add")


cdef tuple _indices(Node node):
    """The saved index tensors, each checked; get(0) raises once they are freed."""
    cdef int i
    return (node.get(0), *[node.get(i) for i in range(1, node.saved_count())])


# ---- reading and adding by index tensors ---------------------------------------
cdef int _row_kernel(
    Primitive p, Tensor rows, Tensor out, tuple indices, bint write, bint accumulate
) except -1:
    """index_get (out = rows[indices]) or index_put (rows[indices] (+)= out)."""
    cdef tl_index_params params
    cdef const tl_buffer *buffers[TL_MAX_NDIM + 1]
    cdef const tl_buffer *target = &rows.buf if write else &out.buf
    cdef int i
    params.n_indexed = <int>len(indices)
    params.accumulate = accumulate
    buffers[0] = &out.buf if write else &rows.buf
    for i in range(params.n_indexed):
        buffers[i + 1] = &(<Tensor>indices[i]).buf
    try:
        return run(p, rows.buf.dtype, &target, 1, buffers, params.n_indexed + 1,
                   &params, out.buf.size)
    except IndexError:
        _explain_range(rows, indices)
        raise


cdef int _explain_range(Tensor rows, tuple indices) except -1:
    """Raise an IndexError that names the axis, the index and the size."""
    cdef int axis
    cdef int64_t extent
    for axis, positions in enumerate(indices):
        if is_batched(positions):
            return 0
        extent = rows.buf.shape[axis]
        for value in (int(positions.min().item()), int(positions.max().item())):
            if not -extent <= value < extent:
                raise IndexError(
                    f"index {value} is out of range for indexed axis {axis} of size "
                    f"{extent}"
                ) from None
    return 0


cdef Tensor _gather_rows(Tensor x, tuple indices):
    """out[i..., rest] = x[indices[0][i...], indices[1][i...], ..., rest]."""
    cdef Tensor first = <Tensor>indices[0]
    cdef Tensor out
    cdef tl_buffer shape
    cdef int d, n = <int>len(indices)
    x, *rest = aligned("index", (x, *indices))
    indices = tuple(rest)
    if first.buf.ndim + x.buf.ndim - n > TL_MAX_NDIM:
        raise ShapeError(f"index: the result has more than {TL_MAX_NDIM} dimensions")
    shape.ndim = first.buf.ndim
    for d in range(first.buf.ndim):
        shape.shape[d] = first.buf.shape[d]
    for d in range(n, x.buf.ndim):
        shape.shape[shape.ndim] = x.buf.shape[d]
        shape.ndim += 1
    out = new_tensor(&shape, x.buf.dtype, x.buf.device_type, x.buf.device_index)
    _row_kernel(_index_get, x, out, indices, False, False)
    if x.track and tracking(x.track):
        record1(_index_get, out, x, indices, False, x.shape)
    return out


cdef Tensor _scatter(Tensor values, tuple shape, tuple indices):
    """Values added into zeros of `shape` at the rows that indices name."""
    cdef Tensor out
    if is_complex_code(values.buf.dtype):
        from tensorlib.ops.complex import rows_added

        return <Tensor>rows_added(_scatter, values, shape, indices)
    values, *rest = aligned("index", (values, *indices))
    indices = tuple(rest)
    out = zeros_shaped(values, shape)
    _row_kernel(_index_add, out, values, indices, True, True)
    if values.track and tracking(values.track):
        record1(_index_add, out, values, indices, False, None)
    return out


def add_rows(Tensor values not None, tuple shape, Tensor rows not None):
    """Return values[i] added into zeros of `shape` at rows[i]: take's transpose."""
    return _scatter(values, shape, (rows,))


def added_rows(Tensor x not None, Tensor values not None, Tensor rows not None):
    """Return x with values[i] added at rows[i].

    On a GPU, where every launch counts, a copy of x is added to, unless the sum is
    recorded.
    """
    cdef Tensor out
    if x.buf.device_type != TL_CUDA or is_complex_code(x.buf.dtype) or not (
        alike(x, values) and alike(x, rows)
    ) or tracking(x.track | values.track):
        return x + _scatter(values, x.shape, (rows,))
    out = copy(x)
    _row_kernel(_index_add, out, values, (rows,), True, True)
    return out


def add_last(Tensor values not None, tuple shape, Tensor positions not None):
    """Return values added into zeros at positions along the last axis."""
    return _scatter_last(values, shape, positions)


cdef Tensor take_rows(str op, Tensor x, Tensor rows):
    if not is_integer_code(rows.buf.dtype):
        raise DTypeError(
            f"{op}: expected integer indices, got {dtype_of(rows.buf.dtype)}"
        )
    return _gather_rows(x, (cast(rows, TL_INT64),))


cdef Tensor _gather_last(Tensor x, Tensor positions):
    cdef const tl_buffer *inputs[2]
    cdef const tl_buffer *target
    cdef Tensor out
    if not alike(x, positions):
        x, positions = aligned("gather", (x, positions))
    out = new_tensor(
        &positions.buf, x.buf.dtype, x.buf.device_type, x.buf.device_index
    )
    inputs[0], inputs[1] = &x.buf, &positions.buf
    target = &out.buf
    run(_gather, x.buf.dtype, &target, 1, inputs, 2, NULL, out.buf.size)
    if x.track and tracking(x.track):
        record1(_gather, out, x, (positions,), False, x.shape)
    return out


cdef Tensor _scatter_last(Tensor values, tuple shape, Tensor positions):
    cdef const tl_buffer *inputs[2]
    cdef const tl_buffer *target
    cdef Tensor out
    if is_complex_code(values.buf.dtype):
        from tensorlib.ops.complex import last_added

        return <Tensor>last_added(add_last, values, shape, positions)
    if not alike(values, positions):
        values, positions = aligned("scatter_add", (values, positions))
    out = zeros_shaped(values, shape)
    inputs[0], inputs[1] = &values.buf, &positions.buf
    target = &out.buf
    run(_scatter_add, values.buf.dtype, &target, 1, inputs, 2, NULL, values.buf.size)
    if values.track and tracking(values.track):
        record1(_scatter_add, out, values, (positions,), False, None)
    return out


cdef int _indexed_first(Key key, int ndim, int *order) except -1:
    """The order of axes that brings the indexed ones to the front."""
    cdef int d, k = 0
    for axis in key.axes:
        order[k] = axis
        k += 1
    for d in range(ndim):
        if d not in key.axes:
            order[k] = d
            k += 1
    return 0


cdef Tensor _read(Tensor x, Key key):
    cdef Tensor base = select_basic(x, &key.basic)
    cdef Tensor out
    cdef int[TL_MAX_NDIM] order
    cdef int d, k, first, n_index
    if not key.indices:
        return base
    _indexed_first(key, base.buf.ndim, order)
    out = _gather_rows(permute(base, order), key.indices)
    n_index = (<Tensor>key.indices[0]).buf.ndim
    first = key.axes[0]
    if not key.adjacent or first == 0 or n_index == 0:
        return out
    # The result's index axes belong where the first indexed axis was.
    k = 0
    for d in range(first):
        order[k] = n_index + d
        k += 1
    for d in range(n_index):
        order[k] = d
        k += 1
    for d in range(n_index + first, out.buf.ndim):
        order[k] = d
        k += 1
    return permute(out, order)


cdef int _write(Tensor x, Key key, Tensor value) except -1:
    """x[key] = value outside the graph; value has x's dtype."""
    cdef tl_buffer layout, spread
    cdef Tensor base, rows, fitted
    cdef int[TL_MAX_NDIM] order
    cdef int d, k, first, n_index
    index_layout(&layout, &x.buf, &key.basic)
    base = new_view(x, &layout)
    value = disjoint(value, base)
    if not key.indices:
        if broadcast_view(&spread, &value.buf, &base.buf) < 0:
            raise _does_not_fit(value, base.shape)
        return copy_into("assign", base, new_view(value, &spread))
    _indexed_first(key, base.buf.ndim, order)
    rows = permute(base.detach(), order)
    n_index = (<Tensor>key.indices[0]).buf.ndim
    first = key.axes[0]
    if not key.adjacent:
        first = 0
    # The shape that reading would give, and the value broadcast to it.
    rest = rows.shape[len(key.indices):]
    shape = rest[:first] + key.indices[0].shape + rest[first:]
    parse_shape("assign", shape, &layout)
    if broadcast_view(&spread, &value.buf, &layout) < 0:
        raise _does_not_fit(value, shape)
    fitted = new_view(value, &spread)
    k = 0
    for d in range(n_index):
        order[k] = first + d
        k += 1
    for d in range(fitted.buf.ndim):
        if not first <= d < first + n_index:
            order[k] = d
            k += 1
    fitted = permute(fitted, order)
    return _row_kernel(_assign_primitive, rows, fitted, key.indices, True, False)


cdef object _does_not_fit(Tensor value, object shape):
    return ShapeError(
        f"assign: a value of shape {value.shape} does not broadcast to {tuple(shape)}"
    )


cdef int _assign(Tensor x, Key key, object value) except -1:
    """x[key] = value in place, recorded when it has to be."""
    cdef Tensor v
    cdef Tensor made
    cdef bint recorded
    if type(value) is Tensor:
        v = <Tensor>value
    elif is_integer_code(x.buf.dtype) and type(value) is int:
        v = new_scalar(value, x.buf.dtype)      # checks the range
    elif type(value) is float and is_inexact_code(x.buf.dtype) or (
        type(value) is complex and is_complex_code(x.buf.dtype)
    ):
        v = new_scalar(value, x.buf.dtype)      # not by way of single precision
    elif isinstance(value, (bool, int, float, complex)):
        v = cast(as_tensor("assign", value), x.buf.dtype)
    else:
        v = as_tensor("assign", value)
        if x.buf.device_type != TL_CPU and type(value) is not Tensor:
            v = moved(v, x.device, True)
    if is_inexact_code(v.buf.dtype) and not is_inexact_code(x.buf.dtype) and (
        type(value) is Tensor and v.track & TRACK_GRAD
    ):
        raise DTypeError(
            f"assign: a {dtype_of(v.buf.dtype)} value that requires grad cannot be "
            f"stored in {dtype_of(x.buf.dtype)}"
        )
    if not alike(x, v):
        v = beside("assign", x, v)
    for positions in key.indices:
        if not alike(x, <Tensor>positions):
            beside("assign", x, <Tensor>positions)
    v = cast(v, x.buf.dtype)
    recorded = tracking(x.track | v.track)
    check_inplace("assign", x, recorded)
    _write(x, key, v)
    if recorded:
        made = x.detach()
        record(_assign_primitive, made, (x, v), (), False, key)
        adopt(x, made)
    bump_version(x, _assign_primitive.c_name)
    return 0


# ---- operator slots ------------------------------------------------------------
cdef object _getitem_op(object x, object key):
    cdef Tensor a = <Tensor>x
    cdef tl_buffer before
    cdef BasicIndex by
    cdef Key resolved
    if type(key) is int and a.buf.ndim:
        by.n = 0
        add_item(&by, key, 0, a.buf.shape[0])
        return select_basic(a, &by)
    copy_layout(&before, &a.buf)
    if plain_key(&before, key, &by):
        check_key(&before, &a.buf)
        return select_basic(a, &by)
    resolved = resolve_key(&before, key, tracking(a.track))
    check_key(&before, &a.buf)
    return _read(a, resolved)


cdef int _setitem_op(object x, object key, object value) except -1:
    cdef Tensor a = <Tensor>x
    cdef tl_buffer before, layout
    cdef BasicIndex by
    cdef Key resolved
    copy_layout(&before, &a.buf)
    if type(value) is float and not tracking(a.track) and (
        is_float_code(a.buf.dtype) and plain_key(&before, key, &by)
    ):
        check_key(&before, &a.buf)
        check_inplace("assign", a, False)
        index_layout(&layout, &a.buf, &by)
        fill(new_view(a, &layout), value)
        bump_version(a, _assign_primitive.c_name)
        return 0
    resolved = resolve_key(&before, key, True)
    check_key(&before, &a.buf)
    return _assign(a, resolved, value)


# ---- public functions ----------------------------------------------------------
def take(x, indices, /, *, axis=None):
    """Return the slices of `x` at integer positions along an axis.

    Parameters
    ----------
    x : Tensor
    indices : Tensor of integers, of any shape
        Negative positions count from the end.
    axis : int, optional
        May be left out for one-dimensional tensors.

    Returns
    -------
    Tensor
        The axis is replaced by the axes of `indices`.

    Raises
    ------
    IndexError
        If a position is out of range.
    DTypeError
        If `indices` is not of integers.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.take(tl.tensor([5, 6, 7]), tl.tensor([2, 0]))
    tensor([7, 5])
    """
    cdef Tensor a = as_tensor("take", x)
    cdef Tensor positions = as_tensor("take", indices)
    cdef int where
    if axis is None:
        if a.buf.ndim != 1:
            raise ShapeError(f"take: expected an axis for shape {a.shape}")
        axis = 0
    where = parse_axis("take", axis, a.buf.ndim)
    if not is_integer_code(positions.buf.dtype):
        raise DTypeError(
            f"take: expected integer indices, got {dtype_of(positions.buf.dtype)}"
        )
    key = (slice(None),) * where + (positions,)
    return _read(a, resolve_key(&a.buf, key, tracking(a.track)))


def take_along_axis(x, indices, /, *, axis=-1):
    """Return elements of `x` picked along an axis: ``out[i, j] = x[i, indices[i, j]]``.

    Parameters
    ----------
    x : Tensor
    indices : Tensor of integers
        Of the shape of `x` but for `axis`; other axes of length one broadcast.
    axis : int, default -1

    Returns
    -------
    Tensor
        Of the shape of `indices`.

    Raises
    ------
    IndexError
        If a position is out of range.
    ShapeError
        If the shapes do not fit.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.tensor([[1, 2], [3, 4]])
    >>> tl.take_along_axis(x, tl.tensor([[1], [0]]))
    tensor([[2],
            [3]])
    """
    cdef Tensor a = as_tensor("take_along_axis", x)
    cdef Tensor positions = as_tensor("take_along_axis", indices)
    cdef int where = parse_axis("take_along_axis", axis, a.buf.ndim)
    if not is_integer_code(positions.buf.dtype):
        raise DTypeError(
            "take_along_axis: expected integer indices, got "
            f"{dtype_of(positions.buf.dtype)}"
        )
    if positions.buf.ndim != a.buf.ndim:
        raise ShapeError(
            f"take_along_axis: expected {a.buf.ndim} dimensions of indices, got shape "
            f"{positions.shape}"
        )
    positions = cast(positions, TL_INT64)
    outer = list(a.shape)
    outer[where] = positions.buf.shape[where]
    positions = broadcast(positions, tuple(outer))
    positions = contiguous(move_last(positions, where))
    try:
        return move_back(_gather_last(move_last(a, where), positions), where)
    except IndexError:
        if is_batched(positions):
            raise
        extent = a.buf.shape[where]
        raise IndexError(
            f"take_along_axis: expected indices in [{-extent}, {extent}) along axis "
            f"{where}, got {positions.min().item()} to {positions.max().item()}"
        ) from None


gather = take_along_axis


def where(condition, x1=None, x2=None, /):
    """Return `x1` where `condition` holds and `x2` elsewhere.

    Without both, return ``nonzero(condition)``, as NumPy and PyTorch do.

    Parameters
    ----------
    condition : Tensor of bool
    x1, x2 : Tensor or Python scalar, optional
        Promoted to one dtype; all three broadcast against each other.

    Returns
    -------
    Tensor or tuple of Tensor

    Raises
    ------
    DTypeError
        If the condition is not bool.
    ShapeError
        If the shapes do not broadcast.
    TypeError
        If one of the two is missing.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.tensor([-1.0, 2.0])
    >>> tl.where(x > 0, x, 0)
    tensor([0., 2.])
    >>> tl.where(x > 0)
    (tensor([1]),)
    """
    if x1 is None and x2 is None:
        return nonzero(condition)
    if x1 is None or x2 is None:
        raise TypeError("where: expected both x1 and x2, or neither, got one of them")
    cdef Tensor mask = as_tensor("where", condition)
    if mask.buf.dtype != TL_BOOL:
        raise DTypeError(
            f"where: expected a bool condition, got {dtype_of(mask.buf.dtype)}; "
            "compare first, as in x != 0"
        )
    return select(mask, _operand(x1), _operand(x2))


cdef object _operand(object x):
    """Of `where`: a Python scalar stays one, since it never widens a tensor."""
    if isinstance(x, (bool, int, float, complex)):
        return x
    return as_tensor("where", x)


def nonzero(x, /):
    """Return the positions of elements that are true (not zero).

    Parameters
    ----------
    x : Tensor of at least one dimension

    Returns
    -------
    tuple of Tensor of int64
        One tensor an axis, in C order of the elements.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.nonzero(tl.tensor([0, 3, 0, 4]))
    (tensor([1, 3]),)
    """
    cdef Tensor a = as_tensor("nonzero", x)
    if a.buf.ndim == 0:
        raise ShapeError("nonzero: expected at least one dimension, got a 0-d tensor")
    return tuple(mask_positions(cast(a, TL_BOOL), &a.buf, 0))


def as_strided(x, shape, strides, offset=0, /):
    """Return a view of `x`'s memory by explicit strides, checked against its bounds.

    Parameters
    ----------
    x : Tensor
    shape : tuple of int
    strides : tuple of int
        In elements; may be zero or negative.
    offset : int, default 0
        Elements from the first element of `x`.

    Returns
    -------
    Tensor
        A view; where gradients are recorded, a differentiable copy.

    Raises
    ------
    ShapeError
        If an element would lie outside the elements of `x`, which must be contiguous.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.as_strided(tl.arange(4), (3, 2), (1, 1))
    tensor([[0, 1],
            [1, 2],
            [2, 3]])
    """
    cdef Tensor a = as_tensor("as_strided", x)
    cdef tl_buffer layout
    cdef int d
    cdef int64_t start
    parse_shape("as_strided", shape, &layout)
    try:
        steps = [index(n) for n in strides]
        first = last = index(offset)
    except TypeError:
        raise TypeError(
            "as_strided: expected int strides and offset, got "
            f"{strides!r} and {offset!r}"
        ) from None
    if len(steps) != layout.ndim:
        raise ShapeError(
            f"as_strided: expected {layout.ndim} strides for shape {shape}, "
            f"got {strides}"
        )
    for d in range(layout.ndim):
        reach = (layout.shape[d] - 1) * steps[d]
        first, last = first + min(reach, 0), last + max(reach, 0)
    if not a.is_contiguous:
        raise ShapeError("as_strided: expected a contiguous tensor; use .contiguous()")
    if layout.size and not (0 <= first and last < a.buf.size):
        raise ShapeError(
            f"as_strided: elements {first}..{last} would be read, but the tensor has "
            f"{a.buf.size}"
        )
    start = offset if layout.size else 0
    layout.dtype, layout.device_type = a.buf.dtype, a.buf.device_type
    layout.device_index = a.buf.device_index
    for d in range(layout.ndim):
        layout.strides[d] = steps[d] if layout.size else 0
    layout.data = <char *>a.buf.data + start * dtype_sizes()[a.buf.dtype]
    update_layout(&layout)
    if not (a.track and tracking(a.track)):
        return new_view(a, &layout)
    positions = cumsum(full_like(cast(a.detach(), TL_INT64), 1).reshape(-1)) - 1
    flat = reshape_like(a, (a.buf.size,))
    return take_rows("as_strided", flat, as_strided(positions, shape, strides, offset))


cdef int bind_indexing() except -1:
    """Fill the slots for x[key] and x[key] = value."""
    operators().getitem = _getitem_op
    operators().setitem = _setitem_op
    return 0
