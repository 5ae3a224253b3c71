"""Indexing: basic, by integer tensors, by masks; reading and assignment.

A key is first resolved (`keys`) into a basic index and index tensors. Reading by
tensors and adding at their positions are each other's transposes.
"""

from libc.stdint cimport int64_t
from tensorlib.autograd.batch cimport aligned, alike
from tensorlib.autograd.primitive cimport (
    Node, Primitive, record, record1, run, tracking,
)
from tensorlib.core.abi cimport (
    TL_BATCHED, TL_BOOL, TL_C_CONTIGUOUS, TL_CPU, TL_INT64, TL_MAX_NDIM,
    tl_buffer, tl_index_params,
)
from tensorlib.core.dtype cimport (
    dtype_of, dtype_sizes, is_complex_code, is_float_code, is_inexact_code,
    is_integer_code,
)
from tensorlib.core.layout cimport (
    broadcast_view, copy_layout, parse_axis, parse_shape, same_shape, shape_tuple,
    update_layout,
)
from tensorlib.core.number cimport write_scalar
from tensorlib.core.tensor cimport (
    TRACK_GRAD, Tensor, bump_version, new_scalar, new_tensor, new_view, operators,
)
from tensorlib.ops.elementwise cimport (
    adopt, as_tensor, beside, cast, check_inplace, contiguous, copy, copy_into,
    disjoint, fill, full_like,
)
from tensorlib.ops.keys cimport (
    Key, add_item, as_positions, axis_key, behind_slices, check_key, count_true,
    flat_nonzero, mask_positions, plain_key, resolve_key,
)
from tensorlib.ops.logic cimport select, select_into
from tensorlib.ops.reduce cimport broadcast
from tensorlib.ops.shape cimport (
    INTEGER, BasicIndex, index_layout, move_back, move_last, permute, reshape_like,
    select_basic, zeros_shaped,
)
from tensorlib.ops.transfer cimport moved

from tensorlib.core.errors import DeviceError, DTypeError, ShapeError, rename
from tensorlib.core.tensor import is_batched
from tensorlib.ops.reduce import cumsum

cdef object EXACT = 1 << 53


# ---- primitives ----------------------------------------------------------------
cdef class IndexGet(Primitive):
    """Rows of x (its leading axes indexed by tensors); saved: the index tensors."""

    cdef tuple vjp(self, Node node, Tensor g):
        return (_scatter(g, node.params, _indices(node)),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return gather_rows(<Tensor>tangents[0], _indices(node))


cdef class IndexAdd(Primitive):
    """Values added into zeros at rows; params: the shape; saved: the indices."""

    cdef tuple vjp(self, Node node, Tensor g):
        return (gather_rows(g, _indices(node)),)

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
    # By way of bool, since a complex tensor is not cast to integers.
    cdef Tensor owner = cast(<Tensor>(full_like(x.detach(), 0) != 0), TL_INT64)
    cdef Tensor seen = _read(owner, key)
    ids = cumsum(full_like(seen, 1).reshape(-1)).reshape(seen.shape)
    _assign(owner, key, ids)
    return <Tensor>(_read(owner, key) == ids)


cdef class Gather(Primitive):
    """Elements picked along the last axis; params: x's shape; saved: the index."""

    cdef tuple vjp(self, Node node, Tensor g):
        return (_scatter_last(g, node.params, node.get(0)),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return gather_last(<Tensor>tangents[0], node.get(0))


cdef class ScatterAdd(Primitive):
    """Gather's transpose; params: the shape; saved: the index."""

    cdef tuple vjp(self, Node node, Tensor g):
        return (gather_last(g, node.get(0)),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return _scatter_last(<Tensor>tangents[0], node.shape_tuple(), node.get(0))


cdef IndexGet _index_get = IndexGet("index_get")
cdef Primitive _mask_get = Primitive("mask_get")
cdef IndexAdd _index_add = IndexAdd("index_get_grad", kernel="index_add")
cdef Assign assign_primitive = Assign("assign", kernel="index_put")
cdef Gather _gather = Gather("gather")
cdef ScatterAdd _scatter_add = ScatterAdd("gather_grad", kernel="scatter_add")


cdef tuple _indices(Node node):
    """The saved index tensors, each checked; get(0) raises once they are freed."""
    cdef int i
    return (node.get(0), *[node.get(i) for i in range(1, node.saved_count())])


# ---- reading and adding by index tensors ---------------------------------------
cdef int row_kernel(
    Primitive p, Tensor rows, Tensor out, tuple indices, bint write, bint accumulate,
    list axes=None,
) except -1:
    """index_get (out = rows[indices]) or index_put (rows[indices] (+)= out).

    axes: what an error calls the axes of the indices; 0, 1, ... if None.
    """
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
        name = "index" if p is _index_get else p.name
        for i in range(params.n_indexed):
            explain_range(
                name, <Tensor>indices[i], rows.buf.shape[i], axes[i] if axes else i
            )
        raise


cdef int explain_range(str op, Tensor positions, int64_t extent, int axis) except -1:
    """Raise an IndexError that names the axis, the index and the size."""
    if is_batched(positions):
        return 0
    for value in (int(positions.min().item()), int(positions.max().item())):
        if not -extent <= value < extent:
            raise IndexError(
                f"{op}: index {value} is out of range for axis {axis} of size {extent}"
            ) from None
    return 0


cdef int _rows_shape(tl_buffer *shape, Tensor x, tuple indices) except -1:
    """The extents of x[indices]: the indices' own, then those of axes not indexed."""
    cdef Tensor first = <Tensor>indices[0]
    cdef int d, n = <int>len(indices)
    if first.buf.ndim + x.buf.ndim - n > TL_MAX_NDIM:
        raise ShapeError(f"index: the result has more than {TL_MAX_NDIM} dimensions")
    if x.buf.ndim < n:
        raise IndexError("index: the tensor's shape changed while its key was read")
    shape.ndim = first.buf.ndim
    for d in range(first.buf.ndim):
        shape.shape[d] = first.buf.shape[d]
    for d in range(n, x.buf.ndim):
        shape.shape[shape.ndim] = x.buf.shape[d]
        shape.ndim += 1
    return 0


cdef void _turn(tl_buffer *b, int first, int n) noexcept:
    """Lay out b, which is contiguous, as if axes first..first + n were in front."""
    cdef tl_buffer turned
    cdef int d, k
    copy_layout(&turned, b)
    for d in range(b.ndim):
        k = d - n if n <= d < n + first else first + d if d < n else d
        turned.shape[d], turned.strides[d] = b.shape[k], b.strides[k]
    for d in range(b.ndim):
        b.shape[d], b.strides[d] = turned.shape[d], turned.strides[d]
    update_layout(b)


cdef Tensor gather_rows(Tensor x, tuple indices, int before=0, list axes=None):
    """out[i..., rest] = x[indices[0][i...], indices[1][i...], ..., rest].

    before: how many axes of the rest will be moved to the front, which then leaves the
    result contiguous. axes: see row_kernel.
    """
    cdef Tensor out
    cdef tl_buffer shape, turned
    cdef int d, n_index
    if len(indices) != 1 or not alike(x, <Tensor>indices[0]):
        x, *rest = aligned("index", (x, *indices))
        indices = tuple(rest)
    _rows_shape(&shape, x, indices)
    n_index = (<Tensor>indices[0]).buf.ndim
    if before:
        turned = shape
        for d in range(before):
            shape.shape[d] = turned.shape[n_index + d]
        for d in range(n_index):
            shape.shape[before + d] = turned.shape[d]
    out = new_tensor(&shape, x.buf.dtype, x.buf.device_type, x.buf.device_index)
    if before:
        _turn(&out.buf, before, n_index)
    row_kernel(_index_get, x, out, indices, False, False, axes)
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
    row_kernel(_index_add, out, values, indices, True, True)
    if values.track and tracking(values.track):
        record1(_index_add, out, values, indices, False, None)
    return out


def add_rows(Tensor values not None, tuple shape, Tensor rows not None):
    """Return values[i] added into zeros of `shape` at rows[i]: take's transpose."""
    return _scatter(values, shape, (rows,))


def add_last(Tensor values not None, tuple shape, Tensor positions not None):
    """Return values added into zeros at positions along the last axis."""
    return _scatter_last(values, shape, positions)


cdef Tensor take_rows(str op, Tensor x, Tensor rows):
    if not is_integer_code(rows.buf.dtype):
        raise DTypeError(
            f"{op}: expected integer indices, got {dtype_of(rows.buf.dtype)}"
        )
    try:
        return gather_rows(x, (as_positions(rows),))
    except IndexError:
        explain_range(op, rows, x.buf.shape[0], 0)
        raise


cdef Tensor take_axis(str op, Tensor x, Tensor positions, object axis):
    cdef int where = parse_axis(op, axis, x.buf.ndim)
    if not is_integer_code(positions.buf.dtype):
        raise DTypeError(
            f"{op}: expected integer indices, got {dtype_of(positions.buf.dtype)}"
        )
    try:
        if alike(x, positions):
            return _read(x, axis_key(positions, where, tracking(x.track)))
        key = (slice(None),) * where + (positions,)
        return _read(x, resolve_key(&x.buf, key, tracking(x.track)))
    except IndexError:
        explain_range(op, positions, x.buf.shape[where], where)
        raise


cdef Tensor gather_last(Tensor x, Tensor positions):
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
    cdef int d, k = <int>len(key.axes)
    for d in range(k):
        order[d] = key.axes[d]
    for d in range(ndim):
        if d not in key.axes:
            order[k] = d
            k += 1
    return 0


cdef bint _leads(Key key) noexcept:
    """Whether it is one index tensor on the first axis, and nothing else."""
    return key.basic.n == 0 and len(key.axes) == 1 and key.axes[0] == 0


cdef Tensor _read(Tensor x, Key key):
    cdef Tensor base, out
    cdef int[TL_MAX_NDIM] order
    cdef int d, k, first, n_index
    if _leads(key):
        return gather_rows(x, key.indices)
    base = select_basic(x, &key.basic)
    if not key.indices:
        return base
    _indexed_first(key, base.buf.ndim, order)
    n_index = (<Tensor>key.indices[0]).buf.ndim
    first = key.axes[0] if key.adjacent and n_index else 0
    out = gather_rows(permute(base, order), key.indices, first, key.origins)
    if first == 0:
        return out
    # The result's index axes belong where the first indexed axis was.
    for d in range(out.buf.ndim):
        k = d - first if d < first + n_index else d
        order[d] = d + n_index if d < first else k
    return permute(out, order)


cdef Tensor _read_mask(Tensor x, Tensor mask):
    """x[mask] for a mask of x's shape, both contiguous."""
    cdef tl_buffer shape
    cdef const tl_buffer *inputs[2]
    cdef const tl_buffer *target
    cdef Tensor out
    if tracking(x.track) or x.buf.device_type != TL_CPU:
        return gather_rows(reshape_like(x, (x.buf.size,)), (flat_nonzero(mask),))
    shape.ndim = 1
    shape.shape[0] = count_true(mask)
    out = new_tensor(&shape, x.buf.dtype, x.buf.device_type, x.buf.device_index)
    inputs[0], inputs[1], target = &x.buf, &mask.buf, &out.buf
    run(_mask_get, x.buf.dtype, &target, 1, inputs, 2, NULL, x.buf.size)
    return out


cdef int _write(Tensor x, Key key, Tensor value) except -1:
    """x[key] = value outside the graph; value has x's dtype."""
    cdef tl_buffer layout, spread
    if _leads(key):
        value = disjoint(value, x)
        _rows_shape(&layout, x, key.indices)
        if broadcast_view(&spread, &value.buf, &layout) < 0:
            raise _does_not_fit(value, shape_tuple(&layout))
        value = new_view(value, &spread)
        return row_kernel(assign_primitive, x, value, key.indices, True, False)
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
    first = key.axes[0] if key.adjacent else 0
    # The shape that reading would give, and the value broadcast to it.
    rest = rows.shape[len(key.indices):]
    shape = rest[:first] + key.indices[0].shape + rest[first:]
    parse_shape("assign", shape, &layout)
    if broadcast_view(&spread, &value.buf, &layout) < 0:
        raise _does_not_fit(value, shape)
    fitted = new_view(value, &spread)
    for d in range(fitted.buf.ndim):
        k = d - n_index if d < first + n_index else d
        order[d] = first + d if d < n_index else k
    fitted = permute(fitted, order)
    return row_kernel(
        assign_primitive, rows, fitted, key.indices, True, False, key.origins
    )


cdef object _does_not_fit(Tensor value, object shape):
    return ShapeError(
        f"assign: a value of shape {value.shape} does not broadcast to {tuple(shape)}"
    )


cdef Tensor _value_for(Tensor x, object value):
    """The value in x's dtype, beside x."""
    cdef Tensor v
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
    try:
        return cast(v, x.buf.dtype)
    except DTypeError as error:
        rename(error, "assign")
        raise


cdef int _assign(Tensor x, Key key, object value) except -1:
    """x[key] = value in place, recorded when it has to be."""
    cdef Tensor v = _value_for(x, value)
    cdef Tensor made
    cdef bint recorded = tracking(x.track | v.track)
    for positions in key.indices:
        if not alike(x, <Tensor>positions):
            beside("assign", x, <Tensor>positions)
    check_inplace("assign", x, recorded)
    _write(x, key, v)
    if recorded:
        made = x.detach()
        record(assign_primitive, made, (x, v), (), False, key)
        adopt(x, made)
    bump_version(x, assign_primitive.c_name)
    return 0


# ---- operator slots ------------------------------------------------------------
# The keys that are looked for first: one index tensor, or one mask of x's shape.
cdef inline bint _is_positions(Tensor x, object key) noexcept:
    return type(key) is Tensor and (
        (<Tensor>key).buf.ndim > 0 and x.buf.ndim > 0 and alike(x, <Tensor>key)
        and is_integer_code((<Tensor>key).buf.dtype)
    )


cdef inline bint _is_whole_mask(Tensor x, object key) noexcept:
    return type(key) is Tensor and (
        (<Tensor>key).buf.dtype == TL_BOOL and x.buf.ndim > 0
        and alike(x, <Tensor>key) and x.buf.device_type != TL_BATCHED
        and same_shape(&x.buf, &(<Tensor>key).buf)
    )


cdef bint _masked(Tensor x, Tensor mask, Tensor value) except -1:
    """x[mask] = value for a value without axes, where nothing is recorded: done?"""
    if value.buf.ndim or tracking(x.track | value.track):
        return False
    check_inplace("assign", x, False)
    select_into(x, disjoint(mask, x), disjoint(value, x))
    bump_version(x, assign_primitive.c_name)
    return True


cdef inline void _element(
    tl_buffer *out, const tl_buffer *x, int64_t position
) noexcept nogil:
    """An element of a vector, as `index_layout` would describe it."""
    out.ndim, out.size, out.flags = 0, 1, TL_C_CONTIGUOUS
    out.dtype, out.device_type = x.dtype, x.device_type
    out.device_index = x.device_index
    out.data = <char *>x.data + position * x.strides[0] * dtype_sizes()[x.dtype]


cdef inline bint _stores_number(Tensor x, object value) except -1:
    """Whether assigning the Python number takes no tensor: outside the graph, exact."""
    if tracking(x.track):
        return False
    if type(value) is float:
        return is_float_code(x.buf.dtype)
    if type(value) is not int:
        return False
    # Up to 2^53 a double, through which it goes to float dtypes, is the integer itself.
    return is_integer_code(x.buf.dtype) or (
        is_float_code(x.buf.dtype) and -EXACT <= value <= EXACT
    )


cdef int _store_number(Tensor x, const BasicIndex *by, object value) except -1:
    """x[by] = value, outside the graph."""
    cdef tl_buffer layout
    check_inplace("assign", x, False)
    if x.buf.ndim == 1 and by.items[0].kind == INTEGER and by.n == 1:
        _element(&layout, &x.buf, by.items[0].start)
    else:
        index_layout(&layout, &x.buf, by)
    if layout.ndim == 0 and layout.device_type == TL_CPU:
        write_scalar(layout.dtype, layout.data, value)
    else:
        fill(new_view(x, &layout), value)
    bump_version(x, assign_primitive.c_name)
    return 0


cdef object _getitem_op(object x, object key):
    cdef Tensor a = <Tensor>x
    cdef tl_buffer before
    cdef BasicIndex by
    cdef Key resolved
    cdef int axis
    if type(key) is int and a.buf.ndim:
        by.n = 0
        add_item(&by, key, 0, a.buf.shape[0])
        if a.buf.ndim > 1 or a.track:
            return select_basic(a, &by)
        _element(&before, &a.buf, by.items[0].start)
        return new_view(a, &before)
    last = behind_slices(key, &axis)
    if axis < a.buf.ndim and _is_positions(a, last):
        return _read(a, axis_key(<Tensor>last, axis, tracking(a.track)))
    if _is_whole_mask(a, key) and (
        a.buf.flags & (<Tensor>key).buf.flags & TL_C_CONTIGUOUS
    ):
        return _read_mask(a, <Tensor>key)
    copy_layout(&before, &a.buf)
    if plain_key(&before, key, &by):
        check_key(&before, &a.buf)
        return select_basic(a, &by)
    resolved = resolve_key(&before, key, tracking(a.track))
    check_key(&before, &a.buf)
    return _read(a, resolved)


cdef int _setitem_op(object x, object key, object value) except -1:
    cdef Tensor a = <Tensor>x
    cdef tl_buffer before
    cdef BasicIndex by
    cdef Key resolved
    cdef Tensor given
    cdef bint kept
    if _is_positions(a, key):
        kept = a.buf.storage == (<Tensor>key).buf.storage or tracking(
            a.track | (<Tensor>value).track if type(value) is Tensor else a.track
        )
        return _assign(a, axis_key(<Tensor>key, 0, kept), value)
    if _is_whole_mask(a, key):
        given = _value_for(a, value)
        if _is_whole_mask(a, key) and _masked(a, <Tensor>key, given):
            return 0
    if _stores_number(a, value):
        if type(key) is int and a.buf.ndim:
            by.n = 0
            add_item(&by, key, 0, a.buf.shape[0])
            return _store_number(a, &by, value)
        copy_layout(&before, &a.buf)
        if plain_key(&before, key, &by):
            check_key(&before, &a.buf)
            return _store_number(a, &by, value)
    # First, since what it is made from may be an object that changes the tensor.
    given = _value_for(a, value)
    copy_layout(&before, &a.buf)
    resolved = resolve_key(&before, key, True)
    check_key(&before, &a.buf)
    return _assign(a, resolved, given)


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
    if axis is None:
        if a.buf.ndim != 1:
            raise ShapeError(f"take: expected an axis for shape {a.shape}")
        axis = 0
    return take_axis("take", a, as_tensor("take", indices), axis)


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
    try:
        positions = broadcast(positions, tuple(outer))
    except ShapeError as error:
        rename(error, "take_along_axis")
        raise
    positions = contiguous(move_last(positions, where))
    try:
        return move_back(gather_last(move_last(a, where), positions), where)
    except DeviceError as error:
        rename(error, "take_along_axis")
        raise
    except IndexError:
        if is_batched(positions):
            raise
        extent = a.buf.shape[where]
        raise IndexError(
            f"take_along_axis: expected indices in [{-extent}, {extent}) along axis "
            f"{where}, got {positions.min().item()} to {positions.max().item()}"
        ) from None


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


cdef int bind_indexing() except -1:
    """Fill the slots for x[key] and x[key] = value."""
    operators().getitem = _getitem_op
    operators().setitem = _setitem_op
    return 0
